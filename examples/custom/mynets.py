"""A network, a loss and an optimizer of one's own, in place of dnnlab's. The command that trains them stands in docs/custom.md."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class GatedNet(nn.Module):
    """One hidden layer whose units are gated by a second one: (W₁x)·sigmoid(W₂x). Shape: (B, n_inputs) -> (B, n_outputs)."""

    def __init__(self, n_inputs: int, n_outputs: int, *, width: int = 32, dropout: float = 0.0) -> None:
        super().__init__()
        self.value = nn.Linear(n_inputs, width)
        self.gate = nn.Linear(n_inputs, width)
        self.dropout = nn.Dropout(dropout)  # torch's own dropout resumes exactly, too: each step begins its generator anew
        self.output = nn.Linear(width, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, n_inputs) -> raw scores (B, n_outputs)."""
        hidden: Tensor = self.value(x) * torch.sigmoid(self.gate(x))
        scores: Tensor = self.output(self.dropout(hidden))
        return scores


class Quantile:
    """The pinball loss, whose minimum is a quantile of the target. Called with (B, T) scores and target -> (B,)."""

    def __init__(self, quantile: float = 0.5) -> None:
        self.quantile = quantile

    def __call__(self, scores: Tensor, target: Tensor) -> Tensor:
        """The loss of each row."""
        error = target - scores
        return torch.maximum(self.quantile * error, (self.quantile - 1) * error).mean(-1)


class SignDescent(torch.optim.Optimizer):
    """Steps of one size in the direction of the gradient's signs."""

    def __init__(self, params: Iterable[nn.Parameter], lr: float = 0.001) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter by lr."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.add_(parameter.grad.sign(), alpha=-group["lr"])
