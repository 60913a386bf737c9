"""What an array of targets asks for: classes or numbers, one for each row."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dnnlab.data.npz_archive import Array
from dnnlab.errors import ConfigError, DataError, did_you_mean, shown
from dnnlab.files import printable

EXACT = 2**53  # whole numbers beyond lose digits as float64
LARGE = 1e15  # a target beyond cannot be told from rounding errors once it is squared in float32


def checked(array: Array, name: str, where: str, *, whole: bool) -> Array:
    """The targets of one part as bool, int64, float64 or text; a single column is (N,). Every row must have one (D12).

    whole: floats name classes, and must be whole numbers.
    """
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    where = f"{where}: {printable(name)}"
    if array.dtype.kind == "S":
        try:
            array = np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"texts must be UTF-8, however: {shown(error.object)}", where=where, fix="Save names as text (str)") from error
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # long doubles beyond float64 become infinite, which is refused
            array = array.astype(np.float64)
    elif array.dtype.kind in "iu":
        array = array.astype(np.float64 if array.dtype == np.uint64 and array.max() > 2**63 - 1 else np.int64)
    bad = array == "" if array.dtype.kind == "U" else ~np.isfinite(array)
    _refuse(bad, "every row must have a finite target", "Take these rows out of both arrays", where)
    if not whole or array.dtype.kind != "f":
        return array
    bad = (array != np.rint(array)) | (np.abs(array) > EXACT)
    _refuse(bad, "every row must have a whole number as its class", "Try data.task=regression", where)
    return array.astype(np.int64)


def _refuse(bad: Array, wish: str, fix: str, where: str) -> None:
    """Refuse targets of which some are bad, with their count and the first rows."""
    rows = np.flatnonzero(bad if bad.ndim == 1 else bad.any(1))
    if len(rows):
        told = ", ".join(map(str, rows[:3])) + (", …" if len(rows) > 3 else "")
        raise DataError(f"{wish}, however: {len(rows):,} of {len(bad):,} have none", where=f"{where}, rows {told} (from 0)", fix=fix)


def learned(values: Array, task: str, classes: list[str] | None, where: str) -> tuple[Tensor, tuple[str, ...]]:
    """-> class codes (N,) and the classes' names, or numbers (N, T) and no names. values: targets of all parts, checked."""
    text, asked = values.dtype.kind == "U", classes is not None or task in ("binary", "multiclass")
    if task == "regression" and (text or classes is not None):
        fact = "the target holds texts" if text else "data.labels names classes"
        raise ConfigError(
            f"data.task=regression must stand with numbers, however: {fact}", where=f"data.task, {where}", fix="Try data.task=auto"
        )
    if values.ndim == 2 and asked:
        raise DataError(f"classes must be one number for each row, however: {values.shape[1]}", where=where, fix="Save y.argmax(1)")
    if task != "regression" and values.ndim == 1 and (asked or values.dtype.kind != "f"):
        return _classes(values, task, classes, where)
    return _regression(values, where), ()


def _classes(values: Array, task: str, names: list[str] | None, where: str) -> tuple[Tensor, tuple[str, ...]]:
    """Codes by sorted values, or by the order of the names where the values are texts that these name."""
    found, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    words = [str(value) for value in found]
    told = ", ".join(f"{printable(word)}: {count}" for word, count in zip(words[:10], counts, strict=False))
    if len(words) < 2:
        raise DataError(f"there must be two classes or more, however: one ({told})", where=where, fix="Add rows of other classes")
    if task == "binary" and len(words) > 2:
        raise DataError(
            f"data.task=binary must find two classes, however: {len(words)} ({told})", where=where, fix="Try data.task=multiclass"
        )
    if len(words) > max(100, len(values) // 4):
        raise DataError(
            f"classes must be far fewer than rows, however: {len(words):,} classes in {len(values):,} rows",
            where=where,
            fix="Try data.task=regression",
        )
    if names is None:
        return torch.from_numpy(codes.astype(np.int64)), tuple(map(printable, words))
    if len(set(names)) != len(words) or len(names) != len(words):
        raise ConfigError(
            f"data.labels must name each of {len(words)} classes once ({told}), however: {len(names)} names, {len(set(names))} different",
            where=f"data.labels, {where}",
            fix="Name all classes, in the order of their values",
        )
    if values.dtype.kind != "U":
        return torch.from_numpy(codes.astype(np.int64)), tuple(names)
    if set(names) != set(words):
        stray = next(name for name in names if name not in words)
        raise ConfigError(
            f"data.labels must be the texts of the target, however: {shown(stray)} is none",
            where=f"data.labels, {where}",
            fix=did_you_mean(stray, map(printable, words[:20])),
        )
    order = np.array([names.index(word) for word in words], np.int64)
    return torch.from_numpy(order[codes]), tuple(names)


def _regression(values: Array, where: str) -> Tensor:
    """(N,) or (N, T) -> (N, T) of float64, which vary and can be squared (D29)."""
    y = values.reshape(len(values), -1).astype(np.float64)
    for column, (low, high) in enumerate(zip(y.min(0), y.max(0), strict=True)):
        if low == high or max(-low, high) > LARGE:
            wish, fact = (
                ("vary", f"all {len(y):,} rows have {low:g}") if low == high else (f"be at most {LARGE:g} in size", f"{low:g} to {high:g}")
            )
            raise DataError(
                f"a target must {wish}, however: {fact}",
                where=f"{where}, column {column} (from 0)",
                fix="Divide it by its unit, or choose another data.target",
            )
    return torch.from_numpy(y)
