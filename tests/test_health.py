"""Figures of a network are what they say, and taking them leaves no trace."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dnnlab.flat import FlatParameters
from dnnlab.health import BOUNDS, CAN_DIE, Health, layer_name
from dnnlab.models import Style, feedforward
from dnnlab.seeding import Noise
from tests.samples import exactly


def network_of(activation: type[nn.Module] = nn.ReLU, **changes: object) -> nn.Sequential:
    return feedforward(5, [6, 6], 3, Style(activation, Noise(0), **changes))  # type: ignore[arg-type]


def values(figures: dict[str, Tensor]) -> dict[str, float]:
    return {name: figure.item() for name, figure in figures.items()}


def test_norms_ratio_and_zeros_are_those_of_the_weights() -> None:
    network = network_of()
    flat = FlatParameters(network)
    health = Health(network, flat)
    flat.grad.normal_()
    health.mark()
    before = {name: flat.view(name).clone() for name in flat.weight_names}
    flat.data.add_(flat.grad, alpha=-0.1)
    flat.view("hidden2.linear.weight")[0] = 0.0
    figures = values(health.figures(torch.randn(9, 5)))
    for name, old in before.items():
        layer, new = layer_name(name), flat.view(name)
        assert figures[f"{layer}/weight_norm"] == pytest.approx(new.norm().item())
        assert figures[f"{layer}/gradient_norm"] == pytest.approx(flat.view(name, flat.grad).norm().item())
        assert figures[f"{layer}/update_ratio"] == pytest.approx(((new - old).norm() / new.norm()).item())
    assert figures["hidden2/zeros"] == pytest.approx(1 / 6)
    assert figures["hidden1/zeros"] == 0


def test_a_dead_unit_is_silent_for_every_row() -> None:
    network = network_of()
    first = network.get_submodule("hidden1.linear")
    with torch.no_grad():
        first.bias[:2] = -1000.0  # type: ignore[index]
        first.bias[2:4] = 1000.0  # type: ignore[index]
        first.bias[4:] = 0.0  # type: ignore[index]  # silent for some rows only
    figures = values(Health(network, FlatParameters(network)).figures(torch.randn(50, 5)))
    assert figures["hidden1/dead"] == pytest.approx(2 / 6)


@pytest.mark.parametrize("activation", BOUNDS, ids=lambda kind: kind.__name__)
def test_a_saturated_answer_lies_at_a_bound(activation: type[nn.Module]) -> None:
    network = network_of(activation)
    first = network.get_submodule("hidden1.linear")
    with torch.no_grad():
        first.weight.zero_()  # type: ignore[operator]
        first.bias.copy_(torch.tensor([-1000.0, 1000.0, 0.1, -0.1, 0.0, 0.2]))  # type: ignore[operator]
    figures = values(Health(network, FlatParameters(network)).figures(torch.randn(50, 5)))
    assert figures["hidden1/saturated"] == pytest.approx(2 / 6)
    assert "hidden1/dead" not in figures


def test_what_can_neither_die_nor_saturate_tells_nothing_of_it() -> None:
    network = network_of(nn.GELU)
    figures = Health(network, FlatParameters(network)).figures(torch.randn(5, 5))
    assert not any(name.endswith(("dead", "saturated")) for name in figures)


def test_without_a_mark_no_update_is_told() -> None:
    network = network_of()
    health = Health(network, FlatParameters(network))
    health.mark()
    assert "hidden1/update_ratio" in health.figures(torch.randn(5, 5))
    assert "hidden1/update_ratio" not in health.figures(torch.randn(5, 5))


def test_every_layer_tells_of_itself() -> None:
    network = network_of(norm="batch", residual=True)
    figures = Health(network, FlatParameters(network)).figures(torch.randn(5, 5))
    assert {name.split("/")[0] for name in figures} == {"hidden1", "hidden2", "output"}
    assert "hidden2/dead" in figures  # within a residual block


def test_layers_of_a_users_module_do_not_hide_each_other() -> None:
    class Users(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(5, 5), nn.Linear(5, 5)])
            self.bends = nn.ModuleList([nn.ReLU(), nn.ReLU6()])

        def forward(self, x: Tensor) -> Tensor:
            for layer, bend in zip(self.layers, self.bends, strict=True):
                x = bend(layer(x))
            return x

    network = Users()
    figures = Health(network, FlatParameters(network)).figures(torch.randn(5, 5))
    assert {name.split("/")[0] for name in figures} == {"layers.0", "layers.1", "bends.0"}


@pytest.mark.parametrize("activation", [*CAN_DIE, *BOUNDS], ids=lambda kind: kind.__name__)
def test_looking_leaves_no_trace(activation: type[nn.Module]) -> None:
    network = network_of(activation, norm="batch", dropout=0.5)
    flat = FlatParameters(network)
    flat.grad.normal_()
    before = flat.data.clone(), flat.grad.clone(), [buffer.clone() for buffer in network.buffers()]
    health = Health(network, flat)
    health.mark()
    health.figures(torch.randn(5, 5))
    exactly((flat.data, flat.grad, list(network.buffers())), before)
    assert all(module.training for module in network.modules())
    assert not any(module._forward_hooks for module in network.modules())
    with pytest.raises(RuntimeError):
        health.figures(torch.randn(5, 4))
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
