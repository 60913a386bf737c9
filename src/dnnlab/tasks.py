"""What is asked of a network: how wide its output is, what its targets look like, and how raw scores become answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import torch
from torch import Tensor

Link = Literal["identity", "sigmoid", "softmax", "clamp"]


class Task(StrEnum):
    """The four questions; B rows, C classes, T numbers, D inputs.

    binary: scores (B, 1), target (B, 1) of 0.0 and 1.0; multiclass: scores (B, C), target (B,) of int64 codes;
    regression: scores and target (B, T); reconstruction: scores and target (B, D).
    """

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"
    RECONSTRUCTION = "reconstruction"

    @property
    def classifies(self) -> bool:
        """True where the answer is a class."""
        return self in (Task.BINARY, Task.MULTICLASS)


@dataclass(frozen=True)
class Answer:
    """Turns raw scores into answers; `link` says what the scores mean, `shift` and `factor` undo the target's scaling.

    `threshold`: class 1 of two is answered above it; `log`: the target is the logarithm of 1 + number, before any scaling.

    >>> Answer(Task.BINARY, "sigmoid").labels(torch.tensor([[-1.0], [2.0]])).tolist()
    [0, 1]
    >>> Answer(Task.REGRESSION, "identity", shift=(10.0,), factor=(2.0,)).values(torch.tensor([[1.5]])).tolist()
    [[13.0]]
    >>> Answer(Task.BINARY, "sigmoid", threshold=0.9).labels(torch.tensor([[-1.0], [2.0], [3.0]])).tolist()
    [0, 0, 1]
    """

    task: Task
    link: Link
    shift: tuple[float, ...] = ()
    factor: tuple[float, ...] = ()
    threshold: float = 0.5
    log: bool = False

    def labels(self, scores: Tensor) -> Tensor:
        """The chosen class of each row. scores: (B, 1) or (B, C) -> (B,) of int64."""
        if self.threshold != 0.5 and scores.shape[-1] <= 2:
            return (self.chances(scores) > self.threshold).long()
        if self.task is Task.BINARY:
            return (scores.squeeze(-1) > (0.5 if self.link == "clamp" else 0.0)).long()
        return scores.argmax(-1)

    def chances(self, scores: Tensor) -> Tensor:
        """The probability of class 1 of two, which a threshold looks at, in float64 where the device has it. (B, 1) or (B, 2) -> (B,)."""
        exact = scores if scores.device.type == "mps" else scores.double()
        if self.task is Task.BINARY:
            return self.probabilities(exact)
        return self.probabilities(exact)[:, 1] if self.link == "clamp" else torch.sigmoid(exact[:, 1] - exact[:, 0])

    def probabilities(self, scores: Tensor) -> Tensor:
        """The probability of class 1, (B,), or of every class, (B, C); a ranking only, where the loss is a margin loss."""
        if self.link == "clamp":
            share = scores.clamp(0.0, 1.0)
            if self.task is Task.BINARY:
                return share.squeeze(-1)
            total = share.sum(-1, keepdim=True)
            return torch.where(total > 0, share / total.clamp_min(torch.finfo(scores.dtype).tiny), 1 / scores.shape[-1])
        return torch.sigmoid(scores).squeeze(-1) if self.task is Task.BINARY else torch.softmax(scores, -1)

    def values(self, scores: Tensor) -> Tensor:
        """The numbers answered, in the units of the data. scores: (B, T) -> (B, T)."""
        values = torch.sigmoid(scores) if self.link == "sigmoid" else scores
        return self.unscale(values)

    def unscale(self, target: Tensor) -> Tensor:
        """Undo the scaling and the logarithm of a numeric target. target: (B, T) -> (B, T)."""
        if self.shift:
            target = target * target.new_tensor(self.factor) + target.new_tensor(self.shift)
        return torch.expm1(target) if self.log else target
