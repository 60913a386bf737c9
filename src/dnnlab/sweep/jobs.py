"""The jobs of a sweep, trained: stacks where they pay, one after the other what stands alone. Each job tells its end by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from dnnlab.config.request import Request
from dnnlab.records import Summary
from dnnlab.stack import Told, alike, assemble_members, run_stack
from dnnlab.sweep.grouping import groups

log = logging.getLogger(__name__)


Train = Callable[[int, Request], Summary]
"""Does a job by itself."""


def train_jobs(requests: Mapping[int, Request], told: Told, say: Callable[[str], None], train: Train) -> None:
    """Train all jobs. `told` is called with the end of each, a Summary or an error; a signal that ended one ends all.

    say: what a person should know of the way that is taken; train: how a job is done that stands alone.
    """
    for group in groups(requests):
        own = {number: requests[number] for number in group.jobs}
        if not (_alone(own, told, train) if len(own) == 1 else _together(own, told, say, train)):
            return


def _together(requests: Mapping[int, Request], told: Told, say: Callable[[str], None], train: Train) -> bool:
    """Train one group; -> whether to go on with the next one."""
    heard = _Heard(told)
    for members in alike(assemble_members(requests, {}, heard)):
        if heard.stopped:
            break
        numbers = [member.number for member in members]
        if len(members) > 1:
            say(f"{len(members)} jobs as one stack: {_ranges(numbers)}")
            try:
                run_stack(members, heard)
                continue
            except ValueError as error:
                log.info("No stack: %s", error)
        for number in numbers:
            if not heard.stopped:
                _alone({number: requests[number]}, heard, train)
    return not heard.stopped


def _alone(requests: Mapping[int, Request], told: Told, train: Train) -> bool:
    """Train each by itself; -> whether to go on."""
    for number, request in requests.items():
        try:
            summary = train(number, request)
        except Exception as error:
            told(number, error)
            continue
        told(number, summary)
        if summary.status == "interrupted":
            return False
    return True


class _Heard:
    """Passes ends on, and notes whether a signal stopped a job: the jobs that are left shall not begin."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self.stopped = False

    def __call__(self, number: int, end: Summary | Exception) -> None:
        if isinstance(end, Summary) and end.status == "interrupted":
            self.stopped = True
        self._told(number, end)


def _ranges(numbers: list[int]) -> str:
    """Numbers in short.

    >>> _ranges([0, 1, 2, 5, 7, 8])
    '0-2, 5, 7-8'
    """
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][-1] + 1:
            spans[-1] = [spans[-1][0], number]
        else:
            spans.append([number])
    return ", ".join(str(span[0]) if len(span) == 1 else f"{span[0]}-{span[-1]}" for span in spans)
