"""What training makes small: each loss as a value per row, for autograd, and as a slope, written out for `backprop.py`.

B rows, C classes, T numbers. Any dimensions may stand before B, so that K stacked models share these lines.
Targets are as in `tasks.py`: 0/1 floats (B, 1) for two classes, int64 codes (B,) for several, numbers (B, T) else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import log

import torch
from torch import Tensor
from torch.nn import functional as F

from dnnlab.activations import SoftmaxBuffers, softmax_of_stack
from dnnlab.errors import ConfigError
from dnnlab.tasks import Link, Task


class Loss(ABC):
    """A loss per row and its slope; a batch's loss is the (weighted) mean of its rows'."""

    written = True  # False: no slope, so only autograd can train with it

    @abstractmethod
    def rows(self, scores: Tensor, target: Tensor) -> Tensor:
        """The loss of each row, times its weight. scores: (B, C) -> (B,)."""

    @abstractmethod
    def slope(self, scores: Tensor, target: Tensor) -> Tensor:
        """The derivative of the sum of `rows` by the scores. scores: (B, C) -> (B, C), a new tensor."""

    def judged(self, scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """`rows` and `slope` at once."""
        return self.rows(scores, target), self.slope(scores, target)

    def weight(self, target: Tensor) -> Tensor | None:
        """The weight of each row, (B,), by whose sum the mean divides; None: every row counts one."""
        return None

    def mean(self, scores: Tensor, target: Tensor) -> Tensor:
        """The loss of a batch, a number."""
        weight = self.weight(target)
        rows = self.rows(scores, target)
        return rows.mean(-1) if weight is None else rows.sum(-1) / weight.sum(-1)


def as_numbers(scores: Tensor, target: Tensor) -> Tensor:
    """Class codes (B,) as one-hot numbers like the scores (B, C); other targets as they are."""
    return target if target.is_floating_point() else F.one_hot(target, scores.shape[-1]).to(scores.dtype)


def as_signs(scores: Tensor, target: Tensor) -> Tensor:
    """Classes as −1 and +1 like the scores, one against the rest."""
    return as_numbers(scores, target) * 2 - 1


def _of_class(weights: Tensor, codes: Tensor) -> Tensor:
    """Each row's weight. weights: (C,), codes: (B,) -> (B,); of K models (K, C) and (K, B) -> (K, B)."""
    return weights[codes] if weights.dim() == 1 else weights.gather(-1, codes)


class SquaredError(Loss):
    """Mean over the outputs of (s − t)²; for classes t is one-hot (the Brier score where the output is a probability)."""

    def rows(self, scores: Tensor, target: Tensor) -> Tensor:
        """scores: (B, T) -> (B,)."""
        return (scores - as_numbers(scores, target)).square().mean(-1)

    def slope(self, scores: Tensor, target: Tensor) -> Tensor:
        """2(s − t) / T"""
        return (scores - as_numbers(scores, target)).mul_(2.0 / scores.shape[-1])


class AbsoluteError(Loss):
    """Mean over the outputs of |s − t|."""

    def rows(self, scores: Tensor, target: Tensor) -> Tensor:
        """scores: (B, T) -> (B,)."""
        return (scores - target).abs().mean(-1)

    def slope(self, scores: Tensor, target: Tensor) -> Tensor:
        """sign(s − t) / T"""
        return (scores - target).sign_().div_(scores.shape[-1])


class Huber(Loss):
    """½d² up to |d| = delta, delta·(|d| − ½delta) beyond (Huber 1964)."""

    def __init__(self, delta: float | Tensor) -> None:
        self.delta = delta

    def rows(self, scores: Tensor, target: Tensor) -> Tensor:
        """scores: (B, T) -> (B,)."""
        if not isinstance(self.delta, Tensor):
            return F.huber_loss(scores, target, reduction="none", delta=self.delta).mean(-1)
        distance = (scores - target).abs()
        near = torch.minimum(distance, self.delta)
        return (near * (distance - 0.5 * near)).mean(-1)

    def slope(self, scores: Tensor, target: Tensor) -> Tensor:
        """d, cut at ± delta"""
        distance = scores - target
        distance.clamp_(-self.delta, self.delta)  # type: ignore[arg-type]  # two numbers, or two tensors
        return distance.div_(scores.shape[-1])


