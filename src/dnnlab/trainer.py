"""The training loop. Iterate a trainer and get one record at each border; between two records it only computes.

The loop holds its place in a `Position`, and whatever is random is a function of seed, epoch and step: a state that is saved at any
step and loaded into a new trainer continues with the very bits of one that was never stopped. The host waits for the device once per
record. Where a number was not finite, the stretch since the last record is walked again, step by step, up to the first bad tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import islice
from math import inf
from time import monotonic, perf_counter
from typing import Any

import torch
from torch import Tensor

from dnnlab.batches import Batches
from dnnlab.errors import DivergedError
from dnnlab.learner import Learner, Snapshot
from dnnlab.records import Epoch, Pause
from dnnlab.schedules import Plateau, Schedule
from dnnlab.seeding import permutation, weighted_order


@dataclass(frozen=True)
class Position:
    """Where training stands."""

    epoch: int = 0  # epochs completed
    batch: int = 0  # batches done in this epoch
    step: int = 0  # optimizer steps in all
    recorded: int = 0  # batches of this epoch that the last record told of


@dataclass(frozen=True, eq=False)
class Course:
    """How long, in which portions and at which rate."""

    epochs: int
    seed: int
    lr: float
    schedule: Schedule  # step -> factor on lr
    shuffle: bool = True
    weights: Tensor | None = None  # (N,): rows are drawn with replacement in proportion to them; None: every row once an epoch
    validate_steps: int = 0  # validate every so many steps; 0: only at the ends of epochs
    validate_epochs: int = 1  # validate at the end of every so many epochs; the last epoch is always validated
    monitor: str = ""  # the metric that the plateau rule looks at


class Trainer:
    """Trains a learner; an iterator of records that may be left at any record, and asked to stop at any step."""

    def __init__(
        self,
        learner: Learner,
        batches: Batches,
        course: Course,
        measure: Callable[[], dict[str, float]],
        *,
        health_due: Callable[[int], bool] = lambda epoch: False,
        plateau: Plateau | None = None,
    ) -> None:
        """measure: the figures of a validation; health_due: whether an epoch (from 1) is to tell the layers' health."""
        self.learner = learner
        self.batches = batches
        self.course = course
        self.measure = measure
        self.health_due = health_due
        self.plateau = plateau
        self.position = Position()
        self.stopping = False
        self._pause: tuple[float, int] = (inf, 0)  # the moment, or the step, at which to pause
        self._losses = torch.zeros(batches.count, dtype=batches.x.dtype, device=batches.x.device)
        self._shares = torch.tensor([batches.rows(batch) for batch in range(batches.count)]).to(self._losses)

    def __iter__(self) -> Iterator[Epoch | Pause]:
        """One record for each border, and a pause between two of them where one was asked for; after `stop` it ends at the next step."""
        seconds = 0.0
        while self.position.epoch < self.course.epochs and not self.stopping:
            began, border = perf_counter(), self.border()
            saved = self.position, self.learner.snapshot()
            health = self._walk(border)
            seconds += perf_counter() - began
            if self.position.batch < border:
                self._check_finite(saved)
                if self.stopping:
                    return
                self._pause = (inf, 0)
                yield Pause(self.position.step)
                continue
            yield self._record(saved, health, seconds)
            seconds = 0.0

    def pause_at(self, moment: float = inf, step: int = 0) -> None:
        """Pause once at the first border of a step from monotonic() = moment on, or after step number `step` (0: none)."""
        self._pause = (moment, step)

    def _check_finite(self, saved: tuple[Position, Snapshot]) -> None:
        """Between two records: whoever stops here shall find a finite state, and a divergence is told as it would be later."""
        losses = self._losses[saved[0].batch : self.position.batch]
        if not bool(losses.isfinite().all() & self.learner.is_finite()):
            self._retrace(*saved)

    def stop(self) -> None:
        """Ask for an end at the next border of a step."""
        self.stopping = True

    def border(self) -> int:
        """The batch of this epoch at which the next record is due."""
        every, place = self.course.validate_steps, self.position
        return min(self.batches.count, place.batch + every - place.step % every) if every else self.batches.count

    def order(self) -> Tensor | None:
        """The order of this epoch's rows; None: as they stand, which is all the same to a batch that holds them all."""
        course, epoch = self.course, self.position.epoch
        if course.weights is not None:
            return weighted_order(course.seed, epoch, course.weights).to(self.batches.x.device)
        if not course.shuffle or self.batches.count == 1:
            return None
        return permutation(course.seed, epoch, len(self.batches.x)).to(self.batches.x.device)

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        return self.course.lr * self.course.schedule(step) * (1.0 if self.plateau is None else self.plateau.scale)

    @torch.no_grad()
    def _walk(self, border: int) -> dict[str, Tensor]:
        """Take the steps up to a border: -> the layers' health, where it is due."""
        learner, place = self.learner, self.position
        batch, losses, skip = place.batch, self._losses.unbind(), place.step - place.batch
        marked = self.batches.count - 1 if self.health_due(place.epoch + 1) else -1
        health: dict[str, Tensor] = {}
        moment, stop = self._pause
        timed, stop = moment < inf, stop if stop > place.step else -1
        for x, target in islice(self.batches(self.order(), batch), border - batch):
            if self.stopping or (timed and monotonic() >= moment) or skip + batch == stop:
                break
            if batch == marked:
                learner.mark()
            learner.step(x, target, skip + batch, self.rate(skip + batch), losses[batch])
            if batch == marked:
                health = learner.health(x)
            batch += 1
        self.position = replace(place, batch=batch, step=skip + batch)
        return health

    def _record(self, saved: tuple[Position, Snapshot], health: dict[str, Tensor], seconds: float) -> Epoch:
        """Wait for the device, tell what was done, and turn to the next epoch where this one is over."""
        place = self.position
        span = slice(place.recorded, place.batch)
        loss = (self._losses[span] * self._shares[span]).sum() / self._shares[span].sum()
        tensors = {"train/loss": loss, **{f"train/penalty/{name}": value for name, value in self.learner.penalties().items()}}
        finite = (loss.isfinite() & self.learner.is_finite()).to(loss.dtype)
        told = torch.stack([finite, *tensors.values(), *(value.to(loss.dtype) for value in health.values())]).tolist()
        if not told[0]:
            self._retrace(*saved)
            return self._record(saved, health, seconds)  # only where the second walk found nothing: the device does not repeat itself
        metrics = dict(zip(tensors, told[1:], strict=False)) | {"lr": self.rate(place.step - 1)}
        figures = dict(zip((f"health/{name}" for name in health), told[1 + len(tensors) :], strict=True))
        ends = place.batch == self.batches.count
        if self.validates(ends):
            metrics |= self.measure()
            if self.plateau is not None:
                self.plateau = self.plateau.after(metrics[self.course.monitor])
        self.position = Position(place.epoch + 1, 0, place.step, 0) if ends else replace(place, recorded=place.batch)
        return Epoch(place.epoch + 1, place.step, ends, metrics, figures, seconds)

    def validates(self, ends: bool) -> bool:
        place, course = self.position, self.course
        if ends and place.epoch + 1 == course.epochs:
            return True
        if course.validate_steps:
            return place.step % course.validate_steps == 0
        return ends and (place.epoch + 1) % course.validate_epochs == 0

    @torch.no_grad()
    def _retrace(self, place: Position, snapshot: Snapshot) -> None:
        """Walk the stretch again from its start, looking at every number; raise at the first step that fails, before it is taken."""
        border, skip = self.position.batch, place.step - place.batch
        self.learner.restore(snapshot)
        self.position = place
        order = self.order()
        for batch, (x, target) in enumerate(islice(self.batches(order, place.batch), border - place.batch), start=place.batch):
            step = skip + batch
            bad = self.learner.checked_step(x, target, step, self.rate(step), self._losses[batch])
            if bad:
                self.position = replace(place, batch=batch, step=step)
                self._losses[batch:] = 0.0
                rows = self.batches.numbers(batch, order)
                raise DivergedError(
                    f"training must stay finite, however: {bad}, at step {step + 1} (epoch {place.epoch + 1})",
                    where=f"data rows {', '.join(map(str, rows[:8]))}{', …' if len(rows) > 8 else ''}",
                    fix=f"Try a smaller rate, optimizer.lr={self.rate(step) / 10:.3g}, or regularization.clip_norm=1",
                )
        self.position = replace(place, batch=border, step=skip + border)

    def lend(self, losses: Tensor) -> None:
        """Keep the losses of an epoch's steps in `losses` from now on, (batches,): whoever takes the steps instead writes them there."""
        losses.copy_(self._losses)
        self._losses = losses

    def retrace(self, end: Position, saved: tuple[Position, Snapshot]) -> None:
        """Walk from a saved state to where others took the steps; DivergedError at the first that fails, before it is taken."""
        self.position = end
        self._retrace(*saved)

    def state(self) -> dict[str, Tensor]:
        """Everything that the trainer adds to the learner's state."""
        return {"trainer.losses": self._losses.clone()}

    def facts(self) -> dict[str, Any]:
        """Position and plateau; JSON-able."""
        return {"position": asdict(self.position), "plateau": None if self.plateau is None else self.plateau.facts()}

    def load(self, state: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Continue where `state` and `facts` were taken."""
        self._losses.copy_(state["trainer.losses"])
        self.position = Position(**facts["position"])
        if self.plateau is not None:
            self.plateau = self.plateau.restored(facts["plateau"])
