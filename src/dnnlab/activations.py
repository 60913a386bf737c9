"""The functions that bend a layer's sums: as modules for autograd, and spelled forward and backward for `backprop.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dnnlab.flat import aligned

aten = torch.ops.aten
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al. 2017


class Step(nn.Module):
    """The perceptron's threshold: 1 above zero, else 0; its derivative is zero everywhere, so nothing below it learns.

    >>> Step()(torch.tensor([-1.0, 0.0, 2.0])).tolist()
    [0.0, 0.0, 1.0]
    """

    def forward(self, z: Tensor) -> Tensor:
        """z: any shape -> the same shape."""
        return (z > 0) + 0.0 * z.clamp(-1, 1)  # the second term keeps the graph, with a slope of zero; ∞·0 would be no number


def activation(kind: str, **numbers: float | str) -> nn.Module:
    """A new module for an activation by its name in the settings; `numbers` are its parameters, if it has any.

    >>> activation("leaky_relu", negative_slope=0.1)
    LeakyReLU(negative_slope=0.1)
    """
    return MODULES[kind](**numbers)


MODULES: dict[str, Callable[..., nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "hard_tanh": nn.Hardtanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "linear": nn.Identity,
    "softmax": lambda: nn.Softmax(dim=-1),
    "log_softmax": lambda: nn.LogSoftmax(dim=-1),
    "step": Step,
}


class Written(NamedTuple):
    """An activation h = f(z) spelled out. Tensors of one shape (B, H); both write to `out` and return the result."""

    forward: Callable[[Tensor, Tensor], Tensor]  # (z, out) -> h
    backward: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # (dh, z, h, out) -> dz = dh·f'(z)


def written(module: nn.Module) -> Written | None:
    """The spelled form of an activation module; None where there is none (PReLU learns a parameter)."""
    spelled = WRITTEN.get(type(module))
    return spelled(module) if spelled is not None else None


def _elu(alpha: float, scale: float) -> Written:
    return Written(
        lambda z, out: aten.elu.out(z, alpha, scale, 1.0, out=out),
        lambda dh, z, h, out: aten.elu_backward.grad_input(dh, alpha, scale, 1.0, False, z, grad_input=out),
    )


def _softsign_forward(z: Tensor, out: Tensor) -> Tensor:
    torch.abs(z, out=out).add_(1.0)  # z / (1 + |z|)
    return torch.div(z, out, out=out)


def _softsign_backward(dh: Tensor, z: Tensor, h: Tensor, out: Tensor) -> Tensor:
    return torch.abs(h, out=out).neg_().add_(1.0).square_().mul_(dh)  # f' = (1 − |h|)²


SoftmaxBuffers = dict[torch.Size, tuple[Tensor, Tensor, Tensor]]
"""Log-softmax, softmax and sums for scores of one shape."""


def softmax_of_stack(scores: Tensor, buffers: SoftmaxBuffers | None = None) -> tuple[Tensor, Tensor]:
    """Log-softmax and softmax over the last dimension of K models' scores: (K, B, C) -> (K, B, C) each.

    buffers: where the results stand, until the next call with them.

    Of few classes torch's own kernels take many times as long; and their last bits depend on how many rows there are.
    """
    found = None if buffers is None else buffers.get(scores.shape)
    if found is None:
        shape = scores.shape
        found = aligned(scores, *shape), aligned(scores, *shape), aligned(scores, *shape[:-1], 1)
        if buffers is not None:
            buffers[shape] = found
    log_p, p, total = found
    torch.sub(scores, scores.amax(-1, keepdim=True), out=log_p)
    torch.sum(torch.exp(log_p, out=p), -1, keepdim=True, out=total)
    p.div_(total)
    return log_p.sub_(total.log_()), p


def _softmax(z: Tensor, out: Tensor) -> Tensor:
    if z.dim() == 2:
        return torch.softmax(z, -1, out=out)
    return out.copy_(softmax_of_stack(z)[1])


def _softmax_slope(dh: Tensor, z: Tensor, h: Tensor, out: Tensor) -> Tensor:
    if z.dim() == 2:
        aten._softmax_backward_data.out(dh, h, -1, z.dtype, grad_input=out)
        return out
    total = torch.sum(torch.mul(dh, h, out=out), -1, keepdim=True)  # h·(dh − Σ dh·h)
    return out.sub_(h * total)


def _log_softmax(z: Tensor, out: Tensor) -> Tensor:
    if z.dim() == 2:
        return torch.log_softmax(z, -1, out=out)
    return out.copy_(softmax_of_stack(z)[0])


def _log_softmax_slope(dh: Tensor, z: Tensor, h: Tensor, out: Tensor) -> Tensor:
    if z.dim() == 2:
        aten._log_softmax_backward_data.out(dh, h, -1, z.dtype, out=out)
        return out
    total = torch.sum(dh, -1, keepdim=True)  # dh − exp(h)·Σ dh
    return torch.sub(dh, torch.exp(h, out=out).mul_(total), out=out)


# Each backward is the textbook's derivative, as one kernel of torch where it has one.
WRITTEN: dict[type[nn.Module], Callable[..., Written]] = {
    nn.Sigmoid: lambda m: Written(
        lambda z, out: torch.sigmoid(z, out=out),
        lambda dh, z, h, out: aten.sigmoid_backward.grad_input(dh, h, grad_input=out),  # h(1 − h)
    ),
    nn.Tanh: lambda m: Written(
        lambda z, out: torch.tanh(z, out=out),
        lambda dh, z, h, out: aten.tanh_backward.grad_input(dh, h, grad_input=out),  # 1 − h²
    ),
    nn.Hardtanh: lambda m: Written(
        lambda z, out: torch.clamp(z, m.min_val, m.max_val, out=out),
        lambda dh, z, h, out: aten.hardtanh_backward.grad_input(dh, z, m.min_val, m.max_val, grad_input=out),
    ),
    nn.ReLU: lambda m: Written(
        lambda z, out: torch.clamp_min(z, 0, out=out),
        lambda dh, z, h, out: aten.threshold_backward.grad_input(dh, h, 0, grad_input=out),  # 1 where h > 0
    ),
    nn.LeakyReLU: lambda m: Written(
        lambda z, out: aten.leaky_relu.out(z, m.negative_slope, out=out),
        lambda dh, z, h, out: aten.leaky_relu_backward.grad_input(dh, z, m.negative_slope, False, grad_input=out),
    ),
    nn.ELU: lambda m: _elu(m.alpha, 1.0),
    nn.SELU: lambda m: _elu(SELU_ALPHA, SELU_SCALE),
    nn.GELU: lambda m: Written(
        lambda z, out: aten.gelu.out(z, approximate=m.approximate, out=out),
        lambda dh, z, h, out: aten.gelu_backward.grad_input(dh, z, approximate=m.approximate, grad_input=out),
    ),
    nn.SiLU: lambda m: Written(
        lambda z, out: aten.silu.out(z, out=out),
        lambda dh, z, h, out: aten.silu_backward.grad_input(dh, z, grad_input=out),
    ),
    nn.Mish: lambda m: Written(
        lambda z, out: aten.mish.out(z, out=out),
        lambda dh, z, h, out: aten.mish_backward(dh, z),
    ),
    nn.Softplus: lambda m: Written(
        lambda z, out: aten.softplus.out(z, m.beta, m.threshold, out=out),
        lambda dh, z, h, out: aten.softplus_backward.grad_input(dh, z, m.beta, m.threshold, grad_input=out),  # sigmoid(beta·z)
    ),
    nn.Softsign: lambda m: Written(_softsign_forward, _softsign_backward),
    nn.Identity: lambda m: Written(lambda z, out: z, lambda dh, z, h, out: dh),
    nn.Softmax: lambda m: Written(
        _softmax,
        _softmax_slope,
    ),
    nn.LogSoftmax: lambda m: Written(
        _log_softmax,
        _log_softmax_slope,
    ),
    Step: lambda m: Written(
        lambda z, out: torch.clamp(z, -1, 1, out=out).mul_(0.0).add_(z > 0),
        lambda dh, z, h, out: out.zero_(),
    ),
}