class LogCosh(Loss):
    """log cosh(s − t): a smooth absolute error."""

    def rows(self, scores: Tensor, target: Tensor) -> Tensor:
        """|d| + log(1 + exp(−2|d|)) − log 2, which does not overflow. scores: (B, T) -> (B,)."""
        distance = (scores - target).abs()
        return (distance + F.softplus(-2 * distance) - log(2)).mean(-1)

    def slope(self, scores: Tensor, target: Tensor) -> Tensor:
        """tanh(s − t)"""
        return (scores - target).tanh_().div_(scores.shape[-1])


class BinaryCrossEntropy(Loss):
    """−t·log p − (1 − t)·log(1 − p) with p = sigmoid(s), mean over the outputs; class weights for two classes only."""

    def __init__(self, label_smoothing: float | Tensor = 0.0, class_weights: Tensor | None = None) -> None:
        self.smoothing = label_smoothing
        self.smooths = isinstance(label_smoothing, Tensor) or label_smoothing > 0
        self.class_weights = class_weights

    def _smooth(self, target: Tensor) -> Tensor:
        return target * (1 - self.smoothing) + self.smoothing / 2 if self.smooths else target

    def weight(self, target: Tensor) -> Tensor | None:
        """(B, 1) -> (B,)."""
        return None if self.class_weights is None else _of_class(self.class_weights, target.squeeze(-1).long())

    def rows(self, scores: Tensor, target: Tensor) -> Tensor:
        """scores: (B, T) -> (B,)."""
        rows = F.binary_cross_entropy_with_logits(scores, self._smooth(target), reduction="none").mean(-1)
        weight = self.weight(target)
        return rows if weight is None else rows * weight

    def slope(self, scores: Tensor, target: Tensor) -> Tensor:
        """(sigmoid(s) − t) / T"""
        slope = torch.sigmoid(scores).sub_(self._smooth(target)).div_(scores.shape[-1])
        weight = self.weight(target)
        return slope if weight is None else slope.mul_(weight.unsqueeze(-1))


