"""The best threshold is the best of all, for either form of two classes; a run answers with it; rmsle and logarithms of a target."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from math import isnan, nextafter
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as some
from sklearn import metrics as reference
from torch import Tensor

from dnnlab import metrics, pictures, thresholds
from dnnlab.app import train
from dnnlab.assembly import Parts, tuned
from dnnlab.config.metrics import ThresholdMetric
from dnnlab.config.request import Request
from dnnlab.errors import ConfigError
from dnnlab.records import Summary
from dnnlab.tasks import Answer, Task
from dnnlab.thresholds import best_threshold
from tests.support import parts, settings
from tests.test_data import idx_bytes

METRICS = get_args(ThresholdMetric)


def share(above: int, below: int) -> Fraction:
    return Fraction(above, below) if below else Fraction(0)


def quality(p: list[float], target: list[int], threshold: float, metric: str) -> Fraction:
    """The figure by its definition, without rounding."""
    said = [(int(value > threshold), code) for value, code in zip(p, target, strict=True)]
    tp, fp, fn, tn = (said.count(pair) for pair in ((1, 1), (1, 0), (0, 1), (0, 0)))
    recalls = [share(right, rows) for right, rows in ((tp, tp + fn), (tn, tn + fp)) if rows]
    return {
        "accuracy": share(tp + tn, len(said)),
        "balanced_accuracy": sum(recalls, Fraction(0)) / len(recalls),
        "precision": share(tp, tp + fp),
        "recall": share(tp, tp + fn),
        "f1": share(2 * tp, 2 * tp + fp + fn),
    }[metric]


def brute_force(p: list[float], target: list[int], metric: str) -> float:
    """Every candidate in turn: the best, the nearest to 0.5 among equals, then the lowest."""
    values = sorted(set(p))
    middles = [middle if (middle := low + (high - low) / 2) < high else low for low, high in pairwise(values)]  # neighbours have none
    return min([0.5, *middles], key=lambda cut: (-quality(p, target, cut, metric), abs(cut - 0.5), cut))


ROWS = some.lists(some.tuples(some.integers(0, 16), some.integers(0, 1)), min_size=1, max_size=40)


@pytest.mark.parametrize("metric", METRICS)
@effort(max_examples=150, deadline=None)
@given(rows=ROWS)
def test_the_best_threshold_is_the_best_of_all(metric: str, rows: list[tuple[int, int]]) -> None:
    p, target = [value / 16 for value, _ in rows], [code for _, code in rows]
    found = best_threshold(torch.tensor(p), torch.tensor(target), metric)
    assert found == brute_force(p, target, metric)


@pytest.mark.parametrize("metric", METRICS)
@effort(max_examples=60, deadline=None)
@given(p=some.lists(some.floats(0, 1), min_size=2, max_size=30), data=some.data())
def test_no_threshold_is_better_whatever_the_numbers(metric: str, p: list[float], data: some.DataObject) -> None:
    target = data.draw(some.lists(some.integers(0, 1), min_size=len(p), max_size=len(p)))
    order = data.draw(some.permutations(range(len(p))))
    found = best_threshold(torch.tensor(p, dtype=torch.float64), torch.tensor(target), metric)
    assert quality(p, target, found, metric) == quality(p, target, brute_force(p, target, metric), metric)
    shuffled = torch.tensor([p[row] for row in order], dtype=torch.float64), torch.tensor([target[row] for row in order])
    assert best_threshold(*shuffled, metric) == found


def test_a_half_stays_where_nothing_is_better() -> None:
    p, target = torch.tensor([0.1, 0.4, 0.9]), torch.tensor([0, 0, 1])
    assert all(best_threshold(p, target, metric) == 0.5 for metric in METRICS)


def test_of_equally_near_thresholds_the_lower_is_taken() -> None:
    p = torch.tensor([0.125, 0.375, 0.625, 0.875])
    target = torch.tensor([0, 1, 0, 1])  # 0.25 and 0.75 both get three of four rows right, 0.5 two
    assert best_threshold(p, target, "accuracy") == 0.25


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("p", "target"), [([0.9, 0.9, 0.9], [0, 1, 0]), ([], []), ([0.2, float("nan")], [0, 1]), ([0.2, float("inf")], [0, 1])]
)
def test_where_there_is_nothing_to_choose_a_half_stays(metric: str, p: list[float], target: list[int]) -> None:
    assert best_threshold(torch.tensor(p), torch.tensor(target), metric) == 0.5


def test_neighbours_without_a_number_between_them_are_told_apart() -> None:
    low = 0.25
    for _ in range(2):  # their middle is rounded down once, up once
        high = nextafter(low, 1)
        found = best_threshold(torch.tensor([low, high], dtype=torch.float64), torch.tensor([0, 1]), "accuracy")
        assert low <= found < high
        low = high


def test_equal_balanced_accuracies_are_equal_whatever_their_fractions() -> None:
    p, target = torch.arange(1, 16) / 32, torch.tensor([0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 1, 0])
    found = best_threshold(p, target, "balanced_accuracy")
    assert found == brute_force(p.tolist(), target.tolist(), "balanced_accuracy")
    assert found == 9.5 / 32  # 3.5 / 32 is as good, but a sum of two rounded fractions takes it for better


def test_precisions_of_many_rows_that_hardly_differ_are_told_apart() -> None:
    p = torch.tensor([0.875] * 8001 + [0.625] * 2)
    target = torch.tensor([1] * 4001 + [0] * 4000 + [1, 0])
    assert best_threshold(p, target, "precision") == 0.75  # 4001/8001, which is above 4002/8003 by 2e-8


# answers


FORMS: dict[str, Callable[[Tensor], tuple[Answer, Tensor, Tensor]]] = {  # (rows,) of logits -> answer, scores, a probability
    "one logit": lambda s: (Answer(Task.BINARY, "sigmoid"), s.unsqueeze(1), torch.sigmoid(s)),
    "two logits": lambda s: (Answer(Task.MULTICLASS, "softmax"), torch.stack([1 - s, torch.ones_like(s)], 1), torch.sigmoid(s)),
    "one share": lambda s: (Answer(Task.BINARY, "clamp"), s.unsqueeze(1), s.clamp(0, 1)),
    "two shares": lambda s: (Answer(Task.MULTICLASS, "clamp"), torch.stack([1 - s, s], 1), s.clamp(0, 1)),
}


def rows_of_two(rows: int = 400) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    codes = (torch.rand(rows, generator=random) < 0.2).long()
    return torch.randn(rows, generator=random) + codes - 0.5, codes


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.77])
def test_a_threshold_means_the_same_in_every_form(form: str, threshold: float) -> None:
    s, codes = rows_of_two()
    answer, scores, p = FORMS[form](s)
    answer = Answer(answer.task, answer.link, threshold=threshold)
    target = codes if answer.task is Task.MULTICLASS else codes.float().unsqueeze(1)
    wanted = (p > threshold).long()
    assert torch.equal(answer.labels(scores), wanted)
    found = metrics.figures(answer, scores, target, METRICS)
    assert found["f1"] == pytest.approx(reference.f1_score(codes, wanted))
    assert found["precision"] == pytest.approx(reference.precision_score(codes, wanted))
    assert found["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(codes, wanted))
    assert metrics.confusion(answer, scores, target).tolist() == reference.confusion_matrix(codes, wanted).tolist()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("metric", METRICS)
def test_the_figure_with_the_best_threshold_is_the_best(form: str, metric: str) -> None:
    s, codes = rows_of_two(60)
    answer, scores, _ = FORMS[form](s)
    target = codes if answer.task is Task.MULTICLASS else codes.float().unsqueeze(1)

    def figure(threshold: float) -> float:
        return metrics.figures(Answer(answer.task, answer.link, threshold=threshold), scores, target, [metric])[metric]

    chances = answer.chances(scores)
    reached = figure(best_threshold(chances, target, metric))
    assert reached == pytest.approx(max(figure(threshold) for threshold in [0.5, *np.unique(chances.numpy())]))


def test_ranks_and_probabilities_do_not_see_the_threshold() -> None:
    s, codes = rows_of_two()
    names = ["roc_auc", "average_precision", "log_loss", "calibration_error"]
    found = [
        metrics.figures(Answer(Task.BINARY, "sigmoid", threshold=threshold), s.unsqueeze(1), codes.float().unsqueeze(1), names)
        for threshold in (0.5, 0.9)
    ]
    assert found[0] == found[1]


def test_several_classes_are_chosen_as_ever() -> None:
    scores = torch.randn(20, 3)
    assert torch.equal(Answer(Task.MULTICLASS, "softmax", threshold=0.9).labels(scores), scores.argmax(1))


# runs


@pytest.fixture(scope="module")
def rare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of data with one row of the second class in ten, which overlaps with the first."""
    folder, random = tmp_path_factory.mktemp("rare"), np.random.default_rng(0)
    for name, rows in (("train", 900), ("t10k", 300)):
        codes = (np.arange(rows) % 10 == 0).astype(np.uint8)
        images = np.clip(random.normal(110 + 40 * codes[:, None, None], 40, (rows, 2, 2)), 0, 255)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx_bytes(codes))
    return {"kind": "idx", "root": str(folder), "labels": ["usual", "rare"], "valid": 0.3, "scale": "standardise"}


