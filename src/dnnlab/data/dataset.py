"""From a source's rows to what training sees: split, scaled by the training rows, on the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dnnlab.data.scaling import Scale, Scaler, fit, spread
from dnnlab.data.splits import split
from dnnlab.errors import DataError
from dnnlab.tasks import Task


@dataclass(frozen=True, eq=False)
class Source:
    """Rows as they come, before any split."""

    name: str
    x: Tensor  # (N, D) of floats
    y: Tensor  # class codes (N,) of int64, or numbers (N, T)
    features: tuple[str, ...]  # D names
    classes: tuple[str, ...] = ()  # C names in the order of the codes; empty for numbers
    image_shape: tuple[int, int] | None = None  # height and width, where a row is an image
    test: tuple[Tensor, Tensor] | None = None  # x and y of rows that the source itself sets apart for the test
    whole: bool = False  # all rows train, and the same rows validate and test: a truth table

    @property
    def task(self) -> Task:
        """What is asked: one of two classes, one of several, or numbers."""
        if not self.classes:
            return Task.REGRESSION
        return Task.BINARY if len(self.classes) == 2 else Task.MULTICLASS


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of one purpose, ready for the network."""

    x: Tensor  # (N, D), scaled
    y: Tensor  # the target as the task wants it, see tasks.Task
    index: Tensor  # (N,) of int64: the rows' numbers in the source (in its own test rows, where it has such), from 0


@dataclass(frozen=True, eq=False)
class Dataset:
    """What one run learns from, and is measured on."""

    name: str
    task: Task
    features: tuple[str, ...]
    classes: tuple[str, ...]
    image_shape: tuple[int, int] | None
    train: Part
    valid: Part | None
    test: Part | None
    scaler: Scaler  # what the inputs went through; float64, on the CPU
    target_shift: tuple[float, ...] = ()  # number = y·factor + shift; both empty where the target was not scaled
    target_factor: tuple[float, ...] = ()


def prepare(
    source: Source,
    *,
    valid: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
    stratify: bool = True,
    scale: Scale = "standardise",
    scale_target: bool = True,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Dataset:
    """Split, scale and move: everything that is fitted sees the training rows alone.

    valid, test: shares of the rows (test does not count where the source brings its own test rows); seed: of the split.
    """
    rows = _rows(source, valid, test, seed, stratify)
    train_x, train_y = source.x[rows["train"]], source.y[rows["train"]]
    scaler = fit(train_x, scale)
    scaled = scale_target and source.task is Task.REGRESSION
    shift, factor = spread(train_y if scaled else train_y[:0], "standardise" if scaled else "none")

    def part(x: Tensor, y: Tensor, index: Tensor) -> Part:
        # float64 in between: not for all rows at once
        inputs = x.to(dtype) if scale == "none" else torch.cat([scaler(chunk).to(dtype) for chunk in torch.split(x, 8192)])
        return Part(inputs.to(device), _target(source.task, y, shift, factor, dtype).to(device), index)

    parts = {name: part(source.x[index], source.y[index], index) for name, index in rows.items() if name != "train"}
    parts["train"] = part(train_x, train_y, rows["train"])
    if source.whole:
        parts["valid"] = parts["test"] = parts["train"]
    if source.test is not None:
        parts["test"] = part(*source.test, torch.arange(len(source.test[0])))
    return Dataset(
        name=source.name,
        task=source.task,
        features=source.features,
        classes=source.classes,
        image_shape=source.image_shape,
        train=parts["train"],
        valid=parts.get("valid"),
        test=parts.get("test"),
        scaler=scaler,
        target_shift=tuple(shift.tolist()) if scaled else (),
        target_factor=tuple(factor.tolist()) if scaled else (),
    )


def _rows(source: Source, valid: float, test: float, seed: int, stratify: bool) -> dict[str, Tensor]:
    """The row numbers of each part that has rows."""
    count = len(source.x)
    if source.whole:
        return {"train": torch.arange(count)}
    codes = source.y if source.classes else None
    rows = split(
        count, {"valid": valid, "test": 0.0 if source.test is not None else test}, seed, codes if stratify else None, source.classes
    )
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


def _target(task: Task, y: Tensor, shift: Tensor, factor: Tensor, dtype: torch.dtype) -> Tensor:
    """The target as the task wants it."""
    if task is Task.MULTICLASS:
        return y
    if task is Task.BINARY:
        return y.to(dtype).unsqueeze(1)
    return ((y.double() - shift) / factor).to(dtype)
