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
from dnnlab.tables import openml
from tests import tables
from tests.compositions import EXPERIMENTS, composed, custom_configs, jobs_of
from tests.pages import ROOT, preset_files

FILES = [path.relative_to(CONFIGS).with_suffix("") for path in sorted(CONFIGS.glob("*/*.yaml"))]
OPTIONS = [(path.parent.as_posix(), path.stem) for path in FILES if path.parent.name not in ("local", "hydra")]
OWN = [(path.parent.name, path.stem) for path in custom_configs(ROOT)]
TWO_STEPS = ("trainer.epochs=2", "trainer.validate_every=1step", "device=cpu")  # a record at each step

OF_TABLES = ("adult", "california_housing", "bank_marketing", "covertype", "diamonds")

# What has to stand beside an option; whatever is not named here stands beside iris flowers and a small network.
BESIDE = {
    **{("data", kind): ["data.root=files"] for kind in ("idx", "mnist", "fashion_mnist")},
    ("data", "csv"): ["data.path=adult.csv", "data.target=income"],
    ("data", "table"): ["data.path=houses.parquet", "data.test_path=houses_test.parquet", "data.target=price"],
    ("data", "parquet"): ["data.path=houses.parquet", "data.target=price"],
    ("data", "arrow"): ["data.path=houses.arrow", "data.target=[size,price]"],
    ("data", "jsonl"): ["data.path=houses.jsonl", "data.target=district", "data.columns.sold=date"],
    ("data", "openml"): ["data.name=adult"],
    ("data", "memory"): ["data.target=income"],
    ("data", "npz"): ["data.path=arrays.npz"],
    ("data", "images"): ["data.root=pictures"],
    **{("experiment", name): ["data.root=files"] for name in ("fashion_mnist", *OF_TABLES)},
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
    """A folder with small stand-ins for files of data, where a user's own modules can be imported; nothing is fetched from openml.org."""
    tables.lay_out(tmp_path)
    preset_files(tmp_path / "files")
    monkeypatch.setattr(openml, "fetch", tables.fetched)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "custom"))
    yield tmp_path
    sys.modules.pop("mynets", None)  # a test that comes later must find it by its own path, or not at all


def train_two_steps(config: RunConfig) -> None:
    """Build what the settings ask for and train it; both steps must tell a finite loss."""
    frame = tables.adult() if config.data.kind == "memory" else None
    records = list(islice(assemble(config, trusted={"mynets"}, health_due=lambda epoch: True, frame=frame).trainer, 2))
    assert [record.step for record in records] == [1, 2]
    assert all(abs(record.metrics["train/loss"]) < 1e6 for record in records)


def test_the_lists_are_complete() -> None:
    assert {group for group, _ in OPTIONS} >= {
        "data",
        "model",
        "embedding",
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
