"""From a source's rows to what training sees: split, encoded by the training rows, on the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from dnnlab.data.encoding import Encoder, Recipe, encode, fit_encoder
from dnnlab.data.scaling import spread
from dnnlab.data.splits import Plan, divide
from dnnlab.errors import DataError, ResourceError
from dnnlab.tasks import Task

TargetScale = Literal["standardise", "log", "none"]


@dataclass(frozen=True)
class Category:
    """One column of categories: the words that the source has, and what the column is called."""

    name: str
    levels: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Source:
    """Rows as they come, before any split."""

    name: str
    x: Tensor  # (N, M) of floats; NaN where a table lacks a number
    y: Tensor  # class codes (N,) of int64, or numbers (N, T)
    features: tuple[str, ...]  # M names
    classes: tuple[str, ...] = ()  # C names in the order of the codes; empty for numbers
    image_shape: tuple[int, int] | None = None  # height and width, where a row is an image
    given: Mapping[str, Tensor] = field(default_factory=dict)  # part -> row numbers that the source itself sets apart for it
    whole: bool = False  # all rows train, and the same rows validate and test: a truth table
    codes: Tensor | None = None  # (N, G) of int32, places among the levels of G categories; −1 where missing
    categories: tuple[Category, ...] = ()  # G columns
    targets: tuple[str, ...] = ("target",)  # T names, or the name of the class
    by: Tensor | None = None  # (N,) what a split goes by: codes of groups, or a time

    @property
    def task(self) -> Task:
        """What is asked: one of two classes, one of several, or numbers."""
        if not self.classes:
            return Task.REGRESSION
        return Task.BINARY if len(self.classes) == 2 else Task.MULTICLASS


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of one purpose, ready for the network."""

    x: Tensor  # (N, D), encoded
    y: Tensor  # the target as the task wants it, see tasks.Task
    index: Tensor  # (N,) of int64: the rows' numbers in the source, from 0


@dataclass(frozen=True, eq=False)
class Dataset:
    """What one run learns from, and is measured on."""

    name: str
    task: Task
    features: tuple[str, ...]  # D names
    classes: tuple[str, ...]
    image_shape: tuple[int, int] | None
    train: Part
    valid: Part | None
    test: Part | None
    encoder: Encoder  # what the inputs went through; float64, on the CPU
    targets: tuple[str, ...] = ("target",)
    target_shift: tuple[float, ...] = ()  # number = y·factor + shift; both empty where the target was not scaled
    target_factor: tuple[float, ...] = ()
    target_log: bool = False  # … and then number = exp(number) − 1


def prepare(
    source: Source,
    *,
    valid: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
    stratify: bool = True,
    plan: Plan | None = None,
    recipe: Recipe | None = None,
    hot: bool = False,
    scale_target: TargetScale = "standardise",
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    memory: int = 2**63,
) -> Dataset:
    """Split, encode and move: everything that is fitted sees the training rows alone.

    valid, test: shares of the rows (none is taken for a part that the source sets apart itself); seed: of the split; plan: another way to
    split than at random; hot: no category may be left to an embedding; memory: bytes that the encoded rows may take.
    """
    rows = rows_of(source, valid=valid, test=test, seed=seed, stratify=stratify, plan=plan)
    codes = source.x.new_zeros(len(source.x), 0, dtype=torch.int32) if source.codes is None else source.codes
    levels, category_names = [category.levels for category in source.categories], [category.name for category in source.categories]
    train = rows["train"]
    made = recipe or Recipe()
    encoder = fit_encoder(source.x[train], codes[train], levels, made, names=source.features, category_names=category_names, hot=hot)
    _check_memory(len(source.x), encoder, dtype, memory)
    own = _own_codes(encoder, codes, levels)
    y, shift, factor = _scaled_target(source, train, scale_target)

    def part(index: Tensor) -> Part:
        inputs = encode(encoder, source.x[index], own[index], dtype)
        return Part(inputs.to(device), _target(source.task, y[index], shift, factor, dtype).to(device), index)

    parts = {name: part(index) for name, index in rows.items()}
    if source.whole:
        parts["valid"] = parts["test"] = parts["train"]
    scaled = scale_target != "none" and source.task is Task.REGRESSION
    return Dataset(
        name=source.name,
        task=source.task,
        features=encoder.names,
        classes=source.classes,
        image_shape=source.image_shape,
        train=parts["train"],
        valid=parts.get("valid"),
        test=parts.get("test"),
        encoder=encoder,
        targets=source.targets,
        target_shift=tuple(shift.tolist()) if scaled else (),
        target_factor=tuple(factor.tolist()) if scaled else (),
        target_log=scaled and scale_target == "log",
    )


