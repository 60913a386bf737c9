"""What a system refuses while a run goes on: disks, handles, folders, terminals. Nothing that was finished is lost."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dnnlab import files
from dnnlab.app import resume, train
from dnnlab.checkpoints import Checkpoints
from dnnlab.config.request import Request
from dnnlab.errors import ConfigError, ResourceError
from dnnlab.files import naming, sync_folder
from dnnlab.loggers.console import Output, Terminal
from dnnlab.resume import Order
from dnnlab.runfolder import RunFolder, has_begun
from dnnlab.tally import Tally
from tests.support import identity, settings

pytestmark = pytest.mark.usefixtures("quick_runs")
ROOT = Path(__file__).parents[1]
SHORT = {"logger": {"progress": False, "tensorboard": False}, "trainer.epochs": 2, "trainer.checkpoint_every": "3steps"}


def request(folder: Path, changes: dict[str, Any] | None = None) -> Request:
    config = settings({**SHORT, **(changes or {})})
    return Request(config, "name: test\n", config.model_dump(mode="json"), folder=folder, brief=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The identity of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(request(folder))
    return identity(folder)


class Refusing:
    """A call of the system's that is refused once, the n-th time; n = 0: never."""

    def __init__(self, call: Callable[..., Any], number: int, code: int) -> None:
        self.call, self.left, self.code, self.count = call, number, code, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.count += 1
        self.left -= 1
        if self.left == 0:
            raise OSError(self.code, os.strerror(self.code))
        return self.call(*args, **kwargs)


def finish(folder: Path) -> dict[str, Any]:
    """Go on, or begin again where nothing had begun; -> the identity of the run."""
    if has_begun(folder):
        resume(Order(folder, brief=True))
    else:
        shutil.rmtree(folder, ignore_errors=True)
        train(request(folder))
    return identity(folder)


@pytest.mark.slow
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_t08_a_disk_that_refuses_once_at_any_moment_loses_nothing(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, Any]
) -> None:
    """ENOSPC, EDQUOT, EIO in turn: exit code 5 with a path, no temporary file left, and the run goes on from what it had."""
    place, name = (os, "fsync") if call == "fsync" else (Path, "replace")
    real = getattr(place, name)
    counted = Refusing(real, 0, 0)
    with monkeypatch.context() as patch:
        patch.setattr(place, name, lambda *args, **kwargs: counted(*args, **kwargs))
        train(request(tmp_path / "counted"))
    assert counted.count > 20
    for number in range(1, counted.count + 1):
        code = (errno.ENOSPC, errno.EDQUOT, errno.EIO)[number % 3]
        folder, refusing = tmp_path / str(number), Refusing(real, number, code)
        with monkeypatch.context() as patch:
            patch.setattr(place, name, lambda *args, refusing=refusing, **kwargs: refusing(*args, **kwargs))
            with pytest.raises(ResourceError, match=os.strerror(code)) as caught:
                train(request(folder))
        assert str(tmp_path) in caught.value.where
        assert list(folder.rglob("*.tmp")) == []
        assert finish(folder) == whole, number


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the names of open files are not told here")
def test_t03_nothing_gets_its_name_before_the_disk_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Power may be lost at any instant: file, rename, folder, in this order; and a checkpoint is complete before an older one goes."""
    told: list[tuple[str, str]] = []
    sync, replace, unlink = os.fsync, Path.replace, Path.unlink

    def syncing(handle: int) -> None:
        told.append(("sync", str(Path(f"/proc/self/fd/{handle}").readlink())))
        sync(handle)

    def replacing(path: Path, target: Path) -> Path:
        assert path.parent == target.parent, "a rename across folders may be one across file systems"
        assert ("sync", str(path)) in told, f"{path.name} was renamed before it was on the disk"
        told.append(("rename", str(target)))
        return replace(path, target)

    def unlinking(path: Path, missing_ok: bool = False) -> None:
        if path.name == "checkpoint.json" and path.exists():
            newer = [generation.name for generation in RunFolder.open(tmp_path / "run").generations() if generation.name > path.parent.name]
            assert len(newer) == 2, "two whole ones stay"
        unlink(path, missing_ok)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(Path, "replace", replacing)
    monkeypatch.setattr(Path, "unlink", unlinking)
    train(request(tmp_path / "run"))
    renames = [place for place, (what, _) in enumerate(told) if what == "rename"]
    assert len(renames) > 20
    for place in renames:
        assert told[place + 1] == ("sync", str(Path(told[place][1]).parent)), "the folder's names follow at once"


def test_t09_handles_that_run_out_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "write_new", Refusing(files.write_new, 1, errno.EMFILE))
    with pytest.raises(ResourceError, match="Too many open files"):
        train(request(tmp_path / "run"))


def after_the_first(act: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do something to a run's folder once its first checkpoint is written."""
    write, done = Checkpoints.write, []

    def then(self: Checkpoints, tally: Tally) -> None:
        write(self, tally)
        if not done:
            done.append(act(self.folder.path))

    monkeypatch.setattr(Checkpoints, "write", then)


