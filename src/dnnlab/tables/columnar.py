"""Parquet, Arrow and JSON lines: the bytes of a file to a frame."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Collection, Iterator
from typing import Any, NoReturn

import polars as pl
from polars.exceptions import PanicException, PolarsError

from dnnlab.errors import DataError, shown
from dnnlab.tables.columns import as_words
from dnnlab.tables.faults import COLUMNS, at, said
from dnnlab.tables.header import BOM, check_names
from dnnlab.tables.paths import plain

_MAGIC = b"ARROW1"


def parquet(data: bytes, file: str) -> pl.DataFrame:
    """The rows of a Parquet file."""
    return _whole(lambda: pl.read_parquet(io.BytesIO(data), glob=False, hive_partitioning=False), file, "Parquet")


def arrow(data: bytes, file: str) -> pl.DataFrame:
    """The rows of an Arrow (Feather) file or stream."""
    if data.startswith(_MAGIC):
        return _whole(lambda: pl.read_ipc(io.BytesIO(data)), file, "Arrow")
    return _whole(lambda: pl.read_ipc_stream(io.BytesIO(data)), file, "Arrow")


def batches(path: str, file: str, form: str, rows: int) -> Iterator[pl.DataFrame]:
    """The rows of a Parquet or Arrow file in pieces, in order; what was read before is let go."""
    kind = "Parquet" if form == "parquet" else "Arrow"
    try:
        frames = (
            pl.scan_parquet(path, glob=False, hive_partitioning=False)
            if form == "parquet"
            else pl.scan_ipc(path, glob=False, hive_partitioning=False)
        ).collect_batches(chunk_size=rows, maintain_order=True, lazy=True)
        yield from frames
    except (PolarsError, PanicException, OSError) as error:
        raise _damaged(file, kind, error) from error


def jsonl(data: bytes, file: str, first: int = 1, offset: int = 0) -> tuple[pl.DataFrame, tuple[int, ...]]:
    """The rows of JSON lines, the first of which has the number `first`; and for each blank line the row that it stands before."""
    data = data.removeprefix(BOM)
    try:
        frame = pl.read_ndjson(data, infer_schema_length=None) if data.strip() else pl.DataFrame()
    except (PolarsError, PanicException) as error:
        _refuse_line(data, file, first, offset)
        raise DataError(
            f"every line must be a JSON object with cells of one type per column, however: {plain(str(error), 200)}", where=at(file)
        ) from error
    lines = data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
    return frame, _blanks(data) if lines != frame.height else ()


def finished(frame: pl.DataFrame, file: str, text: Collection[str] = ()) -> pl.DataFrame:
    """Names checked; categories, and numbers that no tensor holds, as text, and so what is declared as such."""
    if frame.width > COLUMNS:
        raise DataError(f"a table must have at most {COLUMNS:,} columns, however: {frame.width:,}", where=at(file))
    names = check_names([name.strip() for name in frame.columns], file, None)
    frame = pl.DataFrame([column.rename(name) for column, name in zip(frame, names, strict=True)]) if names else frame
    kinds = (pl.Categorical, pl.Enum, pl.Null, pl.Int128, pl.UInt128)
    odd = [name for name, kind in frame.schema.items() if kind in kinds or (name in text and kind != pl.String and not kind.is_nested())]
    return frame.with_columns(as_words(frame[name]) for name in odd)  # 1.0 as 1, as later rows say it, too


def _whole(read: Callable[[], pl.DataFrame], file: str, kind: str) -> pl.DataFrame:
    try:
        return read()
    except (PolarsError, PanicException, OSError) as error:
        raise _damaged(file, kind, error) from error


def _damaged(file: str, kind: str, error: BaseException) -> DataError:
    return DataError(
        f"must be a whole {kind} file, however: {plain(' '.join(str(error).split()), 200)}", where=said(file), fix="Fetch or write it again"
    )


def _blanks(data: bytes) -> tuple[int, ...]:
    """For each blank line: the number of rows before it."""
    found: list[int] = []
    row = 0
    for line in data.removesuffix(b"\n").split(b"\n"):
        if line.strip():
            row += 1
        else:
            found.append(row)
    return tuple(found)


def _refuse_line(data: bytes, file: str, first: int, offset: int) -> None:
    """Refuse the first line that is no JSON object, or whose cell is of another type than the column's earlier ones."""
    kinds: dict[str, str] = {}
    position = 0
    for number, line in enumerate(data.split(b"\n"), first):
        if line.strip():
            for name, value in _object(line, file, number, offset + position).items():
                kind = _kind(value)
                if kind and kinds.setdefault(name, kind) != kind:
                    raise DataError(
                        f"the cells of a column must have one type, however: {shown(value)} is {kind}, and those before are {kinds[name]}",
                        where=at(file, number, name),
                    )
        position += len(line) + 1


def _object(line: bytes, file: str, number: int, position: int) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=_no_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        where = f"{said(file)}: byte {position + error.start}, row {number}"
        raise DataError("JSON lines must be UTF-8, however: these bytes are not", where=where, fix="Save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"every line must be a JSON object, however: {plain(str(error), 200)}", where=at(file, number)) from error
    if not isinstance(value, dict):
        raise DataError(
            f"every line must be a JSON object, however: {shown(line[:80].decode('utf-8', 'replace'))}",
            where=at(file, number),
            fix='Write one {"column": value, …} per line',
        )
    return value


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "a truth value"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return "" if value is None else "a number or text"  # polars turns a column of both into text


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{digits} is beyond 64-bit numbers")
    return number
