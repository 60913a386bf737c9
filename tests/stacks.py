"""What several tests share: members trained as one stack, without folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from dnnlab.assembly import Parts, StackedMeasure, assemble
from dnnlab.build.rows import Shelf
from dnnlab.errors import DivergedError
from dnnlab.population.trainer import Border, StackedTrainer
from dnnlab.records import Epoch

from .support import settings

Changes = Mapping[str, Any]


class Trained:
    """Members that were trained together."""

    def __init__(self, changes: Sequence[Changes], base: Changes | None = None) -> None:
        shelf = Shelf()
        self.parts = [assemble(settings({**(base or {}), **own}), shelf=shelf) for own in changes]
        self.trainer = StackedTrainer(
            [parts.trainer for parts in self.parts],
            [parts.learner for parts in self.parts],
            StackedMeasure(self.parts),
            health_due=lambda epoch: True,
        )
        self.networks = type(self.trainer.population.networks).__name__
        self.records: dict[int, list[Epoch]] = {member: [] for member in range(len(changes))}
        self.lost: dict[int, DivergedError] = {}
        for event in self.trainer:
            if isinstance(event, Border):
                self.lost |= event.lost
                for member in event.members:
                    self.records[member].append(event.of(member))


def alone(changes: Changes, base: Changes | None = None) -> tuple[Parts, list[Epoch]]:
    """The same by itself."""
    parts = assemble(settings({**(base or {}), **changes}), health_due=lambda epoch: True)
    return parts, [event for event in parts.trainer if isinstance(event, Epoch)]


def furthest(one: Parts, other: Parts) -> float:
    """The largest difference, relative to the size, between all that training has changed in two runs."""
    mine, its = one.learner.state() | one.trainer.state(), other.learner.state() | other.trainer.state()
    assert mine.keys() == its.keys()
    gaps = [(mine[name].double() - its[name].double()).abs() / its[name].double().abs().clamp_min(1.0) for name in mine]
    return max(float(gap.max()) for gap in gaps if gap.numel())


def same_bits(one: Parts, other: Parts) -> bool:
    """Whether all that training has changed is the same in two runs."""
    mine, its = one.learner.state(), other.learner.state()
    return mine.keys() == its.keys() and all(torch.equal(mine[name], its[name]) for name in mine)
