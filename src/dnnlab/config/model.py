"""Which network is built. Widths of inputs and outputs follow from the data and are never settings."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from dnnlab.config.activation import OutputActivation
from dnnlab.config.base import Settings, Width

Widths = Annotated[list[Width], Field(min_length=1, max_length=1000)]
Norm = Literal["none", "batch", "layer"]


class Perceptron(Settings):
    """Rosenblatt's perceptron: one layer, a threshold as its answer, one unit per class (one-vs-rest) or one for two classes."""

    kind: Literal["perceptron"]
    """One layer with a threshold."""


class Linear(Settings):
    """One layer without a threshold: linear, logistic or softmax regression, by the loss."""

    kind: Literal["linear"]
    """One layer: linear, logistic or softmax regression."""


class Mlp(Settings):
    """Multilayer perceptron: a stack of hidden layers."""

    kind: Literal["mlp"]
    """A stack of hidden layers."""
    hidden: Widths = [256, 128]
    """Width of each hidden layer, in units."""
    output: OutputActivation = "linear"
    """Activation of the output layer; a classifier's is linear: softmax and sigmoid belong to the loss and to prediction."""


class Deep(Settings):
    """Deep feedforward network: depth and width, or a list of widths; residual connections and normalisation by choice."""

    kind: Literal["deep"]
    """A deep feedforward network."""
    depth: Annotated[int, Field(ge=1, le=1000)] = 6
    """Number of hidden layers; not used where `widths` is given."""
    width: Width = 128
    """Units of the first hidden layer; not used where `widths` is given."""
    widths: Widths | None = None
    """Units of every hidden layer, instead of depth, width and shape."""
    shape: Literal["constant", "pyramid"] = "constant"
    """constant: all layers equally wide; pyramid: widths shrink geometrically towards the output."""
    residual: bool = False
    """Add a layer's input to its output, where both are equally wide."""
    norm: Norm = "batch"
    """Normalisation between a layer's sums and its activation."""
    output: OutputActivation = "linear"
    """Activation of the output layer; a classifier's is linear: softmax and sigmoid belong to the loss and to prediction."""


class Autoencoder(Settings):
    """Squeezes the inputs through a bottleneck and restores them; denoising where regularization.input_noise or input_dropout is set."""

    kind: Literal["autoencoder"]
    """Inputs → bottleneck → inputs."""
    hidden: Annotated[list[Width], Field(max_length=1000)] = [64]
    """Widths of the encoder between input and bottleneck; the decoder mirrors them."""
    bottleneck: Width = 16
    """Units of the code."""
    tied: bool = False
    """Decoder weights are the encoder's, transposed."""
    output: OutputActivation = "linear"
    """Activation of the restored inputs; linear for standardised inputs and for bce."""


class Custom(Settings):
    """A user's own nn.Module, built by `target(n_inputs, n_outputs, **args)`; its package must be trusted on the command line."""

    kind: Literal["custom"]
    """Your own nn.Module."""
    target: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")]
    """package.module.Name; imported only if its top-level package is trusted (--trust package, or DNNLAB_TRUST)."""
    args: dict[str, Any] = {}
    """Keyword arguments for the constructor."""


Model = Annotated[Perceptron | Linear | Mlp | Deep | Autoencoder | Custom, Field(discriminator="kind")]
