"""Batches without a loader: rows are gathered on the device, a few batches at a time, into buffers that are used again."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

CHUNK = 1 << 20  # numbers gathered at once: large enough to cost little, small enough to stay in a cache


class Batches:
    """The batches of an epoch, in the order that it is given; the last may be shorter.

    x: (N, D), y: (N, …). A batch is only valid until the next one is asked for.

    >>> batches = Batches(torch.arange(5.0).unsqueeze(1), torch.arange(5), size=2)
    >>> [y.tolist() for _, y in batches(torch.tensor([4, 3, 2, 1, 0]), start=1)]
    [[2, 1], [0]]
    """

    def __init__(self, x: Tensor, y: Tensor, size: int, index: Tensor | None = None, *, least: int = 1) -> None:
        """index: (N,) the rows' numbers in their source, for messages; least: an epoch's last batch is left out if it has fewer rows."""
        self.x = x
        self.y = y
        self.index = index
        self.size = min(size, x.shape[0])
        rest = x.shape[0] % self.size
        self.used = x.shape[0] - rest if rest < least else x.shape[0]  # rows of an epoch
        self.count = -(-self.used // self.size)
        together = max(1, min(self.count, CHUNK // max(1, self.size * x[0].numel())))
        self.chunk = min(self.used, together * self.size)  # rows
        self._buffers = [torch.empty_like(whole[: self.chunk]) for whole in (x, y)]
        self._views = list(zip(*(torch.split(buffer, self.size) for buffer in self._buffers), strict=True))

    def rows(self, batch: int) -> int:
        """How many rows batch number `batch` has."""
        return min(self.size, self.used - batch * self.size)

    def numbers(self, batch: int, order: Tensor | None) -> list[int]:
        """The source's row numbers of batch number `batch`."""
        span = slice(batch * self.size, (batch + 1) * self.size)
        rows = torch.arange(self.x.shape[0])[span] if order is None else order[span].cpu()
        return [int(row) for row in (rows if self.index is None else self.index.cpu()[rows])]

    def __call__(self, order: Tensor | None, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches from number `start` on. order: (N,) of row numbers on the device; None: as the rows stand."""
        if order is None and self.count == 1:
            yield self.x[: self.used], self.y[: self.used]
            return
        if order is None:
            yield from zip(*(torch.split(whole[start * self.size : self.used], self.size) for whole in (self.x, self.y)), strict=True)
            return
        for first in range(start * self.size, self.used, self.chunk):
            rows = order[first : min(first + self.chunk, self.used)]
            if len(rows) == self.chunk:
                for whole, buffer in zip((self.x, self.y), self._buffers, strict=True):
                    torch.index_select(whole, 0, rows, out=buffer)
                yield from self._views
            else:
                yield from zip(*(torch.split(whole[rows], self.size) for whole in (self.x, self.y)), strict=True)
