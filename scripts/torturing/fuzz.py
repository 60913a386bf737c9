"""Hostile run folders are opened: nothing is executed, nothing outside is touched, nothing hangs, nothing ends in a traceback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
from collections import Counter
from functools import partial
from math import inf
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import polars as pl

from dnnlab.errors import DnnlabError
from dnnlab.predictor import load
from dnnlab.verify import verify
from torturing.common import Place, Tally, apart, wait
from torturing.hostile import mutate

PATIENCE = 10  # seconds
EXECUTES = (
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "subprocess.Popen", "pty.spawn", "socket.connect",
    "socket.bind", "pickle.find_class", "ctypes.dlopen", "marshal.loads",
)  # fmt: skip
WRITES = (
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate", "os.utime",
    "shutil.rmtree", "shutil.move", "shutil.copyfile",
)  # fmt: skip
MAY_READ = (
    sys.prefix,
    sys.base_prefix,
    "/proc/meminfo",
    "/sys/fs/cgroup",
    "/proc/self",
    "/dev/null",
    str(Path(__file__).parents[2] / "src"),
)
FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Hook:
    """An audit hook: what a process does while a folder is opened."""

    def __init__(self) -> None:
        self.folder: Path | None = None  # while it watches
        self.known: set[str] = set()
        self.executed: list[str] = []
        self.outside: list[str] = []

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event in EXECUTES or (event == "import" and str(args[0]).partition(".")[0] not in self.known):
            self.executed.append(f"{event} {args[:1]!r}")
        elif event in WRITES:
            self.outside.append(f"{event} {args[:1]!r}")
        elif event == "open" and isinstance(args[0], str | bytes):
            self._opened(os.fsdecode(args[0]), args[2])

    def _opened(self, name: str, flags: Any) -> None:
        place = os.path.abspath(name)  # noqa: PTH100 - a link is not followed
        if isinstance(flags, int) and flags & FLAGS:
            self.outside.append(f"open {place} for writing")
        elif not place.startswith((str(self.folder), *MAY_READ)):
            self.outside.append(f"open {place}")


class Hung(BaseException):
    """Ten seconds went by."""


def fuzz(place: Place, count: int, workers: int) -> tuple[Counter[str], Tally]:
    """`count` folders, shared by some processes; -> what became of them."""
    folder = place.root / "sound"
    if wait(place.begin(3, folder, "logger.tensorboard=false", "trainer.epochs=2")) != 0:
        raise RuntimeError("the run failed")
    (place.root / "evil.py").write_text("import os\nos.system('touch executed')\nclass Net: ...\n", encoding="utf-8")
    children = []
    for number in range(workers):
        share, seed = count // workers + (number < count % workers), place.random.getrandbits(32)
        children.append(apart(partial(_work, place, number, share, seed), place.root / f"told{number}.json"))
    tally, ends = Tally(), Counter[str]()
    for number, pid in enumerate(children):
        if wait(pid, inf) != 0:
            tally.fail(f"worker {number} died")
            continue
        told = json.loads((place.root / f"told{number}.json").read_text(encoding="utf-8"))
        ends.update(told["ends"])
        for broken in told["broken"]:
            tally.fail(broken)
    tally.count = sum(ends.values())
    return ends, tally


def _work(place: Place, number: int, count: int, seed: int) -> dict[str, Any]:
    """One worker's share."""
    os.chdir(place.root)
    sys.path.append(str(place.root))  # where evil.py lies: whoever imports by name will find it
    random, hook, ends, broken = Random(seed), Hook(), Counter[str](), list[str]()
    rows = pl.read_csv("rows.csv").head(8)
    if place.broken is not None:
        place.broken()
    for _ in range(2):
        probe(place.root / "sound", rows)  # whatever is imported late is imported now
    hook.known = {name.partition(".")[0] for name in sys.modules}
    sys.addaudithook(hook)
    signal.signal(signal.SIGALRM, _hung)
    for case in range(count):
        home = place.root / f"worker{number}"
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(place.root / "sound", home / "run")
        name = f"seed {seed}, folder {case}, {mutate(home / 'run', random)}"
        ends[_end(home / "run", rows, hook, name, broken)] += 1
    return {"ends": ends, "broken": broken}


def _end(folder: Path, rows: pl.DataFrame, hook: Hook, name: str, broken: list[str]) -> str:
    """What becomes of one folder: refused, or answered."""
    hook.executed, hook.outside, hook.folder = [], [], folder
    signal.alarm(PATIENCE)
    try:
        end = probe(folder, rows)
    except Hung:
        end = "hung"
    except BaseException as error:
        hook.folder = None
        end = f"traceback: {type(error).__name__}"
        name += "\n" + "".join(traceback.format_exception(error)[-3:])
    finally:
        signal.alarm(0)
        hook.folder = None
    if end.startswith(("hung", "traceback")):
        broken.append(f"{end}: {name}")
    if hook.executed or Path("executed").exists():
        broken.append(f"executed: {name}: {hook.executed[:3]}")
        Path("executed").unlink(missing_ok=True)
    if hook.outside:
        broken.append(f"outside: {name}: {hook.outside[:3]}")
    return end


def probe(folder: Path, rows: pl.DataFrame) -> str:
    """Do with a folder what `dnnlab predict` and `dnnlab verify --files-only` do."""
    try:
        load(folder).predict(rows, proba=True)
        end = "answered"
    except DnnlabError as error:
        end = f"refused, exit code {error.exit_code}"
    for fallback in (False, True):
        try:
            verify(folder, files_only=True, fallback=fallback)
        except DnnlabError as error:
            end = f"refused, exit code {error.exit_code}" if end == "answered" else end
    return end


def _hung(number: int, frame: FrameType | None) -> None:
    raise Hung
