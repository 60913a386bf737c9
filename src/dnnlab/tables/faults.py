"""What can be wrong with a delimited file, found exactly and said with row and column."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from itertools import islice
from typing import NoReturn

from dnnlab.errors import DataError, shown
from dnnlab.tables.paths import plain
from dnnlab.tables.records import Grammar, Record, split, text, walk

COLUMNS = 10_000  # more than that is refused
CELL = 1_000_000  # bytes of a cell; a longer one is refused


def at(file: str, row: int | None = None, column: str | int | None = None) -> str:
    """Where a fault stands; a column by its name, or by its number where it has none.

    >>> at("a.csv", 3, "age"), at("a.csv", 1, 2)
    ('a.csv: row 3, column age', 'a.csv: row 1, column 2')
    """
    parts = [f"row {row}" if row is not None else "", f"column {plain(str(column), 80)}" if column is not None else ""]
    place = ", ".join(part for part in parts if part)
    return f"{said(file)}: {place}" if place else said(file)


def refuse_mark(data: bytes, file: str) -> None:
    """Refuse a file that begins with UTF-16's mark of byte order."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(
            f"the bytes must be UTF-8, however: the file begins with {shown(data[:2])}, as UTF-16 does",
            where=f"{said(file)}: byte 0, row 1",
            fix="Try data.encoding=utf-16",
        )


def refuse_nul(data: bytes, start: int, end: int, grammar: Grammar, file: str, row: int, offset: int, names: Sequence[str] = ()) -> None:
    """Refuse a NUL byte between `start`, where record number `row` begins, and `end`; a search at memory speed where there is none."""
    nul = data.find(b"\0", start, end)
    if nul < 0:
        return
    encoding = "" if names else _without_mark(data[nul & ~1 : (nul & ~1) + 4096])  # UTF-16 shows in the header
    number, column = locate(data, nul, grammar, row, start)
    if encoding:
        raise DataError(
            f"the bytes must be UTF-8, however: every second one is NUL, as in {encoding}",
            where=f"{said(file)}: byte {offset + nul}, row {number}",
            fix=f"Try data.encoding={encoding}",
        )
    raise DataError(
        f"a cell must hold text, however: it holds a NUL byte (byte {offset + nul} of the file)",
        where=at(file, number, _name(names, column)),
        fix="Is this a text file, and is it whole?",
    )


def refuse_encoding(data: bytes, start: int, grammar: Grammar, file: str, row: int, offset: int) -> None:
    """Refuse bytes that are not UTF-8: the first of them, and the encoding that they may be in."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        number, _ = locate(data, error.start, grammar, row, start) if error.start >= start else (max(1, row - 1), 0)
        encoding = "cp1252" if any(0x80 <= byte < 0xA0 for byte in data[error.start : error.start + 4096]) else "latin-1"
        raise DataError(
            f"the bytes must be UTF-8, however: there is {shown(data[error.start : error.start + 1])}",
            where=f"{said(file)}: byte {offset + error.start}, row {number}",
            fix=f"Try data.encoding={encoding}",
        ) from error


def locate(data: bytes, position: int, grammar: Grammar, row: int, start: int = 0) -> tuple[int, int]:
    """The row number and the column (from 0) of a byte; `row` is the number of the record at `start`."""
    for number, record in enumerate(walk(data, start, grammar), row):
        if position < record.after:
            places = split(data, record.start, grammar).places
            return number, max(0, sum(begin <= position for begin, _ in places) - 1)
    return row, 0


def refuse_record(data: bytes, record: Record, grammar: Grammar, file: str, row: int, names: Sequence[str]) -> NoReturn:
    """Refuse a record in which the walk met trouble with quotes or line ends."""
    where = at(file, row, _name(names, record.column))
    begin, end = split(data, record.start, grammar).places[record.column]
    if record.trouble == "unclosed":
        raise DataError(
            f"a quote must be closed, however: the cell that begins with {shown(text(data, (begin, min(end, begin + 40)), grammar))} "
            "goes on to the end",
            where=where,
            fix="Close the quote, or try data.quote=null where quotes are plain letters",
        )
    if record.trouble == "after quote":
        raise DataError(
            f"a quoted cell must end with its closing quote, however: {shown(text(data, (begin, end), grammar))}",
            where=where,
            fix="Double the quotes inside the cell, or try data.quote=null where quotes are plain letters",
        )
    raise DataError(
        "lines must end with LF or CR LF, however: there is a bare CR",
        where=where,
        fix="Save the file with other line ends, or put the cell into quotes",
    )


def refuse_counts(data: bytes, record: Record, grammar: Grammar, file: str, row: int, names: Sequence[str], first: bool) -> NoReturn:
    """Refuse a row with more or fewer cells than there are columns; `first`: no row of the file is before it."""
    count = len(names)
    following = (other.cells for other in islice(walk(data, record.start, grammar), 1000) if other.kind == "row")
    if first and all(cells == count + 1 for cells in following):
        raise DataError(
            f"rows must have as many cells as the header has names, however: every row has one more ({count + 1}, not {count})",
            where=at(file, row),
            fix="Name the column that has no name in the header, or take the separator away at the end of the rows",
        )
    other = next((sign for sign in (";", "\t", "|", ",") if count == 1 and sign in names[0]), None)
    hint = f"Try data.separator={other!r}" if other else "Put cells that hold a separator into quotes, or try data.separator or data.quote"
    raise DataError(f"every row must have {count} cells, as the first line has, however: {record.cells}", where=at(file, row), fix=hint)


def refuse_long(column: str, size: int, file: str, row: int) -> NoReturn:
    """Refuse a cell that is longer than the limit."""
    raise DataError(
        f"a cell must have at most {CELL:,} bytes, however: {size:,}",
        where=at(file, row, column),
        fix="Is a quote left open? Try data.quote=null where quotes are plain letters",
    )


def no_rows(file: str) -> DataError:
    """The answer to a table without rows."""
    return DataError("a table must have rows, however: 0 data rows", where=said(file), fix="Is this the right file?")


def _without_mark(data: bytes) -> str:
    """UTF-16 without a mark has a NUL in nearly every second byte of common text."""
    even, odd, half = data[::2].count(0), data[1::2].count(0), max(1, len(data) // 2)
    if odd > 0.6 * half and even < 0.1 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.6 * half and odd < 0.1 * half else ""


def _name(names: Sequence[str], column: int) -> str | int:
    return names[column] if column < len(names) else column + 1


def said(file: str) -> str:
    """A file's name as errors say it."""
    return "standard input" if file == "-" else plain(file)
