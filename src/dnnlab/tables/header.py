"""The front of a delimited file: encoding, separator, column names, and where the rows begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dnnlab.errors import DataError, shown
from dnnlab.tables.dialect import SEPARATORS, Dialect
from dnnlab.tables.faults import (
    CELL,
    COLUMNS,
    at,
    no_rows,
    refuse_encoding,
    refuse_long,
    refuse_mark,
    refuse_nul,
    refuse_record,
)
from dnnlab.tables.records import Grammar, Record, split, text, walk

BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Layout:
    """What the front of a file tells about the rest of it."""

    file: str  # its name, for errors
    grammar: Grammar
    names: tuple[str, ...]
    start: int  # the byte where the first row begins
    row: int  # its number, as a spreadsheet shows it
    offset: int = 0  # bytes of the file before the data at hand
    beginning: bool = True  # whether no row comes before the data at hand
    stripped: tuple[str, ...] = ()  # column names that had blanks around them, as they were written


def front(data: bytes, dialect: Dialect, file: str, whole: bool) -> Layout | None:
    """Read the front; None where `data` is but the beginning of a file (not `whole`) and its header goes on behind it."""
    refuse_mark(data, file)
    grammar = _grammar(dialect)
    start, row = len(BOM) if data.startswith(BOM) else 0, 1
    for _ in range(dialect.skip_rows):
        start, row = (data.find(b"\n", start) + 1) or len(data), row + 1
    first = None
    for record in walk(data, start, grammar):
        if record.kind == "row":
            first = record
            break
        row += 1
    if not whole and (first is None or first.after >= len(data)):
        return None
    if first is None:
        raise no_rows(file)
    if dialect.separator is None:
        grammar = replace(grammar, separator=guess(data[first.start : first.after], dialect, grammar))
    refuse_nul(data, 0, first.after, grammar, file, 1, 0)
    return _layout(data, dialect, file, grammar, first, row)


def guess(line: bytes, dialect: Dialect, grammar: Grammar) -> bytes:
    """The separator that splits a line into most cells, where a decimal comma is none; a comma where none does.

    >>> guess(b'"a,b,c";d', Dialect(), Grammar(b","))
    b';'
    """
    candidates = [sign.encode() for sign in SEPARATORS if sign not in (dialect.thousands, dialect.decimal)]
    counts = {sign: len(split(line, 0, replace(grammar, separator=sign)).places) for sign in candidates}
    return max(candidates, key=lambda sign: counts[sign])


def _grammar(dialect: Dialect) -> Grammar:
    quote, comment = dialect.quote, dialect.comment
    return Grammar(
        separator=(dialect.separator or ",").encode(),
        quote=quote.encode() if quote is not None else None,
        comment=comment.encode() if comment is not None else None,
    )


def _layout(data: bytes, dialect: Dialect, file: str, grammar: Grammar, first: Record, row: int) -> Layout:
    cells = split(data, first.start, grammar)
    if cells.trouble:
        refuse_record(data, first._replace(trouble=cells.trouble, column=cells.column), grammar, file, row, ())
    count = len(cells.places)
    if count > COLUMNS:
        raise DataError(f"a table must have at most {COLUMNS:,} columns, however: {count:,}", where=at(file, row))
    if not dialect.header:
        names = dialect.names or tuple(f"column_{number}" for number in range(1, count + 1))
        if len(names) != count:
            raise DataError(
                f"there must be as many names as columns, however: {len(names)} names and {count} columns",
                where=at(file, row),
                fix="Mend data.names, or try data.separator, or data.header=true",
            )
        return Layout(file, grammar, check_names(names, file, row), first.start, row)
    refuse_encoding(data[: cells.after], first.start, grammar, file, row, 0)
    written = [text(data, place, grammar) for place in cells.places]
    for number, name in enumerate(written, 1):
        if len(name) > CELL:
            refuse_long(str(number), len(name), file, row)
    names = check_names([name.strip() for name in written], file, row)
    return Layout(file, grammar, names, cells.after, row + 1, stripped=tuple(name for name in written if name != name.strip()))


def number_like(name: str) -> bool:
    """Whether a column's name reads as a number, as where a row was taken for the header.

    >>> number_like("0.5"), number_like("age")
    (True, False)
    """
    try:
        float(name)
    except ValueError:
        return False
    return True


def check_names(names: Sequence[str], file: str, row: int | None = 1) -> tuple[str, ...]:
    """Refuse a column without a name and a name that two columns have."""
    seen: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if not name.strip():
            raise DataError(
                f"every column must have a name, however: column {number} of {len(names)} has none",
                where=at(file, row),
                fix="Name it in the file, or try data.header=false with data.names",
            )
        if name in seen:
            raise DataError(
                f"column names must differ, however: columns {seen[name]} and {number} are both {shown(name)}",
                where=at(file, row, name),
                fix="Try data.header=false: the first line looks like a row" if number_like(name) else "Rename one of them in the file",
            )
        seen[name] = number
    return tuple(names)
