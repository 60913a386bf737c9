"""What several tests share: settings from a few words, and states to compare bit for bit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dnnlab.assembly import Parts, assemble
from dnnlab.config.run import RunConfig

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


def differences(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """The names whose bits differ."""
    return [name for name in sorted(one.keys() | other.keys()) if name not in one or name not in other or not same(one[name], other[name])]


def same(one: Tensor, other: Tensor) -> bool:
    """Equal shape, type and bits (a NaN equals itself)."""
    return one.dtype == other.dtype and one.shape == other.shape and bool(torch.equal(one.nan_to_num(7.25), other.nan_to_num(7.25)))
