"""From the data's settings to rows on the device, with the targets that the model asks for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dnnlab import data
from dnnlab.config.data import Blobs, Bundled, Friedman, Idx, LinearRegression, Parity, Shapes, Spirals, Truth
from dnnlab.config.run import RunConfig
from dnnlab.config.table import Data, Images, Npz, Table
from dnnlab.data import Dataset, Part
from dnnlab.errors import ConfigError
from dnnlab.features import Layout
from dnnlab.limits import free_memory
from dnnlab.records import Finding
from dnnlab.tasks import Answer, Link, Task

if TYPE_CHECKING:
    import polars as pl

    from dnnlab.build.tables import TableRows
    from dnnlab.tables.reading import FileFact
    from dnnlab.tables.schema import Schema


@dataclass(frozen=True)
class Description:
    """What is known of a table beside its numbers: columns, findings, the files that it came from."""

    schema: Schema
    findings: tuple[Finding, ...]
    files: tuple[FileFact, ...]


@dataclass(frozen=True)
class Rows:
    """A data set as one run sees it: split, scaled, on the device, its target fit for the task."""

    source: Dataset
    task: Task
    outputs: int
    train: Part
    valid: Part | None
    test: Part | None
    table: Description | None = None  # None: the rows are no table of a user's

    @property
    def layout(self) -> Layout:
        """Which columns of x are numbers, and which are codes."""
        encoder = self.source.encoder
        return Layout(encoder.numbers, encoder.plain, encoder.cardinalities)

    def answer(self, link: Link) -> Answer:
        """What scores mean; the scaling of the target, where it was scaled, is undone."""
        if self.task is not Task.REGRESSION:
            return Answer(self.task, link)
        return Answer(self.task, link, self.source.target_shift, self.source.target_factor, log=self.source.target_log)

    @property
    def inputs(self) -> int:
        """Numbers in one row."""
        return self.train.x.shape[1]

    @property
    def classes(self) -> int:
        """How many classes there are to choose from; 0 where the answer is no class."""
        return max(2, self.outputs) if self.task.classifies else 0

    def parts(self) -> dict[str, Part]:
        """The parts that there are, by name."""
        return {name: part for name, part in (("train", self.train), ("valid", self.valid), ("test", self.test)) if part is not None}

    def for_loss(self, kind: str, scale: str) -> Rows:
        """Two classes under cross_entropy are two outputs and codes; a reconstruction under bce must lie between 0 and 1."""
        if self.task is Task.BINARY and kind == "cross_entropy":
            train, valid, test = (
                None if part is None else replace(part, y=part.y.squeeze(1).long()) for part in (self.train, self.valid, self.test)
            )
            assert train is not None
            return replace(self, task=Task.MULTICLASS, outputs=2, train=train, valid=valid, test=test)
        if self.task is Task.RECONSTRUCTION and kind == "bce":
            low, high = self.train.y.aminmax()
            if low < 0 or high > 1:
                raise ConfigError(
                    f"loss=bce must stand with inputs between 0 and 1, however: data.scale={scale} "
                    f"gives {low.item():.3g} to {high.item():.3g}",
                    where="loss.kind, data.scale",
                    fix="Try data.scale=minmax or loss=mse",
                )
        return self


class Shelf:
    """What was read and divided already, for runs of one sweep that ask for the same; members of a stack so hold one tensor together."""

    def __init__(self) -> None:
        self._sources: dict[str, tuple[data.Source, TableRows | None]] = {}
        self._rows: dict[str, Rows] = {}

    def source(self, config: RunConfig, frame: pl.DataFrame | None) -> tuple[data.Source, TableRows | None]:
        """The rows as they are read; seed and fold only say how they are divided, where they are not generated."""
        asked = config.data.model_dump_json(exclude={"fold", "split_seed"})
        key = f"{asked} {config.seed if isinstance(config.data, Drawn) else ''}"
        if key not in self._sources:
            self._sources[key] = _read(config, frame)
        return self._sources[key]

    def rows(self, config: RunConfig, dtype: torch.dtype, device: torch.device, frame: pl.DataFrame | None) -> Rows:
        """The rows of a run, divided and encoded."""
        fixed = not isinstance(config.data, Drawn) and (not isinstance(config.data, Data) or config.data.split_seed is not None)
        key = f"{config.data.model_dump_json()} {config.model.kind} {dtype} {device} {'' if fixed else config.seed}"
        if key not in self._rows:
            self._rows[key] = _divided(config, dtype, device, *self.source(config, frame))
        return self._rows[key]


def build_rows(config: RunConfig, dtype: torch.dtype, device: torch.device, frame: pl.DataFrame | None = None) -> Rows:
    """Read or generate, split, encode; for an autoencoder the target of each row is the row itself. frame: rows that Python holds."""
    return _divided(config, dtype, device, *_read(config, frame))


def _read(config: RunConfig, frame: pl.DataFrame | None) -> tuple[data.Source, TableRows | None]:
    if not isinstance(config.data, Table):
        return _source(config), None
    from dnnlab.build.tables import read_table  # polars comes in with it

    table = read_table(config.data, frame)
    return table.source, table


def _divided(config: RunConfig, dtype: torch.dtype, device: torch.device, source: data.Source, table: TableRows | None) -> Rows:
    settings = config.data
    dataset = data.prepare(
        source,
        valid=getattr(settings, "valid", 0.0),
        test=settings.test if isinstance(settings, Data) else 0.0,
        seed=_split_seed(config),
        stratify=getattr(settings, "stratify", False),
        plan=_plan(config),
        recipe=_recipe(config),
        hot=config.model.kind in WITHOUT_EMBEDDINGS,
        scale_target=settings.scale_target if isinstance(settings, Data) else "none",
        dtype=dtype,
        device=device,
        memory=free_memory(),
    )
    description = None
    if table is not None:
        from dnnlab.tables.findings import described, look

        schema = described(table.schema, table.gathered.frame, dataset)
        description = Description(schema, look(table.gathered, schema, table.source, dataset), table.gathered.files)
    return _asked(config, dataset, description)


def parts_of(config: RunConfig, source: data.Source) -> dict[str, Tensor]:
    """Which rows of a source are which part, as `build_rows` divides them."""
    settings = config.data
    return data.rows_of(
        source,
        valid=getattr(settings, "valid", 0.0),
        test=settings.test if isinstance(settings, Data) else 0.0,
        seed=_split_seed(config),
        stratify=getattr(settings, "stratify", False),
        plan=_plan(config),
    )


def _split_seed(config: RunConfig) -> int:
    asked: int | None = getattr(config.data, "split_seed", None)
    return config.seed if asked is None else asked


WITHOUT_EMBEDDINGS = ("autoencoder", "linear", "perceptron")  # each category has a weight of its own there, or is to be restored


def _asked(config: RunConfig, dataset: Dataset, description: Description | None) -> Rows:
    """The targets that the model asks for."""
    if config.model.kind == "autoencoder":
        train, valid, test = (None if part is None else replace(part, y=part.x) for part in (dataset.train, dataset.valid, dataset.test))
        assert train is not None
        return Rows(dataset, Task.RECONSTRUCTION, train.x.shape[1], train, valid, test, description)
    outputs = {Task.BINARY: 1, Task.MULTICLASS: len(dataset.classes)}.get(dataset.task, dataset.train.y.shape[-1])
    return Rows(dataset, dataset.task, outputs, dataset.train, dataset.valid, dataset.test, description)


def _plan(config: RunConfig) -> data.Plan | None:
    settings = config.data
    if not isinstance(settings, Data):
        return None
    kind = settings.split if isinstance(settings, Table) and settings.split != "column" else "random"
    return data.Plan(kind, settings.folds, settings.fold or 0)


def _recipe(config: RunConfig) -> data.Recipe:
    settings = config.data
    if not isinstance(settings, Table):
        return data.Recipe(scale=settings.scale)
    return data.Recipe(
        scale=settings.scale,
        impute=settings.impute,
        constant=settings.impute_value,
        indicator=settings.indicator,
        spread=settings.categories,
        one_hot=settings.one_hot,
        rare=settings.rare,
        table=True,
    )


def data_folder(config: RunConfig) -> Path | None:
    """The folder that is data altogether: no run may be written into it. (Tables lie beside all sorts of files.)"""
    return Path(config.data.root) if isinstance(config.data, Idx | Images) else None


Drawn = Shapes | Spirals | Blobs | LinearRegression | Friedman
"""Rows that are drawn with the run's seed."""


