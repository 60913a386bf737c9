"""Initial weights agree with torch.nn.init, with their formulas and with what each rule promises of the signal."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import sqrt

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dnnlab import initialization
from dnnlab.errors import ConfigError
from dnnlab.initialization import RULES, auto, gain, initialize, lsuv
from dnnlab.seeding import generator

TORCH: dict[str, Callable[[Tensor, torch.Generator], object]] = {
    "xavier_uniform": lambda w, g: nn.init.xavier_uniform_(w, gain=sqrt(2), generator=g),
    "xavier_normal": lambda w, g: nn.init.xavier_normal_(w, gain=sqrt(2), generator=g),
    "kaiming_uniform": lambda w, g: nn.init.kaiming_uniform_(w, nonlinearity="relu", generator=g),
    "kaiming_normal": lambda w, g: nn.init.kaiming_normal_(w, nonlinearity="relu", generator=g),
    "lecun_normal": lambda w, g: nn.init.kaiming_normal_(w, nonlinearity="linear", generator=g),
    "orthogonal": lambda w, g: nn.init.orthogonal_(w, gain=sqrt(2), generator=g),
}


def stack(*widths: int, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of these widths with an activation between them."""
    layers: list[nn.Module] = []
    for before, width in pairwise(widths):
        layers += [nn.Linear(before, width), activation()]
    return nn.Sequential(*layers[:-1])


def linears(network: nn.Module) -> list[nn.Linear]:
    """The linear layers in order."""
    return [module for module in network.modules() if isinstance(module, nn.Linear)]


@pytest.mark.parametrize("kind", TORCH)
def test_a_rule_draws_what_torch_draws(kind: str) -> None:
    ours, theirs = torch.empty(30, 50), torch.empty(30, 50)
    RULES[kind](ours, sqrt(2), generator(3, "init", 0))
    TORCH[kind](theirs, generator(3, "init", 0))
    assert torch.allclose(ours, theirs, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", [*TORCH, "uniform", "normal"])
def test_the_spread_is_the_formulas(kind: str) -> None:
    network = stack(400, 600, 10)
    initialize(linears(network), kind, "relu", 0, low=-0.25, high=0.75, std=0.3)
    spread = {
        "xavier_uniform": sqrt(2 * 2 / 1000),
        "xavier_normal": sqrt(2 * 2 / 1000),
        "kaiming_uniform": sqrt(2 / 400),
        "kaiming_normal": sqrt(2 / 400),
        "lecun_normal": sqrt(1 / 400),
        "orthogonal": sqrt(2 / 600),
        "uniform": sqrt(1 / 12),
        "normal": 0.3,
    }[kind]
    first = linears(network)[0].weight
    assert float(first.detach().std()) == pytest.approx(spread, rel=0.01)
    assert float(first.detach().mean()) == pytest.approx(0.25 if kind == "uniform" else 0.0, abs=0.01)


def test_uniform_weights_stay_within_their_bounds() -> None:
    layer = nn.Linear(100, 100)
    initialize([layer], "uniform", "sigmoid", 0)
    assert -0.5 <= float(layer.weight.detach().min()) < -0.49 < 0.49 < float(layer.weight.detach().max()) <= 0.5


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (30, 30)])
def test_orthogonal_weights_are_orthogonal(shape: tuple[int, int]) -> None:
    weight = torch.empty(shape, dtype=torch.float64)
    initialization.orthogonal(weight, 1.5, generator(0, "init", 0))
    small = weight if shape[0] <= shape[1] else weight.t()
    assert torch.allclose(small @ small.t(), 2.25 * torch.eye(min(shape), dtype=torch.float64), atol=1e-12)


def test_biases_are_zero_and_the_output_layer_has_gain_one() -> None:
    network = stack(300, 300, 300)
    initialize(linears(network), "kaiming_normal", "relu", 0)
    hidden, output = linears(network)
    assert float(hidden.weight.detach().std()) == pytest.approx(sqrt(2 / 300), rel=0.02)
    assert float(output.weight.detach().std()) == pytest.approx(sqrt(1 / 300), rel=0.02)
    assert not hidden.bias.any()
    assert not output.bias.any()


def test_layers_that_all_encode_have_the_gain_of_their_activation() -> None:
    layer = nn.Linear(300, 300, bias=False)
    initialize([layer], "auto", "relu", 0, output=False)
    assert float(layer.weight.detach().std()) == pytest.approx(sqrt(2 / 300), rel=0.02)


def test_each_layer_draws_from_its_own_stream() -> None:
    short, long = stack(20, 20, 20), stack(20, 20, 20, 20)
    for network in (short, long):
        initialize(linears(network), "orthogonal", "linear", 7)
    weights = [layer.weight for layer in linears(long)]
    assert torch.equal(linears(short)[0].weight, weights[0])
    assert not torch.allclose(weights[0], weights[1])
    again = stack(20, 20, 20)
    torch.rand(5)  # what others draw does not matter
    initialize(linears(again), "orthogonal", "linear", 7)
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(linears(again), linears(short), strict=True))
    initialize(linears(again), "orthogonal", "linear", 8)
    assert not torch.allclose(linears(again)[0].weight, linears(short)[0].weight)


