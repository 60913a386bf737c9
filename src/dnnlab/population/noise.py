"""Dropout and noise of K stacked models: each model gets the numbers that it would draw by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from dnnlab.seeding import Noise, stretch


@final
class StackedNoise:
    """The noises of K models that stand at one step.

    >>> stacked = StackedNoise([Noise(0, rows=4), Noise(1, rows=4)])
    >>> stacked.step = 3
    >>> both = stacked.at("mask/hidden1", [0.5, 0.5], 4, 3, torch.float32)
    >>> bool((both[1] == Noise(1, step=3, rows=4).mask("hidden1", 4, 3, keep=0.5)).all())
    True
    """

    def __init__(self, noises: Sequence[Noise]) -> None:
        self.noises = noises
        self.step = noises[0].step
        self._full = noises[0].rows
        self._drawn: dict[str, tuple[tuple[object, ...], Tensor]] = {}

    def at(self, place: str, levels: Sequence[float], rows: int, width: int, dtype: torch.dtype) -> Tensor:
        """The noise of this step. levels: of each model, as `Noise.chunk` takes them. -> (K, rows, width); do not write to it."""
        full = max(self._full, rows)
        number, offset = divmod(self.step, stretch(full, width))
        asked = (number, full, width, dtype)
        drawn = self._drawn.get(place)
        if drawn is None or drawn[0] != asked:
            drawn = self._drawn[place] = (asked, self._chunk(place, levels, number, full, width, dtype))
        noise = drawn[1][offset]
        return noise if rows == full else noise[:, :rows]

    def _chunk(self, place: str, levels: Sequence[float], number: int, rows: int, width: int, dtype: torch.dtype) -> Tensor:
        """The noise of a stretch of steps: (steps, K, rows, width). Models with one seed and one level draw once."""
        device = self.noises[0].device
        chunk = torch.empty(stretch(rows, width), len(self.noises), rows, width, dtype=dtype, device=device)
        rest = 1.0 if place.startswith("mask/") else 0.0
        first: dict[tuple[int, float], int] = {}
        for k, (noise, level) in enumerate(zip(self.noises, levels, strict=True)):
            known = first.setdefault((noise.seed, level), k)
            if level == rest:
                chunk[:, k] = rest  # this model silences nothing, or adds nothing
            else:
                chunk[:, k] = chunk[:, known] if known < k else noise.chunk(place, number, rows, width, level, dtype)
        return chunk


@final
class StackedDropout:
    """Dropout of K models, each with its own rate; one of rate 0 keeps all."""

    def __init__(self, place: str, rates: Sequence[float], noise: StackedNoise) -> None:
        self.place = place
        self._kept = [1 - rate for rate in rates]
        self._noise = noise

    def mask(self, x: Tensor) -> Tensor:
        """x: (…, B, H) -> (K, B, H)."""
        return self._noise.at(f"mask/{self.place}", self._kept, x.shape[-2], x.shape[-1], x.dtype)


@final
class StackedDisturbance:
    """Input noise of K models, each with its own deviation."""

    def __init__(self, place: str, deviations: Sequence[float], noise: StackedNoise) -> None:
        self.place = place
        self._deviations = deviations
        self._noise = noise

    def draw(self, x: Tensor) -> Tensor:
        """x: (…, B, D) -> (K, B, D)."""
        return self._noise.at(f"normal/{self.place}", self._deviations, x.shape[-2], x.shape[-1], x.dtype)
