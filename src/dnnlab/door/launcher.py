"""Hydra's launcher of dnnlab: it gathers the jobs of a sweep and trains those of one shape as stacks. Imports are few: Hydra loads this
with every command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, final

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

if TYPE_CHECKING:
    from dnnlab.records import Summary


@dataclass
class StackLauncherConfig:
    """What `hydra/launcher=dnnlab` is."""

    _target_: str = "dnnlab.door.launcher.StackLauncher"


ConfigStore.instance().store(group="hydra/launcher", name="dnnlab", node=StackLauncherConfig, provider="dnnlab")


@final
class StackLauncher(Launcher):
    """Composes every job, then trains them together; a task that is not dnnlab's is called at once, job by job."""

    def __init__(self) -> None:
        super().__init__()
        self.config: DictConfig | None = None
        self.context: HydraContext | None = None
        self.task: TaskFunction | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra hands over."""
        self.config, self.context, self.task = config, hydra_context, task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Do the jobs: -> what each came to, in their order."""
        from dnnlab.door.jobs import collecting, do_collected

        if self.config is None:
            raise RuntimeError("setup comes first")
        setup_globals()
        self._configure_log()
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        with collecting() as jobs:
            returns = [self._done(list(overrides), number) for number, overrides in enumerate(job_overrides, start=initial_job_idx)]
        ends = do_collected(jobs, Path(str(self.config.hydra.sweep.dir)), initial_job_idx) if jobs else []
        for done, end in zip(returns, ends, strict=False):
            done.return_value = None if end is None else objective(end)
        return returns

    def _done(self, overrides: list[str], number: int) -> JobReturn:
        """Call the task, or note a job that need not be composed."""
        from dnnlab.door.jobs import derived

        if self._plain() and derived(overrides, self._folder() / str(number)):
            return JobReturn(overrides=overrides, status=JobStatus.COMPLETED)
        return self._run(overrides, number)

    def _folder(self) -> Path:
        assert self.config is not None
        return Path(str(self.config.hydra.sweep.dir)).absolute()

    def _plain(self) -> bool:
        """Whether jobs stand in numbered folders and nobody but us is told of each."""
        assert self.config is not None
        hydra = OmegaConf.to_container(self.config.hydra, resolve=False)
        assert isinstance(hydra, dict)
        return hydra["sweep"]["subdir"] == "${hydra:job.num}" and set(hydra["callbacks"]) <= {"dnnlab"}

    def _run(self, overrides: list[str], number: int) -> JobReturn:
        if self.config is None or self.context is None or self.task is None:
            raise RuntimeError("setup comes first")
        config = self.context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id = str(number)
            config.hydra.job.num = number
        done = run_job(
            hydra_context=self.context,
            task_function=self.task,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        self._configure_log()
        return done

    def _configure_log(self) -> None:
        if self.config is not None and self.context is not None:
            hydra = self.config.hydra
            configure_log(hydra.hydra_logging, hydra.verbose, execution_whitelist=self.context.execution_whitelist)


def objective(end: Summary) -> float:
    """What a search makes small or large: the monitored metric of the state that was kept."""
    return next((end.metrics[name] for name in (end.monitor, "valid/loss", "train/loss") if name in end.metrics), nan)
