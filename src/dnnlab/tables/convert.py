"""A table becomes a Source: every column understood, its cells numbers or categories, classes codes. Later rows go the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, nan

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from dnnlab.data.dataset import Category, Source
from dnnlab.errors import ConfigError, DataError, did_you_mean, shown
from dnnlab.tables.columns import Place, Spec, as_dates, as_numbers, as_words, numbers_of, parts_of
from dnnlab.tables.infer import infer, infer_all
from dnnlab.tables.schema import Column, Schema
from dnnlab.tables.target import Target, find_target

PARTS = {
    "train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid", "dev": "valid", "test": "test",
    "testing": "test",
}  # fmt: skip


@dataclass(frozen=True)
class Wishes:
    """What is said of a table beside its cells."""

    targets: tuple[str, ...]
    task: str = "auto"
    positive: str | None = None
    relabel: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    na_values: tuple[str, ...] = ()
    split: str = "random"
    split_by: str | None = None


def to_source(
    frame: pl.DataFrame, wishes: Wishes, place: Place, *, name: str, typed: bool, given: Mapping[str, Tensor] | None = None
) -> tuple[Source, Schema]:
    """The rows of a frame, and what they are. typed: the file itself says which cells are numbers; given: parts that are set apart.

    ConfigError for settings that name no column; DataError, with row and column, for cells that cannot be used.
    """
    _check_names(frame, wishes)
    target = find_target(frame, wishes.targets, wishes.task, place, positive=wishes.positive, relabel=wishes.relabel)
    skip = [*wishes.targets, *([wishes.split_by] if wishes.split_by is not None and wishes.split != "random" else [])]
    found = infer_all(frame, wishes.columns, place, typed=typed, skip=skip)
    columns = tuple(found.get(name) or _set_apart(frame[name], name in wishes.targets) for name in frame.columns)
    schema = Schema(columns, wishes.targets, target.task, target.reason, target.classes, dict(wishes.relabel), wishes.na_values)
    if not schema.inputs:
        raise _no_inputs(schema, name)
    parts, by = _divided(frame, wishes, place, typed=typed)
    return _source(frame, schema, target, place, name=name, given={**(given or {}), **parts}, by=by), schema


def _source(
    frame: pl.DataFrame, schema: Schema, target: Target, place: Place, *, name: str, given: Mapping[str, Tensor], by: Tensor | None
) -> Source:
    specs = [column.spec for column in schema.inputs]
    codes, categories = [], []
    for spec in specs:
        if spec.kind == "categorical":
            words = as_words(frame[spec.name])
            levels = sorted(words.drop_nulls().unique().to_list(), key=_rank)
            categories.append(Category(spec.name, tuple(levels)))
            codes.append(_codes(words, levels, missing=-1))
    return Source(
        name=name,
        x=torch.from_numpy(numbers(frame, specs, place)),
        y=target.y,
        features=tuple(part for spec in specs for part in parts_of(spec)),
        classes=target.classes,
        given=given,
        codes=torch.from_numpy(np.stack(codes, 1)) if codes else None,
        categories=tuple(categories),
        targets=schema.targets,
        by=by,
    )


def _rank(word: str) -> tuple[bool, float, str]:
    """Numbers by size, then other words by letter: two words stand so whatever words the rows to judge have besides."""
    try:
        number = float(word)
    except ValueError:
        number = nan
    return (False, number, word) if isfinite(number) else (True, 0.0, word)


def numbers(frame: pl.DataFrame, specs: Sequence[Spec], place: Place) -> NDArray[np.float64]:
    """All numbers of some rows, NaN where missing: (N, M), column by column in memory."""
    series = [part for spec in specs if spec.kind != "categorical" for part in numbers_of(frame[spec.name], spec, place)]
    found = np.empty((len(series), len(frame)))
    for row, part in zip(found, series, strict=True):
        row[:] = part.fill_null(np.nan).to_numpy()
    return found.T


def _codes(words: pl.Series, levels: Sequence[str], *, missing: int, other: int | None = None) -> NDArray[np.int32]:
    """Places of words among levels: (N,)."""
    known = (
        words.replace_strict(levels, list(range(len(levels))), default=other, return_dtype=pl.Int32)
        if levels
        else pl.Series([other], dtype=pl.Int32).new_from_index(0, len(words))
    )
    return np.asarray(known.set(words.is_null(), missing).fill_null(missing).to_numpy(), np.int32)


def encode_words(words: pl.Series, vocabulary: Sequence[str], missing: int) -> tuple[NDArray[np.int32], int]:
    """-> the codes of later rows' words (0: none of the vocabulary; 1 … its words), and how many cells have such a word."""
    codes = _codes(words, vocabulary, missing=-2, other=-1) + 1
    unseen = int((codes == 0).sum())
    codes[codes == -1] = missing
    return codes, unseen


