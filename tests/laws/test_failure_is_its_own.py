"""Law 5. A member that goes to NaN leaves the others bit-identical, and what a member becomes does not depend on how many there are."""

from __future__ import annotations

from typing import Any

import pytest

from dnnlab.activations import MODULES
from tests.stacks import Trained, alone, same_bits

WILD = {"optimizer.lr": 3e37}
MEMBERS: list[dict[str, Any]] = [{"seed": 0}, {"seed": 1}, {"seed": 2}, {"seed": 3, "optimizer.lr": 0.003}]
BASE = {"data": {"kind": "iris"}, "model": {"kind": "mlp", "hidden": [13, 7]}, "regularization.dropout": 0.1, "trainer.epochs": 4}
RULES = ("sgd", "momentum", "nesterov", "adam", "adamw", "adagrad", "rmsprop", "nadam", "radam", "adamax")


@pytest.mark.parametrize("activation", [kind for kind in MODULES if kind not in ("prelu", "step")])
def test_the_bits_of_the_others_stay_whatever_the_activation(activation: str) -> None:
    _check({**BASE, "activation": {"kind": activation}})


@pytest.mark.parametrize("rule", RULES)
def test_the_bits_of_the_others_stay_whatever_the_rule(rule: str) -> None:
    _check({**BASE, "optimizer.kind": rule})


REGULARIZERS = ("l1", "l2", "input_noise", "input_dropout", "max_norm", "clip_norm", "clip_value")


@pytest.mark.parametrize("name", REGULARIZERS)
def test_the_bits_of_the_others_stay_whatever_regularizes(name: str) -> None:
    _check({**BASE, f"regularization.{name}": 0.3})


@pytest.mark.parametrize(("data", "loss"), [("moons", "bce"), ("moons", "focal"), ("iris", "squared_hinge"), ("diabetes", "mse")])
def test_the_bits_of_the_others_stay_whatever_is_learned(data: str, loss: str) -> None:
    _check({**BASE, "data": {"kind": data}, "loss": {"kind": loss}})


def _check(base: dict[str, Any]) -> None:
    """One member is lost; besides, the others are trained without it, and three times over."""
    well, one_wild = Trained(MEMBERS, base), Trained([MEMBERS[0], {**MEMBERS[1], **WILD}, *MEMBERS[2:]], base)
    assert list(one_wild.lost) == [1]
    assert not well.lost
    without, thrice = Trained([MEMBERS[0], *MEMBERS[2:]], base), Trained(MEMBERS * 3, base)
    for member, place in ((0, 0), (2, 1), (3, 2)):
        assert same_bits(well.parts[member], one_wild.parts[member])
        assert same_bits(well.parts[member], without.parts[place])
        assert same_bits(well.parts[member], thrice.parts[member + 8])
        assert [record.metrics for record in well.records[member]] == [record.metrics for record in one_wild.records[member]]


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_member_diverges_where_it_would_by_itself_and_keeps_its_last_finite_state(norm: str) -> None:
    base = {**BASE, "model": {"kind": "deep", "depth": 2, "width": 8, "norm": norm}}
    wild = {"seed": 1, "optimizer": {"kind": "sgd", "lr": 3e37}}
    stack = Trained([{"seed": 0, "optimizer": {"kind": "sgd", "lr": 0.1}}, wild], base)
    with pytest.raises(Exception, match="must stay finite") as solo:
        alone(wild, base)
    assert str(stack.lost[1]) == str(solo.value)
    assert all(tensor.isfinite().all() for tensor in stack.parts[1].learner.state().values())
    assert len(stack.records[0]) == 4
