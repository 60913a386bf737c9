"""Where Hydra reads the command line and calls a run, or the jobs of a sweep. Help and completion pass here: imports are few."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import hydra
from hydra.core.plugins import Plugins

from dnnlab.config.yamlfile import MAX_BYTES, too_large
from dnnlab.door import jobs
from dnnlab.door.choices import CONFIG_NAME, CONFIGS, chosen_files
from dnnlab.door.jobs import Session
from dnnlab.door.launcher import StackLauncher
from dnnlab.door.sweeper import GridSweeper


def launch(session: Session) -> None:
    """Let Hydra read the command line in sys.argv and call `job` once, or once for each job of a sweep; raises DnnlabError."""
    jobs.attend(session)
    for path in chosen_files(session.arguments):  # before Hydra loads them
        if path.stat().st_size > MAX_BYTES:
            raise too_large(path, path.stat().st_size)
    for plugin in (StackLauncher, GridSweeper):
        Plugins.instance().register(plugin)  # also where dnnlab is on the path, and not installed
    with _environment("HYDRA_FULL_ERROR", "1"):  # else Hydra prints its errors itself, and leaves
        try:
            hydra.main(config_path=str(CONFIGS), config_name=CONFIG_NAME, execution_whitelist=f"{jobs.__name__}.Watch")(jobs.job)()
        except Exception as error:  # never a run's: `job` keeps those
            from dnnlab.door.translate import translated

            known = translated(error, session.arguments)
            if known is None:
                raise
            raise known from error
    if session.error is not None:
        raise session.error


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
