"""Tabular files read whole: one typed frame, the facts of every file, and what was done to them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from dnnlab.errors import ConfigError, DataError, shown
from dnnlab.tables.cells import clean
from dnnlab.tables.columnar import arrow, finished, jsonl, parquet
from dnnlab.tables.delimited import Parsed, parse, row_number
from dnnlab.tables.dialect import Dialect, check
from dnnlab.tables.faults import at, no_rows, said
from dnnlab.tables.header import Layout, front, number_like
from dnnlab.tables.packing import unpack
from dnnlab.tables.paths import Found, find
from dnnlab.tables.pieces import aligned, first_lines, first_rows, opened
from dnnlab.tables.sources import Form, Tally, chunks, decoded, form_of, unpacked, whole

_DEFAULT = Dialect()


@dataclass(frozen=True)
class FileFact:
    """What a result must remember of a file."""

    path: str  # as the user wrote it, or as the glob found it
    bytes: int  # as it lies there, packed or not
    sha256: str  # of exactly the bytes that were read
    rows: int


@dataclass(frozen=True)
class Span:
    """Which rows of the frame come from one file, and how that file numbers them."""

    file: str
    start: int  # row of the frame
    first: int  # the number that the file's first row has there
    skipped: tuple[int, ...] = ()  # for each blank line or comment: the file's row (from 0) that it stands before


@dataclass(frozen=True, eq=False)
class Reading:
    """A table as it was read."""

    frame: pl.DataFrame  # typed; text without blanks around it, empty text is null
    files: tuple[FileFact, ...]
    notes: tuple[str, ...]  # what was done that nobody asked for
    padded: tuple[str, ...] = ()  # columns of integers that had leading zeros
    spans: tuple[Span, ...] = ()
    typed: bool = False  # the files say of themselves which cells are numbers, dates and truth values: all but delimited ones do

    def place(self, row: int) -> str:
        """Where a row of the frame stands: file and row number as a spreadsheet shows it (the header is row 1)."""
        if not 0 <= row < self.frame.height:
            raise IndexError(f"row {row} of {self.frame.height}")
        span = self.spans[bisect_right([span.start for span in self.spans], row) - 1]
        return at(span.file, row_number(row - span.start, span.first, span.skipped))


@dataclass(frozen=True, eq=False)
class _Table:
    """One file's rows, and what it takes to read them once more with some columns as text."""

    fact: FileFact
    parsed: Parsed
    first: int = 1
    layout: Layout | None = None
    data: bytes = b""


def read(
    path: str | Sequence[str],
    form: str = "auto",
    dialect: Dialect = _DEFAULT,
    *,
    text: Collection[str] = (),
    rows: int | None = None,
    key: str = "data.path",
    root: str | None = None,
) -> Reading:
    """Read a file, a glob, a list of both or "-" (standard input) into one frame; raises DataError where it is no table.

    form: auto (by suffix), csv, parquet, arrow or jsonl; text: columns that are text whatever they look like; rows: only the first so
    many; key: the setting that errors name; root: the folder that relative paths begin at.
    """
    check(dialect)
    if rows is not None and rows < 1:
        raise ConfigError(f"data.rows must be at least 1, however: {rows}", where="data.rows", fix="Try data.rows=1000")
    tables: list[_Table] = []
    left = rows
    files = [(found, form_of(found, form)) for found in find(path, key, root)]
    for found, kind in files:
        if left == 0:
            break
        tables.append(_table(found, kind, dialect, text, left, key, several=len(files) > 1))
        left = None if left is None else left - tables[-1].fact.rows
    return _joined(tables, dialect, text)


def _table(found: Found, kind: Form, dialect: Dialect, text: Collection[str], rows: int | None, key: str, several: bool) -> _Table:
    if kind in ("parquet", "arrow"):
        table = _columns(found, kind, dialect, text, rows, key)
    elif rows is None:
        raw, tally = whole(found, kind, key)
        table = _text(found, kind, unpacked(raw, found, kind), None, dialect, text)
        table = replace(table, fact=_fact(found, tally, table.parsed))
    else:
        table = _beginning(found, kind, dialect, text, rows, key)
    if not table.fact.rows:
        raise no_rows(found.name)
    return table if several else replace(table, data=b"")


def _text(found: Found, kind: Form, data: bytes, layout: Layout | None, dialect: Dialect, text: Collection[str]) -> _Table:
    """The rows of a text file's bytes, which have no fact of the file yet."""
    nothing = FileFact(found.name, 0, "", 0)
    if kind == "jsonl":
        frame, skipped = jsonl(data, found.name)
        return _Table(nothing, Parsed(clean(finished(frame, found.name, text), dialect.na_values), skipped))
    if layout is None:
        data = data if dialect.utf8 else b"".join(decoded(iter([data]), found.name, dialect))
        layout = front(data, dialect, found.name, whole=True)
    if layout is None:
        raise no_rows(found.name)
    return _Table(nothing, parse(data, layout, dialect, text), layout.row, layout, data)


