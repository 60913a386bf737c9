"""The exact, slow walk through a delimited file: what its records and cells are, by the rules of RFC 4180.

polars does the reading; these rules find where a piece may be cut, and where a fault stands. A quote counts where a cell begins with it
and is plain inside any other cell, as in Python's csv module.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

LF, CR = 10, 13
Trouble = Literal["", "unclosed", "after quote", "bare CR"]


@dataclass(frozen=True)
class Grammar:
    """The bytes that structure a file."""

    separator: bytes
    quote: bytes | None = b'"'
    comment: bytes | None = None

    @cached_property
    def plain(self) -> re.Pattern[bytes]:
        """A cell without quotes, and whatever follows a closing quote up to the cell's end."""
        return re.compile(rb"[^%s\n]*+" % re.escape(self.separator))

    @cached_property
    def quoted(self) -> re.Pattern[bytes]:
        """A cell in quotes, doubled ones inside."""
        quote = re.escape(self.quote or b'"')
        return re.compile(rb"%s(?>[^%s]++|%s%s)*+%s" % (quote, quote, quote, quote, quote))

    @cached_property
    def record(self) -> re.Pattern[bytes]:
        """A whole record with its line end."""
        cell = self.plain.pattern
        if self.quote is not None:
            cell = rb"(?:%s%s|(?!%s)%s)" % (self.quoted.pattern, cell, re.escape(self.quote), cell)
        record = rb"(?:%s%s)*+%s\n" % (cell, re.escape(self.separator), cell)
        return re.compile(rb"(?:%s[^\n]*+\n|%s)" % (re.escape(self.comment), record) if self.comment else record)


class Record(NamedTuple):
    """One record of a file: a spreadsheet's row."""

    kind: Literal["row", "blank", "comment"]
    start: int
    after: int  # where the next one begins
    cells: int
    trouble: Trouble = ""
    column: int = 0  # of the trouble, from 0
    stray: bool = False  # some cell holds a quote, but does not begin with one


@dataclass
class Cells:
    """The cells of one record, as places in the data, quotes included."""

    places: list[tuple[int, int]] = field(default_factory=list)
    after: int = 0
    trouble: Trouble = ""
    column: int = 0
    stray: bool = False


def split(data: bytes, start: int, grammar: Grammar) -> Cells:
    """The cells of the record that begins at `start`.

    >>> data = b'1,"a,b"\\n2,c'
    >>> [data[a:b] for a, b in split(data, 0, Grammar(b",")).places]
    [b'1', b'"a,b"']
    """
    cells, position, quote = Cells(), start, grammar.quote
    while True:
        trouble: Trouble = ""
        begin = body = position
        if quote is not None and data.startswith(quote, position):
            match = grammar.quoted.match(data, position)
            if match is None:
                cells.places.append((begin, len(data)))
                cells.after, cells.trouble, cells.column = len(data), "unclosed", len(cells.places) - 1
                return cells
            body = match.end()
        end = _end(grammar.plain, data, body)
        last = end == len(data) or data[end] == LF
        place = end - 1 if last and end > body and data[end - 1] == CR else end
        if body > begin and place > body:
            trouble = "after quote"
        elif data.find(b"\r", body, place) >= 0:
            trouble = "bare CR"
        elif quote is not None and body == begin and data.find(quote, body, place) >= 0:
            cells.stray = True
        cells.places.append((begin, place))
        if trouble and not cells.trouble:
            cells.trouble, cells.column = trouble, len(cells.places) - 1
        if last:
            cells.after = min(end + 1, len(data))
            return cells
        position = end + 1


def text(data: bytes, place: tuple[int, int], grammar: Grammar) -> str:
    """What a cell says, without its quotes; letters that cannot be decoded are replaced."""
    cell, quote = data[slice(*place)], grammar.quote
    if quote is not None and len(cell) > 1 and cell.startswith(quote) and cell.endswith(quote):
        cell = cell[1:-1].replace(quote + quote, quote)
    return cell.decode("utf-8", "replace")


def walk(data: bytes, start: int, grammar: Grammar) -> Iterator[Record]:
    """Every record from `start` on, blank lines and comments included.

    >>> [(record.kind, record.cells) for record in walk(b"1,2\\n\\n3,4,5", 0, Grammar(b","))]
    [('row', 2), ('blank', 0), ('row', 3)]
    """
    position, size = start, len(data)
    while position < size:
        end = data.find(b"\n", position)
        end, after = (size, size) if end < 0 else (end, end + 1)
        if grammar.comment is not None and data.startswith(grammar.comment, position):
            record = Record("comment", position, after, 0)
        elif end == position or (end == position + 1 and data[position] == CR):
            record = Record("blank", position, after, 0)
        elif data.find(b"\r", position, end - 1) >= 0 or (grammar.quote is not None and data.find(grammar.quote, position, end) >= 0):
            cells = split(data, position, grammar)
            record = Record("row", position, cells.after, len(cells.places), cells.trouble, cells.column, cells.stray)
        else:
            record = Record("row", position, after, data.count(grammar.separator, position, end) + 1)
        yield record
        position = record.after


def cut(data: bytes, grammar: Grammar) -> int:
    """Where the last record that is whole, line end included, ends: data up to there can be read on its own.

    >>> cut(b'1,"a\\nb"\\n2,"c\\nd', Grammar(b","))
    8
    """
    if grammar.quote is None or grammar.quote not in data:
        return data.rfind(b"\n") + 1
    position = 0
    while (match := grammar.record.match(data, position)) is not None:
        position = match.end()
    return position


def _end(pattern: re.Pattern[bytes], data: bytes, position: int) -> int:
    match = pattern.match(data, position)
    return position if match is None else match.end()