def trained(changes: dict[str, Any]) -> Parts:
    made = parts(changes)
    list(made.trainer)
    return made


@pytest.mark.parametrize("loss", ["bce", "cross_entropy", "mse", "hinge"])
def test_the_sought_threshold_makes_its_figure_best_on_the_validation_rows(rare: dict[str, Any], loss: str) -> None:
    made = trained({"data": rare, "loss": {"kind": loss}, "metrics": {"threshold": "f1"}})
    valid = made.rows.valid
    assert valid is not None
    before, after = made.judge(valid, ["f1", "roc_auc"]), tuned(made).judge(valid, ["f1", "roc_auc"])
    p = made.answer.chances(made.learner.scores(valid.x)).numpy()
    codes = valid.y.reshape(-1).long().numpy()
    assert after["f1"] == pytest.approx(max(reference.f1_score(codes, p > cut, zero_division=0.0) for cut in [0.5, *np.unique(p)]))
    assert after["f1"] > before["f1"]
    assert after["roc_auc"] == before["roc_auc"]
    assert made.answer.threshold == 0.5


def test_a_number_holds_from_the_first_validation_on(rare: dict[str, Any]) -> None:
    made = parts({"data": rare, "metrics": {"threshold": 0.2, "epoch": ["recall"]}, "trainer.epochs": 2})
    last = [record.metrics["valid/recall"] for record in made.trainer][-1]
    assert made.rows.valid is not None
    rows = made.rows.valid
    p = torch.sigmoid(made.learner.scores(rows.x).double()).squeeze(1)
    assert 0 < last < 1
    assert last == pytest.approx(reference.recall_score(rows.y.squeeze(1), p > 0.2))
    assert tuned(made) is made


