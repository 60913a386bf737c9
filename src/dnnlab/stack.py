"""Many runs of one shape, trained as one stack; each leaves the folder that it would leave by itself. `run.py` tells the story of one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import final

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
from dnnlab.standings import Standings

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
        self._runs: dict[int, Running] = {}  # those that have not ended, by their place among the members
        self._latest: Border | None = None
        self._untold: set[int] = set()  # places that have not been told of it

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
        if self._runs:
            going = {place: self._runs[place] for place in self._trainer.members}
            patience = [running.stopper.patience for running in going.values()]
            self._standings = Standings({place: running.tally.best for place, running in going.items()}, patience)
        self._asking = {place: running.stopper for place, running in self._runs.items() if running.stopper.metric is not None}

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
                    for place in self._runs:
                        self._catch_up(place)
                    cost = sum(running.checkpoints.write(running.tally) for running in self._runs.values())
                    timetable.plan(trainer.position.step, cost)
        for place, running in list(self._runs.items()):
            self._leave(place, Outcome("interrupted", caught[0]) if caught and not running.is_done else Outcome())

    def _hear(self, border: Border) -> None:
        """Judge all members at once, and tell those that have to know; who diverged or has reached its end leaves the stack."""
        for place, error in border.lost.items():
            self._catch_up(place)
            self._conclude(place, self._runs[place].diverged(error))
        self._stay()
        if not border.members:
            return
        first = self._members[0].parts
        self._latest, self._untold = border, set(border.members)
        judged = first.figures.monitor in border.metrics
        if judged:
            self._standings.see(border, self._trainer.population)
        for place in border.members if due(border.epoch, first.config.logger.every) else self._ending(border) if judged else ():
            self._tell(place)
            if self._runs[place].tally.reason:
                self._leave(place, Outcome())
        if self._pruning is not None and border.ends_epoch:
            self._prune(self._pruning, border.epoch)
        self._stay()

    def _ending(self, border: Border) -> list[int]:
        """The members that end at this border, whose records nobody else wants."""
        over = set(self._standings.over())
        for place, stopper in self._asking.items():
            values = border.metrics.get(stopper.metric or "")
            if values is not None and place in self._runs and stopper.reached(values[border.columns[place]]):
                over.add(place)
        return sorted(over)

    def _tell(self, place: int) -> None:
        """Tell a member the latest record, if it has not been told."""
        if self._latest is None or place not in self._untold:
            return
        self._untold.discard(place)
        running = self._runs[place]
        record = self._latest.of(place, running.absent)
        running.log(record)
        if running.parts.figures.monitor in record.metrics:
            running.judge(record, self._standings.best(place))

    def _catch_up(self, place: int) -> None:
        """Bring a member to where it would be by itself: its latest record told, its best state with it."""
        self._tell(place)
        running = self._runs[place]
        border = self._standings.border(place)
        if border is not None:
            running.checkpoints.keep_best(border.of(place, running.absent), self._standings.state(place, running.parts.learner.flat))

    def _prune(self, pruning: Pruning, epoch: int) -> None:
        """At a rung only the best of a bracket go on."""
        plan = pruning.plan
        for bracket in range(plan.brackets):
            rungs = plan.rungs(bracket)
            if epoch not in rungs:
                continue
            for place in list(self._runs):
                self._tell(place)
            own = [number for number, theirs in pruning.brackets.items() if theirs == bracket]
            values = {place: run.tally.best.seen for place, run in self._runs.items() if self._members[place].number in own}
            going = survivors(values, plan.keep(len(own), bracket, rung=rungs.index(epoch)), self._members[0].parts.figures.mode)
            for place in [place for place in values if place not in going]:
                self._runs[place].tally.reason = f"{PRUNED}{epoch}: {len(going)} of {len(values)} jobs went on"
                self._leave(place, Outcome("pruned"))

    def _stay(self) -> None:
        """Let the stack go on with those that have not ended."""
        there = sorted(self._runs)
        if there and len(there) < self._standings.count:
            self._standings.keep(there)
        if len(there) < len(self._trainer.members):
            self._trainer.keep(there)

    def _leave(self, place: int, outcome: Outcome) -> None:
        self._catch_up(place)
        self._conclude(place, outcome)

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
