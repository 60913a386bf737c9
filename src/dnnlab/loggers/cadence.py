"""When a record is worth a line: often at the beginning, ever more rarely later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, final

from dnnlab.loggers import Beginning, Logger
from dnnlab.records import Epoch, Summary


def due(epoch: int, every: int | Literal["auto"] = "auto") -> bool:
    """Whether an epoch (from 1) is to be logged: every n-th; auto: each of the first 100, then 175 of each tenfold.

    The strides of auto are 2, 4 and 10 hundredths of the power of ten below, so that round numbers are always among them.

    >>> [epoch for epoch in range(1, 2001) if due(epoch)][98:103], due(1000), due(1990), due(2000)
    ([99, 100, 102, 104, 106], True, False, True)
    >>> [sum(due(epoch) for epoch in range(10**k + 1, 10 ** (k + 1) + 1)) for k in (2, 3, 4)]
    [175, 175, 175]
    >>> [epoch for epoch in range(1, 10) if due(epoch, 4)]
    [4, 8]
    """
    if every != "auto":
        return epoch % every == 0
    if epoch <= 100:
        return True
    power = int(10 ** (len(str(epoch)) - 1))
    stride = power // 100 * (2 if epoch < 2 * power else 4 if epoch < 5 * power else 10)
    return epoch % stride == 0


def landmark(epoch: int) -> bool:
    """Whether an epoch is one of 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, …: about six of each tenfold.

    >>> [epoch for epoch in range(1, 301) if landmark(epoch)]
    [1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300]
    """
    return str(epoch).rstrip("0") in ("1", "15", "2", "3", "5", "7")


@final
class Thinned:
    """Passes on the records that are due, and the last one in any case."""

    def __init__(self, logger: Logger, every: int | Literal["auto"] = "auto") -> None:
        self._logger = logger
        self._every = every
        self._held: Epoch | None = None

    def start(self, beginning: Beginning) -> None:
        """The run begins."""
        self._logger.start(beginning)

    def epoch(self, record: Epoch) -> None:
        """Pass the record on, or hold it back until it turns out to be the last."""
        if due(record.epoch, self._every):
            self._held = None
            self._logger.epoch(record)
        else:
            self._held = record

    def finish(self, summary: Summary, pictures: Mapping[str, bytes]) -> None:
        """Pass on what was held back, then the end."""
        if self._held is not None:
            self._logger.epoch(self._held)
        self._logger.finish(summary, pictures)
