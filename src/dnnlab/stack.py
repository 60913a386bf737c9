"""Many runs of one shape, trained as one stack; each leaves the folder that it would leave by itself. `run.py` tells the story of one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import final

import torch
from torch import Tensor

from dnnlab.assembly import Parts, StackedMeasure, assemble
from dnnlab.build.device import thread_count, threads
from dnnlab.build.rows import Shelf
from dnnlab.checkpoints import Timetable
from dnnlab.config.request import Request
from dnnlab.continuing import Earlier, check
from dnnlab.errors import DnnlabError
from dnnlab.halving import Halving, survivors
from dnnlab.limits import free_memory
from dnnlab.loggers.cadence import due
from dnnlab.population import FLAT, Population
from dnnlab.population.batches import JOINT
from dnnlab.population.trainer import Border, StackedTrainer
from dnnlab.preflight import rehearse
from dnnlab.records import Summary
from dnnlab.run import health_due
from dnnlab.runfolder.ends import tell_end
from dnnlab.runlog import logged
from dnnlab.running import PRUNED, Outcome, Running, open_folder, show
from dnnlab.seeding import CHUNK
from dnnlab.signals import interruptible

log = logging.getLogger(__name__)

Told = Callable[[int, Summary | Exception], None]
"""Called once for each run, by its number, when it has come to its end."""


@dataclass(frozen=True)
class Pruning:
    """What halving knows of a group: the plan, and the bracket of each of its jobs by number, also of those that are over."""

    plan: Halving
    brackets: Mapping[int, int]


@dataclass(frozen=True)
class Member:
    """One run that is to be part of a stack."""

    number: int  # by which its end is told
    request: Request
    parts: Parts
    earlier: Earlier | None = None  # what another process left of it


def assemble_members(
    requests: Mapping[int, Request], earlier: Mapping[int, Earlier], told: Told, shelf: Shelf | None = None
) -> list[Member]:
    """The parts of every run; rows that several of them ask for are read once. Whose settings do not fit the data ends here, by itself."""
    shelf = shelf or Shelf()
    members: list[Member] = []
    seen: set[int] = set()
    for number, request in requests.items():
        try:
            due = partial(health_due, request.config.logger)
            parts = assemble(request.config, request.trusted, due, frame=request.frame, shelf=shelf)
            if id(parts.rows.train.x) not in seen:
                rehearse(parts)
            seen.add(id(parts.rows.train.x))
            members.append(Member(number, request, parts, earlier.get(number)))
        except DnnlabError as error:
            told(number, error)
    return members


def alike(members: Sequence[Member]) -> list[list[Member]]:
    """The members in groups whose tensors have the same shapes and whose batches are equally many."""
    groups: dict[tuple[object, ...], list[Member]] = {}
    for member in members:
        begins_at = 0 if member.earlier is None or member.earlier.generation is None else member.earlier.generation.step
        groups.setdefault((begins_at, *_shape(member.parts)), []).append(member)
    return list(groups.values())


def _shape(parts: Parts) -> tuple[object, ...]:
    made, rows = parts.ingredients, parts.rows
    sizes = tuple((name, len(part.x)) for name, part in rows.parts().items())
    return (
        tuple(made.flat.shapes.items()), made.batches.size, made.batches.used, sizes, str(made.device), rows.task, rows.outputs,
        type(made.gradients),
    )  # fmt: skip


def pieces(groups: Sequence[list[Member]]) -> list[list[Member]]:
    """Groups cut to what memory holds at once, a quarter of what is free; what a member becomes does not depend on how many there are."""
    cut: list[list[Member]] = []
    for group in groups:
        most = max(1, free_memory() // 4 // _bytes(group[0].parts))
        cut += [group[start : start + most] for start in range(0, len(group), most)]
    return cut


def _bytes(parts: Parts) -> int:
    """Roughly what a member takes of a stack: parameters with all that moves them, buffers of a batch, noise, and its rows once more."""
    made, x = parts.ingredients, parts.rows.train.x
    widths = sum(shape[0] for shape in made.flat.shapes.values() if len(shape) == 2)
    noise = CHUNK * (1 + len(made.flat.shapes) // 2) if parts.config.regularization.dropout else 0
    return x.element_size() * (12 * len(made.flat.data) + 6 * made.batches.size * widths + noise + min(x.numel(), JOINT))


def stack_threads(parts: Parts, count: int) -> int:
    """Threads that pay for so many models at once."""
    made = parts.ingredients
    return thread_count(made.config.threads, count * made.batches.size * max(shape.numel() for shape in made.flat.shapes.values()))


def run_stack(members: Sequence[Member], told: Told, pruning: Pruning | None = None) -> None:
    """Train the members together; pruning: by what halving ends the worse ones early.

    A member's failure is its own; what the whole machine refuses (a full disk) ends all.
    ValueError where the members cannot be one stack; nothing is written then.
    """
    first = members[0].parts
    count = stack_threads(first, len(members))
    members = [replace(member, parts=_on_threads(member.parts, count)) for member in members]
    trainer = StackedTrainer(
        [member.parts.trainer for member in members],
        [member.parts.learner for member in members],
        StackedMeasure([member.parts for member in members]),
        health_due=partial(health_due, first.config.logger),
    )
    with threads(count):
        _Stack(members, trainer, told, pruning).run()


def _on_threads(parts: Parts, count: int) -> Parts:
    return replace(parts, ingredients=replace(parts.ingredients, threads=count, stacked=True))


@final
class _Stack:
    """The runs of a stack that are under way."""

    def __init__(self, members: Sequence[Member], trainer: StackedTrainer, told: Told, pruning: Pruning | None) -> None:
        self._pruning = pruning
        self._members = members
        self._trainer = trainer
        self._told = told
        self._best = _BestStates(len(members))
        self._lent: set[int] = set()  # places whose best states stand there
        self._runs: dict[int, Running] = {}  # those that have not ended, by their place among the members

    def run(self) -> None:
        """Begin all, train, and conclude each when its time has come."""
        try:
            self._begin()
            self._train()
        except BaseException as error:
            for running in self._runs.values():
                tell_end(running.folder, error)
            raise

    def _begin(self) -> None:
        for place, member in enumerate(self._members):
            try:
                self._runs[place] = _begun(member)
            except DnnlabError as error:
                self._told(member.number, error)
        for place in [place for place, running in self._runs.items() if running.is_done]:
            self._conclude(place, Outcome("pruned") if self._runs[place].pruned else Outcome())
        self._trainer.keep(sorted(self._runs))  # with the states that they have taken over

    def _train(self) -> None:
        """Borders are told to each member; between them the states of all are kept at once, so that they can go on together."""
        trainer = self._trainer
        timetable = Timetable(self._members[0].parts.config.trainer.checkpoint_every, trainer.steps_per_epoch, trainer.pause_at)
        timetable.plan(trainer.position.step)
        with interruptible(trainer.stop) as caught:
            for event in trainer:
                if isinstance(event, Border):
                    self._hear(event)
                if self._runs and timetable.is_due(trainer.position.step):
                    for running in self._runs.values():
                        running.catch_up()
                    cost = sum(running.checkpoints.write(running.tally) for running in self._runs.values())
                    timetable.plan(trainer.position.step, cost)
        for place, running in list(self._runs.items()):
            self._conclude(place, Outcome("interrupted", caught[0]) if caught and not running.is_done else Outcome())

    def _hear(self, border: Border) -> None:
        """Tell each member its record; who diverged or has reached its end leaves the stack."""
        for place, error in border.lost.items():
            self._conclude(place, self._runs[place].diverged(error))
        values = border.metrics.get(self._members[0].parts.figures.monitor)
        is_due = due(border.epoch, self._members[0].parts.config.logger.every)
        better: list[tuple[int, int]] = []
        for column, place in enumerate(border.members):
            running = self._runs[place]
            record = partial(border.of, column, running.absent)
            if is_due or values is None:
                self._lent.discard(place)  # it keeps the best state by itself
                running.hear(record())
            elif running.glance(border.epoch, values[column], record):
                better.append((column, place))
        if better:
            self._best.keep(self._trainer.population, better)
            for _, place in better:
                running = self._runs[place]
                running.checkpoints.best = running.checkpoints.best if place in self._lent else self._best.of(place, running)
                self._lent.add(place)
        for place in border.members:
            if self._runs[place].tally.reason:
                self._conclude(place, Outcome())
        if self._pruning is not None and border.ends_epoch:
            self._prune(self._pruning, border.epoch)
        self._stay()

    def _prune(self, pruning: Pruning, epoch: int) -> None:
        """At a rung only the best of a bracket go on."""
        plan = pruning.plan
        for bracket in range(plan.brackets):
            rungs = plan.rungs(bracket)
            if epoch not in rungs:
                continue
            own = [number for number, theirs in pruning.brackets.items() if theirs == bracket]
            values = {place: run.tally.best.seen for place, run in self._runs.items() if self._members[place].number in own}
            going = survivors(values, plan.keep(len(own), bracket, rung=rungs.index(epoch)), self._members[0].parts.figures.mode)
            for place in [place for place in values if place not in going]:
                self._runs[place].tally.reason = f"{PRUNED}{epoch}: {len(going)} of {len(values)} jobs went on"
                self._conclude(place, Outcome("pruned"))

    def _stay(self) -> None:
        if len(self._runs) < len(self._trainer.members):
            self._trainer.keep(sorted(self._runs))

    def _conclude(self, place: int, outcome: Outcome) -> None:
        running = self._runs[place]
        with logged(running.folder.log):
            summary = running.conclude(outcome)
        del self._runs[place]
        self._told(self._members[place].number, summary if outcome.error is None else outcome.error)
        if outcome.error is None:
            show(summary, running.parts, brief=True)


def _begun(member: Member) -> Running:
    inexact = () if member.earlier is None else check(member.parts, member.earlier)
    folder = open_folder(member.request, member.earlier, inexact)
    try:
        with logged(folder.log):
            return Running(member.request, member.parts, folder, member.earlier, inexact)
    except BaseException as error:
        tell_end(folder, error)
        raise


@final
class _BestStates:
    """The best states of all members as rows of a few tensors: one copy keeps those of all members that became better."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._rows: dict[str, Tensor] = {}

    def keep(self, population: Population, better: Sequence[tuple[int, int]]) -> None:
        """better: the columns of the population, and the rows where their states are kept."""
        columns, places = (torch.tensor(numbers) for numbers in zip(*better, strict=True))
        for name, source in population.weights().items():
            if name not in self._rows:
                self._rows[name] = source.new_empty(self._count, *source.shape[1:])
            self._rows[name][places] = source[columns]

    def of(self, place: int, running: Running) -> dict[str, Tensor]:
        """The state of one member by name, live."""
        flat = running.parts.learner.flat
        row = self._rows[FLAT][place, : len(flat.data)]
        kept = {name: rows[place] for name, rows in self._rows.items() if name != FLAT}
        return {name: flat.view(name, row) for name in flat.shapes} | kept
