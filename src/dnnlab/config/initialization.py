"""With which numbers the weights begin."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dnnlab.config.base import Positive, Settings


class Scaled(Settings):
    """A rule that needs no number: its spread follows the layer's widths and activation."""

    kind: Literal[
        "auto", "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal", "lecun_normal", "orthogonal", "zeros", "lsuv"
    ]
    """auto follows the activation: kaiming for the ReLU family, lecun for selu, xavier for the rest, zeros for a single layer."""


class Uniform(Settings):
    """Weights from U(low, high)."""

    kind: Literal["uniform"]
    """Uniform between two bounds, whatever the width."""
    low: float = -0.5
    """Lower bound."""
    high: float = 0.5
    """Upper bound."""


class Normal(Settings):
    """Weights from N(0, std²)."""

    kind: Literal["normal"]
    """Normal around zero, whatever the width."""
    std: Positive = 0.05
    """Standard deviation."""


Initialization = Annotated[Scaled | Uniform | Normal, Field(discriminator="kind")]
