"""Settings that contradict each other: what can be said before any data is read. Every message names both keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, get_args

from dnnlab.config.base import Span
from dnnlab.config.metrics import MetricKind
from dnnlab.config.optimizer import FULL_BATCH
from dnnlab.config.run import RunConfig
from dnnlab.config.table import Data, Files, Table
from dnnlab.errors import did_you_mean


class Clash(NamedTuple):
    """A contradiction: what is wrong, the keys that are at odds (the one to blame first) and a remedy."""

    what: str
    keys: tuple[str, ...]
    fix: str


def clashes(config: RunConfig) -> list[Clash]:
    """Every contradiction in the settings of a run."""
    return [clash for rule in (_batches, _losses, _watched, _spans, _ranges, _splits, _hardware) for clash in rule(config)]


def _batches(config: RunConfig) -> Iterator[Clash]:
    kind, size = config.optimizer.kind, config.trainer.batch_size
    if kind in FULL_BATCH and isinstance(size, int):
        what = f"trainer.batch_size must be full or auto with optimizer={kind}, which sees all rows at each step, however: {size}"
        yield Clash(what, ("trainer.batch_size", "optimizer.kind"), "Try trainer.batch_size=full" + (", or optimizer=sgd" * (kind == "gd")))
    if kind in FULL_BATCH and config.trainer.accumulate > 1:
        what = f"trainer.accumulate must be 1 with optimizer={kind}, which sees all rows at each step, however: {config.trainer.accumulate}"
        yield Clash(what, ("trainer.accumulate", "optimizer.kind"), "Try trainer.accumulate=1")


PERCEPTRON_LOSSES = ("auto", "perceptron", "hinge", "squared_hinge", "custom")
RESTORING_LOSSES = ("auto", "mse", "mae", "bce", "custom")


def _losses(config: RunConfig) -> Iterator[Clash]:
    model, loss = config.model.kind, config.loss.kind
    if model == "perceptron" and loss not in PERCEPTRON_LOSSES:
        what = f"loss.kind must judge a margin ({', '.join(PERCEPTRON_LOSSES)}) with model=perceptron, however: {loss}"
        yield Clash(what, ("loss.kind", "model.kind"), f"Try loss=perceptron, or model=linear for loss={loss}")
    if model == "autoencoder" and loss not in RESTORING_LOSSES:
        what = f"loss.kind must compare inputs with their copies ({', '.join(RESTORING_LOSSES)}) with model=autoencoder, however: {loss}"
        yield Clash(what, ("loss.kind", "model.kind"), "Try loss=mse")


MEASURABLE = ("loss", *get_args(MetricKind))


def _watched(config: RunConfig) -> Iterator[Clash]:
    trainer = config.trainer
    for key, name in (("trainer.monitor", trainer.monitor), ("trainer.stop_at.metric", trainer.stop_at.metric)):
        if name is None or name == "auto":
            continue
        part, _, metric = name.partition("/")
        if part == "valid" and getattr(config.data, "valid", None) == 0:
            what = f"{key} must be measured, however: {name} with data.valid=0, which holds no rows back"
            yield Clash(what, (key, "data.valid"), f"Try {key}=train/{metric}, or data.valid=0.2")
        if metric not in MEASURABLE:
            what = f"{key} must name a figure that can be logged, however: {name} is none"
            fix = did_you_mean(name, [f"{part}/{figure}" for figure in MEASURABLE])
            yield Clash(what, (key, "metrics.epoch"), fix)


def _spans(config: RunConfig) -> Iterator[Clash]:
    scheduler, epochs = config.scheduler, config.trainer.epochs
    for key in ("warmup", "every", "first", "flat", "peak", "decay"):
        span = getattr(scheduler, key, None)
        if span is None:
            continue
        name = f"scheduler.{key}"
        if _share(span, epochs) >= 1 and key in ("warmup", "peak"):
            what = f"{name} must end before the run does, which trainer.epochs={epochs} says, however: {span}"
            yield Clash(what, (name, "trainer.epochs"), f"Try {name}=5%")
        if span.amount == 0 and key in ("every", "first"):
            yield Clash(f"{name} must be longer than nothing, however: {span}", (name, "scheduler.kind"), f"Try {name}=10%")
    decay = getattr(scheduler, "decay", None)
    if decay is not None and 1 > _share(scheduler.warmup, epochs) > 1 - _share(decay, epochs) + 1e-12:
        what = f"scheduler.warmup and scheduler.decay must fit into one run, however: {scheduler.warmup} and {decay}"
        yield Clash(what, ("scheduler.decay", "scheduler.warmup"), "Try scheduler.warmup=5% scheduler.decay=20%")
    sparsity = config.regularization.sparsity
    if sparsity.keep is not None and sparsity.begin.unit == sparsity.end.unit and sparsity.begin.amount > sparsity.end.amount:
        what = f"regularization.sparsity.begin must not lie behind its end ({sparsity.end}), however: {sparsity.begin}"
        keys = ("regularization.sparsity.begin", "regularization.sparsity.end")
        yield Clash(what, keys, "Try regularization.sparsity.begin=0%")
    if config.trainer.validate_every.amount == 0:
        what = "trainer.validate_every must be longer than nothing, however: 0"
        yield Clash(what, ("trainer.validate_every",), "Try trainer.validate_every=1epoch")


def _share(span: Span, epochs: int) -> float:
    """A length as a share of the run; 0 where the number of steps would have to be known."""
    return {"%": span.amount / 100, "epochs": span.amount / epochs, "steps": 0.0}[span.unit]


def _ranges(config: RunConfig) -> Iterator[Clash]:
    data = config.data
    valid, test = getattr(data, "valid", 0.0), getattr(data, "test", 0.0)
    if valid + test >= 1:
        what = f"data.valid and data.test must leave rows to train on, however: {valid:g} + {test:g}"
        yield Clash(what, ("data.valid", "data.test"), "Try data.valid=0.2 data.test=0.2")
    if data.kind == "linear_regression" and data.informative > data.features:
        what = f"data.informative must be at most data.features={data.features}, however: {data.informative}"
        yield Clash(what, ("data.informative", "data.features"), f"Try data.informative={data.features}")
    if config.initialization.kind == "uniform" and config.initialization.low > config.initialization.high:
        what = (
            f"initialization.low must be at most initialization.high={config.initialization.high:g}, however: {config.initialization.low:g}"
        )
        yield Clash(what, ("initialization.low", "initialization.high"), "Try initialization.low=-0.5 initialization.high=0.5")
    if config.lr_range.low >= config.lr_range.high:
        what = f"lr_range.low must lie below lr_range.high={config.lr_range.high:g}, however: {config.lr_range.low:g}"
        yield Clash(what, ("lr_range.low", "lr_range.high"), "Try lr_range.low=1e-6 lr_range.high=10")


def _splits(config: RunConfig) -> Iterator[Clash]:
    data = config.data
    if not isinstance(data, Data):
        return
    if data.fold is not None and data.folds is None:
        what = f"data.fold must stand with data.folds, the number of folds, however: {data.fold} of none"
        yield Clash(what, ("data.fold", "data.folds"), "Try data.folds=5, or data.fold=null")
    elif data.fold is not None and data.folds is not None and data.fold >= data.folds:
        what = f"data.fold must be less than data.folds={data.folds}, for they are counted from 0, however: {data.fold}"
        yield Clash(what, ("data.fold", "data.folds"), f"Try data.fold={data.folds - 1}")
    if isinstance(data, Table):
        yield from _splits_of_table(data)


def _splits_of_table(data: Table) -> Iterator[Clash]:
    if data.split != "random" and data.split_by is None:
        what = f"data.split={data.split} must stand with the column that it goes by, however: data.split_by is null"
        yield Clash(what, ("data.split", "data.split_by"), "Try data.split_by=COLUMN")
    if data.split == "random" and data.split_by is not None:
        what = f"data.split_by must stand with data.split=group, time or column, however: {data.split}"
        yield Clash(what, ("data.split_by", "data.split"), "Try data.split=group, or data.split_by=null")
    if data.split == "time" and data.folds is not None:
        what = f"data.folds must be null with data.split=time, whose test are the latest rows, however: {data.folds}"
        yield Clash(what, ("data.folds", "data.split"), "Try data.folds=null, or data.split=random")
    if data.folds is not None and data.fold is None and isinstance(data, Files) and "-" in _paths(data):
        what = "data.path must be a file with data.folds, which read it once each, however: standard input"
        yield Clash(what, ("data.path", "data.folds"), "Save the rows in a file, or try data.fold=0")


def _paths(data: Files) -> list[str]:
    named = (data.path, data.valid_path, data.test_path)
    return [path for paths in named if paths is not None for path in ([paths] if isinstance(paths, str) else paths)]


def _hardware(config: RunConfig) -> Iterator[Clash]:
    if config.precision in ("bf16", "fp16") and config.device in ("cpu", "mps"):
        what = f"precision must be float32 or float64 with device={config.device}, however: {config.precision} (autocast is for CUDA)"
        yield Clash(what, ("precision", "device"), "Try precision=float32")
    if config.precision == "float64" and config.device == "mps":
        yield Clash("precision must be float32 with device=mps, however: float64", ("precision", "device"), "Try device=cpu")
