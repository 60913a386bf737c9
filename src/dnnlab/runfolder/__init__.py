"""A run is a folder with a written grammar, and this is the only file that knows its names.

    config.yaml  config.json       the settings: as people wrote them, and complete
    run.json                       status, seed, device, threads, versions, commit, command, times, final metrics
    metrics.jsonl  metrics.csv     one row for each logged record; the table is written at the end
    train.log                      what was said: times, warnings, findings
    schema.json                    the columns of the rows, the classes, what is asked
    checkpoints/                   best, last and encoder: tensors (safetensors) and the facts that belong to them (JSON)
    tensorboard/  plots/           views of all this
    folds/                         of a cross-validation: one run folder for each fold

All JSON is strict: a number that is not finite is the text "nan", "inf" or "-inf".
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from errno import ENOSPC
from hashlib import sha256
from io import RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

from dnnlab import provenance
from dnnlab.errors import ArtifactError, BusyError, ConfigError, DnnlabError, shown
from dnnlab.files import naming, read_json, sync_folder, to_csv, to_json, write_atomic, write_new
from dnnlab.records import Summary

if TYPE_CHECKING:
    from torch import Tensor

Which = Literal["best", "last", "encoder"]

CONFIG_YAML, CONFIG_JSON, RUN, ROWS, TABLE, LOG = "config.yaml", "config.json", "run.json", "metrics.jsonl", "metrics.csv", "train.log"
SCHEMA = "schema.json"
FOLDS = "folds"  # of a cross-validation: numbered run folders
CHECKPOINTS, TENSORBOARD, PLOTS = "checkpoints", "tensorboard", "plots"
SWEEP_TABLE = "results.csv"  # in the folder of a sweep, beside its numbered runs


@final
class RunFolder:
    """The folder of one run.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     folder = RunFolder.create(Path(root), "mlp", exact=None)
    ...     folder.append_metrics({"epoch": 1, "train/loss": 0.5})
    ...     folder.finish(Summary("finished", str(folder.path), {"test/accuracy": 0.97}, epochs=1, steps=45, seconds=0.1))
    ...     folder.read_run()["metrics"], folder.read_metrics()
    ({'test/accuracy': 0.97}, [{'epoch': 1, 'train/loss': 0.5}])
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: RawIOBase | None = None
        self._run: dict[str, Any] | None = None  # what run.json says, while this process writes it

    @classmethod
    def create(
        cls, root: Path, name: str, *, exact: Path | None = None, forbid: Path | None = None, now: datetime | None = None
    ) -> RunFolder:
        """Claim a folder that no other run has: `root/name/date_time`, or exactly `exact`.

        `forbid` is the folder of the data, which must stay as it is. ConfigError for a place that no run may have, BusyError for a folder
        that holds a run already, ResourceError for one that cannot be written.
        """
        if exact is not None:
            _refuse(exact, forbid, "hydra.run.dir")
            with naming(exact):
                exact.mkdir(parents=True, exist_ok=True)
            folder = cls(exact)
        else:
            _check_name(name)
            _refuse(root / name, forbid, "name")
            folder = cls(_new_folder(root / name, now or datetime.now()))
        folder._claim()
        return folder

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run's folder; ArtifactError where `path` holds none."""
        folder = cls(path)
        if not (path / RUN).is_file():
            raise ArtifactError(f"must be the folder of a run, however it holds no {RUN}", where=str(path))
        return folder

    def _claim(self) -> None:
        taken = [name for name in (RUN, CONFIG_JSON, ROWS, CHECKPOINTS) if (self.path / name).exists()]
        try:
            if not taken:
                with naming(self.path / RUN):
                    self._run = {"status": "running", "started": _time()}
                    write_new(self.path / RUN, to_json(self._run).encode())
        except DnnlabError as error:
            if not isinstance(error.__cause__, FileExistsError):  # another run was faster by a moment
                raise
            taken = [RUN]
        if taken:
            fix = "Try another hydra.run.dir, or leave it out: each run then gets a folder of its own"
            raise BusyError(f"must be a folder without a run, however it holds {taken[0]}", where=str(self.path), fix=fix)

    def fold(self, number: int) -> Path:
        """The folder of one fold's run, within that of a cross-validation."""
        return self.path / FOLDS / str(number)

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's events."""
        return self.path / TENSORBOARD

    def events_file(self) -> Path:
        """A new name for a file of events, which TensorBoard reads after all older ones; it tells nothing about the machine."""
        number = len(list(self.tensorboard.glob("*.tfevents.*"))) if self.tensorboard.is_dir() else 0
        return self.tensorboard / f"events.out.tfevents.{number:04d}"

    @property
    def log(self) -> Path:
        """The log of the run, plain text."""
        return self.path / LOG

    @property
    def config_yaml(self) -> Path:
        """The settings as people wrote them."""
        return self.path / CONFIG_YAML

    def begin(self, written: str, config: Mapping[str, Any], *, seed: int, device: str, threads: int, command: Sequence[str]) -> None:
        """Keep the settings, as written (YAML) and complete (JSON), and the facts of the run."""
        write_atomic(self.path / CONFIG_YAML, written)
        write_atomic(self.path / CONFIG_JSON, to_json(config))
        facts = {"seed": seed, "device": device, "threads": threads, "command": list(command)}
        self.status("running", {**facts, "versions": provenance.versions(), "git": provenance.commit()})

    def status(self, status: str, facts: Mapping[str, Any] | None = None) -> None:
        """Say in run.json how the run stands (running, finished, diverged, interrupted, failed), and add facts to it."""
        self._run = {**(self._run or self.read_run()), "status": status, **(facts or {})}
        write_atomic(self.path / RUN, to_json(self._run))

    def finish(self, summary: Summary, error: DnnlabError | None = None) -> None:
        """Write how the run ended, and the table of its metrics."""
        self._write_table()
        facts = {key: value for key, value in asdict(summary).items() if key not in ("status", "folder")}
        self.status(summary.status, {"ended": _time(), **facts, **({"error": _said(error)} if error else {})})

    def fail(self, error: DnnlabError | None) -> None:
        """Write that an error ended the run early, or (None) an interrupt; where that cannot be written, the error is what matters."""
        with suppress(DnnlabError):
            self._write_table()
            self.status("failed" if error else "interrupted", {"ended": _time(), **({"error": _said(error)} if error else {})})

    def _write_table(self) -> None:
        self.close()
        rows = self.read_metrics()
        if rows:
            write_atomic(self.path / TABLE, to_csv(rows, ("epoch", "step")))

    def read_run(self) -> dict[str, Any]:
        """What run.json says."""
        return read_json(self.path / RUN)

    def read_config(self) -> dict[str, Any]:
        """The complete settings."""
        return read_json(self.path / CONFIG_JSON)

    def write_schema(self, schema: Mapping[str, Any]) -> None:
        """Keep what the rows are."""
        write_atomic(self.path / SCHEMA, to_json(schema))

    def read_schema(self) -> dict[str, Any]:
        """What the rows are."""
        return read_json(self.path / SCHEMA)

    def append_metrics(self, row: Mapping[str, float | int]) -> None:
        """Add one row, at once visible to whoever reads along."""
        path = self.path / ROWS
        line = (to_json(row, indent=None) + "\n").encode()
        with naming(path, len(line)):
            if self._rows is None:
                self._rows = path.open("ab", buffering=0)  # no buffer: what a full disk refused is not tried again at the end
            if self._rows.write(line) != len(line):
                raise OSError(ENOSPC, os.strerror(ENOSPC))

    def read_metrics(self) -> list[dict[str, float]]:
        """All rows; a torn last line, left by a process that was killed, is dropped."""
        path = self.path / ROWS
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]  # what follows the last line's end is torn, or nothing
        try:
            rows = [json.loads(line) for line in lines]
            return [{key: float(value) if isinstance(value, str) else value for key, value in row.items()} for row in rows]
        except (ValueError, AttributeError, TypeError) as error:
            raise ArtifactError(f"must hold a JSON object of numbers in each line, however: {error}", where=str(path)) from error

    def close(self) -> None:
        """Let go of the metrics' file; another row opens it again."""
        if self._rows is not None:
            self._rows.close()
            self._rows = None

    def write_checkpoint(self, which: Which, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Keep tensors and the facts that belong to them; a process killed at any instant leaves the old pair or the new one.

        The JSON file decides: it names the hash of its tensors, which wait beside the old ones until it stands.
        """
        from safetensors.torch import save

        content = save({name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()})
        path, waiting, about = self._checkpoint(which)
        with naming(path, len(content)):
            path.parent.mkdir(exist_ok=True)
            waiting.unlink(missing_ok=True)
            write_new(waiting, content)
            write_atomic(about, to_json({"sha256": sha256(content).hexdigest(), "bytes": len(content), "facts": facts}))
            waiting.replace(path)
            sync_folder(path.parent)

    def read_checkpoint(self, which: Which) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors (on the CPU) and facts; ArtifactError where they are missing, damaged or do not belong together."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        path, waiting, about = self._checkpoint(which)
        said = read_json(about)
        for candidate in (path, waiting):  # the second, where the process was killed between the two
            content = candidate.read_bytes() if candidate.is_file() else b""
            if sha256(content).hexdigest() == said.get("sha256"):
                try:
                    return load(content), said["facts"]
                except (SafetensorError, KeyError) as error:
                    raise ArtifactError(f"must be a checkpoint, however: {error}", where=str(path)) from error
        found = sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else "no file"
        expected = str(said.get("sha256"))[:12]
        raise ArtifactError(f"must have the hash {expected}… that {about.name} names, however: {shown(found)}", where=str(path))

    def has_checkpoint(self, which: Which) -> bool:
        """Whether a checkpoint of that kind was ever finished."""
        return self._checkpoint(which)[2].is_file()

    def _checkpoint(self, which: Which) -> tuple[Path, Path, Path]:
        stem = self.path / CHECKPOINTS / which
        return stem.with_suffix(".safetensors"), stem.with_suffix(".safetensors.next"), stem.with_suffix(".json")

    def write_picture(self, name: str, png: bytes) -> Path:
        """Keep a picture as plots/<name>.png; "/" in a name becomes "_"."""
        path = self.path / PLOTS / f"{name.replace('/', '_')}.png"
        with naming(path):
            path.parent.mkdir(exist_ok=True)
        write_atomic(path, png)
        return path


@contextmanager
def telling(folder: RunFolder) -> Iterator[None]:
    """Whatever ends a run early stands in its folder, too."""
    try:
        yield
    except KeyboardInterrupt:  # outside of training, or a second one
        folder.fail(None)
        raise
    except Exception as error:
        folder.fail(error if isinstance(error, DnnlabError) else DnnlabError(f"{type(error).__name__}: {error}"))
        raise


def record_failure(path: Path, document: Mapping[str, Any] | None, overrides: Sequence[str], error: DnnlabError) -> None:
    """Leave word of a sweep's job that failed before it began: what was asked, and why it could not be."""
    with naming(path):
        path.mkdir(parents=True, exist_ok=True)
    run: dict[str, Any] = {"status": "failed", "started": _time()}
    if (path / RUN).is_file():  # the job failed after it had begun
        run = RunFolder(path).read_run()
    if document is not None and not (path / CONFIG_JSON).exists():
        write_atomic(path / CONFIG_JSON, to_json(document))
    status = run["status"] if run.get("status") == "diverged" else "failed"  # it says more
    run |= {"status": status, "ended": _time(), "overrides": list(overrides), "error": _said(error)}
    write_atomic(path / RUN, to_json(run))


def _said(error: DnnlabError) -> dict[str, Any]:
    """An error as run.json keeps it."""
    return {"kind": error.kind, "exit_code": error.exit_code, "what": error.what, "where": error.where, "fix": error.fix}


def _time() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def _new_folder(parent: Path, now: datetime) -> Path:
    """Make a folder named after the time, exclusively; a number follows where somebody was faster."""
    stem = now.strftime("%Y-%m-%d_%H-%M-%S_%f")
    with naming(parent):
        parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, 100_000):
            path = parent / (stem if number == 1 else f"{stem}_{number}")
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return path
    raise BusyError("must have a free name for a run, however all of this instant are taken", where=str(parent))


def _check_name(name: str) -> None:
    """A name is one plain folder name."""
    if name in ("", ".", "..") or "/" in name or "\\" in name or not name.isprintable() or len(os.fsencode(name)) > 255:
        fact = f"must be usable as the name of a folder (no slash, no control character), however: {shown(name)}"
        raise ConfigError(fact, where="name", fix="Try name=my_run")


def _refuse(path: Path, forbid: Path | None, where: str) -> None:
    """No run in the root of the file system, in somebody's home itself, or inside the data."""
    full = path.resolve()
    fix = "Try hydra.run.dir=outputs/my_run"
    if full in (Path(full.anchor), Path.home().resolve()):
        raise ConfigError(f"must be a folder of its own, however: {shown(str(full))}", where=where, fix=fix)
    if forbid is not None and full.is_relative_to(forbid.resolve()):
        raise ConfigError(f"must lie outside the folder of the data, however: {shown(str(path))}", where=f"{where}, data.root", fix=fix)
    if full.exists() and not full.is_dir():
        raise ConfigError(f"must be a folder, however it is a file: {shown(str(path))}", where=where, fix=fix)
