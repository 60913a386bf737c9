"""The terminal, or what stands in its place: a pipe that may close, a file, nothing at all."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from errno import EBADF, EIO, ENXIO, EPIPE
from functools import cache
from io import TextIOBase
from typing import IO, TextIO, cast, final

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from dnnlab.files import printable, refusal, silence
from dnnlab.records import Finding, Summary

PARTS = ("train/", "valid/", "test/")


GONE = (EPIPE, EIO, EBADF, ENXIO)  # what the system says of a pipe that nobody reads, or a terminal that hung up


@final
class Output(TextIOBase):
    """Standard output as it is at the moment: BrokenPipeError where nobody hears it any longer, ResourceError where its disk is full."""

    def write(self, text: str) -> int:
        """Say it."""
        with _heard():
            return 0 if (stream := _stream()) is None else stream.write(text)

    def flush(self) -> None:
        """Say it now."""
        with _heard():
            if (stream := _stream()) is not None:
                stream.flush()

    def isatty(self) -> bool:
        """Whether a person may be looking."""
        stream = _stream()
        return stream is not None and not stream.closed and stream.isatty()

    def fileno(self) -> int:
        """The system's number for it."""
        return sys.stdout.fileno()


def _stream() -> TextIO | None:
    """Standard output itself, also while a live line has put a stream of its own in its place; None where it is closed."""
    stream: TextIO | None = getattr(sys.stdout, "rich_proxied_file", sys.stdout)
    return stream


@contextmanager
def _heard() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in GONE:
            raise BrokenPipeError(*error.args) from error
        silence()
        raise refusal(error, "standard output") from error


@final
class Terminal(Console):
    """Standard output; when nobody hears it any longer (`… | head`), the run goes on in silence."""

    def show_cursor(self, show: bool = True) -> bool:
        """Hide or show the cursor; what hides it shows it again however the program ends."""
        if not show:
            atexit.register(self.show_cursor, True)
        return super().show_cursor(show)

    def on_broken_pipe(self) -> None:
        """Say no more."""
        self.quiet = True
        silence()


@cache
def terminal() -> Terminal:
    """The one console that dnnlab speaks through."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")  # a terminal that knows only ASCII shows ? for what it cannot
    return Terminal(file=cast(IO[str], Output()), highlight=False)


def say(line: str) -> None:
    """One line, however wide the terminal."""
    terminal().print(Text(printable(line)), soft_wrap=True)


def number(value: float) -> str:
    """A measured figure for people: four significant digits, no exponent where it can be avoided.

    >>> number(0.97222), number(0.92), number(1234.5678), number(0.00001234), number(float("nan"))
    ('0.9722', '0.9200', '1235', '1.234e-05', 'nan')
    """
    return f"{value:.0f}" if 1000 <= abs(value) < 1e9 else f"{value:#.4g}"


def duration(seconds: float) -> str:
    """A length of time for people.

    >>> duration(0.0123), duration(3.21), duration(75), duration(7322)
    ('0.01 s', '3.2 s', '1:15 min', '2:02 h')
    """
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes = round(seconds) // 60
    return f"{minutes}:{round(seconds) % 60:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d} h"


def result_table(summary: Summary, name: str = "", monitor: str = "") -> RenderableType:
    """How a run ended: its figures by part of the data, what a person should know, and where everything lies."""
    from rich.console import Group

    lines: list[RenderableType] = [_headline(summary, name)]
    parts = {metric: value for metric, value in summary.metrics.items() if metric.startswith(PARTS)}
    if parts:
        lines.append(_figures(parts, monitor))
    others = [f"{printable(metric)} {value:.6g}" for metric, value in summary.metrics.items() if metric not in parts]
    if others:
        lines.append(Text(" · ".join(others)))
    lines += [finding_line(finding) for finding in summary.findings]
    lines.append(Text(printable(summary.folder), "blue", overflow="ignore", no_wrap=True))  # in one piece, for those who copy it
    return Group(*lines)


def finding_line(finding: Finding) -> Text:
    """One finding, and what to do about it."""
    sign, style = ("!", "yellow") if finding.level == "warning" else ("·", "cyan")
    line = Text(f"{sign} {printable(finding.text)}", style)
    if finding.remedy:
        line.append(f"  → {printable(finding.remedy)}", "bold")
    return line


def _headline(summary: Summary, name: str) -> Text:
    style = "bold green" if summary.status == "finished" else "bold red"
    line = Text(f"{printable(name)} " if name else "", "bold")
    line.append(printable(summary.status), style)
    many = "" if summary.epochs == 1 else "s"
    return line.append(f" after {summary.epochs} epoch{many}, {summary.steps:,} steps, {duration(summary.seconds)}", "not bold")


def _figures(metrics: Mapping[str, float], monitor: str) -> Table:
    """One row for each figure, one column for each part; the monitored figure is bold."""
    parts = [part.rstrip("/") for part in PARTS if any(metric.startswith(part) for metric in metrics)]
    figures = dict.fromkeys(metric.split("/", 1)[1] for metric in metrics)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    for part in parts:
        table.add_column(part, justify="right")
    for figure in figures:
        names = [f"{part}/{figure}" for part in parts]
        cells = [Text(number(metrics[name]) if name in metrics else "", "bold" if name == monitor else "") for name in names]
        table.add_row(Text(printable(figure)), *cells)
    return table
