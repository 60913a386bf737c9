"""Before a run: `dnnlab check` says everything that would go wrong, trains nothing and leaves nothing; and looking changes no bit."""

from __future__ import annotations

import random
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from dnnlab.errors import ConfigError, DataError
from dnnlab.preflight import findings, memory_needed, rehearse
from dnnlab.tables.columns import declaration
from tests.pages import door
from tests.support import differences, parts, state

Columns = Mapping[str, Sequence[Any]]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("DNNLAB_TRUST", "")  # what --trust leaves behind is undone with it


def columns(rows: int = 200) -> dict[str, Any]:
    """Rows without anything to say of them."""
    draw = random.Random(3)
    return {
        "age": [round(draw.gauss(40, 9), 3) for _ in range(rows)],
        "town": [draw.choice(["Ulm", "Bonn", "Kiel"]) for _ in range(rows)],
        "label": [draw.choice(["no", "yes"]) for _ in range(rows)],
    }


def written(values: Columns, name: str = "rows.csv") -> None:
    pl.DataFrame(values, strict=False).write_csv(name)


def looked(*words: str, code: int = 0) -> str:
    """What `dnnlab check` says; it leaves nothing behind."""
    before = sorted(Path().rglob("*"))
    left, said = door(["dnnlab", "check", "data=csv", "data.path=rows.csv", "data.target=label", "activation=tanh", *words])
    assert left == code, said
    assert sorted(Path().rglob("*")) == before
    return said


def test_check_tells_columns_choices_and_the_first_loss() -> None:
    written(columns())
    said = looked("model.hidden=[4]", "threads=1")
    lines = {line.split()[0]: line.split() for line in said.splitlines() if line.strip()}
    assert lines["column"] == ["column", "is", "values", "becomes", "missing", "because"]
    assert lines["age"][1] == "numeric"
    assert lines["age"][-2:] == ["standardise", "numbers"]
    assert lines["town"][1:] == ["categorical", "3", "different", "one-hot", "of", "3", "3", "texts"]
    assert lines["label"][1] == "target"
    assert "binary: 2 different texts; classes no, yes" in said
    assert "rows: train 120, valid 40, test 40" in said
    assert "parameters: 25" in said  # (4 + 1)·4 + 4 + 1
    assert "the first batch passes: loss 0." in said
    assert said.rstrip().endswith("nothing speaks against training")


def test_more_columns_than_fit_are_counted() -> None:
    written(columns() | {f"x{number}": columns()["age"][::-1] for number in range(60)})
    said = looked()
    assert "… and 23 more columns" in said


def test_check_trains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from dnnlab.learner import Solo

    def moved(*arguments: Any) -> None:
        raise AssertionError("a step was taken")

    monkeypatch.setattr(Solo, "step", moved)
    monkeypatch.setattr(Solo, "checked_step", moved)
    written(columns())
    looked()


def test_rows_that_are_no_table_are_looked_at_too() -> None:
    code, said = door(["dnnlab", "check", "data=moons", "model.hidden=[4]"])
    assert code == 0
    assert "task: binary (2 inputs, 1 outputs)" in said
    assert "nothing speaks against training" in said


# Settings that are wrong


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("data.target=lable",), "Did you mean label?"),
        (("data.target=[age,lable]",), "Did you mean label?"),
        (("data.columns.twon=categorical",), "Did you mean town?"),
        (("data.columns.age=number",), "data.columns"),
        (("data.split=group", "data.split_by=tow"), "Did you mean town?"),
        (("data.split=group",), "data.split_by"),
        (("data.split_by=town",), "data.split_by must stand with data.split=group, time or column"),
        (("data.split=time", "data.split_by=age", "data.folds=3"), "latest rows"),
        (("data.folds=3", "data.path=-"), "standard input"),
        (("data.fold=1",), "data.folds"),
        (("data.folds=3", "data.fold=3"), "Try data.fold=2"),
        (("trainer.monitor=valid/acuracy",), "Did you mean valid/accuracy?"),
        (("trainer.monitor=valid/rmse",), "trainer.monitor must name a metric that is logged"),
        (("model.hiden=[3]",), "Did you mean model.hidden"),
        (("optimizer.lr=-1",), "optimizer.lr must be a number above 0"),
        (("data.positive=maybe",), "data.positive must be one of two classes"),
        (("data.columns.label=ignore",), "a target must be a target only"),
        (("model=modle",), "model must be one of its options"),
        (("seed=1,2",), "a run must have one value for each setting, however: 'seed=1,2'"),
        (("data.columns.my age=ignore,numeric",), "however: 'data.columns.my age=ignore,numeric'"),
    ],
)
def test_settings_that_cannot_be(words: tuple[str, ...], told: str) -> None:
    written(columns())
    said = looked(*words, code=2)
    assert told in said
    assert said.count("\n") == 1


