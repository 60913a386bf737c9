"""Law 2: stopped anywhere, also inside an epoch, saved to files and continued in a new process = never stopped, bit for bit.

The first half looks at trainers, the second at run folders: a process that dies at a step is an exception that nobody hears.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from dnnlab.app import resume, train
from dnnlab.config.request import Request
from dnnlab.records import Epoch
from dnnlab.resume import Order
from tests.support import Parts, differences, differing, dying, newest, parts, settings, state

pytestmark = pytest.mark.usefixtures("quick_runs")
EPOCHS, STEPS = 3, 15  # 144 training rows in batches of 32: 5 steps an epoch

OPTIMIZERS = (
    "gd", "sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "nadam", "radam", "adamax", "lbfgs", "rprop",
    "muon",
)  # fmt: skip
RULES: dict[str, dict[str, Any]] = {
    "dropout and noise": {"regularization": {"dropout": 0.3, "input_noise": 0.1}},
    "batch normalisation": {"model": {"kind": "deep", "depth": 2, "width": 8, "norm": "batch"}},
    "average of weights": {"trainer.ema": 0.9},
    "plateau": {"scheduler": {"kind": "plateau", "patience": 1, "min_delta": 10.0}},
    "one cycle with warm-up": {"scheduler": {"kind": "one_cycle", "warmup": "2steps"}},
    "sparsity": {"regularization": {"sparsity": {"keep": 0.3}, "l1": 0.001, "l1_mode": "proximal"}},
    "validation inside epochs": {"trainer.validate_every": "2steps"},
    "accumulation": {"trainer.accumulate": 2, "trainer.batch_size": 16},
}


def stop_at(made: Parts, step: int) -> list[Epoch]:
    """Train, and ask for a stop while step number `step` is taken."""
    learner, take = made.learner, made.learner.step

    def taking(x: Any, target: Any, number: int, lr: float, loss: Any) -> None:
        take(x, target, number, lr, loss)
        if number + 1 == step:
            made.trainer.stop()

    learner.step = taking  # type: ignore[method-assign]
    records = list(made.trainer)
    learner.step = take  # type: ignore[method-assign]
    return records


def moved(made: Parts, changes: dict[str, Any], folder: Path) -> Parts:
    """The same run in new objects, by way of files."""
    save_file(state(made), folder / "state.safetensors")
    facts = json.loads(json.dumps({"learner": made.learner.facts(), "trainer": made.trainer.facts()}))
    fresh, tensors = parts(changes), load_file(folder / "state.safetensors")
    fresh.learner.load(tensors, facts["learner"])
    fresh.trainer.load(tensors, facts["trainer"])
    return fresh


def told(records: list[Epoch]) -> list[tuple[int, int, dict[str, float]]]:
    return [(record.epoch, record.step, dict(record.metrics)) for record in records]


def check(changes: dict[str, Any], stops: tuple[int, ...], folder: Path) -> None:
    whole = parts(changes)
    wanted = told(list(whole.trainer))
    for step in stops:
        broken = parts(changes)
        before = stop_at(broken, step)
        resumed = moved(broken, changes, folder)
        assert resumed.trainer.position.step == step
        after = list(resumed.trainer)
        assert told(before + after) == wanted
        assert differences(state(whole), state(resumed)) == []


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_resume_equals_uninterrupted_for_every_optimizer(kind: str, tmp_path: Path) -> None:
    full = kind in ("gd", "lbfgs")
    lr = {} if kind in ("lbfgs", "adadelta") else {"lr": 0.01}
    changes = {"optimizer": {"kind": kind, **lr}, "trainer.batch_size": "full" if full else 32, "trainer.epochs": EPOCHS}
    check(changes, (1, 2) if full else (1, 4, 5, 7, 12), tmp_path)


@pytest.mark.parametrize("changes", RULES.values(), ids=RULES.keys())
def test_resume_equals_uninterrupted_for_every_rule(changes: dict[str, Any], tmp_path: Path) -> None:
    check(changes, (1, 3, 5, 8), tmp_path)


@pytest.mark.slow
def test_resume_equals_uninterrupted_at_every_step(tmp_path: Path) -> None:
    check({"regularization": {"dropout": 0.3}, "trainer.ema": 0.9}, tuple(range(1, STEPS)), tmp_path)


def test_resuming_twice_in_a_row_changes_nothing(tmp_path: Path) -> None:
    changes = {"regularization": {"dropout": 0.3}}
    whole = parts(changes)
    wanted = told(list(whole.trainer))
    first = parts(changes)
    records = stop_at(first, 3)
    second = moved(first, changes, tmp_path)
    records += stop_at(second, 9)
    third = moved(second, changes, tmp_path)
    records += list(third.trainer)
    assert told(records) == wanted
    assert differences(state(whole), state(third)) == []


# Run folders

QUIET = {"logger": {"progress": False, "tensorboard": False}, "trainer.checkpoint_every": "1steps"}
KINDS = {
    "early stopping": {"trainer.early_stopping.patience": 1, "trainer.early_stopping.min_delta": 10.0},
    "a value to stop at": {"trainer.stop_at": {"metric": "valid/accuracy", "value": 0.5}},
    "last state": {"trainer.restore_best": False},
    "sampling": {"trainer.sampling": "balanced"},
    "float64": {"precision": "float64"},
    "a table": {"data": {"kind": "iris"}},
    "cosine": {"scheduler": {"kind": "cosine"}},
    **RULES,
}


def begin(changes: dict[str, Any], folder: Path, step: int | None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that dies as soon as the checkpoint of a step is written, if one is named."""
    config = settings({**QUIET, **changes})
    request = Request(config, "name: test\n", config.model_dump(mode="json"), folder=folder, brief=True)
    with dying(step, monkeypatch):
        train(request)
    return folder


