"""The table at the end of a sweep: what differs, what is best, what failed."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dnnlab import provenance
from dnnlab.errors import ConfigError, DivergedError
from dnnlab.records import Summary
from dnnlab.runfolder import RunFolder, record_failure
from dnnlab.sweeptable import best, conclude, differing, headline, read_jobs

MLP = {"kind": "mlp", "hidden": [64, 64]}
DEEP = {"kind": "deep", "depth": 6, "norm": "batch"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask git and pip nothing: these runs came from nowhere."""
    monkeypatch.setattr(provenance, "commit", lambda: None)
    monkeypatch.setattr(provenance, "versions", dict)


def job(
    sweep: Path, number: int, metrics: dict[str, float], status: str = "finished", command: Sequence[str] = (), **settings: Any
) -> None:
    config = {"name": f"run{number}", "config_version": 1, "model": MLP, "optimizer": {"kind": "adam", "lr": 0.001}, "seed": 0} | settings
    folder = RunFolder.create(sweep, "run", config, exact=sweep / str(number))
    folder.begin(seed=0, device="cpu", threads=1, command=command)
    error = DivergedError("training must stay finite, however: nan", fix="Try optimizer.lr=0.01") if status == "diverged" else None
    folder.finish(Summary(status, str(folder.path), metrics, epochs=3, steps=30, seconds=1.5), error)


def printed(sweep: Path, width: int = 120) -> tuple[int, list[str]]:
    text = io.StringIO()
    failed = conclude(sweep, Console(file=text, width=width, color_system=None, highlight=False))
    return failed, [line.rstrip() for line in text.getvalue().splitlines()]


def rows(sweep: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((sweep / "results.csv").read_text().splitlines()))


def test_the_table_shows_what_differs_and_the_headline_metrics(tmp_path: Path) -> None:
    for number, lr in enumerate((0.1, 0.01, 0.001)):
        job(
            tmp_path,
            number,
            {"test/accuracy": 0.9 + lr / 2, "test/loss": lr, "valid/accuracy": 0.8, "test/f1": 0.7},
            optimizer={"kind": "sgd", "lr": lr},
        )
    failed, lines = printed(tmp_path)
    assert failed == 0
    assert lines[0].split() == ["job", "lr", "test/accuracy", "test/loss", "valid/accuracy", "time", "status"]
    assert lines[2].split() == ["1", "0.01", "0.9050", "0.01000", "0.8000", "1.5", "s", "finished"]
    assert lines[-1] == str(tmp_path)


def test_the_csv_holds_every_metric_in_full(tmp_path: Path) -> None:
    for number in range(2):
        job(tmp_path, number, {"test/accuracy": 0.1 + 0.2, "test/r2": -0.5, "test/loss": float("nan")}, seed=number)
    printed(tmp_path)
    expected = {
        "job": "1",
        "seed": "1",
        "test/accuracy": repr(0.1 + 0.2),
        "test/r2": "-0.5",
        "test/loss": "nan",
        "status": "finished",
    }
    assert rows(tmp_path)[1] == expected | {"reason": ""}


def test_jobs_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 2, 100):
        job(tmp_path, number, {}, seed=number)
    assert [found.number for found in read_jobs(tmp_path)] == [2, 9, 10, 100]


def test_a_model_is_told_by_its_kind_not_by_all_that_only_it_has(tmp_path: Path) -> None:
    for number, (model, seed) in enumerate([(MLP, 0), (MLP, 1), (DEEP, 0), (DEEP | {"depth": 9}, 1)]):
        job(tmp_path, number, {}, model=model, seed=seed)
    assert differing(read_jobs(tmp_path)) == ["model", "model.depth", "seed"]


def test_a_single_job_differs_in_nothing(tmp_path: Path) -> None:
    job(tmp_path, 0, {"test/accuracy": 1.0})
    assert differing(read_jobs(tmp_path)) == []
    assert printed(tmp_path)[1][0].split() == ["job", "test/accuracy", "time", "status"]


def test_the_best_is_the_largest_or_the_smallest_by_the_metric_and_only_of_those_that_finished(tmp_path: Path) -> None:
    job(tmp_path, 0, {"test/accuracy": 0.9, "test/loss": 0.3})
    job(tmp_path, 1, {"test/accuracy": 0.8, "test/loss": 0.2})
    job(tmp_path, 2, {"test/accuracy": 1.0, "test/loss": 0.0}, status="diverged")
    job(tmp_path, 3, {"test/accuracy": float("nan"), "test/loss": float("nan")})
    jobs = read_jobs(tmp_path)
    assert (best(jobs, "test/accuracy"), best(jobs, "test/loss"), best(jobs[:1], "test/loss")) == (0.9, 0.2, None)


def test_the_best_is_bold(tmp_path: Path) -> None:
    for number, accuracy in enumerate((0.75, 0.875)):
        job(tmp_path, number, {"test/accuracy": accuracy}, seed=number)
    text = io.StringIO()
    conclude(tmp_path, Console(file=text, width=120, force_terminal=True, color_system="standard", highlight=False))
    bold = re.findall(r"\x1b\[1;32m\s*([\d.]+)", text.getvalue())
    assert bold == ["0.8750"]


