"""Delimited bytes as they come, cut between records: the front first, then pieces that can be read on their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dnnlab.errors import DataError
from dnnlab.tables.dialect import Dialect
from dnnlab.tables.faults import CELL, at, refuse_long
from dnnlab.tables.header import Layout, front
from dnnlab.tables.records import cut, split, walk

_FRONT = 1 << 24  # bytes in which the header must end


def opened(chunks: Iterator[bytes], dialect: Dialect, file: str) -> tuple[Layout, bytes]:
    """The layout of what follows the header, and the beginning of it; as much is read as that takes."""
    data = b""
    while True:
        chunk = next(chunks, None)
        data += chunk or b""
        layout = front(data, dialect, file, whole=chunk is None)
        if layout is not None:
            return replace(layout, start=0, offset=layout.start), data[layout.start :]
        if len(data) > _FRONT:
            raise DataError(
                f"the header must end within {_FRONT:,} bytes, however: it does not", where=at(file), fix="Is a quote left open?"
            )


def aligned(data: bytes, chunks: Iterator[bytes], layout: Layout) -> Iterator[bytes]:
    """`data` and the chunks behind it, in pieces of whole records; a record that does not end is the last piece."""
    for chunk in chunks:
        data += chunk
        end = cut(data, layout.grammar)
        if end:
            yield data[:end]
            data = data[end:]
        elif overlong(data, layout):
            break
    if data:
        yield data


def overlong(data: bytes, layout: Layout) -> bool:
    """Whether a record that goes on behind `data` has a cell beyond the limit."""
    return len(data) > CELL and any(end - begin > CELL for begin, end in split(data, 0, layout.grammar).places)


def refuse_overlong(data: bytes, layout: Layout) -> None:
    """Refuse a piece that is one record with a cell beyond the limit."""
    cells = split(data, 0, layout.grammar) if len(data) > CELL else None
    if cells is None or cells.after < len(data):
        return
    for name, (begin, end) in zip(layout.names, cells.places, strict=False):
        if end - begin > CELL:
            refuse_long(name, end - begin, layout.file, layout.row)


def first_rows(pieces: Iterator[bytes], layout: Layout, rows: int) -> bytes:
    """The bytes of the first so many rows, and of blank lines and comments between them."""
    kept: list[bytes] = []
    for piece in pieces:
        for record in walk(piece, 0, layout.grammar):
            rows -= record.kind == "row"
            if not rows:
                return b"".join((*kept, piece[: record.after]))
        kept.append(piece)
    return b"".join(kept)


def first_lines(pieces: Iterator[bytes], rows: int) -> bytes:
    """The bytes of the first so many lines that are not blank."""
    data, position = b"", 0
    for piece in pieces:
        data += piece
        while (end := data.find(b"\n", position)) >= 0:
            rows -= bool(data[position:end].strip())
            position = end + 1
            if not rows:
                return data[:position]
    return data
