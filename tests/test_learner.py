"""A learner's state can be kept, brought back and carried over; looking at it changes nothing; a bad batch moves nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dnnlab import losses, optimizers
from dnnlab.backprop import Autograd, written_out
from dnnlab.flat import FlatParameters
from dnnlab.learner import Solo
from dnnlab.loss_scale import LossScale
from dnnlab.models import Style, feedforward
from dnnlab.optimizers import Optimizer
from dnnlab.regularization import Regularizer, SparsityPlan
from dnnlab.seeding import Noise
from tests.samples import closely, exactly

ROWS = 16
OPTIMIZERS: dict[str, Callable[[FlatParameters], Optimizer]] = {
    "sgd": lambda flat: optimizers.Descent(flat, 0.0),
    "momentum": lambda flat: optimizers.Descent(flat, 0.1, 0.9),
    "adam": lambda flat: optimizers.FusedAdam(flat, 0.1, [0.9, 0.999], 1e-8),
    "nadam": lambda flat: optimizers.single(flat, 0.0, lambda leaves: torch.optim.NAdam(leaves)),
    "lbfgs": lambda flat: optimizers.single(flat, 0.0, lambda leaves: torch.optim.LBFGS(leaves, max_iter=4, line_search_fn="strong_wolfe")),
}
every_optimizer = pytest.mark.parametrize("kind", OPTIMIZERS)


def solo(
    kind: str = "adam", *, norm: str = "none", regularizer: Regularizer | None = None, ema: float = 0.0, written: bool = False,
    scale: LossScale | None = None, slices: int = 1, **noisy: float,
) -> Solo:  # fmt: skip
    """The same learner at each call: 5 inputs, 8 and 6 units, 3 classes, float64."""
    torch.manual_seed(5)
    noise = Noise(0, rows=ROWS)
    network = feedforward(5, [8, 6], 3, Style(nn.Tanh, noise, norm=norm, **noisy)).double()  # type: ignore[arg-type]
    flat, loss = FlatParameters(network), losses.CrossEntropy()
    gradients = written_out(network, loss) if written else None
    if gradients is None:
        gradients = Autograd(network, loss, flat, slices=slices, scale=scale or (lambda value: value))
    return Solo(network, flat, gradients, loss, OPTIMIZERS[kind](flat), regularizer or Regularizer(), noise, ema=ema, scale=scale)


def batch(step: int, rows: int = ROWS) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(rows, 5, dtype=torch.float64, generator=generator), torch.randint(0, 3, (rows,), generator=generator)


@torch.no_grad()
def train(learner: Solo, first: int, last: int, lr: float = 0.05) -> list[float]:
    """Steps from `first` up to `last`: -> their losses."""
    told = []
    for step in range(first, last):
        loss = torch.zeros((), dtype=torch.float64)
        learner.step(*batch(step), step, lr, loss)
        told.append(loss.item())
    return told


def everything(learner: Solo) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All of a learner's state, as a file would give it back."""
    return learner.state(), json.loads(json.dumps(learner.facts()))


RICH: dict[str, Any] = {"norm": "batch", "ema": 0.9, "dropout": 0.2, "input_noise": 0.1}


@every_optimizer
def test_a_snapshot_brings_everything_back(kind: str) -> None:
    learner = solo(kind, **RICH)
    train(learner, 0, 4)
    snapshot, before = learner.snapshot(), everything(learner)
    wanted = train(learner, 4, 8), everything(learner)
    learner.restore(snapshot)
    exactly(everything(learner), before)
    exactly((train(learner, 4, 8), everything(learner)), wanted)
    learner.restore(snapshot)  # it is as good the second time
    exactly(everything(learner), before)


@every_optimizer
def test_a_snapshot_from_before_the_first_step_brings_that_back(kind: str) -> None:
    learner = solo(kind, **RICH)
    snapshot = learner.snapshot()
    wanted = train(learner, 0, 3), everything(learner)
    learner.restore(snapshot)
    exactly((train(learner, 0, 3), everything(learner)), wanted)


@every_optimizer
@pytest.mark.parametrize("steps", [0, 1, 5])
def test_a_state_continues_elsewhere_with_the_same_bits(kind: str, steps: int) -> None:
    learner, other = solo(kind, **RICH), solo(kind, **RICH)
    train(learner, 0, steps)
    train(other, 50, 52)  # another past, which is to be forgotten
    state, facts = everything(learner)
    other.load(state, facts)
    exactly(everything(other), (state, facts))
    exactly((train(other, steps, 9), everything(other)), (train(learner, steps, 9), everything(learner)))


