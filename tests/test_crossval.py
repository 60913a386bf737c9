"""Every fold trained in a folder of its own: each row judges once, and the figures are those of runs on their own."""

from __future__ import annotations

import json
import random
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import polars as pl
import pytest
import torch

from dnnlab import crossval
from dnnlab.assembly import assemble
from dnnlab.config.reader import read
from dnnlab.config.run import RunConfig
from dnnlab.errors import ConfigError, DivergedError
from dnnlab.records import Summary
from dnnlab.runfolder import RunFolder
from tests.pages import door
from tests.support import last_state

QUICK = ("trainer.epochs=2", "threads=1", "logger.tensorboard=false", "model.hidden=[4]", "activation=tanh")
TABLE = ("data=csv", "data.path=rows.csv", "data.target=label", *QUICK)


@pytest.fixture(autouse=True)
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    table(61).write_csv("rows.csv")


def table(count: int, seed: int = 2) -> pl.DataFrame:
    draw = random.Random(seed)
    label = [draw.choice(["no", "yes"]) for _ in range(count)]
    x = [draw.gauss(0, 1) + (word == "yes") for word in label]
    return pl.DataFrame({"x": x, "town": [draw.choice(["Ulm", "Bonn"]) for _ in range(count)], "label": label})


def train(*words: str, folder: str, code: int = 0) -> str:
    left, said = door(["dnnlab", "train", *words, f"hydra.run.dir={folder}"])
    assert left == code, said
    return said


def run_of(folder: str) -> dict[str, Any]:
    return RunFolder.open(Path(folder)).read_run()


def parts_of(folder: str) -> dict[str, set[int]]:
    """The rows of each part of a run, as its settings divide them again."""
    made = assemble(RunConfig.model_validate(RunFolder.open(Path(folder)).read_config()))
    return {name: set(part.index.tolist()) for name, part in made.rows.parts().items()}


