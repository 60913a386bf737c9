"""NumPy's .npz files: an array of inputs, one of targets, and the same of the parts that the file sets apart."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dnnlab.data.dataset import Source
from dnnlab.data.npz_archive import Array, Header, open_archive, read_array, read_header
from dnnlab.data.npz_target import EXACT, checked, learned
from dnnlab.errors import DataError, ResourceError, did_you_mean, shown
from dnnlab.files import printable
from dnnlab.limits import free_memory, open_regular

Pairs = dict[str, tuple[Header, Header]]  # part -> inputs and targets
PORTION = 1 << 22  # so many numbers are looked at in one go


def read_npz(
    path: str,
    *,
    inputs: str = "x",
    target: str = "y",
    classes: list[str] | None = None,
    task: str = "auto",
    key: str = "data.path",
) -> Source:
    """Inputs (N, D), or images (N, H, W) or (N, H, W, 1), and targets (N,) or (N, T); arrays named …_valid and …_test are those parts.

    classes: their names, in the order of the values; task: auto, binary, multiclass or regression. Images of bytes become grey values
    between 0 and 1; `x_train` stands for `x` where there is no `x`. DataError for what cannot be used, UntrustedError for objects, which
    would run code when they are read, ResourceError for arrays that do not fit into memory.
    """
    where = f"{key}: {printable(path)}"
    with open_regular(path, where) as file, open_archive(file, where) as archive:
        pairs = _pairs(archive, inputs, target, where)
        heads = [pair[0] for pair in pairs.values()]
        width, number = prod(heads[0].shape[1:]), _number(heads)
        counts = [head.shape[0] for head in heads]
        _check_memory(pairs, sum(counts) * width * number.itemsize, where)
        x = np.empty((sum(counts), width), number)
        ends = np.cumsum(counts).tolist()
        for head, end in zip(heads, ends, strict=True):
            _fill(x[end - head.shape[0] : end], read_array(archive, head, where), head, where)
        classed = classes is not None or task in ("binary", "multiclass")
        targets = [checked(read_array(archive, pair[1], where), pair[1].name, where, whole=classed) for pair in pairs.values()]
    y, names = learned(np.concatenate(targets), task, classes, f"{where}: {printable(pairs['train'][1].name)}")
    return Source(
        name=printable(Path(path).stem),
        x=torch.from_numpy(x),
        y=y,
        features=tuple(_feature(heads[0], column) for column in range(width)),
        classes=names,
        image_shape=(heads[0].shape[1], heads[0].shape[2]) if len(heads[0].shape) > 2 else None,
        given={part: torch.arange(end - count, end) for part, count, end in zip(pairs, counts, ends, strict=True) if part != "train"},
        targets=(target,) if y.ndim == 1 or y.shape[1] == 1 else tuple(f"{target}{column}" for column in range(y.shape[1])),
    )


def _pairs(archive: zipfile.ZipFile, inputs: str, target: str, where: str) -> Pairs:
    """The arrays of each part that there is, checked by their headers."""
    there = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    pairs: Pairs = {}
    for part in ("train", "valid", "test"):
        names = [name if part == "train" and name in there else f"{name.removesuffix('_train')}_{part}" for name in (inputs, target)]
        lacking = [place for place in (0, 1) if names[place] not in there]
        if lacking and part == "train":
            setting, asked = (("data.inputs", inputs), ("data.target", target))[lacking[0]]
            raise DataError(
                f"the file must hold an array {shown(asked)}, however: it does not",
                where=f"{where}, {setting}",
                fix=did_you_mean(asked, map(printable, there[:20])) if there else "Save the arrays by numpy.savez(path, x=x, y=y)",
            )
        if len(lacking) == 1:
            raise DataError(
                f"the {part} rows must have inputs and targets, however: there is no array {shown(names[lacking[0]])}",
                where=where,
                fix="Save both arrays, or neither",
            )
        if not lacking:
            pairs[part] = (read_header(archive, names[0], where), read_header(archive, names[1], where))
    for pair in pairs.values():
        _check_form(*pair, *pairs["train"], where)
    return pairs


def _check_form(head: Header, target: Header, first: Header, first_target: Header, where: str) -> None:
    """Inputs that are numbers, row for row with the targets, and both alike in all parts."""
    shape, form = head.shape, target.shape
    for one, kinds in ((head, "biuf"), (target, "biufSU")):
        if one.dtype.kind not in kinds:
            raise DataError(
                f"an array must hold {'numbers' if one is head else 'numbers or texts'}, however: {shown(str(one.dtype))}",
                where=f"{where}: {printable(one.name)}",
                fix=f"Save {printable(one.name)}.astype(float)",
            )
    if len(shape) not in (2, 3, 4) or (len(shape) == 4 and shape[3] != 1) or min(shape) < 1:
        raise DataError(
            f"inputs must have the shape (N, D), or images (N, H, W) or (N, H, W, 1), however: {shape}",
            where=f"{where}: {printable(head.name)}",
            fix="Save x.reshape(len(x), -1), or colours as their mean: x.mean(-1)",
        )
    if len(form) not in (1, 2) or min(form) < 1 or (target.dtype.kind in "SU" and prod(form[1:]) > 1):
        raise DataError(
            f"targets must have the shape (N,), or (N, T) where they are numbers, however: {form} of {shown(str(target.dtype))}",
            where=f"{where}: {printable(target.name)}",
            fix="Save one target for each row of x",
        )
    if shape[0] != form[0]:
        raise DataError(
            f"inputs and targets must have as many rows, however: {_told(head, target)}", where=where, fix="Save rows that belong together"
        )
    if shape[1:] != first.shape[1:] or head.grey != first.grey:
        raise DataError(
            f"inputs of all parts must be alike, however: {_told(first, head)}", where=where, fix="Save them with one shape and type"
        )
    if prod(form[1:]) != prod(first_target.shape[1:]) or target.family != first_target.family:
        raise DataError(
            f"targets of all parts must be alike, however: {_told(first_target, target)}",
            where=where,
            fix="Save them with one shape and type",
        )


def _told(*heads: Header) -> str:
    return ", ".join(f"{printable(head.name)} {head.shape} of {shown(str(head.dtype))}" for head in heads)


def _number(heads: Sequence[Header]) -> np.dtype[Any]:
    """float32 where it holds every number of the inputs exactly, else float64."""
    return np.dtype(np.float32 if all(np.can_cast(head.dtype, np.float32) for head in heads) else np.float64)


def _check_memory(pairs: Pairs, result: int, where: str) -> None:
    """Refuse arrays that would not fit, before they are unpacked."""
    heads = [head for pair in pairs.values() for head in pair]
    need = result + max(head.size for head in heads) + 4 * sum(target.size for _, target in pairs.values())  # found classes are sorted
    free = free_memory()
    if need > free:
        raise ResourceError(
            f"the arrays must fit into memory, however: they need {need / 2**30:,.1f} GiB, and {free / 2**30:,.1f} GiB are free",
            where=f"{where} ({_told(*heads)})",
            fix="Save fewer rows, or a table for data=table",
        )


def _feature(head: Header, column: int) -> str:
    """What a column of the inputs is called."""
    return f"x{column}" if len(head.shape) == 2 else f"pixel_{column // head.shape[2]}_{column % head.shape[2]}"


def _fill(out: Array, array: Array, head: Header, where: str) -> None:
    """Put an array's rows into their place: (N, …) -> (N, D)."""
    step = max(1, PORTION // out.shape[1])
    for start in range(0, len(array), step):
        rows, flat = out[start : start + step], array[start : start + step].reshape(-1, out.shape[1])
        with np.errstate(over="ignore"):  # long doubles beyond float64 become infinite, which is refused
            rows[:] = flat
        if head.dtype.kind == "f":
            _refuse(np.isinf(rows), flat, start, "numbers must be finite", head, where)
        elif head.dtype.itemsize == 8:
            _refuse((flat > EXACT) | (flat < -EXACT), flat, start, "whole numbers must be at most 2^53 to be exact", head, where)
        if head.grey:
            rows /= 255


def _refuse(bad: NDArray[np.bool_], flat: Array, start: int, wish: str, head: Header, where: str) -> None:
    """Refuse a portion that begins at row `start`, if it has bad numbers: the first of them."""
    if bad.any():
        row, column = divmod(int(bad.argmax()), bad.shape[1])
        raise DataError(
            f"{wish}, however: {flat[row, column]!s}",
            where=f"{where}: {printable(head.name)}, row {start + row} (from 0), column {_feature(head, column)}",
            fix="Correct the number, or save NaN where none is known",
        )
