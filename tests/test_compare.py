"""Runs beside each other: intervals and tests against SciPy, grouping, verdicts, and the files that are written."""

from __future__ import annotations

from math import isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from scipy import stats

from dnnlab import cli
from dnnlab.compare import compare, jobs_in, tables
from dnnlab.compare.page import page
from dnnlab.compare.pictures import draw
from dnnlab.compare.statistics import holm, paired_p, spread
from dnnlab.errors import ArtifactError, ConfigError
from dnnlab.records import Summary
from dnnlab.runfolder import RunFolder
from dnnlab.sweeptable import Job

NUMBERS = some.lists(some.floats(-1e3, 1e3), min_size=2, max_size=12)


@given(values=NUMBERS)
def test_the_interval_is_students(values: list[float]) -> None:
    found = spread(values)
    if np.std(values) < 1e-9:
        return
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-6, abs=1e-9)


def test_the_bootstrap_is_the_percentile_bootstrap() -> None:
    values = list(np.random.default_rng(1).normal(size=40))
    found = spread(values, bootstrap=True)
    wanted = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(2)).confidence_interval
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=0.02)


@given(pairs=some.lists(some.tuples(some.floats(-100, 100), some.floats(-100, 100)), min_size=2, max_size=12))
def test_the_paired_test_is_scipys(pairs: list[tuple[float, float]]) -> None:
    one, other = (list(column) for column in zip(*pairs, strict=True))
    gaps = np.subtract(one, other)
    if np.std(gaps) < 1e-6:
        return
    assert paired_p(one, other) == pytest.approx(stats.ttest_rel(one, other).pvalue, rel=1e-6, abs=1e-12)


def test_of_one_run_nothing_is_claimed() -> None:
    assert isnan(spread([1.0]).half)
    assert isnan(paired_p([1.0], [2.0]))
    assert isnan(spread([1.0, nan]).low)
    assert paired_p([1.0, 2.0], [1.0, 2.0]) == 1.0
    assert paired_p([1.0, 2.0], [0.0, 1.0]) == 0.0


@given(p=some.lists(some.floats(0, 1), max_size=8))
def test_holms_correction_is_by_the_book(p: list[float]) -> None:
    found = holm(p)
    order = sorted(range(len(p)), key=lambda place: p[place])
    for rank, place in enumerate(order):
        assert found[place] == pytest.approx(min(1.0, max((len(p) - k) * p[order[k]] for k in range(rank + 1))))
    assert isnan(holm([nan, 0.01])[0])
    assert holm([nan, 0.01])[1] == 0.01


def jobs(values: dict[tuple[float, float], list[float]]) -> list[Job]:
    """Jobs of two settings with accuracies, a seed for each."""
    found: list[Job] = []
    for (rate, dropout), accuracies in values.items():
        for seed, accuracy in enumerate(accuracies):
            settings = {"optimizer": "adam", "optimizer.lr": rate, "regularization.dropout": dropout, "seed": seed, "name": "x"}
            found.append(Job(len(found), "finished", settings, {"test/accuracy": accuracy, "valid/loss": 1 - accuracy}, 1.0))
    return found


GRID = jobs({(0.1, 0.0): [0.9, 0.91, 0.92], (0.01, 0.0): [0.5, 0.51, 0.53], (0.1, 0.5): [0.89, 0.92, 0.91], (0.01, 0.5): [0.4, 0.45, 0.41]})


def test_setups_are_what_differs_seeds_apart_the_best_first() -> None:
    found = compare(GRID, {})
    assert found.settings == ("optimizer.lr", "regularization.dropout")
    assert found.metrics[0] == "test/accuracy"
    assert found.setups[0].settings == (0.1, 0.0)
    assert found.setups[0].best
    assert [setup.ties for setup in found.setups] == [True, True, False, False]
    assert found.setups[0].figures["test/accuracy"].mean == pytest.approx(0.91)
    effects = {(effect.setting, effect.value): effect.spread for effect in found.effects}
    assert effects["optimizer.lr", 0.1].count == 6
    assert effects["optimizer.lr", 0.1].mean == pytest.approx(np.mean([0.9, 0.91, 0.92, 0.89, 0.92, 0.91]))


