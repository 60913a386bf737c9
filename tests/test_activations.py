"""Activations agree with torch's functions; the spelled ones with autograd and with finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dnnlab.activations import MODULES, WRITTEN, Step, activation, written
from dnnlab.config.activation import Activation, OutputActivation, Plain
from tests.samples import closely, exactly

FORMULAS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda z: 1 / (1 + torch.exp(-z)),
    "tanh": torch.tanh,
    "hard_tanh": lambda z: z.clamp(-1, 1),
    "relu": lambda z: torch.maximum(z, torch.zeros_like(z)),
    "leaky_relu": lambda z: torch.where(z > 0, z, 0.01 * z),
    "prelu": lambda z: torch.where(z > 0, z, 0.25 * z),
    "elu": lambda z: torch.where(z > 0, z, torch.expm1(z)),
    "selu": lambda z: 1.0507009873554805 * torch.where(z > 0, z, 1.6732632423543772 * torch.expm1(z)),
    "gelu": lambda z: z * 0.5 * (1 + torch.erf(z / 2**0.5)),
    "silu": lambda z: z / (1 + torch.exp(-z)),
    "mish": lambda z: z * torch.tanh(torch.log1p(torch.exp(z))),
    "softplus": lambda z: torch.log1p(torch.exp(z)),
    "softsign": lambda z: z / (1 + z.abs()),
    "linear": lambda z: z,
    "softmax": lambda z: torch.exp(z) / torch.exp(z).sum(-1, keepdim=True),
    "log_softmax": lambda z: z - torch.logsumexp(z, -1, keepdim=True),
    "step": lambda z: torch.heaviside(z, torch.zeros((), dtype=z.dtype)),
}

# Each spelled form, with other numbers than the defaults where it has any.
SPELLED: dict[type[nn.Module], list[nn.Module]] = {
    nn.Sigmoid: [nn.Sigmoid()],
    nn.Tanh: [nn.Tanh()],
    nn.Hardtanh: [nn.Hardtanh(), nn.Hardtanh(-0.5, 2.0)],
    nn.ReLU: [nn.ReLU()],
    nn.LeakyReLU: [nn.LeakyReLU(), nn.LeakyReLU(0.2), nn.LeakyReLU(0.0)],
    nn.ELU: [nn.ELU(), nn.ELU(0.3)],
    nn.SELU: [nn.SELU()],
    nn.GELU: [nn.GELU(), nn.GELU(approximate="tanh")],
    nn.SiLU: [nn.SiLU()],
    nn.Mish: [nn.Mish()],
    nn.Softplus: [nn.Softplus(), nn.Softplus(beta=3.0)],
    nn.Softsign: [nn.Softsign()],
    nn.Identity: [nn.Identity()],
    nn.Softmax: [nn.Softmax(dim=-1)],
    nn.LogSoftmax: [nn.LogSoftmax(dim=-1)],
    Step: [Step()],
}
EVERY_SPELLED = [module for kind in WRITTEN for module in SPELLED[kind]]


def sums() -> Tensor:
    """Sums as a layer has them, zero and both tails among them: (40, 7)."""
    z = torch.randn(40, 7, dtype=torch.float64) * 3
    z[0], z[1], z[2] = 0.0, 30.0, -30.0
    return z


@pytest.mark.parametrize("kind", MODULES)
def test_an_activation_is_its_formula(kind: str) -> None:
    z = sums()
    closely(
        activation(kind).double()(z), FORMULAS[kind](z), atol=1e-9 if kind == "softplus" else 1e-12
    )  # torch's softplus is linear beyond 20


@pytest.mark.parametrize("kind", MODULES)
def test_every_activation_is_spelled_except_the_one_that_learns(kind: str) -> None:
    assert (written(activation(kind)) is None) == (kind == "prelu")


@pytest.mark.parametrize("module", EVERY_SPELLED, ids=str)
def test_the_spelled_forward_is_the_modules(module: nn.Module) -> None:
    spelled, z = written(module), sums()
    assert spelled is not None
    before = z.clone()
    closely(spelled.forward(z, torch.full_like(z, torch.nan)), module(z))
    exactly(z, before)


@pytest.mark.parametrize("module", EVERY_SPELLED, ids=str)
def test_the_spelled_backward_is_autograds(module: nn.Module) -> None:
    spelled, z = written(module), sums().requires_grad_()
    assert spelled is not None
    dh = torch.randn_like(z)
    h = module(z)
    (wanted,) = torch.autograd.grad(h, z, dh)
    before = dh.clone()
    h = spelled.forward(z.detach(), torch.empty_like(z))
    closely(spelled.backward(dh, z.detach(), h, torch.full_like(z, torch.nan)), wanted)
    exactly(dh, before)


@pytest.mark.parametrize("module", EVERY_SPELLED, ids=str)
def test_the_spelled_backward_is_the_slope(module: nn.Module) -> None:
    spelled = written(module)
    assert spelled is not None
    z = torch.randn(20, 5, dtype=torch.float64) * 1.5
    z = torch.where(z.abs() < 0.01, 0.5, z)  # not on a kink
    dh, direction, small = torch.randn_like(z), torch.randn_like(z), 1e-6
    up, down = (spelled.forward(z + sign * small * direction, torch.empty_like(z)) for sign in (1, -1))
    slope = (dh * (up - down)).sum() / (2 * small)
    h = spelled.forward(z, torch.empty_like(z))
    dz = spelled.backward(dh, z, h, torch.empty_like(z))
    torch.testing.assert_close((dz * direction).sum(), slope, rtol=1e-6, atol=1e-7)


def test_the_threshold_is_one_above_zero_only_also_at_infinity() -> None:
    z = torch.tensor([-torch.inf, -1.0, 0.0, 1e-30, torch.inf], requires_grad=True)
    h = Step()(z)
    assert h.tolist() == [0, 0, 0, 1, 1]
    h.sum().backward()
    assert z.grad is not None
    assert z.grad.tolist() == [0, 0, 0, 0, 0]


@pytest.mark.parametrize("form", ["module", "spelled"])
def test_the_threshold_of_no_number_is_no_number(form: str) -> None:
    z, spelled = torch.tensor([torch.nan, 1.0]), written(Step())
    assert spelled is not None
    h = Step()(z) if form == "module" else spelled.forward(z, torch.empty_like(z))
    assert h.isnan().tolist() == [True, False]


def test_a_subclass_is_not_taken_for_what_it_inherits_from() -> None:
    assert written(nn.ReLU6()) is None  # a Hardtanh by inheritance


@pytest.mark.parametrize(
    ("kind", "numbers", "reference"),
    [
        ("leaky_relu", {"negative_slope": 0.3}, lambda z: F.leaky_relu(z, 0.3)),
        ("prelu", {"init": 0.1}, lambda z: F.leaky_relu(z, 0.1)),
        ("elu", {"alpha": 0.7}, lambda z: F.elu(z, 0.7)),
        ("gelu", {"approximate": "tanh"}, lambda z: F.gelu(z, approximate="tanh")),
        ("softplus", {"beta": 2.0}, lambda z: F.softplus(z, 2.0)),
    ],
)
def test_an_activation_takes_its_numbers(kind: str, numbers: dict[str, float | str], reference: Callable[[Tensor], Tensor]) -> None:
    z = sums()
    closely(activation(kind, **numbers).double()(z), reference(z), atol=1e-6)  # prelu's slope begins as a float32


def test_the_settings_offer_what_there_is() -> None:
    with_numbers = [setting for setting in get_args(get_args(Activation)[0]) if setting is not Plain]
    named = {*get_args(Plain.model_fields["kind"].annotation)}
    named |= {name for setting in with_numbers for name in get_args(setting.model_fields["kind"].annotation)}
    assert named == set(MODULES)
    assert set(get_args(OutputActivation)) == set(MODULES)
