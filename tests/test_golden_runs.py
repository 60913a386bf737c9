"""Old runs stay readable: folders of each format, as they were written, still answer, are judged alike, and go on.

A folder here is never made anew. When the format changes, another one joins it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from dnnlab.evaluate import evaluate_run
from dnnlab.predictor import load
from dnnlab.runfolder import RunFolder
from dnnlab.runfolder.names import FORMAT
from tests.pages import door

KEPT = Path(__file__).parent / "golden_runs"
pytestmark = pytest.mark.usefixtures("quick_runs")


@pytest.fixture(params=sorted(path.name for path in KEPT.iterdir()))
def golden(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a folder, with its rows and answers beside it."""
    shutil.copytree(KEPT / request.param, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def test_there_is_one_of_every_format() -> None:
    assert {path.name for path in KEPT.iterdir()} == {f"format_{number}" for number in range(1, FORMAT + 1)}


def test_an_old_run_answers_as_it_did(golden: Path) -> None:
    answers = load(golden).predict(pl.read_csv("rows.csv"), proba=True)
    assert_frame_equal(answers, pl.read_csv("answers.csv"), abs_tol=1e-6)


def test_an_old_run_is_judged_as_it_was(golden: Path) -> None:
    told = RunFolder.open(golden).read_run()["metrics"]
    for name, value in evaluate_run(load(golden), golden).items():
        assert value == pytest.approx(told[name], abs=1e-5), name


def test_an_old_run_goes_on(golden: Path) -> None:
    before = RunFolder.open(golden).read_metrics()
    code, said = door(["dnnlab", "resume", str(golden)])
    assert (code, said.startswith("already complete")) == (0, True)
    code, said = door(["dnnlab", "resume", str(golden), "trainer.epochs=6"])
    assert code == 0, said
    after = RunFolder.open(golden).read_metrics()
    assert after[: len(before)] == before
    assert [row["epoch"] for row in after] == [1, 2, 3, 4, 5, 6]
