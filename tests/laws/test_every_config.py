"""Law 9: every file under configs/ composes and trains two steps, each experiment and debug preset included; so does the example."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from dnnlab.assembly import assemble
from dnnlab.config.run import RunConfig
from dnnlab.door.survey import CONFIGS
from tests.compositions import EXPERIMENTS, composed, custom_configs, jobs_of
from tests.pages import ROOT, idx_files

FILES = [path.relative_to(CONFIGS).with_suffix("") for path in sorted(CONFIGS.glob("*/*.yaml"))]
OPTIONS = [(path.parent.as_posix(), path.stem) for path in FILES if path.parent.name not in ("local", "hydra")]
OWN = [(path.parent.name, path.stem) for path in custom_configs(ROOT)]
TWO_STEPS = ("trainer.epochs=2", "trainer.validate_every=1step", "device=cpu")  # a record at each step

# What has to stand beside an option; whatever is not named here stands beside iris flowers and a small network.
BESIDE = {
    ("data", "idx"): ["data.root=idx"],
    ("data", "mnist"): ["data.root=idx"],
    ("data", "fashion_mnist"): ["data.root=idx"],
    ("experiment", "fashion_mnist"): ["data.root=idx"],
    ("model", "custom"): ["data=iris", "model.target=mynets.GatedNet"],
    ("optimizer", "custom"): ["data=iris", "optimizer.target=mynets.SignDescent"],
    ("loss", "custom"): ["data=diabetes", "loss.target=mynets.Quantile"],
    ("loss", "quantile"): ["data=diabetes"],
    ("loss", "perceptron"): ["data=iris", "model=perceptron"],
    ("loss", "bce"): ["data=moons", "data.rows=60"],
    **{("loss", kind): ["data=diabetes"] for kind in ("mse", "mae", "huber", "log_cosh")},
}
WHOLE = ("data", "experiment", "debug")  # groups that bring data of their own


def words_for(group: str, option: str) -> list[str]:
    """The command line that tries an option."""
    beside = BESIDE.get((group, option), [] if group in WHOLE else ["data=iris"])
    small = ["model=mlp", "model.hidden=[8]"] if group not in ("model", "experiment") and "model=perceptron" not in beside else []
    return [f"{group}={option}", *beside, *small, *TWO_STEPS]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with IDX files, where a user's own modules can be imported."""
    idx_files(tmp_path / "idx")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "custom"))
    yield tmp_path
    sys.modules.pop("mynets", None)  # a test that comes later must find it by its own path, or not at all


def train_two_steps(config: RunConfig) -> None:
    """Build what the settings ask for and train it; both steps must tell a finite loss."""
    records = list(islice(assemble(config, trusted={"mynets"}, health_due=lambda epoch: True).trainer, 2))
    assert [record.step for record in records] == [1, 2]
    assert all(abs(record.metrics["train/loss"]) < 1e6 for record in records)


def test_the_lists_are_complete() -> None:
    assert {group for group, _ in OPTIONS} >= {
        "data",
        "model",
        "activation",
        "loss",
        "optimizer",
        "scheduler",
        "regularization",
        "experiment",
    }
    assert len(OPTIONS) > 100
    assert len(OWN) == 3
    assert {key for key in BESIDE if key not in (*OPTIONS, *OWN)} == set(), "no longer there"


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=[f"{group}={option}" for group, option in OPTIONS])
def test_every_option_composes_and_trains_two_steps(group: str, option: str, workplace: Path) -> None:
    train_two_steps(composed(*words_for(group, option)))


@pytest.mark.parametrize(("group", "option"), OWN, ids=[f"{group}={option}" for group, option in OWN])
def test_every_option_of_the_example_outside_trains_two_steps(group: str, option: str, workplace: Path) -> None:
    folder = ROOT / "examples" / "custom" / "configs"
    train_two_steps(composed(*words_for(group, option), "--config-dir", str(folder), "--trust", "mynets"))


COMPARISONS = [experiment for experiment in EXPERIMENTS if len(jobs_of(experiment)) > 1]


@pytest.mark.parametrize("experiment", COMPARISONS)
def test_every_job_of_a_comparison_is_another_one_that_trains(experiment: str, workplace: Path) -> None:
    jobs = [composed(f"experiment={experiment}", *job, *TWO_STEPS) for job in jobs_of(experiment)]
    assert len({config.model_dump_json() for config in jobs}) == len(jobs), "two jobs are the same"
    for config in jobs:
        train_two_steps(config)
