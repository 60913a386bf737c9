"""A sweep, led: what is done is left as it is, what was stopped goes on, what failed is tried again, and each end is told at once."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from dnnlab.config.request import Request
from dnnlab.config.sweep import Sweep
from dnnlab.errors import BusyError, DnnlabError, FullDiskError
from dnnlab.files import naming
from dnnlab.records import Summary
from dnnlab.runfolder import record_failure
from dnnlab.sweep.jobs import train_jobs
from dnnlab.sweep.ledger import Composed, Ledger, Standing


@dataclass(frozen=True)
class Asked:
    """One job of a sweep, as it was composed."""

    overrides: tuple[str, ...]
    request: Request | None
    error: Exception | None = None  # why its settings could not be read


@dataclass(frozen=True)
class Voice:
    """How a sweep speaks, and how it does a job that is no member of a stack."""

    say: Callable[[str], None]  # a line of its course
    tell: Callable[[DnnlabError, str], None]  # an error, and the title of its job
    train: Callable[[Request], Summary]


def lead(
    folder: Path, asked: Sequence[Asked], settings: Sweep, space: Sequence[str], voice: Voice, *, first: int = 0
) -> list[Summary | None]:
    """Do all jobs: -> how each ended, None for one that failed or was not begun.

    first: the number of the first one, where there is no ledger to say it. ConfigError where a named sweep is asked for other jobs than
    before, BusyError where another process leads it.
    """
    if settings.name is None:
        jobs = dict(enumerate(asked, start=first))
        course = _Course(folder, jobs, settings, voice)
        course.run()
        return [course.ends.get(number) for number in jobs]
    ledger = Ledger(folder, space, extend=settings.extend)
    try:
        entries = ledger.settle([Composed(job.overrides, job.request) for job in asked])
        jobs = {
            entry.number: replace(job, overrides=entry.overrides, request=entry.request(folder, job.request))
            for entry, job in zip(entries, asked, strict=True)
        }
        course = _Course(folder, jobs, settings, voice)
        course.look_back({entry.number: ledger.standing(entry, settings.retries) for entry in entries})
        course.run()
        return [course.ends.get(entry.number) for entry in entries]
    finally:
        ledger.close()


@final
class _Course:
    """The jobs of a sweep that are done in this process."""

    def __init__(self, folder: Path, jobs: dict[int, Asked], settings: Sweep, voice: Voice) -> None:
        self.ends: dict[int, Summary] = {}
        self._folder = folder
        self._jobs = jobs
        self._settings = settings
        self._voice = voice
        self._begun: set[int] = set()  # jobs that another process began
        self._before: dict[int, int] = {}  # how often each has failed in other processes
        self._over: set[int] = set()  # jobs that need nothing more
        self._announced: set[int] = set()
        self._failures: list[str] = []  # what the failed jobs said, in their order
        self._told = 0

    def look_back(self, standings: dict[int, Standing]) -> None:
        """Take notice of what earlier processes have done."""
        for number, standing in standings.items():
            self._before[number] = standing.failures
            if standing.todo == "nothing":
                self._over.add(number)
                if standing.summary is not None:
                    self.ends[number] = standing.summary
            elif standing.todo == "go on":
                self._begun.add(number)
        if self._over:
            self._voice.say(f"{len(self._over)} of {len(standings)} jobs are over already, {len(self._begun)} go on")

    def run(self) -> None:
        """Do what is left to do."""
        requests: dict[int, Request] = {}
        for number in self._jobs:
            with naming(self._folder):
                (self._folder / str(number)).mkdir(parents=True, exist_ok=True)
        for number, job in self._jobs.items():
            if job.request is None and number in self._over:
                continue
            if job.request is None:
                self._failed(number, job.error or DnnlabError("its settings could not be read"))
            else:
                requests[number] = job.request
        train_jobs(requests, self._begun, self._over, self._ended, self._voice.say, self._alone, self._settings.halving, self._enough)

    def _title(self, number: int) -> str:
        return " ".join((f"job {number}:", *self._jobs[number].overrides))

    def _announce(self, number: int) -> None:
        if number not in self._announced:
            self._announced.add(number)
            self._voice.say(self._title(number))

    def _alone(self, number: int, train: Callable[[], Summary] | None) -> Summary:
        """Do a job by itself. train: how it goes on, where it was begun before."""
        self._announce(number)
        request = self._jobs[number].request
        assert request is not None
        return self._voice.train(request) if train is None else train()

    def _ended(self, number: int, end: Summary | Exception) -> None:
        if isinstance(end, Exception):
            self._failed(number, end)
            return
        self._told += 1
        self._announce(number)
        self.ends[number] = end

    def _failed(self, number: int, error: Exception) -> None:
        """Tell a failure at once, and write it down in the job's folder."""
        title, job = self._title(number), self._jobs[number]
        self._told += job.request is not None
        if isinstance(error, DnnlabError):
            failure = error
        else:
            traceback.print_exception(error)  # our own fault, and not the other jobs'
            failure = DnnlabError(f"{type(error).__name__}: {error}", where=title)
        self._voice.tell(failure, f"{title} - ")
        if isinstance(failure, FullDiskError):
            raise failure  # S11: the next job would have no room either
        if isinstance(failure, BusyError):
            return  # another process trains it, and will tell its end
        self._failures += [failure.what] * (job.request is not None)  # what cannot be read is known before any other job is done
        folder = self._folder / str(number) if job.request is None or job.request.folder is None else job.request.folder
        document = None if job.request is None else job.request.document
        record_failure(folder, document, job.overrides, failure, failures=self._before.get(number, 0) + 1)

    def _enough(self) -> bool:
        """Whether so many jobs have failed that no other shall begin."""
        failures, most, same = len(self._failures), self._settings.max_failures, self._settings.same_failures
        if most is not None and failures >= most:
            return self._stopped(f"{failures} jobs have failed, sweep.max_failures={most}")
        if same is not None and failures >= same and failures == self._told and len(set(self._failures)) == 1:
            return self._stopped(f"the first {failures} jobs have all failed by the same error, sweep.same_failures={same}")
        return False

    def _stopped(self, why: str) -> bool:
        self._voice.say(f"no further job begins: {why}")
        return True
