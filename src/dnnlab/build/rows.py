"""From the data's settings to rows on the device, with the targets that the model asks for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from dnnlab import data
from dnnlab.config.data import Blobs, Bundled, Data, Friedman, Idx, LinearRegression, Parity, Shapes, Spirals, Truth
from dnnlab.config.run import RunConfig
from dnnlab.data import Dataset, Part
from dnnlab.errors import ConfigError
from dnnlab.tasks import Task


@dataclass(frozen=True)
class Rows:
    """A data set as one run sees it: split, scaled, on the device, its target fit for the task."""

    source: Dataset
    task: Task
    outputs: int
    train: Part
    valid: Part | None
    test: Part | None
    target_shift: tuple[float, ...] = ()
    target_factor: tuple[float, ...] = ()

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


def build_rows(config: RunConfig, dtype: torch.dtype, device: torch.device) -> Rows:
    """Read or generate, split, scale; for an autoencoder the target of each row is the row itself."""
    settings = config.data
    split_seed: int | None = getattr(settings, "split_seed", None)
    dataset = data.prepare(
        _source(config),
        valid=getattr(settings, "valid", 0.0),
        test=settings.test if isinstance(settings, Data) else 0.0,
        seed=config.seed if split_seed is None else split_seed,
        stratify=getattr(settings, "stratify", False),
        scale=settings.scale,
        scale_target=isinstance(settings, Data) and settings.scale_target,
        dtype=dtype,
        device=device,
    )
    if config.model.kind == "autoencoder":
        train, valid, test = (None if part is None else replace(part, y=part.x) for part in (dataset.train, dataset.valid, dataset.test))
        assert train is not None
        return Rows(dataset, Task.RECONSTRUCTION, train.x.shape[1], train, valid, test)
    outputs = {Task.BINARY: 1, Task.MULTICLASS: len(dataset.classes)}.get(dataset.task, dataset.train.y.shape[-1])
    shift, factor = tuple(dataset.target_shift), tuple(dataset.target_factor)
    return Rows(dataset, dataset.task, outputs, dataset.train, dataset.valid, dataset.test, shift, factor)


def data_folder(config: RunConfig) -> Path | None:
    """The folder that the data lie in, where it is the user's: no run may be written into it."""
    return Path(config.data.root) if isinstance(config.data, Idx) else None


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
    raise AssertionError(settings)
