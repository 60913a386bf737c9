"""The folder of one run: what is written into it, when, and how it is read back."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from dnnlab import provenance
from dnnlab.errors import ArtifactError, BusyError, DnnlabError, UntrustedError
from dnnlab.files import naming, to_csv, to_json, write_atomic
from dnnlab.records import Summary
from dnnlab.runfolder.generations import Generation, generations, newest, prune, write_generation
from dnnlab.runfolder.inside import is_inside, read_inside
from dnnlab.runfolder.lock import Lock
from dnnlab.runfolder.manifest import Fingerprint, Manifest, read_manifest
from dnnlab.runfolder.names import (
    BEST,
    CHECKPOINTS,
    CONFIG_JSON,
    CONFIG_YAML,
    ENCODER,
    ENCODER_TENSORS,
    FOLDS,
    LOG,
    MANIFEST,
    PLOTS,
    ROWS,
    RUN,
    SCHEMA,
    STATE,
    TABLE,
    TENSORBOARD,
    check_name,
    new_folder,
    refuse,
)  # fmt: skip
from dnnlab.runfolder.rows import Rows
from dnnlab.runfolder.sealed import sealed, unsealed
from dnnlab.runfolder.strict import parse

if TYPE_CHECKING:
    from torch import Tensor


@final
class RunFolder:
    """The folder of one run.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     folder = RunFolder.create(Path(root), "mlp", {"seed": 0})
    ...     folder.append_metrics({"epoch": 1, "train/loss": 0.5})
    ...     folder.finish(Summary("finished", str(folder.path), {"test/accuracy": 0.97}, epochs=1, steps=45, seconds=0.1))
    ...     folder.read_run()["metrics"], folder.read_metrics()
    ({'test/accuracy': 0.97}, [{'epoch': 1, 'train/loss': 0.5}])
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock(path)
        self._rows = Rows(path)
        self._run: dict[str, Any] | None = None  # what run.json says, while this process writes it
        self._manifest: Manifest | None = None  # as last read or written

    # making and opening

    @classmethod
    def create(
        cls,
        root: Path,
        name: str,
        config: Mapping[str, Any],
        *,
        written: str = "",
        exact: Path | None = None,
        forbid: Path | None = None,
        now: datetime | None = None,
    ) -> RunFolder:
        """Claim a folder that no other run has, `root/name/date_time` or exactly `exact`, and keep the settings in it.

        config: the complete settings; written: the settings as YAML, as people wrote them; forbid: the folder of the data, which must stay
        as it is. ConfigError for a place that no run may have, BusyError for a folder that holds a run already or in which another process
        trains, ResourceError for one that cannot be written.
        """
        if exact is not None:
            refuse(exact, forbid, "hydra.run.dir")
            with naming(exact):
                exact.mkdir(parents=True, exist_ok=True)
            folder = cls(exact)
        else:
            check_name(name)
            refuse(root / name, forbid, "name")
            folder = cls(new_folder(root / name, now or datetime.now()))
        try:
            folder._claim()
            folder._keep_settings(config, written)
            folder.status("running", {"started": now_as_text()})
        except DnnlabError:
            folder.close()
            raise
        return folder

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run's folder; ArtifactError where `path` holds none."""
        if not any(os.path.lexists(path / name) for name in (CONFIG_JSON, RUN)):
            raise ArtifactError(f"must be the folder of a run, however it holds no {CONFIG_JSON}", where=str(path))
        return cls(path)

    def _claim(self) -> None:
        self._refuse_a_run()
        self._lock.take()
        self._refuse_a_run()  # of a process that was here a moment ago
        self._lock.sign()
        self._sweep()

    def _refuse_a_run(self) -> None:
        """T26: a folder with a run is never written to by another one."""
        taken = [name for name in (CONFIG_JSON, RUN, ROWS, CHECKPOINTS) if os.path.lexists(self.path / name)]
        if taken:
            fix = "Try another hydra.run.dir, or leave it out: each run then gets a folder of its own; dnnlab resume continues a run"
            raise BusyError(f"must be a folder without a run, however it holds {taken[0]}", where=str(self.path), fix=fix)

    def take(self) -> None:
        """Become the one process that trains here; BusyError where another one does (T24)."""
        self._lock.take()

    def go_on(self, mark: Mapping[str, Any] | None, facts: Mapping[str, Any]) -> None:
        """Continue what an earlier process left: cut the rows back to a checkpoint's mark (None: to nothing), remove what is unfinished.

        UntrustedError where anything below the folder is a link: writing would follow it.
        """
        self.take()
        _refuse_links(self.path)
        self._lock.sign()
        self._sweep()
        self._write_manifest(self._fixed())
        self._rows.cut(mark or {"bytes": 0, "sha256": _EMPTY})
        self._run = {key: value for key, value in self.read_run().items() if key not in ENDINGS}
        self.status("running", facts)

    def _sweep(self) -> None:
        """Remove what processes that were killed left half written."""
        for place in (self.path, self.path / CHECKPOINTS, self.path / PLOTS, *(self.path / CHECKPOINTS).glob("step-*")):
            for left in place.glob(".*.tmp"):
                with naming(left):
                    left.unlink(missing_ok=True)
        prune(self.path)

    def close(self) -> None:
        """Let go of the rows' file and of the lock."""
        self._rows.close()
        self._lock.release()

    # where things are

    def fold(self, number: int) -> Path:
        """The folder of one fold's run, within that of a cross-validation."""
        return self.path / FOLDS / str(number)

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's events."""
        return self.path / TENSORBOARD

    def events_file(self) -> Path:
        """A new name for a file of events, which TensorBoard reads after all older ones; it tells nothing about the machine."""
        numbers = [int(path.suffix[1:]) for path in self.tensorboard.glob("events.out.tfevents.*") if path.suffix[1:].isdecimal()]
        return self.tensorboard / f"events.out.tfevents.{max(numbers, default=-1) + 1:04d}"

    @property
    def log(self) -> Path:
        """The log of the run, plain text."""
        return self.path / LOG

    @property
    def config_yaml(self) -> Path:
        """The settings as people wrote them."""
        return self.path / CONFIG_YAML

    # what is written

    def _keep_settings(self, config: Mapping[str, Any], written: str) -> None:
        """config.json comes last: where it stands, a run began, and all that it needs to begin again is there."""
        self._keep({CONFIG_YAML: written.encode(), CONFIG_JSON: to_json(config).encode()})

    def change_settings(self, config: Mapping[str, Any], written: str) -> None:
        """Keep other settings in the place of those that are there."""
        self._keep_settings(config, written)

    def _keep(self, files: Mapping[str, bytes]) -> None:
        """Write files for good. The manifest knows old and new ones while they are exchanged, so that each instant is in order."""
        prints = {name: Fingerprint.of(content) for name, content in files.items()}
        manifest = self._manifest or Manifest()
        self._write_manifest(manifest.with_files(prints, also_old=True))
        for name, content in files.items():
            with naming(self.path / name):
                (self.path / name).parent.mkdir(exist_ok=True)
            write_atomic(self.path / name, content)
        if manifest.files.keys() & files.keys():
            self._write_manifest(manifest.with_files(prints))

    def _write_manifest(self, manifest: Manifest) -> None:
        write_atomic(self.path / MANIFEST, manifest.content())
        self._manifest = manifest

    def begin(self, *, seed: int, device: str, threads: int, command: Sequence[str]) -> None:
        """Keep the facts of the run."""
        facts = {"seed": seed, "device": device, "threads": threads, "command": list(command)}
        self.status("running", {**facts, "versions": provenance.versions(), "git": provenance.commit()})

    def status(self, status: str, facts: Mapping[str, Any] | None = None) -> None:
        """Say in run.json how the run stands (running, finished, diverged, interrupted, failed), and add facts to it."""
        if self._run is None:
            self._run = self.read_run() if is_inside(self.path, RUN) else {}
        self._run = {**self._run, "status": status, **(facts or {})}
        write_atomic(self.path / RUN, sealed(self._run))

    def finish(self, summary: Summary, error: DnnlabError | None = None) -> None:
        """Write how the run ended, the table of its metrics, and a manifest of every file; nobody writes here any longer."""
        self._write_table()
        facts = {key: value for key, value in asdict(summary).items() if key not in ("status", "folder")}
        self.status(summary.status, {"ended": now_as_text(), **facts, **said(error)})
        self.vouch()
        self.close()

    def fail(self, error: DnnlabError | None) -> None:
        """Write that an error ended the run early, or (None) an interrupt; where that cannot be written, the error is what matters."""
        with suppress(DnnlabError):
            self._write_table()
            count = {"failures": int(self.read_run().get("failures", 0)) + 1} if error else {}
            self.status("failed" if error else "interrupted", {"ended": now_as_text(), **count, **said(error)})
        self.close()

    def _write_table(self) -> None:
        self._rows.close()
        rows = self.read_metrics()
        if rows:
            write_atomic(self.path / TABLE, to_csv(rows, ("epoch", "step")))

    def vouch(self) -> None:
        """Write the manifest of every file: nobody writes here any longer."""
        prints = {name: Fingerprint.of_file(self.path, name) for name in self.files() if name not in FIXED}
        self._write_manifest(replace(self._fixed().with_files(prints), complete=True))

    def _fixed(self) -> Manifest:
        """The manifest while a process trains here: of the files that stay as they are."""
        return Manifest({name: prints for name, prints in self.read_manifest().files.items() if name in FIXED})

    def files(self) -> list[str]:
        """The files that a complete manifest names; of each fold its manifest."""
        found = [CONFIG_YAML, CONFIG_JSON, RUN, SCHEMA, ROWS, TABLE, LOG, ENCODER, ENCODER_TENSORS]
        patterns = (f"{CHECKPOINTS}/step-*/*", f"{PLOTS}/*.png", f"{FOLDS}/*/{MANIFEST}")
        found += sorted(path.relative_to(self.path).as_posix() for pattern in patterns for path in self.path.glob(pattern))
        return [name for name in found if is_inside(self.path, name)]

    def describe(self, schema: Mapping[str, Any], encoder: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Keep what the rows are, and what they go through before the network."""
        from dnnlab.runfolder.tensorfile import dump

        self._keep({SCHEMA: to_json(schema).encode(), ENCODER: to_json(facts).encode(), ENCODER_TENSORS: dump(encoder)})

    def append_metrics(self, row: Mapping[str, float | int]) -> None:
        """Add one row, at once visible to whoever reads along."""
        self._rows.append(row)

    def write_checkpoint(
        self, step: int, state: Mapping[str, Tensor], best: Mapping[str, Tensor] | None, document: Mapping[str, Any]
    ) -> Generation:
        """Commit a generation of the state after `step` steps; a process killed at any instant leaves the ones before it."""
        tensors = {STATE: state} | ({} if best is None else {BEST: best})
        made = write_generation(self.path, step, tensors, {**document, "metrics": self._rows.sync()})
        self.status("running", {"checkpoint": {"step": step, "epoch": document["epoch"]}})
        return made

    def write_picture(self, name: str, png: bytes) -> Path:
        """Keep a picture as plots/<name>.png; "/" in a name becomes "_"."""
        path = self.path / PLOTS / f"{name.replace('/', '_')}.png"
        with naming(path):
            path.parent.mkdir(exist_ok=True)
        write_atomic(path, png)
        return path

    # what is read

    def read_manifest(self) -> Manifest:
        """Which files the folder vouches for."""
        if self._manifest is None:
            self._manifest = read_manifest(self.path)
        return self._manifest

    def _read(self, name: str) -> dict[str, Any]:
        """A JSON file that is what it was when it was written."""
        content, where = read_inside(self.path, name), str(self.path / name)
        self.read_manifest().check(name, Fingerprint.of(content), where)
        return parse(content, where)

    def read_run(self) -> dict[str, Any]:
        """What run.json says; {} where a process died before it wrote the first one."""
        if not os.path.lexists(self.path / RUN) and RUN not in self.read_manifest().files:
            return {}
        return unsealed(read_inside(self.path, RUN), str(self.path / RUN))

    def read_config(self) -> dict[str, Any]:
        """The complete settings."""
        return self._read(CONFIG_JSON)

    def read_schema(self) -> dict[str, Any]:
        """What the rows are."""
        return self._read(SCHEMA)

    def read_encoder(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tensors (on the CPU) and facts of what rows go through before the network."""
        from dnnlab.runfolder.tensorfile import load

        facts, known = self._read(ENCODER), self.read_manifest().files.get(ENCODER_TENSORS)
        if not known:
            raise ArtifactError(f"must be named in {MANIFEST}, however it is not", where=str(self.path / ENCODER_TENSORS))
        return load(self.path, ENCODER_TENSORS, sha256=known[0].sha256, size=known[0].bytes), facts

    def read_metrics(self) -> list[dict[str, float]]:
        """All rows; a torn last line, left by a process that was killed, is dropped."""
        return self._rows.read()

    def check_metrics(self, mark: Mapping[str, Any]) -> None:
        """ArtifactError where the rows up to a checkpoint are not those that it saw."""
        self._rows.checked(mark)

    def generations(self) -> list[Generation]:
        """The checkpoints, the newest first."""
        return generations(self.path)

    def generation(self, *, fallback: bool = False) -> Generation | None:
        """The newest checkpoint; with `fallback` the newest that is whole. None where none was finished yet."""
        found = newest(self.path, fallback=fallback)
        if found is None and self.read_run().get("checkpoint"):
            raise ArtifactError(f"must hold the checkpoint that {RUN} tells of, however: none", where=str(self.path / CHECKPOINTS))
        return found

    @property
    def has_ended(self) -> bool:
        """Whether a process brought the run to an end and left everything in order."""
        return self.read_manifest().complete


FIXED = (CONFIG_YAML, CONFIG_JSON, SCHEMA, ENCODER, ENCODER_TENSORS)  # written once, at the beginning
ENDINGS = ("ended", "error", "signal", *Summary.__dataclass_fields__)  # what run.json says of the end of a run
_EMPTY = Fingerprint.of(b"").sha256


def has_begun(path: Path) -> bool:
    """Whether a folder holds a run that can go on: its settings are there.

    >>> has_begun(Path("nowhere"))
    False
    """
    return os.path.lexists(path / CONFIG_JSON)


def _refuse_links(root: Path) -> None:
    for place, folders, files in os.walk(root):
        for name in (*folders, *files):
            if (path := Path(place, name)).is_symlink():
                raise UntrustedError(
                    "a run folder must hold its own files, however: a link", where=str(path), fix="Put the file itself in its place"
                )


def said(error: DnnlabError | None) -> dict[str, Any]:
    """An error as run.json keeps it, if there is one."""
    if error is None:
        return {}
    return {"error": {"kind": error.kind, "exit_code": error.exit_code, "what": error.what, "where": error.where, "fix": error.fix}}


def now_as_text() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")
