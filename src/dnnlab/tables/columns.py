"""Cells become numbers, dates and words, or an error that names row and column. What the training rows went through, later rows do, too."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Literal

import polars as pl

from dnnlab.errors import DataError, shown

Kind = Literal["numeric", "boolean", "date", "categorical"]
Place = Callable[[int], str]  # row of a frame, from 0 -> "adult.csv: row 17"
BLANKS = ("", "NA", "N/A", "n/a", "na", "NaN", "nan", "NAN", "NULL", "null", "None", "none", "-", "?", ".")  # among numbers
TRUE, FALSE = ("true", "yes", "y", "t", "1", "on"), ("false", "no", "n", "f", "0", "off")
EXACT = 2**53  # whole numbers beyond lose digits as float64
DATES = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y%m%d")
TIMES = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%d.%m.%Y %H:%M", "%m/%d/%Y %H:%M")
ZONED = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z")


@dataclass(frozen=True)
class Spec:
    """One column that is an input, and how its cells are to be read."""

    name: str
    kind: Kind
    form: str = ""  # of a date: how it is written; empty where the file itself says that it is one
    timed: bool = False  # of a date: whether it has a time of day


def parts_of(spec: Spec) -> tuple[str, ...]:
    """The numbers that a column gives, by name; none where it gives a category.

    >>> parts_of(Spec("age", "numeric")), parts_of(Spec("when", "date"))
    (('age',), ('when.days', 'when.year', 'when.month', 'when.day', 'when.weekday'))
    """
    if spec.kind == "date":
        told = ("days", "year", "month", "day", "weekday", *(("hour", "minute") if spec.timed else ()))
        return tuple(f"{spec.name}.{part}" for part in told)
    return () if spec.kind == "categorical" else (spec.name,)


def numbers_of(series: pl.Series, spec: Spec, place: Place, *, blanks: Sequence[str] = BLANKS) -> list[pl.Series]:
    """The numbers of a column as Float64, null where missing: one series for each of `parts_of`."""
    if spec.kind == "date":
        return _parts(as_dates(series, spec, place), spec)
    if spec.kind == "boolean":
        return [as_booleans(series, place)]
    return [as_numbers(series, place, blanks=blanks)]


def as_numbers(series: pl.Series, place: Place, *, blanks: Sequence[str] = BLANKS) -> pl.Series:
    """Float64, null where missing; DataError for text that is no number (D15, D16), infinity (D13), whole numbers beyond 2^53 (D14)."""
    if series.dtype == pl.String:
        found = parsed(series, blanks)
        bad = (found.is_null() & words_of(series, blanks).is_not_null()).arg_true()
        if len(bad):
            raise not_a_number(series, int(bad[0]), len(bad), place)
    elif series.dtype.is_numeric() or series.dtype in (pl.Boolean, pl.Null):
        found = series.cast(pl.Float64)
    else:
        raise DataError(
            f"a column of numbers must hold numbers, however: {series.dtype}",
            where=f"column {shown(series.name)}",
            fix=f"Try {declaration(series.name, 'ignore')}",
        )
    if series.dtype.is_float() or series.dtype == pl.String:
        found = found.fill_nan(None)
        bad = found.is_infinite().fill_null(False).arg_true()
        if len(bad):
            raise DataError(
                f"numbers must be finite, however: {shown(str(series[int(bad[0])]))}" + _also(len(bad)),
                where=f"{place(int(bad[0]))}, column {shown(series.name)}",
                fix="Correct the cell, or leave it empty",
            )
    _check_exact(series, place)
    return found


def _check_exact(series: pl.Series, place: Place) -> None:
    """Long whole numbers are names of things, and would lose their last digits (D14)."""
    row = _inexact(series)
    if row is None:
        return
    raise DataError(
        f"whole numbers must be at most 2^53 to be exact, however: {shown(str(series[row]))}",
        where=f"{place(row)}, column {shown(series.name)}",
        fix=f"Try {declaration(series.name, 'categorical')}, or {declaration(series.name, 'ignore')}",
    )


def _inexact(series: pl.Series) -> int | None:
    """The first row whose whole number lies beyond 2^53, told from its digits: as a float it may have been rounded to 2^53 itself."""
    if series.dtype == pl.String:
        digits = series.str.extract(r"^[+-]?0*([0-9]{16,})$", 1)
        bad = ((digits.str.len_chars() > len(str(EXACT))) | (digits > str(EXACT))).fill_null(False)
        return bad.arg_max() if bad.any() else None
    if not series.dtype.is_integer():
        return None
    low, high = series.min(), series.max()
    if isinstance(high, int) and high > EXACT:
        return series.arg_max()
    return series.arg_min() if isinstance(low, int) and low < -EXACT else None


def parsed(series: pl.Series, blanks: Sequence[str] = BLANKS) -> pl.Series:
    """Text as Float64, null where it is blank or no number."""
    return words_of(series, blanks).cast(pl.Float64, strict=False)


def words_of(series: pl.Series, blanks: Sequence[str]) -> pl.Series:
    """Text without what stands for a missing number."""
    return series.set(series.is_in(list(blanks)), None)


DECORATED = r"^[\s$€£¥]*[-+]?\d[\d\s.,_']*\s*[%$€£¥;]*$"


def not_a_number(series: pl.Series, row: int, count: int, place: Place) -> DataError:
    """The error for a cell that is no number, with what would make it one."""
    text = str(series[row])
    fix = f"Correct the cell, or try {declaration(series.name, 'categorical')}"
    if text.isprintable() and len(text) <= 40 and not set(text) & set("'\"\\$,[]{}():="):  # what a shell and Hydra leave as it is
        fix += f", or 'data.na_values=[{text}]' if it means that none is known"
    if pl.Series([text]).str.contains(DECORATED)[0]:
        fix = _number_fix(text, series.name)
    return DataError(
        f"a column of numbers must hold a number in each cell, however: {shown(text)}" + _also(count),
        where=f"{place(row)}, column {shown(series.name)}",
        fix=fix,
    )


def _number_fix(text: str, name: str) -> str:
    """How a number that is written otherwise can be read (D16); quoted for a shell, and within for Hydra.

    >>> print(_number_fix("1,5", "x"), "|", _number_fix("1.234,5", "x"), "|", _number_fix("1,234", "x"))
    Try 'data.decimal=","' | Try 'data.decimal=","' 'data.thousands="."' | Try 'data.thousands=","'
    """
    if text.endswith(";"):
        return "Try 'data.separator=\";\"'"
    for sign in "$€£¥%":
        if sign in text:
            return f"Take the {sign} out of the column, or try {declaration(name, 'categorical')}"
    point, thousands = "'data.decimal=\",\"'", "'data.thousands=\",\"'"
    if "," in text and "." in text:
        return f"Try {point} 'data.thousands=\".\"'" if text.rindex(",") > text.rindex(".") else f"Try {thousands}"
    if "," in text:
        groups = text.lstrip("+-").split(",")
        whole = 1 <= len(groups[0]) <= 3 and all(len(group) == 3 for group in groups[1:])
        return f"Try {thousands if whole else point}"
    sign = next((letter for letter in text if not letter.isalnum()), " ")
    return f"Try 'data.thousands=\"{sign}\"', or {declaration(name, 'categorical')}"


def as_booleans(series: pl.Series, place: Place) -> pl.Series:
    """1 and 0 as Float64, null where missing; words such as true, yes and 1 in any case."""
    if series.dtype == pl.Boolean:
        return series.cast(pl.Float64)
    words = as_words(series) if series.dtype.is_numeric() else words_of(series.cast(pl.String), BLANKS).str.to_lowercase()
    found = words.replace_strict([*TRUE, *FALSE], [1.0] * len(TRUE) + [0.0] * len(FALSE), default=None, return_dtype=pl.Float64)
    bad = (found.is_null() & words.is_not_null()).arg_true()
    if len(bad):
        raise DataError(
            f"a boolean must be true or false (yes, no, 1, 0), however: {shown(str(series[int(bad[0])]))}" + _also(len(bad)),
            where=f"{place(int(bad[0]))}, column {shown(series.name)}",
            fix=f"Try {declaration(series.name, 'categorical')}",
        )
    return found


def date_form(series: pl.Series) -> str | None:
    """The way in which every cell that is not empty is written as a date; None: they are no dates."""
    some = series.drop_nulls()
    for form in (*DATES, *TIMES, *ZONED):
        head = some.head(50)
        if len(head) and _dated(head, form).null_count() == 0 and _dated(some, form).null_count() == 0:
            return form
    return None


def _dated(series: pl.Series, form: str) -> pl.Series:
    found = series.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC" if form in ZONED else None)
    return found.dt.replace_time_zone(None) if form in ZONED else found


def as_dates(series: pl.Series, spec: Spec, place: Place) -> pl.Series:
    """Datetime, null where missing."""
    if series.dtype == pl.Date:
        return series.cast(pl.Datetime("us"))
    if isinstance(series.dtype, pl.Datetime):
        return series.dt.replace_time_zone(None).cast(pl.Datetime("us"))
    words = words_of(series.cast(pl.String), BLANKS)
    form = spec.form or date_form(words) or DATES[0]  # training rows that were dates already do not say how text writes them
    found = _dated(words, form)
    bad = (found.is_null() & words.is_not_null()).arg_true()
    if len(bad):
        raise DataError(
            f"a date must be written as {form}, however: {shown(words[int(bad[0])])}" + _also(len(bad)),
            where=f"{place(int(bad[0]))}, column {shown(series.name)}",
            fix=f"Write all dates alike, or try {declaration(series.name, 'categorical')}",
        )
    return found


def _parts(dates: pl.Series, spec: Spec) -> list[pl.Series]:
    """Days since 1970, year, month, day, weekday (1 is Monday), and of a time its hour and minute."""
    days = dates.dt.timestamp("ms").cast(pl.Float64) / 86_400_000
    told = [days, dates.dt.year(), dates.dt.month(), dates.dt.day(), dates.dt.weekday()]
    if spec.timed:
        told += [dates.dt.hour(), dates.dt.minute()]
    return [part.cast(pl.Float64) for part in told]


def as_words(series: pl.Series) -> pl.Series:
    """Categories as text, null where missing: whole numbers without decimals, so that 1 and 1.0 are one category.

    >>> as_words(pl.Series([1.0, 2.5, float("nan")])).to_list()
    ['1', '2.5', None]
    """
    if not series.dtype.is_float():
        return series.cast(pl.String)
    series = series.fill_nan(None)
    whole = ((series == series.round()) & (series.abs() < EXACT)).fill_null(False)  # each cell by itself: no other row changes its word
    return series.cast(pl.Int64, strict=False).cast(pl.String).zip_with(whole, series.cast(pl.String))


def declaration(name: str, kind: str) -> str:
    """The setting that says what a column is, as it is typed in a shell.

    >>> print(declaration("age", "numeric"), declaration("my age", "ignore"))
    data.columns.age=numeric 'data.columns.my age=ignore'
    """
    if name.isprintable():
        return quote(f"data.columns.{name}={kind}")
    return f"columns: {{{json.dumps(name, ensure_ascii=not name.isprintable())}: {kind}}} under data: in a file of settings"


def _also(count: int) -> str:
    return f" (and {count - 1:,} more)" if count > 1 else ""
