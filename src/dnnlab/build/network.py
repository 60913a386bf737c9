"""From the settings of model, activation and initialization, and the data's widths, to a network that is ready to learn."""

from __future__ import annotations

import os
from collections.abc import Collection
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dnnlab import custom, models
from dnnlab.activations import activation
from dnnlab.config.activation import Activation
from dnnlab.config.initialization import Initialization
from dnnlab.config.model import Autoencoder, Custom, Deep, Linear, Mlp, Model, Perceptron
from dnnlab.config.regularization import Regularization
from dnnlab.config.run import RunConfig
from dnnlab.errors import ConfigError
from dnnlab.initialization import initialize, lsuv
from dnnlab.layers import TiedLinear
from dnnlab.seeding import Noise, key, permutation

LSUV_ROWS = 1024  # training rows that LSUV looks at, the first ones of the first epoch
COPIES = 8  # of every parameter, at most: value, gradient, optimizer's two means, average, and the copies to go back to


def build_network(
    config: RunConfig, inputs: int, outputs: int, *, noise: Noise, dtype: torch.dtype, device: torch.device, trusted: Collection[str]
) -> nn.Module:
    """The network with its first weights, on its device; refused before anything is allocated if it cannot fit."""
    style = _style(config.activation, config.regularization, config.model, noise)
    if isinstance(config.model, Custom):
        return _custom(config.model, inputs, outputs, config.seed, trusted).to(device, dtype)
    with torch.device("meta"):
        check_size(_assemble(config.model, inputs, outputs, style), dtype, memory(device))
    network = _assemble(config.model, inputs, outputs, style).to(dtype)
    _first_weights(network, config.model, config.activation, config.initialization, config.seed)
    return network.to(device)


def scale_by_data(network: nn.Module, config: RunConfig, x: Tensor) -> None:
    """LSUV's second half: scale each layer by what training rows x (B, D) make of it."""
    if config.initialization.kind == "lsuv":
        lsuv(network, x[permutation(config.seed, 0, len(x))[:LSUV_ROWS].to(x.device)])


def output_kind(model: Model) -> str:
    """The activation of a model's output layer."""
    return model.output if isinstance(model, Mlp | Deep | Autoencoder) else "linear"


def hidden_matrices(network: nn.Module) -> list[str]:
    """The names of the weights between hidden layers, which Muon is made for."""
    names = list(models.linears(network))
    tied = any(isinstance(module, TiedLinear) for module in network.modules())
    return [f"{name}.weight" for name in (names[1:] if tied else names[1:-1])]


def check_size(network: nn.Module, dtype: torch.dtype, limit: int) -> None:
    """Refuse a network whose training would not fit into memory. limit: bytes."""
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    need = sum(sizes.values()) * dtype.itemsize * COPIES
    if need > limit:
        largest = max(sizes, key=lambda name: sizes[name])
        raise ConfigError(
            f"the network must fit into memory, however: {sum(sizes.values()):,} parameters need about {need / 2**30:,.1f} GiB to train, "
            f"and {limit / 2**30:,.1f} GiB are there; the largest is {largest} with {sizes[largest]:,}",
            where="model",
            fix="Try narrower layers, such as model.hidden=[512,512]",
        )


def memory(device: torch.device) -> int:
    """Free memory, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (ValueError, OSError):  # not every system tells
        return 2**63


def _style(chosen: Activation, regularization: Regularization, model: Model, noise: Noise) -> models.Style:
    return models.Style(
        activation=partial(activation, chosen.kind, **chosen.model_dump(exclude={"kind"})),
        noise=noise,
        norm=model.norm if isinstance(model, Deep) else "none",
        dropout=regularization.dropout,
        input_dropout=regularization.input_dropout,
        input_noise=regularization.input_noise,
        residual=isinstance(model, Deep) and model.residual,
    )


def _assemble(model: Model, inputs: int, outputs: int, style: models.Style) -> nn.Module:
    output = activation(output_kind(model))
    match model:
        case Perceptron() | Linear():
            return models.single_layer(inputs, outputs, style)
        case Mlp():
            return models.feedforward(inputs, model.hidden, outputs, style, output)
        case Deep():
            shape = models.pyramid(model.width, model.depth, outputs) if model.shape == "pyramid" else [model.width] * model.depth
            return models.feedforward(inputs, model.widths or shape, outputs, style, output)
        case Autoencoder():
            return models.autoencoder(inputs, model.hidden, model.bottleneck, style, output, tied=model.tied)
    raise AssertionError(model)


def _first_weights(network: nn.Module, model: Model, chosen: Activation, rule: Initialization, seed: int) -> None:
    numbers: dict[str, Any] = rule.model_dump(exclude={"kind"})
    slope = chosen.model_dump().get("negative_slope", chosen.model_dump().get("init"))
    tied = isinstance(model, Autoencoder) and model.tied
    initialize(list(models.linears(network).values()), rule.kind, chosen.kind, seed, slope=slope, output=not tied, **numbers)


def _custom(model: Custom, inputs: int, outputs: int, seed: int, trusted: Collection[str]) -> nn.Module:
    """A user's own network; torch's generator, which its first weights come from, begins at the run's seed."""
    make = custom.load(model.target, trusted, "model.target")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key(seed, "init"))
            network = make(inputs, outputs, **model.args)
    except TypeError as error:
        raise ConfigError(
            f"{model.target} must take (n_inputs, n_outputs, **args), however: {error}",
            where="model.target, model.args",
            fix="See docs/custom.md",
        ) from error
    if not isinstance(network, nn.Module) or not any(parameter.requires_grad for parameter in network.parameters()):
        raise ConfigError(
            f"{model.target} must give an nn.Module with parameters to train, however: {type(network).__name__}", where="model.target"
        )
    return network
