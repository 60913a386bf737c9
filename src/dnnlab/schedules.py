"""How the learning rate changes: each schedule is a pure function from the step (0-based) to a factor on the optimizer's rate.

`total` is the number of steps that a schedule spans. The shapes that fall to `end` reach it when training is over, that is at step
`total`, so that the last step still learns; one_cycle reaches its end at the last step, total − 1. Plateau looks at a metric instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import cos, isfinite, log, pi, sqrt
from typing import Literal

Schedule = Callable[[int], float]


def constant() -> Schedule:
    """The same rate throughout."""
    return always


def always(step: int) -> float:
    """The factor of `constant`: 1."""
    return 1.0


def step(every: int, *, factor: float) -> Schedule:
    """Times `factor` after each `every` steps.

    >>> [step(2, factor=0.5)(s) for s in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    length = max(1, every)
    return lambda step: factor ** (step // length)


def multistep(at: Sequence[int], *, factor: float) -> Schedule:
    """Times `factor` at each of the given steps.

    >>> [multistep([1, 3], factor=0.5)(s) for s in range(4)]
    [1.0, 0.5, 0.5, 0.25]
    """
    points = tuple(at)
    return lambda step: factor ** sum(step >= point for point in points)


def exponential(per_epoch: int, *, factor: float) -> Schedule:
    """factor^(step / per_epoch): `factor` for each epoch, spread over its steps."""
    return lambda step: factor ** (step / per_epoch)


def polynomial(total: int, *, power: float, end: float) -> Schedule:
    """(1 − end)·(1 − t)^power + end with t = step / total."""
    return lambda step: (1 - end) * (1 - _share(step, total)) ** power + end


def inverse_sqrt(flat: int) -> Schedule:
    """min(1, sqrt(flat / step)): constant, then falling with the root of the step (Vaswani et al. 2017)."""
    length = max(1, flat)
    return lambda step: sqrt(length / max(length, step))


def cosine(total: int, *, end: float) -> Schedule:
    """end + (1 − end)·(1 + cos(πt)) / 2 with t = step / total (Loshchilov and Hutter 2017)."""
    return lambda step: _fall(_share(step, total), end)


def cosine_restarts(first: int, *, growth: float, end: float) -> Schedule:
    """Half cosines that begin anew; cycle n spans first·growth^n steps (SGDR, Loshchilov and Hutter 2017)."""
    length = max(1, first)

    def border(cycle: int) -> float:
        return length * (cycle if growth == 1 else (growth**cycle - 1) / (growth - 1))

    def factor(step: int) -> float:
        # The logarithm finds the cycle up to rounding, which the exact borders then mend.
        cycle = step // length if growth == 1 else int(log(step / length * (growth - 1) + 1) / log(growth))
        cycle += (step >= border(cycle + 1)) - (step < border(cycle))
        start, stop = border(cycle), border(cycle + 1)
        return _fall((step - start) / (stop - start), end)

    return factor


def one_cycle(total: int, peak: int, *, start_div: float, end_div: float) -> Schedule:
    """By cosines from 1/start_div up to 1 at step `peak`, then down to 1/end_div at the last step (Smith and Topin 2018)."""
    low, last = 1 / start_div, 1 / end_div

    def factor(step: int) -> float:
        if step < peak:
            return low + (1 - low) * (1 - cos(pi * step / peak)) / 2
        return _fall(_share(step - peak, total - 1 - peak), last)

    return factor


def warmup_stable_decay(total: int, decay: int, *, end: float) -> Schedule:
    """1, then over the last `decay` steps a straight fall to `end`; wrapped in `warmup` it has all three parts (Hu et al. 2024)."""
    start = total - decay
    return lambda step: 1.0 if step < start else 1 - (1 - end) * _share(step - start, decay)


def warmup(schedule: Schedule, steps: int) -> Schedule:
    """A straight rise to the schedule's first factor over `steps` steps; then the schedule, which so begins at step `steps`.

    The schedule is to be made for the remaining steps, and points that were meant from the beginning of training (those of
    multistep, the peak of one_cycle) are to be given less `steps`.

    >>> [warmup(cosine(2, end=0.0), 2)(s) for s in range(4)]
    [0.5, 1.0, 1.0, 0.5]
    """
    if steps <= 0:
        return schedule
    return lambda step: schedule(0) * (step + 1) / steps if step < steps else schedule(step - steps)


@dataclass(frozen=True)
class Plateau:
    """Times `factor` when a metric has not improved by more than `min_delta` for `patience` looks in a row.

    A fold over the metric's values: each look gives a new Plateau. A value that is not finite is never an improvement.

    >>> plateau = Plateau(factor=0.5, patience=2, min_delta=0.0, mode="min")
    >>> for value in (1.0, 0.9, 0.9, 0.9):
    ...     plateau = plateau.after(value)
    >>> plateau.scale
    0.5
    """

    factor: float
    patience: int  # looks without improvement before a drop
    min_delta: float
    mode: Literal["min", "max"]
    scale: float = 1.0  # the factor now
    best: float | None = None  # None before the first finite value
    waited: int = 0  # looks since the last improvement or drop

    def after(self, value: float) -> Plateau:
        """The state once the metric was seen to be `value`."""
        if self._improves(value):
            return replace(self, best=value, waited=0)
        if self.waited + 1 < self.patience:
            return replace(self, waited=self.waited + 1)
        return replace(self, scale=self.scale * self.factor, waited=0)

    def _improves(self, value: float) -> bool:
        if not isfinite(value) or self.best is None:
            return isfinite(value)
        return value < self.best - self.min_delta if self.mode == "min" else value > self.best + self.min_delta

    def facts(self) -> dict[str, float | None]:
        """What changes, as plain numbers to be saved."""
        return {"scale": self.scale, "best": self.best, "waited": self.waited}

    def restored(self, facts: Mapping[str, float | None]) -> Plateau:
        """The same rule in a state that `facts` once gave."""
        return replace(self, scale=facts["scale"] or 0.0, best=facts["best"], waited=int(facts["waited"] or 0))


def _share(step: int, total: int) -> float:
    """How much of `total` steps is over: 0 to 1."""
    return min(1.0, step / total) if total > 0 else 1.0


def _fall(share: float, end: float) -> float:
    """Half a cosine from 1 to `end`."""
    return end + (1 - end) * (1 + cos(pi * share)) / 2
