"""The jobs of a sweep, trained: stacks where they pay, one after the other what stands alone. Each job tells its end by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import final

from dnnlab.build.device import find_device
from dnnlab.build.rows import Shelf
from dnnlab.config.request import Request
from dnnlab.config.sweep import Halving as Settings
from dnnlab.continuing import Earlier
from dnnlab.errors import DnnlabError
from dnnlab.halving import Halving
from dnnlab.records import Summary
from dnnlab.resume import Order, going_on, resume, taken
from dnnlab.runfolder import RunFolder, has_begun
from dnnlab.running import result_line
from dnnlab.stack import Member, Pruning, Told, alike, assemble_members, pieces, run_stack, stack_threads
from dnnlab.sweep.grouping import groups
from dnnlab.sweep.ways import estimate, pays, slots
from dnnlab.sweep.workers import train_in_processes

log = logging.getLogger(__name__)


Train = Callable[[int, Callable[[], Summary] | None], Summary]
"""Does a job by itself, by its number; the second: how it goes on, where another process began it."""


def train_jobs(
    requests: Mapping[int, Request],
    begun: Collection[int],
    over: Collection[int],
    told: Told,
    say: Callable[[str], None],
    train: Train,
    halving: Settings = Settings(),  # noqa: B008  # frozen
    enough: Callable[[], bool] = lambda: False,
) -> None:
    """Train all jobs but those that are over already.

    `told` is called with the end of each, a Summary or an error; a signal that ended one ends all.
    begun: jobs that go on from what their folders hold; say: what a person should know of the way that is taken; train: how a job is
    done that stands alone; enough: asked before something begins, whether nothing more shall.
    """
    heard = _Heard(told, enough)
    found = groups(requests)
    for group in found:
        left = {number: requests[number] for number in group.jobs if number not in over}
        if len(group.jobs) > 1 and left and not heard.stops():
            pruning = _pruning(halving, group.jobs, requests[group.jobs[0]].config.trainer.epochs)
            _together(left, [requests[number] for number in group.jobs], begun, heard, say, train, pruning)
    singles = [group.jobs[0] for group in found if len(group.jobs) == 1 and group.jobs[0] not in over]
    _singles({number: requests[number] for number in singles}, begun, heard, say, train)


def _singles(requests: Mapping[int, Request], begun: Collection[int], heard: _Heard, say: Callable[[str], None], train: Train) -> None:
    """Train what stands alone: the first one here, by the clock; the others in processes, where that pays."""
    left = dict(requests)
    while left and not heard.stops():
        number = next(iter(left))
        _alone({number: left.pop(number)}, begun, heard, train)
        silent = {key: request for key, request in left.items() if not request.config.lr_find}
        places = _slots(silent.values())
        if len(silent) > 1 and not heard.stops() and pays(heard.seconds, len(silent), len(places)):
            _in_processes(silent, begun, heard, say, places)
            left = {key: request for key, request in left.items() if key not in silent}


def _together(
    requests: Mapping[int, Request],
    group: Sequence[Request],
    begun: Collection[int],
    heard: _Heard,
    say: Callable[[str], None],
    train: Train,
    pruning: Pruning | None,
) -> None:
    """Train what is left of one group, the way that pays best. group: all of it, also what is over; pruning: asks for a stack."""
    was = _ways_before(group)
    earlier, requests = _taken(requests, begun, heard)
    shelf = Shelf()
    try:
        for members in pieces(alike(assemble_members(requests, earlier, heard, shelf))):
            if heard.stops():
                return
            numbers = [member.number for member in members]
            whole = len(members) > 1 or len(requests) < len(group) or True in was
            way = _way(members, shelf, was | ({True} if pruning is not None else set()), say) if whole else "sequence"
            if way == "stack":
                say(f"{len(members)} jobs as one stack: {ranges(numbers)}")
                run_stack(members, heard, pruning)
                continue
            own = {number: requests[number] for number in numbers}
            for number in numbers:
                if number in earlier:
                    earlier.pop(number).folder.close()
            if way == "processes":
                _in_processes(own, begun, heard, say, _slots(own.values()))
            else:
                _alone(own, begun, heard, train)
    finally:
        for left in earlier.values():
            left.folder.close()


def _slots(requests: Collection[Request]) -> list[dict[str, str]]:
    """One process at a time on each core, or each GPU, of the first job's device."""
    return next((slots(find_device(request.config.device)) for request in requests), [])


