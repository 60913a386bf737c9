"""What several tests share: settings from a few words, and states to compare bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torturing import common
from torturing.common import identity
from torturing.forging import reseal

from dnnlab.assembly import Parts, assemble
from dnnlab.checkpoints import Checkpoints
from dnnlab.config.run import RunConfig
from dnnlab.runfolder import Generation, RunFolder
from dnnlab.tally import Tally

__all__ = ["identity", "reseal"]  # what scripts/torture.py does, tests do, too

BASE: dict[str, Any] = {
    "name": "test",
    "data": {"kind": "moons", "rows": 240, "noise": 0.2},
    "model": {"kind": "mlp", "hidden": [8, 8]},
    "activation": {"kind": "tanh"},
    "initialization": {"kind": "auto"},
    "loss": {"kind": "auto"},
    "optimizer": {"kind": "adam", "lr": 0.01},
    "scheduler": {"kind": "constant"},
    "trainer": {"epochs": 3, "batch_size": 32},
    "threads": 1,
}


def settings(changes: dict[str, Any] | None = None) -> RunConfig:
    """BASE with changes by dotted names; a mapping replaces a whole group: {"optimizer": {"kind": "sgd"}, "trainer.epochs": 5}."""
    document = {key: dict(value) if isinstance(value, dict) else value for key, value in BASE.items()}
    for name, value in (changes or {}).items():
        *path, last = name.split(".")
        place = document
        for key in path:
            place = place.setdefault(key, {})
        place[last] = value
    return RunConfig.model_validate(document)


def parts(changes: dict[str, Any] | None = None) -> Parts:
    """The parts of a run with these changes."""
    return assemble(settings(changes))


def state(made: Parts) -> dict[str, Tensor]:
    """Everything that training changes."""
    return made.learner.state() | made.trainer.state()


def newest(folder: str | Path) -> Generation:
    """The last checkpoint in a run folder."""
    made = RunFolder.open(Path(folder)).generation()
    assert made is not None
    return made


def last_state(folder: str | Path) -> dict[str, Tensor]:
    """All that training changes, as the last checkpoint has it."""
    return newest(folder).read_state()


def differences(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """The names whose bits differ."""
    return [name for name in sorted(one.keys() | other.keys()) if name not in one or name not in other or not same(one[name], other[name])]


def same(one: Tensor, other: Tensor) -> bool:
    """Equal shape, type and bits (a NaN equals itself)."""
    return one.dtype == other.dtype and one.shape == other.shape and bool(torch.equal(one.nan_to_num(7.25), other.nan_to_num(7.25)))


def differing(one: str | Path, other: str | Path) -> list[str]:
    """The names of what two runs should have in common and have not."""
    return common.differing(identity(Path(one)), identity(Path(other)))


class Killed(BaseException):
    """As if the process were gone."""


@contextmanager
def dying(step: int | None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within, a run dies as soon as the checkpoint of a step is written; None: it does not."""
    write = Checkpoints.write

    def last(self: Checkpoints, tally: Tally) -> None:
        write(self, tally)
        if self.trainer.position.step == step:
            self.folder.close()  # what the system does for a process that dies
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "write", last)
        with pytest.raises(Killed) if step is not None else nullcontext():
            yield
