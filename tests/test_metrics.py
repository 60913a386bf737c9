"""Figures agree with scikit-learn, and nothing that scores may be makes them raise."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from math import inf, isnan, nan
from typing import get_args

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torch import Tensor

from dnnlab import metrics
from dnnlab.config.metrics import MetricKind
from dnnlab.errors import ConfigError
from dnnlab.metrics import HIGHER_IS_BETTER, check_fit, confusion, evaluate, figures, fitting
from dnnlab.tasks import Answer, Task

BINARY = Answer(Task.BINARY, "sigmoid")
SEVERAL = Answer(Task.MULTICLASS, "softmax")
NUMBERS = Answer(Task.REGRESSION, "identity", shift=(50.0,), factor=(10.0,))


def two(rows: int = 200, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scores (B, 1) that know something of the classes (B, 1), with ties."""
    random = torch.Generator().manual_seed(seed)
    target = (torch.rand(rows, 1, generator=random) < 0.3).float()
    return ((target - 0.5 + torch.randn(rows, 1, generator=random)) * 4).round() / 4, target


def several(rows: int = 300, classes: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scores (B, C) that know something of the classes (B,)."""
    random = torch.Generator().manual_seed(seed)
    target = torch.randint(0, classes, (rows,), generator=random)
    return torch.randn(rows, classes, generator=random) + 1.5 * torch.nn.functional.one_hot(target, classes), target


def numbers(rows: int = 100, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scores and targets (B, 1), scaled."""
    random = torch.Generator().manual_seed(seed)
    target = torch.randn(rows, 1, generator=random)
    return target + 0.5 * torch.randn(rows, 1, generator=random), target


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Guo et al. 2017, equation 3, with 15 bins."""
    bins = np.minimum((confidence * 15).astype(int), 14)
    return float(sum(abs(confidence[bins == b].sum() - right[bins == b].sum()) for b in range(15)) / len(right))


TWO: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], float]] = {  # (truth, labels, probability of class 1) -> figure
    "accuracy": lambda t, y, p: reference.accuracy_score(t, y),
    "balanced_accuracy": lambda t, y, p: reference.balanced_accuracy_score(t, y),
    "precision": lambda t, y, p: reference.precision_score(t, y),
    "recall": lambda t, y, p: reference.recall_score(t, y),
    "f1": lambda t, y, p: reference.f1_score(t, y),
    "roc_auc": lambda t, y, p: reference.roc_auc_score(t, p),
    "average_precision": lambda t, y, p: reference.average_precision_score(t, p),
    "log_loss": lambda t, y, p: reference.log_loss(t, p),
    "calibration_error": lambda t, y, p: calibration_error(p, t),
}
MANY: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], float]] = {  # (truth, labels, probabilities) -> figure
    "accuracy": TWO["accuracy"],
    "balanced_accuracy": TWO["balanced_accuracy"],
    "precision": lambda t, y, p: reference.precision_score(t, y, average="macro"),
    "recall": lambda t, y, p: reference.recall_score(t, y, average="macro"),
    "f1": lambda t, y, p: reference.f1_score(t, y, average="macro"),
    "roc_auc": lambda t, y, p: reference.roc_auc_score(t, p, multi_class="ovr"),
    "average_precision": lambda t, y, p: reference.average_precision_score(np.eye(p.shape[1])[t], p),
    "log_loss": TWO["log_loss"],
    "calibration_error": lambda t, y, p: calibration_error(p.max(1), y == t),
}


@pytest.mark.parametrize("name", fitting(Task.BINARY))
def test_figures_of_two_classes_are_scikit_learns(name: str) -> None:
    scores, target = two()
    p = torch.sigmoid(scores.double()).squeeze(1).numpy()
    wanted = TWO[name](target.squeeze(1).long().numpy(), (p > 0.5).astype(int), p)
    assert figures(BINARY, scores, target, [name])[name] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("name", fitting(Task.MULTICLASS))
def test_figures_of_several_classes_are_scikit_learns(name: str) -> None:
    scores, target = several()
    p = torch.softmax(scores.double(), 1).numpy()
    wanted = MANY[name](target.numpy(), p.argmax(1), p)
    assert figures(SEVERAL, scores, target, [name])[name] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("mse", reference.mean_squared_error),
        ("rmse", reference.root_mean_squared_error),
        ("mae", reference.mean_absolute_error),
        ("r2", reference.r2_score),
    ],
)
def test_figures_of_numbers_are_scikit_learns_in_the_datas_units(name: str, wanted: Callable[[np.ndarray, np.ndarray], float]) -> None:
    scores, target = numbers()
    values, truth = (scores.double() * 10 + 50).numpy(), (target.double() * 10 + 50).numpy()
    assert figures(NUMBERS, scores, target, [name])[name] == pytest.approx(wanted(truth, values))


def test_a_reconstruction_is_measured_over_all_its_numbers() -> None:
    random = torch.Generator().manual_seed(0)
    scores, target = torch.randn(50, 8, generator=random), torch.rand(50, 8, generator=random)
    answer = Answer(Task.RECONSTRUCTION, "sigmoid")
    found = figures(answer, scores, target, fitting(Task.RECONSTRUCTION))
    values = torch.sigmoid(scores.double()).numpy()
    assert found["mse"] == pytest.approx(reference.mean_squared_error(target, values))
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(target, values))
    assert found["r2"] == pytest.approx(reference.r2_score(target, values, multioutput="variance_weighted"))
    target[:, 3] = 0.5  # a pixel that never changes adds no variation, but its errors count
    truth = target.double().numpy()
    share = 1 - ((truth - values) ** 2).sum() / ((truth - truth.mean(0)) ** 2).sum()
    assert figures(answer, scores, target, ["r2"])["r2"] == pytest.approx(share)


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_r2_does_not_depend_on_the_unit(unit: float) -> None:
    scores, target = numbers()
    answer = Answer(Task.REGRESSION, "identity", shift=(5 * unit,), factor=(unit,))
    assert figures(answer, scores, target, ["r2"])["r2"] == pytest.approx(reference.r2_score(target, scores), abs=1e-6)


@pytest.mark.parametrize("task", [Task.BINARY, Task.MULTICLASS])
def test_probabilities_that_are_clamped_scores_are_measured_as_such(task: Task) -> None:
    answer = Answer(task, "clamp")
    scores, target = two() if task is Task.BINARY else several()
    scores = scores / 4 + 0.5
    p = answer.probabilities(scores.double()).numpy()
    t = (target.squeeze(1) if task is Task.BINARY else target).long().numpy()
    found = figures(answer, scores, target, ["log_loss", "accuracy", "average_precision"])
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(t, answer.labels(scores)))
    sure = np.clip((np.stack([1 - p, p], 1) if p.ndim == 1 else p)[np.arange(len(t)), t], np.finfo(np.float32).eps, 1)
    assert found["log_loss"] == pytest.approx(-np.log(sure).mean(), rel=1e-5)
    ranking = scores.squeeze(1).numpy() if task is Task.BINARY else p
    wanted = reference.average_precision_score(t if task is Task.BINARY else np.eye(5)[t], ranking)
    assert found["average_precision"] == pytest.approx(wanted, abs=1e-6)


def test_scores_far_beyond_certainty_keep_their_order() -> None:
    random = torch.Generator().manual_seed(0)
    scores, target = two()
    wanted = figures(BINARY, scores, target, ["roc_auc", "average_precision"])
    assert figures(BINARY, scores + 100, target, ["roc_auc", "average_precision"]) == wanted
    wide, codes = several(classes=3)
    wide = wide * 30 + torch.randn(wide.shape, generator=random)
    exact = torch.log_softmax(wide.double(), 1).numpy()
    auc = np.mean([reference.roc_auc_score(codes == label, exact[:, label]) for label in range(3)])
    assert figures(SEVERAL, wide, codes, ["roc_auc"])["roc_auc"] == pytest.approx(auc, abs=1e-6)


# what may go wrong


@pytest.mark.parametrize("bad", [nan, inf, -inf])
def test_t12_a_score_that_is_not_finite_makes_every_figure_nan_and_raises_nothing(bad: float) -> None:
    for answer, (scores, target) in ((BINARY, two()), (SEVERAL, several()), (NUMBERS, numbers())):
        scores[7, 0] = bad
        found = figures(answer, scores, target, fitting(answer.task))
        assert found
        assert all(isnan(figure) for figure in found.values())


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_a_ranking_of_one_class_alone_is_nan_and_the_rest_are_numbers(label: float) -> None:
    scores, target = two()
    found = figures(BINARY, scores, torch.full_like(target, label), fitting(Task.BINARY))
    assert {name for name, figure in found.items() if isnan(figure)} == {"roc_auc", "average_precision"}


def test_an_absent_class_does_not_count_in_a_mean() -> None:
    scores, target = several(classes=4)
    keep = target != 2
    scores, target = scores[keep], target[keep]
    found = figures(SEVERAL, scores, target, fitting(Task.MULTICLASS))
    p = torch.softmax(scores.double(), 1).numpy()
    t = target.numpy()
    assert found["roc_auc"] == pytest.approx(np.mean([reference.roc_auc_score(t == c, p[:, c]) for c in (0, 1, 3)]), abs=1e-6)
    assert found["average_precision"] == pytest.approx(
        np.mean([reference.average_precision_score(t == c, p[:, c]) for c in (0, 1, 3)]), abs=1e-6
    )
    recalls = [(p.argmax(1)[t == c] == c).mean() for c in (0, 1, 3)]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert found["precision"] == pytest.approx(reference.precision_score(t, p.argmax(1), average="macro", zero_division=0))


def test_a_single_row_is_measured() -> None:
    for answer, (scores, target) in ((BINARY, two()), (SEVERAL, several()), (NUMBERS, numbers())):
        found = figures(answer, scores[:1], target[:1], fitting(answer.task))
        undefined = {"roc_auc", "average_precision", "r2"}
        assert {name for name, figure in found.items() if isnan(figure)} <= undefined


def test_a_truth_that_does_not_vary_has_no_r2() -> None:
    scores, _ = numbers()
    assert isnan(figures(NUMBERS, scores, torch.ones_like(scores), ["r2"])["r2"])


# names


def test_the_names_are_the_configurations() -> None:
    names = set(get_args(MetricKind))
    assert names == set(metrics.FIGURES)
    assert names | {"loss"} == set(HIGHER_IS_BETTER)
    assert set(fitting(Task.BINARY)) | set(fitting(Task.REGRESSION)) == names
    for task in Task:
        assert set(metrics.default(task)) <= set(fitting(task, margin=True))


def test_a_better_answer_has_a_better_figure() -> None:
    for answer, (scores, target), good in (
        (BINARY, two(), lambda t: 20 * t - 10),
        (SEVERAL, several(), lambda t: 20.0 * torch.nn.functional.one_hot(t, 5)),
        (NUMBERS, numbers(), lambda t: t),
    ):
        worse = figures(answer, scores, target, fitting(answer.task))
        better = figures(answer, good(target), target, fitting(answer.task))
        for name in worse:
            assert (better[name] > worse[name]) == HIGHER_IS_BETTER[name]


def test_a_margin_loss_has_no_probabilities_to_measure() -> None:
    assert set(fitting(Task.MULTICLASS)) - set(fitting(Task.MULTICLASS, margin=True)) == {"log_loss", "calibration_error"}


@pytest.mark.parametrize(
    ("name", "task", "margin", "named"),
    [
        ("log_loss", Task.BINARY, True, ["loss=hinge", "loss.kind", "metrics.final"]),
        ("rmse", Task.MULTICLASS, False, ["data=digits", "data.kind", "metrics.final"]),
        ("accuracy", Task.REGRESSION, False, ["data=digits", "data.kind", "metrics.final"]),
        ("log_loss", Task.REGRESSION, False, ["data=digits", "data.kind", "metrics.final"]),
    ],
)
def test_c12_a_figure_that_does_not_fit_names_both_settings_and_those_that_do(
    name: str, task: Task, margin: bool, named: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_fit([*fitting(task, margin=margin), name], task, margin=margin, loss="hinge", data="digits", where="metrics.final")
    text = str(caught.value)
    assert text.startswith(f"{name} must stand with")
    assert all(word in text for word in named)
    assert all(fit in caught.value.fix for fit in fitting(task, margin=margin))


def test_figures_that_fit_pass() -> None:
    check_fit(fitting(Task.BINARY), Task.BINARY, margin=False, loss="bce", data="moons", where="metrics.final")


def test_torchmetrics_is_imported_only_when_a_figure_is_taken() -> None:
    code = "import sys, dnnlab.metrics; sys.exit('torchmetrics' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# evaluate


def test_scores_are_kept_even_if_their_memory_is_used_again() -> None:
    x = torch.randn(10, 1, generator=torch.Generator().manual_seed(0))
    memory = torch.empty(3, 1)

    def score(rows: Tensor) -> Tensor:
        return torch.mul(rows, 2, out=memory[: len(rows)])

    assert torch.equal(metrics.score_all(score, x, batch_rows=3), 2 * x)


def test_scores_of_low_precision_are_measured_in_float32() -> None:
    scores = metrics.score_all(lambda rows: rows.bfloat16(), torch.rand(5, 2), batch_rows=2)
    assert scores.dtype == torch.float32
    assert metrics.score_all(lambda rows: rows, torch.rand(5, 2, dtype=torch.float64), batch_rows=9).dtype == torch.float64


def test_evaluation_takes_no_gradients_and_gives_loss_first() -> None:
    layer = torch.nn.Linear(3, 1)
    x, y = torch.rand(20, 3), torch.rand(20, 1)
    found = evaluate(layer, x, y, torch.nn.functional.mse_loss, Answer(Task.REGRESSION, "identity"), ["mse", "r2"], batch_rows=8)
    assert list(found) == ["loss", "mse", "r2"]
    assert found["loss"] == pytest.approx(found["mse"])
    assert layer.weight.grad is None


def test_the_confusion_matrix_is_scikit_learns() -> None:
    for answer, (scores, target) in ((BINARY, two()), (SEVERAL, several())):
        codes = target.flatten().long()
        assert confusion(answer, scores, target).tolist() == reference.confusion_matrix(codes, answer.labels(scores)).tolist()
