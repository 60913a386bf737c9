"""The frozen facts that flow upward: from the trainer to whoever listens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from signal import Signals


@dataclass(frozen=True)
class Epoch:
    """What the trainer tells at a border: the end of an epoch, or a validation inside one."""

    epoch: int  # epochs begun so far, from 1
    step: int  # optimizer steps so far
    ends_epoch: bool  # False for a validation inside an epoch
    metrics: Mapping[str, float]  # by logged name: train/loss, valid/accuracy, lr, train/penalty/l1, …
    health: Mapping[str, float] = field(default_factory=dict)  # health/<layer>/<figure>; empty where not due
    seconds: float = 0.0  # monotonic seconds of training since the last record


@dataclass(frozen=True)
class Pause:
    """What the trainer tells between two records where it was asked to: its state is consistent and finite, and can be kept."""

    step: int  # optimizer steps so far


@dataclass(frozen=True)
class Finding:
    """One thing that a person should know, with the override that would mend it."""

    level: str  # "note", "warning"
    text: str
    remedy: str = ""


COMPLETE = "already complete"  # a finding's text: nothing was left to do


@dataclass(frozen=True)
class Summary:
    """How a run ended: what `run.json` and the table at the end show."""

    status: str  # "finished", "pruned", "diverged", "interrupted", "failed"
    folder: str
    metrics: Mapping[str, float]
    epochs: int
    steps: int
    seconds: float
    findings: tuple[Finding, ...] = ()
    signal: str = ""  # that interrupted it, such as SIGTERM
    monitor: str = ""  # the metric that picked the best state

    @property
    def exit_code(self) -> int:
        """As a shell is told of it; 128 + the number of the signal that stopped it.

        >>> Summary("finished", "", {}, 1, 1, 0.1).exit_code, Summary("interrupted", "", {}, 1, 1, 0.1, signal="SIGTERM").exit_code
        (0, 143)
        """
        if self.signal:
            return 128 + Signals[self.signal]
        return {"finished": 0, "pruned": 0, "diverged": 4, "interrupted": 130}.get(self.status, 1)
