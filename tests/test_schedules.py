"""Schedules agree with their formulas and, where the definitions coincide, with torch.optim.lr_scheduler."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import cos, inf, nan, pi
from typing import Any

import pytest
import torch
from torch.optim import SGD, lr_scheduler

from dnnlab import schedules
from dnnlab.schedules import Plateau, Schedule, warmup

TOTAL = 60


def factors(make: Callable[[SGD], Any]) -> list[float]:
    """The rates of a torch scheduler whose optimizer has lr 1."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    rates = [float(optimizer.param_groups[0]["lr"])]
    for _ in range(TOTAL - 1):
        optimizer.step()
        scheduler.step()
        rates.append(float(optimizer.param_groups[0]["lr"]))
    return rates


REFERENCES: dict[str, tuple[Schedule, Callable[[SGD], Any]]] = {
    "constant": (schedules.constant(), lambda o: lr_scheduler.LambdaLR(o, lambda _: 1.0)),
    "step": (schedules.step(7, factor=0.3), lambda o: lr_scheduler.StepLR(o, 7, gamma=0.3)),
    "multistep": (schedules.multistep([30, 5], factor=0.3), lambda o: lr_scheduler.MultiStepLR(o, [5, 30], gamma=0.3)),
    "exponential": (schedules.exponential(10, factor=0.5), lambda o: lr_scheduler.ExponentialLR(o, gamma=0.5**0.1)),
    "polynomial": (schedules.polynomial(40, power=2.5, end=0.0), lambda o: lr_scheduler.PolynomialLR(o, 40, power=2.5)),
    "line": (schedules.polynomial(40, power=1, end=0.2), lambda o: lr_scheduler.LinearLR(o, 1.0, 0.2, total_iters=40)),
    "cosine": (schedules.cosine(TOTAL, end=0.1), lambda o: lr_scheduler.CosineAnnealingLR(o, TOTAL, eta_min=0.1)),
    "restarts": (
        schedules.cosine_restarts(4, growth=2, end=0.1),
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 4, T_mult=2, eta_min=0.1),
    ),
    "equal restarts": (
        schedules.cosine_restarts(7, growth=1.0, end=0.0),
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 7),
    ),
    # torch's share of the rise counts the step before the peak: the peak stands at pct_start·total − 1
    "one_cycle": (
        schedules.one_cycle(TOTAL, 17, start_div=20, end_div=500),
        lambda o: lr_scheduler.OneCycleLR(
            o, 1.0, total_steps=TOTAL, pct_start=18 / TOTAL, div_factor=20, final_div_factor=25, cycle_momentum=False
        ),
    ),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_a_schedule_agrees_with_torch(name: str) -> None:
    ours, reference = REFERENCES[name]
    assert [ours(s) for s in range(TOTAL)] == pytest.approx(factors(reference), abs=1e-12)


EVERY: dict[str, Schedule] = {
    "constant": schedules.constant(),
    "step": schedules.step(10, factor=0.1),
    "multistep": schedules.multistep([10, 20], factor=0.1),
    "exponential": schedules.exponential(5, factor=0.9),
    "polynomial": schedules.polynomial(TOTAL, power=2, end=0.01),
    "inverse_sqrt": schedules.inverse_sqrt(5),
    "cosine": schedules.cosine(TOTAL, end=0.0),
    "cosine_restarts": schedules.cosine_restarts(5, growth=1.5, end=0.0),
    "one_cycle": schedules.one_cycle(TOTAL, 20, start_div=25, end_div=1e4),
    "warmup_stable_decay": schedules.warmup_stable_decay(TOTAL, 12, end=0.0),
}


@pytest.mark.parametrize("name", EVERY)
def test_a_schedule_is_a_pure_function_of_the_step_between_zero_and_one(name: str) -> None:
    schedule = EVERY[name]
    forwards = [schedule(s) for s in range(2 * TOTAL)]
    backwards = [schedule(s) for s in reversed(range(2 * TOTAL))][::-1]
    assert forwards == backwards
    assert all(0 <= factor <= 1 for factor in forwards)


@pytest.mark.parametrize("name", EVERY)
def test_every_schedule_can_be_warmed_up(name: str) -> None:
    schedule = EVERY[name]
    warmed = warmup(schedule, 8)
    assert [warmed(s) for s in range(8)] == pytest.approx([schedule(0) * (s + 1) / 8 for s in range(8)])
    assert [warmed(s + 8) for s in range(TOTAL)] == [schedule(s) for s in range(TOTAL)]
    assert warmed(7) == warmed(8)  # without a jump


