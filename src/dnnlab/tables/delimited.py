"""A delimited file's bytes to a frame: polars reads, cheap counts watch over it, and the exact walk answers where they do not agree."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from polars.exceptions import PanicException, PolarsError

from dnnlab.errors import DataError
from dnnlab.tables.cells import clean, padded, typed
from dnnlab.tables.dialect import Dialect
from dnnlab.tables.faults import CELL, at, refuse_counts, refuse_encoding, refuse_long, refuse_nul, refuse_record
from dnnlab.tables.header import Layout
from dnnlab.tables.paths import plain
from dnnlab.tables.records import Grammar, Record, split, walk

SAMPLE = 1000  # rows whose cells tell the types that are tried first
Types = Mapping[str, pl.DataType | type[pl.DataType]]


@dataclass(frozen=True, eq=False)
class Parsed:
    """The rows of a file, or of a piece of one."""

    frame: pl.DataFrame
    skipped: tuple[int, ...] = ()  # for each blank line or comment: the row of the frame that it stands before
    padded: tuple[str, ...] = ()

    @property
    def records(self) -> int:
        """How many of a spreadsheet's rows they took."""
        return self.frame.height + len(self.skipped)


def row_number(row: int, first: int, skipped: tuple[int, ...]) -> int:
    """The number that a spreadsheet shows for a row of the frame (from 0), where the first one's is `first`.

    >>> row_number(1, 2, (1,))
    4
    """
    return first + row + bisect_right(skipped, row)


def parse(data: bytes, layout: Layout, dialect: Dialect, text: Collection[str] = (), types: bool = True) -> Parsed:
    """The rows of `data` from the layout's start on; raises DataError with row and column where they are no table.

    text: columns that stay text; types: whether the others are given types.
    """
    refuse_nul(data, layout.start, len(data), layout.grammar, layout.file, layout.row, layout.offset, layout.names)
    body, blanks = _trimmed(data, layout.start)
    sample = _read(body, layout, dialect, {}, SAMPLE) if types else None
    texts = clean(sample, dialect.na_values) if isinstance(sample, pl.DataFrame) else pl.DataFrame()
    first = {name: typed(texts[name], dialect).dtype for name in texts.columns if name not in text}
    numbers = {name: kind for name, kind in first.items() if kind in (pl.Int64, pl.Float64)} if dialect.plain_numbers else {}
    frame = _frame(body, layout, dialect, numbers)
    skipped: tuple[int, ...] = ()
    if not isinstance(frame, pl.DataFrame) or _suspicious(frame, body, layout, dialect.na_values):
        tidied, skipped = _tidy(body, layout)
        if tidied is not None:
            frame = _frame(tidied, replace(layout, start=0), dialect, numbers)
    if not isinstance(frame, pl.DataFrame):
        raise DataError(f"the rows must be a table, however: {plain(str(frame), 300)}", where=at(layout.file)) from frame
    _check_lengths(frame, layout, skipped)
    frame = clean(frame, dialect.na_values)
    if types:
        frame = frame.with_columns(typed(frame[name], dialect) for name in frame.columns if name not in text)
    integers = [name for name, kind in frame.schema.items() if kind == pl.Int64]
    return Parsed(frame, skipped + (frame.height,) * blanks, padded(texts, integers))


def _trimmed(data: bytes, start: int) -> tuple[bytes, int]:
    """The data without blank lines at its end, and how many there were."""
    if not data.endswith((b"\n\n", b"\n\r\n")):
        return data, 0
    end = max(start, len(data.rstrip(b"\r\n")))
    end = (data.find(b"\n", end) + 1) if end > start else start  # the last row keeps its line end
    return data[:end], data.count(b"\n", end)


def _frame(data: bytes, layout: Layout, dialect: Dialect, numbers: Types) -> pl.DataFrame | BaseException:
    """Number columns as such where every cell fits, else every column as text: the types are told from all cells then."""
    frame = _read(data, layout, dialect, numbers) if numbers else None
    return frame if isinstance(frame, pl.DataFrame) else _read(data, layout, dialect, {})