def _beginning(found: Found, kind: Form, dialect: Dialect, text: Collection[str], rows: int, key: str) -> _Table:
    """The first rows of a file that may be larger than memory; the rest of it is only hashed."""
    tally = Tally()
    raw = chunks(found, key, tally)
    pieces = unpack(raw, found.name)
    if kind == "jsonl":
        table = _text(found, kind, first_lines(pieces, rows), None, dialect, text)
    else:
        pieces = decoded(pieces, found.name, dialect)
        layout, data = opened(pieces, dialect, found.name)
        table = _text(found, kind, first_rows(aligned(data, pieces, layout), layout, rows), layout, dialect, text)
    for _ in raw if not found.standard_input else ():
        pass
    return replace(table, fact=_fact(found, tally, table.parsed))


def _columns(found: Found, kind: Form, dialect: Dialect, text: Collection[str], rows: int | None, key: str) -> _Table:
    raw, tally = whole(found, kind, key)
    frame = parquet(raw, found.name) if kind == "parquet" else arrow(raw, found.name)
    parsed = Parsed(clean(finished(frame if rows is None else frame.head(rows), found.name, text), dialect.na_values))
    return _Table(_fact(found, tally, parsed), parsed)


def _fact(found: Found, tally: Tally, parsed: Parsed) -> FileFact:
    return FileFact(found.name, tally.size, tally.hash.hexdigest(), parsed.frame.height)


def _joined(tables: Sequence[_Table], dialect: Dialect, text: Collection[str]) -> Reading:
    """One frame of all files' rows, columns in the order of the first file."""
    names = tables[0].parsed.frame.columns
    for table in tables[1:]:
        _check_columns(tables[0], table)
    kinds = {name: _common([table.parsed.frame[name] for table in tables]) for name in names}
    apart = {name for name, kind in kinds.items() if kind is None}
    if apart:  # 007 in one file and A12 in another: text as it was written, in all of them
        tables = [_as_text(table, dialect, {*text, *apart}) for table in tables]
        kinds |= {name: pl.String() for name in apart}
        _check_kinds(tables, sorted(apart))
    frames = [_cast(table.parsed.frame, kinds) for table in tables]
    starts = [sum(frame.height for frame in frames[:number]) for number in range(len(frames))]
    padded = tuple(name for name in names if kinds[name] != pl.String and any(name in table.parsed.padded for table in tables))
    return Reading(
        frame=frames[0] if len(frames) == 1 else pl.concat(frames),
        files=tuple(table.fact for table in tables),
        notes=_notes(tables, padded),
        padded=padded,
        spans=tuple(Span(t.fact.path, start, t.first, t.parsed.skipped) for t, start in zip(tables, starts, strict=True)),
        typed=all(table.layout is None for table in tables),
    )


def _cast(frame: pl.DataFrame, kinds: Mapping[str, pl.DataType | None]) -> pl.DataFrame:
    """These columns in this order; not selected by name, for polars takes * for all of them."""
    return pl.DataFrame([frame[name] if kind is None else frame[name].cast(kind) for name, kind in kinds.items()])


def _notes(tables: Sequence[_Table], padded: tuple[str, ...]) -> tuple[str, ...]:
    stripped = dict.fromkeys(name for table in tables if table.layout is not None for name in table.layout.stripped)
    notes = []
    if stripped:
        notes.append(f"column names had blanks around them, which were taken away: {', '.join(shown(name) for name in stripped)}")
    numbers = [name for name in tables[0].parsed.frame.columns if number_like(name)] if tables[0].layout is not None else []
    if numbers:
        listed = ", ".join(shown(name) for name in numbers[:5])
        notes.append(
            f"the first line was taken for the header, though names in it are numbers: {listed}; if it is a row, data.header=false"
        )
    if padded:
        notes.append(f"whole numbers lost their leading zeros: {', '.join(shown(name) for name in padded)}; as categories they keep them")
    return tuple(notes)


def _check_columns(first: _Table, other: _Table) -> None:
    for one, two in ((first, other), (other, first)):
        missing = [name for name in one.parsed.frame.columns if name not in two.parsed.frame.columns]
        if missing:
            raise DataError(
                f"all files must have the same columns, however: {shown(missing[0])} is in {said(one.fact.path)} and not in "
                f"{said(two.fact.path)}",
                where=at(two.fact.path),
                fix="Give all files the same columns, in any order, or name only those that have them",
            )


def _common(columns: Sequence[pl.Series]) -> pl.DataType | None:
    """The type that holds the cells of all files; None where their types are too different. A column of nulls takes any type."""
    kinds = list({str(column.dtype): column.dtype for column in columns if column.null_count() < len(column)}.values())
    if len(kinds) < 2:
        return (kinds or [columns[0].dtype])[0]
    return pl.Float64() if all(kind.is_numeric() for kind in kinds) else None


def _as_text(table: _Table, dialect: Dialect, text: Collection[str]) -> _Table:
    if table.layout is None:
        return table
    return replace(table, parsed=parse(table.data, table.layout, dialect, text))


def _check_kinds(tables: Sequence[_Table], names: Sequence[str]) -> None:
    """Refuse columns that differ in files whose types are written down, as in Parquet."""
    for table in tables:
        for name in names:
            kind = table.parsed.frame.schema[name]
            if kind != pl.String:
                raise DataError(
                    f"a column must have one type in all files, however: it is {kind} here and not in another file",
                    where=at(table.fact.path, column=name),
                    fix="Write the files with the same types",
                )
