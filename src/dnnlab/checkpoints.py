"""The best state and the last one: kept in memory as training goes, written to the run folder on a budget of time and at the end."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Any

from torch import Tensor

from dnnlab.learner import Solo
from dnnlab.runfolder import RunFolder
from dnnlab.trainer import Trainer

SECONDS = 30.0  # between two writings while training goes on


class Checkpoints:
    """What a run keeps of its states."""

    def __init__(self, folder: RunFolder, learner: Solo, trainer: Trainer) -> None:
        self.folder = folder
        self.learner = learner
        self.trainer = trainer
        self.best: dict[str, Tensor] | None = None
        self._about_best: dict[str, Any] = {}
        self._written = monotonic()

    def keep_best(self, about: Mapping[str, Any]) -> None:
        """The weights are the best so far; `about` says by which figure."""
        self.best = self.learner.weights()
        self._about_best = {**about, "step": self.trainer.position.step}

    def write_if_due(self) -> None:
        """Write, where the last writing is long enough ago."""
        if monotonic() - self._written >= SECONDS:
            self.write()

    def write(self) -> None:
        """Write both states; `last` is all that is needed to continue."""
        if self.best is not None:
            self.folder.write_checkpoint("best", self.best, self._about_best)
        facts = {"learner": self.learner.facts(), "trainer": self.trainer.facts()}
        self.folder.write_checkpoint("last", self.learner.state() | self.trainer.state(), facts)
        self._written = monotonic()

    def restore_best(self) -> bool:
        """Bring the best weights back: -> whether there were any."""
        if self.best is not None:
            self.learner.load_weights(self.best)
        return self.best is not None
