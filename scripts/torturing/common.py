"""Runs as a user's machine would have them: processes of their own, compared by what equal runs have in common."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

from dnnlab.runfolder import RunFolder

IDENTITY = (
    "config.json", "config.yaml", "schema.json", "metrics.jsonl", "metrics.csv", "checkpoints/encoder.json",
    "checkpoints/encoder.safetensors", "checkpoints/step-*/state.safetensors", "checkpoints/step-*/best.safetensors",
)  # fmt: skip
COMMON = ("threads=1", "logger.progress=false", "trainer.checkpoint_every=1steps")
KINDS: tuple[tuple[str, ...], ...] = (
    ("data=digits", "model.hidden=[16]", "trainer.epochs=6", "trainer.batch_size=200", "regularization.dropout=0.2", "trainer.ema=0.9",
     "scheduler=cosine"),
    ("data=iris", "model.hidden=[8]", "optimizer=nesterov", "optimizer.lr=0.05", "scheduler=plateau", "scheduler.patience=1",
     "trainer.epochs=12"),
    ("data=moons", "model=deep", "model.depth=2", "model.width=8", "model.norm=batch", "optimizer=rmsprop", "trainer.epochs=9",
     "trainer.early_stopping.patience=2", "trainer.validate_every=3steps"),
    ("data=csv", "data.path=rows.csv", "data.target=label", "model.hidden=[8]", "optimizer=muon", "regularization.sparsity.keep=0.5",
     "trainer.epochs=6"),
    ("data=csv", "data.path=rows.csv", "data.target=label", "model.hidden=[8]", "data.folds=3", "trainer.epochs=3"),
    ("data=moons", "model.hidden=[8]", "optimizer=lbfgs", "trainer.epochs=6"),
    ("data=digits", "model=autoencoder", "model.hidden=[16]", "optimizer=adagrad", "trainer.epochs=3", "trainer.batch_size=300"),
)  # fmt: skip
"""What is trained: between them every kind of state that a checkpoint holds."""

WARM = (
    "dnnlab.api", "dnnlab.cli", "dnnlab.door.compose", "dnnlab.sweep.jobs", "dnnlab.verify", "dnnlab.plots", "dnnlab.loggers.tensorboard",
    "dnnlab.loggers.graph", "sklearn.datasets", "sklearn.model_selection", "torchmetrics.functional.classification",
    "matplotlib.backends.backend_agg", "tensorboard.compat.proto.event_pb2", "tensorboard.plugins.hparams.plugin_data_pb2",
    "tensorboard.plugins.hparams.metadata",
)  # fmt: skip

HUNG = 97  # instead of an exit code
Break = Callable[[], None]


def identity(folder: Path) -> dict[str, Any]:
    """What equal runs have in common to the byte (docs/run-folder.md), by name; of the checkpoints the last one counts."""
    places = [folder, *sorted(path for path in (folder / "folds").glob("*") if path.is_dir())]
    found: dict[str, Any] = {}
    for place in places:
        run = RunFolder.open(place)
        made = run.generation()
        last = "none" if made is None else made.name
        names = sorted(path.relative_to(place).as_posix() for pattern in IDENTITY for path in place.glob(pattern))
        prefix = "" if place == folder else f"{place.relative_to(folder).as_posix()}/"
        found |= {f"{prefix}{name}": (place / name).read_bytes() for name in names if "step-" not in name or last in name}
        found[f"{prefix}metrics"] = run.read_run()["metrics"]
    return found


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The names of what is not the same."""
    return [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]


