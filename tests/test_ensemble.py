"""Several networks as one: the mean of the answers, the folder, greedy selection, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from dnnlab import app, cli
from dnnlab.config.request import Request
from dnnlab.config.yamlfile import as_yaml
from dnnlab.ensemble import Ensemble, combined, evaluate, is_ensemble, make, members_of, open_any, together
from dnnlab.errors import ArtifactError, BusyError, ConfigError, UntrustedError
from dnnlab.evaluate import evaluate_file
from dnnlab.predictor import Predictor, load
from tests.support import settings

QUIET = {"tensorboard": False, "progress": False}


def run(folder: Path, changes: dict[str, Any]) -> Path:
    """A finished run."""
    config = settings({"logger": QUIET, "trainer": {"epochs": 4, "batch_size": 32}, **changes})
    document = config.model_dump(mode="json")
    app.train(Request(config, as_yaml(document), document, folder=folder, brief=True))
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs of each task, divided alike."""
    root = tmp_path_factory.mktemp("ensemble")
    tasks = {"many": {"kind": "iris"}, "two": {"kind": "moons", "rows": 200}, "numbers": {"kind": "diabetes"}}
    for name, data in tasks.items():
        for seed in range(3):
            fixed = {"split_seed": 0} if name != "two" else {}
            run(
                root / name / str(seed),
                {"data": {**data, **fixed}, "seed": seed if name != "two" else 0, "optimizer.lr": 0.01 * (1 + seed)},
            )
    return root


def runs(home: Path, task: str) -> list[Path]:
    """The runs of one task."""
    return sorted((home / task).iterdir())


@pytest.mark.parametrize("task", ["many", "two", "numbers"])
def test_the_answer_is_the_mean_of_the_answers(home: Path, task: str) -> None:
    members = [load(path) for path in runs(home, task)]
    found = together([load(path) for path in runs(home, task)], [1.0, 1.0, 2.0], ["a", "b", "c"])
    rows = torch.randn(20, len(members[0].schema.inputs), dtype=torch.float64).numpy()
    frame = pl.DataFrame({column.name: rows[:, place] for place, column in enumerate(members[0].schema.inputs)})
    own = [member.predict(frame, proba=True) for member in members]
    told = found.predict(frame, proba=True)
    assert told.columns == own[0].columns
    for name in told.columns:
        if told[name].dtype != pl.String:
            wanted = sum(weight * frame[name].to_numpy() for weight, frame in zip((0.25, 0.25, 0.5), own, strict=True))
            np.testing.assert_allclose(told[name].to_numpy(), wanted, rtol=1e-9)
    assert found.notes.rows == 20


def test_one_member_is_itself(home: Path) -> None:
    member = load(runs(home, "many")[0])
    scores = torch.randn(50, 3, dtype=torch.float64)
    again = combined([member], [1.0], [scores])
    torch.testing.assert_close(again.softmax(1), scores.softmax(1))


@pytest.mark.parametrize("greedy", [False, True])
def test_a_folder_answers_like_the_ensemble_in_memory(home: Path, tmp_path: Path, greedy: bool) -> None:
    made = make(runs(home, "many"), tmp_path / "out", greedy=greedy)
    opened = open_any(tmp_path / "out")
    assert isinstance(opened, Ensemble)
    assert opened.weights == pytest.approx(made.weights)
    assert sum(made.weights) == pytest.approx(1.0)
    figures = evaluate(opened, tmp_path / "out")
    assert set(figures) >= {"valid/accuracy", "test/log_loss"}
    if greedy:
        alone = [evaluate(together([load(path)], [1.0], ["x"]), _alone(path, tmp_path / f"one{path.name}")) for path in runs(home, "many")]
        assert figures["valid/log_loss"] <= min(one["valid/log_loss"] for one in alone) + 1e-9


def _alone(path: Path, to: Path) -> Path:
    make([path], to)
    return to


def test_a_file_is_answered_and_judged(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(runs(home, "many"), tmp_path / "out")
    member = load(runs(home, "many")[0])
    rows = np.random.default_rng(0).normal(size=(12, 4))
    frame = pl.DataFrame({column.name: rows[:, place] for place, column in enumerate(member.schema.inputs)})
    frame = frame.with_columns(pl.Series(member.schema.targets[0], [member.classes[number % 3] for number in range(12)]))
    frame.write_csv(tmp_path / "rows.csv")
    assert "accuracy" in evaluate_file(open_any(tmp_path / "out"), str(tmp_path / "rows.csv"))
    for words in (["predict", str(tmp_path / "out"), str(tmp_path / "rows.csv"), "--proba"], ["evaluate", str(tmp_path / "out")],
                  ["verify", str(tmp_path / "out")]):  # fmt: skip
        assert cli.guarded(lambda words=words: cli._verb(words)) == 0  # type: ignore[misc]
    assert "probability_" in capsys.readouterr().out


def test_what_cannot_answer_together_is_refused(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="same columns, targets and classes"):
        make([runs(home, "many")[0], runs(home, "two")[0]], tmp_path / "out")
    auto = run(tmp_path / "auto", {"data": {"kind": "iris"}, "model": {"kind": "autoencoder", "hidden": [8], "bottleneck": 2}})
    with pytest.raises(ConfigError, match="autoencoders restore rows"):
        make([auto], tmp_path / "out")
    with pytest.raises(ConfigError, match="1 to 1,000 members"):
        make([], tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(BusyError):
        make(runs(home, "many"), tmp_path / "full")


def test_members_that_were_divided_differently_are_not_judged_by_their_own_rows(home: Path, tmp_path: Path) -> None:
    other = run(tmp_path / "other", {"data": {"kind": "iris", "split_seed": 7}})
    made = make([runs(home, "many")[0], other], tmp_path / "out")
    with pytest.raises(ConfigError, match="divided alike"):
        evaluate(made, tmp_path / "out")
    with pytest.raises(ConfigError, match="divided alike"):
        make([runs(home, "many")[0], other], tmp_path / "greedy", greedy=True)


def test_a_forged_ensemble_is_refused(home: Path, tmp_path: Path) -> None:
    make(runs(home, "many"), tmp_path / "out")
    path = tmp_path / "out" / "ensemble.json"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"members/0", b"../others"))
    with pytest.raises(ArtifactError, match="whole"):
        members_of(tmp_path / "out")
    path.write_bytes(content)
    state = next((tmp_path / "out" / "members" / "1").rglob("best.safetensors"))
    state.unlink()
    state.symlink_to(runs(home, "many")[1] / state.relative_to(tmp_path / "out" / "members" / "1"))
    with pytest.raises((ArtifactError, UntrustedError)):
        open_any(tmp_path / "out")
    assert is_ensemble(tmp_path / "out")
    assert isinstance(open_any(runs(home, "many")[0]), Predictor)
