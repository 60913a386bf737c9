"""How good scores are: figures by name, through torchmetrics.

Figures of classes: precision, recall and F1 are class 1's where there are two classes, else the mean over the classes (macro).
roc_auc and average_precision are for several classes the mean over those, one against the rest, for which they are defined: where
the rows hold no such class, it does not count, and where none counts the figure is NaN. Figures of numbers are in the data's units.
A score that is not finite makes every figure NaN and never an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dnnlab.errors import ConfigError
from dnnlab.tasks import Answer, Link, Task

Figure = Callable[[Answer, Tensor, Tensor], Tensor]  # (answer, scores, target) -> a number
BINS = 15  # of the calibration error (Guo et al. 2017)

HIGHER_IS_BETTER = {
    "loss": False,
    "accuracy": True,
    "balanced_accuracy": True,
    "precision": True,
    "recall": True,
    "f1": True,
    "roc_auc": True,
    "average_precision": True,
    "log_loss": False,
    "calibration_error": False,
    "mse": False,
    "rmse": False,
    "rmsle": False,
    "mae": False,
    "r2": True,
}
ON_REQUEST = ("rmsle",)  # taken only where it is asked for: not defined for all numbers
OF_PROBABILITIES = ("log_loss", "calibration_error")  # a margin loss gives scores that rank, but no probabilities


def fitting(task: Task, *, margin: bool = False) -> tuple[str, ...]:
    """The figures that fit a task; `margin`: the loss is a margin loss.

    >>> fitting(Task.REGRESSION)
    ('mse', 'rmse', 'rmsle', 'mae', 'r2')
    """
    names = OF_CLASSES if task.classifies else OF_NUMBERS
    return tuple(name for name in names if not (margin and name in OF_PROBABILITIES))


def default(task: Task) -> tuple[str, ...]:
    """The figures of each validation where nothing else is asked for."""
    return ("accuracy",) if task.classifies else ("rmse",)


def default_final(task: Task, *, margin: bool = False) -> tuple[str, ...]:
    """The figures of the end where nothing else is asked for.

    >>> default_final(Task.REGRESSION)
    ('mse', 'rmse', 'mae', 'r2')
    """
    return tuple(name for name in fitting(task, margin=margin) if name not in ON_REQUEST)


def check_fit(names: Sequence[str], task: Task, *, margin: bool, loss: str, data: str, where: str) -> None:
    """Refuse a figure that does not fit; `loss`, `data`: the settings that speak against it; `where`: the one that asks for it."""
    fits = fitting(task, margin=margin)
    for name in names:
        if name in fits:
            continue
        if name in OF_PROBABILITIES and task.classifies:
            wanted, fact, other = "a loss that gives probabilities", f"loss={loss} gives none", "loss.kind"
        else:
            wanted, fact, other = f"{'numbers' if task.classifies else 'classes'} to answer", f"data={data} asks for {task}", "data.kind"
        raise ConfigError(
            f"{name} must stand with {wanted}, however: {fact}", where=f"{where}, {other}", fix=f"Choose of {', '.join(fits)}"
        )


def evaluate(
    score: Callable[[Tensor], Tensor],
    x: Tensor,
    target: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    answer: Answer,
    names: Sequence[str],
    *,
    batch_rows: int,
) -> dict[str, float]:
    """The loss and the named figures over all rows, whatever the size of the batches and the order of the rows.

    x: (N, D); target: as tasks.Task has it; score: (B, D) -> (B, C); loss: (scores, target) -> the mean over the rows.
    """
    with torch.inference_mode():
        scores = score_all(score, x, batch_rows=batch_rows)
        told = torch.stack([loss(scores, target).double(), *_figures(answer, scores, target, names)])
        return dict(zip(("loss", *names), told.tolist(), strict=True))  # the one wait for the device


def evaluate_each(
    scores: Tensor, target: Tensor, loss: Callable[[Tensor, Tensor], Tensor], answers: Sequence[Answer], names: Sequence[str]
) -> dict[str, list[float]]:
    """As `evaluate`, of the scores of K stacked models: -> K numbers of each figure.

    scores: (K, N, C); target: (K, N, …); loss: of all models, -> (K,).
    """
    with torch.inference_mode():
        told = [loss(scores, target).double(), *(_of_each(name, answers, scores, target) for name in names)]
        return dict(zip(("loss", *names), torch.stack(told).tolist(), strict=True))


def _of_each(name: str, answers: Sequence[Answer], scores: Tensor, target: Tensor) -> Tensor:
    """One figure of K models, (K,) of float64. The usual ones are taken of all at once. scores: (K, N, C), target: (K, N, …)."""
    if name == "accuracy" and answers[0].threshold == 0.5:
        codes = target.squeeze(-1).long() if target.is_floating_point() else target
        figure = (answers[0].labels(scores) == codes).float().mean(-1).double()
        return torch.where(scores.isfinite().flatten(1).all(1), figure, torch.nan)
    each = [_figures(answer, own, wanted, (name,))[0] for answer, own, wanted in zip(answers, scores, target, strict=True)]
    return torch.stack(each)


@torch.inference_mode()
def score_all(score: Callable[[Tensor], Tensor], x: Tensor, *, batch_rows: int) -> Tensor:
    """The scores of all rows, at least in float32. x: (N, D) -> (N, C)."""
    first = score(x[:batch_rows])
    scores = first.new_empty(len(x), *first.shape[1:], dtype=torch.promote_types(first.dtype, torch.float32))
    scores[:batch_rows] = first  # copied at once: `score` may use its memory again
    for start in range(batch_rows, len(x), batch_rows):
        scores[start : start + batch_rows] = score(x[start : start + batch_rows])
    return scores


def figures(answer: Answer, scores: Tensor, target: Tensor, names: Sequence[str]) -> dict[str, float]:
    """The named figures of these scores.

    >>> answer = Answer(Task.BINARY, "sigmoid")
    >>> figures(answer, torch.tensor([[2.0], [-1.0], [0.5]]), torch.tensor([[1.0], [0.0], [0.0]]), ["accuracy", "roc_auc"])
    {'accuracy': 0.6666666865348816, 'roc_auc': 1.0}
    """
    return dict(zip(names, torch.stack(_figures(answer, scores, target, names)).tolist(), strict=True)) if names else {}


def confusion(answer: Answer, scores: Tensor, target: Tensor) -> Tensor:
    """How often class i was taken for class j: (C, C) of int64, rows are the true classes."""
    matrix: Tensor = _torchmetrics().multiclass_confusion_matrix(
        answer.labels(scores), _codes(target), num_classes=_count(scores), validate_args=False
    )
    return matrix


def _figures(answer: Answer, scores: Tensor, target: Tensor, names: Sequence[str]) -> list[Tensor]:
    """The figures as numbers () of float64, still on the device."""
    answer, scores, target = _two(answer, scores, target)
    finite = scores.isfinite().all()
    scores = torch.nan_to_num(scores, 0.0, 0.0, 0.0)  # what the figures make of NaN is not worth an error
    found = {name: _exact(FIGURES[name](answer, scores, target)) for name in names}
    bounded = {
        name: figure.clamp_max(1.0) if HIGHER_IS_BETTER[name] else figure for name, figure in found.items()
    }  # float32 may say 1.0000001
    return [torch.where(finite, figure, torch.nan) for figure in bounded.values()]


def _two(answer: Answer, scores: Tensor, target: Tensor) -> tuple[Answer, Tensor, Tensor]:
    """Two classes with a score for each become one question, so that figures do not depend on the form: the softmax of two is the sigmoid
    of their difference."""
    if answer.task is not Task.MULTICLASS or scores.shape[-1] != 2:
        return answer, scores, target
    one = answer.probabilities(scores)[:, 1:] if answer.link == "clamp" else scores[:, 1:] - scores[:, :1]
    link: Link = "clamp" if answer.link == "clamp" else "sigmoid"
    return replace(answer, task=Task.BINARY, link=link), one, target.to(one.dtype).unsqueeze(-1)


def _torchmetrics() -> Any:
    from torchmetrics.functional import classification  # takes a second to import

    return classification


def _exact(number: Tensor) -> Tensor:
    """In float64, where the device has it."""
    return number if number.device.type == "mps" else number.double()


def _codes(target: Tensor) -> Tensor:
    """Class codes (B,) of either form of target."""
    return target.squeeze(-1).long() if target.is_floating_point() else target


def _count(scores: Tensor) -> int:
    """The number of classes."""
    return max(2, scores.shape[-1])


def _accuracy(answer: Answer, scores: Tensor, target: Tensor) -> Tensor:
    figure: Tensor = _torchmetrics().multiclass_accuracy(
        answer.labels(scores), _codes(target), num_classes=_count(scores), average="micro", validate_args=False
    )
    return figure


def _balanced_accuracy(answer: Answer, scores: Tensor, target: Tensor) -> Tensor:
    """The mean recall of the classes that have rows."""
    codes, count = _codes(target), _count(scores)
    recalls: Tensor = _torchmetrics().multiclass_recall(
        answer.labels(scores), codes, num_classes=count, average="none", validate_args=False
    )
    present = torch.bincount(codes, minlength=count) > 0
    return torch.where(present, recalls, 0.0).sum() / present.sum()


def _of_labels(name: str) -> Figure:
    """precision, recall, f1_score: of class 1, or the mean over the classes."""

    def figure(answer: Answer, scores: Tensor, target: Tensor) -> Tensor:
        labels, codes = answer.labels(scores), _codes(target)
        if answer.task is Task.BINARY:
            number: Tensor = getattr(_torchmetrics(), f"binary_{name}")(labels, codes, validate_args=False)
        else:
            number = getattr(_torchmetrics(), f"multiclass_{name}")(
                labels, codes, num_classes=_count(scores), average="macro", validate_args=False
            )
        return number

    return figure


def _one_against_rest(answer: Answer, scores: Tensor, target: Tensor) -> list[tuple[int, Tensor, Tensor]]:
    """For class 1 of two, or for each of several: its code, the rows' ranks in [0, 1], and which rows are of it. (B,) and (B,).

    Ranks instead of probabilities: in float32 all scores beyond 17 have the probability 1, and their order would be lost.
    """
    codes = _codes(target)
    if answer.task is Task.BINARY:
        return [(1, _ranks(scores.squeeze(-1)), codes == 1)]
    ranking = answer.probabilities(scores) if answer.link == "clamp" else torch.log_softmax(_exact(scores), -1)
    return [(label, _ranks(ranking[:, label]), codes == label) for label in range(_count(scores))]


def _ranks(scores: Tensor) -> Tensor:
    """Equal ones have equal ranks, 0 to 1. (B,) -> (B,)"""
    places: Tensor = torch.unique(scores, return_inverse=True)[1]
    return _exact(places) / places.max().clamp_min(1)


def _of_ranks(name: str) -> Figure:
    """auroc, average_precision: of class 1, or the mean over the classes for which it is defined."""

    def figure(answer: Answer, scores: Tensor, target: Tensor) -> Tensor:
        numbers = [
            getattr(_torchmetrics(), f"binary_{name}")(ranks, hits.long(), validate_args=False)
            for _, ranks, hits in _one_against_rest(answer, scores, target)
            if hits.any() and not hits.all()
        ]
        return torch.stack(numbers).mean() if numbers else scores.new_tensor(torch.nan)

    return figure


def _log_loss(answer: Answer, scores: Tensor, target: Tensor) -> Tensor:
    """The mean of −log p of the true class, without the loss's weights and smoothing."""
    if answer.link == "sigmoid":
        return F.binary_cross_entropy_with_logits(_exact(scores), _exact(target))
    if answer.link == "softmax":
        return F.cross_entropy(_exact(scores), target)
    p = answer.probabilities(_exact(scores))
    both = torch.stack([1 - p, p], -1) if answer.task is Task.BINARY else p
    sure = both.gather(-1, _codes(target).unsqueeze(-1))
    return -sure.clamp_min(torch.finfo(scores.dtype).eps).log().mean()


