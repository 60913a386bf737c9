"""From the settings of model, embedding, activation and initialization, and the data's widths, to a network that is ready to learn."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dnnlab import custom, features, models
from dnnlab.activations import activation
from dnnlab.config.activation import Activation
from dnnlab.config.embedding import Embedding, Periodic, PiecewiseLinear
from dnnlab.config.initialization import Initialization
from dnnlab.config.model import Autoencoder, Custom, Deep, Linear, Mlp, Model, Perceptron
from dnnlab.config.regularization import Regularization
from dnnlab.config.run import RunConfig
from dnnlab.errors import ConfigError
from dnnlab.features import Front, Layout
from dnnlab.initialization import initialize, lsuv
from dnnlab.layers import TiedLinear
from dnnlab.limits import free_memory
from dnnlab.seeding import Noise, key, permutation

LSUV_ROWS = 1024  # training rows that LSUV looks at, the first ones of the first epoch
LARGEST_BATCH = 100_000_000  # numbers between the rows of a batch and their embeddings, at most
COPIES = 8  # of every parameter, at most: value, gradient, optimizer's two means, average, and the copies to go back to


def build_network(
    config: RunConfig, layout: Layout, outputs: int, *, noise: Noise, dtype: torch.dtype, device: torch.device, trusted: Collection[str]
) -> nn.Module:
    """The network with its first weights, on its device; refused before anything is allocated if it cannot fit."""
    style = _style(config.activation, config.regularization, config.model, noise)
    with torch.device("meta"):
        _check(config, layout, outputs, style, noise.rows, dtype, memory(device))
    front = _front(config.embedding, layout)
    inputs = layout.width if front is None else front.width
    if isinstance(config.model, Custom):
        model = _custom(config.model, inputs, outputs, config.seed, trusted)
        network = model if front is None else nn.Sequential(OrderedDict(features=front, model=model))
        network.to(dtype)
    else:
        network = _behind(front, _assemble(config.model, inputs, outputs, style)).to(dtype)
        _first_weights(network, config.model, config.activation, config.initialization, config.seed)
    if front is not None:
        front.draw(config.seed)
    return network.to(device)


def empty_network(config: RunConfig, layout: Layout, outputs: int, *, dtype: torch.dtype, trusted: Collection[str]) -> nn.Module:
    """The network without its numbers, which takes no memory: what a saved state is compared with, and fills. A custom one has its own."""
    style = _style(config.activation, config.regularization, config.model, Noise(config.seed))
    with torch.device("meta"):
        front = _front(config.embedding, layout)
        inputs = layout.width if front is None else front.width
        if not isinstance(config.model, Custom):
            return _behind(front, _assemble(config.model, inputs, outputs, style)).to(dtype)
    model = _custom(config.model, inputs, outputs, config.seed, trusted)
    return (model if front is None else nn.Sequential(OrderedDict(features=front, model=model))).to(dtype)


def fill(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put tensors in the place of a network's parameters and buffers, by name."""
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    for name, tensor in tensors.items():
        place, _, leaf = name.rpartition(".")
        owner = network.get_submodule(place)
        own: dict[str, Any] = owner._parameters if leaf in owner._parameters else owner._buffers
        own[leaf] = nn.Parameter(tensor, requires_grad=name in trained) if own is owner._parameters else tensor


def fit_to_data(network: nn.Module, config: RunConfig, x: Tensor) -> None:
    """What first weights take from training rows x (N, D): the edges of an embedding's bins; then LSUV's scale of each layer."""
    for module in network.modules():
        if isinstance(module, Front):
            module.fit(x)
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
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free_memory()


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


def _check(config: RunConfig, layout: Layout, outputs: int, style: models.Style, rows: int, dtype: torch.dtype, limit: int) -> None:
    """Refuse what cannot be, on a device without memory. rows: of a batch; limit: bytes."""
    if isinstance(config.model, Autoencoder) and config.embedding.kind != "none":
        raise ConfigError(
            f"embedding.kind must be none with model=autoencoder, which restores its inputs as they are, however: {config.embedding.kind}",
            where="embedding.kind, model.kind",
            fix="Try embedding=none, or model=mlp",
        )
    front = _front(config.embedding, layout)
    if front is not None and rows * front.between > LARGEST_BATCH:
        raise ConfigError(
            f"an embedded batch must have at most {LARGEST_BATCH:,} numbers, however: {rows:,} rows with {front.between:,} numbers each, "
            f"of {layout.numbers:,} features by embedding={config.embedding.kind}, are {rows * front.between:,}",
            where="embedding.kind, trainer.batch_size",
            fix=f"Try trainer.batch_size={max(1, min(256, LARGEST_BATCH // front.between))}, or embedding=none",
        )
    inputs = layout.width if front is None else front.width
    if not isinstance(config.model, Custom):
        check_size(_behind(front, _assemble(config.model, inputs, outputs, style)), dtype, limit)
    elif front is not None:
        check_size(front, dtype, limit)


def _front(settings: Embedding, layout: Layout) -> Front | None:
    """What stands before the network; None where there is nothing to embed."""
    numbers: features.PiecewiseLinear | features.Periodic | None = None
    match settings:
        case PiecewiseLinear() if layout.numbers:
            numbers = features.PiecewiseLinear(layout.numbers, bins=settings.bins, size=settings.size, relu=settings.activation)
        case Periodic() if layout.numbers:
            numbers = features.Periodic(
                layout.numbers, frequencies=settings.frequencies, size=settings.size, sigma=settings.sigma, lite=settings.lite
            )
    if numbers is None and not layout.cardinalities:
        return None
    return Front(layout, numbers, None if settings.category_size == "auto" else settings.category_size)


def _behind(front: Front | None, network: nn.Sequential) -> nn.Sequential:
    """The stack with the front as its first block, so that the other blocks are called as without one."""
    return network if front is None else nn.Sequential(OrderedDict([("features", front), *network.named_children()]))


def _assemble(model: Model, inputs: int, outputs: int, style: models.Style) -> nn.Sequential:
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
