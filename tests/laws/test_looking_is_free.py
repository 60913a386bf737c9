"""Law 4: a run that is measured and examined at every step has the bits of one that is not."""

from __future__ import annotations

from typing import Any

import pytest

from dnnlab.assembly import assemble
from tests.support import differences, settings, state

KINDS: dict[str, dict[str, Any]] = {
    "written out": {"regularization": {"dropout": 0.3, "input_noise": 0.1}},
    "batch normalisation": {"model": {"kind": "deep", "depth": 2, "width": 8, "norm": "batch"}, "regularization": {"dropout": 0.3}},
    "average of weights": {"trainer.ema": 0.9},
}


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS.keys())
def test_looking_at_every_step_changes_no_bit(changes: dict[str, Any]) -> None:
    blind = assemble(settings(changes | {"trainer.validate_every": "1000epochs"}))
    for _ in blind.trainer:
        pass
    looking = {"trainer.validate_every": "1steps", "trainer.train_metrics": True}
    watched = assemble(settings(changes | looking), health_due=lambda epoch: True)
    for record in watched.trainer:
        watched.learner.state(), watched.learner.weights(), watched.learner.snapshot()
        watched.judge(watched.rows.train, watched.figures.final)
        assert "valid/accuracy" in record.metrics
        assert bool(record.health) == record.ends_epoch
    one, other = state(blind), state(watched)
    del one["trainer.losses"], other["trainer.losses"]
    assert differences(one, other) == []
