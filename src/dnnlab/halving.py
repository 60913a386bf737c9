"""Successive halving (Jamieson and Talwalkar 2016), synchronous: at each rung only the best share of the jobs goes on, to the next rung.

Hyperband (Li et al. 2018) divides the jobs into brackets, whose first rungs come ever later: a job that begins slowly has a chance in a
late one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan


@dataclass(frozen=True)
class Halving:
    """When how many jobs go on.

    >>> plan = Halving(eta=3, least=1, brackets=1, epochs=27)
    >>> plan.rungs(0), plan.keep(81, 0, rung=0), plan.keep(81, 0, rung=1)
    ([1, 3, 9], 27, 9)
    """

    eta: int  # one of so many goes on
    least: int  # epochs before the first rung
    brackets: int
    epochs: int  # of a job that goes all the way

    def rungs(self, bracket: int) -> list[int]:
        """The epochs after which a bracket is judged."""
        found, epoch = [], self.least
        while epoch < self.epochs:
            found.append(epoch)
            epoch *= self.eta
        return found[bracket:]

    def keep(self, count: int, bracket: int, *, rung: int) -> int:
        """How many of a bracket's `count` jobs go on after its rung number `rung`."""
        return max(1, count // int(self.eta ** (rung + 1)))

    def bracket(self, number: int) -> int:
        """The bracket of the job at a place of its group; the first one, whose jobs cost least, has eta times those of the next.

        >>> plan = Halving(eta=3, least=1, brackets=2, epochs=27)
        >>> [plan.bracket(number) for number in range(8)]
        [0, 0, 0, 1, 0, 0, 0, 1]
        """
        weights = [self.eta ** (self.brackets - 1 - bracket) for bracket in range(self.brackets)]
        place = number % sum(weights)
        for bracket, weight in enumerate(weights):
            if place < weight:
                return bracket
            place -= weight
        raise AssertionError(number)


def survivors(values: Mapping[int, float], keep: int, mode: str) -> set[int]:
    """The jobs with the best values; of equals the first. A value that is not a number is the worst.

    >>> sorted(survivors({0: 0.5, 1: 0.2, 2: float("nan"), 3: 0.2}, 2, "min"))
    [1, 3]
    """
    sign = 1.0 if mode == "min" else -1.0
    order = sorted(values, key=lambda job: (isnan(values[job]), 0.0 if isnan(values[job]) else sign * values[job], job))
    return set(order[:keep])


def share_of_steps(plan: Halving, count: int) -> float:
    """The epochs that halving takes at most, as a share of those of the whole grid.

    >>> round(share_of_steps(Halving(eta=3, least=1, brackets=1, epochs=81), 81), 3)
    0.045
    """
    total = 0
    for bracket in range(plan.brackets):
        own = sum(plan.bracket(number) == bracket for number in range(count))
        alive, before = own, 0
        for rung, epoch in enumerate(plan.rungs(bracket)):
            total += alive * (epoch - before)
            alive, before = min(alive, plan.keep(own, bracket, rung=rung)), epoch
        total += alive * (plan.epochs - before)
    return total / (count * plan.epochs)
