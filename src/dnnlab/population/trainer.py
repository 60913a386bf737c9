"""The training loop of a stack: `Trainer`'s, with all steps taken by a `Population`. Each member's own trainer keeps its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from math import inf
from time import monotonic, perf_counter
from typing import final

import torch
from torch import Tensor

from dnnlab.errors import DivergedError
from dnnlab.learner import Solo
from dnnlab.population import Population, StackedSnapshot
from dnnlab.population.batches import StackedBatches
from dnnlab.records import Epoch, Pause
from dnnlab.schedules import always
from dnnlab.trainer import Position, Trainer

Figures = Mapping[str, Sequence[float]]  # a number for each member, in the order of the stack


@dataclass(frozen=True)
class Border:
    """What a stack tells at a border: the records of all its members. Member numbers are those that the trainer was made with."""

    epoch: int
    step: int
    ends_epoch: bool
    members: tuple[int, ...]
    metrics: Figures  # as an Epoch has them
    health: Figures
    seconds: float  # of a member: its share of the stack's
    lost: Mapping[int, DivergedError] = field(default_factory=dict)  # members that diverged before this border

    @cached_property
    def columns(self) -> dict[int, int]:
        """Where each member's figures stand."""
        return {member: column for column, member in enumerate(self.members)}

    def of(self, member: int, absent: frozenset[str] = frozenset()) -> Epoch:
        """The record of a member; absent: metrics that it does not have."""
        place = self.columns[member]
        metrics = {name: values[place] for name, values in self.metrics.items() if name not in absent}
        health = {name: values[place] for name, values in self.health.items()}
        return Epoch(self.epoch, self.step, self.ends_epoch, metrics, health, self.seconds)