def test_of_a_sweep_the_first_job_is_looked_at() -> None:
    written(columns())
    said = looked("-m", "data.valid=0.1,2.0")
    assert "rows: train 140, valid 20, test 40" in said


def test_files_that_cannot_be() -> None:
    assert "error[data]" in looked(code=3)
    written(columns() | {"when": ["2024-01-02"] * 200, "flag": ["true", "false"] * 100})
    said = looked(code=3)
    assert "Try data.columns.when=date" in said
    assert "Try data.columns.flag=boolean" in said
    looked("data.columns.when=date", "data.columns.flag=boolean")


def test_c04_the_target_and_the_path_are_asked_for() -> None:
    code, said = door(["dnnlab", "check", "data=csv"])
    assert code == 2
    assert "Give data.path=VALUE data.target=VALUE" in said


# What may be found


def _draws(seed: int, rows: int = 200) -> list[float]:
    draw = random.Random(seed)
    return [draw.gauss(0, 1) for _ in range(rows)]


LABELS = columns()["label"]
FOUND: dict[str, tuple[dict[str, Any], tuple[str, ...], str, str]] = {
    "equals the target": ({"copy": [int(word == "yes") for word in LABELS]}, (), "'copy' equals the target", "data.columns.copy=ignore"),
    "correlation": (
        {"near": [(word == "yes") + 1e-4 * noise for word, noise in zip(LABELS, _draws(1), strict=True)]},
        (),
        "'near' has a correlation of 1.0000 with the target",
        "data.columns.near=ignore",
    ),
    "tells the class": (
        {"code": [{"yes": "J", "no": "N"}[word] for word in LABELS]},
        (),
        "'code' alone tells 100.0% of the classes",
        "data.columns.code=ignore",
    ),
    "number of rows": ({"row_id": list(range(200))}, (), "'row_id' looks like a number of rows", "data.columns.row_id=ignore"),
    "names": ({"person": [f"P{row}" for row in range(200)]}, (), "'person' is left out: 200 different texts in 200 rows: names",
              "data.columns.person=categorical keeps it"),
    "empty": ({"void": [None] * 200}, (), "'void' is left out: every cell is empty", ""),
    "constant": ({"same": [7] * 200}, (), "'same' is left out: no variation", "data.columns.same=ignore"),
    "leading zeros": ({"zip": [f"0{row % 89:04d}" for row in range(200)]}, (), "'zip' is written with leading zeros",
                      "data.columns.zip=categorical"),
    "doubles between the parts": ({"age": [30, 40] * 100}, (), "test rows (", "Take doubles out of the file"),
    "doubles": ({"age": [30, 40] * 100}, ("data.test=0", "data.valid=0"), "training rows are there before", ""),
    "uneven classes": ({"label": ["yes"] * 5 + ["no"] * 195}, (), "'no' has 117 training rows, 'yes' 3", "balanced"),
    "hardly varies": (
        {"label": [1e6 + noise / 10 for noise in _draws(2)]},
        (),
        "the target 'label' hardly varies",
        "Subtract what all rows have in common",
    ),
    "far outside": (
        {"label": [1e6 if row in range(0, 200, 2) and row == 100 else noise for row, noise in enumerate(_draws(2))]},
        ("data.valid=0", "data.test=0"),
        "the target 'label' has a row more than 100 standard deviations",
        "loss=huber",
    ),
    "the same number": (
        {"label": [2.5 if row < 198 else noise for row, noise in enumerate(_draws(2))], "part": ["train"] * 150 + ["test"] * 50},
        ("data.split=column", "data.split_by=part", "data.valid=0"),
        "the target 'label' is the same number in all training rows",
        "Look at the file",
    ),
    "columns of the test file": ({}, ("data.test_path=more.csv",), "the test rows have columns that the training rows have not", ""),
    "few rows": ({}, ("data.rows=60",), "there are 36 training rows only", "data.folds=5"),
    "large batch": ({}, ("trainer.batch_size=500",), "fewer training rows (120) than trainer.batch_size=500", ""),
    "rows left out": (
        {},
        ("model=deep", "model.depth=2", "model.width=4", "model.norm=batch", "trainer.batch_size=17"),
        "the last 1 rows of each epoch's order are left out",
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_what_may_be_found_is_found_with_its_remedy(name: str) -> None:
    more, words, text, remedy = FOUND[name]
    written(columns() | more)
    written(columns() | {"new": columns()["age"]}, "more.csv")
    said = looked(*words)
    (line,) = (line for line in said.splitlines() if text in line)
    assert remedy in line
    if line.startswith("!"):
        assert "warning" in said.splitlines()[-1]
    plain = _plain_check()
    assert text not in plain, "nothing is found where there is nothing"


def _plain_check() -> str:
    written(columns())
    return looked()


def test_a_remedy_that_is_followed_ends_the_finding() -> None:
    written(columns() | {"my copy.": [int(word == "yes") for word in LABELS]})
    said = looked()
    (line,) = (line for line in said.splitlines() if "equals the target" in line)
    words = shlex.split(line.partition("→ Else ")[2])
    assert "equals the target" not in looked(*words)


# Columns by name


NAMES = ["age", "my age", "a.b", "größe", '"', "it's", "=x", "a=b", "a: b", "-1", "7", "true", "null", "$x", "${y}", "x,y", "(z)", "[0]",
         "{k}", "back\\slash", "*", "~", "@", "#no", "!yes", "a\tb", "日本", "with 'both\" quotes", "data.columns.x", "+plus"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_column_of_any_name_is_declared_as_the_error_suggests(name: str) -> None:
    written({name: [f"2024-0{1 + row % 9}-11" for row in range(60)], **columns(60)} if name != "age" else columns(60))
    if name == "age":
        said = looked(declaration("age", "ignore"))
        assert "ignore" in next(line for line in said.splitlines() if line.startswith("age "))
        return
    said = looked(code=3)
    suggested = said.partition(" - Try ")[2].partition(", or =categorical")[0]
    if not name.isprintable():
        Path("conf/experiment").mkdir(parents=True)
        setting, _, _ = suggested.partition(" under data:")
        Path("conf/experiment/mine.yaml").write_text(f"# @package _global_\ndata:\n  {setting}\n", encoding="utf-8")
        assert "date" in looked("--config-dir", "conf", "experiment=mine")
        return
    words = shlex.split(suggested)
    assert words == [f"data.columns.{name}=date"]
    line = next(line for line in looked(*words).splitlines() if line.startswith(f"{name} "))
    assert line.removeprefix(name).split()[0] == "date"


def test_a_name_that_polars_takes_for_a_pattern_is_refused() -> None:
    written(columns() | {"^a.*$": [1, 2] * 100})
    assert "however: '^a.*$' - header - Give it another name" in looked(code=3)


def test_declarations_stand_in_the_settings_of_a_run_as_they_were_typed() -> None:
    from dnnlab.runfolder import RunFolder

    written({"größe 1": ["2024-01-11", "2024-05-13"] * 30, **columns(60)})
    words = ["train.py", "data=csv", "data.path=rows.csv", "data.target=label", "data.columns.größe 1=date", "data.columns.age=ignore"]
    quick = ["trainer.epochs=1", "threads=1", "logger.tensorboard=false", "logger.progress=false", "model.hidden=[3]"]
    code, said = door(["python", *words, *quick, "hydra.run.dir=run"])
    assert code == 0, said
    folder = RunFolder.open(Path("run"))
    assert folder.read_config()["data"]["columns"] == {"größe 1": "date", "age": "ignore"}
    assert "data.columns.größe 1=date" in folder.read_run()["command"]
    assert "größe 1: date" in folder.config_yaml.read_text(encoding="utf-8")


def test_a_sweep_may_go_over_what_a_column_is() -> None:
    written(columns() | {"a code": [row % 3 for row in range(200)]})
    quick = ["trainer.epochs=1", "threads=1", "logger.tensorboard=false", "model.hidden=[3]", "hydra.sweep.dir=sweep"]
    words = ["data=csv", "data.path=rows.csv", "data.target=label", "data.columns.a code=numeric,categorical"]
    code, said = door(["dnnlab", "train", "-m", *words, *quick])
    assert code == 0, said
    told = pl.read_csv("sweep/results.csv")
    assert [value for name in told.columns for value in told[name] if value in ("numeric", "categorical")] == ["numeric", "categorical"]


def test_a_plus_sign_is_not_needed_and_does_no_harm() -> None:
    written(columns())
    for word in ("data.columns.age=ignore", "+data.columns.age=ignore", "++data.columns.age=ignore", "data.columns={age: ignore}"):
        assert "ignore" in looked(word)


# Parts of the user's own


OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, inputs, outputs, fault="none"):
        super().__init__()
        self.fault = fault
        self.linear = nn.Linear(inputs + (fault == "inputs"), outputs + (fault == "outputs"))
    def forward(self, x):
        scores = self.linear(x)
        if self.fault == "flat":
            return scores.squeeze(-1)
        if self.fault == "pair":
            return scores, scores
        if self.fault == "attribute":
            return x.no_such_thing
        if self.fault == "key":
            return {}["scores"]
        return scores

class Judge:
    def __init__(self, fault="none"):
        self.fault = fault
    def __call__(self, scores, target):
        if self.fault == "attribute":
            return scores.no_such_thing
        if self.fault == "shape":
            return (scores - torch.zeros(3, 7)).sum(1)
        rows = (scores - target).square().mean(1)
        return rows.mean() if self.fault == "mean" else rows
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """A module with a network and a loss that can be faulty; -> what trusts it."""
    (tmp_path / "parts_of_mine.py").write_text(OWN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    written(columns())
    return ("--trust", "parts_of_mine")


FAULTY = [
    *(("model=custom", "model.target=parts_of_mine.Net", f"+model.args.fault={fault}")
      for fault in ("inputs", "outputs", "flat", "pair", "attribute", "key")),
    *(("loss=custom", "loss.target=parts_of_mine.Judge", f"+loss.args.fault={fault}") for fault in ("attribute", "shape", "mean")),
]  # fmt: skip


@pytest.mark.parametrize("words", FAULTY, ids=lambda words: f"{words[0]} {words[2]}")
def test_a_part_of_ones_own_that_does_not_fit_is_told_before_anything_is_written(own: tuple[str, ...], words: tuple[str, ...]) -> None:
    said = looked(*words, *own, code=2)
    assert said.startswith("dnnlab: error[config]: ")
    assert said.count("\n") == 1
    assert f"{words[0].partition('=')[0]}.target" in said
    rest = ["data=csv", "data.path=rows.csv", "data.target=label", "threads=1"]
    code, again = door(["dnnlab", "train", *rest, *words, *own, "hydra.run.dir=run"])
    assert (code, again.splitlines()[-1]) == (2, said.rstrip())
    assert not Path("run").exists()


def test_a_network_that_answers_too_wide_is_told_even_where_the_loss_would_take_it(own: tuple[str, ...]) -> None:
    words = ("data.target=town", "data.columns.label=ignore", "model=custom", "model.target=parts_of_mine.Net")
    said = looked(*words, "+model.args.fault=outputs", *own, code=2)  # a fourth of three classes, which cross_entropy only makes unlikely
    assert "the scores are (40, 4), not (40, 3)" in said
    looked(*words, *own)


def test_parts_of_ones_own_that_fit_pass(own: tuple[str, ...]) -> None:
    words = ("model=custom", "model.target=parts_of_mine.Net", "loss=custom", "loss.target=parts_of_mine.Judge")
    assert "the first batch passes" in looked(*words, *own)
    code, said = door(["dnnlab", "check", "data=csv", "data.path=rows.csv", "data.target=label", *words])
    assert code == 7, said


def test_d29_a_loss_that_is_infinite_before_anything_is_learned_is_refused() -> None:
    written(columns() | {"label": [1e14 * number for number in _draws(4)]})
    said = looked("data.scale_target=none", code=3)
    assert "the first batch must have a loss that training can begin with" in said
    assert "data.scale_target=standardise" in said


# Looking is free


OPTIMIZERS = ("gd", "sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "nadam", "radam", "adamax", "lbfgs",
              "rprop", "muon")  # fmt: skip
CHANGES: dict[str, dict[str, Any]] = {
    **{kind: {"optimizer": {"kind": kind, "lr": 0.01}, "trainer": {"epochs": 2}} for kind in OPTIMIZERS},
    "batch norm and dropout": {"model": {"kind": "deep", "depth": 2, "width": 8, "norm": "batch"}, "regularization": {"dropout": 0.3}},
    "noise": {"regularization": {"dropout": 0.2, "input_noise": 0.1, "l1": 1e-4}},
    "average": {"trainer.ema": 0.9},
    "autograd": {"trainer.gradients": "autograd"},
    "perceptron": {"model": {"kind": "perceptron"}},
    "autoencoder": {"model": {"kind": "autoencoder", "hidden": [2]}},
    "float64": {"precision": "float64"},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
def test_a_rehearsal_leaves_every_bit_as_it_was(changes: dict[str, Any]) -> None:
    fresh, looked_at = parts(changes), parts(changes)
    before, grad = state(looked_at), looked_at.learner.flat.grad.clone()
    random_before = torch.get_rng_state()
    loss = rehearse(looked_at)
    assert loss >= 0
    assert differences(before, state(looked_at)) == []
    assert torch.equal(looked_at.learner.flat.grad, grad)
    assert torch.equal(torch.get_rng_state(), random_before)
    assert fresh.learner.facts() == looked_at.learner.facts()
    for made in (fresh, looked_at):
        list(made.trainer)
    assert differences(state(fresh), state(looked_at)) == []
    assert differences(before, state(looked_at)) != []


def test_a_rehearsal_that_fails_leaves_every_bit_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    made = parts({"model": {"kind": "deep", "depth": 2, "width": 8, "norm": "batch"}})
    before = state(made)
    made.rows.train.y.mul_(torch.inf)
    with pytest.raises(DataError):
        rehearse(made)
    assert differences(before, state(made)) == []
    assert not made.learner.flat.grad.any()
    made.rows.train.y.fill_(1.0)
    with monkeypatch.context() as patch:
        patch.setattr(type(made.learner), "scores", lambda *arguments: (_ for _ in ()).throw(ValueError("our own fault")))
        with pytest.raises(ValueError, match="our own fault"):  # no part of the user's own: nobody else's fault
            rehearse(made)
    assert differences(before, state(made)) == []


def test_the_loss_that_is_told_is_that_of_the_first_rows() -> None:
    made = parts()
    x, target = made.rows.train.x[:32], made.rows.train.y[:32]
    expected = made.ingredients.question.loss.mean(made.learner.scores(x), target)
    assert rehearse(made) == pytest.approx(float(expected), rel=1e-6)


def test_memory_that_is_needed_is_counted() -> None:
    made = parts({"data": {"kind": "moons", "rows": 1000}, "model.hidden": [8]})
    told = memory_needed(made)
    assert told["rows"] == 1000 * (2 + 1) * 4
    assert told["network"] >= len(made.ingredients.flat.data) * 4 * 3
    assert findings(made) == ()


def test_a_truth_table_is_counted_once() -> None:
    assert memory_needed(parts({"data": {"kind": "xor"}, "trainer.batch_size": 4}))["rows"] == 4 * 3 * 4


def test_a_config_error_is_raised_as_such() -> None:
    with pytest.raises(ConfigError):
        parts({"trainer.monitor": "valid/rmse"})