@pytest.mark.parametrize("gone", ["", "metrics.jsonl", "checkpoints"])
def test_t10_what_is_removed_while_a_run_goes_on_is_missed(gone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def remove(folder: Path) -> None:
        (folder / "metrics.jsonl").unlink() if gone == "metrics.jsonl" else shutil.rmtree(folder / gone)

    after_the_first(remove, monkeypatch)
    if gone == "checkpoints":  # made anew
        train(request(tmp_path / "run"))
        return
    with pytest.raises(ResourceError) as caught:
        train(request(tmp_path / "run", {"trainer.checkpoint_every": "7steps"}))
    assert caught.value.exit_code == 5
    assert str(tmp_path / "run") in caught.value.where


def test_t08_a_log_that_cannot_be_written_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dnnlab import runlog

    def full(self: Any, record: Any) -> None:
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            self.handleError(record)

    monkeypatch.setattr(runlog._File, "emit", full)
    with pytest.raises(ResourceError, match="No space left on device") as caught:
        train(request(tmp_path / "run"))
    assert caught.value.where.endswith("train.log")


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_t35_a_file_system_that_keeps_no_folders_is_no_failure(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", Refusing(os.fsync, 1, code))
    sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", Refusing(os.fsync, 1, errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        sync_folder(tmp_path)


@pytest.mark.parametrize("folder", ["a" * 300, "/".join(["b" * 100] * 60)])
def test_t36_a_path_that_no_file_system_takes_is_a_wrong_setting(folder: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it is too long"):
        train(request(tmp_path / folder))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["-rf", "größe 😀", "a'b\"c $HOME"])
def test_t36_an_odd_name_is_a_name(folder: str, tmp_path: Path) -> None:
    train(request(tmp_path / folder))
    assert RunFolder.open(tmp_path / folder).read_run()["status"] == "finished"


def test_t28_the_clock_may_jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, Any]) -> None:
    """A year back and forth: order is by step, lengths of time come from another clock."""
    import time

    jumps = iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: 1.7e9 + (-1) ** next(jumps) * 3.15e7)
    train(request(tmp_path / "run"))
    assert identity(tmp_path / "run") == whole
    assert 0 <= RunFolder.open(tmp_path / "run").read_run()["seconds"] < 600


@pytest.mark.parametrize("code", [errno.EPIPE, errno.EIO, errno.EBADF])
def test_t06_a_terminal_that_is_gone_is_spoken_to_no_longer(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        closed = False

        def write(self, text: str) -> int:
            raise OSError(code, os.strerror(code))

        def isatty(self) -> bool:
            return False

        def fileno(self) -> int:
            return os.open(os.devnull, os.O_WRONLY)

    monkeypatch.setattr(sys, "stdout", Gone())
    terminal = Terminal(file=Output())  # type: ignore[arg-type]
    terminal.print("a word")
    assert terminal.quiet
    monkeypatch.setattr(sys, "stdout", None)
    Terminal(file=Output()).print("another")  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("output", "code", "said"),
    [
        ("| head -c 1", 0, ""),
        (">&-", 0, ""),
        ("> /dev/full", 5, "must be writable, however: No space left on device - standard output - Free some space"),
    ],
)
def test_t06_standard_output_may_be_lost(output: str, code: int, said: str, tmp_path: Path) -> None:
    train = f"'{sys.executable}' '{ROOT}/train.py' data=and model=perceptron trainer.epochs=1 logger.tensorboard=false"
    line = f"{train} hydra.run.dir=run {output}; exit ${{PIPESTATUS[0]}}"
    told = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == code, told.stderr
    assert "Traceback" not in told.stderr
    assert said in told.stderr
    assert (said != "") or told.stderr == ""
    assert has_begun(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("signals", [1, 2])
def test_t05_a_terminal_is_left_clean(signals: int, tmp_path: Path) -> None:
    """Ctrl-C, once and twice: exit code 130, and the cursor that the live line hides is shown again."""
    pty = pytest.importorskip("pty")
    words = [sys.executable, f"{ROOT}/train.py", "data=moons", "trainer.epochs=1000000", "logger.tensorboard=false", "hydra.run.dir=run"]
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(tmp_path)
        os.execv(sys.executable, words)
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            piece = b""
        if not piece:
            break
        begun = b"/1000000" in shown  # the live line tells of an epoch
        shown += piece
        if b"/1000000" in shown and not begun:
            for _ in range(signals):
                os.kill(process, signal.SIGINT)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 130, shown[-2000:]
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
    assert (b"dnnlab resume run" in shown) or signals == 2


def test_naming_tells_what_a_full_disk_needs() -> None:
    with pytest.raises(ResourceError, match=r"\(12 bytes needed\) - a - Free some space$") as caught, naming(Path("a"), 12):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
    assert caught.value.exit_code == 5
