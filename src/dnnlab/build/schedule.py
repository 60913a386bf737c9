"""From the scheduler's settings to a pure function of the step, its lengths turned into steps."""

from __future__ import annotations

from dnnlab import schedules
from dnnlab.config.base import Span
from dnnlab.config.scheduler import (
    Cosine,
    CosineRestarts,
    Exponential,
    InverseSqrt,
    MultiStep,
    OneCycle,
    Plateau,
    Polynomial,
    Schedule,
    Step,
    WarmupCosine,
    WarmupStableDecay,
)
from dnnlab.errors import ConfigError


def build_schedule(settings: Schedule, total: int, per_epoch: int, mode: str) -> tuple[schedules.Schedule, schedules.Plateau | None]:
    """-> the factor of each step, and the plateau rule where it was asked for. total: steps of the run; mode: of the monitor."""

    def steps(span: Span) -> int:
        return span.steps(total=total, per_epoch=per_epoch)

    rise = steps(settings.warmup)
    if rise >= total > 1:
        raise ConfigError(
            f"scheduler.warmup must be shorter than the run, however: {settings.warmup} is {rise} of {total} steps",
            where="scheduler.warmup, trainer.epochs",
            fix="Try scheduler.warmup=5%",
        )
    rest = max(1, total - rise)
    plateau = None
    shape = schedules.constant()
    match settings:
        case Step():
            shape = schedules.step(steps(settings.every), factor=settings.factor)
        case MultiStep():
            shape = schedules.multistep([steps(span) - rise for span in settings.at], factor=settings.factor)
        case Exponential():
            shape = schedules.exponential(per_epoch, factor=settings.factor)
        case Polynomial():
            shape = schedules.polynomial(rest, power=settings.power, end=settings.end)
        case InverseSqrt():
            shape = schedules.inverse_sqrt(steps(settings.flat))
        case Cosine() | WarmupCosine():
            shape = schedules.cosine(rest, end=settings.end)
        case CosineRestarts():
            shape = schedules.cosine_restarts(steps(settings.first), growth=settings.growth, end=settings.end)
        case OneCycle():
            peak = max(0, steps(settings.peak) - rise)
            shape = schedules.one_cycle(rest, peak, start_div=settings.start_div, end_div=settings.end_div)
        case WarmupStableDecay():
            shape = schedules.warmup_stable_decay(rest, steps(settings.decay), end=settings.end)
        case Plateau():
            plateau = schedules.Plateau(settings.factor, settings.patience, settings.min_delta, "max" if mode == "max" else "min")
    return schedules.warmup(shape, rise), plateau