def test_weights_that_are_views_of_a_buffer_are_filled_in_place() -> None:
    buffer = torch.ones(12)
    layer = nn.Linear(4, 3, bias=False)
    layer.weight.data = buffer.view(3, 4)
    initialize([layer], "zeros", "relu", 0)
    assert not buffer.any()


@pytest.mark.parametrize(
    ("activation", "kind"),
    [("relu", "kaiming_normal"), ("gelu", "kaiming_normal"), ("selu", "lecun_normal"), ("sigmoid", "xavier_uniform")],
)
def test_auto_follows_the_activation(activation: str, kind: str) -> None:
    automatic, named = stack(20, 30, 5), stack(20, 30, 5)
    initialize(linears(automatic), "auto", activation, 0)
    initialize(linears(named), kind, activation, 0)
    assert torch.equal(linears(automatic)[0].weight, linears(named)[0].weight)
    assert auto(activation) == kind


def test_auto_begins_a_single_layer_at_zero() -> None:
    layer = nn.Linear(5, 3)
    initialize([layer], "auto", "relu", 0)
    assert not layer.weight.any()


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        ("relu", F.relu), ("leaky_relu", F.leaky_relu), ("elu", F.elu), ("gelu", F.gelu), ("silu", F.silu), ("mish", F.mish),
        ("softplus", F.softplus), ("softsign", F.softsign), ("hard_tanh", F.hardtanh), ("linear", lambda z: z),
    ],
)  # fmt: skip
def test_the_gain_keeps_the_second_moment(activation: str, function: Callable[[Tensor], Tensor]) -> None:
    z = torch.linspace(-10, 10, 200_001, dtype=torch.float64)
    density = torch.exp(-z.square() / 2)
    moment = float((function(z).square() * density).sum() / density.sum())
    assert gain(activation) == pytest.approx(moment**-0.5, rel=1e-6)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "selu", "linear", "leaky_relu"])
def test_the_gain_is_torchs_where_torch_knows_one(activation: str) -> None:
    assert gain(activation) == nn.init.calculate_gain(activation)  # type: ignore[arg-type]
    assert gain("prelu", 0.3) == pytest.approx(nn.init.calculate_gain("leaky_relu", 0.3))
    assert gain("softmax") == gain("step") == 1.0


def test_the_signal_survives_fifty_layers_of_relu() -> None:
    network = stack(*[256] * 50)
    initialize(linears(network), "kaiming_normal", "relu", 0)
    out = network(torch.randn(64, 256, generator=torch.Generator().manual_seed(0)))
    assert 0.1 < float(out.detach().square().mean()) < 10


def test_an_unknown_rule_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean orthogonal"):
        initialize([nn.Linear(2, 2)], "ortogonal", "relu", 0)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid])
def test_lsuv_gives_every_layer_outputs_of_variance_one(activation: Callable[[], nn.Module]) -> None:
    network = stack(20, 50, 40, 30, 10, activation=activation)
    initialize(linears(network), "lsuv", "relu", 0)
    x = 5 * torch.rand(200, 20, generator=torch.Generator().manual_seed(0))
    lsuv(network, x)
    variances = []
    for layer in network:
        x = layer(x)
        if isinstance(layer, nn.Linear):
            variances.append(float(x.detach().var()))
    assert variances == pytest.approx([1.0] * 4, abs=0.01)


def test_lsuv_keeps_directions_mode_and_hooks() -> None:
    network = stack(20, 50, 10)
    network.insert(1, nn.Dropout(0.5))
    initialize(linears(network), "lsuv", "relu", 0)
    before = [layer.weight.detach().clone() for layer in linears(network)]
    lsuv(network, torch.randn(100, 20, generator=torch.Generator().manual_seed(0)))
    for layer, old in zip(linears(network), before, strict=True):
        ratio = layer.weight.detach() / old
        assert torch.allclose(ratio, ratio.mean(), rtol=1e-4)
        assert not layer._forward_hooks
    assert network.training
    assert network[1].training


def test_lsuv_leaves_a_silent_layer_alone() -> None:
    network = stack(4, 4, 4)
    initialize(linears(network), "lsuv", "relu", 0)
    before = linears(network)[0].weight.detach().clone()
    lsuv(network, torch.zeros(10, 4))
    assert torch.equal(linears(network)[0].weight, before)


def test_lsuv_scales_a_layer_that_is_used_twice_only_once() -> None:
    layer = nn.Linear(6, 6)
    network = nn.Sequential(layer, nn.Tanh(), layer)
    initialize([layer], "lsuv", "tanh", 0)
    x = 3 * torch.randn(100, 6, generator=torch.Generator().manual_seed(0))
    lsuv(network, x)
    assert float(layer(x).detach().var()) == pytest.approx(1.0, abs=0.01)
