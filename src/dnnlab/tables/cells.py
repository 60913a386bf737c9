"""From cells as text to typed columns: blanks stripped, missing ones found, and the narrowest type that fits every cell.

Inside, columns have names of ours: polars takes a name like * or ^a.*$ for a pattern, even in the methods of a Series.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import polars as pl

from dnnlab.tables.dialect import Dialect

_WORDS = {word: word.lower() == "true" for word in ("true", "false", "True", "False", "TRUE", "FALSE")}


def clean(frame: pl.DataFrame, na_values: Sequence[str] = ()) -> pl.DataFrame:
    """Text without blanks around it; what is empty then, or one of `na_values`, is null.

    >>> clean(pl.DataFrame({"a": [" x", " ", "NA"]}), ["NA"])["a"].to_list()
    ['x', None, None]
    """
    named = {f"text{number}": column for number, column in enumerate(frame) if column.dtype == pl.String}
    if not named:
        return frame
    missing = ["", *na_values]
    texts = pl.DataFrame([column.alias(name) for name, column in named.items()])
    tidy = _tidy_categories(texts, missing)
    texts = texts.select(name for name in named if name not in tidy)
    texts = texts.select(pl.col(pl.String).str.strip_chars())
    found = texts.select(pl.col(pl.String).is_in(missing).any())
    holed = [column.name for column in found if column[0]]
    texts = texts.with_columns(pl.when(~pl.col(name).is_in(missing)).then(pl.col(name)).alias(name) for name in holed)
    return frame.with_columns(texts[name].alias(named[name].name) for name in texts.columns)


def typed(column: pl.Series, dialect: Dialect) -> pl.Series:
    """A text column as the narrowest type that fits every cell that is not missing, numbers written as the dialect says.

    Integers beyond 64 bits stay text: as floats they would lose digits. So do dates, whose form another room finds out.

    >>> typed(pl.Series(["1", None, "2.5"]), Dialect()).to_list()
    [1.0, None, 2.5]
    >>> typed(pl.Series(["1.234,5", "7"]), Dialect(decimal=",", thousands=".")).to_list()
    [1234.5, 7.0]
    """
    return _typed(column.alias("text"), dialect).alias(column.name) if column.dtype == pl.String else column


def _typed(column: pl.Series, dialect: Dialect) -> pl.Series:
    first = next((column[row] for row in [column.is_not_null().arg_max()] if row is not None and len(column)), None)
    if first is None:
        return column
    if first in _WORDS:
        return _if_whole(column, column.replace_strict(_WORDS, default=None, return_dtype=pl.Boolean))
    if any(digit in first for digit in "0123456789") or first.lower().lstrip("+-") in ("nan", "inf", "infinity"):
        number = _numbers(column, dialect)
        if number.dtype != pl.String:
            return number
    return column


def plain(column: pl.Series, dialect: Dialect) -> pl.Series:
    """Text whose numbers are written as the dialect says, with these as polars reads them; what is no number stays as it is.

    >>> plain(pl.Series(["1.234,5", "x"]), Dialect(decimal=",", thousands=".")).to_list()
    ['1234.5', 'x']
    """
    if dialect.plain_numbers or column.dtype != pl.String:
        return column
    text = column.alias("text")
    return _rewritten(text, dialect).fill_null(text).alias(column.name)


def padded(texts: pl.DataFrame, integers: Collection[str]) -> tuple[str, ...]:
    """The columns among `integers` in whose text some number has leading zeros.

    >>> padded(pl.DataFrame({"a": ["007"], "b": ["0"]}), ["a", "b"])
    ('a',)
    """
    names = [name for name in texts.columns if name in integers]
    return tuple(name for name in names if texts[name].alias("text").str.contains(r"^\s*[+-]?0[0-9]").any())


def _tidy_categories(texts: pl.DataFrame, missing: Sequence[str]) -> set[str]:
    """The columns of few words, as categories have, in which no word must change: these are soon looked through."""
    few = [column.name for column in texts if column.head(1000).n_unique() <= 100]
    found = texts.select(pl.col(name).unique().implode() for name in few)  # all columns at the same time
    tidy = set()
    for name in few:
        words = found[name][0].drop_nulls()
        stripped = words.str.strip_chars()
        if not ((stripped != words) | stripped.is_in(missing)).any():
            tidy.add(name)
    return tidy


def _numbers(column: pl.Series, dialect: Dialect) -> pl.Series:
    text = column if dialect.plain_numbers else _rewritten(column, dialect)
    if text.null_count() > column.null_count():
        return column
    # what was written with a decimal comma or thousands is a Float64, an integer or not
    if text is column or (text == column).all():
        integers = text.cast(pl.Int64, strict=False)
        if integers.null_count() == column.null_count():
            return integers
        if text.str.contains(r"^[+-]?[0-9]+$").all():
            return column
    floats = text.cast(pl.Float64, strict=False)
    return floats if floats.null_count() == column.null_count() and text.str.contains("[0-9]").any() else column


def _rewritten(column: pl.Series, dialect: Dialect) -> pl.Series:
    """Numbers as polars reads them; null where a cell is not written as the dialect's numbers are."""
    point, thousands = re.escape(dialect.decimal), dialect.thousands
    whole = "[0-9]+" if thousands is None else rf"(?:[0-9]+|[0-9]{{1,3}}(?:{re.escape(thousands)}[0-9]{{3}})+)"
    fits = column.str.contains(rf"^[+-]?(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?$")
    text = column if thousands is None else column.str.replace_all(thousands, "", literal=True)
    text = text.str.replace(dialect.decimal, ".", literal=True)
    return text.to_frame("text").select(pl.when(fits).then(pl.col("text")))["text"]


def _if_whole(column: pl.Series, converted: pl.Series) -> pl.Series:
    return converted if converted.null_count() == column.null_count() else column
