"""Penalties, clipping and projections of K stacked models, each with its own numbers."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import final

import torch
from torch import Tensor

from dnnlab.flat import FlatParameters, StackedParameters
from dnnlab.regularization import Regularizer


@final
class StackedRegularizer:
    """What `Regularizer` does, for the rows of a stack. A model without one of its parts has the number that changes nothing."""

    def __init__(self, regularizers: Sequence[Regularizer], flat: StackedParameters, rows: Sequence[FlatParameters]) -> None:
        """rows: the flat parameters of each model, which live in `flat`."""
        self._flat = flat
        self._sparse = [(own, row) for own, row in zip(regularizers, rows, strict=True) if own.sparsity is not None]
        self._l1 = self._column([0.0 if own.proximal else own.l1 for own in regularizers])
        self._shrink = self._column([own.l1 if own.proximal else 0.0 for own in regularizers])
        self._l2 = self._column([own.l2 for own in regularizers])
        self._all_l1 = self._column([own.l1 for own in regularizers])
        self._clip_value = self._column([inf if own.clip_value is None else own.clip_value for own in regularizers], off=inf)
        self._clip_norm = self._column([inf if own.clip_norm is None else own.clip_norm for own in regularizers], off=inf)
        self._max_norm = self._column([inf if own.max_norm is None else own.max_norm for own in regularizers], off=inf)

    def _column(self, numbers: Sequence[float], off: float = 0.0) -> Tensor | None:
        """(K, 1), or None where every model has the part switched off."""
        return None if all(number == off for number in numbers) else self._flat.data.new_tensor(numbers).unsqueeze(1)

    def penalise(self) -> None:
        """Add the penalties' gradients."""
        flat = self._flat
        if self._l2 is not None:
            flat.weight_grads.addcmul_(flat.weights, self._l2)
        if self._l1 is not None:
            flat.weight_grads.addcmul_(flat.weights.sign(), self._l1)

    def terms(self) -> dict[str, Tensor]:
        """The penalties' values, (K,); 0 where a model has none."""
        terms = {}
        if self._all_l1 is not None:
            terms["l1"] = self._flat.weights.abs().sum(1) * self._all_l1.squeeze(1)
        if self._l2 is not None:
            terms["l2"] = self._flat.weights.square().sum(1) * (0.5 * self._l2.squeeze(1))
        return terms

    def clip(self) -> None:
        """Bound the gradient's numbers, then its length."""
        grad = self._flat.grad
        if self._clip_value is not None:
            torch.minimum(grad, self._clip_value, out=grad)
            torch.maximum(grad, -self._clip_value, out=grad)
        if self._clip_norm is not None:
            length = torch.linalg.vector_norm(grad, dim=1, keepdim=True)
            grad.mul_((self._clip_norm / (length + 1e-6)).clamp_max(1.0))

    def project(self, step: int, rates: Tensor) -> None:
        """Bring the weights back to where they may be after step number `step`. rates: (K, 1) of float64, those of this step."""
        weights = self._flat.weights
        if self._shrink is not None:
            amount = (rates * self._shrink).to(weights.dtype)
            weights.copy_(weights.sign() * (weights.abs() - amount).clamp_min(0.0))
        if self._max_norm is not None:
            for name in self._flat.weight_names:
                _renorm(self._flat.view(name), self._max_norm)
        for own, row in self._sparse:
            own.sparsify(row, step)


def _renorm(weight: Tensor, limit: Tensor) -> None:
    """torch.renorm for a stack: a unit's incoming weights that are longer than the limit are scaled to it. (K, H, …) and (K, 1)."""
    length = torch.linalg.vector_norm(weight.flatten(2), dim=2)
    scale = torch.where(length > limit, limit / (length + 1e-7), 1.0)
    weight.mul_(scale.view(*scale.shape, *([1] * (weight.dim() - 2))))