def test_a_state_is_a_copy() -> None:
    learner = solo("momentum", **RICH)
    train(learner, 0, 2)
    state, weights, snapshot = learner.state(), learner.weights(), learner.snapshot()
    kept = [{name: tensor.clone() for name, tensor in held.items()} for held in (state, weights)], snapshot.data.clone()
    train(learner, 2, 4)
    exactly(([state, weights], snapshot.data), kept)


def test_weights_are_what_predicts() -> None:
    learner, other = solo(**RICH), solo(**RICH)
    train(learner, 0, 5)
    other.load_weights(learner.weights())
    x, _ = batch(99)
    exactly(other.scores(x), learner.scores(x))
    plain = feedforward(5, [8, 6], 3, Style(nn.Tanh, Noise(0), norm="batch")).double()
    plain.load_state_dict(learner.weights())
    exactly(plain.eval()(x).detach(), learner.scores(x))


def test_the_average_is_its_formula() -> None:
    learner = solo(ema=0.8)
    wanted = learner.flat.data.clone()
    for step in range(6):
        train(learner, step, step + 1)
        wanted = 0.8 * wanted + 0.2 * learner.flat.data
        assert learner.average is not None
        closely(learner.average, wanted)


def test_averaged_weights_are_there_within_and_leave_no_trace() -> None:
    learner = solo(ema=0.8)
    train(learner, 0, 5)
    before = learner.flat.data.clone()
    with learner.averaged():
        exactly(learner.flat.data, learner.average)
        exactly(
            nn.utils.parameters_to_vector([learner.network.get_parameter(name) for name in learner.flat.spans]).detach(), learner.average
        )
    exactly(learner.flat.data, before)
    with pytest.raises(KeyError), learner.averaged():
        raise KeyError
    exactly(learner.flat.data, before)


def test_without_an_average_the_weights_themselves_predict() -> None:
    learner = solo()
    train(learner, 0, 3)
    x, _ = batch(99)
    with learner.averaged():
        exactly(learner.network(x), learner.network.eval()(x))
        exactly(learner.scores(x), learner.network(x).detach())


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_looking_leaves_no_trace(ema: float) -> None:
    looked, alone = solo(**(RICH | {"ema": ema})), solo(**(RICH | {"ema": ema}))
    for step in range(6):
        looked.mark()
        train(looked, step, step + 1)
        scores = looked.scores(batch(77)[0])
        exactly(looked.scores(batch(77)[0]), scores)
        looked.health(batch(78)[0])
        looked.penalties(), looked.weights(), looked.state(), looked.snapshot(), looked.is_finite()
        assert looked.network.training
    train(alone, 0, 6)
    exactly(everything(looked), everything(alone))


def test_scores_leave_training_mode_also_where_they_fail() -> None:
    learner = solo(ema=0.9)
    train(learner, 0, 2)
    before = learner.flat.data.clone()
    with pytest.raises(RuntimeError):
        learner.scores(torch.zeros(2, 4, dtype=torch.float64))
    assert learner.network.training
    exactly(learner.flat.data, before)


@pytest.mark.parametrize("slices", [2, 3, 16])
def test_accumulated_slices_are_the_big_batch(slices: int) -> None:
    noisy = {"dropout": 0.3, "input_noise": 0.2, "input_dropout": 0.2}
    whole, cut = solo("momentum", **noisy), solo("momentum", slices=slices, **noisy)
    told, told_cut = train(whole, 0, 6), train(cut, 0, 6)
    assert told == pytest.approx(told_cut, abs=1e-12)
    closely(whole.flat.data, cut.flat.data)


@every_optimizer
def test_written_out_and_autograd_train_alike(kind: str) -> None:
    noisy = {"dropout": 0.3, "input_noise": 0.2, "input_dropout": 0.2, "ema": 0.9}
    regularizer = Regularizer(l1=1e-3, l2=1e-2, clip_norm=1.0, max_norm=2.0)
    spelled, other = (solo(kind, written=written, regularizer=regularizer, **noisy) for written in (True, False))
    assert not isinstance(spelled.gradients, Autograd)
    told = train(spelled, 0, 6), train(other, 0, 6)
    assert told[0] == pytest.approx(told[1], abs=1e-9)
    torch.testing.assert_close(spelled.flat.data, other.flat.data, rtol=1e-9, atol=1e-9)


