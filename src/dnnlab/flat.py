"""All parameters of a network in one buffer, weights first; the network's tensors and their gradients are views of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FlatParameters:
    """One vector of parameters and one of gradients: a step, a penalty or a norm is one operation on one tensor.

    Weights (tensors of two dimensions and more) stand before the rest, so `weights` is what penalties and decay act on. Parameters that
    need no gradient stay where they are.

    >>> flat = FlatParameters(nn.Linear(3, 2))
    >>> flat.data.shape, flat.weights.shape, flat.spans
    (torch.Size([8]), torch.Size([6]), {'weight': slice(0, 6, None), 'bias': slice(6, 8, None)})
    """

    def __init__(self, network: nn.Module) -> None:
        named = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
        order = sorted(named, key=lambda name: named[name].ndim < 2)  # stable: weights first, else as they stand
        total = sum(named[name].numel() for name in order)
        like = next(iter(named.values()))
        data = torch.empty(total, dtype=like.dtype, device=like.device)
        self.shapes = {name: named[name].shape for name in named}
        self.spans: dict[str, slice] = {}
        self._parameters = {name: named[name] for name in order}
        start = 0
        for name in order:
            parameter = named[name]
            self.spans[name] = span = slice(start, start := start + parameter.numel())
            data[span].view_as(parameter).copy_(parameter.detach())
        self.weight_names = [name for name in order if len(self.shapes[name]) >= 2]
        self._weights = sum(self.shapes[name].numel() for name in self.weight_names)
        self._live_in(data, torch.zeros_like(data))

    def _live_in(self, data: Tensor, grad: Tensor) -> None:
        self.data, self.grad = data, grad
        for name, parameter in self._parameters.items():
            parameter.data = self.view(name)
            parameter.grad = self.view(name, grad)
        self.weights = data[: self._weights]
        self.weight_grads = grad[: self._weights]

    def move(self, data: Tensor, grad: Tensor) -> None:
        """Live in these buffers from now on, (n,) each: what the parameters are is taken along. Views that were taken before are stale."""
        data.copy_(self.data)
        grad.copy_(self.grad)
        self._live_in(data, grad)

    def view(self, name: str, of: Tensor | None = None) -> Tensor:
        """One parameter's part of `data`, or of another vector of that length, in its own shape."""
        return (self.data if of is None else of)[self.spans[name]].view(self.shapes[name])

    def parameter(self, name: str | None = None) -> nn.Parameter:
        """The whole buffer, or one parameter, as a leaf for torch's optimizers."""
        leaf = nn.Parameter(self.data if name is None else self.view(name))
        leaf.grad = self.grad if name is None else self.view(name, self.grad)
        return leaf


class StackedParameters:
    """The flat parameters of K models of one shape as the rows of one buffer, (K, n); each model's own tensors become views of its row.

    >>> models = [FlatParameters(nn.Linear(3, 2)) for _ in range(4)]
    >>> stacked = StackedParameters(models)
    >>> stacked.data[1].zero_().sum(), models[1].data.abs().sum(), stacked.view("weight").shape
    (tensor(0.), tensor(0.), torch.Size([4, 2, 3]))
    """

    def __init__(self, models: Sequence[FlatParameters]) -> None:
        first = models[0]
        count = len(first.data)
        self.data = first.data.new_zeros(len(models), -(-count // ROW) * ROW)
        self.grad = torch.zeros_like(self.data)
        for model, data, grad in zip(models, self.data, self.grad, strict=True):
            model.move(data[:count], grad[:count])
        self.spans, self.shapes, self.weight_names = first.spans, first.shapes, first.weight_names
        self.weights = self.data[:, : len(first.weights)]
        self.weight_grads = self.grad[:, : len(first.weights)]

    def view(self, name: str, of: Tensor | None = None) -> Tensor:
        """One parameter of all models, (K, …)."""
        return (self.data if of is None else of)[:, self.spans[name]].view(-1, *self.shapes[name])


def aligned(like: Tensor, *shape: int) -> Tensor:
    """A new tensor, whose every matrix begins where a vector register does, as a model's only one would: (B, H) or (K, B, H).

    What is computed with the k-th matrix then does not depend, to the last bit, on how many there are.
    """
    *stack, rows, width = shape
    numbers = rows * width
    if not stack or numbers % ALIGNED == 0:
        return like.new_empty(shape)
    return like.new_empty(*stack, -(-numbers // ALIGNED) * ALIGNED)[:, :numbers].view(shape)


ALIGNED = 32  # numbers: two vectors of 16
ROW = 64  # a row has a multiple of so many numbers: no model's numbers fall to the slower end of a vectorised loop, which rounds otherwise
