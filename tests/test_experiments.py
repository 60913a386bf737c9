"""The experiments show what their first lines say, in small; and the perceptron learns what scikit-learn's does, number for number."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Perceptron
from torch import nn

from dnnlab import pictures
from dnnlab.app import train
from dnnlab.assembly import Parts, assemble
from dnnlab.config.request import Request
from dnnlab.door.arguments import parse
from dnnlab.door.presets import sweeps
from dnnlab.door.survey import CONFIGS
from dnnlab.records import Epoch, Summary
from dnnlab.runfolder import RunFolder
from tests.compositions import EXPERIMENTS, composed, jobs_of, sweep_of
from tests.support import last_state

THE_LIST = {
    "perceptron", "perceptron_fails_xor", "xor", "digits", "breast_cancer", "diabetes", "fashion_mnist", "autoencoder_digits",
    "vanishing_gradient", "dying_relu", "overfitting", "sparsity", "learning_rates", "momentum",
    "adult", "california_housing", "bank_marketing", "covertype", "diamonds",
}  # fmt: skip

Runner = Callable[..., Summary]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Run what a command line asks for, without pictures and TensorBoard."""
    monkeypatch.setattr(pictures, "draw", lambda parts, records: {})

    def run(*words: str) -> Summary:
        config = composed(*words, "logger.tensorboard=false", "logger.progress=false", "device=cpu", "threads=1")
        return train(Request(config, "", config.model_dump(mode="json"), root=tmp_path, brief=True))

    return run


def trained(*words: str) -> tuple[Parts, list[Epoch]]:
    """Train what a command line asks for to its last epoch, whose health is told: nothing is restored, nothing stops early."""
    config = composed(*words, "device=cpu")
    made = assemble(config, health_due=lambda epoch: epoch == config.trainer.epochs)
    return made, list(made.trainer)


def told(summary: Summary) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = RunFolder.open(Path(summary.folder)).read_metrics()
    return rows


def test_every_experiment_of_the_list_is_there() -> None:
    assert set(EXPERIMENTS) == THE_LIST


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_opens_with_its_command_and_says_what_one_sees(experiment: str) -> None:
    text = (CONFIGS / "experiment" / f"{experiment}.yaml").read_text(encoding="utf-8")
    package, command, blank, *words = text.splitlines()
    assert (package, blank) == ("# @package _global_", "#")
    assert re.fullmatch(rf"# python train\.py experiment={experiment}( data\.root=FOLDER)?", command)
    said = " ".join(line for line in words if line.startswith("#"))
    assert re.search(r"\d", said)
    assert "TensorBoard" in said
    assert f"\nname: {experiment}\n" in text


def test_comparisons_sweep_by_themselves() -> None:
    comparing = {name for name in EXPERIMENTS if len(jobs_of(name)) > 1}
    assert comparing == {"vanishing_gradient", "dying_relu", "overfitting", "sparsity", "learning_rates", "momentum"}
    for name in EXPERIMENTS:
        assert sweeps(parse([f"experiment={name}"])) == (name in comparing)
        assert not sweeps(parse([f"experiment={name}", "hydra.mode=RUN"]))
        assert not sweeps(parse([f"experiment={name}", "--cfg", "job"]))


# The perceptron.

SEPARABLE = (["data=and"], ["data=or"], ["data=blobs", "data.classes=2", "data.features=10"])


@pytest.mark.parametrize("data", SEPARABLE, ids=lambda data: data[0])
@pytest.mark.parametrize("seed", range(3))
def test_the_perceptron_gets_every_separable_row_right_and_stops_there(data: list[str], seed: int, run: Runner) -> None:
    summary = run("experiment=perceptron", *data, f"seed={seed}")
    assert summary.metrics["train/accuracy"] == 1.0
    rows = told(summary)
    assert rows[-1]["train/accuracy"] == 1.0
    assert all(row["train/accuracy"] < 1 for row in rows[:-1]), "it stops as soon as every row is right"
    assert summary.epochs < 1000


def test_the_perceptron_fails_on_xor(run: Runner) -> None:
    summary = run("experiment=perceptron_fails_xor", "trainer.epochs=200", "logger.every=1")
    reached = [row["train/accuracy"] for row in told(summary)]
    assert summary.epochs == 200, "nothing stops it"
    assert len(reached) == 200
    assert max(reached) <= 0.75
    assert summary.metrics["train/accuracy"] <= 0.75


PERCEPTRON = (
    "experiment=perceptron",
    "precision=float64",
    "trainer.shuffle=false",
    "trainer.stop_at.metric=null",
    "trainer.monitor=train/loss",
)


