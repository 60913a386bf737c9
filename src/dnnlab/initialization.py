"""With which numbers the weights begin. A rule fills a weight (out, in) on the CPU, so every device begins with the same ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt

import torch
from torch import Generator, Tensor, nn

from dnnlab.errors import ConfigError, did_you_mean
from dnnlab.seeding import generator

Rule = Callable[[Tensor, float, Generator], object]  # (weight to fill: (out, in), gain, where the numbers come from)

RELU_FAMILY = frozenset({"relu", "leaky_relu", "prelu", "elu", "gelu", "silu", "mish", "softplus"})

# What torch.nn.init.calculate_gain does not know: 1 / sqrt(E f(z)²) for z ~ N(0, 1), which keeps the second moment of the signal
# as He et al. 2015 do for relu. One that has no such scale (softmax, step) keeps 1.
MOMENT_GAINS = {
    "elu": 1.2451983,
    "gelu": 1.5335304,
    "silu": 1.6765325,
    "mish": 1.4868476,
    "softplus": 1.0418668,
    "softsign": 2.3375334,
    "hard_tanh": 1.3920361,
}


def gain(activation: str, slope: float | None = None) -> float:
    """By how much the weights before an activation are to be larger; `slope` is a leaky ReLU's, below zero.

    >>> gain("relu"), gain("tanh"), gain("leaky_relu", slope=1.0)
    (1.4142135623730951, 1.6666666666666667, 1.0)
    """
    if activation in ("leaky_relu", "prelu"):
        default = 0.01 if activation == "leaky_relu" else 0.25
        return sqrt(2 / (1 + (default if slope is None else slope) ** 2))
    if activation in ("linear", "sigmoid", "tanh", "relu", "selu"):
        return float(nn.init.calculate_gain(activation))  # type: ignore[arg-type]
    return MOMENT_GAINS.get(activation, 1.0)


def auto(activation: str, *, single: bool = False) -> str:
    """The rule that suits an activation; a single layer begins at zero, since its loss has one valley only.

    >>> auto("relu"), auto("selu"), auto("tanh"), auto("relu", single=True)
    ('kaiming_normal', 'lecun_normal', 'xavier_uniform', 'zeros')
    """
    if single:
        return "zeros"
    if activation in RELU_FAMILY:
        return "kaiming_normal"
    return "lecun_normal" if activation == "selu" else "xavier_uniform"


def xavier_uniform(weight: Tensor, gain: float, generator: Generator) -> None:
    """U(−a, a) with a = gain·sqrt(6 / (in + out)) (Glorot and Bengio 2010)."""
    bound = gain * sqrt(6 / sum(weight.shape))
    weight.uniform_(-bound, bound, generator=generator)


def xavier_normal(weight: Tensor, gain: float, generator: Generator) -> None:
    """Standard deviation gain·sqrt(2 / (in + out)) (Glorot and Bengio 2010)."""
    weight.normal_(0.0, gain * sqrt(2 / sum(weight.shape)), generator=generator)


def kaiming_uniform(weight: Tensor, gain: float, generator: Generator) -> None:
    """U(−a, a) with a = gain·sqrt(3 / in) (He et al. 2015)."""
    bound = gain * sqrt(3 / weight.shape[1])
    weight.uniform_(-bound, bound, generator=generator)


def kaiming_normal(weight: Tensor, gain: float, generator: Generator) -> None:
    """Standard deviation gain / sqrt(in) (He et al. 2015)."""
    weight.normal_(0.0, gain / sqrt(weight.shape[1]), generator=generator)


def lecun_normal(weight: Tensor, gain: float, generator: Generator) -> None:
    """Standard deviation 1 / sqrt(in), whatever the activation (LeCun et al. 1998); what selu is made for."""
    weight.normal_(0.0, 1 / sqrt(weight.shape[1]), generator=generator)


def orthogonal(weight: Tensor, gain: float, generator: Generator) -> None:
    """Orthonormal rows or columns, whichever are fewer, times the gain (Saxe et al. 2014)."""
    nn.init.orthogonal_(weight, gain=gain, generator=generator)


RULES: dict[str, Rule] = {
    "xavier_uniform": xavier_uniform,
    "xavier_normal": xavier_normal,
    "kaiming_uniform": kaiming_uniform,
    "kaiming_normal": kaiming_normal,
    "lecun_normal": lecun_normal,
    "orthogonal": orthogonal,
    "zeros": lambda weight, gain, generator: weight.zero_(),
    # LSUV begins orthonormal; `lsuv` then scales by data.
    "lsuv": lambda weight, gain, generator: orthogonal(weight, 1.0, generator),
}


@torch.no_grad()
def initialize(
    linears: Sequence[nn.Linear],
    kind: str,
    activation: str,
    seed: int,
    *,
    low: float = -0.5,
    high: float = 0.5,
    std: float = 0.05,
    slope: float | None = None,
    output: bool = True,
) -> None:
    """Fill the weights of linear layers, from inputs to output, and set their biases to zero.

    low, high: bounds of kind "uniform"; std: of kind "normal"; slope: a leaky ReLU's; output: the last of the layers is the
    network's output, which has no activation (false for a tied autoencoder, whose layers are all encoding ones).
    """
    rules = RULES | {
        "uniform": lambda weight, gain, generator: weight.uniform_(low, high, generator=generator),
        "normal": lambda weight, gain, generator: weight.normal_(0.0, std, generator=generator),
    }
    name = auto(activation, single=output and len(linears) == 1) if kind == "auto" else kind
    if name not in rules:
        raise ConfigError(f"must be a known rule, however: {kind}", where="initialization.kind", fix=did_you_mean(kind, rules))
    for index, linear in enumerate(linears):
        ends = output and index == len(linears) - 1
        weight = torch.empty(linear.weight.shape, dtype=linear.weight.dtype)
        rules[name](weight, 1.0 if ends else gain(activation, slope), generator(seed, "init", index))
        linear.weight.copy_(weight)
        if linear.bias is not None:
            linear.bias.zero_()


@torch.no_grad()
def lsuv(network: nn.Module, x: Tensor, *, tolerance: float = 0.01, iterations: int = 10) -> None:
    """Scale each linear layer, in order of execution, until its outputs for x have variance 1 (LSUV, Mishkin and Matas 2016).

    x: (B, D). One pass is enough: each layer is scaled when the signal of the layers before it, already scaled, arrives.
    A layer whose outputs do not vary is left as it is.
    """
    done: set[nn.Module] = set()

    def scale(layer: nn.Module, inputs: tuple[Tensor, ...], result: Tensor) -> Tensor:
        assert isinstance(layer, nn.Linear)
        if layer in done:
            return result
        done.add(layer)
        for _ in range(iterations):
            variance = float(result.double().var(correction=0))
            if abs(variance - 1) <= tolerance or not 0 < variance < float("inf"):
                break
            layer.weight.div_(sqrt(variance))
            result = layer.forward(*inputs)  # not a call: that would come here again
        return result

    mode = network.training
    hooks = [module.register_forward_hook(scale) for module in network.modules() if isinstance(module, nn.Linear)]
    try:
        network.eval()(x)
    finally:
        network.train(mode)
        for hook in hooks:
            hook.remove()