def test_one_setting_alone_and_another_metric() -> None:
    found = compare(GRID, {}, by=["lr"], metric="valid/loss")
    assert found.settings == ("optimizer.lr",)
    assert not found.higher
    assert [setup.settings for setup in found.setups] == [(0.1,), (0.01,)]
    assert [len(setup.jobs) for setup in found.setups] == [6, 6]
    with pytest.raises(ConfigError, match="'rate'"):
        compare(GRID, {}, by=["rate"])
    with pytest.raises(ConfigError, match="--metric must be one that the runs have"):
        compare(GRID, {}, metric="test/f1")


def test_lost_jobs_count_as_lost() -> None:
    lost = Job(99, "diverged", {**GRID[0].settings, "seed": 9}, {}, None)
    found = compare([*GRID, lost], {})
    assert (found.setups[0].lost, len(found.setups[0].jobs)) == (1, 3)
    assert "3 (+1 lost)" in tables.markdown(found)


def test_the_forms_say_the_same() -> None:
    found = compare(GRID, {})
    markdown, latex, csv, html = tables.markdown(found), tables.latex(found), tables.csv(found), page(found, {"a": b"png"}, "<b>")
    assert "| 0.1 | 0 | 3 | 0.9100 ± 0.025 |" in markdown
    assert r"\textbf{0.9100 $\pm$ 0.025}" in latex
    assert r"\underline{0.9067" in latex
    assert latex.count(r"\\") == 5
    assert csv.splitlines()[1].startswith("0.1,0.0,3,0,0.91")
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert "http" not in html


def test_names_from_elsewhere_are_harmless() -> None:
    evil = [Job(n, "finished", {"data.path": "<script>|&%_\\", "seed": n % 2, "x": n // 2}, {"test/loss": n * 0.1}, 1.0) for n in range(4)]
    found = compare(evil, {}, by=["data.path", "x"])
    assert "<script>" not in page(found, {}, "t")
    assert r"\textbackslash{}" in tables.latex(found)
    assert "\\|" in tables.markdown(found)


def run(path: Path, lr: float, seed: int, accuracies: list[float]) -> None:
    """A run folder with a curve."""
    config: dict[str, Any] = {"optimizer": {"kind": "adam", "lr": lr}, "seed": seed, "regularization": {"dropout": 0.1 * lr}}
    folder = RunFolder.create(path.parent, "run", config, exact=path)
    for epoch, accuracy in enumerate(accuracies, start=1):
        folder.append_metrics({"epoch": epoch, "step": epoch, "valid/accuracy": accuracy})
    folder.finish(Summary("finished", str(path), {"test/accuracy": accuracies[-1]}, len(accuracies), 10, 1.0))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A sweep of two rates and two seeds."""
    for number in range(4):
        run(tmp_path / "sweep" / str(number), (0.1, 0.01)[number // 2], number % 2, [0.5, 0.6 + 0.01 * number, 0.7 + 0.1 * (number // 2)])
    return tmp_path / "sweep"


def test_pictures_of_curves_heat_and_many_settings(sweep: Path) -> None:
    found = compare(*jobs_in([sweep]), by=["optimizer.lr", "regularization.dropout"])
    drawn = draw(found)
    assert set(drawn) == {"curves", "heat_map", "parallel"}
    assert all(png.startswith(b"\x89PNG") for png in drawn.values())


def test_the_verb(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    assert cli.guarded(lambda: cli._verb(["compare", str(sweep), "--by", "lr", "-o", str(output)])) == 0
    said = capsys.readouterr().out
    assert "best" in said
    assert {path.name for path in output.iterdir()} >= {
        "comparison.md",
        "comparison.csv",
        "comparison.tex",
        "comparison.html",
        "curves.png",
    }


def test_runs_and_sweeps_stand_beside_each_other(sweep: Path, tmp_path: Path) -> None:
    run(tmp_path / "single", 0.5, 0, [0.9])
    found, folders = jobs_in([sweep, tmp_path / "single"])
    assert [job.number for job in found] == list(range(5))
    assert folders[4] == tmp_path / "single"
    with pytest.raises(ArtifactError, match="there is none"):
        jobs_in([tmp_path / "nowhere"])