def _read(data: bytes, layout: Layout, dialect: Dialect, types: Types, rows: int | None = None) -> pl.DataFrame | BaseException:
    """What polars reads, or why it does not."""
    schema: dict[str, pl.DataType | type[pl.DataType]] = {name: types.get(name, pl.String) for name in layout.names}
    if layout.start >= len(data):
        return pl.DataFrame(schema=schema)
    grammar = layout.grammar
    try:
        return pl.read_csv(
            data,
            has_header=False,
            schema=schema,
            separator=grammar.separator.decode(),
            quote_char=grammar.quote.decode() if grammar.quote is not None else None,
            null_values=list(dialect.na_values) or None,
            skip_lines=data.count(b"\n", 0, layout.start),
            n_rows=rows,
            glob=False,
        )
    except (PolarsError, PanicException) as error:
        return error


def _suspicious(frame: pl.DataFrame, data: bytes, layout: Layout, na_values: Sequence[str]) -> bool:
    """Whether some line may be blank, too short, or end with a bare CR: what polars says nothing about.

    It fills short rows with nulls, and a blank line is one of nulls alone: so there is none where the last column has no null. No row
    is too long, for that is an error; so all are whole where the file has as many separators as rows and cells together should have
    (cells that are null by `na_values` are not seen).
    """
    start = layout.start
    sign = layout.grammar.separator
    if layout.grammar.comment is not None or any(sign.decode() in text for text in na_values):
        return True
    if data.find(b"\r", start) >= 0 and data.count(b"\r", start) != data.count(b"\r\n", start):
        return True
    if not frame.to_series(-1).null_count():
        return False
    if frame.width == 1:
        return data.startswith((b"\n", b"\r\n"), start) or data.find(b"\n\n", start) >= 0 or data.find(b"\n\r\n", start) >= 0
    inside = frame.select(pl.col(pl.String).str.count_matches(sign.decode(), literal=True).sum())
    return _count(data, sign, start) != frame.height * (frame.width - 1) + sum(int(column[0]) for column in inside)


def _count(data: bytes, sign: bytes, start: int) -> int:
    """data.count(sign, start), several times as fast where the sign is as frequent as separators are."""
    codes = np.frombuffer(data, np.uint8)[start:]
    return sum(int(np.count_nonzero(codes[begin : begin + (1 << 18)] == sign[0])) for begin in range(0, len(codes), 1 << 18))


def _tidy(data: bytes, layout: Layout) -> tuple[bytes | None, tuple[int, ...]]:
    """The rows without blank lines and comments (None: there are none), and where those stood; the first fault is refused."""
    grammar, names = layout.grammar, layout.names
    refuse_encoding(data, layout.start, grammar, layout.file, layout.row, layout.offset)
    parts: list[bytes] = []
    skipped: list[int] = []
    kept, row = layout.start, 0
    for number, record in enumerate(walk(data, layout.start, grammar), layout.row):
        if record.kind != "row":
            skipped.append(row)
        elif record.trouble:
            refuse_record(data, record, grammar, layout.file, number, names)
        elif record.cells != len(names):
            refuse_counts(data, record, grammar, layout.file, number, names, first=layout.beginning and not row)
        else:
            row += 1
            if not record.stray:
                continue
        parts.append(data[kept : record.start])
        parts.append(_requoted(data, record, grammar))
        kept = record.after
    return (b"".join((*parts, data[kept:])) if parts else None), tuple(skipped)


def _requoted(data: bytes, record: Record, grammar: Grammar) -> bytes:
    """A row with quotes inside plain cells, as polars reads it for sure; nothing for a record that is no row."""
    quote = grammar.quote
    if record.kind != "row" or quote is None:
        return b""
    cells = [data[slice(*place)] for place in split(data, record.start, grammar).places]
    fenced = [quote + cell.replace(quote, quote * 2) + quote if quote in cell and not cell.startswith(quote) else cell for cell in cells]
    return grammar.separator.join(fenced) + b"\n"


def _check_lengths(frame: pl.DataFrame, layout: Layout, skipped: tuple[int, ...]) -> None:
    for column in frame.select(pl.col(pl.String).str.len_bytes()) if frame.height else ():
        longest = column.alias("size").max()
        if isinstance(longest, int) and longest > CELL:
            row = column.alias("size").arg_max() or 0
            refuse_long(column.name, longest, layout.file, row_number(row, layout.row, skipped))