def same_weights(one: str, other: str) -> bool:
    first, second = (last_state(folder) for folder in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_every_row_is_tested_once_and_the_means_are_those_of_the_folds() -> None:
    said = train(*TABLE, "data.folds=3", folder="cv")
    assert sorted(path.name for path in Path("cv/folds").iterdir()) == ["0", "1", "2"]
    tested: list[int] = []
    for fold in range(3):
        found = parts_of(f"cv/folds/{fold}")
        assert not found["test"] & (found["train"] | found["valid"])
        assert set.union(*found.values()) == set(range(61))
        assert len(found["test"]) in (20, 21)
        tested += found["test"]
        config = RunFolder.open(Path(f"cv/folds/{fold}")).read_config()
        assert (config["data"]["folds"], config["data"]["fold"]) == (3, fold)
    assert sorted(tested) == list(range(61))
    folds = [run_of(f"cv/folds/{fold}") for fold in range(3)]
    told = run_of("cv")
    assert (told["status"], told["folds"]) == ("finished", 3)
    assert told["metrics"].keys() == told["spread"].keys() == folds[0]["metrics"].keys()
    for name in told["metrics"]:
        values = [fold["metrics"][name] for fold in folds]
        assert told["metrics"][name] == fmean(values)
        assert told["spread"][name] == stdev(values)
    assert told["steps"] == sum(fold["steps"] for fold in folds)
    assert "error" not in told
    row = next(line for line in said.splitlines() if line.startswith("accuracy "))
    assert f"{told['metrics']['test/accuracy']:.4g} ± {told['spread']['test/accuracy']:.4g}"[:5] in row
    assert "fold 2 of 3: finished" in (Path("cv") / "train.log").read_text(encoding="utf-8")


def test_a_fold_is_bit_for_bit_a_run_of_its_own() -> None:
    train(*TABLE, "data.folds=3", folder="cv")
    for fold in range(3):
        train(*TABLE, "data.folds=3", f"data.fold={fold}", folder=f"solo{fold}")
        assert run_of(f"solo{fold}")["metrics"] == run_of(f"cv/folds/{fold}")["metrics"]
        assert same_weights(f"solo{fold}", f"cv/folds/{fold}")
    assert not same_weights("solo0", "solo1")
    code, said = door(["dnnlab", "evaluate", "cv/folds/1", "--json"])
    assert code == 0, said
    assert json.loads(said)["test/accuracy"] == pytest.approx(run_of("cv/folds/1")["metrics"]["test/accuracy"], abs=1e-6)


def test_rows_that_are_no_table_have_folds_too() -> None:
    train("data=iris", "+data.folds=3", *QUICK, folder="cv")
    tested = [parts_of(f"cv/folds/{fold}")["test"] for fold in range(3)]
    assert sorted(row for rows in tested for row in rows) == list(range(150))


def test_a_sweep_over_cross_validations() -> None:
    code, said = door(["dnnlab", "train", "-m", *TABLE, "data.folds=2", "optimizer.lr=0.01,0.1", "hydra.sweep.dir=sweep"])
    assert code == 0, said
    results = pl.read_csv("sweep/results.csv")
    assert results["status"].to_list() == ["finished", "finished"]
    for job, accuracy in enumerate(results["test/accuracy"]):
        folds = [run_of(f"sweep/{job}/folds/{fold}")["metrics"]["test/accuracy"] for fold in range(2)]
        assert accuracy == pytest.approx(fmean(folds))
    code, said = door(["dnnlab", "train", "-m", *TABLE, "data.folds=2", "data.fold=0,1", "optimizer.lr=0.01", "hydra.sweep.dir=each"])
    assert code == 0, said
    assert [run_of(f"each/{fold}")["metrics"] for fold in range(2)] == [run_of(f"sweep/0/folds/{fold}")["metrics"] for fold in range(2)]
    assert not Path("each/0/folds").exists()


def _ending(monkeypatch: pytest.MonkeyPatch, bad: int, how: Any) -> None:
    """Let one fold end otherwise: its run is made, and then something happens."""
    run = crossval.run

    def otherwise(request: Any) -> Summary:
        summary = run(request)
        return how(summary) if request.config.data.fold == bad else summary

    monkeypatch.setattr(crossval, "run", otherwise)


def test_an_interrupted_fold_ends_the_cross_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    _ending(monkeypatch, 1, lambda summary: replace(summary, status="interrupted"))
    said = train(*TABLE, "data.folds=3", folder="cv", code=130)
    told = run_of("cv")
    assert (told["status"], told["folds"]) == ("interrupted", 2)
    assert not Path("cv/folds/2").exists()
    assert told["metrics"] == run_of("cv/folds/0")["metrics"]
    assert set(told["spread"].values()) == {0.0}
    assert "Traceback" not in said


def test_a_second_interruption_is_written_down_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(summary: Summary) -> Summary:
        raise KeyboardInterrupt

    _ending(monkeypatch, 1, stop)
    train(*TABLE, "data.folds=3", folder="cv", code=130)
    assert run_of("cv")["status"] == "interrupted"


def test_t11_a_fold_that_diverges_is_told_and_the_others_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(summary: Summary) -> Summary:
        raise DivergedError("training must stay finite, however: the loss is not", where="data rows 3", fix="Try a smaller rate")

    _ending(monkeypatch, 1, diverge)
    said = train(*TABLE, "data.folds=3", folder="cv", code=4)
    (line,) = (line for line in said.splitlines() if line.startswith("dnnlab: error["))
    assert line == (
        "dnnlab: error[diverged]: fold 1 of 3 (from 0) diverged: training must stay finite, however: the loss is not"
        " - data rows 3 - Try a smaller rate"
    )
    told = run_of("cv")
    assert (told["status"], told["folds"], told["error"]["exit_code"]) == ("diverged", 3, 4)
    left = [run_of(f"cv/folds/{fold}")["metrics"]["test/accuracy"] for fold in (0, 2)]
    assert told["metrics"]["test/accuracy"] == fmean(left)
    assert "mlp_csv diverged: mean ± standard deviation over the folds" in said


def test_t11_folds_that_all_diverge_leave_no_means() -> None:
    said = train(*TABLE, "data.folds=2", "optimizer=sgd", "optimizer.lr=1e30", "activation=relu", folder="cv", code=4)
    assert "fold 0, 1 of 2 (from 0) diverged" in said
    told = run_of("cv")
    assert (told["status"], told["metrics"], told["spread"]) == ("diverged", {}, {})
    assert [run_of(f"cv/folds/{fold}")["status"] for fold in range(2)] == ["diverged"] * 2


def test_s01_a_diverging_cross_validation_is_one_failed_job_of_a_sweep() -> None:
    words = (*TABLE, "data.folds=2", "optimizer=sgd", "activation=relu", "optimizer.lr=1e30,0.01", "hydra.sweep.dir=sweep")
    code, said = door(["dnnlab", "train", "-m", *words])
    assert code == 9, said
    assert pl.read_csv("sweep/results.csv")["status"].to_list() == ["diverged", "finished"]


def test_a_fold_that_cannot_be_ends_all_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def vanish(summary: Summary) -> Summary:
        Path("rows.csv").unlink()
        return summary

    _ending(monkeypatch, 0, vanish)
    said = train(*TABLE, "data.folds=3", folder="cv", code=3)
    assert "rows.csv" in said
    assert run_of("cv")["status"] == "failed"


def test_d28_folds_of_a_file_that_changes_in_between_are_no_cross_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(summary: Summary) -> Summary:
        table(70, seed=3).write_csv("rows.csv")
        return summary

    _ending(monkeypatch, 0, change)
    said = train(*TABLE, "data.folds=3", folder="cv", code=3)
    assert "rows.csv" in said
    assert "SHA-256" in said
    assert run_of("cv")["status"] == "failed"


def test_a_given_test_stays_the_test_and_the_folds_validate() -> None:
    table(23, seed=9).write_csv("later.csv")
    train(*TABLE, "data.folds=3", "data.test_path=later.csv", folder="cv")
    found = [parts_of(f"cv/folds/{fold}") for fold in range(3)]
    assert all(parts["test"] == set(range(61, 84)) for parts in found)
    assert sorted(row for parts in found for row in parts["valid"]) == list(range(61))
    assert all(parts["train"] | parts["valid"] == set(range(61)) for parts in found)


def test_groups_stay_whole_in_every_fold() -> None:
    table(60).with_columns(pl.Series("who", [f"p{row % 7}" for row in range(60)])).write_csv("rows.csv")
    train(*TABLE, "data.folds=3", "data.split=group", "data.split_by=who", folder="cv")
    tested = [parts_of(f"cv/folds/{fold}")["test"] for fold in range(3)]
    assert sorted(row for rows in tested for row in rows) == list(range(60))
    groups = [{row % 7 for row in rows} for rows in tested]
    assert sum(map(len, groups)) == 7


def test_nothing_is_written_where_the_first_fold_cannot_be() -> None:
    assert "data.folds must be at most" in train(*TABLE, "data.folds=400", "data.stratify=false", folder="cv", code=3)
    assert "must find 40 rows of every class" in train(*TABLE, "data.folds=40", folder="cv", code=3)
    assert not Path("cv").exists()


def test_t26_a_folder_with_a_cross_validation_is_never_written_to() -> None:
    train(*TABLE, "data.folds=2", folder="cv")
    train(*TABLE, "data.folds=2", folder="cv", code=8)
    train(*TABLE, folder="cv", code=8)


def test_a_cross_validation_itself_answers_nothing() -> None:
    train(*TABLE, "data.folds=2", folder="cv")
    code, said = door(["dnnlab", "predict", "cv", "rows.csv"])
    assert code == 6
    assert "cv/folds/0" in said
    code, said = door(["dnnlab", "predict", "cv/folds/0", "rows.csv"])
    assert code == 0


SETTINGS: dict[str, Any] = {
    "name": "test",
    "data": {"kind": "csv", "path": "rows.csv", "target": "label"},
    "model": {"kind": "mlp"},
    "activation": {"kind": "tanh"},
    "initialization": {"kind": "auto"},
    "loss": {"kind": "auto"},
    "optimizer": {"kind": "adam"},
    "scheduler": {"kind": "constant"},
}


@pytest.mark.parametrize(
    ("data", "keys", "fix"),
    [
        ({"fold": 0}, ("data.fold", "data.folds"), "Try data.folds=5"),
        ({"folds": 3, "fold": 3}, ("data.fold", "data.folds"), "Try data.fold=2"),
        ({"folds": 3, "fold": 10}, ("data.fold", "data.folds"), "Try data.fold=2"),
        ({"folds": 3, "path": "-"}, ("data.path", "data.folds"), "Save the rows"),
        ({"folds": 3, "test_path": ["a.csv", "-"]}, ("data.path", "data.folds"), "Save the rows"),
        ({"folds": 3, "split": "time", "split_by": "x"}, ("data.folds", "data.split"), "Try data.folds=null"),
        ({"split": "group"}, ("data.split", "data.split_by"), "Try data.split_by=COLUMN"),
        ({"split": "column"}, ("data.split", "data.split_by"), "Try data.split_by=COLUMN"),
        ({"split_by": "x"}, ("data.split_by", "data.split"), "Try data.split=group"),
    ],
)
def test_c12_folds_that_contradict_other_settings(data: dict[str, Any], keys: tuple[str, str], fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read({**SETTINGS, "data": {**SETTINGS["data"], **data}})
    assert all(key in caught.value.what for key in keys)
    assert caught.value.where == ", ".join(keys)
    assert caught.value.fix.startswith(fix)
    assert not caught.value.__dict__.get("__notes__")


@pytest.mark.parametrize("data", [{"folds": 3}, {"folds": 3, "fold": 0}, {"folds": 3, "fold": 2}, {"folds": 3, "fold": 0, "path": "-"},
                                  {"folds": 3, "split": "group", "split_by": "x"}])  # fmt: skip
def test_folds_that_may_be(data: dict[str, Any]) -> None:
    assert read({**SETTINGS, "data": {**SETTINGS["data"], **data}}).data.kind == "csv"


def test_means_are_taken_of_figures_that_all_folds_have() -> None:
    one = Summary("finished", "", {"a": 1.0, "b": 2.0}, 3, 10, 0.1)
    other = Summary("finished", "", {"a": 3.0}, 4, 11, 0.1)
    lost = Summary("diverged", "", {}, 0, 0, 0.0)
    summary, spread = crossval.together([one, other, lost], "folder", 2.0)
    assert (summary.status, summary.metrics, summary.epochs, summary.steps) == ("diverged", {"a": 2.0}, 4, 21)
    assert spread == {"a": stdev([1.0, 3.0])}
