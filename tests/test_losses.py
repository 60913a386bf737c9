"""Losses agree with torch, scikit-learn and their formulas; their slopes with autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from sklearn.metrics import hinge_loss, log_loss
from torch import Tensor, nn
from torch.nn import functional as F

from dnnlab import losses
from dnnlab.config.loss import Loss as LossSettings
from dnnlab.errors import ConfigError
from dnnlab.losses import FITS, MARGIN, check_fit, link
from dnnlab.tasks import Task
from tests.samples import ALL_LOSSES, CLASSES, WIDTH, closely, exactly, loss_of, target_of

ROWS = 30
every_loss = pytest.mark.parametrize(("kind", "task", "number"), ALL_LOSSES)


def sample(task: Task, *shape: int) -> tuple[Tensor, Tensor]:
    """Random scores (…, B, C) and targets. shape: (…, B)."""
    return torch.randn(*shape, WIDTH[task], dtype=torch.float64) * 2, target_of(task, *shape)


def slope_by_autograd(loss: losses.Loss, scores: Tensor, target: Tensor) -> Tensor:
    leaf = scores.clone().requires_grad_()
    return torch.autograd.grad(loss.rows(leaf, target).sum(), leaf)[0]


@every_loss
def test_the_slope_is_the_derivative_of_the_rows(kind: str, task: Task, number: int) -> None:
    loss = loss_of(kind, task, number)
    scores, target = sample(task, ROWS)
    assert loss.rows(scores, target).shape == (ROWS,)
    before = scores.clone()
    closely(loss.slope(scores, target), slope_by_autograd(loss, scores, target))
    exactly(scores, before)


@every_loss
def test_the_slope_is_the_difference_quotient(kind: str, task: Task, number: int) -> None:
    loss = loss_of(kind, task, number)
    scores, target = sample(task, ROWS)
    direction, small = torch.randn_like(scores), 1e-6
    up, down = (loss.rows(scores + sign * small * direction, target) for sign in (1, -1))
    slope = (loss.slope(scores, target) * direction).sum(-1)
    torch.testing.assert_close(slope, (up - down) / (2 * small), rtol=1e-5, atol=1e-6)


@every_loss
def test_scores_of_zero_have_the_slope_of_autograd(kind: str, task: Task, number: int) -> None:
    # where every network of zeros begins: on the kinks of hinge and perceptron
    loss, target = loss_of(kind, task, number), target_of(task, ROWS)
    scores = torch.zeros(ROWS, WIDTH[task], dtype=torch.float64)
    closely(loss.slope(scores, target), slope_by_autograd(loss, scores, target))


@every_loss
def test_stacked_models_share_the_lines(kind: str, task: Task, number: int) -> None:
    loss = loss_of(kind, task, number)
    scores, target = sample(task, 3, ROWS)
    rows, slope, mean = loss.rows(scores, target), loss.slope(scores, target), loss.mean(scores, target)
    assert (rows.shape, slope.shape, mean.shape) == ((3, ROWS), scores.shape, (3,))
    for member in range(3):
        closely(rows[member], loss.rows(scores[member], target[member]))
        closely(slope[member], loss.slope(scores[member], target[member]))
        closely(mean[member], loss.mean(scores[member], target[member]))


@every_loss
def test_the_slope_is_a_tensor_of_its_own(kind: str, task: Task, number: int) -> None:
    loss = loss_of(kind, task, number)
    scores, target = sample(task, ROWS)
    before = scores.clone(), target.clone()
    loss.slope(scores, target).add_(1.0)
    exactly((scores, target), before)


@every_loss
@pytest.mark.parametrize("size", [40.0, 200.0])
def test_large_scores_have_finite_losses_and_slopes(kind: str, task: Task, number: int, size: float) -> None:
    loss = loss_of(kind, task, number)
    scores, target = sample(task, ROWS)
    scores, target = scores.float().sign() * size, target.float() if target.is_floating_point() else target
    if loss.weight(target) is not None:
        loss.class_weights = loss.class_weights.float()
    slope = loss.slope(scores, target)
    assert loss.rows(scores, target).isfinite().all()
    assert slope.isfinite().all()
    torch.testing.assert_close(slope, slope_by_autograd(loss, scores, target), rtol=1e-4, atol=1e-6)


REFERENCES: dict[str, tuple[losses.Loss, Task, Callable[[Tensor, Tensor], Tensor]]] = {
    "mse": (losses.SquaredError(), Task.REGRESSION, F.mse_loss),
    "mse of classes": (losses.SquaredError(), Task.MULTICLASS, lambda s, t: F.mse_loss(s, F.one_hot(t, CLASSES).double())),
    "mse of two classes": (losses.SquaredError(), Task.BINARY, F.mse_loss),
    "mae": (losses.AbsoluteError(), Task.RECONSTRUCTION, F.l1_loss),
    "huber": (losses.Huber(0.4), Task.REGRESSION, lambda s, t: F.huber_loss(s, t, delta=0.4)),
    "huber of 1": (losses.Huber(1.0), Task.REGRESSION, F.smooth_l1_loss),
    "log_cosh": (losses.LogCosh(), Task.REGRESSION, lambda s, t: torch.log(torch.cosh(s - t)).mean()),
    "bce": (losses.BinaryCrossEntropy(), Task.BINARY, nn.BCEWithLogitsLoss()),
    "bce of inputs": (losses.BinaryCrossEntropy(), Task.RECONSTRUCTION, nn.BCEWithLogitsLoss()),
    "bce, smoothed": (
        losses.BinaryCrossEntropy(0.2),
        Task.BINARY,
        lambda s, t: F.binary_cross_entropy_with_logits(s, t * 0.8 + 0.1),
    ),
    "bce as two outputs": (
        losses.BinaryCrossEntropy(0.2),
        Task.BINARY,
        lambda s, t: F.cross_entropy(torch.cat([0 * s, s], 1), t.squeeze(1).long(), label_smoothing=0.2),
    ),
    "bce as two weighted outputs": (
        losses.BinaryCrossEntropy(0.0, torch.tensor([0.5, 2.0], dtype=torch.float64)),
        Task.BINARY,
        lambda s, t: F.cross_entropy(torch.cat([0 * s, s], 1), t.squeeze(1).long(), torch.tensor([0.5, 2.0]).double()),
    ),
    "bce, weighted by its rows": (
        losses.BinaryCrossEntropy(0.2, torch.tensor([0.5, 2.0], dtype=torch.float64)),
        Task.BINARY,
        lambda s, t: F.binary_cross_entropy_with_logits(s, t * 0.8 + 0.1, 0.5 + 1.5 * t, reduction="sum") / (0.5 + 1.5 * t).sum(),
    ),
    "cross_entropy": (losses.CrossEntropy(), Task.MULTICLASS, nn.CrossEntropyLoss()),
    "cross_entropy, smoothed": (losses.CrossEntropy(0.1), Task.MULTICLASS, nn.CrossEntropyLoss(label_smoothing=0.1)),
    "focal of gamma 0": (losses.Focal(0.0), Task.MULTICLASS, nn.CrossEntropyLoss()),
    "focal of gamma 0, two classes": (losses.Focal(0.0), Task.BINARY, nn.BCEWithLogitsLoss()),
    "focal": (
        losses.Focal(2.0),
        Task.MULTICLASS,
        lambda s, t: (-((1 - (p := s.softmax(1).gather(1, t[:, None]))) ** 2) * p.log()).mean(),
    ),
    "hinge": (losses.Hinge(), Task.MULTICLASS, lambda s, t: F.multi_margin_loss(s, t) * CLASSES),
    "squared_hinge": (losses.Hinge(2), Task.MULTICLASS, lambda s, t: F.multi_margin_loss(s, t, p=2) * CLASSES),
    "hinge of two classes": (losses.Hinge(), Task.BINARY, lambda s, t: (1 - (2 * t - 1) * s).clamp_min(0).mean()),
    "squared_hinge of two classes": (losses.Hinge(2), Task.BINARY, lambda s, t: (1 - (2 * t - 1) * s).clamp_min(0).square().mean()),
    "perceptron": (losses.PerceptronCriterion(), Task.BINARY, lambda s, t: (-(2 * t - 1) * s).clamp_min(0).mean()),
    "perceptron, one against the rest": (
        losses.PerceptronCriterion(),
        Task.MULTICLASS,
        lambda s, t: (-(2 * F.one_hot(t, CLASSES) - 1) * s).clamp_min(0).sum(1).mean(),
    ),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_the_mean_is_that_of_the_reference(name: str) -> None:
    loss, task, reference = REFERENCES[name]
    scores, target = sample(task, ROWS)
    closely(loss.mean(scores, target), reference(scores, target))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_weighted_cross_entropy_is_torchs(smoothing: float) -> None:
    weights = torch.tensor([0.5, 2.0, 1.0, 0.0], dtype=torch.float64)
    scores, target = sample(Task.MULTICLASS, ROWS)
    ours = losses.CrossEntropy(smoothing, weights).mean(scores, target)
    closely(ours, nn.CrossEntropyLoss(weights, label_smoothing=smoothing)(scores, target))


def test_focal_weighs_classes_as_cross_entropy_does() -> None:
    weights = torch.tensor([0.5, 2.0, 1.0, 3.0], dtype=torch.float64)
    scores, target = sample(Task.MULTICLASS, ROWS)
    closely(losses.Focal(0.0, weights).mean(scores, target), F.cross_entropy(scores, target, weights))


def test_losses_of_classes_are_scikit_learns() -> None:
    scores, target = sample(Task.MULTICLASS, ROWS)
    one, sign = sample(Task.BINARY, ROWS)
    several = log_loss(target.numpy(), scores.softmax(1).numpy(), labels=range(CLASSES))
    two = log_loss(sign.squeeze(1).numpy(), one.sigmoid().squeeze(1).numpy())
    margin = hinge_loss(sign.squeeze(1).numpy() * 2 - 1, one.squeeze(1).numpy())
    assert losses.CrossEntropy().mean(scores, target).item() == pytest.approx(several, abs=1e-12)
    assert losses.BinaryCrossEntropy().mean(one, sign).item() == pytest.approx(two, abs=1e-12)
    assert losses.Hinge().mean(one, sign).item() == pytest.approx(margin, abs=1e-12)


def test_the_perceptrons_slope_is_rosenblatts_rule() -> None:
    scores, target = torch.tensor([[0.0], [2.0], [-2.0], [0.0]]), torch.tensor([[1.0], [0.0], [0.0], [0.0]])
    # a row that is right is left alone; a wrong or undecided one is moved by its sign
    assert losses.PerceptronCriterion().slope(scores, target).tolist() == [[-1.0], [1.0], [0.0], [1.0]]


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0])
def test_a_certain_right_answer_has_no_focal_slope(gamma: float) -> None:
    scores, target = torch.tensor([[20.0], [120.0]]), torch.ones(2, 1)
    by_autograd = slope_by_autograd(losses.Focal(gamma), scores, target)
    torch.testing.assert_close(by_autograd, torch.zeros(2, 1), rtol=0, atol=1e-8)
    torch.testing.assert_close(losses.Focal(gamma).slope(scores, target), torch.zeros(2, 1), rtol=0, atol=1e-8)


@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.0])
def test_focal_is_as_exact_in_float32_where_an_answer_is_nearly_certain(gamma: float) -> None:
    scores, target, loss = torch.linspace(10, 30, 50).unsqueeze(1), torch.ones(50, 1), losses.Focal(gamma)
    wanted = loss.slope(scores.double(), target.double()).float()
    torch.testing.assert_close(loss.slope(scores, target), wanted, rtol=1e-4, atol=0)
    torch.testing.assert_close(slope_by_autograd(loss, scores, target), wanted, rtol=1e-4, atol=0)


def test_a_custom_loss_is_taken_row_by_row() -> None:
    loss = losses.CustomLoss(lambda scores, target: (scores - target).pow(4).sum(-1))
    scores, target = sample(Task.REGRESSION, ROWS)
    closely(loss.mean(scores, target), (scores - target).pow(4).sum(-1).mean())
    closely(loss.slope(scores, target), 4 * (scores - target).pow(3))
    assert not loss.written


def test_a_custom_loss_with_a_mean_of_its_own_is_refused() -> None:
    loss = losses.CustomLoss(F.mse_loss)
    with pytest.raises(ConfigError, match="one number for each row") as caught:
        loss.rows(*sample(Task.REGRESSION, ROWS))
    assert caught.value.where == "loss.target"


# The whole matrix: which outputs each loss may stand with, for each task. None: any but those that a line below refuses.
ANY = {"linear", "sigmoid", "tanh", "hard_tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus", "softsign"}
MATRIX: dict[str, dict[Task, set[str]]] = {
    "mse": {Task.REGRESSION: ANY, Task.RECONSTRUCTION: ANY, Task.BINARY: ANY, Task.MULTICLASS: ANY | {"softmax", "log_softmax"}},
    "mae": {Task.REGRESSION: ANY, Task.RECONSTRUCTION: ANY},
    "huber": {Task.REGRESSION: ANY},
    "log_cosh": {Task.REGRESSION: ANY},
    "bce": {Task.BINARY: {"linear"}, Task.RECONSTRUCTION: {"linear"}},
    "cross_entropy": {Task.BINARY: {"linear", "log_softmax"}, Task.MULTICLASS: {"linear", "log_softmax"}},
    "focal": {Task.BINARY: {"linear"}, Task.MULTICLASS: {"linear"}},
    "hinge": {Task.BINARY: {"linear", "tanh"}, Task.MULTICLASS: {"linear", "tanh"}},
    "squared_hinge": {Task.BINARY: {"linear", "tanh"}, Task.MULTICLASS: {"linear", "tanh"}},
    "perceptron": {Task.BINARY: {"linear"}, Task.MULTICLASS: {"linear"}},
}


def complaint(kind: str, task: Task, output: str) -> ConfigError | None:
    try:
        check_fit(kind, task, output, "somewhere")
    except ConfigError as error:
        return error
    return None


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("kind", FITS)
def test_a_loss_stands_with_its_tasks_and_outputs_only(kind: str, task: Task) -> None:
    complaints = {output: complaint(kind, task, output) for output in sorted(ANY | {"softmax", "log_softmax", "step"})}
    assert {output for output, error in complaints.items() if error is None} == MATRIX[kind].get(task, set())
    for output, error in complaints.items():
        if error is not None:
            assert f"loss={kind}" in error.what
            assert f"model.output={output}" in error.what or "data=somewhere" in error.what


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("kind", FITS)
def test_a_remedy_is_a_setting_that_fits(kind: str, task: Task) -> None:
    error = complaint(kind, task, "step")
    assert error is not None
    choice = error.fix.split("=")[1].split(",")[0]
    if "loss=" in error.fix:
        assert task in FITS[choice][0]
    else:
        assert complaint(kind, task, choice) is None


LINKS = {  # what a score means, by loss
    "mse": ("clamp", "clamp", "identity", "identity"),
    "mae": (None, None, "identity", "identity"),
    "huber": (None, None, "identity", None),
    "log_cosh": (None, None, "identity", None),
    "bce": ("sigmoid", None, None, "sigmoid"),
    "cross_entropy": ("sigmoid", "softmax", None, None),
    "focal": ("sigmoid", "softmax", None, None),
    "hinge": ("sigmoid", "softmax", None, None),
    "squared_hinge": ("sigmoid", "softmax", None, None),
    "perceptron": ("sigmoid", "softmax", None, None),
}


@pytest.mark.parametrize("kind", FITS)
def test_each_loss_says_what_its_scores_mean(kind: str) -> None:
    assert tuple(link(kind, task) if task in FITS[kind][0] else None for task in Task) == LINKS[kind]


def test_the_settings_offer_what_there_is() -> None:
    kinds = {kind for setting in get_args(get_args(LossSettings)[0]) for kind in get_args(setting.model_fields["kind"].annotation)}
    assert kinds - {"auto", "custom"} == set(FITS)
    assert set(FITS) >= MARGIN == {"hinge", "squared_hinge", "perceptron"}