class CrossEntropy(Loss):
    """−log softmax(s)[class]; smoothing and class weights as torch.nn.CrossEntropyLoss defines them."""

    def __init__(self, label_smoothing: float | Tensor = 0.0, class_weights: Tensor | None = None) -> None:
        self._buffers: SoftmaxBuffers = {}
        self.smoothing = label_smoothing
        self.smooths = isinstance(label_smoothing, Tensor) or label_smoothing > 0
        self.class_weights = class_weights

    def weight(self, target: Tensor) -> Tensor | None:
        """(B,) -> (B,)."""
        return None if self.class_weights is None else _of_class(self.class_weights, target)

    def _wanted(self, scores: Tensor, target: Tensor) -> Tensor:
        """The share that each class is to get, times its weight. -> (B, C)."""
        wanted = as_numbers(scores, target) * (1 - self.smoothing) + self.smoothing / scores.shape[-1]
        return wanted if self.class_weights is None else wanted * self.class_weights.unsqueeze(-2)

    def rows(self, scores: Tensor, target: Tensor) -> Tensor:
        """scores: (B, C) -> (B,)."""
        plain = scores.dim() == 2 or scores.requires_grad
        return self._rows(torch.log_softmax(scores, -1) if plain else softmax_of_stack(scores)[0], target)

    def _rows(self, log_p: Tensor, target: Tensor) -> Tensor:
        if self.smooths or self.class_weights is not None:
            return -(self._wanted(log_p, target) * log_p).sum(-1)
        return -log_p.gather(-1, target.unsqueeze(-1)).squeeze(-1)

    def slope(self, scores: Tensor, target: Tensor) -> Tensor:
        """softmax(s) − one-hot"""
        return self._slope(torch.softmax(scores, -1), target)

    def judged(self, scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Of a stack both share one exponential."""
        if scores.dim() == 2:
            return super().judged(scores, target)
        log_p, p = softmax_of_stack(scores, self._buffers)
        return self._rows(log_p, target), self._slope(p, target)

    def _slope(self, p: Tensor, target: Tensor) -> Tensor:
        if self.smooths or self.class_weights is not None:
            wanted = self._wanted(p, target)
            return p.mul_(wanted.sum(-1, keepdim=True)).sub_(wanted)
        return p.scatter_(-1, target.unsqueeze(-1), -1.0, reduce="add")


class Focal(Loss):
    """−(1 − p)^gamma · log p, where p is the probability of the right class (Lin et al. 2017)."""

    def __init__(self, gamma: float | Tensor = 2.0, class_weights: Tensor | None = None) -> None:
        self.gamma = gamma
        self.class_weights = class_weights

    def weight(self, target: Tensor) -> Tensor | None:
        """(B,) or (B, 1) -> (B,)."""
        codes = target.squeeze(-1).long() if target.is_floating_point() else target
        return None if self.class_weights is None else _of_class(self.class_weights, codes)

    @staticmethod
    def _log_p(scores: Tensor, target: Tensor) -> Tensor:
        """Log probability of the right class. -> (B, 1)."""
        if target.is_floating_point():
            return F.logsigmoid(scores * as_signs(scores, target))
        return torch.log_softmax(scores, -1).gather(-1, target.unsqueeze(-1))

    @staticmethod
    def _miss(log_p: Tensor) -> Tensor:
        """1 − p, which is not rounded to zero where p is all but 1: below gamma 1 the slope would be infinite there."""
        return (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny)

    def rows(self, scores: Tensor, target: Tensor) -> Tensor:
        """scores: (B, 1) or (B, C) -> (B,)."""
        log_p = self._log_p(scores, target)
        rows = (-(self._miss(log_p) ** self.gamma) * log_p).squeeze(-1)
        weight = self.weight(target)
        return rows if weight is None else rows * weight

    def slope(self, scores: Tensor, target: Tensor) -> Tensor:
        """g·(one-hot − p), with g = d loss / d log p = gamma·p·(1 − p)^(gamma − 1)·log p − (1 − p)^gamma"""
        log_p = self._log_p(scores, target)
        p = log_p.exp()
        q = self._miss(log_p)
        g = self.gamma * p * q ** (self.gamma - 1) * log_p - q**self.gamma
        if target.is_floating_point():
            slope = g * q * as_signs(scores, target)
        else:
            slope = g * (as_numbers(scores, target) - torch.softmax(scores, -1))
        weight = self.weight(target)
        return slope if weight is None else slope * weight.unsqueeze(-1)


class Hinge(Loss):
    """max(0, 1 − t·s) with t = ±1; for several classes the sum over the wrong ones of max(0, 1 + s_wrong − s_right)
    (Weston and Watkins 1999). `power` 2 squares each term."""

    def __init__(self, power: int = 1) -> None:
        self.power = power

    def _short(self, scores: Tensor, target: Tensor) -> Tensor:
        """By how much each margin is missed. -> (B, 1) or (B, C), zero at the right class."""
        if target.is_floating_point():
            return torch.relu(1 - as_signs(scores, target) * scores)
        right = scores.gather(-1, target.unsqueeze(-1))
        return torch.relu(1 + scores - right) * (1 - as_numbers(scores, target))

    def rows(self, scores: Tensor, target: Tensor) -> Tensor:
        """scores: (B, 1) or (B, C) -> (B,)."""
        return self._short(scores, target).pow(self.power).sum(-1)

    def slope(self, scores: Tensor, target: Tensor) -> Tensor:
        """1 (or twice the miss) for each missed margin, and minus their sum for the right class"""
        short = self._short(scores, target)
        pull = (short > 0).to(scores.dtype) if self.power == 1 else 2 * short
        if target.is_floating_point():
            return -as_signs(scores, target) * pull
        return pull.scatter_add(-1, target.unsqueeze(-1), -pull.sum(-1, keepdim=True))


class PerceptronCriterion(Loss):
    """max(0, −t·s) with t = ±1, one against the rest: its slope is Rosenblatt's learning rule, which also corrects s = 0."""

    def rows(self, scores: Tensor, target: Tensor) -> Tensor:
        """scores: (B, 1) or (B, C) -> (B,)."""
        agreement = as_signs(scores, target) * scores
        return torch.where(agreement <= 0, -agreement, 0.0).sum(-1)

    def slope(self, scores: Tensor, target: Tensor) -> Tensor:
        """−t where t·s ≤ 0"""
        signs = as_signs(scores, target)
        return torch.where(signs * scores <= 0, -signs, 0.0)


class CustomLoss(Loss):
    """A user's own loss of each row, trained through autograd."""

    written = False

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.function = function

    def rows(self, scores: Tensor, target: Tensor) -> Tensor:
        """scores: (B, C) -> (B,)."""
        rows = self.function(scores, target)
        if rows.shape != scores.shape[:-1]:
            raise ConfigError(
                f"a custom loss must give one number for each row, {tuple(scores.shape[:-1])}, however: {tuple(rows.shape)}",
                where="loss.target",
                fix="Return the loss of every row, without a mean over the batch",
            )
        return rows

    def slope(self, scores: Tensor, target: Tensor) -> Tensor:
        """By autograd; not used in training."""
        leaf = scores.detach().requires_grad_()
        return torch.autograd.grad(self.rows(leaf, target).sum(), leaf)[0]


def stacked(losses: Sequence[Loss], like: Tensor) -> Loss:
    """The losses of K models, which are of one kind, as one: scores (K, B, C), target (K, B, …). Their numbers may differ.

    like: a tensor of the scores' type and device.

    >>> both = stacked([Huber(1.0), Huber(2.0)], torch.zeros(()))
    >>> both.rows(torch.full((2, 1, 1), 3.0), torch.zeros(2, 1, 1))
    tensor([[2.5000],
            [4.0000]])
    """
    first = losses[0]
    match first:
        case Huber():
            return Huber(_column([loss.delta for loss in losses if isinstance(loss, Huber)], like))
        case Focal():
            alike = [loss for loss in losses if isinstance(loss, Focal)]
            return Focal(_column([loss.gamma for loss in alike], like), _weights([loss.class_weights for loss in alike]))
        case BinaryCrossEntropy() | CrossEntropy():
            kind = type(first)
            known = [loss for loss in losses if isinstance(loss, BinaryCrossEntropy | CrossEntropy)]
            return kind(_column([loss.smoothing for loss in known], like), _weights([loss.class_weights for loss in known]))
    return first


def _column(numbers: Sequence[float | Tensor], like: Tensor) -> float | Tensor:
    """The one number that all models have, or (K, 1, 1)."""
    plain = [float(number) for number in numbers]
    return plain[0] if len(set(plain)) == 1 else like.new_tensor(plain).reshape(-1, 1, 1)


def _weights(weights: Sequence[Tensor | None]) -> Tensor | None:
    """The classes' weights of each model, (K, C); a model without any weighs all alike."""
    given = next((weight for weight in weights if weight is not None), None)
    if given is None:
        return None
    return torch.stack([torch.ones_like(given) if weight is None else weight for weight in weights])


# Which task and which output activation a loss is made for.
BOTH = (Task.BINARY, Task.MULTICLASS)
NUMBERS = (Task.REGRESSION, Task.RECONSTRUCTION)
RAW = ("linear",)
FITS: dict[str, tuple[tuple[Task, ...], tuple[str, ...] | None]] = {
    "mse": ((*NUMBERS, *BOTH), None),
    "mae": (NUMBERS, None),
    "huber": ((Task.REGRESSION,), None),
    "log_cosh": ((Task.REGRESSION,), None),
    "bce": ((Task.BINARY, Task.RECONSTRUCTION), RAW),
    "cross_entropy": (BOTH, ("linear", "log_softmax")),
    "focal": (BOTH, RAW),
    "hinge": (BOTH, ("linear", "tanh")),
    "squared_hinge": (BOTH, ("linear", "tanh")),
    "perceptron": (BOTH, RAW),
}
MARGIN = frozenset({"hinge", "squared_hinge", "perceptron"})  # their scores rank, but are no probabilities


def check_fit(loss: str, task: Task, output: str, data: str) -> None:
    """Refuse a loss that does not fit the task or the network's output; the message names both settings."""
    tasks, outputs = FITS[loss]
    if task not in tasks:
        fitting = ", ".join(name for name, (able, _) in FITS.items() if task in able)
        raise ConfigError(
            f"loss={loss} must stand with {' or '.join(tasks)}, however: data={data} asks for {task}",
            where="loss.kind, data.kind",
            fix=f"Try one of loss={fitting}",
        )
    if output == "step" or (outputs is not None and output not in outputs) or output in _shares(loss, task):
        wanted = " or ".join(outputs or ("linear",))
        raise ConfigError(
            f"loss={loss} must stand with model.output={wanted}, however: model.output={output}"
            + (" (softmax and sigmoid belong to the loss and to prediction)" if output in ("softmax", "sigmoid") else ""),
            where="loss.kind, model.output",
            fix=f"Try model.output={(outputs or ('linear',))[0]}",
        )


def _shares(loss: str, task: Task) -> tuple[str, ...]:
    """The outputs that divide one among the classes, where there are no classes to divide it among."""
    return () if task is Task.MULTICLASS or loss == "cross_entropy" else ("softmax", "log_softmax")


def link(loss: str, task: Task) -> Link:
    """What a score means to whoever answers: a logit, a class score, a probability or a number."""
    if loss == "mse" and task.classifies:
        return "clamp"
    if task is Task.BINARY or loss == "bce":
        return "sigmoid"
    return "softmax" if task is Task.MULTICLASS else "identity"