@every_optimizer
def test_training_lowers_the_loss(kind: str) -> None:
    learner = solo(kind, written=True)
    x, target = batch(0)
    told = []
    for step in range(60):
        loss = torch.zeros((), dtype=torch.float64)
        learner.step(x, target, step, 1.0 if kind == "lbfgs" else 0.05, loss)
        told.append(loss.item())
    assert told[-1] < 0.9 * told[0]


def test_a_step_is_penalty_clip_move_projection_average() -> None:
    plan = SparsityPlan(keep=0.5, begin=0, end=0)
    learner = solo("sgd", regularizer=Regularizer(l1=0.1, l2=0.2, clip_norm=0.5, max_norm=0.4, sparsity=plan), ema=0.5)
    flat, (x, target) = learner.flat, batch(0)
    start = flat.data.clone()
    learner.gradients(x, target, torch.zeros((), dtype=torch.float64))
    count = len(flat.weights)
    grad = flat.grad.clone()
    grad[:count] += 0.2 * start[:count] + 0.1 * start[:count].sign()
    grad *= min(1.0, 0.5 / (grad.norm().item() + 1e-6))
    wanted = start - 0.05 * grad
    for name in flat.weight_names:
        weight = flat.view(name, wanted)
        weight.copy_(torch.renorm(weight, 2, 0, 0.4))
    weights = wanted[:count]
    weights[weights.abs().argsort()[: count - round(0.5 * count)]] = 0.0
    train(learner, 0, 1)
    closely(flat.data, wanted)
    closely(learner.average, 0.5 * start + 0.5 * wanted)


def test_lbfgs_follows_loss_and_penalties_down() -> None:
    smooth, proximal = (solo("lbfgs", regularizer=Regularizer(l1=0.01, l2=0.01, proximal=p)) for p in (False, True))
    x, target = batch(0)
    for learner in (smooth, proximal):
        loss = learner.loss.mean(learner.network(x), target).detach()
        terms = learner.penalties()
        added = terms["l2"] if learner.regularizer.proximal else terms["l1"] + terms["l2"]
        closely(learner._objective(x, target), loss + added)


@every_optimizer
@pytest.mark.parametrize(
    ("number", "said"),
    [(torch.nan, "the batch's inputs"), (-torch.inf, "the batch's inputs"), (1e308, "hidden1.norm.running_var after the step")],
)
def test_a_bad_batch_moves_nothing(kind: str, number: float, said: str) -> None:
    learner = solo(kind, **RICH)
    train(learner, 0, 3)
    before = everything(learner)
    loss = torch.zeros((), dtype=torch.float64)
    with torch.no_grad():
        x, target = batch(5)
        x[3, 1] = number
        assert learner.checked_step(x, target, 3, 0.05, loss) == f"{said} is not"
    exactly(everything(learner), before)


def test_a_step_that_overflows_is_taken_back_and_named() -> None:
    learner = solo("sgd", ema=0.9)
    before = everything(learner)
    with torch.no_grad():
        bad = learner.checked_step(*batch(0), 0, 1e309, torch.zeros((), dtype=torch.float64))
    assert bad.endswith("after the step is not")
    exactly(everything(learner), before)


def test_a_loss_or_gradient_that_is_no_number_is_named() -> None:
    learner, loss = solo("sgd"), torch.zeros((), dtype=torch.float64)
    gradients = learner.gradients

    def broken(x: Tensor, target: Tensor, loss: Tensor) -> None:
        gradients(x, target, loss)
        learner.flat.view("hidden2.linear.bias", learner.flat.grad)[1] = torch.inf

    learner.gradients = broken
    with torch.no_grad():
        assert learner.checked_step(*batch(0), 0, 0.1, loss) == "the gradient of hidden2.linear.bias is not"
        learner.gradients = lambda x, target, loss: (gradients(x, target, loss), loss.fill_(torch.nan))  # type: ignore[assignment, return-value]
        assert learner.checked_step(*batch(0), 0, 0.1, loss) == "the loss is not"


