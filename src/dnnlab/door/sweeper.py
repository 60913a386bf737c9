"""Hydra's sweeper of dnnlab: a grid, zipped values, or the rows of a file. Imports are few: Hydra loads this with every command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


@dataclass
class GridSweeperConfig:
    """What `hydra/sweeper=dnnlab` is."""

    _target_: str = "dnnlab.door.sweeper.GridSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None


ConfigStore.instance().store(group="hydra/sweeper", name="dnnlab", node=GridSweeperConfig, provider="dnnlab")


@final
class GridSweeper(Sweeper):
    """Every combination of values; see `space.jobs_of`. params: values that a preset sweeps over, which the command line replaces."""

    def __init__(self, max_batch_size: int | None = None, params: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.config: DictConfig | None = None
        self.hydra_context: HydraContext | None = None
        self.launcher: Launcher | None = None
        self._most = max_batch_size
        self._params = dict(params or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra hands over."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        """Hand all jobs to the launcher: -> what they came to, batch by batch."""
        from dnnlab.door.launcher import StackLauncher
        from dnnlab.door.space import jobs_of

        if self.config is None or self.launcher is None or self.hydra_context is None:
            raise RuntimeError("setup comes first")
        jobs = jobs_of([*(f"{key}={value}" for key, value in self._params.items()), *arguments], self.hydra_context.config_loader)
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        returns: list[Sequence[JobReturn]] = []
        size = self._most or len(jobs)
        for first in range(0, len(jobs), size):
            batch = jobs[first : first + size]
            if not isinstance(self.launcher, StackLauncher):  # which composes all jobs itself before the first begins
                self.validate_batch_is_legal(batch)
            results = self.launcher.launch(batch, initial_job_idx=first)
            for result in results:
                _ = result.return_value  # raises what a job raised
            returns.append(results)
        return returns
