"""Each sickness is found in a run that has it, and in none that has not; each finding has a remedy."""

from __future__ import annotations

import pytest

from dnnlab.diagnostics import examine
from dnnlab.records import Epoch


def healthy(epoch: int, *, train: float | None = None, valid: float | None = None, **health: float) -> Epoch:
    """A record of a run that goes well, with changes: keys of health have "__" for "/"."""
    told = {f"health/{layer}/{name}": value for layer in ("hidden1", "hidden2", "output") for name, value in FIGURES.items()}
    told |= {f"health/{name.replace('__', '/')}": value for name, value in health.items()}
    metrics = {"train/loss": 1 / epoch if train is None else train, "valid/loss": 1.1 / epoch if valid is None else valid}
    return Epoch(epoch, 10 * epoch, True, metrics, told)


FIGURES = {"gradient_norm": 0.1, "weight_norm": 3.0, "update_ratio": 1e-3, "zeros": 0.0, "dead": 0.1, "saturated": 0.1}
WELL = [healthy(epoch) for epoch in range(1, 11)]
OVERFIT = [healthy(epoch, valid=0.3 + 0.1 * abs(epoch - 4)) for epoch in range(1, 11)]
STILL = [healthy(epoch, train=0.693, valid=0.693) for epoch in range(1, 11)]

SICK: dict[str, tuple[list[Epoch], str, str]] = {  # run, what is said, part of the remedy
    "dead": ([*WELL, healthy(11, hidden2__dead=0.75)], "hidden2: 75 % of the units are dead", "leaky_relu"),
    "saturated": ([*WELL, healthy(11, hidden1__saturated=0.9)], "hidden1: 90 % of its answers lie at", "xavier"),
    "vanishing": (
        [*WELL, healthy(11, hidden1__gradient_norm=1e-6)],
        "gradients vanish on the way down: 1.0e-01 at output, 1.0e-06 at hidden1",
        "relu",
    ),
    "slow": (
        [healthy(epoch, hidden1__update_ratio=1e-7, hidden2__update_ratio=1e-6, output__update_ratio=1e-8) for epoch in range(1, 5)],
        "every layer moves by less than",
        "larger optimizer.lr",
    ),
    "fast": (
        [*WELL, healthy(11, hidden1__update_ratio=0.5, hidden2__update_ratio=0.2, output__update_ratio=3.0)],
        "every layer moves by more than",
        "smaller optimizer.lr",
    ),
    "overfitting": (OVERFIT, "overfitting: valid/loss was best in epoch 4 (0.3) and ended at 0.9, while train/loss fell to 0.1", "dropout"),
    "standstill": (STILL, "nothing was learned: train/loss began at 0.693", "lr_find"),
}


@pytest.mark.parametrize("name", SICK)
def test_a_sickness_is_found_and_nothing_else(name: str) -> None:
    history, said, remedy = SICK[name]
    (finding,) = examine(history)
    assert finding.text.startswith(said)
    assert remedy in finding.remedy
    assert finding.level in ("note", "warning")


@pytest.mark.parametrize(
    "history",
    [
        [],
        WELL,
        [Epoch(1, 1, True, {})],
        OVERFIT[:4],
        STILL[:4],
        [*WELL, healthy(11, hidden1__dead=0.49, hidden2__saturated=0.79, hidden2__gradient_norm=1e-9)],
        [*WELL, healthy(11, hidden1__update_ratio=1e-7)],  # one layer alone may rest
        [*WELL, healthy(11, hidden1__dead=float("nan"), hidden1__update_ratio=float("nan"))],
        [Epoch(epoch, epoch, True, {"train/loss": 0.0}) for epoch in range(1, 11)],  # learned from the start
    ],
    ids=["empty", "well", "bare", "too short to overfit", "too short to stand", "below bounds", "one at rest", "no numbers", "zero loss"],
)
def test_a_run_that_has_nothing_is_told_nothing(history: list[Epoch]) -> None:
    assert examine(history) == ()


def test_the_last_look_counts_not_an_earlier_one() -> None:
    assert examine([healthy(1, hidden1__dead=0.9), *WELL[1:]]) == ()
    assert len(examine([healthy(1, hidden1__dead=0.9), Epoch(2, 20, True, {})])) == 1  # epochs without a look are passed over


def test_small_steps_at_the_end_alone_are_no_fault() -> None:
    figures = {"health/hidden1/gradient_norm": 1.0, "health/hidden1/update_ratio": 1e-3}
    history = [Epoch(1, 10, True, {}, figures), Epoch(2, 20, True, {}, {**figures, "health/hidden1/update_ratio": 1e-9})]
    assert examine(history) == ()
    assert len(examine(history[1:])) == 1
