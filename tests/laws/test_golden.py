"""Law 13: refactors keep the numbers. Loss curves are stored and compared; a change that is meant is stored anew, and its reason told
in the commit:

    python -m tests.laws.test_golden
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import parts

GOLDEN = Path(__file__).with_name("golden.json")
RUNS: dict[str, dict[str, Any]] = {
    "mlp, adam, dropout and noise, written out": {"regularization": {"dropout": 0.2, "input_noise": 0.1, "input_dropout": 0.1, "l2": 0.01}},
    "deep, momentum, batch normalisation and residual": {
        "model": {"kind": "deep", "depth": 3, "width": 8, "norm": "batch", "residual": True},
        "optimizer": {"kind": "momentum", "lr": 0.05},
        "scheduler": {"kind": "one_cycle", "warmup": "2steps"},
    },
    "classes, label smoothing and averaged weights": {
        "data": {"kind": "blobs", "rows": 200, "classes": 4, "spread": 4.0},
        "loss": {"kind": "cross_entropy", "label_smoothing": 0.1, "class_weights": "balanced"},
        "optimizer": {"kind": "adamw", "weight_decay": 0.1},
        "trainer.ema": 0.9,
    },
    "regression, l1 by proximal steps and sparsity": {
        "data": {"kind": "friedman", "rows": 200},
        "loss": {"kind": "huber", "delta": 0.5},
        "regularization": {"l1": 0.01, "l1_mode": "proximal", "sparsity": {"keep": 0.4}, "max_norm": 2.0, "clip_norm": 1.0},
        "initialization": {"kind": "orthogonal"},
    },
    "tied autoencoder, rmsprop": {
        "data": {"kind": "iris"},
        "model": {"kind": "autoencoder", "hidden": [3], "bottleneck": 2, "tied": True},
        "optimizer": {"kind": "rmsprop", "lr": 0.01},
    },
}


def curve(changes: dict[str, Any]) -> list[dict[str, float]]:
    """Every metric of every record."""
    return [dict(record.metrics) for record in parts(changes | {"precision": "float64"}).trainer]


@pytest.mark.parametrize("name", RUNS)
def test_loss_curves_are_those_that_were_stored(name: str) -> None:
    stored = json.loads(GOLDEN.read_text(encoding="utf-8"))[name]
    found = curve(RUNS[name])
    assert len(found) == len(stored)
    for record, wanted in zip(found, stored, strict=True):
        assert record == pytest.approx(wanted, rel=1e-9, abs=1e-12)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({name: curve(changes) for name, changes in RUNS.items()}, indent=1) + "\n", encoding="utf-8")
