"""Bring inputs to a common size, by figures of the training rows alone."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Scale = Literal["standardise", "minmax", "none"]


class Scaler(nn.Module):
    """(x − shift)·factor for each column; a module, so that it travels with the network.

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


def fit(x: Tensor, kind: Scale) -> Scaler:
    """The scaler of these (training) rows; a column without any variation becomes 0. x: (N, D).

    >>> fit(torch.tensor([[1.0, 5.0], [3.0, 5.0]]), "standardise")(torch.tensor([[2.0, 5.0], [4.0, 6.0]])).tolist()
    [[0.0, 0.0], [2.0, 0.0]]
    """
    shift, size = spread(x, kind)
    varies = x.amin(0) < x.amax(0) if kind != "none" else torch.ones(x.shape[1], dtype=torch.bool)
    return Scaler(shift, torch.where(varies, 1 / size, 0.0))


def spread(x: Tensor, kind: Scale) -> tuple[Tensor, Tensor]:
    """What to subtract from each column and what to divide it by, which is 1 for a column without variation.

    x: (N, D) -> (D,) and (D,) of float64: mean and standard deviation, least value and range, or 0 and 1.
    """
    neutral = torch.ones(x.shape[1:], dtype=torch.float64)
    if kind == "none":
        return torch.zeros_like(neutral), neutral
    low, high = x.amin(0).double(), x.amax(0).double()
    if kind == "minmax":
        return low, torch.where(low < high, high - low, neutral)
    mean = x.mean(0, dtype=torch.float64)
    squares = torch.zeros_like(mean)
    for rows in torch.split(x, 8192):  # not all rows in float64 at once
        squares += (rows.double() - mean).square().sum(0)
    deviation = (squares / len(x)).sqrt()
    # A constant column's mean is off by a rounding, which its deviation must not blow up.
    return torch.where(low < high, mean, low), torch.where((low < high) & (deviation > 0), deviation, neutral)
