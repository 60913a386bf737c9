"""One seed in, every stream out: whatever is random is a function of (seed, purpose, index), never of what was drawn before."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

CHUNK = 1 << 18  # numbers drawn at once for a place; part of the definition of the noise


def key(seed: int, purpose: str, *index: int | str) -> int:
    """A 63-bit number for one purpose and place; different places share nothing.

    >>> key(0, "shuffle", 3) == key(0, "shuffle", 3), key(0, "shuffle", 3) == key(0, "shuffle", 4)
    (True, False)
    """
    text = repr((seed, purpose, *index)).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little") >> 1


def generator(seed: int, purpose: str, *index: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator that stands at the beginning of one stream."""
    return torch.Generator(device).manual_seed(key(seed, purpose, *index))


def permutation(seed: int, epoch: int, rows: int) -> Tensor:
    """The order of the rows in one epoch: (rows,) of int64, on the CPU."""
    return torch.randperm(rows, generator=generator(seed, "shuffle", epoch))


def weighted_order(seed: int, epoch: int, weights: Tensor) -> Tensor:
    """As many rows as there are, drawn with replacement in proportion to their weights: (N,) -> (N,) of int64, on the CPU.

    By the inverse of the cumulative distribution, in float64; a row of weight 0 is never drawn.

    >>> weighted_order(0, 0, torch.tensor([0.0, 1.0, 0.0, 0.0])).tolist()
    [1, 1, 1, 1]
    """
    edges = weights.cpu().double().cumsum(0)
    drawn = torch.rand(len(edges), dtype=torch.float64, generator=generator(seed, "sampling", epoch))
    return torch.searchsorted(edges, drawn * edges[-1], right=True)  # drawn is below 1, and so is the product below the last edge


def stretch(rows: int, width: int) -> int:
    """For how many steps noise is drawn at once.

    >>> stretch(32, 16), stretch(1024, 512)
    (64, 1)
    """
    return max(1, min(64, CHUNK // (rows * width)))


class Noise:
    """The noise inside training steps: at step s and place p always the same, whatever was drawn before.

    Numbers are drawn for several steps at once and kept until another stretch of steps is asked for.

    >>> noise = Noise(seed=0)
    >>> noise.step = 7
    >>> bool((noise.mask("layer1", 4, 3, keep=0.5) == Noise(seed=0, step=7).mask("layer1", 4, 3, keep=0.5)).all())
    True
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu", *, step: int = 0, rows: int = 0) -> None:
        self.seed = seed
        self.device = torch.device(device)
        self.step = step
        self.rows = rows  # rows of a full batch: a shorter one takes the first rows of its noise
        self.first = 0  # where in the batch the rows stand that ask: a batch in slices draws what it would draw whole
        self._generator = torch.Generator(self.device)
        self._drawn: dict[str, tuple[tuple[object, ...], list[Tensor]]] = {}

    def leave_uncompiled(self) -> None:
        """Keep torch.compile from compiling the draws, which are others at each step."""
        disable: Callable[..., Any] = torch.compiler.disable
        self._at = disable(self._at)  # type: ignore[method-assign]

    def mask(self, place: str, rows: int, width: int, *, keep: float, dtype: torch.dtype = torch.float32) -> Tensor:
        """Inverted dropout's mask: 1/keep with probability `keep`, else 0. -> (rows, width); do not write to it."""
        return self._at("mask/" + place, rows, width, keep, dtype)

    def normal(self, place: str, rows: int, width: int, *, std: float, dtype: torch.dtype = torch.float32) -> Tensor:
        """Normal noise of standard deviation `std`. -> (rows, width); do not write to it."""
        return self._at("normal/" + place, rows, width, std, dtype)

    def _at(self, place: str, rows: int, width: int, level: float, dtype: torch.dtype) -> Tensor:
        full = max(self.rows, self.first + rows)
        chunk, offset = divmod(self.step, stretch(full, width))
        asked = (chunk, full, width, level, dtype)
        drawn = self._drawn.get(place)
        if drawn is None or drawn[0] != asked:
            drawn = self._drawn[place] = (asked, list(self.chunk(place, chunk, full, width, level, dtype).unbind()))
        noise = drawn[1][offset]
        return noise if rows == full else noise[self.first : self.first + rows]

    def chunk(self, place: str, number: int, rows: int, width: int, level: float, dtype: torch.dtype) -> Tensor:
        """The noise of one stretch of steps at `mask/<place>` (level: what is kept) or `normal/<place>` (level: the deviation).

        -> (steps, rows, width), a new tensor.
        """
        self._generator.manual_seed(key(self.seed, place, number))
        draw = self._masks if place.startswith("mask/") else self._normals
        return draw((stretch(rows, width), rows, width), level, dtype)

    def _masks(self, shape: tuple[int, ...], keep: float, dtype: torch.dtype) -> Tensor:
        # 16 random bits a number: four times cheaper than a float, and a rate that is off by at most 2^-17
        count = torch.Size(shape).numel()
        words = torch.empty(-(-count // 4), dtype=torch.int64, device=self.device)
        words.random_(-(2**63), None, generator=self._generator)
        bits = words.view(torch.int16)[:count].view(shape)
        return (bits < min(32767, round(keep * 65536) - 32768)).to(dtype).mul_(1.0 / keep)

    def _normals(self, shape: tuple[int, ...], std: float, dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=self.device).normal_(0.0, std, generator=self._generator)
