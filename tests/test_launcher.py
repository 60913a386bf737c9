"""Hydra's own tests of launchers, and that a job made from another's composition is what Hydra would have composed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.test_utils.launcher_common_tests import IntegrationTestSuite, LauncherTestSuite

from dnnlab.door import jobs
from dnnlab.door.arguments import parse
from dnnlab.door.launcher import StackLauncher
from dnnlab.door.sweeper import GridSweeper
from dnnlab.errors import ConfigError

Plugins.instance()  # before Hydra's fixtures remember what is registered


@pytest.mark.parametrize(("launcher_name", "overrides"), [("dnnlab", [])])
class TestLauncher(LauncherTestSuite):  # type: ignore[misc]
    """Hydra's suite, for tasks that are none of ours."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [({}, ["-m", "hydra/launcher=dnnlab", "hydra.hydra_logging.formatters.simple.format='%(message)s'"])],
)
class TestIntegration(IntegrationTestSuite):  # type: ignore[misc]
    """Hydra's suite, in processes of their own."""


def test_hydra_finds_both_plugins() -> None:
    assert StackLauncher in Plugins.instance().discover(Launcher)
    assert GridSweeper in Plugins.instance().discover(Sweeper)


DERIVED = (
    ["optimizer.lr=0.02", "seed=3"], ["regularization.dropout=0.3", "trainer.epochs=7"], ["model.hidden=[8,4]"],
    ["scheduler.warmup=5%"], ["trainer.early_stopping.patience=3", "optimizer.betas=[0.8,0.9]"], ["name=mine", "threads=2"],
    ["name='${model.kind}-${seed}'", "seed=9"], ["trainer.monitor=train/accuracy"], ["metrics.epoch=[accuracy,f1]"],
    ['optimizer.lr="${oc.decode:${oc.env:RATE,0.5}}"'],
)  # fmt: skip


@pytest.mark.parametrize("values", DERIVED, ids=lambda values: " ".join(values))
def test_a_job_made_from_another_is_what_hydra_would_have_composed(
    values: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole, made = (_collected(tmp_path, [first, [*values, "experiment=xor"]], monkeypatch) for first in (["data=iris"], _same(values)))
    assert made.calls == 1
    assert whole.calls == 2
    one, other = whole.asked[1].request, made.asked[1].request
    assert one is not None
    assert other is not None
    assert (one.config, one.document, one.written) == (other.config, other.document, other.written)
    assert (one.folder, one.brief, one.argv, whole.asked[1].overrides) == (other.folder, other.brief, other.argv, made.asked[1].overrides)


def _same(values: list[str]) -> list[str]:
    """A job that sets the same settings to what they are by themselves, or to something else that is right."""
    others = {
        "optimizer.lr": "0.3", "seed": "1", "regularization.dropout": "0.1", "trainer.epochs": "2", "model.hidden": "[3]", "name": "other",
        "scheduler.warmup": "0%", "trainer.early_stopping.patience": "9", "optimizer.betas": "[0.5,0.5]", "threads": "1",
        "trainer.monitor": "train/loss", "metrics.epoch": "[accuracy]",
    }  # fmt: skip
    return [*(f"{value.partition('=')[0]}={others[value.partition('=')[0]]}" for value in values), "experiment=xor"]


class _Collected:
    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.calls = 0


def _collected(root: Path, words: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> _Collected:
    """What a launcher gathers of jobs with these words, and how often Hydra composed one."""
    found = _Collected()
    run = StackLauncher._run

    def counted(self: StackLauncher, overrides: list[str], number: int) -> Any:
        found.calls += 1
        return run(self, overrides, number)

    def nothing(asked: Any, folder: Path, first: int) -> list[None]:
        found.asked = list(asked)
        return [None] * len(asked)

    with monkeypatch.context() as patch:
        patch.setattr(StackLauncher, "_run", counted)
        patch.setattr(jobs, "do_collected", nothing)
        patch.setattr("dnnlab.door.space.jobs_of", lambda *arguments: words)
        patch.setattr("sys.argv", ["train.py", "-m", f"hydra.sweep.dir={root}/sweep"])
        from dnnlab.door.compose import launch

        launch(jobs.Session(parse(["-m", f"hydra.sweep.dir={root}/sweep"])))
    return found


@pytest.mark.parametrize("values", [["optimizer.lr=x"], ["trainer.epochs=-1"]], ids=lambda values: values[0])
def test_what_is_wrong_with_a_job_is_told_as_hydra_tells_it(values: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = _collected(tmp_path, [["experiment=xor"], ["experiment=xor", *values]], monkeypatch)
    assert made.asked[1].request is None
    assert str(made.asked[1].error).startswith(values[0].partition("=")[0])


def test_a_job_that_leaves_a_setting_out_has_its_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = _collected(
        tmp_path, [["data=iris", "seed=1", "optimizer.lr=0.5"], ["data=iris", "seed=2"], ["data=iris", "seed=3"]], monkeypatch
    )
    assert [asked.request.config.optimizer.lr for asked in made.asked] == [0.5, 0.001, 0.001]
    assert made.calls == 2


def test_an_unknown_key_ends_a_sweep_before_a_job_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"optimizer\.rate"):
        _collected(tmp_path, [["experiment=xor"], ["experiment=xor", "optimizer.rate=1"]], monkeypatch)
