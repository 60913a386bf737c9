"""What a few numbers tell of many: intervals, paired tests, and what stays of a p-value when many are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isnan, nan, sqrt
from statistics import fmean, stdev

LEVEL = 0.95
DRAWS = 10_000  # of the bootstrap


@dataclass(frozen=True)
class Spread:
    """Runs that differ by their seed alone, in one figure."""

    values: tuple[float, ...]
    low: float  # of the interval in which the mean of all seeds lies, with 95 %
    high: float

    @property
    def count(self) -> int:
        """How many runs."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Their mean."""
        return fmean(self.values) if self.values else nan

    @property
    def half(self) -> float:
        """Half the width of the interval; NaN of a single run."""
        return (self.high - self.low) / 2


def spread(values: Sequence[float], *, bootstrap: bool = False) -> Spread:
    """Mean and 95 % interval: Student's t (1908), or the percentile bootstrap (Efron 1979).

    >>> found = spread([1.0, 2.0, 3.0])
    >>> found.mean, round(found.low, 3), round(found.high, 3)
    (2.0, -0.484, 4.484)
    """
    if len(values) < 2 or any(isnan(value) for value in values):
        return Spread(tuple(values), nan, nan)
    if bootstrap:
        import numpy as np

        drawn = np.random.default_rng(0).choice(np.asarray(values), (DRAWS, len(values))).mean(1)
        low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Spread(tuple(values), float(low), float(high))
    from scipy.special import stdtrit

    half = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2)) * stdev(values) / sqrt(len(values))
    return Spread(tuple(values), fmean(values) - half, fmean(values) + half)


def paired_p(one: Sequence[float], other: Sequence[float]) -> float:
    """How likely so great a mean difference would be if there were none: the two-sided paired t-test. NaN of fewer than two pairs.

    >>> round(paired_p([1.0, 2.0, 3.0], [1.1, 2.3, 3.2]), 4)
    0.0742
    """
    gaps = [first - second for first, second in zip(one, other, strict=True)]
    if len(gaps) < 2:
        return nan
    deviation = stdev(gaps)
    if deviation == 0:
        return 1.0 if fmean(gaps) == 0 else 0.0
    from scipy.special import stdtr

    t = abs(fmean(gaps)) / (deviation / sqrt(len(gaps)))
    return 2 * float(stdtr(len(gaps) - 1, -t))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's correction (1979) of p-values that were all looked at; NaN stays, and does not count.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted((place for place, value in enumerate(p) if not isnan(value)), key=lambda place: p[place])
    corrected = [nan] * len(p)
    largest = -inf
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p[place]))
        corrected[place] = largest
    return corrected
