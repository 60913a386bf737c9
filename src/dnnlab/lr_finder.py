"""The learning-rate range test (Smith 2017): the rate grows with each batch, and the loss tells where learning begins and ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from math import isfinite, log

import torch
from torch import Tensor

from dnnlab.batches import Batches
from dnnlab.learner import Learner
from dnnlab.seeding import permutation, weighted_order

SMOOTHING = 0.9  # weight of the past in the smoothed loss
EXPLODED = 4.0  # stop where the smoothed loss is so many times the best one


@dataclass(frozen=True)
class RangeTest:
    """What was seen at each step, and the rate that is suggested."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]  # of each batch
    smooth: tuple[float, ...]  # their moving average
    suggestion: float


def rates(low: float, high: float, steps: int) -> list[float]:
    """Rates from low to high, each the same factor above the last.

    >>> [round(rate, 6) for rate in rates(0.001, 1.0, 4)]
    [0.001, 0.01, 0.1, 1.0]
    """
    return [low * (high / low) ** (step / (steps - 1)) for step in range(steps)]


def range_test(
    learner: Learner, batches: Batches, low: float, high: float, steps: int, seed: int, weights: Tensor | None = None
) -> RangeTest:
    """Train with growing rates until the loss explodes; the learner is brought back to where it was.

    weights: (N,) how often each row is drawn, as in trainer.Course.
    """
    before = learner.snapshot()
    tried: list[float] = []
    losses: list[float] = []
    smooth: list[float] = []
    loss = torch.zeros((), dtype=batches.x.dtype, device=batches.x.device)
    mean, best = 0.0, float("inf")
    for step, (rate, (x, target)) in enumerate(zip(rates(low, high, steps), _endless(batches, seed, weights), strict=False)):
        with torch.no_grad():
            learner.step(x, target, step, rate, loss)
        value = loss.item()
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        average = mean / (1 - SMOOTHING ** (step + 1))
        if not isfinite(value) or (average > EXPLODED * best and step > 10):
            break
        tried.append(rate)
        losses.append(value)
        smooth.append(average)
        best = min(best, average)
    learner.restore(before)
    return RangeTest(tuple(tried), tuple(losses), tuple(smooth), suggest(tried, smooth))


def suggest(tried: list[float], losses: list[float]) -> float:
    """The rate of the steepest descent before the lowest loss; nan where there were too few steps to tell.

    >>> suggest([1e-3, 1e-2, 1e-1, 1.0], [1.0, 0.9, 0.2, 3.0])
    0.1
    """
    if len(losses) < 3:
        return float("nan")
    bottom = max(1, losses.index(min(losses)))
    falls = [(losses[i] - losses[i - 1]) / (log(tried[i]) - log(tried[i - 1])) for i in range(1, bottom + 1)]
    return tried[1 + falls.index(min(falls))]


def _endless(batches: Batches, seed: int, weights: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
    epoch = 0
    while True:
        order = permutation(seed, epoch, len(batches.x)) if weights is None else weighted_order(seed, epoch, weights)
        yield from islice(batches(order.to(batches.x.device)), batches.count)
        epoch += 1
