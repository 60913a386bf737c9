"""Who is told while a network trains. A logger is told of the start, of each record and of the end, and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from dnnlab.records import Epoch, Summary

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Beginning:
    """What is known when a run starts."""

    name: str
    epochs: int  # as many as the settings allow
    rows: int  # training rows, of one epoch
    monitor: str = "valid/loss"  # logged name of the metric that picks the best state
    config: Mapping[str, Any] = field(default_factory=dict)  # the complete settings, nested, JSON-able
    model: nn.Module | None = None
    example: Tensor | None = None  # (B, D), a few rows as the model takes them
    earlier: tuple[Epoch, ...] = ()  # records of earlier processes, where the run goes on


class Logger(Protocol):
    """Somebody who is told; `finish` is called once, however the run ended."""

    def start(self, beginning: Beginning) -> None:
        """The run begins."""

    def epoch(self, record: Epoch) -> None:
        """A border was reached."""

    def finish(self, summary: Summary, pictures: Mapping[str, bytes]) -> None:
        """The run is over; `pictures` are PNG files by name, such as confusion_matrix."""
