"""The door for Python: tables that Python holds, in whatever form, and errors that are ours."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from dnnlab.api import Trained, load, train
from dnnlab.errors import ConfigError, DataError, DivergedError, DnnlabError, UntrustedError
from dnnlab.runfolder import RunFolder
from tests.support import last_state

QUICK = ("trainer.epochs=2", "threads=1", "logger.tensorboard=false", "logger.progress=false", "model.hidden=[4]", "activation=tanh")


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DNNLAB_TRUST", "")  # what --trust leaves behind is undone with it


def values(rows: int = 80) -> dict[str, Any]:
    """Columns under names that no setting could have."""
    draw = random.Random(8)
    x = [draw.gauss(0, 1) for _ in range(rows)]
    return {
        "=x": x,
        "a b.c": [None if draw.random() < 0.1 else draw.random() for _ in range(rows)],
        "größe": [draw.choice(["S", "M", ""]) for _ in range(rows)],
        "y": ["up" if number > 0 else "down" for number in x],
        "price": [2 * number + draw.random() for number in x],
    }


def frame() -> pl.DataFrame:
    return pl.DataFrame(values())


IGNORED = {"price": "ignore"}


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    return last_state(trained.folder)


def same(one: Trained, other: Trained) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_frame_is_trained_on_and_answered() -> None:
    trained = train(frame(), *QUICK, target="y", columns=IGNORED)
    assert trained.folder.parent == Path("outputs/mlp_memory")
    assert trained.metrics == RunFolder.open(trained.folder).read_run()["metrics"]
    assert {"test/accuracy", "valid/loss"} <= trained.metrics.keys()
    told = trained.predict(frame().drop("y", "price"), proba=True)
    assert told.columns == ["prediction", "probability_down", "probability_up"]
    assert len(told) == 80
    assert_frame_equal(load(trained.folder).predict(frame(), proba=True), told)
    assert_frame_equal(load(str(trained.folder)).predict(frame().reverse(), proba=True), told.reverse())
    config = RunFolder.open(trained.folder).read_config()
    assert config["data"]["columns"] == IGNORED
    assert config["data"]["target"] == "y"


def test_every_holder_of_the_same_rows_gives_the_same_network() -> None:
    expected = train(frame(), *QUICK, target="y", columns=IGNORED)
    arrays = {name: np.array(cells, dtype=object if name in ("größe", "y") else float) for name, cells in values().items()}
    arrays |= {name: [str(cell) for cell in arrays[name]] for name in ("größe", "y")}
    tensors = {name: torch.tensor(cells, dtype=torch.float64) if name in ("=x", "price") else cells for name, cells in values().items()}
    for table in (values(), frame().lazy(), tensors, arrays):
        other = train(table, *QUICK, target="y", columns=IGNORED)
        assert same(other, expected)
        assert_frame_equal(other.predict(table), expected.predict(frame()))


def test_pandas_frames_are_taken_too() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    table = pandas.DataFrame(values())
    trained = train(table, *QUICK, target="y", columns=IGNORED)
    assert same(trained, train(frame(), *QUICK, target="y", columns=IGNORED))
    assert_frame_equal(trained.predict(table), trained.predict(frame()))


@pytest.mark.parametrize("make", [np.asarray, torch.tensor], ids=["numpy", "torch"])
def test_arrays_have_columns_by_number(make: Any) -> None:
    draw = np.random.default_rng(0)
    array = make(draw.normal(size=(60, 4)))
    trained = train(array, *QUICK, target="x3")
    assert [column.name for column in trained.predictor.schema.inputs] == ["x0", "x1", "x2"]
    told = trained.predict(array)
    assert told["prediction"].dtype == pl.Float64
    assert_frame_equal(trained.predict(array[:, :3]), told)


def test_several_targets_are_a_list() -> None:
    trained = train(frame(), *QUICK, target=["price", "=x"], columns={"y": "ignore"})
    assert trained.predict(frame()).columns == ["prediction_price", "prediction_=x"]
    assert same(trained, train(frame(), *QUICK, target=("price", "=x"), columns={"y": "ignore"}))


def test_columns_of_any_name_are_declared_by_the_mapping() -> None:
    draw = random.Random(1)
    names = ["a.b", "my age", "größe", '"', "=x", "${y}", "x: y", "null", "1", "\x1b[31mred", "new\nline", "*"]
    table: dict[str, Any] = {name: [draw.randint(1, 3) for _ in range(60)] for name in names[:-1]}
    table |= {"*": ["a", "b", "c"] * 20, "y": [draw.random() for _ in range(60)]}
    trained = train(table, *QUICK, target="y", columns=dict.fromkeys(names, "categorical"))
    schema = trained.predictor.schema
    assert {column.name: column.role for column in schema.inputs} == dict.fromkeys(names, "categorical")
    assert RunFolder.open(trained.folder).read_config()["data"]["columns"] == dict.fromkeys(names, "categorical")
    assert len(trained.predict(table)) == 60


def test_overrides_choose_as_on_the_command_line() -> None:
    trained = train(frame(), *QUICK[:-2], "model=linear", "seed=5", "data.columns.price=ignore", "data.test=0", target="y", folder="here")
    config = RunFolder.open(Path("here")).read_config()
    assert (config["model"]["kind"], config["seed"], config["data"]["columns"]) == ("linear", 5, IGNORED)
    assert trained.folder == Path("here")
    assert not any(name.startswith("test/") for name in trained.metrics)
    train(frame(), *QUICK, target="y", columns=IGNORED, root="elsewhere")
    assert len(list(Path("elsewhere/mlp_memory").iterdir())) == 1


def test_folds_are_trained_too() -> None:
    trained = train(frame(), *QUICK, "data.folds=2", target="y", columns=IGNORED)
    assert (trained.folder / "folds" / "1").is_dir()
    with pytest.raises(DnnlabError, match="one for each fold"):
        trained.predict(frame())


def test_d18_strict_refuses_what_training_did_not_have() -> None:
    trained = train(frame(), *QUICK, target="y", columns=IGNORED)
    other = frame().with_columns(pl.lit("XL").alias("größe"))
    assert len(trained.predict(other)) == 80
    with pytest.raises(DataError, match=r"however: 'XL' \(and 79 more\) - row 0, column 'größe'"):
        trained.predict(other, strict=True)


NET = """
from torch import nn
class Net(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
    def forward(self, x):
        return self.linear(x)
"""


def test_a_network_of_ones_own_answers_without_being_trusted_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net_for_the_api.py").write_text(NET, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    words = (*QUICK[:-2], "model=custom", "model.target=net_for_the_api.Net")
    with pytest.raises(UntrustedError):
        train(frame(), *words, target="y", columns=IGNORED)
    assert not Path("outputs").exists()
    trained = train(frame(), *words, target="y", columns=IGNORED, trust=["net_for_the_api"])
    assert len(trained.predict(frame())) == 80
    with pytest.raises(UntrustedError):
        load(trained.folder)
    assert len(load(trained.folder, ["net_for_the_api"]).predict(frame())) == 80
    with pytest.raises(ConfigError, match="must name a top-level package"):
        train(frame(), *words, target="y", trust=["net_for_the_api.Net"])


# Errors


@pytest.mark.parametrize(
    ("table", "words", "arguments", "told"),
    [
        (values(), (), {"target": "Y"}, "Did you mean y?"),
        (values(), (), {"target": []}, "data.target"),
        (values(), (), {"target": "y", "columns": {"prise": "ignore"}}, "Did you mean price?"),
        (values(), (), {"target": "y", "columns": {"price": "number"}}, "data.columns"),
        (values(), ("model.hiden=[3]",), {"target": "y"}, "Did you mean model.hidden"),
        (values(), ("optimizer.lr=-1",), {"target": "y"}, "optimizer.lr must be a number above 0"),
        (values(), ("model=modle",), {"target": "y"}, "model must be one of its options"),
        (values(), ("model.hidden=[3",), {"target": "y"}, "an argument must read key=value"),
        (values(), ("words",), {"target": "y"}, "must read key=value"),
        (values(), ("seed=1,2",), {"target": "y"}, "train is one run, however: 'seed=1,2' has several values"),
        (values(), ("seed=range(3)",), {"target": "y"}, "train is one run"),
        (values(), ("-m",), {"target": "y"}, "train takes settings only, however: '-m'"),
        (values(), ("--cfg", "job"), {"target": "y"}, "train takes settings only"),
        (values(), ("data=moons",), {"target": "y"}, "data must be the table that is given, however: data=moons"),
        (values(), ("name=${nope}",), {"target": "y"}, "there is no 'nope'"),
        ({"x": [1, 2], "y": [1]}, (), {"target": "y"}, "columns must be equally long"),
        ({"x": [1, "a"], "y": [1, 2]}, (), {"target": "y"}, "column"),
        ({"x": [[1], [2]] * 20, "y": [1.5, 2.5] * 20}, (), {"target": "y"}, "a column must hold numbers, text, dates or truth values"),
        ({"x": [object()] * 2, "y": [1, 2]}, (), {"target": "y"}, "column"),
        ({}, (), {"target": "y"}, "a table must have rows and columns"),
        (np.zeros(3), (), {"target": "y"}, "two dimensions"),
        (np.array([[object()]]), (), {"target": "y"}, "objects"),
        (torch.zeros(2, 2, 2), (), {"target": "y"}, "two dimensions"),
        (3, (), {"target": "y"}, "rows must be a polars or pandas frame"),
        (None, (), {"target": "y"}, "rows must be a polars or pandas frame"),
    ],
)
def test_what_is_wrong_is_told_as_ours_and_leaves_nothing(table: Any, words: tuple[str, ...], arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(DnnlabError) as caught:
        train(table, *words, **arguments)
    assert told in str(caught.value)
    assert list(Path().iterdir()) == []


def test_t11_a_divergence_is_raised_and_its_folder_stays() -> None:
    with pytest.raises(DivergedError):
        train(frame(), *QUICK[:-1], "activation=relu", "optimizer=sgd", "optimizer.lr=1e30", target="price", folder="lost")
    assert RunFolder.open(Path("lost")).read_run()["status"] == "diverged"


def test_what_is_wrong_with_later_rows_is_told_as_ours() -> None:
    trained = train(frame(), *QUICK, target="y", columns=IGNORED)
    for table, told in (
        (frame().drop("=x"), "'=x' is missing"),
        ({**values(), "=x": ["one"] * 80}, "a column of numbers must hold a number"),
        (frame().head(0), "a table must have rows and columns"),
        (7, "rows must be"),
    ):
        with pytest.raises(DataError, match=told):
            trained.predict(table)
    with pytest.raises(DnnlabError, match="must be the folder of a run"):
        load("nowhere")


def test_importing_the_api_again_is_cheap_and_training_twice_works() -> None:
    """It costs no module more, and nothing of Hydra's is left behind that a second call would meet."""
    code = """
import sys
import dnnlab.api
before = set(sys.modules)
import importlib
importlib.import_module("dnnlab.api")
from dnnlab.api import train
assert set(sys.modules) == before
from hydra.core.global_hydra import GlobalHydra
words = ("trainer.epochs=1", "threads=1", "logger.tensorboard=false", "logger.progress=false", "model.hidden=[2]")
rows = {"x": [float(n) for n in range(40)], "y": [n % 7 + 0.5 for n in range(40)]}
runs = [train(rows, *words, target="y") for _ in range(2)]
assert not GlobalHydra.instance().is_initialized()
assert runs[0].folder != runs[1].folder
print(runs[0].metrics == runs[1].metrics)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["True"], done.stderr[-2000:]
