"""What a column is taken for: as declared, as the file's own types say, or as its cells look. What is open to doubt is refused, with the
declaration that settles it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import polars as pl

from dnnlab.errors import DataError, shown
from dnnlab.tables.columns import (
    BLANKS,
    DECORATED,
    Place,
    Spec,
    as_booleans,
    as_dates,
    as_numbers,
    date_form,
    declaration,
    not_a_number,
    parsed,
    words_of,
)
from dnnlab.tables.schema import Column

MOSTLY = 0.8  # share of cells that are numbers from which on the others are mistakes
FEW = 50  # so many different texts may be categories, however few rows there are
NAMES = 0.5  # share of different texts from which on they are names of rows, not categories
HEX = r"^[-+]?0[xX][0-9a-fA-F]+$"
IDENTITY = re.compile(r"(^|[^a-z])(id|ids|uuid|guid|key|index|rowid|row_?n(o|um|umber)?)([^a-z]|$)", re.IGNORECASE)
WORDS = {"true", "false"}


def infer(series: pl.Series, declared: str | None, place: Place, *, typed: bool) -> Column:
    """What a column is taken for, and why. typed: the file says of itself which cells are numbers, dates and truth values.

    DataError for text that looks like numbers, dates, hexadecimal numbers or truth values and is not declared to be anything.
    """
    if declared is not None:
        return _declared(series, declared, place)
    kind, name = str(series.dtype), series.name
    series = series.fill_nan(None) if series.dtype.is_float() else series
    missing = series.null_count()
    if missing == len(series):
        return Column(name, "ignore", "every cell is empty", kind, missing=missing)
    if series.dtype.is_numeric():
        return Column(name, "numeric", "numbers", kind, missing=missing)
    if series.dtype == pl.Boolean:
        if not typed:
            raise _undeclared(name, "true and false", "boolean", str(series.drop_nulls()[0]).lower())
        return Column(name, "boolean", "the file says so", kind, missing=missing)
    if series.dtype == pl.Date or isinstance(series.dtype, pl.Datetime):
        if not typed:
            raise _undeclared(name, "dates", "date", str(series.drop_nulls()[0]))
        return Column(name, "date", "the file says so", kind, timed=isinstance(series.dtype, pl.Datetime), missing=missing)
    if series.dtype == pl.String or series.dtype in (pl.Categorical, pl.Enum):
        return _text(series.cast(pl.String), kind, place, typed=typed)
    raise DataError(
        f"a column must hold numbers, text, dates or truth values, however: {kind}",
        where=f"column {shown(name)}",
        fix=f"Try {declaration(name, 'ignore')}",
    )


def _text(series: pl.Series, kind: str, place: Place, *, typed: bool) -> Column:
    name, missing = series.name, series.null_count()
    different = series.unique(maintain_order=True).drop_nulls()
    told = words_of(different, BLANKS).drop_nulls()
    numbers = told.cast(pl.Float64, strict=False)
    if not typed:
        if len(told) and numbers.null_count() == 0:
            blank = int(series.is_in(list(BLANKS)).sum())
            return Column(name, "numeric", "numbers" + (f", {blank:,} cells mean none" if blank else ""), kind, missing=missing + blank)
        _refuse_looks(series, told, numbers, place)
    elif len(told) and date_form(told) is not None:
        raise _undeclared(name, "dates", "date", told[0])
    rows = len(series) - missing
    if len(different) > max(FEW, NAMES * rows):
        reason = f"{len(different):,} different texts in {rows:,} rows: names"
        return Column(name, "ignore", reason, kind, missing=missing, distinct=len(different))
    return Column(name, "categorical", f"{len(different):,} texts", kind, missing=missing, distinct=len(different))


def _refuse_looks(series: pl.Series, told: pl.Series, numbers: pl.Series, place: Place) -> None:
    """D15, D16 and D31: text that is nearly numbers, or that is dates, hexadecimal numbers or truth values."""
    name = series.name
    if not len(told):
        return
    if set(told.head(4).str.to_lowercase().to_list()) <= WORDS and set(told.str.to_lowercase().to_list()) <= WORDS:
        raise _undeclared(name, "true and false", "boolean", told[0])
    if bool(told.str.contains(HEX).all()):
        raise _undeclared(name, "hexadecimal numbers", "categorical", told[0])
    if numbers.null_count() == len(numbers):
        if date_form(told) is not None:
            raise _undeclared(name, "dates", "date", told[0])
        if bool(told.str.contains(DECORATED).all()):
            raise not_a_number(series, int(series.is_not_null().arg_max() or 0), len(series) - series.null_count(), place)
        return
    words = words_of(series, BLANKS)
    good = parsed(series)
    bad = (good.is_null() & words.is_not_null()).arg_true()
    mostly = len(good) - good.null_count() >= MOSTLY * (len(words) - words.null_count())
    if mostly or bool(told.filter(numbers.is_null()).str.contains(DECORATED).all()):
        raise not_a_number(series, int(bad[0]), len(bad), place)


def _undeclared(name: str, looks: str, kind: str, example: str) -> DataError:
    others = [other for other in ("categorical", "ignore") if other != kind]
    return DataError(
        f"a column of {looks} must be declared, however: {shown(name)} is not ({shown(str(example))})",
        where=f"column {shown(name)}",
        fix=f"Try {declaration(name, kind)}, or " + " or ".join(f"={other}" for other in others),
    )


def _declared(series: pl.Series, declared: str, place: Place) -> Column:
    """The cells must bear what is said of them."""
    name, kind, missing = series.name, str(series.dtype), series.null_count()
    told = "declared"
    match declared:
        case "numeric":
            if series.dtype == pl.Date or isinstance(series.dtype, pl.Datetime):
                raise DataError(
                    "a column declared numeric must hold numbers, however: it holds dates",
                    where=f"column {shown(name)}",
                    fix=f"Try {declaration(name, 'date')}",
                )
            return Column(name, "numeric", told, kind, missing=as_numbers(series, place).null_count())
        case "boolean":
            return Column(name, "boolean", told, kind, missing=as_booleans(series, place).null_count())
        case "date":
            return _dates(series, place)
        case "categorical":
            return Column(name, "categorical", told, kind, missing=missing, distinct=series.drop_nulls().n_unique())
        case _:
            return Column(name, "ignore", told, kind, missing=missing)


def _dates(series: pl.Series, place: Place) -> Column:
    name, kind = series.name, str(series.dtype)
    if series.dtype == pl.Date or isinstance(series.dtype, pl.Datetime):
        return Column(name, "date", "declared", kind, timed=isinstance(series.dtype, pl.Datetime), missing=series.null_count())
    words = words_of(series.cast(pl.String), BLANKS)
    form = date_form(words) or date_form(words.head(100)) or ""
    dates = as_dates(words, Spec(name, "date", form), place)
    timed = bool(((dates.dt.hour() != 0) | (dates.dt.minute() != 0)).any())
    told = f"declared, {form}"  # 03/04/2025 is read in one way of two: which, is to be seen
    return Column(name, "date", told, kind, form, timed, missing=dates.null_count())


def is_identity(series: pl.Series) -> bool:
    """Whether whole numbers look like numbers of rows: all different, and called so or without gaps."""
    if not series.dtype.is_integer() or len(series) < FEW or series.n_unique() < len(series):
        return False
    low, high = series.min(), series.max()
    gapless = isinstance(low, int) and isinstance(high, int) and high - low + 1 == len(series)
    return gapless or IDENTITY.search(series.name) is not None


def infer_all(
    frame: pl.DataFrame, declared: Mapping[str, str], place: Place, *, typed: bool, skip: Sequence[str] = ()
) -> dict[str, Column]:
    """Every column but those to skip; what is to be declared is told of all columns at once."""
    found: dict[str, Column] = {}
    faults: list[DataError] = []
    for name in frame.columns:
        if name in skip:
            continue
        try:
            found[name] = infer(frame[name], declared.get(name), place, typed=typed)
        except DataError as fault:
            faults.append(fault)
    if faults:
        for other in faults[1:]:
            faults[0].add_note(str(other))
        raise faults[0]
    return found
