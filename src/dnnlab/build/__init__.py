"""The only place where settings and ingredients meet: a RunConfig becomes what a run is made of, and every misfit is told here.

Sizes that follow from data (inputs, classes) are taken once, here, and never written back into the settings.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from dnnlab import losses
from dnnlab.backprop import Gradients, WrittenOut
from dnnlab.batches import Batches
from dnnlab.build.device import find_device, find_dtype, thread_count
from dnnlab.build.figures import Figures, choose_figures
from dnnlab.build.network import build_network, fit_to_data, hidden_matrices, output_kind
from dnnlab.build.rows import Rows, Shelf
from dnnlab.build.schedule import build_schedule
from dnnlab.build.training import batch_size, build_gradients, build_loss, build_optimizer, build_regularizer, least_rows, loss_kind
from dnnlab.config.run import RunConfig
from dnnlab.flat import FlatParameters
from dnnlab.loss_scale import LossScale
from dnnlab.optimizers import Optimizer
from dnnlab.regularization import Regularizer
from dnnlab.schedules import Plateau, Schedule
from dnnlab.seeding import Noise
from dnnlab.tasks import Answer

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Question:
    """What is asked: rows with their target, the loss that judges scores, what the scores mean and which figures are taken."""

    rows: Rows
    loss: losses.Loss
    loss_kind: str
    answer: Answer
    figures: Figures


@dataclass(frozen=True)
class Ingredients:
    """What a run is made of, before anything learns."""

    config: RunConfig
    question: Question
    noise: Noise
    network: nn.Module
    flat: FlatParameters
    batches: Batches
    gradients: Gradients
    optimizer: Optimizer
    regularizer: Regularizer
    schedule: Schedule
    plateau: Plateau | None
    scale: LossScale | None
    device: torch.device
    threads: int  # CPU threads to train with
    machine_threads: int  # that the rows were encoded with
    stacked: bool = False  # whether the steps are taken together with other runs'

    def choices(self) -> dict[str, str]:
        """What `auto` came to, for people."""
        rows, figures = self.question.rows, self.question.figures
        return {
            "task": f"{rows.task} ({rows.inputs} inputs, {rows.outputs} outputs)",
            "rows": ", ".join(f"{name} {len(part.x):,}" for name, part in rows.parts().items()),
            "loss": self.question.loss_kind,
            "batch size": f"{self.batches.size:,} rows, {self.batches.count:,} steps an epoch",
            **({} if self.config.trainer.sampling == "natural" else {"sampling": str(self.config.trainer.sampling)}),
            "parameters": f"{len(self.flat.data):,}",
            "gradients": "written out" if isinstance(self.gradients, WrittenOut) else "autograd",
            "device": f"{self.device}, {self.threads} thread{'s' if self.threads > 1 else ''}, {self.config.precision}",
            "monitor": f"{figures.monitor} ({figures.mode})",
        }


def build(config: RunConfig, trusted: Collection[str] = (), frame: pl.DataFrame | None = None, shelf: Shelf | None = None) -> Ingredients:
    """All ingredients of a run; ConfigError, DataError or UntrustedError say what cannot be, before anything is written.

    frame: the rows that Python holds, for data.kind=memory; shelf: rows that other runs of a sweep have read.
    """
    device = find_device(config.device)
    dtype, autocast = find_dtype(config.precision, device)
    question = _question(config, (shelf or Shelf()).rows(config, dtype, device, frame), dtype, trusted)
    rows, train = question.rows, question.rows.train
    size = batch_size(config, len(train.x))
    noise = Noise(config.seed, device, rows=size)
    network = build_network(config, rows.layout, rows.outputs, noise=noise, dtype=dtype, device=device, trusted=trusted)
    fit_to_data(network, config, train.x)
    if config.compile:
        noise.leave_uncompiled()
    flat = FlatParameters(network)
    batches = Batches(train.x, train.y, size, train.index, least=least_rows(config, network, size))
    total = config.trainer.epochs * batches.count
    schedule, plateau = build_schedule(config.scheduler, total, batches.count, question.figures.mode)
    scale = LossScale() if autocast is torch.float16 else None
    return Ingredients(
        config=config,
        question=question,
        noise=noise,
        network=network,
        flat=flat,
        batches=batches,
        gradients=build_gradients(config, network, question.loss, flat, autocast, scale),
        optimizer=build_optimizer(config.optimizer, flat, hidden_matrices(network), trusted),
        regularizer=build_regularizer(config.regularization, total, batches.count, config.trainer.ema),
        schedule=schedule,
        plateau=plateau,
        scale=scale,
        device=device,
        threads=thread_count(config.threads, size * max(shape.numel() for shape in flat.shapes.values())),
        machine_threads=torch.get_num_threads(),
    )


def _question(config: RunConfig, rows: Rows, dtype: torch.dtype, trusted: Collection[str]) -> Question:
    kind = loss_kind(config, rows.task)
    if kind != "custom":
        losses.check_fit(kind, rows.task, output_kind(config.model), config.data.kind)
    rows = rows.for_loss(kind, config.data.scale)
    return Question(
        rows=rows,
        loss=build_loss(config.loss, kind, rows.train.y, rows.classes, dtype, trusted),
        loss_kind=kind,
        answer=rows.answer(losses.link(kind, rows.task)),
        figures=choose_figures(config, rows.task, kind, has_valid=rows.valid is not None),
    )
