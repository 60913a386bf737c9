"""The pages tell the truth: their commands run, their tables are the settings, their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dnnlab.config.schema import REQUIRED, all_keys, groups, lookup, variants
from tests.pages import CONFIGS, EXIT_CODES, PAGES, README, ROOT, blocks, follow

DOCS = [page for page in PAGES if page != README]
LANGUAGES = {"console", "bash", "python", "yaml", "text", "json", ""}


@pytest.mark.slow
@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = follow(page, tmp_path, monkeypatch)
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_have_a_language_that_the_tests_know(page: Path) -> None:
    assert {block.language for block in blocks(page)} <= LANGUAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text)]
    assert [target for target in targets if target and not (page.parent / target).exists()] == []


# --- tables of settings


def rows(page: Path, head: str = "") -> list[list[str]]:
    """The cells of every row of every table, or of those whose first row begins with `head`."""
    found: list[list[str]] = []
    title = ""
    for line in page.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            title = ""
        elif not title:
            title = line
        elif not line.startswith("|---") and title.startswith(head):
            found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


SETTINGS = "| setting | default | meaning |"
FILES = {"metrics.jsonl", "metrics.csv"}  # called like settings


def spans(cell: str) -> dict[str, Any]:
    """The settings in a cell: `lr=0.1` `betas=[0.9,0.999]`."""
    return {found[1]: yaml.safe_load(found[2]) for found in re.finditer(r"`([a-z_.0-9]+)=([^`]*)`", cell)}


PAGES_OF = {
    "data": ("data", "tables"),
    "model": ("models",),
    "embedding": ("embeddings",),
    "activation": ("activations",),
    "initialization": ("initialization",),
    "loss": ("losses",),
    "optimizer": ("optimizers",),
    "scheduler": ("schedules",),
}
OPTIONS = [(group, path.stem) for group in PAGES_OF for path in sorted((CONFIGS / group).glob("*.yaml"))]


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=[f"{group}={option}" for group, option in OPTIONS])
def test_every_choice_has_a_row_with_its_settings(group: str, option: str) -> None:
    pages = [ROOT / "docs" / f"{name}.md" for name in PAGES_OF[group]]
    found = [row for row in rows(pages[0]) if row[0] == f"`{option}`" and len(row) >= 3]
    assert found, f"{pages[0].name} has no row for {group}={option}"
    told = spans(found[0][1])
    settings = yaml.safe_load((CONFIGS / group / f"{option}.yaml").read_text(encoding="utf-8"))
    known = {name: value for name, value in settings.items() if name != "kind"}
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    assert {name: value for name, value in told.items() if known.get(name, "none such") != _number(value, known.get(name))} == {}
    untold = [name for name, value in known.items() if name not in told and f"`{group}.{name}`" not in text]
    assert untold == []
    common = {row[0].strip("`"): row[1].strip("`") for page in pages for row in rows(page, SETTINGS)}
    for name, value in known.items():  # what the row leaves to the table of all must be so
        if name not in told and f"{group}.{name}" in common:
            assert value == yaml.safe_load(common[f"{group}.{name}"]), name


def _number(value: Any, like: Any) -> Any:
    """YAML reads 1e-8 as text, and whole numbers as such."""
    return float(value) if isinstance(like, float) and isinstance(value, str | int) else value


PLAIN = [group for group in groups() if not variants(group)]


def test_every_plain_setting_has_a_row_with_its_default() -> None:
    told = {row[0].strip("`"): row[1].strip("`") for page in DOCS for row in rows(page, SETTINGS)}
    keys = [key for key in all_keys() if key.split(".")[0] not in PAGES_OF]
    for key in keys:
        fact = lookup(key, {})
        assert fact is not None
        if fact.group is not None:
            continue
        assert key in told, f"no row for {key}"
        if fact.default != REQUIRED:
            assert yaml.safe_load(told[key]) == yaml.safe_load(str(fact.example)), key


def test_rows_of_settings_name_settings_that_exist() -> None:
    known = set(all_keys())
    assert {row[0].strip("`") for page in DOCS for row in rows(page, SETTINGS)} <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_settings_that_are_mentioned_exist(page: Path) -> None:
    known = set(all_keys())
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    mentioned = {found[1] for found in re.finditer(r"`((?:" + "|".join(groups()) + r")\.[a-z_0-9.]+)[`=]", prose)}
    assert mentioned - known - FILES == set()


@pytest.mark.parametrize("option", sorted(path.stem for path in (CONFIGS / "regularization").glob("*.yaml")))
def test_what_an_option_of_regularization_sets_is_told(option: str) -> None:
    row = next(row for row in rows(ROOT / "docs" / "regularization.md") if row[0] == f"`{option}`")
    none, settings = (flat(yaml.safe_load((CONFIGS / "regularization" / f"{name}.yaml").read_text())) for name in ("none", option))
    changed = {name: value for name, value in settings.items() if value != none[name]}
    assert {name: _number(value, changed.get(name)) for name, value in spans(row[1]).items()} == changed


def flat(settings: dict[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found


FOLDERS = sorted(path.name for path in CONFIGS.iterdir() if path.is_dir() and path.name not in ("local", "__pycache__"))


@pytest.mark.parametrize("group", FOLDERS)
def test_every_option_is_mentioned(group: str) -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    options = [path.stem for path in (CONFIGS / group).glob("*.yaml") if path.stem != "default"]
    assert [option for option in options if f"`{option}`" not in text and f"{group}={option}" not in text] == []


def test_every_setting_is_explained() -> None:
    kinds = [{group: kind} for group in groups() for kind in variants(group) or ("",)]
    for key in all_keys():
        facts = [fact for chosen in kinds if (fact := lookup(key, chosen)) is not None]
        assert facts, key
        assert all(fact.doc and fact.words for fact in facts), key


def test_every_kind_of_error_stands_in_the_table_of_exit_codes() -> None:
    told = {row[1].strip("`"): int(row[0]) for row in rows(ROOT / "docs" / "errors.md") if row[0].isdigit() and row[1]}
    assert told == EXIT_CODES