def _calibration_error(answer: Answer, scores: Tensor, target: Tensor) -> Tensor:
    """The mean gap between confidence and accuracy, over 15 bins (Guo et al. 2017); for two classes of class 1."""
    p, codes = answer.probabilities(_exact(scores)), _codes(target)
    if answer.task is Task.BINARY:
        number: Tensor = _torchmetrics().binary_calibration_error(p, codes, n_bins=BINS, validate_args=False)
    else:
        number = _torchmetrics().multiclass_calibration_error(p, codes, num_classes=_count(scores), n_bins=BINS, validate_args=False)
    return number


def _of_numbers(name: str, **settings: bool) -> Figure:
    def figure(answer: Answer, scores: Tensor, target: Tensor) -> Tensor:
        from torchmetrics.functional import regression

        values, truth = _exact(answer.values(scores)), _exact(answer.unscale(target))
        number: Tensor = getattr(regression, name)(values.flatten(), truth.flatten(), **settings)
        return number

    return figure


def _rmsle(answer: Answer, scores: Tensor, target: Tensor) -> Tensor:
    """The root of the mean of (log(1 + v) − log(1 + t))²; NaN where a number is −1 or below, whose logarithm is none."""
    values, truth = _exact(answer.values(scores)), _exact(answer.unscale(target))
    defined = (torch.minimum(values, truth) > -1).all()
    return torch.where(defined, (values.log1p() - truth.log1p()).square().mean().sqrt(), torch.nan)


def _r2(answer: Answer, scores: Tensor, target: Tensor) -> Tensor:
    """1 − Σ(t − v)² / Σ(t − mean)², both sums over all outputs; NaN where the truth does not vary.

    Spelled here: torchmetrics takes a sum of squares below 1e-4 for no variation at all, whatever the units.
    """
    values, truth = _exact(answer.values(scores)), _exact(answer.unscale(target))
    total = (truth - truth.mean(0)).square().sum()
    return torch.where(total > 0, 1 - (truth - values).square().sum() / total, torch.nan)


OF_CLASSES: dict[str, Figure] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "precision": _of_labels("precision"),
    "recall": _of_labels("recall"),
    "f1": _of_labels("f1_score"),
    "roc_auc": _of_ranks("auroc"),
    "average_precision": _of_ranks("average_precision"),
    "log_loss": _log_loss,
    "calibration_error": _calibration_error,
}
OF_NUMBERS: dict[str, Figure] = {
    "mse": _of_numbers("mean_squared_error"),
    "rmse": _of_numbers("mean_squared_error", squared=False),
    "rmsle": _rmsle,
    "mae": _of_numbers("mean_absolute_error"),
    "r2": _r2,
}
FIGURES = OF_CLASSES | OF_NUMBERS
