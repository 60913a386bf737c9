"""Penalties, clipping and projections agree with torch's functions and with closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dnnlab.flat import FlatParameters
from dnnlab.models import Style, feedforward
from dnnlab.regularization import Regularizer, SparsityPlan, keep_largest, soft_threshold
from dnnlab.seeding import Noise
from tests.samples import closely, exactly


def flat_of(network: nn.Module | None = None) -> FlatParameters:
    """A network's buffer, float64, with a random gradient."""
    flat = FlatParameters((network or feedforward(5, [6, 4], 3, Style(nn.Tanh, Noise(0)))).double())
    flat.grad.normal_()
    return flat


def biases(flat: FlatParameters) -> torch.Tensor:
    return flat.data[len(flat.weights) :].clone()


@pytest.mark.parametrize("bound", [0.1, 3.0, 1000.0])
def test_clipping_the_length_is_torchs(bound: float) -> None:
    network = feedforward(5, [6, 4], 3, Style(nn.Tanh, Noise(0)))
    flat = flat_of(network)
    wanted = [nn.Parameter(parameter.detach().clone()) for parameter in network.parameters()]
    for parameter, original in zip(wanted, network.parameters(), strict=True):
        parameter.grad = original.grad.clone()
    nn.utils.clip_grad_norm_(wanted, bound)
    Regularizer(clip_norm=bound).clip(flat)
    for parameter, original in zip(wanted, network.parameters(), strict=True):
        closely(original.grad, parameter.grad)


def test_clipping_the_numbers_is_torchs() -> None:
    flat = flat_of()
    wanted = nn.Parameter(flat.data.clone())
    wanted.grad = flat.grad.clone()
    nn.utils.clip_grad_value_([wanted], 0.3)
    Regularizer(clip_value=0.3).clip(flat)
    exactly(flat.grad, wanted.grad)


def test_numbers_are_clipped_before_the_length() -> None:
    flat = flat_of()
    both = flat.grad.clamp(-0.3, 0.3)
    Regularizer(clip_value=0.3, clip_norm=0.5).clip(flat)
    closely(flat.grad, both * 0.5 / (both.norm() + 1e-6))


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.1), (0.2, 0.0), (0.2, 0.1)])
def test_a_penaltys_gradient_is_that_of_its_term(l1: float, l2: float) -> None:
    flat = flat_of()
    flat.data[3] = 0.0  # a corner of |w|
    regularizer = Regularizer(l1=l1, l2=l2)
    leaf = flat.data.clone().requires_grad_()
    weights = leaf[: len(flat.weights)]
    (l1 * weights.abs().sum() + l2 * 0.5 * weights.square().sum()).backward()
    before = flat.grad.clone()
    regularizer.penalise(flat)
    closely(flat.grad, before + leaf.grad)


def test_terms_are_told_by_name_and_hold_no_biases() -> None:
    flat = flat_of()
    terms = Regularizer(l1=0.2, l2=0.1).terms(flat)
    assert list(terms) == ["l1", "l2"]
    closely(terms["l1"], 0.2 * flat.weights.abs().sum())
    closely(terms["l2"], 0.05 * flat.weights.square().sum())
    assert Regularizer().terms(flat) == {}
    flat.data[len(flat.weights) :] = 100.0
    exactly(Regularizer(l1=0.2, l2=0.1).terms(flat), terms)


def test_a_proximal_penalty_has_no_gradient_but_a_term() -> None:
    flat = flat_of()
    before = flat.grad.clone()
    regularizer = Regularizer(l1=0.2, proximal=True)
    regularizer.penalise(flat)
    exactly(flat.grad, before)
    assert list(regularizer.terms(flat)) == ["l1"]


@pytest.mark.parametrize("amount", [0.0, 0.3, 10.0])
def test_the_soft_threshold_minimises_what_it_is_to(amount: float) -> None:
    # argmin over w of ½(w − v)² + amount·|w|, found on a grid
    v = torch.tensor([-2.0, -0.3, -0.1, 0.0, 0.2, 0.31, 1.7], dtype=torch.float64)
    grid = torch.linspace(-3, 3, 60001, dtype=torch.float64)
    found = grid[(0.5 * (grid - v[:, None]).square() + amount * grid.abs()).argmin(1)]
    soft_threshold(v, amount)
    torch.testing.assert_close(v, found, rtol=0, atol=1e-4)
    assert (v == 0).sum() == (found.abs() < 1e-9).sum()


def test_the_proximal_step_gives_exact_zeros_in_weights_only() -> None:
    flat = flat_of()
    weights, others = flat.weights.clone(), biases(flat)
    Regularizer(l1=2.0, proximal=True).project(flat, step=0, lr=0.1)
    closely(flat.weights, weights.sign() * (weights.abs() - 0.2).clamp_min(0))
    assert torch.equal(flat.weights == 0, weights.abs() <= 0.2)
    assert (flat.weights == 0).any()
    exactly(biases(flat), others)