def test_figures_while_training_do_not_know_what_will_be_sought(rare: dict[str, Any]) -> None:
    told = [
        [dict(record.metrics) for record in parts({"data": rare, "metrics": {"threshold": threshold, "epoch": ["f1"]}}).trainer]
        for threshold in (0.5, "f1")
    ]
    assert told[0] == told[1]


def run(root: Path, changes: dict[str, Any]) -> Summary:
    config = settings({"logger": {"tensorboard": False, "progress": False}, **changes})
    return train(Request(config, "name: test\n", config.model_dump(mode="json"), root=root, folder=None, brief=True))


def test_a_run_on_rare_rows_ends_with_the_threshold_that_it_sought(
    rare: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = list[float]()

    def draw(parts: Parts, records: object) -> dict[str, bytes]:
        answers.append(parts.answer.threshold)
        return {}

    monkeypatch.setattr(pictures, "draw", draw)
    changes = {"data": rare, "trainer.epochs": 5, "logger": {"pictures": True}, "metrics": {"final": ["f1", "recall"]}}
    plain = run(tmp_path, changes)
    sought = run(tmp_path, changes | {"metrics": {"final": ["f1", "recall"], "threshold": "f1"}})
    threshold = sought.metrics["best/threshold"]
    assert 0 < threshold < 0.5
    assert answers == [0.5, threshold]
    assert "best/threshold" not in plain.metrics
    for part in ("train", "valid", "test"):
        assert sought.metrics[f"{part}/f1"] > plain.metrics[f"{part}/f1"]
        assert sought.metrics[f"{part}/recall"] > plain.metrics[f"{part}/recall"]
        assert sought.metrics[f"{part}/loss"] == plain.metrics[f"{part}/loss"]
    told = json.loads((Path(sought.folder) / "run.json").read_text())
    assert told["metrics"]["best/threshold"] == threshold
    note = f"'rare' is answered above {threshold:.4g}, where f1 is best on the validation rows"
    assert note in [finding.text for finding in sought.findings]
    assert note in (Path(sought.folder) / "train.log").read_text()


@pytest.mark.parametrize(
    ("changes", "threshold", "keys", "fact"),
    [
        ({"data": {"kind": "iris"}}, "f1", ("metrics.threshold", "data.kind"), "data=iris has 3 classes"),
        ({"data": {"kind": "iris"}}, 0.3, ("metrics.threshold", "data.kind"), "data=iris has 3 classes"),
        ({"data": {"kind": "diabetes"}}, "f1", ("metrics.threshold", "data.kind", "model.kind"), "numbers"),
        (
            {"model": {"kind": "autoencoder", "hidden": [4], "bottleneck": 1}},
            0.3,
            ("metrics.threshold", "data.kind", "model.kind"),
            "model=autoencoder",
        ),
        ({"data": {"kind": "moons", "valid": 0.0}}, "f1", ("metrics.threshold", "data.valid"), "data.valid=0"),
        ({"loss": {"kind": "hinge"}}, 0.3, ("metrics.threshold", "loss.kind"), "loss=hinge gives none"),
    ],
)
def test_a_threshold_that_makes_no_sense_is_refused(changes: dict[str, Any], threshold: object, keys: tuple[str, ...], fact: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parts(changes | {"metrics": {"threshold": threshold}})
    assert caught.value.where == ", ".join(keys)
    assert fact in str(caught.value)
    assert parts(changes | {"metrics": {"threshold": 0.5}})


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.5, "roc_auc", "auto"])
def test_what_is_no_threshold_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="threshold"):
        settings({"metrics": {"threshold": bad}})


