"""Law 3. Member k of a stack equals the solo run of its settings: in float64 to 1e-12, for all that a stack lets differ."""

from __future__ import annotations

from typing import Any

import pytest

from dnnlab.activations import MODULES
from tests.stacks import Trained, alone, furthest

R = "regularization."
EXACT = 1e-12

RULES: dict[str, list[dict[str, Any]]] = {
    **{kind: [{"optimizer": {"kind": kind, "lr": lr}, "seed": seed} for seed, lr in ((0, 0.02), (1, 0.02), (2, 0.003))]
       for kind in ("sgd", "momentum", "nesterov", "adam", "adamw", "adagrad", "adadelta", "rmsprop", "nadam", "radam", "adamax")},
    "one rate": [{"optimizer": {"kind": "adam", "lr": 0.02}, "seed": seed} for seed in range(3)],
    "momentum differs": [{"optimizer": {"kind": "momentum", "lr": 0.01, "momentum": m}} for m in (0.9, 0.5)],
    "nesterov differs": [{"optimizer": {"kind": "nesterov", "lr": 0.01, "momentum": m}} for m in (0.9, 0.5)],
    "betas differ": [{"optimizer": {"kind": "adam", "lr": 0.01, "betas": [b, 0.99]}} for b in (0.9, 0.5)],
    "eps differs": [{"optimizer": {"kind": "adamw", "lr": 0.01, "eps": eps}} for eps in (1e-8, 1e-3)],
    "decay differs": [{"optimizer": {"kind": "adamw", "lr": 0.01, "weight_decay": decay}} for decay in (0.0, 0.5, 0.1)],
    "decay of a torch rule": [{"optimizer": {"kind": "nadam", "lr": 0.01, "weight_decay": decay}} for decay in (0.0, 0.5)],
}  # fmt: skip
REGULARIZERS: dict[str, list[dict[str, Any]]] = {
    "l1": [{R + "l1": v} for v in (0.0, 0.01)],
    "l1 proximal": [{R + "l1": v, R + "l1_mode": mode} for v, mode in ((0.0, "proximal"), (0.01, "proximal"), (0.01, "subgradient"))],
    "l2": [{R + "l2": v} for v in (0.0, 0.01)],
    "dropout": [{R + "dropout": v, "seed": k} for k, v in enumerate((0.0, 0.3, 0.3))],
    "input dropout": [{R + "input_dropout": v} for v in (0.0, 0.2, 0.3)],
    "input noise": [{R + "input_noise": v, R + "input_dropout": d} for v, d in ((0.0, 0.1), (0.2, 0.0))],
    "max norm": [{R + "max_norm": v} for v in (None, 0.5, 1.0)],
    "clip norm": [{R + "clip_norm": v} for v in (None, 0.1)],
    "clip value": [{R + "clip_value": v} for v in (None, 0.001)],
    "sparsity": [{R + "sparsity": {"keep": v, "scope": s}} for v, s in ((None, "global"), (0.3, "global"), (0.5, "layer"))],
    "ema": [{"trainer.ema": v} for v in (0.0, 0.9, 0.5)],
    "gradient limit": [{"trainer.gradient_limit": v} for v in (None, 100.0)],
}
LOSSES: dict[str, list[dict[str, Any]]] = {
    "smoothing": [{"loss": {"kind": "cross_entropy", "label_smoothing": v}} for v in (0.0, 0.1, 0.2)],
    "binary smoothing": [{"data": {"kind": "moons", "rows": 200}, "loss": {"kind": "bce", "label_smoothing": v}} for v in (0.0, 0.1)],
    "class weights": [{"loss": {"kind": "cross_entropy", "class_weights": v}} for v in (None, "balanced", [1.0, 2.0, 3.0])],
    "binary weights": [{"data": {"kind": "moons", "rows": 200}, "loss": {"kind": "bce", "class_weights": v}} for v in (None, [1.0, 3.0])],
    "focal": [{"loss": {"kind": "focal", "gamma": g, "class_weights": w}} for g, w in ((1.0, None), (2.0, [1.0, 2.0, 3.0]))],
    "huber": [{"data": {"kind": "diabetes"}, "loss": {"kind": "huber", "delta": v}} for v in (0.5, 1.0)],
    "hinge": [{"loss": {"kind": "squared_hinge"}, "seed": seed} for seed in range(2)],
    "mse": [{"data": {"kind": "diabetes"}, "seed": seed} for seed in range(2)],
}
SCHEDULES = {
    "schedules": [{"scheduler": {"kind": kind}} for kind in ("constant", "cosine", "one_cycle", "exponential", "warmup_stable_decay")],
    "plateau": [{"scheduler": {"kind": "plateau", "patience": p}, "optimizer": {"kind": "adam", "lr": 0.3}} for p in (1, 2)],
}
DATA = {
    "seeds": [{"seed": seed} for seed in range(3)],
    "one split": [{"seed": seed, "data": {"kind": "iris", "split_seed": 1}} for seed in range(3)],
    "one order": [{"optimizer": {"kind": "adam", "lr": lr}} for lr in (0.1, 0.01)],
    "no shuffle": [{"seed": seed, "trainer.shuffle": False} for seed in range(2)],
    "folds": [{"data": {"kind": "iris", "folds": 5, "fold": fold}} for fold in range(3)],
    "balanced": [{"seed": seed, "trainer.sampling": "balanced"} for seed in range(2)],
    "full batch": [{"seed": seed, "trainer.batch_size": "full"} for seed in range(2)],
    "within epochs": [{"seed": seed, "trainer.validate_every": "2steps"} for seed in range(2)],
    "initialization": [{"initialization": {"kind": kind}} for kind in ("zeros", "xavier_normal", "kaiming_uniform")],
}


