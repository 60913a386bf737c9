"""Bring inputs to a common size, by figures of the training rows alone; each scaler is a module, so that it travels with the network."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Scale = Literal["standardise", "robust", "minmax", "quantile", "log", "none"]
LANDMARKS = 1000  # quantiles that a column is remembered by, at most
EDGE = 1e-7  # a quantile closer to 0 or 1 counts as so close: the normal distribution has no ends
PORTION = 8192  # rows that are in float64 at once


class Scaler(nn.Module):
    """(x − shift)·factor for each column.

    Shape: (B, D) -> (B, D), in the dtype of the buffers (float64 as fitted).
    """

    shift: Tensor
    factor: Tensor

    def __init__(self, shift: Tensor, factor: Tensor) -> None:
        """shift, factor: (D,); a factor of 0 silences a column."""
        super().__init__()
        self.register_buffer("shift", shift)
        self.register_buffer("factor", factor)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, D) -> (B, D)."""
        return (x.to(self.shift.dtype) - self.shift) * self.factor


class SmoothClip(nn.Module):
    """z / sqrt(1 + (z/limit)²): nearly z while |z| is small, never beyond ±limit (Holzmüller et al. 2024). Shape: (B, D) -> (B, D).

    >>> [round(value, 4) for value in SmoothClip(3.0)(torch.tensor([0.1, 3.0, 1e9])).tolist()]
    [0.0999, 2.1213, 3.0]
    """

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, z: Tensor) -> Tensor:
        """z: (B, D) -> (B, D)."""
        z = z.clamp(-1e18, 1e18)  # the limit already, and still a number when it is squared
        return z / (1 + (z / self.limit).square()).sqrt()


class SignedLog(nn.Module):
    """sign(x)·log(1 + |x|): what grows by factors grows by steps. Shape: (B, D) -> (B, D)."""

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, D) -> (B, D)."""
        return x.sign() * x.abs().log1p()


class Quantile(nn.Module):
    """The place of a number among the training rows, as a normal number: a column's own distribution no longer matters.

    Between two landmarks the place is interpolated; a number that several landmarks share has the middle of their places, and one beyond
    the ends has the end's. That is scikit-learn's QuantileTransformer with output_distribution="normal", but for an end that many rows
    share: it has the middle of their places, too, and not that of the end (0 of a column that is mostly 0 stays near the others).
    Shape: (B, D) -> (B, D), in the dtype of the buffers.
    """

    landmarks: Tensor

    def __init__(self, landmarks: Tensor) -> None:
        """landmarks: (D, Q) in rising order: each column's quantiles at 0, 1/(Q − 1), …, 1."""
        super().__init__()
        self.register_buffer("landmarks", landmarks.contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, D) -> (B, D)."""
        values = x.to(self.landmarks.dtype).T.contiguous()
        share = (self._place(values, right=False) + self._place(values, right=True)) / 2
        low, high = self.landmarks[:, :1], self.landmarks[:, -1:]
        share = torch.where(values < low, 0.0, torch.where(values > high, 1.0, share))
        share = torch.where(low == high, 0.5, share)  # a column without variation becomes 0
        normal: Tensor = torch.special.ndtri(share.clamp(EDGE, 1 - EDGE))
        return normal.T

    def _place(self, values: Tensor, *, right: bool) -> Tensor:
        """The share of the way that the landmarks below a value are, from its left or its right side. values: (D, B) -> (D, B)."""
        last = self.landmarks.shape[1] - 1
        above = torch.searchsorted(self.landmarks, values, right=right).clamp(1, last)
        low, high = self.landmarks.gather(1, above - 1), self.landmarks.gather(1, above)
        part = ((values - low) / (high - low).clamp_min(torch.finfo(values.dtype).tiny)).clamp(0.0, 1.0)
        return (above - 1 + part) / last


def fit(x: Tensor, kind: Scale) -> nn.Module:
    """The scaler of these (training) rows; a column without any variation becomes 0 (except under "none"). x: (N, D), finite.

    >>> fit(torch.tensor([[1.0, 5.0], [3.0, 5.0]]), "standardise")(torch.tensor([[2.0, 5.0], [4.0, 6.0]])).tolist()
    [[0.0, 0.0], [2.0, 0.0]]
    """
    if kind == "quantile":
        count = max(2, min(LANDMARKS, len(x)))
        return Quantile(_quantiles(x, torch.linspace(0, 1, count, dtype=torch.float64)).T)
    if kind == "log":
        logs = SignedLog()
        return nn.Sequential(logs, _affine(logs(x.double()), "standardise"))
    if kind == "robust":
        return nn.Sequential(_affine(x, kind), SmoothClip(3.0))
    return _affine(x, kind)


def _affine(x: Tensor, kind: Scale) -> Scaler:
    shift, size = spread(x, kind)
    varies = x.amin(0) < x.amax(0) if kind != "none" else torch.ones(x.shape[1], dtype=torch.bool)
    most = torch.finfo(torch.float64).max  # 1 / size is infinite for a size that is hardly a number
    return Scaler(shift, torch.where(varies, (1 / size).clamp_max(most), 0.0))


def spread(x: Tensor, kind: Scale) -> tuple[Tensor, Tensor]:
    """What to subtract from each column and what to divide it by, which is 1 for a column without variation.

    x: (N, D) -> (D,) and (D,) of float64: mean and standard deviation, median and quartile range, least value and range, or 0 and 1.
    """
    neutral = torch.ones(x.shape[1:], dtype=torch.float64)
    if kind == "none":
        return torch.zeros_like(neutral), neutral
    low, high = x.amin(0).double(), x.amax(0).double()
    if kind == "minmax":
        return low, torch.where(low < high, high - low, neutral)
    if kind == "robust":
        first, middle, third = _quantiles(x, torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
        size = torch.where(third > first, third - first, (high - low) / 2)  # more than half of the rows alike
        return middle, torch.where(size > 0, size, neutral)
    mean = x.mean(0, dtype=torch.float64)
    squares = torch.zeros_like(mean)
    for rows in torch.split(x, PORTION):  # not all rows in float64 at once
        squares += (rows.double() - mean).square().sum(0)
    deviation = (squares / len(x)).sqrt()
    # A constant column's mean is off by a rounding, which its deviation must not blow up.
    return torch.where(low < high, mean, low), torch.where((low < high) & (deviation > 0), deviation, neutral)


def _quantiles(x: Tensor, shares: Tensor) -> Tensor:
    """Quantiles of each column, interpolated between its sorted rows. x: (N, D), shares: (Q,) -> (Q, D) of float64."""
    place = shares * (len(x) - 1)
    below = place.floor().long()
    above = (below + 1).clamp_max(len(x) - 1)
    part = place - below
    columns = []
    for column in x.unbind(1):  # one at a time: sorting needs a copy
        ordered = column.double().sort().values
        columns.append(torch.lerp(ordered[below], ordered[above], part))
    return torch.stack(columns, 1) if columns else torch.empty(len(shares), 0, dtype=torch.float64)


def blank(kind: Scale, columns: int, landmarks: int) -> nn.Module:
    """A scaler of that kind that is still to be loaded: `fit` would give it these shapes. columns: D; landmarks: Q of a quantile scaler."""
    if kind == "quantile":
        return Quantile(torch.zeros(columns, landmarks, dtype=torch.float64))
    affine = Scaler(torch.zeros(columns, dtype=torch.float64), torch.ones(columns, dtype=torch.float64))
    if kind == "log":
        return nn.Sequential(SignedLog(), affine)
    return nn.Sequential(affine, SmoothClip(3.0)) if kind == "robust" else affine