def _check_memory(rows: int, encoder: Encoder, dtype: torch.dtype, memory: int) -> None:
    """Refuse rows that would not fit, before they are encoded."""
    need = rows * encoder.width * dtype.itemsize
    if need > memory:
        raise ResourceError(
            f"the encoded rows must fit into memory, however: {rows:,} rows of {encoder.width:,} numbers need {need / 2**30:,.1f} GiB, "
            f"and {memory / 2**30:,.1f} GiB are there",
            where="data",
            fix="Try data.categories=embedding" if encoder.plain > encoder.numbers else "Try data.rows with a smaller number",
        )


def _own_codes(encoder: Encoder, codes: Tensor, levels: list[tuple[str, ...]]) -> Tensor:
    """The source's codes as the encoder's. (N, G) -> (N, G)."""
    tables = [words.table(level) for words, level in zip(encoder.vocabularies, levels, strict=True)]
    columns = [table[column.long()] for table, column in zip(tables, codes.unbind(1), strict=True)]  # −1, missing, is the last place
    return torch.stack(columns, 1).int() if columns else codes


def rows_of(
    source: Source, *, valid: float = 0.2, test: float = 0.2, seed: int = 0, stratify: bool = True, plan: Plan | None = None
) -> dict[str, Tensor]:
    """The row numbers of each part that has rows; see `prepare`."""
    count = len(source.x)
    if source.whole:
        return {"train": torch.arange(count)}
    codes = source.y if source.classes else None
    shares = {"valid": valid, "test": test}
    rows = divide(count, shares, seed, codes if stratify else None, source.classes, given=source.given, by=source.by, plan=plan)
    if codes is not None:
        _check_classes(source, codes[rows["train"]])
    return rows


def _check_classes(source: Source, codes: Tensor) -> None:
    """Refuse a class that no training row has, and a single class."""
    counts = torch.bincount(codes, minlength=len(source.classes)).tolist()
    if 0 in counts or len(counts) < 2:
        rows = ", ".join(f"{name}: {number}" for name, number in zip(source.classes[:20], counts, strict=False))
        fact = f"{source.classes[counts.index(0)]} has none" if 0 in counts else "there is one class only"
        raise DataError(
            f"two or more classes must all have training rows, however {fact} (training rows: {rows})",
            where=source.name,
            fix="Try data.stratify=true, more rows, or another data.split_seed",
        )


def _scaled_target(source: Source, train: Tensor, scale: TargetScale) -> tuple[Tensor, Tensor, Tensor]:
    """-> the target, its logarithm where that is asked for; what is to be subtracted from it and what it is to be divided by, (T,) each."""
    if source.task is not Task.REGRESSION or scale == "none":
        return source.y, *spread(source.y[:0], "none")
    y = source.y.double()
    if scale == "log":
        low = float(y.min())
        if low <= -1:
            raise DataError(
                f"data.scale_target=log must find a target above −1, however: {low:g}",
                where=f"data.scale_target, {', '.join(source.targets)}",
                fix="Try data.scale_target=standardise",
            )
        y = y.log1p()
    return y, *spread(y[train], "standardise")


def _target(task: Task, y: Tensor, shift: Tensor, factor: Tensor, dtype: torch.dtype) -> Tensor:
    """The target as the task wants it."""
    if task is Task.MULTICLASS:
        return y
    if task is Task.BINARY:
        return y.to(dtype).unsqueeze(1)
    return ((y.double() - shift) / factor).to(dtype)
