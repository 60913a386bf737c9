"""A tabular file in pieces, in order, at a footprint that does not grow with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from dnnlab.errors import DataError
from dnnlab.tables.cells import clean
from dnnlab.tables.columnar import arrow, batches, finished, jsonl, parquet
from dnnlab.tables.delimited import parse
from dnnlab.tables.dialect import Dialect, check
from dnnlab.tables.faults import CELL, at, no_rows, refuse_long, said
from dnnlab.tables.packing import unpack
from dnnlab.tables.paths import Found, find, open_regular
from dnnlab.tables.pieces import aligned, opened, refuse_overlong
from dnnlab.tables.sources import Form, chunks, decoded, form_of, whole

_DEFAULT = Dialect()


def stream(path: str, form: str = "auto", dialect: Dialect = _DEFAULT, *, rows: int = 65_536, key: str = "FILE") -> Iterator[pl.DataFrame]:
    """The rows of one file (or "-", standard input) in frames of at most `rows` rows, with the faults that `read` names.

    Cells of delimited files come as text (stripped, missing ones null), for a type belongs to a whole column; see `cells.typed`. JSON
    lines are typed piece by piece.
    """
    check(dialect)
    files = find(path, key)
    if len(files) != 1:
        raise DataError(f"must be one file, however: {len(files)} match", where=f"{key}: {said(path)}", fix="Name one file")
    found, total = files[0], 0
    for frame in _frames(found, form_of(found, form), dialect, rows, key):
        total += frame.height
        yield from frame.iter_slices(rows) if frame.height else ()
    if not total:
        raise no_rows(found.name)


def _frames(found: Found, kind: Form, dialect: Dialect, rows: int, key: str) -> Iterator[pl.DataFrame]:
    if kind == "csv":
        return _delimited(decoded(unpack(chunks(found, key), found.name), found.name, dialect), found.name, dialect)
    if kind == "jsonl":
        return _lines(unpack(chunks(found, key), found.name), found.name, dialect)
    return _columns(found, kind, dialect, rows, key)


def _delimited(pieces: Iterator[bytes], file: str, dialect: Dialect) -> Iterator[pl.DataFrame]:
    layout, data = opened(pieces, dialect, file)
    for piece in aligned(data, pieces, layout):
        refuse_overlong(piece, layout)
        parsed = parse(piece, layout, dialect, types=False)
        yield parsed.frame
        layout = replace(layout, row=layout.row + parsed.records, offset=layout.offset + len(piece), beginning=False)


def _lines(pieces: Iterator[bytes], file: str, dialect: Dialect) -> Iterator[pl.DataFrame]:
    """JSON lines; columns that the first piece has are in every piece."""
    row, offset, columns = 1, 0, pl.DataFrame()
    for piece in _whole_lines(pieces, file):
        if len(piece) > CELL and piece.find(b"\n", 0, -1) < 0:
            refuse_long("the line", len(piece), file, row)
        frame, skipped = jsonl(piece, file, row, offset)
        frame = clean(finished(frame, file), dialect.na_values)
        yield pl.concat([columns, frame], how="diagonal_relaxed") if frame.height else frame
        columns = columns if columns.width else frame.clear()
        row, offset = row + frame.height + len(skipped), offset + len(piece)


def _whole_lines(pieces: Iterator[bytes], file: str) -> Iterator[bytes]:
    data = b""
    for piece in pieces:
        data += piece
        if end := data.rfind(b"\n") + 1:
            yield data[:end]
            data = data[end:]
        elif len(data) > 64 * CELL:
            raise DataError(f"a line must have at most {64 * CELL:,} bytes, however: one goes on", where=at(file))
    if data:
        yield data


def _columns(found: Found, kind: Form, dialect: Dialect, rows: int, key: str) -> Iterator[pl.DataFrame]:
    """Parquet and Arrow files, batch by batch; what has no end to begin from (standard input, an Arrow stream) is read whole."""
    streamed = found.standard_input
    if not streamed:
        with open_regular(found, key) as file:
            streamed = kind == "arrow" and file.read(6) != b"ARROW1"
    if streamed:
        data, _ = whole(found, kind, key)
        frames = iter([parquet(data, found.name) if kind == "parquet" else arrow(data, found.name)])
    else:
        frames = batches(found.path, found.name, kind, rows)
    for frame in frames:
        yield clean(finished(frame, found.name), dialect.na_values)
