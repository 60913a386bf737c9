"""The checkpoints of a run: when one is due, and what belongs to it. The best state is kept in memory, and written with each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil, inf
from time import monotonic
from typing import Any, final
from zlib import crc32

from torch import Tensor

from dnnlab.assembly import Parts
from dnnlab.build.rows import Rows
from dnnlab.config.base import Often
from dnnlab.exactness import environment
from dnnlab.records import Epoch
from dnnlab.runfolder import Generation, RunFolder
from dnnlab.tally import Tally

SHARE = 60  # a checkpoint that is due by time comes after sixty times the cost of the last: 2 % at most, the first one included


@final
class Timetable:
    """When checkpoints are due; the trainer is asked to pause then."""

    def __init__(self, every: Often, steps_per_epoch: int, pause_at: Callable[[float, int], None]) -> None:
        self._every = every
        self._per_epoch = steps_per_epoch
        self._pause_at = pause_at
        self._due = (inf, 0)  # the moment, or the step

    def is_due(self, step: int) -> bool:
        """Whether one is due after so many steps."""
        moment, border = self._due
        return monotonic() >= moment or bool(border and step >= border)

    def plan(self, step: int, cost: float = 0.0) -> None:
        """Fix the next one. cost: seconds that the last one took."""
        if self._every.unit == "seconds":
            self._due = (monotonic() + max(self._every.amount, SHARE * cost), 0)
        else:
            stride = max(1, ceil(self._every.amount * (self._per_epoch if self._every.unit == "epochs" else 1)))
            self._due = (inf, (step // stride + 1) * stride)
        self._pause_at(*self._due)


@final
class Checkpoints:
    """What a run keeps of its states."""

    def __init__(self, folder: RunFolder, parts: Parts, settings: Mapping[str, Any], *, seconds: float = 0.0) -> None:
        """settings: the complete ones, as JSON; seconds: that earlier processes trained."""
        self.folder = folder
        self.learner = parts.learner
        self.trainer = parts.trainer
        self.best: dict[str, Tensor] | None = None
        self._about_best: dict[str, Any] = {}
        self._parts = parts
        self._settings = settings
        self._environment = environment(parts.ingredients.threads, str(parts.ingredients.device), stacked=parts.ingredients.stacked)
        self._digest: int | None = None
        self._began = monotonic() - seconds
        self._written: int | None = None  # the step of the newest generation

    @property
    def seconds(self) -> float:
        """How long the run has been going, with what earlier processes took."""
        return monotonic() - self._began

    def keep_best(self, record: Epoch, weights: dict[str, Tensor] | None = None) -> None:
        """The weights are the best so far, by this record. weights: where somebody else keeps them, live."""
        self.best = self.learner.weights() if weights is None else weights
        self._about_best = {"epoch": record.epoch, "metrics": dict(record.metrics), "step": record.step}

    def take_over(self, generation: Generation, best: dict[str, Tensor] | None) -> None:
        """Go on from a generation, which need not be written again."""
        self.best, self._about_best = best, dict(generation.document["facts"]["best"])
        self._written = generation.step

    def write(self, tally: Tally) -> float:
        """Write all that is needed to continue, and the best state; nothing, where this step is written already. -> the seconds it took."""
        began, position = monotonic(), self.trainer.position
        if position.step != self._written:
            source = self._parts.rows.source
            facts = {
                "learner": self.learner.facts(),
                "trainer": self.trainer.facts(),
                "tally": tally.facts(),
                "best": self._about_best,
                "seconds": self.seconds,
                "rows": self._rows_digest(),
                "threads": {"run": self._parts.ingredients.threads, "machine": self._parts.ingredients.machine_threads},
            }
            document = {
                "epoch": position.epoch,
                "settings": self._settings,
                "schema": {"columns": [*source.encoder.features, *source.encoder.category_names], "classes": list(source.classes)},
                "environment": self._environment,
                "facts": facts,
            }
            self.folder.write_checkpoint(position.step, self.learner.state() | self.trainer.state(), self.best, document)
            self._written = position.step
        return monotonic() - began

    def restore_best(self) -> bool:
        """Bring the best weights back: -> whether there were any."""
        if self.best is not None:
            self.learner.load_weights(self.best)
        return self.best is not None

    def _rows_digest(self) -> int:
        if self._digest is None:
            self._digest = rows_digest(self._parts.rows)
        return self._digest


def rows_digest(rows: Rows) -> int:
    """A checksum of the rows that a run learns from and is judged by, to notice that they are others when it continues."""
    found = 0
    for part in (rows.train, rows.valid):
        for tensor in () if part is None else (part.x, part.y):
            found = crc32(tensor.detach().cpu().contiguous().numpy().tobytes(), found)
    return found
