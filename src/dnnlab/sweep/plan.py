"""How a sweep would be done: its stacks, and the reason for each job that stands alone. Nothing is read, built or trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dnnlab.config.request import Request
from dnnlab.files import printable
from dnnlab.resume import different
from dnnlab.sweep.grouping import Group, groups
from dnnlab.sweep.jobs import ranges
from dnnlab.sweep.leading import Asked


def plan(asked: Sequence[Asked], first: int = 0) -> list[str]:
    """Lines for a person."""
    requests = {number: job.request for number, job in enumerate(asked, start=first) if job.request is not None}
    found = groups(requests)
    stacks = [group for group in found if len(group.jobs) > 1]
    lost = {number: job.error for number, job in enumerate(asked, start=first) if job.request is None}
    alone: dict[str, list[int]] = {}
    for group in found:
        if len(group.jobs) == 1:
            alone.setdefault(group.reason, []).append(group.jobs[0])
    lines = [f"{_count(len(asked), 'job')}: {_count(len(stacks), 'stack')}, {sum(map(len, alone.values()))} alone"]
    for group in stacks:
        lines.append(f"stack of {len(group.jobs)}: jobs {ranges(list(group.jobs))}, which differ in {_varied(group, requests)}")
    lines += [f"alone: {'job' if len(jobs) == 1 else 'jobs'} {ranges(jobs)}: {reason}" for reason, jobs in alone.items()]
    lines += [f"fails: job {number}: {printable(error)}" for number, error in lost.items()]
    return [*lines, *FOOT]


FOOT = (
    "Rows that turn out to be unequally many divide a stack further.",
    "Where a stack does not pay, processes or sequence take its place.",
)


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _varied(group: Group, requests: Mapping[int, Request]) -> str:
    one, *others = (requests[number].document for number in group.jobs)
    names = dict.fromkeys(name for other in others for name in different(one, other))
    return ", ".join(names) or "nothing"
