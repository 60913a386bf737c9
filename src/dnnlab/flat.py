"""All parameters of a network in one buffer, weights first; the network's tensors and their gradients are views of it."""

from __future__ import annotations

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
        self.data = torch.empty(total, dtype=like.dtype, device=like.device)
        self.grad = torch.zeros_like(self.data)
        self.shapes = {name: named[name].shape for name in named}
        self.spans: dict[str, slice] = {}
        start = 0
        for name in order:
            parameter = named[name]
            self.spans[name] = span = slice(start, start := start + parameter.numel())
            self.data[span].view_as(parameter).copy_(parameter.detach())
            parameter.data = self.data[span].view(parameter.shape)
            parameter.grad = self.grad[span].view(parameter.shape)
        self.weight_names = [name for name in order if len(self.shapes[name]) >= 2]
        count = sum(self.shapes[name].numel() for name in self.weight_names)
        self.weights = self.data[:count]
        self.weight_grads = self.grad[:count]

    def view(self, name: str, of: Tensor | None = None) -> Tensor:
        """One parameter's part of `data`, or of another vector of that length, in its own shape."""
        return (self.data if of is None else of)[self.spans[name]].view(self.shapes[name])

    def parameter(self, name: str | None = None) -> nn.Parameter:
        """The whole buffer, or one parameter, as a leaf for torch's optimizers."""
        leaf = nn.Parameter(self.data if name is None else self.view(name))
        leaf.grad = self.grad if name is None else self.view(name, self.grad)
        return leaf