def _source(config: RunConfig) -> data.Source:
    settings, seed = config.data, config.seed
    match settings:
        case Bundled():
            return data.load_bundled(settings.kind)
        case Truth():
            return data.truth_table(settings.kind)
        case Parity():
            return data.parity(settings.bits)
        case Shapes(kind="moons"):
            return data.moons(settings.rows, noise=settings.noise, seed=seed)
        case Shapes():
            return data.circles(settings.rows, noise=settings.noise, factor=settings.factor, seed=seed)
        case Spirals():
            return data.spirals(settings.rows, classes=settings.classes, turns=settings.turns, noise=settings.noise, seed=seed)
        case Blobs():
            return data.blobs(settings.rows, features=settings.features, classes=settings.classes, spread=settings.spread, seed=seed)
        case LinearRegression():
            return data.linear_regression(
                settings.rows, features=settings.features, informative=settings.informative, noise=settings.noise, seed=seed
            )
        case Friedman():
            return data.friedman(settings.rows, features=settings.features, noise=settings.noise, seed=seed)
        case Idx():
            return data.read_idx(settings.root, labels=settings.labels, rows=settings.rows)
        case Images():
            from dnnlab.data.images import read_images

            size = None if settings.size is None else (settings.size[0], settings.size[1])
            return read_images(settings.root, size=size, rows=settings.rows)
        case Npz():
            from dnnlab.data.npz import read_npz

            return read_npz(settings.path, inputs=settings.inputs, target=settings.target, classes=settings.labels, task=settings.task)
    raise AssertionError(settings)