@pytest.mark.parametrize("data", ["breast_cancer", "moons", "iris", "wine"])
@pytest.mark.parametrize("epochs", [1, 7])
def test_the_perceptron_has_the_weights_of_scikit_learns(data: str, epochs: int) -> None:
    made, _ = trained(*PERCEPTRON, f"data={data}", f"trainer.epochs={epochs}")
    x, y = made.rows.train.x.numpy(), made.rows.train.y.numpy().ravel()
    reference = Perceptron(shuffle=False, tol=None, max_iter=epochs, eta0=1.0).fit(x, y.astype(int))
    weights = made.learner.weights()
    assert weights["output.linear.weight"].dtype == torch.float64
    assert weights["output.linear.weight"].shape == reference.coef_.shape
    np.testing.assert_allclose(weights["output.linear.weight"].numpy(), reference.coef_, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(weights["output.linear.bias"].numpy(), reference.intercept_, rtol=1e-12, atol=1e-12)
    assert np.abs(reference.coef_).max() > 0.5, "it has learned something to compare"


# One run.


def test_a_hidden_layer_learns_xor(run: Runner) -> None:
    summary = run("experiment=xor")
    assert summary.metrics["train/accuracy"] == summary.metrics["test/accuracy"] == 1.0
    assert summary.metrics["train/loss"] < 0.01
    assert told(summary)[0]["train/loss"] > 0.6, "it begins by guessing"


def test_an_autoencoder_restores_more_than_the_mean_does() -> None:
    made, _ = trained("experiment=autoencoder_digits", "trainer.epochs=10")
    test, mean = made.rows.test, made.rows.train.x.mean(0)
    assert test is not None
    by_the_mean = (test.x - mean).square().mean().item()
    restored = made.judge(test, ("rmse",))["rmse"] ** 2
    assert restored < 0.5 * by_the_mean


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experiment", "metric", "least"),
    [("digits", "test/accuracy", 0.97), ("breast_cancer", "test/accuracy", 0.96), ("diabetes", "test/r2", 0.40)],
)
def test_presets_for_real_data_are_good(experiment: str, metric: str, least: float, run: Runner) -> None:
    assert run(f"experiment={experiment}").metrics[metric] >= least


