"""Optuna's trials train as stacks, and a named study goes on with the very trials that it would have gone on with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow
WORDS = (
    "-m", "hydra/sweeper=optuna", "optimizer.lr=tag(log,interval(1e-4,1e-1))", "regularization.dropout=interval(0,0.5)", "data=iris",
    "trainer.epochs=3", "logger.tensorboard=false", "hydra.sweeper.n_jobs=3",
)  # fmt: skip


def study(folder: Path, name: str, trials: int) -> str:
    """A study of so many trials, in a process of its own: -> what it printed."""
    words = [sys.executable, str(ROOT / "train.py"), *WORDS, f"sweep.name={name}", f"hydra.sweeper.n_trials={trials}"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_study_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    assert "3 jobs as one stack: 0-2" in study(tmp_path, "whole", 6)
    study(tmp_path, "broken", 3)
    said = study(tmp_path, "broken", 6)
    assert "3 of 3 jobs are over already" in said
    whole, broken = (tmp_path / "outputs" / "sweeps" / name for name in ("whole", "broken"))
    assert (whole / "results.csv").read_bytes() == (broken / "results.csv").read_bytes()
    import optuna

    found = [optuna.load_study(study_name=path.name, storage=f"sqlite:///{path / 'study.db'}") for path in (whole, broken)]
    one, other = ([trial.params for trial in own.trials] for own in found)
    assert one == other
    assert len(one) == 6
