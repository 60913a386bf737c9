"""Where to cut between two classes: the threshold that makes a figure best on given rows, found among all that tell rows apart."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import torch
from torch import Tensor

NEUTRAL = 0.5  # the likelier class is answered


def best_threshold(p: Tensor, target: Tensor, metric: str) -> float:
    """The threshold that makes `metric` best where class 1 is answered for p > threshold.

    p: (N,) probabilities of class 1; target: (N,) or (N, 1) of 0 and 1. Candidates are 0.5 and the midpoints between neighbouring values
    of p; of equally good ones the nearest to 0.5 wins, of two equally near ones the lower. 0.5 where a p is not finite.

    >>> best_threshold(torch.tensor([0.125, 0.25, 0.375, 0.4375]), torch.tensor([0, 0, 1, 1]), "f1")
    0.3125
    """
    p, hits = p.detach().cpu().double(), target.reshape(-1).cpu() > 0
    if not len(p) or not p.isfinite().all():
        return NEUTRAL
    values, places = torch.unique(p, return_inverse=True)
    thresholds, distance = _candidates(values)
    quality = QUALITIES[metric](*_counts(places, hits, len(values)))
    allowed = quality.masked_fill(distance == inf, -1)
    return float(thresholds[distance.masked_fill(allowed < allowed.max(), inf).argmin()])


def _candidates(values: Tensor) -> tuple[Tensor, Tensor]:
    """For each number k of values below a threshold: the threshold, and how far from 0.5 it is (inf: none stands there).

    values: (V,), ascending and distinct -> (V + 1,) and (V + 1,).
    """
    low, high = values[:-1], values[1:]
    middle = low + (high - low) / 2
    middle = torch.where(middle < high, middle, low)  # neighbours in float64 have no number between them
    outside = values.new_tensor([torch.nan])
    thresholds = torch.cat([outside, middle, outside])
    thresholds[int((values <= NEUTRAL).sum())] = NEUTRAL
    return thresholds, torch.nan_to_num((thresholds - NEUTRAL).abs(), nan=inf)


def _counts(places: Tensor, hits: Tensor, distinct: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """True and false positives, false and true negatives when the k lowest values are answered with class 0: (V + 1,) each, of int64."""
    nothing = places.new_zeros(1)
    fn = torch.cat([nothing, torch.bincount(places[hits], minlength=distinct).cumsum(0)])
    tn = torch.cat([nothing, torch.bincount(places[~hits], minlength=distinct).cumsum(0)])
    return fn[-1] - fn, tn[-1] - tn, fn, tn


Quality = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # (tp, fp, fn, tn) -> a number that grows with the figure


def _balanced_accuracy(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Tensor:
    """Both recalls over one denominator, so that equal ones are equal in whole numbers; a class without rows does not count."""
    ones, zeros = tp + fn, tn + fp
    return tp * zeros.clamp_min(1) + tn * ones.clamp_min(1)


QUALITIES: dict[str, Quality] = {
    "accuracy": lambda tp, fp, fn, tn: tp + tn,
    "balanced_accuracy": _balanced_accuracy,
    "precision": lambda tp, fp, fn, tn: tp.double() / (tp + fp).clamp_min(1),
    "recall": lambda tp, fp, fn, tn: tp,
    "f1": lambda tp, fp, fn, tn: 2 * tp.double() / (2 * tp + fp + fn).clamp_min(1),
}
