"""The pages that people read, README.md and docs/*.md: their code blocks as commands, and a way to run these quickly.

In a ```console block, lines that begin with "$ " are commands (a backslash at the end continues them) and the lines below are what they
print; in a ```bash block every line is a command. A ```yaml block below a line such as "`mine/local/default.yaml`:" is that file.
A ```python block is run as it stands. Whatever else is fenced is only shown. The tables, pictures and arrays that commands name lie there
already, small ones with random rows (tests/tables.py).
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from dnnlab import cli, pictures
from dnnlab.errors import DnnlabError
from dnnlab.loggers.console import terminal
from dnnlab.tables import openml
from tests import tables

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CONFIGS = ROOT / "configs"
PAGES = (README, *sorted((ROOT / "docs").glob("*.md")))

EXIT_CODES = {error.kind: error.exit_code for error in DnnlabError.__subclasses__()}

Answer = tuple[int, str]  # exit code, what was printed


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    place: str  # docs/data.md:12
    language: str
    text: str
    file: str = ""  # the file that the block is, if it is one

    def commands(self) -> Iterator[tuple[str, list[str]]]:
        """Each command with the lines that it is said to print."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "bash":
            yield from ((line, []) for line in lines if line.strip() and not line.startswith("#"))
            return
        found: list[tuple[str, list[str]]] = []
        for line in lines:
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif found:
                found[-1][1].append(line)
        yield from found


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found: list[Block] = []
    said, start, inside = "", 0, list[str]()
    language: str | None = None
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip().startswith("```"):
            if language is None:
                language, start, inside = line.strip()[3:].strip(), number, []
            else:
                named = re.fullmatch(r"`([\w./-]+\.yaml)`.*:", said)
                place = f"{page.relative_to(ROOT)}:{start}"
                found.append(Block(place, language, "\n".join(inside), named[1] if named and language == "yaml" else ""))
                language = None
                said = ""
        elif language is not None:
            inside.append(line)
        elif line.strip():
            said = line.strip()
    assert language is None, f"{page.name}: the block of line {start} is not closed"
    return found


