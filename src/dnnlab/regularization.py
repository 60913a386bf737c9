"""Penalties on the gradient, clipping, and the projections that follow a step; all on the flat buffer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dnnlab.flat import FlatParameters


@dataclass(frozen=True)
class SparsityPlan:
    """How many weights may stay: from all of them at `begin` to `keep` at `end`, along a cubic (Zhu and Gupta 2018).

    >>> plan = SparsityPlan(keep=0.25, begin=0, end=100)
    >>> plan.share(0), round(plan.share(50), 3), plan.share(100), plan.share(1000)
    (1.0, 0.344, 0.25, 0.25)
    """

    keep: float  # share of weights at the end
    begin: int  # step
    end: int  # step
    per_layer: bool = False

    def share(self, step: int) -> float:
        """The share of weights that may differ from zero after so many steps."""
        progress = 1.0 if step >= self.end else max(0.0, (step - self.begin) / (self.end - self.begin))
        return self.keep + (1 - self.keep) * (1 - progress) ** 3


@dataclass(frozen=True)
class Regularizer:
    """What acts on gradients before a step and on weights after it. Zero or None switches each part off."""

    l1: float = 0.0
    proximal: bool = False
    l2: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None
    max_norm: float | None = None
    sparsity: SparsityPlan | None = None

    def penalise(self, flat: FlatParameters) -> None:
        """Add the penalties' gradients: l2·w and, as a subgradient, l1·sign(w)."""
        if self.l2:
            flat.weight_grads.add_(flat.weights, alpha=self.l2)
        if self.l1 and not self.proximal:
            flat.weight_grads.add_(flat.weights.sign(), alpha=self.l1)

    def terms(self, flat: FlatParameters) -> dict[str, Tensor]:
        """The penalties' values: l1·Σ|w| and l2·½Σw²."""
        terms = {}
        if self.l1:
            terms["l1"] = flat.weights.abs().sum() * self.l1
        if self.l2:
            terms["l2"] = flat.weights.square().sum() * (0.5 * self.l2)
        return terms

    def clip(self, flat: FlatParameters) -> None:
        """Bound the gradient's numbers, then its length."""
        if self.clip_value is not None:
            flat.grad.clamp_(-self.clip_value, self.clip_value)
        if self.clip_norm is not None:
            length = torch.linalg.vector_norm(flat.grad)
            flat.grad.mul_((self.clip_norm / (length + 1e-6)).clamp_max(1.0))

    def project(self, flat: FlatParameters, step: int, lr: float) -> None:
        """Bring the weights back to where they may be, after step number `step` (from 0) was taken at rate `lr`."""
        if self.l1 and self.proximal:
            soft_threshold(flat.weights, lr * self.l1)
        if self.max_norm is not None:
            for name in flat.weight_names:
                weight = flat.view(name)
                torch.renorm(weight, p=2, dim=0, maxnorm=self.max_norm, out=weight)
        self.sparsify(flat, step)

    def sparsify(self, flat: FlatParameters, step: int) -> None:
        """Take the smallest weights away, as far as the plan is by step number `step`."""
        plan = self.sparsity
        if plan is None or step < plan.begin:
            return
        parts = [flat.view(name).view(-1) for name in flat.weight_names] if plan.per_layer else [flat.weights]
        for part in parts:
            keep_largest(part, round(plan.share(step + 1) * part.numel()))


def soft_threshold(weights: Tensor, amount: float) -> None:
    """The proximal step of an L1 penalty, in place: nearer to zero by `amount`, and exactly zero within it.

    >>> w = torch.tensor([-1.0, 0.2, 2.0]); soft_threshold(w, 0.5); w.tolist()
    [-0.5, 0.0, 1.5]
    """
    weights.copy_(torch.nn.functional.softshrink(weights, amount))


def keep_largest(weights: Tensor, count: int) -> None:
    """Project onto the vectors with at most `count` numbers that are not zero, in place.

    >>> w = torch.tensor([0.1, -3.0, 2.0, -0.5]); keep_largest(w, 2); w.tolist()
    [0.0, -3.0, 2.0, 0.0]
    """
    if count >= weights.numel():
        return
    small = torch.ones_like(weights, dtype=torch.bool)
    small[weights.abs().topk(max(1, count), sorted=False).indices] = False
    weights.masked_fill_(small, 0.0)
