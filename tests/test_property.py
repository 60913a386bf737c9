"""Whatever a table holds: it is trained on, answered and judged, or refused in one line; never a traceback."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from dnnlab import pictures
from tests.pages import door

NAMES = ["x", "a b", "größe", "q\"uote", "it's", "new\nline", "com,ma", "=x", "-1", "\x1b[31mred", "tab\there", "日本", "*", "a.b", "null",
         "prediction", "target", "semi;colon", "${x}", "50%", "\u202ertl", "x is missing", "probability_a", "7", "true", "_"]  # fmt: skip
LEVELS = ["a", "b", "=c", "\x1b[31mred", "com,ma", 'q"uote', "new\nline", "grün", "NA", "-", "0x1", "1", "x" * 90, " padded", "'", "\\"]
QUICK = ("trainer.epochs=2", "threads=1", "logger.tensorboard=false", "logger.progress=false", "model.hidden=[3]", "activation=tanh")


@dataclass(frozen=True)
class Case:
    """A table, and what is said of it."""

    columns: dict[str, list[Any]]
    kinds: dict[str, str]  # by name: what was drawn
    target: str
    parquet: bool
    words: tuple[str, ...]


def _makers(draw: random.Random, rows: int) -> dict[str, Callable[[int], Any]]:
    """What makes the cell of a row, by the kind of column; None is a missing one."""
    return {
        "whole": lambda row: draw.randint(-50, 50),
        "long": lambda row: 2**53 + draw.randint(-3, 3),
        "numbers": lambda row: draw.gauss(0, 100),
        "holes": lambda row: None if draw.random() < 0.2 else draw.gauss(0, 1),
        "huge": lambda row: draw.choice([1e300, -1e300, 1e-300, 0.0, 5.0, 1e15, 3e38]),
        "tiny": lambda row: draw.uniform(-1e-30, 1e-30),
        "steps": lambda row: draw.randint(0, 3),
        "few": lambda row: draw.choice(LEVELS[:4]),
        "many": lambda row: draw.choice(LEVELS),
        "gaps": lambda row: None if draw.random() < 0.2 else draw.choice(LEVELS[:4]),
        "rare": lambda row: "once" if row == rows // 2 else "often",
        "names": lambda row: f"name {row}",
        "boolean": lambda row: draw.random() < 0.5,
        "date": lambda row: str(date.fromordinal(draw.randint(1, 3_000_000))),
        "constant": lambda row: 7,
        "empty": lambda row: None,
        "mixed": lambda row: draw.choice(["1", "2.5", "abc", "1,5", ""]),
    }


COMMON = ("whole", "numbers", "holes", "steps", "few", "many", "gaps", "boolean", "date")
INPUTS = (*COMMON, *COMMON, "huge", "tiny", "rare", "names", "constant", "empty", "mixed", "long")
TARGETS = ("whole", "numbers", "steps", "few", "boolean", "whole", "numbers", "steps", "few", "boolean", "huge", "rare", "holes", "gaps")
CHOICES = ("model=mlp", "data.scale=quantile", "data.categories=embedding", "model=linear", "loss=cross_entropy", "model=autoencoder",
           "data.scale_target=log", "optimizer=lbfgs", "model=deep", "data.indicator=false", "embedding=periodic")  # fmt: skip


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Hypothesis chooses what the columns are; their cells follow from a seed, or all would be alike."""
    rows, seed = draw(st.integers(20, 90)), draw(st.integers(0, 10_000))
    names = draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=7, unique=True))
    kinds = {name: draw(st.sampled_from(INPUTS)) for name in names[:-1]} | {names[-1]: draw(st.sampled_from(TARGETS))}
    makers = _makers(random.Random(seed), rows)
    columns = {name: [makers[kind](row) for row in range(rows)] for name, kind in kinds.items()}
    words = (f"data.stratify={draw(st.sampled_from(['true', 'false', 'false']))}", draw(st.sampled_from(CHOICES)))
    return Case(columns, kinds, names[-1], draw(st.booleans()), words)


