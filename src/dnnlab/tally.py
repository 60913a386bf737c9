"""What a run's records come to as it goes: the best, those that are kept, and why it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dnnlab.records import Epoch
from dnnlab.stopping import Best


@dataclass
class Tally:
    """The count that a run keeps."""

    best: Best
    records: list[Epoch] = field(default_factory=list)  # those that were due
    last: Epoch | None = None
    reason: str = ""  # why training ends before its time

    def facts(self) -> dict[str, Any]:
        """All but the records, which stand in metrics.jsonl; JSON-able.

        >>> tally = Tally(Best("valid/loss", "min").after(0.5, epoch=3), reason="enough")
        >>> again = Tally(Best("valid/loss", "min"))
        >>> again.restore(tally.facts(), [])
        >>> again == tally
        True
        """
        told = None if self.last is None else {name: value for name, value in asdict(self.last).items() if name != "seconds"}
        state = {name: value for name, value in asdict(self.best).items() if name not in ("monitor", "mode", "min_delta")}
        return {"best": state, "last": told, "reason": self.reason}

    def restore(self, facts: Mapping[str, Any], rows: Sequence[Mapping[str, float]]) -> None:
        """Go on from what `facts` gave, and the rows that were logged up to then."""
        state = facts["best"]
        counts = {name: int(state[name]) for name in ("epoch", "waited", "nans")}
        self.best = Best(self.best.monitor, self.best.mode, self.best.min_delta, value=float(state["value"]), **counts)
        self.records = [record_of(row) for row in rows]
        last = facts["last"]
        if last is not None:
            self.last = Epoch(
                int(last["epoch"]), int(last["step"]), last["ends_epoch"] is True, _numbers(last["metrics"]), _numbers(last["health"])
            )
        self.reason = str(facts["reason"])


def record_of(row: Mapping[str, float]) -> Epoch:
    """The record that a row of metrics.jsonl tells of.

    >>> record_of({"epoch": 2, "step": 10, "train/loss": 0.5, "health/hidden1/dead": 0.0}).health
    {'health/hidden1/dead': 0.0}
    """
    figures = {name: value for name, value in row.items() if name not in ("epoch", "step")}
    health = {name: value for name, value in figures.items() if name.startswith("health/")}
    return Epoch(int(row["epoch"]), int(row["step"]), True, {name: value for name, value in figures.items() if name not in health}, health)


def row_of(record: Epoch) -> dict[str, float]:
    """A record as a row of metrics.jsonl: no times, so that equal runs leave equal bytes."""
    return {"epoch": record.epoch, "step": record.step, **record.metrics, **record.health}


def _numbers(figures: Mapping[str, Any]) -> dict[str, float]:
    """Back from JSON, where "nan" and "inf" are texts."""
    return {name: float(value) for name, value in figures.items()}
