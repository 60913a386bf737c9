"""How far a run is: one live line on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import final

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dnnlab.files import printable
from dnnlab.loggers import Beginning
from dnnlab.loggers.cadence import landmark
from dnnlab.loggers.console import duration, number, terminal
from dnnlab.records import Epoch, Summary

REFRESH = 0.1  # seconds between two looks of the live line
PATIENCE = 10.0  # seconds after which a plain line comes in any case


@final
class Progress:
    """Shows epoch, loss, monitored metric, learning rate, rows per second and the time that is left.

    On a terminal it is one line that is drawn anew at most ten times a second; elsewhere lines come at epochs 1, 2, 3, 5, 7, 10, 15, …,
    after every ten seconds of silence, and at the end.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or terminal()
        self._beginning = Beginning("", 0, 0)
        self._live: Live | None = None
        self._figures: dict[str, float] = {}
        self._last: Epoch | None = None
        self._drawn = 0.0
        self._told = True  # whether the last record was shown
        self._seconds, self._epochs = 0.0, 0  # of training, in this process
        self._first: tuple[float, int] | None = None  # when the first record came, and of which epoch: it bears what is done but once

    def start(self, beginning: Beginning) -> None:
        """Begin to count; draw an empty line on a terminal."""
        self._beginning = beginning
        self._drawn = monotonic()
        if self._console.is_terminal:
            # no thread: the line is drawn by the records alone
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()

    def epoch(self, record: Epoch) -> None:
        """Take note of a record, and show it if it is time to."""
        self._last = record
        self._figures.update(record.metrics)
        self._seconds += record.seconds
        self._epochs += record.ends_epoch
        now = monotonic()
        self._first = self._first or (now, record.epoch)
        silence = now - self._drawn
        self._told = silence >= REFRESH if self._live else (record.ends_epoch and landmark(record.epoch)) or silence >= PATIENCE
        if self._told:
            self._show(record)

    def finish(self, summary: Summary, pictures: Mapping[str, bytes]) -> None:
        """Show the last record, if it was not, and take the live line away."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._last is not None and not (self._told and not self._console.is_terminal):
            self._console.print(Text(" · ".join(self._words(self._last))), soft_wrap=True)
        self._last = None

    def _show(self, record: Epoch) -> None:
        self._drawn = monotonic()
        if self._live is None:
            self._console.print(Text(" · ".join(self._words(record))), soft_wrap=True)
            return
        line = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(1, self._beginning.epochs), completed=record.epoch, width=20 if self._console.width >= 120 else 10)
        line.add_row(
            Text(printable(self._beginning.name), "bold"), bar, Text("  ".join(self._words(record)), overflow="ellipsis", no_wrap=True)
        )
        self._live.update(line, refresh=True)

    def _words(self, record: Epoch) -> list[str]:
        names = dict.fromkeys(("train/loss", self._beginning.monitor))
        words = [f"epoch {record.epoch}/{self._beginning.epochs}"]
        words += [f"{printable(name)} {number(self._figures[name])}" for name in names if name in self._figures]
        words += [f"lr {self._figures['lr']:.3g}"] if "lr" in self._figures else []
        began, first = self._first or (0.0, record.epoch)
        left, done = self._beginning.epochs - record.epoch, record.epoch - first
        if left > 0 and done > 0:
            words.append(f"{duration(left * (monotonic() - began) / done)} left")
        if self._epochs and self._seconds > 0:
            words.append(f"{self._beginning.rows * self._epochs / self._seconds:,.0f} rows/s")
        return words