def test_proximal_descent_solves_the_lasso() -> None:
    # for an orthonormal design the solution is known: the soft threshold of least squares
    x = torch.linalg.qr(torch.randn(40, 8, dtype=torch.float64)).Q
    truth = torch.tensor([3.0, 0, 0, -2, 0, 0, 0.5, 0], dtype=torch.float64)
    y = (x @ truth + 0.05 * torch.randn(40, dtype=torch.float64)).unsqueeze(1)
    flat = FlatParameters(layer := nn.Linear(8, 1, bias=False).double())
    regularizer = Regularizer(l1=0.3, proximal=True)
    for step in range(200):
        flat.grad.copy_((x.T @ (x @ layer.weight.detach().T - y)).flatten())
        regularizer.penalise(flat)
        flat.data.add_(flat.grad, alpha=-0.5)
        regularizer.project(flat, step, 0.5)
    solution = (x.T @ y).flatten()
    soft_threshold(solution, 0.3)
    closely(flat.data, solution, atol=1e-9)
    assert torch.equal(flat.data != 0, truth != 0)


def test_max_norm_bounds_what_comes_into_each_unit() -> None:
    flat = flat_of()
    flat.data.mul_(3)
    before, others = {name: flat.view(name).clone() for name in flat.weight_names}, biases(flat)
    Regularizer(max_norm=0.9).project(flat, step=0, lr=0.1)
    for name, old in before.items():
        lengths, new = old.norm(dim=1, keepdim=True), flat.view(name)
        assert (new.norm(dim=1) <= 0.9 + 1e-12).all()
        torch.testing.assert_close(new, torch.where(lengths > 0.9, old * 0.9 / lengths, old), rtol=1e-6, atol=0)
    assert any((old.norm(dim=1) > 0.9).any() for old in before.values())
    exactly(biases(flat), others)


@pytest.mark.parametrize("count", [1, 3, 7, 8])
def test_exactly_the_largest_stay(count: int) -> None:
    weights = torch.tensor([0.1, -3.0, 2.0, -0.5, 0.4, 0.2, 5.0, -0.3])
    before = weights.clone()
    keep_largest(weights, count)
    kept = weights != 0
    assert kept.sum() == count
    assert torch.equal(weights[kept], before[kept])
    assert before[kept].abs().min() >= (before[~kept].abs().max() if (~kept).any() else 0)


@pytest.mark.parametrize("count", [1, 5, 50, 99])
def test_exactly_so_many_stay_also_where_all_are_alike(count: int) -> None:
    weights = torch.full((100,), -0.5)
    keep_largest(weights, count)
    assert (weights != 0).sum() == count


def test_one_weight_stays_at_the_least() -> None:
    weights = torch.tensor([1.0, 2.0])
    keep_largest(weights, 0)
    assert weights.tolist() == [0.0, 2.0]


def test_the_share_falls_along_a_cubic_and_stays() -> None:
    plan = SparsityPlan(keep=0.2, begin=10, end=30)
    shares = [plan.share(step) for step in range(50)]
    assert shares[:11] == [1.0] * 11
    assert shares[20] == pytest.approx(0.2 + 0.8 * 0.5**3)
    assert shares[30:] == [0.2] * 20
    assert shares == sorted(shares, reverse=True)
    assert SparsityPlan(keep=0.2, begin=5, end=5).share(5) == 0.2


@pytest.mark.parametrize("per_layer", [False, True])
def test_no_more_weights_stay_than_the_plan_allows(per_layer: bool) -> None:
    flat = flat_of(feedforward(20, [30, 10], 3, Style(nn.Tanh, Noise(0))))
    plan = SparsityPlan(keep=0.1, begin=2, end=6, per_layer=per_layer)
    others = biases(flat)
    for step in range(8):
        flat.weights.normal_()  # as if the optimizer had brought all of them back
        Regularizer(sparsity=plan).project(flat, step, lr=0.1)
        share = plan.share(step + 1) if step >= 2 else 1.0
        assert abs(int((flat.weights != 0).sum()) - share * len(flat.weights)) <= (2 if per_layer else 1)
        if per_layer:
            assert all(abs(int((flat.view(n) != 0).sum()) - share * flat.view(n).numel()) <= 0.5 + 1e-9 for n in flat.weight_names)
    exactly(biases(flat), others)


def test_the_last_projection_leaves_every_limit_kept() -> None:
    flat = flat_of()
    flat.data.mul_(3)
    plan = SparsityPlan(keep=0.5, begin=0, end=0)
    Regularizer(l1=0.1, proximal=True, max_norm=0.9, sparsity=plan).project(flat, step=0, lr=0.1)
    assert (flat.weights != 0).sum() <= round(0.5 * len(flat.weights))
    assert all((flat.view(name).norm(dim=1) <= 0.9 + 1e-12).all() for name in flat.weight_names)


def test_nothing_asked_is_nothing_done() -> None:
    flat = flat_of()
    before = flat.data.clone(), flat.grad.clone()
    Regularizer().penalise(flat)
    Regularizer().clip(flat)
    Regularizer().project(flat, 0, 0.1)
    exactly((flat.data, flat.grad), before)


def test_penalties_are_clipped_with_the_rest_and_come_before_the_step() -> None:
    flat = flat_of()
    regularizer = Regularizer(l2=100.0, clip_norm=1.0)
    regularizer.penalise(flat)
    regularizer.clip(flat)
    assert flat.grad.norm().item() == pytest.approx(1.0, abs=1e-6)