def _write(case: Case, folder: Path) -> str:
    if case.parquet:
        frame = pl.DataFrame({name: _typed(case.kinds[name], cells) for name, cells in case.columns.items()})
        frame.write_parquet(folder / "rows.parquet")
        return "rows.parquet"
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(case.columns)
    writer.writerows(zip(*([_said(cell) for cell in cells] for cells in case.columns.values()), strict=True))
    (folder / "rows.csv").write_text(text.getvalue(), encoding="utf-8", newline="")
    return "rows.csv"


def _typed(kind: str, cells: list[Any]) -> pl.Series:
    series = pl.Series(cells, strict=False)
    return series.str.to_date() if kind == "date" else series


def _said(cell: Any) -> str:
    return "" if cell is None else repr(cell) if isinstance(cell, float) else str(cell)


def _declared(case: Case) -> list[str]:
    """What a table's cells do not say themselves. A sample of columns is declared otherwise, as people do."""
    told = [(name, kind) for name, kind in case.kinds.items() if name != case.target]
    categorical = dict.fromkeys(("many", "few", "gaps", "long", "mixed", "names", "steps"), "categorical")
    words = {"date": "date", "boolean": "boolean", **categorical}
    return [f"data.columns.{name}={words[kind]}" for name, kind in told if kind in words]


def _quoted(name: str) -> str:
    """Text for Hydra, in double quotes."""
    slashes = "".join(f"\\{letter}" if letter in '\\"' else letter for letter in name)
    return '"' + slashes.replace("${", "\\${") + '"'


def _passes(words: list[str]) -> str | None:
    """What a command said; None where it was refused in one line."""
    code, said = door(words)
    assert code in (0, 2, 3, 4), (words, code, said)
    assert "Traceback" not in said, (words, said)
    assert "\x1b" not in said, (words, said)
    if code == 0:
        return said
    lines = [line for line in said.splitlines() if line.startswith("dnnlab: error[")]
    assert lines, (words, said)
    assert " must " in lines[0] or "wants" in lines[0], lines
    return None


@pytest.mark.slow
@settings(max_examples=30, derandomize=True, deadline=None, database=None,
          suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example])  # fmt: skip
@given(case=cases())
def test_any_table_is_learned_and_answered_or_refused_in_one_line(case: Case) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.chdir(folder)
        patch.setenv("COLUMNS", "120")
        patch.setattr(pictures, "draw", lambda parts, records: {})  # slow, and tested elsewhere
        _try(case, Path(folder))


def _try(case: Case, folder: Path) -> None:
    file = _write(case, folder)
    data = ["data=parquet" if case.parquet else "data=csv", f"data.path={file}", f"data.target={_quoted(case.target)}"]
    quick = [word for word in QUICK if not (word.startswith("model.") and any(other.startswith("model=") for other in case.words))]
    words = [*data, *_declared(case), *quick, *case.words]
    looked = _passes(["dnnlab", "check", *words])
    trained = _passes(["dnnlab", "train", *words, "hydra.run.dir=run"])
    event(f"trained: {trained is not None}")
    if trained is None:
        return
    assert looked is not None, "what is trained passed the check"
    rows = len(case.columns[case.target])
    assert _passes(["dnnlab", "predict", "run", file, "-o", "answers.parquet", "--proba"]) is not None
    answers = pl.read_parquet(folder / "answers.parquet")
    assert len(answers) == rows
    assert sum(answers.null_count().row(0)) == 0
    assert not any(column.is_nan().any() for column in answers.iter_columns() if column.dtype.is_float())
    assert _passes(["dnnlab", "predict", "run", file, "-o", "answers.csv"]) is not None
    judged = _passes(["dnnlab", "evaluate", "run", "--json"])
    assert judged is not None
    if "model=autoencoder" not in case.words:
        whole = _passes(["dnnlab", "evaluate", "run", file, "--json"])
        assert whole is not None
        _compare(json.loads(judged[judged.index("{\n") :]), folder)


def _compare(judged: dict[str, Any], folder: Path) -> None:
    """A run that is judged anew has the figures that it had."""
    own = json.loads((folder / "run/run.json").read_text(encoding="utf-8"))["metrics"]
    for name, value in judged.items():
        expected = float(own[name])
        assert math.isclose(float(value), expected, rel_tol=1e-4, abs_tol=1e-5) or math.isnan(expected), (name, value, expected)