def test_the_names_are_the_configurations() -> None:
    assert set(METRICS) == set(thresholds.QUALITIES)


# rmsle, and targets that are logarithms

COUNTS = Answer(Task.REGRESSION, "identity", shift=(2.0,), factor=(0.5,), log=True)


def test_rmsle_is_scikit_learns() -> None:
    random = torch.Generator().manual_seed(0)
    target, scores = torch.rand(50, 2, generator=random), torch.rand(50, 2, generator=random)
    answer = Answer(Task.REGRESSION, "identity", shift=(-0.5, 3.0), factor=(2.0, 10.0))
    truth, values = (tensor.double() * torch.tensor([2.0, 10.0]) + torch.tensor([-0.5, 3.0]) for tensor in (target, scores))
    wanted = (torch.log1p(values) - torch.log1p(truth)).square().mean().sqrt()
    assert metrics.figures(answer, scores, target, ["rmsle"])["rmsle"] == pytest.approx(float(wanted))
    above = truth > 0
    left = reference.root_mean_squared_log_error(truth[above], values.clamp_min(0)[above])
    alone = Answer(Task.REGRESSION, "identity")
    assert metrics.figures(alone, values.clamp_min(0)[above], truth[above], ["rmsle"])["rmsle"] == pytest.approx(left)


@pytest.mark.parametrize("bad", [-1.0, -1.5])
def test_rmsle_is_none_where_a_logarithm_is(bad: float) -> None:
    answer, good = Answer(Task.REGRESSION, "identity"), torch.tensor([[0.0], [-0.9]])
    assert metrics.figures(answer, good, good + 0.1, ["rmsle"])["rmsle"] > 0
    assert isnan(metrics.figures(answer, torch.tensor([[0.0], [bad]]), good, ["rmsle"])["rmsle"])
    assert isnan(metrics.figures(answer, good, torch.tensor([[0.0], [bad]]), ["rmsle"])["rmsle"])


def test_rmsle_is_taken_by_name_only() -> None:
    assert "rmsle" not in parts({"data": {"kind": "diabetes"}}).figures.final
    asked = parts({"data": {"kind": "diabetes"}, "metrics": {"epoch": ["rmsle"], "final": ["rmsle"]}, "trainer.monitor": "valid/rmsle"})
    assert asked.figures.final == ("rmsle",)
    assert asked.figures.mode == "min"
    assert all(record.metrics["valid/rmsle"] > 0 for record in asked.trainer)


def test_a_logarithm_of_the_target_is_undone_after_its_scaling() -> None:
    numbers = torch.tensor([[0.0], [3.0], [5000.0]], dtype=torch.float64)
    scaled = (torch.log1p(numbers) - 2.0) / 0.5
    torch.testing.assert_close(COUNTS.unscale(scaled), numbers)
    torch.testing.assert_close(COUNTS.values(scaled), numbers)
    torch.testing.assert_close(Answer(Task.REGRESSION, "identity", log=True).values(torch.log1p(numbers)), numbers)
    found = metrics.figures(COUNTS, scaled + 0.2, scaled, ["rmsle", "rmse"])
    assert found["rmsle"] == pytest.approx(0.1)  # the figure that such a target is trained for
    assert found["rmse"] > 100
