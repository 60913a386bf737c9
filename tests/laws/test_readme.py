"""Law 10: the README runs. Its commands are executed, its tree and its tables are the repository's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dnnlab.config.metrics import MetricKind
from tests.pages import CONFIGS, EXIT_CODES, README, ROOT, door, follow

TEXT = README.read_text(encoding="utf-8")
PACKAGE = ROOT / "src" / "dnnlab"


@pytest.mark.slow
def test_the_commands_of_the_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = follow(README, tmp_path, monkeypatch)
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.slow
def test_the_first_command_reaches_what_the_readme_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, printed = door(["python", "train.py", "model=mlp", "optimizer=adam"])
    assert code == 0
    said = TEXT.partition("## Five minutes")[2]
    shown, reached = (
        float(re.findall(r"^accuracy .* (\S+)", text, flags=re.MULTILINE)[0]) for text in (said, printed.replace(" \n", "\n"))
    )
    assert reached > 0.97
    assert reached == pytest.approx(shown, abs=0.01)  # another processor rounds otherwise


def test_the_readme_and_continuous_integration_test_alike() -> None:
    command = "make test"
    assert f"\n$ {command}\n" in TEXT
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.search(r"^test:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


def tree() -> list[str]:
    """The names in the README's tree, each with its folder."""
    block = TEXT.partition("## The tree")[2].partition("```text\n")[2].partition("```")[0]
    names: list[str] = []
    folder = ""
    for line in block.splitlines():
        name = line.split()[0]
        if name == "--":  # a floor
            continue
        assert len(line) > 32, f"{name} needs a sentence"
        if not line.startswith(" "):
            folder = name if name.endswith("/") else ""
            names.append(name)
        else:
            names.append(folder + name)
    return names


def test_the_tree_names_every_file_and_nothing_else() -> None:
    named = tree()
    assert len(set(named)) == len(named)
    assert [name for name in named if not (ROOT / name).exists()] == []
    code = {f"src/dnnlab/{path.relative_to(PACKAGE).as_posix()}" for path in PACKAGE.rglob("*.py")}
    scripts = {f"scripts/{path.name}" for path in (ROOT / "scripts").glob("*.py")}
    own = {"local", "__pycache__"}
    groups = {f"configs/{path.name}/" for path in CONFIGS.iterdir() if path.is_dir() and path.name not in own}
    assert (code | scripts | groups) - set(named) == set()


def test_every_law_stands_in_the_table() -> None:
    told = set(re.findall(r"\| `(test_\w+\.py)` \|", TEXT))
    assert told == {path.name for path in (ROOT / "tests" / "laws").glob("test_*.py")}


GROUPS = ["data", "model", "embedding", "activation", "initialization", "loss", "optimizer", "scheduler", "regularization", "experiment"]


@pytest.mark.parametrize("group", GROUPS)
def test_the_menu_names_every_choice(group: str) -> None:
    menu = TEXT.partition("## The menu")[2].partition("\n## ")[0]
    options = {path.stem for path in (CONFIGS / group).glob("*.yaml")}
    assert {option for option in options if f"`{option}`" not in menu} == set()


def test_the_menu_names_every_figure() -> None:
    menu = TEXT.partition("## The menu")[2].partition("\n## ")[0]
    assert [name for name in MetricKind.__args__ if name not in menu] == []


def test_the_exit_codes_are_the_errors() -> None:
    block = TEXT.partition("## Exit codes")[2].partition("[Errors]")[0]
    told = {int(code) for code in re.findall(r"(?:^|·\s)(\d+) ", block, flags=re.MULTILINE)}
    assert told == {0, 1, 129, 130, 143, *EXIT_CODES.values()}
