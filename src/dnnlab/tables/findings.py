"""What a person should know of a table before a network is trained on it: leaks, doubles, imbalance, empty and constant columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl
import torch
from torch import Tensor

from dnnlab.data.dataset import Dataset, Source
from dnnlab.errors import shown
from dnnlab.records import Finding
from dnnlab.tables.columns import declaration, parts_of
from dnnlab.tables.gather import Gathered
from dnnlab.tables.infer import is_identity
from dnnlab.tables.schema import Column, Schema

SAME = 0.999  # correlation, or share of rows told right, from which on a column says the target itself
DISCRETE = 100  # different values up to which a column is looked at as categories
IMBALANCE = 20  # times that the largest class has as many rows as the smallest
DOUBLES = 0.01  # share of equal rows that is worth a word


def described(schema: Schema, frame: pl.DataFrame, dataset: Dataset) -> Schema:
    """The schema with the figures of the training rows, and what becomes of each column."""
    index = dataset.train.index
    rows = frame if len(index) == len(frame) else frame[index.numpy()]
    return replace(schema, columns=tuple(_figures(column, rows[column.name], dataset) for column in schema.columns))


def _figures(column: Column, series: pl.Series, dataset: Dataset) -> Column:
    series = series.fill_nan(None) if series.dtype.is_float() else series
    distinct = series.n_unique() - bool(series.null_count())
    told = replace(column, missing=max(series.null_count(), column.missing if series.dtype == pl.String else 0), distinct=distinct)
    if series.dtype.is_numeric() and len(series.drop_nulls()):
        low, high, mean = (_number(figure) for figure in (series.min(), series.max(), series.mean()))
        told = replace(told, low=low, high=high, mean=mean)
    return replace(told, encoding=_encoding(column, dataset))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _encoding(column: Column, dataset: Dataset) -> str:
    encoder = dataset.encoder
    if column.role == "categorical":
        place = encoder.category_names.index(column.name)
        words, hot = encoder.vocabularies[place], encoder.spread[place]
        if hot and words.least == words.cardinality:
            return "left out: one category"
        return (
            f"{'one-hot' if hot else 'embedding'} of {len(words.words)}"
            + (" + missing" if words.missing else "")
            + (" + rare" if words.rare else "")
        )
    if not column.is_input:
        return ""
    parts = parts_of(column.spec)
    kept = sum(name in dataset.features for name in parts)
    flag = " + missing?" if any(f"{name} is missing" in dataset.features for name in parts) else ""
    if not kept:
        return f"left out: no variation{' but that of missing cells' if flag else ''}"
    return f"{encoder.scale}{f' of {kept} parts' if column.role == 'date' else ''}{flag}"


def look(gathered: Gathered, schema: Schema, source: Source, dataset: Dataset) -> tuple[Finding, ...]:
    """Every finding, the loudest first. schema: as `described` has it."""
    train = dataset.train.index
    frame = gathered.frame
    found = [
        *_leaks(frame, schema, source, train),
        *_identities(frame, schema),
        *_overlap(frame, schema, source, dataset),
        *_unused(schema),
        *_imbalance(source, train),
        *_rare_target(source, train),
        *(Finding("note", note) for note in gathered.notes),
        *_padded(gathered, schema),
    ]
    return tuple(sorted(found, key=lambda finding: finding.level != "warning"))


def _leaks(frame: pl.DataFrame, schema: Schema, source: Source, train: Tensor) -> Iterator[Finding]:
    """D25: a column that says the target."""
    y = source.y[train]
    targets = y.double().reshape(len(y), -1).unbind(1) if schema.task != "multiclass" else ()
    owners = [column.name for column in schema.inputs for _ in parts_of(column.spec)]
    for name, column in zip(owners, source.x.unbind(1), strict=True):
        values = column[train]
        share, target = max(((_correlation(values, target), place) for place, target in enumerate(targets)), default=(0.0, 0))
        if share > SAME:
            same = bool((values.nan_to_num(nan=-1.5) == targets[target]).all())
            fact = "equals the target" if same else f"has a correlation of {share:.4f} with the target"
            yield _leak(name, fact + (f" {shown(schema.targets[target])}" if len(targets) > 1 else ""))
        elif schema.classes and (purity := _purity(values, y)) > SAME:
            yield _leak(name, f"alone tells {purity:.1%} of the classes")
    if source.codes is not None and schema.classes:
        for category, codes in zip(source.categories, source.codes.unbind(1), strict=True):
            if len(category.levels) <= DISCRETE and (purity := _purity(codes[train].double(), y)) > SAME:
                yield _leak(category.name, f"alone tells {purity:.1%} of the classes")


def _leak(name: str, fact: str) -> Finding:
    return Finding(
        "warning", f"leak? {shown(name)} {fact}: will it be known when the network is asked?", f"Else {declaration(name, 'ignore')}"
    )


def _correlation(x: Tensor, y: Tensor) -> float:
    there = ~x.isnan()
    if int(there.sum()) < 3:
        return 0.0
    both = torch.stack([x[there].double(), y[there]])
    both = both - both.mean(1, keepdim=True)
    size = both.square().sum(1).sqrt()
    return float(abs((both[0] / size[0]) @ (both[1] / size[1]))) if bool((size > 0).all()) else 0.0


def _purity(values: Tensor, y: Tensor) -> float:
    """The share of rows whose class is their value's commonest; 0 for too many values, or where one class has nearly all rows."""
    sample = values[:5000]
    if len(torch.unique(sample)) > DISCRETE:
        return 0.0
    found, codes = torch.unique(values.nan_to_num(nan=float("inf")), return_inverse=True)
    classes = int(y.max()) + 1
    commonest = int(torch.bincount(y).max()) / len(y)
    if len(found) > DISCRETE or len(found) < 2 or commonest > 0.99:
        return 0.0
    table = torch.bincount(codes * classes + y, minlength=len(found) * classes).reshape(len(found), classes)
    return float(table.amax(1).sum()) / len(y)


