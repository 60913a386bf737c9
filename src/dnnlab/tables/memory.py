"""A table that Python holds, whatever holds it, as a polars frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from dnnlab.errors import DataError, shown


def as_frame(table: Any) -> pl.DataFrame:
    """polars and pandas frames, Arrow tables, mappings of columns, and arrays (N, D) of NumPy or torch, whose columns become x0, x1, ….

    >>> as_frame({"a": [1, 2]}).shape, as_frame(np.zeros((3, 2))).columns
    ((2, 1), ['x0', 'x1'])
    """
    if isinstance(table, pl.DataFrame):
        return _named(table)
    if isinstance(table, pl.LazyFrame):
        return _named(table.collect())
    if isinstance(table, Mapping):
        return _named(_mapping(table))
    kind = type(table).__module__.split(".")[0]
    if kind == "torch":
        table, kind = table.detach().cpu().numpy(), "numpy"
    if kind == "numpy" and isinstance(table, np.ndarray):
        return _array(table)
    if kind == "pandas":
        return _named(pl.DataFrame({str(name): _from_pandas(table[name]) for name in table.columns}))
    if hasattr(table, "__arrow_c_stream__"):
        return _named(pl.DataFrame(table))
    raise DataError(
        f"rows must be a polars or pandas frame, a mapping of columns, or an array, however: {type(table).__name__}",
        where="table",
        fix="Try polars.DataFrame(rows)",
    )


def _named(frame: pl.DataFrame) -> pl.DataFrame:
    """Empty text is a missing cell, as in a file."""
    if not frame.width or not len(frame):
        raise DataError(f"a table must have rows and columns, however: {len(frame)} and {frame.width}", where="table")
    return without(frame, [""])


def without(frame: pl.DataFrame, missing: Sequence[str]) -> pl.DataFrame:
    """The rows with null for each text that means a missing cell.

    >>> without(pl.DataFrame({"a": ["x", "?"]}), ["?"])["a"].to_list()
    ['x', None]
    """
    texts = [frame[name] for name, dtype in frame.schema.items() if dtype == pl.String] if missing else []
    return frame.with_columns(column.set(column.is_in(list(missing)), None) for column in texts)


def _array(array: np.ndarray[Any, Any]) -> pl.DataFrame:
    if array.dtype.names:
        return _named(pl.DataFrame({name: array[name] for name in array.dtype.names}))
    if array.ndim != 2:
        raise DataError(
            f"an array of rows must have two dimensions, however: {array.ndim}", where="table", fix="Try array.reshape(len(array), -1)"
        )
    if array.dtype == object:
        raise DataError("an array must hold numbers or texts, however: objects", where="table", fix="Try a mapping of columns")
    return _named(pl.DataFrame({f"x{place}": np.ascontiguousarray(column) for place, column in enumerate(array.T)}))


def _mapping(table: Mapping[Any, Any]) -> pl.DataFrame:
    try:
        return pl.DataFrame({str(name): _column(values) for name, values in table.items()})
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"columns must be equally long and each of one type, however: {shown(str(error).splitlines()[0])}",
            where="table",
            fix="Make each column numbers alone, or texts alone",
        ) from error


def _column(values: Any) -> Any:
    return values.detach().cpu().numpy() if type(values).__module__.split(".")[0] == "torch" else values


def _from_pandas(column: Any) -> pl.Series:
    """A pandas column, without pyarrow: categories as text, missing values as null."""
    if str(column.dtype) in ("object", "category", "string", "str"):
        values = [None if value is None or value != value else str(value) for value in column.tolist()]
        return pl.Series(values, dtype=pl.String)
    if str(column.dtype).startswith("datetime"):
        return pl.Series(column.to_numpy(dtype="datetime64[us]"))
    return pl.Series(column.to_numpy(dtype=float, na_value=float("nan")) if column.isna().any() else column.to_numpy())