def left_over(folder: Path) -> list[str]:
    """Temporary files that nobody removed."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*.tmp")]


def warm_up() -> None:
    """Import what runs import, so that a forked child need not. Nothing is computed: a thread that was started is not inherited."""
    for name in WARM:
        import_module(name)
    import torch

    torch.set_num_threads(1)


@dataclass
class Place:
    """A folder for one torture: rows to learn from, reference runs, and children."""

    root: Path
    random: Random
    broken: Break | None = None  # what makes the build of the children a bad one
    temporary: Path | None = None  # TMPDIR of the children
    more: tuple[str, ...] = ()  # settings of every run
    fresh: bool = False  # begin a new interpreter for each child
    plain: bool = False  # draw no pictures
    seconds: dict[tuple[str, ...], float] = field(default_factory=dict)  # that each reference took
    references: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)

    def words(self, kind: int) -> tuple[str, ...]:
        """The settings of a kind."""
        return (*COMMON, *KINDS[kind % len(KINDS)], *self.more)

    def reference(self, kind: int) -> dict[str, Any]:
        """The identity of a run that nothing happens to, made once, by a sound build."""
        words = self.words(kind)
        if words not in self.references:
            folder, broken, self.broken = self.root / f"reference{len(self.references)}", self.broken, None
            began = time.monotonic()
            code = wait(self.begin(kind, folder))
            self.seconds[words], self.broken = time.monotonic() - began, broken
            if code != 0:
                raise RuntimeError((folder.parent / f"{folder.name}.txt").read_text(encoding="utf-8"))
            self.references[words] = identity(folder)
        return self.references[words]

    def begin(self, kind: int, folder: Path, *more: str, before: Break | None = None) -> int:
        """Start a child that begins a run or goes on with it; -> its process. before: what the child does first."""
        words = ["train", *self.words(kind), f"hydra.run.dir={folder}", "--resume-if-exists", *more]
        return self.child(words, folder.parent / f"{folder.name}.txt", before)

    def begin_sweep(self, words: Sequence[str], name: str) -> int:
        """Start a child that leads a named sweep, or goes on with it; -> its process."""
        return self.child([*words, f"sweep.name={name}"], self.root / f"{name}.txt", None)

    def child(self, words: list[str], said: Path, before: Break | None = None) -> int:
        """A process that does what `dnnlab WORDS` does; what it says goes to a file."""
        pid = os.fork()
        if pid:
            return pid
        code = 99
        try:
            code = self._live(words, said, before)
        finally:
            os._exit(code)

    def _live(self, words: list[str], said: Path, before: Break | None) -> int:
        os.setpgid(0, 0)
        os.chdir(self.root)
        handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for stream in (1, 2):
            os.dup2(handle, stream)
        if self.temporary is not None:
            os.environ["TMPDIR"] = str(self.temporary)
            tempfile.tempdir = str(self.temporary)  # else Python tries it out, with a file of its own
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.fresh:
            os.execv(sys.executable, [sys.executable, "-m", "dnnlab.cli", *words])
        sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1) for stream in (1, 2))
        from dnnlab import cli

        for wish in (_undrawn if self.plain else None, self.broken, before):
            if wish is not None:
                wish()
        sys.argv = ["dnnlab", *words]
        try:
            cli.main()
        except SystemExit as left:
            sys.stdout.flush()
            return int(left.code or 0)
        return 98


def _undrawn() -> None:
    from dnnlab import pictures

    pictures.draw = lambda parts, records: {}


def wait(pid: int, patience: float = 120.0) -> int:
    """The exit code of a child; 128 + the signal that killed it; HUNG where it did not end in `patience` seconds."""
    until = time.monotonic() + patience
    while not (found := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return HUNG
        time.sleep(0.001)
    status = found[1]
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def apart(work: Callable[[], Any], told: Path) -> int:
    """Start a process that does some work and leaves what came of it as JSON; -> its number. Threads that it starts are its own."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        told.write_text(json.dumps(work()), encoding="utf-8")
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def said_by(folder: Path) -> str:
    """What the children of a run said, so far."""
    path = folder.parent / f"{folder.name}.txt"
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


@contextmanager
def place(seed: int, root: Path | None = None, *, keep: bool = False) -> Iterator[Place]:
    """A new folder with a small table, which goes again unless `keep`."""
    made = Path(tempfile.mkdtemp(prefix="torture-", dir=root))
    write_rows(made / "rows.csv")
    warm_up()
    try:
        yield Place(made, Random(seed))
    finally:
        if not keep:
            shutil.rmtree(made, ignore_errors=True)


def write_rows(path: Path, count: int = 120) -> None:
    """A table with numbers, gaps, words and a label."""
    draw = Random(5)
    lines = ["size,town,age,label"]
    for _ in range(count):
        label = draw.choice(("no", "yes"))
        size = "" if draw.random() < 0.05 else f"{draw.gauss(0, 1) + (label == 'yes'):.4f}"
        lines.append(f"{size},{draw.choice(('Ulm', 'Bonn', 'Köln'))},{draw.randint(18, 90)},{label}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@dataclass
class Tally:
    """What a torture came to."""

    count: int = 0
    good: int = 0
    failures: list[str] = field(default_factory=list)

    def fail(self, what: str) -> None:
        """Note a broken law, at once."""
        self.failures.append(what)
        print(f"BROKEN: {what}", flush=True)