@final
class StackedTrainer:
    """Trains members together; an iterator of borders that may be left at any border, and asked to stop at any step."""

    def __init__(
        self,
        trainers: Sequence[Trainer],
        learners: Sequence[Solo],
        measure: Callable[[Population, Sequence[int]], Figures],
        *,
        health_due: Callable[[int], bool] = lambda epoch: False,
    ) -> None:
        """trainers, learners: of each member, all at one place. measure: the figures of a validation of the members with these numbers.

        ValueError where the members cannot be one stack.
        """
        self._trainers = tuple(trainers)
        self._learners = tuple(learners)
        self._measure = measure
        self._health_due = health_due
        self._pause: tuple[float, int] = (inf, 0)
        self.stopping = False
        self.keep(range(len(trainers)))

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return self._trainers[0].batches.count

    def keep(self, members: Sequence[int]) -> None:
        """Go on with these members only, by their numbers, from the states that their learners and trainers are in.

        ValueError where they cannot be one stack.
        """
        self.members = tuple(members)
        if not self.members:
            return
        places = {self._trainers[member].position for member in self.members}
        if len(places) != 1:
            raise ValueError("the members of a stack must be at one place")
        (self.position,) = places
        self._now = [self._trainers[member] for member in self.members]
        self.population = Population([self._learners[member] for member in self.members])
        self._batches = StackedBatches([trainer.batches for trainer in self._now])
        own = self._now[0].batches
        self._losses = torch.zeros(own.count, len(self.members), dtype=own.x.dtype, device=own.x.device)
        for trainer, losses in zip(self._now, self._losses.unbind(1), strict=True):
            trainer.lend(losses)
        self._shares = torch.tensor([own.rows(batch) for batch in range(own.count)]).to(self._losses)
        orders: dict[tuple[object, ...], int] = {}
        self._orders = [orders.setdefault(_order_key(trainer), place) for place, trainer in enumerate(self._now)]
        self._steady = all(trainer.course.schedule is always for trainer in self._now)
        self._plateaus = any(trainer.plateau is not None for trainer in self._now)
        self._rates: tuple[list[float], Tensor] | None = None

    def __iter__(self) -> Iterator[Border | Pause]:
        """One record for each border, and a pause between two of them where one was asked for; after `stop` it ends at the next step."""
        seconds = 0.0
        while self.members and self.position.epoch < self._now[0].course.epochs and not self.stopping:
            began, border = perf_counter(), self._now[0].border()
            saved = self.position, self.population.snapshot()
            health = self._walk(border)
            seconds += perf_counter() - began
            if self.position.batch < border:
                lost = self._check_finite(saved)
                if lost:
                    yield self._lost(lost)
                if self.stopping:
                    return
                self._pause = (inf, 0)
                yield Pause(self.position.step)
                continue
            yield self._record(saved, health, seconds)
            seconds = 0.0

    def pause_at(self, moment: float = inf, step: int = 0) -> None:
        """See `Trainer.pause_at`."""
        self._pause = (moment, step)

    def stop(self) -> None:
        """Ask for an end at the next border of a step."""
        self.stopping = True

    def _rates_at(self, step: int) -> Tensor:
        """The learning rates of a step, (K, 1) of float64; one tensor as long as they stay the same."""
        known = self._rates
        if known is not None and self._steady:
            return known[1]
        values = [trainer.rate(step) for trainer in self._now]
        if known is None or known[0] != values:
            known = self._rates = (values, torch.tensor(values, dtype=torch.float64, device=self._losses.device).unsqueeze(1))
        return known[1]

    @torch.no_grad()
    def _walk(self, border: int) -> dict[str, Tensor]:
        """Take the steps up to a border: -> the layers' health, where it is due."""
        population, place = self.population, self.position
        batch, losses, skip = place.batch, self._losses.unbind(), place.step - place.batch
        marked = self._batches.count - 1 if self._health_due(place.epoch + 1) else -1
        health: dict[str, Tensor] = {}
        moment, stop = self._pause
        timed, stop = moment < inf, stop if stop > place.step else -1
        drawn = {own: self._now[own].order() for own in dict.fromkeys(self._orders)}
        for x, target in islice(self._batches([drawn[own] for own in self._orders], batch), border - batch):
            if self.stopping or (timed and monotonic() >= moment) or skip + batch == stop:
                break
            if batch == marked:
                population.mark()
            population.step(x, target, skip + batch, self._rates_at(skip + batch), losses[batch])
            if batch == marked:
                health = population.health(x)
            batch += 1
        self._go_to(replace(place, batch=batch, step=skip + batch))
        return health

    def _go_to(self, place: Position) -> None:
        self.position = place
        for trainer in self._now:
            trainer.position = place

    def _check_finite(self, saved: tuple[Position, StackedSnapshot]) -> dict[int, DivergedError]:
        losses = self._losses[saved[0].batch : self.position.batch]
        return self._retraced(losses.isfinite().all(0) & self.population.is_finite(), saved)

    def _retraced(self, finite: Tensor, saved: tuple[Position, StackedSnapshot]) -> dict[int, DivergedError]:
        """Each member that is not finite walks the stretch again, by itself: its fault is its own. -> the errors by member."""
        lost: dict[int, DivergedError] = {}
        walked = False
        for place, well in enumerate(finite.tolist()):
            if well:
                continue
            walked, trainer = True, self._now[place]
            try:
                trainer.retrace(self.position, (saved[0], self.population.of_one(saved[1], place)))
            except DivergedError as error:
                lost[self.members[place]] = error
        stay = [member for member in self.members if member not in lost]
        if walked:
            self.keep(stay)  # also where a second walk found nothing: what it left lies outside of the stack
        return lost

    def _lost(self, lost: Mapping[int, DivergedError]) -> Border:
        place = self.position
        return Border(place.epoch + 1, place.step, False, (), {}, {}, 0.0, lost)

    def _record(self, saved: tuple[Position, StackedSnapshot], health: dict[str, Tensor], seconds: float) -> Border:
        """Wait for the device, tell what was done, and turn to the next epoch where this one is over."""
        place, members = self.position, self.members
        span = slice(place.recorded, place.batch)
        shares = self._shares[span]
        loss = (self._losses[span].mT.contiguous() * shares).sum(1) / shares.sum()  # row by row: its bits do not depend on K
        finite = (loss.isfinite() & self.population.is_finite()).to(loss.dtype)
        tensors = {"train/loss": loss, **{f"train/penalty/{name}": value for name, value in self.population.penalties().items()}}
        told = torch.stack([finite, *tensors.values(), *(value.to(loss.dtype) for value in health.values())]).tolist()
        lost: dict[int, DivergedError] = {}
        if not all(told[0]):
            lost = self._retraced(finite.bool(), saved)
            if len(lost) < told[0].count(0.0):
                there = [place for place, member in enumerate(members) if member not in lost]
                again = self._record(saved, {name: value[there] for name, value in health.items()}, seconds)  # what the second walk came to
                return replace(again, lost={**lost, **again.lost})
            stay = [number for number, member in enumerate(members) if member not in lost]
            told = [[values[number] for number in stay] for values in told]
        if not self.members:
            return self._lost(lost)
        metrics: dict[str, Sequence[float]] = dict(zip(tensors, told[1:], strict=False))
        metrics["lr"] = self._rates_at(place.step - 1).flatten().tolist()
        figures = dict(zip((f"health/{name}" for name in health), told[1 + len(tensors) :], strict=True))
        ends = place.batch == self._batches.count
        if self._now[0].validates(ends):
            metrics |= self._measure(self.population, self.members)
            if self._plateaus:
                self._see_plateaus(metrics)
        self._go_to(Position(place.epoch + 1, 0, place.step, 0) if ends else replace(place, recorded=place.batch))
        share = seconds / len(members)
        return Border(place.epoch + 1, place.step, ends, self.members, metrics, figures, share, lost)

    def _see_plateaus(self, metrics: Figures) -> None:
        for number, trainer in enumerate(self._now):
            if trainer.plateau is not None:
                trainer.plateau = trainer.plateau.after(metrics[trainer.course.monitor][number])
        self._rates = None


def _order_key(trainer: Trainer) -> tuple[object, ...]:
    """Trainers with one key take their rows in one order."""
    course = trainer.course
    weights = None if course.weights is None else id(course.weights)
    return (course.shuffle, course.seed if course.shuffle else None, weights, len(trainer.batches.x))
