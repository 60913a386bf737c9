"""When to keep a state, and when to stop: folds over the trainer's records."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isnan, nan

from dnnlab.records import Epoch


@dataclass(frozen=True)
class Best:
    """The best value of the monitored metric so far; a value that is not a number is never best.

    >>> best = Best("valid/loss", "min").after(0.5, epoch=1).after(float("nan"), epoch=2).after(0.7, epoch=3)
    >>> best.value, best.epoch, best.waited, best.nans
    (0.5, 1, 2, 1)
    """

    monitor: str
    mode: str  # "min" or "max"
    min_delta: float = 0.0  # smaller changes are no improvement
    value: float = inf  # in the metric's own sign only once something was seen
    epoch: int = 0  # 0: nothing seen yet
    waited: int = 0  # validations since the best
    nans: int = 0  # validations whose value was not a number

    @property
    def seen(self) -> float:
        """The best value; NaN where none was a number."""
        return self.value if self.epoch else nan

    def improves(self, value: float) -> bool:
        """Whether a value is better than the best so far."""
        if isnan(value):
            return False
        if self.epoch == 0:
            return True
        gain = self.value - value if self.mode == "min" else value - self.value
        return gain > self.min_delta

    def after(self, value: float, epoch: int) -> Best:
        """The state after one more validation."""
        if self.improves(value):
            return Best(self.monitor, self.mode, self.min_delta, value, epoch, 0, self.nans)
        waited, nans = self.waited + 1, self.nans + isnan(value)
        return Best(self.monitor, self.mode, self.min_delta, self.value, self.epoch, waited, nans)


@dataclass(frozen=True)
class Stopper:
    """Early stopping by patience, and stopping at a value that was asked for."""

    patience: int | None = None  # validations without improvement
    metric: str | None = None
    value: float = 0.0
    mode: str = "max"

    def reached(self, value: float | None) -> bool:
        """Whether the metric has the value that was asked for."""
        return value is not None and (value >= self.value if self.mode == "max" else value <= self.value)

    def reason(self, record: Epoch, best: Best) -> str:
        """Why training is to stop after this record, or ''.

        >>> Stopper(metric="train/accuracy", value=1.0).reason(Epoch(3, 12, True, {"train/accuracy": 1.0}), Best("valid/loss", "min"))
        'train/accuracy reached 1 (1 was asked for)'
        """
        if self.patience is not None and best.waited >= self.patience:
            seen = f"its best was {best.value:.6g} in epoch {best.epoch}" if best.epoch else "it was never a number"
            return f"{best.monitor} has not improved for {best.waited} validations; {seen}"
        reached = record.metrics.get(self.metric) if self.metric is not None else None
        if self.reached(reached):
            return f"{self.metric} reached {reached:.6g} ({self.value:g} was asked for)"
        return ""
