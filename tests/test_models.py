"""Networks have the blocks, names and shapes that their settings ask for."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dnnlab.flat import FlatParameters
from dnnlab.layers import KeyedDropout, KeyedNoise, Residual, TiedLinear
from dnnlab.models import NORMS, Style, autoencoder, feedforward, linears, pyramid, single_layer
from dnnlab.seeding import Noise


def style(activation: Callable[[], nn.Module] = nn.Tanh, **changes: object) -> Style:
    return Style(activation, Noise(0), **changes)  # type: ignore[arg-type]


NOISY = {"dropout": 0.3, "input_dropout": 0.2, "input_noise": 0.1}
NETWORKS: dict[str, Callable[[], nn.Sequential]] = {
    "single": lambda: single_layer(7, 3, style()),
    "feedforward": lambda: feedforward(7, [5, 5, 4], 3, style()),
    "noisy": lambda: feedforward(7, [5, 5, 4], 3, style(**NOISY), nn.Sigmoid()),
    "batch": lambda: feedforward(7, [5, 5, 4], 3, style(norm="batch", residual=True, **NOISY)),
    "layer": lambda: feedforward(7, [5, 5, 4], 3, style(norm="layer", residual=True)),
    "prelu": lambda: feedforward(7, [5, 4], 3, style(nn.PReLU)),
    "autoencoder": lambda: autoencoder(7, [5, 4], 2, style(**NOISY), nn.Sigmoid()),
    "narrow autoencoder": lambda: autoencoder(7, [], 2, style()),
    "tied": lambda: autoencoder(7, [5, 4], 2, style(**NOISY), nn.Sigmoid(), tied=True),
    "narrow tied": lambda: autoencoder(7, [], 2, style(), tied=True),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


@every_network
def test_a_network_maps_rows_to_scores(name: str) -> None:
    network = NETWORKS[name]()
    outputs = 7 if "autoencoder" in name or "tied" in name else 3
    assert network(torch.randn(6, 7)).shape == (6, outputs)
    assert list(dict(network.named_children()))[-1] == "output"


@every_network
def test_every_parameter_has_a_gradient(name: str) -> None:
    network = NETWORKS[name]()
    network(torch.randn(6, 7)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_blocks_are_named_from_inputs_to_output() -> None:
    assert [name for name, _ in NETWORKS["single"]().named_children()] == ["output"]
    assert [name for name, _ in NETWORKS["noisy"]().named_children()] == ["input", "hidden1", "hidden2", "hidden3", "output"]
    names = ["input", "encoder1", "encoder2", "code", "decoder1", "decoder2", "output"]
    assert [name for name, _ in NETWORKS["autoencoder"]().named_children()] == names
    assert [name for name, _ in NETWORKS["tied"]().named_children()] == names
    assert [name for name, _ in NETWORKS["narrow tied"]().named_children()] == ["code", "output"]


def test_a_block_is_linear_norm_activation_dropout() -> None:
    network = feedforward(7, [5], 3, style(norm="batch", **NOISY), nn.Sigmoid())
    assert [type(part) for part in network.get_submodule("input")] == [KeyedNoise, KeyedDropout]  # type: ignore[union-attr]
    hidden, output = network.get_submodule("hidden1"), network.get_submodule("output")
    assert [name for name, _ in hidden.named_children()] == ["linear", "norm", "activation", "dropout"]
    assert [name for name, _ in output.named_children()] == ["linear", "activation"]


def test_a_linear_activation_leaves_no_module() -> None:
    network = feedforward(7, [5], 3, style(nn.Identity), nn.Identity())
    assert [type(module) for module in network.modules() if not isinstance(module, nn.Sequential)] == [nn.Linear, nn.Linear]


@pytest.mark.parametrize("norm", ["none", *NORMS])
def test_no_bias_stands_before_a_norm(norm: str) -> None:
    layers = list(linears(feedforward(7, [5, 4], 3, style(norm=norm))).values())
    assert [layer.bias is None for layer in layers] == [norm != "none", norm != "none", False]


def test_a_residual_connection_stands_where_widths_agree() -> None:
    network = feedforward(5, [5, 5, 4, 4, 3], 3, style(residual=True))
    assert [isinstance(block, Residual) for block in network] == [True, True, False, True, False, False]


def test_no_two_places_share_their_noise() -> None:
    for name in ("noisy", "autoencoder", "tied"):
        modules = [module for module in NETWORKS[name]().modules() if isinstance(module, KeyedDropout)]
        assert len({module.place for module in modules}) == len(modules)


def test_every_hidden_layer_has_its_dropout() -> None:
    hidden = ["encoder1", "encoder2", "code", "decoder1", "decoder2"]
    for name in ("autoencoder", "tied"):
        blocks = NETWORKS[name]().named_children()
        assert [block for block, parts in blocks if "dropout" in dict(parts.named_children()) and block != "input"] == hidden


def test_every_block_has_an_activation_of_its_own() -> None:
    network = feedforward(7, [5, 5], 3, style(nn.PReLU))
    assert len({id(module) for module in network.modules() if isinstance(module, nn.PReLU)}) == 2


@pytest.mark.parametrize(("first", "depth", "outputs"), [(256, 4, 16), (100, 3, 10), (64, 1, 2), (10, 5, 100), (1, 3, 1), (1000, 9, 1)])
def test_a_pyramid_shrinks_from_its_first_width_towards_the_outputs(first: int, depth: int, outputs: int) -> None:
    widths = pyramid(first, depth, outputs)
    assert len(widths) == depth
    assert widths[0] == first
    assert widths == sorted(widths, reverse=True)
    assert min(widths) >= min(outputs, first)


def test_an_autoencoders_decoder_mirrors_its_encoder() -> None:
    shapes = [tuple(layer.weight.shape) for layer in linears(NETWORKS["autoencoder"]()).values()]
    assert shapes == [(5, 7), (4, 5), (2, 4), (4, 2), (5, 4), (7, 5)]


def test_a_tied_autoencoder_owns_each_weight_once() -> None:
    tied, free = NETWORKS["tied"](), NETWORKS["autoencoder"]()
    weights = 5 * 7 + 4 * 5 + 2 * 4
    assert sum(p.numel() for p in tied.parameters()) == weights + (5 + 4 + 2) + (4 + 5 + 7)
    assert sum(p.numel() for p in free.parameters()) == 2 * weights + (5 + 4 + 2) + (4 + 5 + 7)
    assert len(tied.state_dict()) == 3 + 3 + 3


def test_a_tied_weights_gradient_is_the_sum_of_both_uses() -> None:
    tied = autoencoder(7, [5], 2, style(), tied=True).double()
    free = autoencoder(7, [5], 2, style()).double()
    first, code, *_ = linears(tied).values()
    up = [free.get_submodule(name) for name in ("encoder1.linear", "code.linear", "decoder1.linear", "output.linear")]
    with torch.no_grad():
        for layer, weight in zip(up, (first.weight, code.weight, code.weight.t(), first.weight.t()), strict=True):
            layer.weight.copy_(weight)
        up[0].bias.copy_(first.bias)
        up[1].bias.copy_(code.bias)
        up[2].bias.zero_()
        up[3].bias.zero_()
    x = torch.randn(6, 7, dtype=torch.float64)
    torch.testing.assert_close(tied(x), free(x))
    for network in (tied, free):
        F.mse_loss(network(x), x).backward()
    torch.testing.assert_close(first.weight.grad, up[0].weight.grad + up[3].weight.grad.t())
    torch.testing.assert_close(code.weight.grad, up[1].weight.grad + up[2].weight.grad.t())


@every_network
def test_a_copy_answers_the_same_and_shares_nothing(name: str) -> None:
    network = NETWORKS[name]()
    twin, x = copy.deepcopy(network), torch.randn(6, 7)
    assert torch.equal(network.eval()(x), twin.eval()(x))
    before = network(x)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.fill_(0.5)
    assert torch.equal(network(x), before)
    if "tied" in name:  # the copy's decoder is tied to the copy's encoder
        decoder = next(module for module in twin.modules() if isinstance(module, TiedLinear))
        assert any(decoder._encoder[0] is module for module in twin.modules())


@every_network
def test_flat_parameters_are_the_networks_own(name: str) -> None:
    network, x = NETWORKS[name]().eval(), torch.randn(6, 7)
    before = network(x)
    flat = FlatParameters(network)
    assert torch.equal(network(x), before)
    assert flat.data.numel() == sum(parameter.numel() for parameter in network.parameters())
    assert sorted((span.start, span.stop) for span in flat.spans.values())[0][0] == 0
    assert sum(flat.shapes[name].numel() for name in flat.weight_names) == len(flat.weights) == len(flat.weight_grads)
    assert all(parameter.ndim >= 2 for name, parameter in network.named_parameters() if name in flat.weight_names)
    network(x).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert torch.equal(flat.view(name), parameter)
        assert torch.equal(flat.view(name, flat.grad), parameter.grad)
    flat.data.zero_()
    assert all(not parameter.any() for parameter in network.parameters())


def test_flat_weights_stand_before_everything_else() -> None:
    flat = FlatParameters(NETWORKS["batch"]())
    ends = [flat.spans[name].stop for name in flat.weight_names]
    assert max(ends) == len(flat.weights) == min(span.start for name, span in flat.spans.items() if name not in flat.weight_names)
    assert not any("norm" in name or "bias" in name for name in flat.weight_names)


def test_a_leaf_of_the_buffer_moves_the_network() -> None:
    network = NETWORKS["feedforward"]()
    flat = FlatParameters(network)
    flat.grad.fill_(1.0)
    before = flat.data.clone()
    torch.optim.SGD([flat.parameter("output.linear.weight")], lr=0.5).step()
    moved = flat.view("output.linear.weight", before - flat.data)
    torch.testing.assert_close(moved, torch.full_like(moved, 0.5))
    assert (before != flat.data).sum() == moved.numel()