SHARED = Path(__file__).parents[2] / "shared" / "data"  # real files, which the repository does not bring
TABLES = [  # preset, its folder, the least or the greatest of each figure that one seed may have
    ("adult", "adult", {"test/accuracy": 0.850, "test/roc_auc": 0.900}, {}),
    ("california_housing", "california_housing", {"test/r2": 0.77}, {"test/rmse": 55_000.0}),
    ("bank_marketing", "bank_marketing", {"test/accuracy": 0.893, "test/roc_auc": 0.78}, {}),
    ("covertype", "covtype_20k", {"test/accuracy": 0.82, "test/f1": 0.82}, {}),
    ("diamonds", "diamonds", {"test/r2": 0.96}, {"test/rmsle": 0.106}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("experiment", "folder", "least", "greatest"), TABLES, ids=[row[0] for row in TABLES])
def test_presets_for_real_tables_are_good(
    experiment: str, folder: str, least: dict[str, float], greatest: dict[str, float], run: Runner
) -> None:
    if not (SHARED / folder).is_dir():
        pytest.skip(f"the real files of {experiment} are not here: {folder} is no folder of the shared data")
    metrics = run(f"experiment={experiment}", f"data.root={SHARED / folder}").metrics
    assert {name: metrics[name] for name, bound in least.items() if not metrics[name] > bound} == {}
    assert {name: metrics[name] for name, bound in greatest.items() if not metrics[name] < bound} == {}


@pytest.mark.slow
def test_the_first_command_reads_more_than_97_of_100_digits(run: Runner) -> None:
    assert run("model=mlp", "optimizer=adam").metrics["test/accuracy"] > 0.97


# Comparisons.


def test_the_gradient_vanishes_in_a_deep_sigmoid_network_and_not_with_relu_and_normalisation() -> None:
    shares = {}
    for name, words in {
        "sigmoid": ("activation=sigmoid", "model.norm=none"),
        "relu": ("activation=relu", "model.norm=batch"),
    }.items():
        made, (record,) = trained("experiment=vanishing_gradient", "initialization=auto", *words, "trainer.epochs=1")
        shares[name] = record.health["health/hidden1/gradient_norm"] / record.health["health/hidden10/gradient_norm"]
        assert len(list(made.learner.network.children())) == 11
    assert shares["sigmoid"] < 1e-4
    assert shares["relu"] > 0.1


@pytest.mark.slow
def test_the_deep_sigmoid_network_does_not_learn_and_the_cure_does(run: Runner) -> None:
    sick = run("experiment=vanishing_gradient", "activation=sigmoid", "model.norm=none", "initialization=auto")
    cured = run("experiment=vanishing_gradient", "activation=relu", "model.norm=batch", "initialization=auto")
    assert sick.metrics["train/accuracy"] < 0.15
    assert cured.metrics["test/accuracy"] > 0.9
    assert any("vanish" in finding.text for finding in sick.findings)


def stuck(made: Parts) -> float:
    """The share of the units of hidden2 and hidden3 that no training row gives a gradient to."""
    weights = {name: tensor.clone().requires_grad_() for name, tensor in made.learner.weights().items()}
    scores = torch.func.functional_call(made.learner.network, weights, (made.rows.train.x,))
    loss = nn.functional.cross_entropy(scores, made.rows.train.y)
    gradients = torch.autograd.grad(loss, [weights[f"{layer}.linear.weight"] for layer in ("hidden2", "hidden3")])
    return float(torch.stack([(gradient == 0).all(1).float().mean() for gradient in gradients]).mean())


def test_relu_units_die_at_a_high_rate_and_leaky_ones_go_on_learning() -> None:
    dying, records = trained("experiment=dying_relu", "activation=relu", "optimizer.lr=0.1")
    leaky, leaky_records = trained("experiment=dying_relu", "activation=leaky_relu", "optimizer.lr=0.1")
    gentle, gentle_records = trained("experiment=dying_relu", "activation=relu", "optimizer.lr=0.001")
    dead = {name: value for name, value in records[-1].health.items() if name.endswith("/dead")}
    assert dead["health/hidden2/dead"] > 0.8
    assert dead["health/hidden3/dead"] > 0.8
    assert max(value for name, value in gentle_records[-1].health.items() if name.endswith("/dead")) < 0.2
    assert not [name for name in leaky_records[-1].health if name.endswith("/dead")], "a leaky unit cannot die"
    assert stuck(dying) > 0.5
    assert stuck(leaky) == 0
    accuracy = [made.judge(made.rows.train, ("accuracy",))["accuracy"] for made in (dying, leaky, gentle)]
    assert accuracy[0] < accuracy[1] - 0.2
    assert accuracy[2] > 0.98


def test_overfitting_shows_and_each_cure_closes_the_gap(run: Runner) -> None:
    swept = sweep_of("overfitting")
    none = [f"{setting}={values[0]}" for setting, values in swept.items()]
    gaps = {}
    for cure in (None, *swept):
        words = [f"{setting}={swept[setting][1]}" if setting == cure else word for setting, word in zip(swept, none, strict=True)]
        metrics = run("experiment=overfitting", *words, "trainer.epochs=250", "trainer.validate_every=5epochs", "seed=3").metrics
        gaps[cure] = metrics["valid/loss"] - metrics["train/loss"]
    assert gaps[None] > 0.2
    assert all(gap < 0.6 * gaps[None] for cure, gap in gaps.items() if cure is not None), gaps


@pytest.mark.parametrize(("scope", "keep"), [("global", 0.1), ("global", 0.01), ("layer", 0.05)])
def test_sparsity_leaves_exactly_as_many_weights_as_were_asked_for(scope: str, keep: float, run: Runner) -> None:
    words = ("experiment=sparsity", f"regularization.sparsity.keep={keep}", f"regularization.sparsity.scope={scope}", "trainer.epochs=6")
    summary = run(*words)
    state = last_state(summary.folder)
    weights = [state[f"model.{layer}.linear.weight"] for layer in ("hidden1", "hidden2", "output")]
    sizes = [tensor.numel() for tensor in weights]
    assert sizes == [64 * 256, 256 * 128, 128 * 10]
    left = [int(tensor.count_nonzero()) for tensor in weights]
    assert sum(left) == round(keep * sum(sizes)) if scope == "global" else left == [round(keep * size) for size in sizes]
    zeros = [told(summary)[-1][f"health/{layer}/zeros"] for layer in ("hidden1", "hidden2", "output")]
    assert zeros == pytest.approx([1 - few / size for few, size in zip(left, sizes, strict=True)])


def test_a_rate_can_be_too_small_right_and_too_large(run: Runner) -> None:
    rates = sweep_of("learning_rates")["optimizer.lr"]
    runs = [run("experiment=learning_rates", f"optimizer.lr={rate}", "trainer.epochs=8") for rate in (rates[0], "0.1", rates[-1])]
    small, right, large = (summary.metrics["train/accuracy"] for summary in runs)
    assert small < 0.4
    assert right > 0.95
    assert large < 0.2
    assert {summary.status for summary in runs} == {"finished"}, "the table of the comparison shows no failure"


def test_momentum_arrives_sooner(run: Runner) -> None:
    plain, *others = (told(run("experiment=momentum", f"optimizer={kind}"))[-1]["train/loss"] for kind in sweep_of("momentum")["optimizer"])
    assert all(loss < 0.4 * plain for loss in others)
