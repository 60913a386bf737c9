"""What is asked of a table: which task the target column sets, the classes in their order, and the target of each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl
import torch
from torch import Tensor

from dnnlab.errors import ConfigError, DataError, did_you_mean, shown
from dnnlab.tables.columns import BLANKS, Place, as_numbers, as_words, parsed, words_of

SEVERAL = 20  # so many different whole numbers may be classes
LARGE = 1e15  # a target beyond cannot be told from rounding errors once it is squared in float32


@dataclass(frozen=True, eq=False)
class Target:
    """The target of every row, and what it asks for."""

    task: str  # binary, multiclass or regression
    reason: str
    y: Tensor  # (N,) class codes, or (N, T) numbers
    classes: tuple[str, ...] = ()


def find_target(
    frame: pl.DataFrame,
    names: Sequence[str],
    asked: str,
    place: Place,
    *,
    positive: str | None = None,
    relabel: Mapping[str, str] | None = None,
) -> Target:
    """The target in the columns `names`. asked: auto, binary, multiclass or regression; positive: the class that is to be class 1.

    DataError for a row without a target (D12), for what is no number where numbers are asked for, and for a single class (D21).
    """
    for name in names:
        _check_there(_blanked(frame[name]) if asked == "auto" else frame[name], place)
    if len(names) > 1:
        if asked not in ("auto", "regression"):
            raise ConfigError(
                f"data.task must be regression with {len(names)} targets, however: {asked}",
                where="data.task, data.target",
                fix="Try data.task=regression",
            )
        columns = [_numbers(frame[name], place) for name in names]
        return Target("regression", f"{len(names)} targets", torch.stack(columns, 1))
    series = frame[names[0]]
    task, reason = (asked, "declared") if asked != "auto" else _task(series)
    if task == "regression":
        return Target(task, reason, _numbers(series, place).unsqueeze(1))
    return _classes(series, asked, reason, positive, relabel or {})


def _check_there(series: pl.Series, place: Place) -> None:
    gone = (series.is_null() | series.is_nan() if series.dtype.is_float() else series.is_null()).arg_true()
    if len(gone):
        rows = ", ".join(place(int(row)) for row in gone.head(3).to_list())
        raise DataError(
            f"every row must have a target, however: {len(gone):,} of {len(series):,} have none in {shown(series.name)}",
            where=f"{rows}{', …' if len(gone) > 3 else ''}, column {shown(series.name)}",
            fix="Take these rows out of the file, or choose another data.target",
        )


def _blanked(series: pl.Series) -> pl.Series:
    """Among numbers NA and its like are missing, as in columns of inputs (D10)."""
    if series.dtype != pl.String:
        return series
    told = words_of(series.unique(), BLANKS).drop_nulls()
    return words_of(series, BLANKS) if len(told) and parsed(told).null_count() == 0 else series


def _task(series: pl.Series) -> tuple[str, str]:
    """-> the task that a target sets by its looks, and the reason."""
    different = series.n_unique()
    if series.dtype == pl.Boolean or series.dtype == pl.String or not series.dtype.is_numeric():
        text = series.dtype == pl.String
        numbers = parsed(series.unique()) if text else None
        if numbers is not None and numbers.null_count() == 0:
            return _of_numbers(numbers, different, len(series))
        return ("binary" if different == 2 else "multiclass"), f"{different} different texts"
    return _of_numbers(series.unique().cast(pl.Float64), different, len(series))


def _of_numbers(numbers: pl.Series, different: int, rows: int) -> tuple[str, str]:
    if not bool((numbers == numbers.round()).all()):
        return "regression", "numbers with decimals"
    if different <= 2:
        return "binary", f"{different} different whole numbers"
    if different <= SEVERAL and different * 10 <= rows:
        return "multiclass", f"{different} different whole numbers; data.task=regression takes them for numbers"
    return "regression", f"{different:,} different whole numbers"


def _numbers(series: pl.Series, place: Place) -> Tensor:
    try:
        found = as_numbers(series, place)
    except DataError as error:
        error.fix = "Try data.task=multiclass, which takes texts for classes, or correct the cell"
        raise
    _check_there(found, place)
    y = torch.from_numpy(found.to_numpy().copy())
    large = y.abs().max() if len(y) else y.new_zeros(())
    if large > LARGE:
        row = int(y.abs().argmax())
        raise DataError(
            f"a target must be at most {LARGE:g} in size, however: {y[row]:g}",
            where=f"{place(row)}, column {shown(series.name)}",
            fix="Divide it by its unit, such as a million",
        )
    if len(y) and float(y.min()) == float(y.max()):
        raise DataError(
            f"a target must vary, however: all {len(y):,} rows have {float(y[0]):g}",
            where=f"column {shown(series.name)}",
            fix="Choose another data.target",
        )
    return y


def _classes(series: pl.Series, asked: str, reason: str, positive: str | None, relabel: Mapping[str, str]) -> Target:
    words = words_as_meant(series, relabel)
    classes = in_order(words.unique().to_list())
    if len(classes) < 2:
        raise DataError(
            f"a target must have two classes or more, however: all {len(words):,} rows have {shown(classes[0]) if classes else 'none'}",
            where=f"column {shown(series.name)}",
            fix="Choose another data.target, or add rows of other classes",
        )
    if asked == "binary" and len(classes) != 2:
        raise DataError(
            f"data.task=binary must find two classes, however: {len(classes)}",
            where=f"column {shown(series.name)}",
            fix="Try data.task=multiclass",
        )
    if len(classes) > max(100, len(words) // 4):
        raise DataError(
            f"classes must be far fewer than rows, however: {len(classes):,} classes in {len(words):,} rows",
            where=f"column {shown(series.name)}",
            fix="Try data.task=regression, or choose another data.target",
        )
    if positive is not None:
        if len(classes) != 2 or positive not in classes:
            raise ConfigError(
                "data.positive must be one of two classes, however: " + shown(positive),
                where="data.positive",
                fix=did_you_mean(positive, classes),
            )
        classes = [*(word for word in classes if word != positive), positive]
    codes = words.replace_strict(classes, list(range(len(classes))), return_dtype=pl.Int64)
    task = "binary" if len(classes) == 2 else "multiclass"  # as the rows will be trained, whatever was declared
    return Target(task, reason, torch.from_numpy(codes.to_numpy().copy()), tuple(classes))


def words_as_meant(series: pl.Series, relabel: Mapping[str, str]) -> pl.Series:
    """Class names, those that are written in several ways as one."""
    words = as_words(series) if series.dtype != pl.Boolean else series.cast(pl.String)
    return words.replace(list(relabel), list(relabel.values())) if relabel else words


def in_order(words: Sequence[str]) -> list[str]:
    """Numbers by size, other words by letter.

    >>> in_order(["10", "9", "1"]), in_order(["yes", "no"])
    (['1', '9', '10'], ['no', 'yes'])
    """
    numbers = words_of(pl.Series(list(words), dtype=pl.String), BLANKS).cast(pl.Float64, strict=False)
    if numbers.null_count() == 0 and len(set(numbers.to_list())) == len(numbers):
        return [word for _, word in sorted(zip(numbers.to_list(), words, strict=True))]
    return sorted(words)