ACTIVATIONS = {kind: [{"activation": {"kind": kind}, "seed": seed} for seed in range(2)] for kind in MODULES if kind != "prelu"}


@pytest.mark.parametrize(
    "changes", [pytest.param(c, id=n) for n, c in (ACTIVATIONS | RULES | REGULARIZERS | LOSSES | SCHEDULES | DATA).items()]
)
def test_a_member_is_its_solo_run(changes: list[dict[str, Any]]) -> None:
    base = {"precision": "float64", "data": {"kind": "iris"}, "optimizer": {"kind": "adam", "lr": 0.01}}
    stack = Trained(changes, base)
    assert stack.networks == "WrittenNetworks"
    _compare(stack, changes, base)


NETWORKS = {
    "batch normalisation": {"model": {"kind": "deep", "depth": 3, "width": 9, "norm": "batch"}, R + "dropout": 0.2},
    "layer normalisation": {"model": {"kind": "deep", "depth": 3, "width": 9, "norm": "layer"}, R + "input_noise": 0.1},
    "residual": {"model": {"kind": "deep", "depth": 4, "width": 8, "norm": "batch", "residual": True}},
    "prelu": {"activation": {"kind": "prelu"}},
    "tied autoencoder": {"model": {"kind": "autoencoder", "hidden": [8], "bottleneck": 2, "tied": True}},
    "periodic": {"embedding": {"kind": "periodic"}},
    "piecewise linear": {"embedding": {"kind": "piecewise_linear"}},
    "asked for": {"trainer.gradients": "autograd"},
}


@pytest.mark.parametrize("changes", [pytest.param(c, id=n) for n, c in NETWORKS.items()])
def test_a_member_that_only_autograd_covers_is_its_solo_run_too(changes: dict[str, Any]) -> None:
    members = [{"seed": 0}, {"seed": 1, R + "l2": 0.01}, {"seed": 1, "optimizer": {"kind": "adam", "lr": 0.003}}]
    base = {"precision": "float64", "data": {"kind": "iris"}, **changes}
    stack = Trained(members, base)
    assert stack.networks == "MappedNetworks"
    _compare(stack, members, base)


def test_dropout_at_some_members_only_is_no_hindrance_to_autograd() -> None:
    base = {"precision": "float64", "model": {"kind": "deep", "depth": 3, "width": 9, "norm": "batch"}}
    members = [{R + "dropout": rate, "seed": 3} for rate in (0.0, 0.2)]
    _compare(Trained(members, base), members, base)


@pytest.mark.parametrize("kind", ["perceptron", "linear"])
def test_models_of_one_layer(kind: str) -> None:
    base = {"precision": "float64", "model": {"kind": kind}, "optimizer": {"kind": "sgd", "lr": 0.1}}
    members: list[dict[str, Any]] = [{"seed": seed} for seed in range(2)]
    _compare(Trained(members, base), members, base)


def test_in_float32_the_metrics_are_the_same() -> None:
    base = {"data": {"kind": "digits"}, "trainer": {"epochs": 4, "batch_size": 64}}
    members = [{"seed": seed, "optimizer": {"kind": "adam", "lr": 0.003}} for seed in range(3)]
    stack = Trained(members, base)
    for member, changes in enumerate(members):
        assert stack.records[member][-1].metrics == pytest.approx(dict(alone(changes, base)[1][-1].metrics), abs=2e-3)


def _compare(stack: Trained, changes: list[dict[str, Any]], base: dict[str, Any]) -> None:
    assert not stack.lost
    for member, own in enumerate(changes):
        parts, records = alone(own, base)
        assert furthest(stack.parts[member], parts) < EXACT
        assert len(stack.records[member]) == len(records)
        absent = {f"train/penalty/{name}" for name in ("l1", "l2")} - set(records[0].metrics)
        for mine, its in zip(stack.records[member], records, strict=True):
            assert (mine.epoch, mine.step, mine.ends_epoch) == (its.epoch, its.step, its.ends_epoch)
            assert {name: value for name, value in mine.metrics.items() if name not in absent} == pytest.approx(
                dict(its.metrics), rel=EXACT
            )
            assert dict(mine.health) == pytest.approx(dict(its.health), rel=1e-9, abs=EXACT)