def test_failed_jobs_are_counted_and_give_their_reason(tmp_path: Path) -> None:
    job(tmp_path, 0, {"test/accuracy": 0.9})
    job(tmp_path, 1, {}, status="diverged")
    record_failure(
        tmp_path / "2",
        None,
        ["trainer.epochs=0"],
        ConfigError("must be [b]1[/b]\x1b[31m, however: 0", where="trainer.epochs", fix="Try 10"),
    )
    (tmp_path / "3").mkdir()  # it never began
    RunFolder.create(tmp_path, "run", {}, exact=tmp_path / "4")  # its process was killed
    job(tmp_path, 5, {}, status="interrupted")
    failed, lines = printed(tmp_path)
    assert failed == 5
    told = [line for line in lines if line.startswith("job ") and ":" in line]
    assert told[0] == "job 1 diverged: training must stay finite, however: nan - Try optimizer.lr=0.01"
    assert told[1] == r"job 2 failed: must be [b]1[/b]\x1b[31m, however: 0 - trainer.epochs - Try 10"
    assert [line.split(":")[0] for line in told[2:]] == ["job 4 unfinished"]
    assert "job 5 interrupted" in lines
    assert [row["status"] for row in rows(tmp_path)] == ["finished", "diverged", "failed", "not begun", "unfinished", "interrupted"]


def test_a_job_that_failed_by_its_settings_shows_what_was_asked_of_it(tmp_path: Path) -> None:
    for number, lr in enumerate((0.1, 0.2)):
        job(tmp_path, number, {"test/loss": 1.0}, command=["+seed=00", f"optimizer.lr={lr}"], optimizer={"kind": "sgd", "lr": lr})
    record_failure(tmp_path / "2", None, ["+seed=00", "optimizer.lr=0"], ConfigError("optimizer.lr must be above 0, however: 0"))
    _, lines = printed(tmp_path)
    assert [line.split()[:2] for line in lines[:4]] == [["job", "lr"], ["0", "0.1"], ["1", "0.2"], ["2", "0"]]
    assert [row["optimizer.lr"] for row in rows(tmp_path)] == ["0.1", "0.2", "0"]
    assert "seed" not in lines[0]  # the same for all


def test_the_path_of_a_sweep_stands_in_one_piece(tmp_path: Path) -> None:
    job(tmp_path, 0, {"test/loss": 1.0})
    job(tmp_path, 1, {}, status="interrupted")
    _, lines = printed(tmp_path, width=20)
    assert lines[-2:] == ["job 1 interrupted", str(tmp_path)]


def test_u13_text_that_looks_like_a_formula_is_disarmed_and_numbers_stay(tmp_path: Path) -> None:
    for number, text in enumerate(("=1+1", "+1", "-x", "@cmd", "\tx", "plain")):
        job(tmp_path, number, {"test/r2": -0.5}, data={"kind": "idx", "root": text})
    printed(tmp_path)
    assert [row["data.root"] for row in rows(tmp_path)] == ["'=1+1", "'+1", "'-x", "'@cmd", "'\tx", "plain"]
    assert {row["test/r2"] for row in rows(tmp_path)} == {"-0.5"}


@pytest.mark.parametrize("width", [30, 40, 60, 80, 200])
def test_no_line_of_the_table_is_wider_than_the_terminal(tmp_path: Path, width: int) -> None:
    for number in range(4):
        model = DEEP | {"depth": number} if number % 2 else MLP
        job(
            tmp_path, number, {"test/accuracy": 0.9, "test/loss": 1.0, "valid/loss": 2.0}, model=model, seed=number, data={"kind": "digits"}
        )
    lines = printed(tmp_path, width)[1][:-1]
    assert max(map(len, lines)) <= width
    assert any("0.9000" in line for line in lines)


def test_headlines_follow_the_task(tmp_path: Path) -> None:
    job(tmp_path, 0, {f"{part}/{name}": 0.5 for part in ("train", "valid", "test") for name in ("mae", "rmse", "r2", "loss")})
    assert headline(read_jobs(tmp_path)) == ["test/rmse", "test/loss", "valid/rmse", "valid/loss"]


def test_a_sweep_without_jobs_is_no_error(tmp_path: Path) -> None:
    assert printed(tmp_path) == (0, [str(tmp_path)])


def test_hundreds_of_jobs(tmp_path: Path) -> None:
    for number in range(300):
        job(tmp_path, number, {"test/accuracy": number / 300}, seed=number)
    job(tmp_path, 300, {}, status="diverged")
    failed, lines = printed(tmp_path)
    assert failed == 1
    assert [line.split()[0] for line in lines[1:12]] == [str(number) for number in (*range(299, 289, -1), 300)]
    assert lines[12] == "the best and the failed of 301 jobs; all of them stand in results.csv"
    assert len(rows(tmp_path)) == 301


@pytest.mark.parametrize(("width", "metrics"), [(120, 4), (100, 3), (80, 2)])
def test_metrics_that_do_not_fit_are_left_out_rather_than_folded(tmp_path: Path, width: int, metrics: int) -> None:
    figures = {f"{part}/{name}": 0.5 for part in ("valid", "test") for name in ("accuracy", "loss")}
    for number, kind in enumerate(("sgd", "adam", "adam")):
        job(tmp_path, number, figures, model=MLP if number else {"kind": "perceptron"}, optimizer={"kind": kind}, seed=number)
    lines = printed(tmp_path, width)[1]
    head = next(line for line in lines if "test/accuracy" in line)
    assert head.count("/") == metrics
    assert next(line for line in lines if "perceptron" in line).count("0.5000") == metrics