@every_optimizer
def test_a_checked_step_on_a_good_batch_is_a_step(kind: str) -> None:
    checked, plain = solo(kind, **RICH), solo(kind, **RICH)
    for step in range(4):
        with torch.no_grad():
            assert checked.checked_step(*batch(step), step, 0.05, torch.zeros((), dtype=torch.float64)) == ""
    train(plain, 0, 4)
    exactly(everything(checked), everything(plain))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_parameter_that_is_no_number_is_seen(value: float) -> None:
    learner = solo(norm="batch")
    for tensor in (learner.flat.data, learner.network.get_buffer("hidden2.norm.running_mean")):
        assert bool(learner.is_finite())
        before = tensor.clone()
        tensor[3] = value
        assert not bool(learner.is_finite())
        tensor.copy_(before)


def test_a_buffer_that_was_infinite_from_the_beginning_is_no_fault() -> None:
    network = nn.Sequential(nn.Linear(5, 3)).double()
    network.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    flat, loss = FlatParameters(network), losses.CrossEntropy()
    learner = Solo(network, flat, Autograd(network, loss, flat), loss, OPTIMIZERS["sgd"](flat), Regularizer(), Noise(0))
    assert bool(learner.is_finite())
    with torch.no_grad():
        assert learner.checked_step(*batch(0), 0, 0.1, torch.zeros((), dtype=torch.float64)) == ""


def test_a_loss_scale_of_a_power_of_two_changes_no_bit() -> None:
    scaled, plain = solo(scale=LossScale(2.0**10)), solo()
    exactly((train(scaled, 0, 5), scaled.flat.data), (train(plain, 0, 5), plain.flat.data))


def test_an_overflow_lowers_the_scale_and_takes_no_step() -> None:
    learner = solo(scale=LossScale(2.0**1023), ema=0.9)
    before = learner.flat.data.clone(), learner.average.clone()
    learner.flat.grad.fill_(torch.inf)
    learner._update(*batch(0), 0, 0.1, torch.zeros(()))
    exactly((learner.flat.data, learner.average), before)
    assert learner.scale.value == 2.0**1022


def test_a_scale_doubles_after_good_steps_and_halves_after_a_bad_one() -> None:
    scale, good, bad = LossScale(8.0, patience=3), torch.ones(2), torch.tensor([1.0, torch.nan])
    told = []
    for grad in (good, good, bad, good, good, good, good, good, good):
        told.append((scale.unscale(grad.clone()), scale.value))
    assert [value for _, value in told] == [8, 8, 4, 4, 4, 8, 8, 8, 16]
    assert [taken for taken, _ in told] == [True, True, False, True, True, True, True, True, True]
    grad = torch.tensor([32.0])
    scale.unscale(grad)
    assert grad.item() == 2.0


def test_a_scale_is_part_of_the_state() -> None:
    learner, other = solo(scale=LossScale(2.0, patience=3)), solo(scale=LossScale(2.0, patience=3))
    train(learner, 0, 5)
    other.load(*everything(learner))
    assert (other.scale.value, other.scale.good) == (learner.scale.value, learner.scale.good) == (4.0, 2)


def test_noise_stands_at_the_step_that_is_taken() -> None:
    learner = solo(dropout=0.5)
    train(learner, 41, 42)
    assert learner.noise.step == 41


def test_a_network_that_draws_from_torch_draws_by_the_step() -> None:
    network = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 3)).double()
    flat, loss, noise = FlatParameters(network), losses.CrossEntropy(), Noise(3)
    learner = Solo(network, flat, Autograd(network, loss, flat), loss, OPTIMIZERS["sgd"](flat), Regularizer(), noise, reseed=True)
    start, told = learner.snapshot(), []
    for _ in range(2):
        torch.rand(7)
        told.append(train(learner, 0, 3))
        learner.restore(start)
    assert told[0] == told[1]


def test_the_gradient_that_health_tells_of_is_the_loss_s_own() -> None:
    from dnnlab.assembly import assemble
    from tests.support import settings

    told = [
        next(iter(assemble(settings({"trainer.epochs": 1, "regularization": extra}), health_due=lambda epoch: True).trainer)).health
        for extra in ({}, {"clip_norm": 1e-9, "clip_value": 1e-9})
    ]
    plain, clipped = (record["health/hidden1/gradient_norm"] for record in told)
    assert plain > 1e-3
    assert clipped > 1e-3
