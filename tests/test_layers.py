"""The layers that torch does not have do what their formulas say, and nothing while evaluating."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from dnnlab.layers import KeyedDropout, KeyedNoise, Residual, TiedLinear
from dnnlab.seeding import Noise


def test_dropout_multiplies_with_the_mask_of_its_place_and_step() -> None:
    layer, x = KeyedDropout(0.4, "hidden1", Noise(0, step=5)), torch.randn(6, 9)
    assert torch.equal(layer(x), x * Noise(0, step=5).mask("hidden1", 6, 9, keep=0.6))
    assert torch.equal(layer(x), layer(x))  # the same step draws the same


def test_dropout_passes_gradients_through_what_it_keeps() -> None:
    layer, x = KeyedDropout(0.4, "hidden1", Noise(0)), torch.randn(6, 9, requires_grad=True)
    layer(x).sum().backward()
    assert torch.equal(x.grad, layer.mask(x))


def test_noise_adds_that_of_its_place_and_step() -> None:
    layer, x = KeyedNoise(0.2, "input", Noise(0, step=5)), torch.randn(6, 9, dtype=torch.float64)
    assert torch.equal(layer(x), x + Noise(0, step=5).normal("input", 6, 9, std=0.2, dtype=torch.float64))


def test_nothing_is_noisy_while_evaluating() -> None:
    x = torch.randn(6, 9)
    for layer in (KeyedDropout(0.4, "a", Noise(0)), KeyedNoise(0.2, "a", Noise(0))):
        assert torch.equal(layer.eval()(x), x)


def test_noise_and_dropout_of_one_place_are_not_the_same_numbers() -> None:
    noise, x = Noise(0), torch.ones(50, 40)
    added, kept = KeyedNoise(1.0, "input", noise)(x) - x, KeyedDropout(0.5, "input", noise)(x) > 0
    assert abs(torch.corrcoef(torch.stack([added.flatten(), kept.flatten().float()]))[0, 1]) < 0.1


def test_a_residual_block_adds_its_input() -> None:
    block = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    x = torch.randn(3, 4)
    assert torch.equal(Residual(block)(x), x + block(x))


def test_a_tied_layer_is_the_others_transpose_and_owns_its_bias_only() -> None:
    encoder = nn.Linear(5, 3)
    tied = TiedLinear(encoder)
    h = torch.randn(2, 3)
    nn.init.normal_(tied.bias)
    torch.testing.assert_close(tied(h), F.linear(h, encoder.weight.T, tied.bias))
    assert [name for name, _ in tied.named_parameters()] == ["bias"]


def test_layers_show_their_numbers() -> None:
    assert "rate=0.4" in repr(KeyedDropout(0.4, "a", Noise(0)))
    assert "std=0.2" in repr(KeyedNoise(0.2, "a", Noise(0)))