def test_no_warm_up_leaves_the_schedule_as_it_is() -> None:
    schedule = schedules.cosine(10, end=0.0)
    assert warmup(schedule, 0) is schedule


def test_warm_up_and_cosine_give_the_known_shape() -> None:
    schedule = warmup(schedules.cosine(100, end=0.1), 10)
    for s in range(110):
        expected = (s + 1) / 10 if s < 10 else 0.1 + 0.9 * (1 + cos(pi * (s - 10) / 100)) / 2
        assert schedule(s) == pytest.approx(expected)


def test_inverse_sqrt_is_flat_and_then_falls_with_the_root() -> None:
    schedule = schedules.inverse_sqrt(4)
    assert [schedule(s) for s in (0, 3, 4, 16, 100)] == pytest.approx([1, 1, 1, 0.5, 0.2])


def test_warmup_stable_decay_rises_stays_and_falls() -> None:
    schedule = warmup(schedules.warmup_stable_decay(8, 4, end=0.2), 2)
    assert [schedule(s) for s in range(11)] == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])


def test_one_cycle_starts_peaks_and_ends_where_it_says() -> None:
    schedule = schedules.one_cycle(100, 30, start_div=25, end_div=1e4)
    assert [schedule(s) for s in (0, 30, 99)] == pytest.approx([1 / 25, 1, 1e-4])
    assert max(range(100), key=schedule) == 30


@pytest.mark.parametrize("growth", [1.0, 1.1, 1.5, 2.0, 3.0, 10.0])
def test_restarts_follow_the_sum_of_their_cycles_at_every_border(growth: float) -> None:
    schedule = schedules.cosine_restarts(3, growth=growth, end=0.0)
    start, length = 0.0, 3.0
    for step in range(2000):
        while step >= start + length - 1e-9 * step:
            start, length = start + length, length * growth
        expected = (1 + cos(pi * (step - start) / length)) / 2
        assert schedule(step) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.step(0, factor=0.5),
        schedules.polynomial(0, power=1, end=0.0),
        schedules.inverse_sqrt(0),
        schedules.cosine(0, end=0.0),
        schedules.cosine_restarts(0, growth=2, end=0.0),
        schedules.one_cycle(1, 0, start_div=25, end_div=1e4),
        schedules.warmup_stable_decay(1, 0, end=0.0),
    ],
)
def test_a_run_of_one_step_divides_nothing_by_zero(schedule: Schedule) -> None:
    assert 0 <= schedule(0) <= 1


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(("patience", "min_delta"), [(1, 0.0), (3, 0.0), (2, 0.05)])
def test_plateau_agrees_with_torch(mode: Any, patience: int, min_delta: float) -> None:
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    # torch bears `patience` bad looks and drops at the next one; here the drop comes with look number `patience`
    reference = lr_scheduler.ReduceLROnPlateau(
        optimizer, mode, factor=0.5, patience=patience - 1, threshold=min_delta, threshold_mode="abs", eps=0.0
    )
    plateau = Plateau(factor=0.5, patience=patience, min_delta=min_delta, mode=mode)
    values = torch.rand(60, generator=torch.Generator().manual_seed(1)) * torch.linspace(2, 1, 60)
    for value in values.tolist():
        reference.step(value)
        plateau = plateau.after(value)
        assert plateau.scale == optimizer.param_groups[0]["lr"]
    assert plateau.scale < 1


@pytest.mark.parametrize("bad", [nan, inf, -inf])
def test_plateau_never_takes_a_value_that_is_not_finite_for_an_improvement(bad: float) -> None:
    plateau = Plateau(factor=0.5, patience=2, min_delta=0.0, mode="max").after(bad)
    assert plateau.best is None
    plateau = plateau.after(1.0).after(bad).after(bad)
    assert (plateau.best, plateau.scale) == (1.0, 0.5)


def test_a_plateau_continues_from_its_saved_numbers() -> None:
    rule = Plateau(factor=0.5, patience=3, min_delta=0.0, mode="min")
    values = [3.0, 2.0, 2.5, nan, 2.1, 1.0, 1.1, 1.2, 1.3, 0.5]
    for cut in range(len(values)):
        whole = part = rule
        for value in values[:cut]:
            part = part.after(value)
        part = rule.restored(json.loads(json.dumps(part.facts())))
        for value in values:
            whole = whole.after(value)
        for value in values[cut:]:
            part = part.after(value)
        assert part == whole
