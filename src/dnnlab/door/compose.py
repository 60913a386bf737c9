"""Where Hydra reads the command line and calls a run, or the jobs of a sweep. Help and completion pass here: imports are few."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from dnnlab.config.yamlfile import MAX_BYTES, too_large
from dnnlab.door.arguments import Arguments, parse
from dnnlab.door.choices import CONFIG_NAME, CONFIGS, chosen_files, override_key
from dnnlab.door.voice import tell
from dnnlab.errors import DnnlabError

if TYPE_CHECKING:
    from dnnlab.config.request import Request
    from dnnlab.records import Summary


@dataclass
class Session:
    """One call of the door: what the command line said, and what is to be known at the end."""

    arguments: Arguments = field(default_factory=lambda: parse([]))
    folder: Path | None = None  # the run folder, where hydra.run.dir names it
    root: Path = Path("outputs")
    sweep: Path | None = None  # the folder of a sweep that has ended
    jobs: int = 0  # jobs begun
    summary: Summary | None = None  # how the run ended
    error: Exception | None = None  # what ended the run early


_session = Session()


def launch(session: Session) -> None:
    """Let Hydra read the command line in sys.argv and call `job` once, or once for each job of a sweep; raises DnnlabError."""
    global _session
    _session = session
    for path in chosen_files(session.arguments):  # before Hydra loads them
        if path.stat().st_size > MAX_BYTES:
            raise too_large(path, path.stat().st_size)
    with _environment("HYDRA_FULL_ERROR", "1"):  # else Hydra prints its errors itself, and leaves
        try:
            hydra.main(config_path=str(CONFIGS), config_name=CONFIG_NAME, execution_whitelist=f"{__name__}.Watch")(job)()
        except Exception as error:  # never a run's: `job` keeps those
            from dnnlab.door.translate import translated

            known = translated(error, session.arguments)
            if known is None:
                raise
            raise known from error
    if session.error is not None:
        raise session.error


class Watch(Callback):
    """What Hydra tells at the borders of a run and of a sweep."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note where the run is to go, and keep Hydra from making the folder: a run that is refused leaves nothing behind."""
        try:
            chosen = Path(config.hydra.run.dir)
        except OmegaConfBaseException:
            return  # Hydra meets it again, and raises it
        given = OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False) or ()
        if any(override_key(str(override)) in ("hydra.run.dir", "hydra.run") for override in given):
            _session.folder = chosen
        else:
            _session.root = chosen
        with read_write(config), open_dict(config):
            config.hydra.run.dir = "."

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Note the sweep's folder, for the table at the end."""
        _session.sweep = Path(config.hydra.sweep.dir)


def job(config: DictConfig) -> None:
    """One run. Its errors do not pass through Hydra, which would print them: of a single run `launch` raises them; in a sweep they are
    told and written down, and the other jobs go on."""
    context = HydraConfig.get()
    _session.jobs += 1
    if context.mode == RunMode.MULTIRUN:
        _job_of_sweep(config, context)
        return
    try:
        _session.summary = train(_request(config, context, _session.folder), _session.arguments)
    except Exception as error:
        _session.error = error


def _job_of_sweep(config: DictConfig, context: Any) -> None:
    folder = Path(context.runtime.output_dir)
    overrides = [str(override) for override in OmegaConf.to_container(context.overrides.task, resolve=False) or ()]
    title = " ".join((f"job {context.job.num}:", *overrides))
    from dnnlab.loggers.console import say

    say(title)
    request: Request | None = None
    try:
        request = _request(config, context, folder)
        _session.summary = train(request, _session.arguments)
        if _session.summary.status == "interrupted":
            raise SystemExit(_session.summary.exit_code)  # the jobs that are left shall not begin
        return
    except DnnlabError as error:
        tell(error, prefix=f"{title} - ")
        failure = error
    except Exception as error:  # our own fault, and not the other jobs'
        traceback.print_exc()
        failure = DnnlabError(f"{type(error).__name__}: {error}", where=title)
    from dnnlab import runfolder

    runfolder.record_failure(folder, request.document if request else None, overrides, failure)


def _request(config: DictConfig, context: Any, folder: Path | None) -> Request:
    from dnnlab.door.requests import request_of

    return request_of(config, context, _session.arguments, folder=folder, root=_session.root)


def train(request: Request, arguments: Arguments) -> Summary:
    """Hand one run to the application, which begins it or, where that is asked for, goes on with it."""
    if not arguments.resume_if_exists:
        from dnnlab import app  # torch comes in here, and not before

        return app.train(request)
    from dnnlab.door.resuming import begun, train_or_resume

    return train_or_resume(*begun(request, arguments))


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
