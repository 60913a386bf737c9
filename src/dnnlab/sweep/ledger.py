"""The ledger of a named sweep: which jobs there are, as they were composed when they were first asked for. sweep.json in its folder.

A job is its settings: the hash of its complete document. What has become of it stands in its own run folder and nowhere else, so that
there is no second truth that a kill could leave behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, final

from dnnlab import provenance
from dnnlab.config.request import Request
from dnnlab.config.saved import read_saved
from dnnlab.errors import ArtifactError, BusyError, ConfigError, DnnlabError, shown
from dnnlab.files import naming, to_json, write_atomic
from dnnlab.records import Summary
from dnnlab.runfolder import RunFolder, has_begun
from dnnlab.runfolder.inside import read_inside
from dnnlab.runfolder.lock import Lock
from dnnlab.runfolder.sealed import sealed, unsealed

LEDGER, CODE = "sweep.json", "code.diff"
LIMIT = 2**31  # bytes of a ledger


@dataclass(frozen=True)
class Composed:
    """A job as the command line asks for it."""

    overrides: tuple[str, ...]
    request: Request | None  # None: its settings could not be read


@dataclass(frozen=True)
class Entry:
    """A job as it was composed when it was first asked for."""

    number: int  # the name of its folder
    id: str
    overrides: tuple[str, ...]
    document: dict[str, Any] | None  # None: its settings could not be read
    written: str

    def request(self, folder: Path, now: Request | None) -> Request | None:
        """What is to be done, by the settings of then; what is no setting (trusted packages, rows in memory) is as now."""
        if self.document is None:
            return now
        place = folder / str(self.number)
        if now is not None and now.document == self.document:
            return replace(now, folder=place)
        again = Request(
            config=read_saved(self.document), written=self.written, document=self.document, folder=place, brief=True, argv=self.overrides
        )
        return again if now is None else replace(again, trusted=now.trusted, frame=now.frame)


@dataclass(frozen=True)
class Standing:
    """What is to be done about a job."""

    todo: str  # "begin", "go on", "nothing"
    summary: Summary | None = None  # of one that has finished
    failures: int = 0  # how often it has failed


@final
class Ledger:
    """The jobs of one sweep. One process at a time leads it (S10)."""

    def __init__(self, folder: Path, space: Sequence[str], *, extend: bool) -> None:
        """space: what the command line asks for. ConfigError where it was another one (S9), BusyError where another process leads."""
        self.folder = folder
        with naming(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock = Lock(folder)
        try:
            self._lock.take()
        except BusyError as error:
            raise BusyError(error.what.replace("trains here", "leads this sweep"), where=error.where, fix=error.fix) from None
        self._lock.sign()
        self._space = sorted(space)
        self.entries: list[Entry] = []
        try:
            if (folder / LEDGER).exists():
                self._read(extend=extend)
            else:
                write_atomic(folder / CODE, provenance.difference())
        except DnnlabError:
            self._lock.release()
            raise

    def close(self) -> None:
        """Let another process lead."""
        self._lock.release()

    def _read(self, *, extend: bool) -> None:
        where = str(self.folder / LEDGER)
        document = unsealed(read_inside(self.folder, LEDGER, limit=LIMIT), where)
        try:
            self.entries = [Entry(**{**job, "overrides": tuple(job["overrides"])}) for job in document["jobs"]]
            before = list(map(str, document["space"]))
        except (KeyError, TypeError) as error:
            raise ArtifactError(f"must be the ledger of a sweep, however: {error}", where=where) from error
        if before != self._space and not extend:
            raise _another(before, self._space, self.folder)
        self._space = sorted({*before, *self._space})

    def settle(self, jobs: Sequence[Composed]) -> list[Entry]:
        """The entry of each job: one that is known already, by its words or by its settings, or a new one."""
        words = {entry.overrides: entry for entry in self.entries}
        ids = {entry.id: entry for entry in self.entries}
        found: list[Entry] = []
        for job in jobs:
            document = None if job.request is None else job.request.document
            own = sha256(to_json(document if document is not None else {"overrides": list(job.overrides)}).encode()).hexdigest()
            entry = words.get(job.overrides) or ids.get(own)
            if entry is None:
                entry = Entry(len(self.entries), own, job.overrides, document, "" if job.request is None else job.request.written)
                self.entries.append(entry)
                words[job.overrides] = ids[own] = entry
            found.append(entry)
        self._write()
        return found

    def _write(self) -> None:
        document = {"format": 1, "space": self._space, "git": provenance.commit(), "jobs": [asdict(entry) for entry in self.entries]}
        content = sealed(document)
        if not (self.folder / LEDGER).exists() or read_inside(self.folder, LEDGER, limit=LIMIT) != content:
            write_atomic(self.folder / LEDGER, content)

    def standing(self, entry: Entry, retries: int) -> Standing:
        """What has become of a job, by its folder."""
        place = self.folder / str(entry.number)
        try:
            run = RunFolder.open(place).read_run()
        except DnnlabError:
            return Standing("go on" if has_begun(place) else "begin")
        status, failures = run.get("status"), int(run.get("failures", 0))
        if status in ("finished", "pruned"):
            return Standing("nothing", _summary(run, place))
        if status == "diverged" or (status == "failed" and failures > retries):
            return Standing("nothing", failures=failures)
        return Standing("go on" if has_begun(place) else "begin", failures=failures)


def _summary(run: Mapping[str, Any], place: Path) -> Summary:
    metrics = {str(name): float(value) for name, value in (run.get("metrics") or {}).items()}
    counts = int(run["epochs"]), int(run["steps"])
    return Summary(str(run["status"]), str(place), metrics, *counts, float(run["seconds"]), monitor=str(run.get("monitor", "")))


def _another(before: Sequence[str], now: Sequence[str], folder: Path) -> ConfigError:
    """S9: the difference between two search spaces."""
    lost, new = [word for word in before if word not in now], [word for word in now if word not in before]
    told = [f"it had {', '.join(lost)}"] * bool(lost) + [f"now {', '.join(new)} is asked for"] * bool(new)
    return ConfigError(
        f"a sweep must go on with what it began with, however: {shown('; '.join(told))}",
        where=f"sweep.name, {folder / LEDGER}",
        fix="Give the words that it began with, let it grow with sweep.extend=true, or choose another sweep.name",
    )