def follow(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Do what a page says in a folder with small stand-ins for its data, from top to bottom: -> where it went otherwise."""
    monkeypatch.chdir(folder)
    tables.lay_out(folder)
    monkeypatch.setattr(openml, "fetch", tables.fetched)
    monkeypatch.setattr(pictures, "draw", lambda parts, records: {})  # slow, and tested elsewhere
    wrong: list[str] = []
    for block in blocks(page):
        if block.file:
            path = Path(block.file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text + "\n", encoding="utf-8")
        elif block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(block.text, block.place, "exec"), {"__name__": "__main__"})
        elif block.language in ("console", "bash"):
            for command, shown in block.commands():
                exact = EXACT if page != README else EXACT[:1]  # the README looks at the real census, not at its stand-in
                wrong += [f"{block.place}: $ {command}\n{fault}" for fault in faults(command, shown, monkeypatch, exact)]
    return wrong


EXACT = ("dnnlab explain", "dnnlab check")


def faults(command: str, shown: list[str], monkeypatch: pytest.MonkeyPatch, exact: tuple[str, ...] = EXACT) -> list[str]:
    """What a command did otherwise than its page says: errors, and answers to what begins with one of `exact`, must be told word for
    word, up to "…"."""
    kinds = [found[1] for line in shown if (found := re.match(r"dnnlab: error\[(\w+)\]", line))]
    answer = run(command, monkeypatch, whole=bool(kinds))
    if answer is None:
        return []
    code, printed = answer
    expected = EXIT_CODES[kinds[-1]] if kinds else 0
    checked = bool(kinds) or command.startswith(exact)
    missing = [line for line in shown if checked and line.strip() and line.partition("…")[0] not in printed]
    return [
        *([f"left with {code}, not {expected}:\n{printed}"] if code != expected else []),
        *(f"did not print {line!r}, but:\n{printed}" for line in missing),
    ]


# What is not run as it stands, and how it is looked at instead. The first word (or two) of the command decides.

Check = Callable[[list[str]], None]


def _made(words: list[str]) -> None:
    """make: its recipes are printed, not run; they install packages or take minutes."""
    for target in words[1:]:
        subprocess.run(["make", "--dry-run", "VENV=somewhere", target], cwd=ROOT, capture_output=True, check=True)


def _installed(words: list[str]) -> None:
    """pip install and venv need a network: what they name must exist, and the tested versions be asked for."""
    if words[:4] == ["python", "-m", "venv", ".venv"] and len(words) == 4:
        return
    assert words[-2:] == ["-c", "constraints.txt"], "the README installs the tested versions"
    assert (ROOT / "constraints.txt").is_file()
    assert {word.strip(".") for word in words[2:-2]} <= {"-e", "", "[dev]"}


def _fetched(words: list[str]) -> None:
    """git clone needs a network, and cd goes where it went."""
    assert words[0] in ("git", "cd")
    assert words[-1].removesuffix(".git").rsplit("/", 1)[-1] == "dnnlab"


def _activated(words: list[str]) -> None:
    """The environment of the tests is active already."""
    assert words == [".", ".venv/bin/activate"]


def _watched(words: list[str]) -> None:
    """tensorboard serves until it is stopped: it must be installed, and pointed to where runs go."""
    assert shutil.which("tensorboard", path=str(Path(sys.executable).parent)) or shutil.which("tensorboard")
    assert words[1] == "--logdir"
    assert words[2].split("/")[0] == "outputs"


def _measured(words: list[str]) -> None:
    """Benchmarks take minutes: the program must know the options."""
    text = (ROOT / words[1]).read_text(encoding="utf-8")
    for word in words[2:]:
        assert not word.startswith("--") or f'"{word}"' in text, word


def _evaluated(words: list[str]) -> None:
    """eval "$(command)": the command is run, and must print a script."""
    inner = re.fullmatch(r"\$\((.*)\)", words[1])
    assert inner is not None
    code, printed = door(shlex.split(inner[1]))
    assert code == 0
    assert "complete" in printed


ELSEWHERE: dict[str, Check] = {
    "make": _made,
    "python -m": _installed,
    "pip install": _installed,
    "git clone": _fetched,
    "cd": _fetched,
    ".": _activated,
    "tensorboard": _watched,
    "python scripts/bench_step.py": _measured,
    "python scripts/bench_data.py": _measured,
    "python scripts/bench_checkpoints.py": _measured,
    "python scripts/bench_sweep.py": _measured,
    "python scripts/torture.py": _measured,
    "eval": _evaluated,
}


def run(command: str, monkeypatch: pytest.MonkeyPatch, *, whole: bool = False) -> Answer | None:
    """Run a command of a page in this process and the current folder, shortened unless `whole`; None where it was looked at otherwise."""
    words = shlex.split(command, comments=True)
    for name in (" ".join(words[:2]), words[0]):
        if name in ELSEWHERE:
            ELSEWHERE[name](words)
            return None
    with monkeypatch.context() as patch:
        patch.setenv("DNNLAB_TRUST", "")  # what --trust leaves behind is undone with it
        patch.setenv("COLUMNS", "100")
        while match := re.fullmatch(r"([A-Z_]+)=(.*)", words[0]):
            words = words[1:]
            if match[1] == "PYTHONPATH":
                patch.syspath_prepend(_path(match[2]))
            else:
                patch.setenv(match[1], match[2])
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            monkeypatch.setenv(name, value)
            return None
        piped = b""
        if words[0] == "cat" and words[2:3] == ["|"]:
            piped, words = Path(words[1]).read_bytes(), words[3:]
        words = [_path(word) for word in words]
        before = set(sys.modules)
        try:
            return door(words if whole else shortened(words), piped)
        finally:
            for name in set(sys.modules) - before:  # a new process would not know a user's own module either
                if str(getattr(sys.modules[name], "__file__", None)).startswith(str(ROOT / "examples")):
                    del sys.modules[name]


def door(words: list[str], piped: bytes = b"") -> Answer:
    """`python train.py …` or `dnnlab …`, as a shell would run them; piped: what stands at the standard input."""
    program, words = ("train.py", words[2:]) if words[:2] == ["python", "train.py"] else (words[0], words[1:])
    assert program in ("train.py", "dnnlab"), f"no command that the tests know: {program}"
    printed, before = io.StringIO(), (sys.argv, sys.stdin)
    sys.argv, sys.stdin = [program, *words], io.TextIOWrapper(io.BytesIO(piped))
    terminal.cache_clear()  # another process would ask for the width of its own terminal
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            (cli.train if program == "train.py" else cli.main)()
    except SystemExit as left:
        return int(left.code or 0), printed.getvalue().replace(f"{ROOT}{os.sep}", "")
    finally:
        sys.argv, sys.stdin = before
        terminal.cache_clear()
    raise AssertionError("the door leaves with an exit code")


SHOWING = ("--cfg", "-c", "--help", "-h", "--info", "-i", "--version", "-sc", "--hydra-help")


def shortened(words: list[str]) -> list[str]:
    """The same command with little to do: it is not what is learned that counts here."""
    trains = words[:2] == ["python", "train.py"] or words[:2] == ["dnnlab", "train"]
    if not trains or any(word in SHOWING for word in words):
        return words
    if any(word.startswith("lr_find") for word in words):
        return [*words, "lr_range.steps=20"]
    once = ["seed=0"] if any(word.startswith("seed=range") for word in words) else []
    several = any("," in re.sub(r"\[[^]]*\]", "", word) or "range(" in word for word in words)
    if any(word.startswith("experiment=") for word in words) and not several and not any("hydra.mode" in word for word in words):
        once.append("hydra.mode=RUN")  # some presets sweep by themselves; tests/test_experiments.py lets them
    return [*words, "trainer.epochs=2", *once]


def _path(word: str) -> str:
    """data.root=FOLDER stands for a folder with the files of every preset; --config-dir examples/… for that of the checkout."""
    if word == "data.root=FOLDER":
        return f"data.root={preset_files(Path('files'))}"
    return str(ROOT / word) if word.startswith("examples/") else word


def preset_files(folder: Path) -> Path:
    """What presets and choices with data.root=FOLDER read: four IDX files, and tables."""
    if not folder.is_dir():
        idx_files(folder)
        tables.experiment_files(folder)
    return folder


def idx_files(folder: Path) -> Path:
    """Four small files of MNIST's format."""
    folder.mkdir(exist_ok=True)
    draw = np.random.default_rng(0)
    for name, rows in (("train", 60), ("t10k", 20)):
        images = draw.integers(0, 256, (rows, 28, 28), dtype=np.uint8)
        labels = (np.arange(rows) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (folder / f"{name}-{kind}-ubyte").write_bytes(header + array.tobytes())
    return folder
