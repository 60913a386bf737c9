"""Is a run folder what it says? Every hash is taken again, every file read again, every figure measured again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import isclose
from pathlib import Path
from typing import Any, TypeVar

from dnnlab.errors import ArtifactError, ConfigError, DataError, DnnlabError, shown
from dnnlab.evaluate import evaluate_run
from dnnlab.loggers.events import fault as events_fault
from dnnlab.predictor import Predictor, load
from dnnlab.runfolder import Generation, RunFolder, audit

CLOSE = 1e-5  # relative; another processor or number of threads rounds otherwise
T = TypeVar("T")


@dataclass(frozen=True)
class Verdict:
    """What was looked at, and what is not as it should be."""

    path: Path
    faults: tuple[str, ...]
    notes: tuple[str, ...]  # worth a word, and no damage
    files: int  # whose hashes fit
    figures: int  # that were measured again, and are as they were
    digest: str  # SHA-256 of manifest.json, which stands for every file of a complete run


@dataclass
class _Look:
    """What was found so far."""

    folder: RunFolder
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: int = 0
    figures: int = 0

    def at(self, work: Callable[[], T]) -> T | None:
        """What some work gives; its complaint is a fault. A link, or code that nobody trusted, ends the look (UntrustedError)."""
        try:
            return work()
        except ArtifactError as error:
            self.fault(error)
            return None

    def join(self, verdict: Verdict | None) -> None:
        """Take over what was found in a fold."""
        if verdict is not None:
            self.faults += verdict.faults
            self.notes += [f"fold {verdict.path.name}: {note}" for note in verdict.notes]
            self.files, self.figures = self.files + verdict.files, self.figures + verdict.figures

    def fault(self, error: DnnlabError) -> None:
        """Note an error once."""
        if str(error) not in self.faults:
            self.faults.append(str(error))


def verify(
    path: Path, *, files_only: bool = False, fallback: bool = False, trusted: Collection[str] = (), env: Collection[str] = ()
) -> Verdict:
    """Look through a run folder.

    files_only: measure nothing; fallback: a damaged last checkpoint is a note where the one before is whole. trusted, env: as of
    `predictor.load`. ArtifactError where `path` holds no run, UntrustedError where it would lead outside or to code.
    """
    look = _Look(RunFolder.open(path))
    manifest = look.at(look.folder.read_manifest)
    if manifest is None:
        return _verdict(look)
    if not manifest.complete:
        look.notes.append("the run has not ended: what it has is looked at, dnnlab resume goes on")
    whole, passed_over = _checkpoints(look, fallback=fallback)
    for name in manifest.files.keys() - audit.unwritten(look.folder):
        if not passed_over & set(name.split("/")):
            look.files += look.at(partial(audit.check_file, look.folder, name)) is not None
    _contents(look)
    look.notes += [f"{shown(name)} is no file of a run" for name in audit.strangers(look.folder)]
    look.notes += [f"{event.name}: {said}" for event in audit.events(look.folder) if (said := events_fault(event))]
    for fold in audit.folds(look.folder):
        look.join(look.at(partial(verify, fold, files_only=files_only, fallback=fallback, trusted=trusted, env=env)))
    if whole is not None:
        predictor = look.at(lambda: load(path, trusted, fallback=fallback, env=env))
        if predictor is not None and not files_only and manifest.complete:
            _figures(look, predictor)
    return _verdict(look)


def _contents(look: _Look) -> None:
    """Every file that tells something is read as those who need it do."""
    folder = look.folder
    look.at(folder.read_config)
    run, rows = look.at(folder.read_run), look.at(folder.read_metrics) or []
    if audit.describes_itself(folder):
        look.at(folder.read_schema)
        look.at(folder.read_encoder)
    steps = [row.get("step", 0) for row in rows]
    if steps != sorted(steps):
        look.fault(ArtifactError("its steps must not go back, however they do", where=f"{folder.path}/metrics.jsonl"))
    if run is not None and rows and folder.read_manifest().complete:
        look.at(partial(audit.check_table, folder))


def _checkpoints(look: _Look, *, fallback: bool) -> tuple[Generation | None, set[str]]:
    """-> the newest whole one, and the names of damaged ones that are to be passed over."""
    whole: Generation | None = None
    damaged: dict[str, DnnlabError] = {}
    for generation in look.folder.generations():
        try:
            generation.check()
            generation.read_state()
            look.folder.check_metrics(generation.document["metrics"])
            whole = whole or generation
        except ArtifactError as error:
            damaged[generation.name] = error
    if fallback and whole is not None:
        look.notes += [f"passed over: {fault}" for fault in damaged.values()]
        return whole, set(damaged)
    for fault in damaged.values():
        look.fault(fault)
    if whole is None:
        look.at(look.folder.generation)
    return whole, set()


def _figures(look: _Look, predictor: Predictor) -> None:
    """The run's own rows are read again, and the network is measured again."""
    told = look.folder.read_run()
    metrics: Mapping[str, Any] = told.get("metrics") or {}
    if told.get("status") not in ("finished", "pruned", "diverged"):
        return
    try:
        found = evaluate_run(predictor, look.folder.path)
    except (DataError, ConfigError) as error:
        look.notes.append(f"nothing was measured again: {error}")
        return
    for name, value in found.items():
        was = float(metrics.get(name, value))
        if isclose(value, was, rel_tol=CLOSE, abs_tol=CLOSE) or (value != value and was != was):
            look.figures += 1
        else:
            look.fault(ArtifactError(f"{name} must be {was:.6g}, as run.json says, however: {value:.6g}", where=str(look.folder.path)))


def _verdict(look: _Look) -> Verdict:
    digest = look.at(partial(audit.digest, look.folder)) or ""
    return Verdict(look.folder.path, tuple(look.faults), tuple(look.notes), look.files, look.figures, digest)


def check_digest(verdict: Verdict, digest: str) -> str:
    """'', or how a folder is another one than the one whose digest was told by another way.

    >>> check_digest(Verdict(Path("run"), (), (), 0, 0, "ab" * 32), "AB" * 32)
    ''
    """
    if verdict.digest == digest.strip().lower():
        return ""
    return f"the folder's digest must be {shown(digest)}, however: {verdict.digest}"
