"""The best state is the best that was seen, and training stops when it was told to."""

from __future__ import annotations

from math import inf, nan

import pytest

from dnnlab.records import Epoch
from dnnlab.stopping import Best, Stopper


def fold(best: Best, values: list[float]) -> Best:
    for epoch, value in enumerate(values, start=1):
        best = best.after(value, epoch)
    return best


@pytest.mark.parametrize(
    ("mode", "values", "wanted"),  # wanted: value, epoch, validations since, of which no number
    [
        ("min", [3.0, 2.0, 2.5, 1.0, 1.5], (1.0, 4, 1, 0)),
        ("max", [0.1, 0.9, 0.5, 0.9], (0.9, 2, 2, 0)),  # a tie is no improvement
        ("min", [nan, 5.0, nan], (5.0, 2, 1, 2)),
        ("max", [-5.0], (-5.0, 1, 0, 0)),
        ("min", [inf, 7.0], (7.0, 2, 0, 0)),
        ("max", [-inf, -7.0], (-7.0, 2, 0, 0)),
        ("min", [inf, inf], (inf, 1, 1, 0)),
        ("min", [nan, nan], (inf, 0, 2, 2)),
        ("min", [], (inf, 0, 0, 0)),
    ],
)
def test_the_best_is_remembered(mode: str, values: list[float], wanted: tuple[float, int, int, int]) -> None:
    best = fold(Best("valid/loss", mode), values)
    assert (best.value, best.epoch, best.waited, best.nans) == wanted


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_change_below_min_delta_is_no_improvement(mode: str) -> None:
    sign = -1 if mode == "min" else 1
    best = fold(Best("valid/loss", mode, min_delta=0.25), [0.0, sign * 0.125, sign * 0.25, sign * 0.375])
    assert (best.value, best.epoch, best.waited) == (sign * 0.375, 4, 0)


def test_small_changes_add_up() -> None:
    # each is measured from the best, not from the last
    assert fold(Best("valid/loss", "min", min_delta=0.25), [1.0, 0.875, 0.75, 0.625]).epoch == 4


def test_patience_is_in_validations() -> None:
    stopper, best = Stopper(patience=3), Best("valid/loss", "min")
    reasons = []
    for epoch, value in enumerate([1.0, 0.5, 0.6, nan, 0.7], start=1):
        best = best.after(value, epoch)
        reasons.append(stopper.reason(Epoch(epoch, epoch, True, {}), best))
    assert reasons[:4] == [""] * 4
    assert reasons[4] == "valid/loss has not improved for 3 validations; its best was 0.5 in epoch 2"


@pytest.mark.parametrize(
    ("mode", "value", "stops"),
    [("max", 0.9, True), ("max", 0.95, True), ("max", 0.89, False), ("max", nan, False), ("min", 0.9, True), ("min", 0.91, False)],
)
def test_a_value_that_was_asked_for_stops(mode: str, value: float, stops: bool) -> None:
    stopper = Stopper(metric="train/accuracy", value=0.9, mode=mode)
    reason = stopper.reason(Epoch(1, 1, True, {"train/accuracy": value}), Best("valid/loss", "min"))
    assert bool(reason) is stops


def test_a_metric_that_was_not_measured_does_not_stop() -> None:
    stopper = Stopper(metric="train/accuracy", value=0.0)
    assert stopper.reason(Epoch(1, 1, True, {"train/loss": 1.0}), Best("valid/loss", "min")) == ""


def test_nothing_asked_never_stops() -> None:
    assert Stopper().reason(Epoch(1, 1, True, {"valid/loss": nan}), fold(Best("valid/loss", "min"), [nan] * 1000)) == ""
