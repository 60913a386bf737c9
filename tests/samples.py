"""What several tests share: batches for each task, a loss of each kind, and how closely float64 must agree."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from dnnlab import losses
from dnnlab.losses import FITS, Loss
from dnnlab.tasks import Task

CLASSES = 4
WIDTH = {Task.BINARY: 1, Task.MULTICLASS: CLASSES, Task.REGRESSION: 3, Task.RECONSTRUCTION: 5}  # of the scores

exactly = partial(torch.testing.assert_close, rtol=0, atol=0)
closely = partial(torch.testing.assert_close, rtol=1e-12, atol=1e-12)  # for float64


def weights(task: Task) -> Tensor:
    """A weight per class."""
    return torch.tensor([0.5, 2.0] if task is Task.BINARY else [0.5, 2.0, 1.0, 0.25], dtype=torch.float64)


MAKERS: dict[str, Callable[[Task], list[Loss]]] = {
    "mse": lambda task: [losses.SquaredError()],
    "mae": lambda task: [losses.AbsoluteError()],
    "huber": lambda task: [losses.Huber(0.3), losses.Huber(1.0)],
    "log_cosh": lambda task: [losses.LogCosh()],
    "bce": lambda task: [
        losses.BinaryCrossEntropy(),
        losses.BinaryCrossEntropy(label_smoothing=0.1),
        *([losses.BinaryCrossEntropy(0.2, weights(task)), losses.BinaryCrossEntropy(0.0, weights(task))] if task is Task.BINARY else []),
    ],
    "cross_entropy": lambda task: [
        losses.CrossEntropy(),
        losses.CrossEntropy(label_smoothing=0.1),
        losses.CrossEntropy(0.0, weights(task)),
        losses.CrossEntropy(0.1, weights(task)),
    ],
    "focal": lambda task: [losses.Focal(), losses.Focal(0.0), losses.Focal(0.5), losses.Focal(1.5, weights(task))],
    "hinge": lambda task: [losses.Hinge()],
    "squared_hinge": lambda task: [losses.Hinge(power=2)],
    "perceptron": lambda task: [losses.PerceptronCriterion()],
}


def tasks_of(kind: str) -> list[Task]:
    """The tasks that a loss is tested with; cross-entropy of two classes is that of two outputs (`build` makes them so)."""
    return [task for task in FITS[kind][0] if (kind, task) != ("cross_entropy", Task.BINARY)]


# (kind of loss, task, which of its settings)
ALL_LOSSES = [(kind, task, number) for kind in FITS for task in tasks_of(kind) for number in range(len(MAKERS[kind](task)))]


def loss_of(kind: str, task: Task, number: int) -> Loss:
    """The loss that an entry of ALL_LOSSES stands for."""
    return MAKERS[kind](task)[number]


def target_of(task: Task, *shape: int) -> Tensor:
    """Random targets. shape: (…, B)."""
    if task is Task.BINARY:
        return torch.randint(0, 2, (*shape, 1)).double()
    if task is Task.MULTICLASS:
        return torch.randint(0, CLASSES, shape)
    width = WIDTH[task]
    return (
        torch.rand(*shape, width, dtype=torch.float64) if task is Task.RECONSTRUCTION else torch.randn(*shape, width, dtype=torch.float64)
    )