def go_on(folder: Path, monkeypatch: pytest.MonkeyPatch, step: int | None = None, **wishes: Any) -> Path:
    """Continue it; it may die again."""
    with dying(step, monkeypatch):
        resume(Order(folder, brief=True, **wishes))
    return folder


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_killed_run_goes_on_bit_for_bit_with_every_optimizer(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = kind in ("gd", "lbfgs")
    lr = {} if kind in ("lbfgs", "adadelta") else {"lr": 0.01}
    changes = {"optimizer": {"kind": kind, **lr}, "trainer.batch_size": "full" if full else 32}
    whole = begin(changes, tmp_path / "whole", None, monkeypatch)
    broken = begin(changes, tmp_path / "broken", 2 if full else 7, monkeypatch)
    assert differing(go_on(broken, monkeypatch), whole) == []


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS.keys())
def test_a_killed_run_goes_on_bit_for_bit_with_every_rule(changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside an epoch, and at the border of one."""
    whole = begin(changes, tmp_path / "whole", None, monkeypatch)
    for step in (3, newest(whole).document["facts"]["trainer"]["position"]["step"] // 2, newest(whole).step - 1):
        broken = begin(changes, tmp_path / f"broken{step}", step, monkeypatch)
        assert differing(go_on(broken, monkeypatch), whole) == [], step


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_for_bit_from_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"regularization": {"dropout": 0.3}, "trainer.ema": 0.9, "scheduler": {"kind": "plateau", "patience": 1, "min_delta": 10.0}}
    whole = begin(changes, tmp_path / "whole", None, monkeypatch)
    for step in range(1, STEPS + 1):
        broken = begin(changes, tmp_path / f"broken{step}", step, monkeypatch)
        assert differing(go_on(broken, monkeypatch), whole) == [], step


def test_t02_killed_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"regularization": {"dropout": 0.3}}
    whole = begin(changes, tmp_path / "whole", None, monkeypatch)
    broken = begin(changes, tmp_path / "broken", 3, monkeypatch)
    for step in (4, 5, 11):
        go_on(broken, monkeypatch, step)
    assert differing(go_on(broken, monkeypatch), whole) == []


def test_pauses_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law 4: a checkpoint at every step leaves the bits of a run that has one at its end only."""
    often = begin({}, tmp_path / "often", None, monkeypatch)
    seldom = begin({"trainer.checkpoint_every": "1000epochs"}, tmp_path / "seldom", None, monkeypatch)
    assert set(differing(often, seldom)) == {"config.json"}


def test_a_run_that_is_longer_has_the_bits_of_one_that_was_so_from_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = begin({"trainer.restore_best": False}, tmp_path / "short", None, monkeypatch)
    long = begin({"trainer.restore_best": False, "trainer.epochs": 5}, tmp_path / "long", None, monkeypatch)
    go_on(short, monkeypatch, changes={"trainer.epochs": 5})
    assert set(differing(short, long)) <= {"config.yaml"}  # written by a program this time
