"""From ingredients to what runs: a learner, a trainer over it, and a judge of its answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from dnnlab import metrics
from dnnlab.build import Ingredients, Question, build
from dnnlab.build.figures import Figures, choose_threshold
from dnnlab.build.rows import Rows, Shelf
from dnnlab.build.training import row_weights
from dnnlab.config.run import RunConfig
from dnnlab.data import Part
from dnnlab.flat import aligned
from dnnlab.learner import Solo
from dnnlab.population import Population
from dnnlab.tasks import Answer
from dnnlab.thresholds import best_threshold
from dnnlab.trainer import Course, Trainer

if TYPE_CHECKING:
    import polars as pl

SCORED = 8192  # rows that are scored at once

Judge = Callable[[Part, Sequence[str]], dict[str, float]]
"""Loss and named figures of some rows, by the learner as it stands."""


@dataclass(frozen=True)
class Parts:
    """A run that is ready to begin."""

    ingredients: Ingredients
    learner: Solo
    trainer: Trainer
    judge: Judge

    @property
    def config(self) -> RunConfig:
        """The settings."""
        return self.ingredients.config

    @property
    def rows(self) -> Rows:
        """The data."""
        return self.ingredients.question.rows

    @property
    def answer(self) -> Answer:
        """What scores mean."""
        return self.ingredients.question.answer

    @property
    def figures(self) -> Figures:
        """What is measured."""
        return self.ingredients.question.figures


def assemble(
    config: RunConfig,
    trusted: Collection[str] = (),
    health_due: Callable[[int], bool] = lambda epoch: False,
    *,
    frame: pl.DataFrame | None = None,
    shelf: Shelf | None = None,
) -> Parts:
    """The parts of a run; health_due: whether an epoch (from 1) is to tell its layers' health; frame, shelf: see `build`."""
    made = build(config, trusted, frame, shelf)
    rows = made.question.rows
    made = _answering(made, choose_threshold(config, rows.classes, made.question.loss_kind, has_valid=rows.valid is not None))
    learner = Solo(
        made.network,
        made.flat,
        made.gradients,
        made.question.loss,
        made.optimizer,
        made.regularizer,
        made.noise,
        ema=config.trainer.ema,
        scale=made.scale,
        gradient_limit=config.trainer.gradient_limit,
        reseed=config.model.kind == "custom",
    )
    judge = partial(_judge, learner, made.question)
    measure = partial(_measure, judge, made.question)
    trainer = Trainer(learner, made.batches, _course(made), measure, health_due=health_due, plateau=made.plateau)
    return Parts(made, learner, trainer, judge)


def tuned(parts: Parts) -> Parts:
    """The same run, answering from now on with the threshold that metrics.threshold asks for, sought by the learner as it stands."""
    metric, valid = parts.config.metrics.threshold, parts.rows.valid
    if not isinstance(metric, str) or valid is None:
        return parts
    scores = metrics.score_all(parts.learner.scores, valid.x, batch_rows=SCORED)
    made = _answering(parts.ingredients, best_threshold(parts.answer.chances(scores), valid.y, metric))
    return replace(parts, ingredients=made, judge=partial(_judge, parts.learner, made.question))


def _answering(made: Ingredients, threshold: float) -> Ingredients:
    return replace(made, question=replace(made.question, answer=replace(made.question.answer, threshold=threshold)))


def _course(made: Ingredients) -> Course:
    settings, every, per_epoch = made.config.trainer, made.config.trainer.validate_every, made.batches.count
    whole = every.unit == "epochs" and every.amount >= 1 and every.amount == int(every.amount)
    return Course(
        epochs=settings.epochs,
        seed=made.config.seed,
        lr=made.config.optimizer.lr,
        schedule=made.schedule,
        shuffle=settings.shuffle,
        weights=row_weights(made.config, made.question.rows.train.y, made.question.rows.classes),
        validate_steps=0 if whole else max(1, every.steps(total=settings.epochs * per_epoch, per_epoch=per_epoch)),
        validate_epochs=int(every.amount) if whole else 1,
        monitor=made.question.figures.monitor,
    )


@final
class StackedMeasure:
    """The figures of one validation of every member of a stack, by their logged names."""

    def __init__(self, parts: Sequence[Parts]) -> None:
        """parts: of all members, by their numbers."""
        self._parts = parts
        self._there: tuple[int, ...] = ()
        self._answers: list[Answer] = []
        self._rows: dict[str, tuple[Tensor, Tensor]] = {}

    def __call__(self, population: Population, members: Sequence[int]) -> dict[str, list[float]]:
        """members: those that the population is of."""
        if self._there != members:
            own = [self._parts[member] for member in members]
            self._there, self._answers, self._rows = tuple(members), [parts.answer for parts in own], self._stacked(own)
        figures = self._parts[0].figures
        told: dict[str, list[float]] = {}
        for name, (x, target) in self._rows.items():
            names = figures.epoch if name == "valid" else figures.train
            with torch.inference_mode():
                whole = x.shape[-2] <= SCORED
                scores = population.scores(x) if whole else torch.cat([population.scores(part) for part in torch.split(x, SCORED, -2)], 1)
            found = metrics.evaluate_each(scores, target, population.loss.mean, self._answers, names)
            told |= {f"{name}/{figure}": values for figure, values in found.items() if name == "valid" or figure != "loss"}
        return told

    @staticmethod
    def _stacked(parts: Sequence[Parts]) -> dict[str, tuple[Tensor, Tensor]]:
        """The rows that are looked at, (K, N, …) each, or x (N, D) where all members have the same."""
        stacked: dict[str, tuple[Tensor, Tensor]] = {}
        for name in ("valid", "train") if parts[0].figures.train else ("valid",):
            own = [part for member in parts if (part := member.rows.parts().get(name)) is not None]
            if not own:
                continue
            first = own[0]
            x, y = (first.x, first.y.expand(len(own), *first.y.shape))
            if any(part.x is not first.x for part in own):
                x, y = aligned(first.x, len(own), *first.x.shape), torch.stack([part.y for part in own])
                for row, part in zip(x, own, strict=True):
                    row.copy_(part.x)
            stacked[name] = (x, y)
        return stacked


def _judge(learner: Solo, question: Question, part: Part, names: Sequence[str]) -> dict[str, float]:
    return metrics.evaluate(learner.scores, part.x, part.y, question.loss.mean, question.answer, names, batch_rows=SCORED)


def _measure(judge: Judge, question: Question) -> dict[str, float]:
    """The figures of one validation, by their logged names; train/loss is the trainer's own, the mean over its steps."""
    told: dict[str, float] = {}
    rows, figures = question.rows, question.figures
    if rows.valid is not None:
        told |= {f"valid/{name}": value for name, value in judge(rows.valid, figures.epoch).items()}
    if figures.train:
        told |= {f"train/{name}": value for name, value in judge(rows.train, figures.train).items() if name != "loss"}
    return told
