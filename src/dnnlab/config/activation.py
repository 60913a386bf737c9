"""Which function bends the sums of a layer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dnnlab.config.base import Positive, Settings

PlainActivation = Literal[
    "sigmoid", "tanh", "hard_tanh", "relu", "selu", "silu", "mish", "softsign", "linear", "softmax", "log_softmax", "step"
]
OutputActivation = Literal[
    "linear", "sigmoid", "tanh", "hard_tanh", "relu", "leaky_relu", "prelu", "elu", "selu", "gelu", "silu", "mish", "softplus",
    "softsign", "softmax", "log_softmax", "step",
]  # fmt: skip


class Plain(Settings):
    """An activation without parameters."""

    kind: PlainActivation
    """Name of the function; see docs/activations.md for formulas."""


class LeakyRelu(Settings):
    """x above zero, a small slope below."""

    kind: Literal["leaky_relu"]
    """max(x, slope·x)"""
    negative_slope: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Slope below zero."""


class Prelu(Settings):
    """A leaky ReLU whose slope, one per layer, is learned."""

    kind: Literal["prelu"]
    """max(x, 0) + a·min(x, 0), a learned"""
    init: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """The slope to begin with."""


class Elu(Settings):
    """Exponential linear unit (Clevert et al. 2016)."""

    kind: Literal["elu"]
    """x above zero, alpha·(exp(x) − 1) below"""
    alpha: Positive = 1.0
    """The negative of the limit for x → −∞."""


class Gelu(Settings):
    """Gaussian error linear unit (Hendrycks and Gimpel 2016)."""

    kind: Literal["gelu"]
    """x·Φ(x)"""
    approximate: Literal["none", "tanh"] = "none"
    """Exact, or the tanh approximation."""


class Softplus(Settings):
    """A smooth ReLU."""

    kind: Literal["softplus"]
    """log(1 + exp(beta·x)) / beta"""
    beta: Positive = 1.0
    """Larger is nearer to ReLU."""


Activation = Annotated[Plain | LeakyRelu | Prelu | Elu | Gelu | Softplus, Field(discriminator="kind")]
