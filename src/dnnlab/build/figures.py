"""Which figures are taken when, and which of them picks the best state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dnnlab import metrics
from dnnlab.config.run import RunConfig
from dnnlab.errors import ConfigError, did_you_mean
from dnnlab.losses import MARGIN
from dnnlab.tasks import Task


@dataclass(frozen=True)
class Figures:
    """Names of metrics, without the part of the data that they are taken of."""

    epoch: tuple[str, ...]  # of the validation rows, at each validation
    train: tuple[str, ...]  # of the training rows, at each validation
    final: tuple[str, ...]  # of every part, at the end
    monitor: str  # a logged name: valid/loss
    mode: Literal["min", "max"]
    stop_mode: Literal["min", "max"]  # of trainer.stop_at's metric


def choose_figures(config: RunConfig, task: Task, loss: str, *, has_valid: bool) -> Figures:
    """The figures that were asked for, and those that the monitor and stop_at need; an error names one that cannot be had."""
    margin = loss in MARGIN
    fitting = metrics.fitting(task, margin=margin)
    trainer, asked = config.trainer, config.metrics
    monitor = ("valid/loss" if has_valid else "train/loss") if trainer.monitor == "auto" else trainer.monitor
    watched = {"trainer.monitor": monitor, **({"trainer.stop_at.metric": trainer.stop_at.metric} if trainer.stop_at.metric else {})}
    for key, name in watched.items():
        _check_watched(key, name, fitting, has_valid)
    epoch = metrics.default(task) if asked.epoch == "auto" else tuple(asked.epoch)
    final = metrics.default_final(task, margin=margin) if asked.final == "auto" else tuple(asked.final)
    for where, names in (("metrics.epoch", epoch), ("metrics.final", final)):
        metrics.check_fit(names, task, margin=margin, loss=loss, data=config.data.kind, where=where)
    needed = {part: [name.split("/")[1] for name in watched.values() if name.startswith(part)] for part in ("valid", "train")}
    return Figures(
        epoch=_joined(epoch, needed["valid"]),
        train=_joined(epoch if trainer.train_metrics else (), needed["train"]),
        final=_joined(final, ()),
        monitor=monitor,
        mode=_mode(trainer.mode, monitor),
        stop_mode=_mode("auto", trainer.stop_at.metric or monitor),
    )


def choose_threshold(config: RunConfig, classes: int, loss: str, *, has_valid: bool) -> float:
    """The threshold that holds while training goes on: the number that was asked for, 0.5 where one is sought at the end.

    classes: 0 where the answers are numbers. ConfigError where a threshold makes no sense.
    """
    asked = config.metrics.threshold
    if asked == 0.5:
        return 0.5
    if classes != 2:
        has = f"has {classes} classes" if classes else f"is answered with numbers by model={config.model.kind}"
        raise ConfigError(
            f"metrics.threshold must stand with two classes to tell apart, however: data={config.data.kind} {has}",
            where="metrics.threshold, data.kind" + (", model.kind" * (not classes)),
            fix="Try metrics.threshold=0.5",
        )
    if isinstance(asked, str):
        if not has_valid:
            raise ConfigError(
                f"metrics.threshold={asked} must stand with validation rows to seek it on, however: data.valid=0",
                where="metrics.threshold, data.valid",
                fix="Try data.valid=0.2 or metrics.threshold=0.5",
            )
        return 0.5
    if loss in MARGIN:
        raise ConfigError(
            f"metrics.threshold as a number must stand with a loss that gives probabilities, however: loss={loss} gives none",
            where="metrics.threshold, loss.kind",
            fix="Try metrics.threshold=f1, which is sought, or loss=bce",
        )
    return asked


def _joined(names: tuple[str, ...], more: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in dict.fromkeys((*names, *more)) if name != "loss")


def _mode(asked: str, monitor: str) -> Literal["min", "max"]:
    if asked == "auto":
        return "max" if metrics.HIGHER_IS_BETTER[monitor.split("/")[1]] else "min"
    return "max" if asked == "max" else "min"


def _check_watched(key: str, name: str, fitting: tuple[str, ...], has_valid: bool) -> None:
    part, metric = name.split("/")
    if part == "valid" and not has_valid:
        raise ConfigError(
            f"{key} must name a metric that is logged, however: {name}, and data.valid=0",
            where=f"{key}, data.valid",
            fix=f"Try {key}=train/loss or data.valid=0.2",
        )
    if metric not in ("loss", *fitting):
        raise ConfigError(
            f"{key} must name a metric that is logged, however: {name}",
            where=key,
            fix=did_you_mean(name, [f"{part}/{n}" for n in ("loss", *fitting)]),
        )
