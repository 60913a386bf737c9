"""Law 1: the same settings give the same bits; another seed gives others."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import differences, parts, state

KINDS: dict[str, dict[str, Any]] = {
    "written out, with dropout and noise": {"regularization": {"dropout": 0.3, "input_noise": 0.1, "input_dropout": 0.1}},
    "autograd, with normalisation": {
        "model": {"kind": "deep", "depth": 2, "width": 8, "norm": "batch"},
        "regularization": {"dropout": 0.2},
    },
    "autoencoder": {"model": {"kind": "autoencoder", "hidden": [6], "bottleneck": 2, "tied": True}},
    "lsuv": {"initialization": {"kind": "lsuv"}},
}


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS.keys())
def test_the_same_settings_give_the_same_bits(changes: dict[str, Any]) -> None:
    runs = [parts(changes) for _ in range(2)]
    records = [[(record.step, dict(record.metrics)) for record in run.trainer] for run in runs]
    assert records[0] == records[1]
    assert differences(state(runs[0]), state(runs[1])) == []


def test_another_seed_gives_other_bits() -> None:
    one, other = parts({"seed": 1}), parts({"seed": 2})
    assert "model.hidden1.linear.weight" in differences(state(one), state(other))
