"""What keeps a network from learning its rows by heart. (Weight decay is optimizer.weight_decay, label smoothing loss.label_smoothing.)"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dnnlab.config.base import NonNegative, Positive, Probability, Settings, Span, SpanField


class Sparsity(Settings):
    """A hard limit on the number of weights that are not zero: after each step only the largest stay."""

    keep: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of weights that may differ from zero at the end; null switches the limit off."""
    scope: Literal["global", "layer"] = "global"
    """global: the largest of the whole network; layer: the same share in every layer."""
    begin: SpanField = Span(0, "%")
    """When weights begin to be taken away."""
    end: SpanField = Span(50, "%")
    """When the final share is reached; between, the share falls along a cubic (Zhu and Gupta 2018)."""


class Regularization(Settings):
    """Penalties, noise, limits and projections; zero or null switches each off."""

    l1: NonNegative = 0.0
    """Penalty l1·Σ|w| over the weights (not the biases)."""
    l1_mode: Literal["subgradient", "proximal"] = "subgradient"
    """subgradient adds l1·sign(w) to the gradient; proximal shrinks after the step and gives exact zeros."""
    l2: NonNegative = 0.0
    """Penalty l2·½Σw² over the weights (not the biases)."""
    dropout: Probability = 0.0
    """Share of hidden units silenced in each training step."""
    input_dropout: Probability = 0.0
    """Share of inputs silenced in each training step."""
    input_noise: NonNegative = 0.0
    """Standard deviation of normal noise added to the (scaled) inputs in each training step."""
    max_norm: Positive | None = None
    """Largest length of a unit's incoming weights."""
    clip_norm: Positive | None = None
    """Largest length of the whole gradient."""
    clip_value: Positive | None = None
    """Largest size of each number of the gradient."""
    sparsity: Sparsity = Sparsity()
    """A hard limit on the number of weights that are not zero."""