def _in_processes(
    requests: Mapping[int, Request], begun: Collection[int], heard: _Heard, say: Callable[[str], None], places: list[dict[str, str]]
) -> None:
    say(f"{len(requests)} jobs in {min(len(places), len(requests))} processes: {ranges(list(requests))}")
    train_in_processes(requests, frozenset(begun), _aloud(heard, say), places)


def _pruning(asked: Settings, jobs: Sequence[int], epochs: int) -> Pruning | None:
    """The brackets of a group's jobs; None where no halving is asked for."""
    if asked.eta is None:
        return None
    plan = Halving(asked.eta, asked.least, asked.brackets, epochs)
    return Pruning(plan, {number: plan.bracket(place) for place, number in enumerate(jobs)})


def _ways_before(group: Sequence[Request]) -> set[bool]:
    """Whether jobs of a group, as far as they began, were members of a stack: what goes on shall have the bits that it would have had."""
    found: set[bool] = set()
    for request in group:
        with suppress(DnnlabError):
            if request.folder is not None and has_begun(request.folder):
                found.add(RunFolder.open(request.folder).read_run().get("stacked") is True)
    return found


def _way(members: Sequence[Member], shelf: Shelf, was: set[bool], say: Callable[[str], None]) -> str:
    """How a group is trained: what was begun as a stack goes on as one, whatever a clock says."""
    if True in was:
        return "stack"
    try:
        found = estimate([member.request for member in members], shelf, stack_threads(members[0].parts, len(members)))
    except (ValueError, RuntimeError, TypeError) as error:  # what vmap refuses, it refuses in many ways
        say(f"no stack of jobs {ranges([member.number for member in members])}: {str(error).splitlines()[0] if str(error) else error!r}")
        return "sequence"
    log.info("%s", found.told(len(members)))
    if was and found.best == "stack":
        return "sequence"  # begun by itself, a job has the bits of its own only by itself
    return found.best


def _taken(requests: Mapping[int, Request], begun: Collection[int], told: Told) -> tuple[dict[int, Earlier], dict[int, Request]]:
    """What other processes left of jobs, at the last step that all of them have a checkpoint of; and all jobs as they go on."""
    folders: dict[int, RunFolder] = {}
    going = dict(requests)
    for number in [number for number in requests if number in begun]:
        try:
            folders[number] = taken(requests[number])
        except DnnlabError as error:
            told(number, error)
            del going[number]
    steps = [{made.step for made in folder.generations()} for folder in folders.values()]
    common = set.intersection(*[some for some in steps if some]) if any(steps) else set()
    earlier: dict[int, Earlier] = {}
    for number, folder in folders.items():
        try:
            earlier[number], going[number] = going_on(requests[number], folder, max(common) if common else None)
        except DnnlabError as error:
            told(number, error)
            folder.close()
            del going[number]
    return earlier, going


def _alone(requests: Mapping[int, Request], begun: Collection[int], heard: _Heard, train: Train) -> None:
    """Train each by itself."""
    for number, request in requests.items():
        if heard.stops():
            return
        try:
            again = partial(resume, Order(_place(request), config=request.config, trusted=request.trusted, brief=True, frame=request.frame))
            heard(number, train(number, again if number in begun else None))
        except Exception as error:
            heard(number, error)


def _aloud(told: Told, say: Callable[[str], None]) -> Told:
    """Tells ends, and says what a process of its own could not say."""

    def both(number: int, end: Summary | Exception) -> None:
        told(number, end)
        if isinstance(end, Summary):
            say(result_line(end))

    return both


def _place(request: Request) -> Path:
    assert request.folder is not None
    return request.folder


@final
class _Heard:
    """Passes ends on, and notes whether a signal stopped a job: the jobs that are left shall not begin."""

    def __init__(self, told: Told, enough: Callable[[], bool]) -> None:
        self._told = told
        self._enough = enough
        self._stopped = False
        self.seconds = 0.0  # that the last job took

    def __call__(self, number: int, end: Summary | Exception) -> None:
        self.seconds = end.seconds if isinstance(end, Summary) else 0.0
        if isinstance(end, Summary) and end.status == "interrupted":
            self._stopped = True
        self._told(number, end)

    def stops(self) -> bool:
        """Whether nothing more shall begin."""
        self._stopped = self._stopped or self._enough()
        return self._stopped


def ranges(numbers: list[int]) -> str:
    """Numbers in short.

    >>> ranges([0, 1, 2, 5, 7, 8])
    '0-2, 5, 7-8'
    """
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][-1] + 1:
            spans[-1] = [spans[-1][0], number]
        else:
            spans.append([number])
    return ", ".join(str(span[0]) if len(span) == 1 else f"{span[0]}-{span[-1]}" for span in spans)