def _check_names(frame: pl.DataFrame, wishes: Wishes) -> None:
    """Settings that name columns must name columns that there are; every one is told."""
    if pattern := next((name for name in frame.columns if name.startswith("^") and name.endswith("$")), ""):
        raise DataError(  # of all its methods polars then asks for the columns that match
            f"a column's name must not begin with ^ and end with $, which reads as a pattern, however: {shown(pattern)}",
            where="header",
            fix="Give it another name",
        )
    asked = [("data.target", name) for name in wishes.targets]
    asked += [("data.columns", name) for name in wishes.columns]
    asked += [("data.split_by", wishes.split_by)] if wishes.split_by is not None else []
    faults = [
        ConfigError(
            f"{key} must name a column of the table, however: {shown(name)} is none",
            where=key,
            fix=did_you_mean(name, map(_safe, frame.columns[:50])),
        )
        for key, name in asked
        if name not in frame.columns
    ]
    if faults:
        for other in faults[1:]:
            faults[0].add_note(str(other))
        raise faults[0]
    if wishes.split != "random" and wishes.split_by is None:
        raise ConfigError(
            f"data.split={wishes.split} must stand with a column to split by, however: data.split_by is null",
            where="data.split, data.split_by",
            fix=f"Try data.split_by={_safe(frame.columns[0])}",
        )
    both = [name for name in wishes.targets if name == wishes.split_by or wishes.columns.get(name) == "ignore"]
    if both:
        raise ConfigError(
            f"a target must be a target only, however: {shown(both[0])} is split by or ignored, too",
            where="data.target, data.split_by, data.columns",
        )


def _safe(name: str) -> str:
    return name if name.isprintable() else ascii(name)[1:-1]


def _set_apart(series: pl.Series, is_target: bool) -> Column:
    role, reason = ("target", "what is asked") if is_target else ("split", "what the rows are divided by")
    return Column(series.name, role, reason, str(series.dtype))  # type: ignore[arg-type]


def _no_inputs(schema: Schema, name: str) -> DataError:
    told = "; ".join(f"{_safe(column.name)}: {column.reason}" for column in schema.columns if column.role == "ignore")
    return DataError(
        f"a table must have a column to learn from, however: none is left ({told or 'there is the target alone'})",
        where=name,
        fix="Try data.columns.NAME=categorical",
    )


def _divided(frame: pl.DataFrame, wishes: Wishes, place: Place, *, typed: bool) -> tuple[dict[str, Tensor], Tensor | None]:
    """-> the parts that a column names, or what groups and times go by."""
    if wishes.split == "random" or wishes.split_by is None:
        return {}, None
    series = frame[wishes.split_by]
    series = series.fill_nan(None) if series.dtype.is_float() else series
    if series.null_count():
        row = int(series.is_null().arg_max() or 0)
        raise DataError(
            f"data.split={wishes.split} must find a value in every row, however: {series.null_count():,} have none",
            where=f"{place(row)}, column {shown(series.name)}",
            fix="Fill them, or choose another data.split_by",
        )
    if wishes.split == "group":
        words = as_words(series)
        return {}, torch.tensor(_codes(words, sorted(words.unique().to_list()), missing=-1), dtype=torch.int64)
    if wishes.split == "time":
        return {}, _times(series, wishes.columns.get(series.name), place, typed=typed)
    return _named_parts(as_words(series), place), None


def _times(series: pl.Series, declared: str | None, place: Place, *, typed: bool) -> Tensor:
    if declared is None and series.dtype == pl.String:
        declared = "date" if series.str.contains(r"^\d{1,4}[-/.]\d").all() else None
    typed = typed or series.dtype.is_temporal()  # that it is a time is said by data.split
    column = infer(series, declared, place, typed=typed)
    is_date = column.role == "date"
    found = as_dates(series, column.spec, place).dt.timestamp("us").cast(pl.Float64) if is_date else as_numbers(series, place)
    return torch.from_numpy(found.to_numpy().copy())


def _named_parts(words: pl.Series, place: Place) -> dict[str, Tensor]:
    small = words.str.to_lowercase()
    told = small.replace_strict(list(PARTS), list(PARTS.values()), default=None, return_dtype=pl.String)
    bad = told.is_null().arg_true()
    if len(bad):
        raise DataError(
            f"data.split=column must find train, valid or test in every row, however: {shown(words[int(bad[0])])}",
            where=f"{place(int(bad[0]))}, column {shown(words.name)}",
            fix="Try data.split=group, which keeps rows of one value together",
        )
    found = {part: torch.from_numpy((told == part).arg_true().to_numpy().astype(np.int64)) for part in ("train", "valid", "test")}
    if not len(found["train"]):
        raise DataError("data.split=column must find rows to train on, however: no row says train", where=f"column {shown(words.name)}")
    return {part: index for part, index in found.items() if len(index) and part != "train"}