def _identities(frame: pl.DataFrame, schema: Schema) -> Iterator[Finding]:
    for column in schema.inputs:
        if column.role == "numeric" and is_identity(frame[column.name]):
            text = f"leak? {shown(column.name)} looks like a number of rows: every value is another one"
            yield Finding("warning", text, declaration(column.name, "ignore"))
    for column in schema.columns:
        if column.role == "ignore" and column.reason != "declared":
            remedy = f"{declaration(column.name, 'categorical')} keeps it" if column.distinct else declaration(column.name, "ignore")
            level = "note" if column.distinct else "warning"
            yield Finding(level, f"{shown(column.name)} is left out: {column.reason}", remedy)


def _overlap(frame: pl.DataFrame, schema: Schema, source: Source, dataset: Dataset) -> Iterator[Finding]:
    """D26: rows that training and judging share; equal rows within the table."""
    names = [column.name for column in schema.inputs] + list(schema.targets)
    rows = pl.DataFrame([frame[name] for name in names])  # not selected by name, for polars takes * for all of them
    hashes = torch.from_numpy(rows.hash_rows().reinterpret(signed=True).to_numpy().copy()) if names else torch.zeros(0)
    parts = {"test": dataset.test, "validation": dataset.valid}
    train = hashes[dataset.train.index]
    for name, part in parts.items():
        if part is None:
            continue
        shared = int(torch.isin(hashes[part.index], train).sum())
        if shared:
            share = shared / len(part.index)
            level = "warning" if share > DOUBLES else "note"
            yield Finding(
                level,
                f"{shared:,} of {len(part.index):,} {name} rows ({share:.1%}) stand among the training rows, too",
                "Take doubles out of the file" * (level == "warning"),
            )
    doubles = len(train) - len(torch.unique(train))
    if doubles > DOUBLES * len(train):
        yield Finding("note", f"{doubles:,} of {len(train):,} training rows are there before")


def _unused(schema: Schema) -> Iterator[Finding]:
    """D23: columns that cannot tell anything."""
    for column in schema.inputs:
        if column.encoding.startswith("left out"):
            yield Finding("warning", f"{shown(column.name)} is {column.encoding} in the training rows", declaration(column.name, "ignore"))


def _imbalance(source: Source, train: Tensor) -> Iterator[Finding]:
    if not source.classes:
        return
    counts = torch.bincount(source.y[train], minlength=len(source.classes)).tolist()
    few, many = min(counts), max(counts)
    if few * IMBALANCE < many:
        rare, common = source.classes[counts.index(few)], source.classes[counts.index(many)]
        text = f"classes are uneven: {shown(common)} has {many:,} training rows, {shown(rare)} {few:,}"
        yield Finding(
            "warning",
            text,
            "Judge by balanced_accuracy or f1; try loss=cross_entropy loss.class_weights=balanced, or trainer.sampling=balanced",
        )


def _rare_target(source: Source, train: Tensor) -> Iterator[Finding]:
    """D29: a target of numbers that hardly vary, or whose largest stand far outside."""
    if source.classes:
        return
    for name, column in zip(source.targets, source.y[train].double().unbind(1), strict=True):
        spread, middle = float(column.std(correction=0)), float(column.mean())
        if float(column.min()) == float(column.max()):
            yield Finding(
                "warning",
                f"the target {shown(name)} is the same number in all training rows",
                "Look at the file, or choose another data.split_seed",
            )
        elif abs(middle) > 1e6 * spread:
            yield Finding(
                "warning", f"the target {shown(name)} hardly varies: {middle:g} ± {spread:g}", "Subtract what all rows have in common"
            )
        elif _stands_out(column):
            yield Finding(
                "warning",
                f"the target {shown(name)} has a row more than 100 standard deviations of the others from their mean",
                "Look at the row, or try loss=huber or data.scale_target=log",
            )


def _stands_out(column: Tensor) -> bool:
    """Whether the row that is farthest off is so far off, by the others' measure: its own deviation can be no more than sqrt(N − 1)."""
    farthest = int((column - column.mean()).abs().argmax())
    others = torch.cat([column[:farthest], column[farthest + 1 :]])
    return len(others) > 1 and float((column[farthest] - others.mean()).abs()) > 100 * float(others.std(correction=0)) > 0


def _padded(gathered: Gathered, schema: Schema) -> Iterator[Finding]:
    numeric = {column.name for column in schema.inputs if column.role == "numeric"}
    for name in gathered.padded:
        if name in numeric:
            yield Finding(
                "warning", f"{shown(name)} is written with leading zeros, which a number does not keep", declaration(name, "categorical")
            )


def summary(schema: Schema) -> str:
    """The inputs in a few words.

    >>> summary(Schema((Column("a", "numeric", ""), Column("b", "categorical", ""), Column("c", "ignore", "")), ("y",), "binary", ""))
    '1 numeric, 1 categorical, 1 ignored'
    """
    roles: Sequence[str] = [column.role for column in schema.columns]
    names = {"numeric": "numeric", "categorical": "categorical", "boolean": "boolean", "date": "date", "ignore": "ignored"}
    return ", ".join(f"{roles.count(role)} {name}" for role, name in names.items() if role in roles)
