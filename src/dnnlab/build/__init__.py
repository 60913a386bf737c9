"""The only place where settings and ingredients meet: a RunConfig becomes the parts of a run, and every misfit is told here.

Sizes that follow from data (inputs, classes) are taken once, here, and never written back into the settings.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import nn

from dnnlab import losses, metrics
from dnnlab.batches import Batches
from dnnlab.build.device import find_device, find_dtype, thread_count
from dnnlab.build.figures import Figures, choose_figures
from dnnlab.build.network import build_network, hidden_matrices, output_kind, scale_by_data
from dnnlab.build.rows import Rows, build_rows
from dnnlab.build.schedule import build_schedule
from dnnlab.build.training import batch_size, build_gradients, build_loss, build_optimizer, build_regularizer, least_rows, loss_kind
from dnnlab.config.run import RunConfig
from dnnlab.data import Part
from dnnlab.flat import FlatParameters
from dnnlab.learner import LossScale, Solo
from dnnlab.seeding import Noise, permutation
from dnnlab.tasks import Answer
from dnnlab.trainer import Course, Trainer

LSUV_ROWS = 1024
SCORED = 8192  # rows that are scored at once

Judge = Callable[[Part, Sequence[str]], dict[str, float]]
"""Loss and named figures of some rows, by the learner as it stands."""


@dataclass(frozen=True)
class Parts:
    """What a run is made of."""

    config: RunConfig
    rows: Rows
    answer: Answer
    learner: Solo
    trainer: Trainer
    figures: Figures
    judge: Judge
    device: torch.device
    threads: int
    choices: dict[str, str]  # what `auto` came to, for people

    @property
    def network(self) -> nn.Module:
        """The network that learns."""
        return self.learner.network


def build(config: RunConfig, trusted: Collection[str] = (), health_due: Callable[[int], bool] = lambda epoch: False) -> Parts:
    """All parts of a run; ConfigError, DataError or UntrustedError say what cannot be, before anything is written."""
    device = find_device(config.device)
    dtype, autocast = find_dtype(config.precision, device)
    rows = build_rows(config, dtype, device)
    kind = loss_kind(config, rows.task)
    if kind != "custom":
        losses.check_fit(kind, rows.task, output_kind(config.model), config.data.kind)
    rows = rows.for_loss(kind, config.data.scale)
    loss = build_loss(config.loss, kind, rows.train.y, rows.classes, dtype, trusted)
    answer = Answer(rows.task, losses.link(kind, rows.task), rows.target_shift, rows.target_factor)
    figures = choose_figures(config, rows.task, kind, has_valid=rows.valid is not None)
    return _assemble(config, rows, loss, kind, answer, figures, device, dtype, autocast, trusted, health_due)


def _assemble(
    config: RunConfig,
    rows: Rows,
    loss: losses.Loss,
    kind: str,
    answer: Answer,
    figures: Figures,
    device: torch.device,
    dtype: torch.dtype,
    autocast: torch.dtype | None,
    trusted: Collection[str],
    health_due: Callable[[int], bool],
) -> Parts:
    size = batch_size(config, len(rows.train.x))
    noise = Noise(config.seed, device, rows=size)
    if config.compile:
        noise.leave_uncompiled()
    network = build_network(config, rows.inputs, rows.outputs, noise=noise, dtype=dtype, device=device, trusted=trusted)
    scale_by_data(network, config, rows.train.x[permutation(config.seed, 0, len(rows.train.x))[:LSUV_ROWS].to(device)])
    flat = FlatParameters(network)
    batches = Batches(rows.train.x, rows.train.y, size, rows.train.index, least=least_rows(config, network, size))
    total = config.trainer.epochs * batches.count
    mode: Literal["min", "max"] = figures.mode
    schedule, plateau = build_schedule(config.scheduler, total, batches.count, mode)
    scale = LossScale() if autocast is torch.float16 else None
    learner = Solo(
        network,
        flat,
        gradients := build_gradients(config, network, loss, flat, autocast, scale),
        loss,
        build_optimizer(config.optimizer, flat, hidden_matrices(network), trusted),
        build_regularizer(config.regularization, total, batches.count, config.trainer.ema),
        noise,
        ema=config.trainer.ema,
        scale=scale,
        reseed=config.model.kind == "custom",
    )
    every = config.trainer.validate_every
    course = Course(
        epochs=config.trainer.epochs,
        seed=config.seed,
        lr=config.optimizer.lr,
        schedule=schedule,
        shuffle=config.trainer.shuffle,
        validate_steps=0 if every.unit == "epochs" else max(1, every.steps(total=total, per_epoch=batches.count)),
        validate_epochs=max(1, round(every.amount)) if every.unit == "epochs" else 1,
        monitor=figures.monitor,
    )

    def judge(part: Part, names: Sequence[str]) -> dict[str, float]:
        return metrics.evaluate(learner.scores, part.x, part.y, loss.mean, answer, names, batch_rows=SCORED)

    measure = partial(_measure, judge, rows, figures)
    trainer = Trainer(learner, batches, course, measure, health_due=health_due, plateau=plateau)
    threads = thread_count(config.threads, size * max(flat.shapes[name].numel() for name in flat.spans))
    choices = {
        "task": f"{rows.task} ({rows.inputs} inputs, {rows.outputs} outputs)",
        "rows": ", ".join(f"{name} {len(part.x):,}" for name, part in rows.parts().items()),
        "loss": kind,
        "batch size": f"{size:,} rows, {batches.count:,} steps an epoch",
        "parameters": f"{len(flat.data):,}",
        "gradients": "autograd" if type(gradients).__name__ == "Autograd" else "written out",
        "device": f"{device}, {threads} thread{'s' if threads > 1 else ''}, {config.precision}",
        "monitor": f"{figures.monitor} ({figures.mode})",
    }
    return Parts(config, rows, answer, learner, trainer, figures, judge, device, threads, choices)


def _measure(judge: Judge, rows: Rows, figures: Figures) -> dict[str, float]:
    """The figures of one validation, by their logged names; train/loss is the trainer's own, the mean over its steps."""
    told: dict[str, float] = {}
    if rows.valid is not None:
        told |= {f"valid/{name}": value for name, value in judge(rows.valid, figures.epoch).items()}
    if figures.train:
        told |= {f"train/{name}": value for name, value in judge(rows.train, figures.train).items() if name != "loss"}
    return told
