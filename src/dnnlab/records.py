"""The frozen facts that flow upward: from the trainer to whoever listens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
class Finding:
    """One thing that a person should know, with the override that would mend it."""

    level: str  # "note", "warning"
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Summary:
    """How a run ended: what `run.json` and the table at the end show."""

    status: str  # "finished", "diverged", "interrupted", "failed"
    folder: str
    metrics: Mapping[str, float]
    epochs: int
    steps: int
    seconds: float
    findings: tuple[Finding, ...] = ()
