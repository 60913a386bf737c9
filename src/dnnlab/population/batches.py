"""The batches of K stacked models: the same rows for all where they learn from the same in the same order, else each its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import torch
from torch import Tensor

from dnnlab.batches import CHUNK, Batches
from dnnlab.flat import ALIGNED, aligned

JOINT = 1 << 24  # numbers up to which the rows of all models are laid side by side, so that one gather serves all


@final
class StackedBatches:
    """The batches of models with equally many rows, in the orders that they are given."""

    def __init__(self, batches: Sequence[Batches]) -> None:
        first = batches[0]
        self.first = first
        self.count, self.size, self.used = first.count, first.size, first.used
        sets = list({id(own.x): own for own in batches}.values())
        self.shared = len(sets) == 1
        self._own = batches
        width = first.x[0].numel()
        together = max(1, min(self.count, CHUNK // max(1, self.size * width * len(batches))))
        self._chunk = min(self.used, together * self.size)
        self._buffers = [whole.new_empty(len(batches), self._chunk, *whole.shape[1:]) for whole in (first.x, first.y)]
        places = {id(own.x): place for place, own in enumerate(sets)}
        self._offsets = torch.tensor([[places[id(own.x)] * len(own.x)] for own in batches], device=first.x.device)
        self._batch: dict[int, Tensor] = {}
        self._joint: list[Tensor] | None = None
        if sum(own.x.numel() for own in sets) <= JOINT:
            self._joint = [torch.cat([own.x for own in sets]), torch.cat([own.y for own in sets])]

    def __call__(self, orders: Sequence[Tensor | None], start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches from number `start` on: (K, B, …) each, or (B, …) where all models take the same.

        orders: of each model, (N,) of row numbers on the device or None (as the rows stand); the same tensor where they are the same.
        """
        if self.shared and all(order is orders[0] for order in orders):
            yield from self.first(orders[0], start)
            return
        known = [torch.arange(len(self.first.x), device=self.first.x.device) if order is None else order for order in orders]
        rows = torch.stack(known)
        if self._joint is not None:
            rows += self._offsets
        for begin in range(start * self.size, self.used, self._chunk):
            part = rows[:, begin : min(begin + self._chunk, self.used)]
            x, y = self._gather(part)
            for own, target in zip(torch.split(x, self.size, 1), torch.split(y, self.size, 1), strict=True):
                yield self._aligned(own), target

    def _aligned(self, x: Tensor) -> Tensor:
        """x: (K, B, D), each model's part where a vector begins."""
        if x.stride(0) % ALIGNED == 0 and x.storage_offset() % ALIGNED == 0:
            return x
        rows = x.shape[1]
        if rows not in self._batch:
            self._batch[rows] = aligned(x, *x.shape)
        return self._batch[rows].copy_(x)

    def _gather(self, rows: Tensor) -> tuple[Tensor, ...]:
        """rows: (K, R) -> x (K, R, D), y (K, R, …)."""
        wholes: list[Tensor] = []
        count = rows.shape[1]
        for place, buffer in enumerate(self._buffers):
            out = buffer if count == self._chunk else buffer.new_empty(len(buffer), count, *buffer.shape[2:])
            if self._joint is not None:
                torch.index_select(self._joint[place], 0, rows.reshape(-1), out=out.view(-1, *out.shape[2:]))
            else:
                for own, taken, row in zip(self._own, rows, out, strict=True):
                    torch.index_select((own.x, own.y)[place], 0, taken, out=row)
            wholes.append(out)
        return tuple(wholes)
