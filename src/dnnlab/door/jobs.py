"""What Hydra calls: one run, or the jobs of a sweep, which a launcher may gather first. Help and completion pass here: imports are few."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from dnnlab.door.arguments import Arguments, parse
from dnnlab.door.choices import override_key
from dnnlab.door.voice import tell
from dnnlab.errors import DnnlabError

if TYPE_CHECKING:
    from dnnlab.config.request import Request
    from dnnlab.records import Summary


@dataclass(frozen=True)
class Job:
    """One job of a sweep, composed and not yet trained."""

    title: str  # its number and what its command line set
    folder: Path
    overrides: tuple[str, ...]
    request: Request


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
    collected: dict[int, Job] | None = None  # while a launcher gathers jobs: those that are to be trained


_session = Session()


def attend(session: Session) -> None:
    """Note from now on in this session what is done."""
    global _session
    _session = session


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
    """Train a job, or, where a launcher gathers them, only note it."""
    folder = Path(context.runtime.output_dir)
    overrides = tuple(str(override) for override in OmegaConf.to_container(context.overrides.task, resolve=False) or ())
    title = " ".join((f"job {context.job.num}:", *overrides))
    try:
        made = Job(title, folder, overrides, _request(config, context, folder))
    except Exception as error:
        _failed(error, title, folder, overrides)
        return
    if _session.collected is not None:
        _session.collected[int(context.job.num)] = made
        return
    _say(title)
    try:
        ended(made, train(made.request, _session.arguments))
    except Exception as error:
        ended(made, error)
    if _session.summary is not None and _session.summary.status == "interrupted":
        raise SystemExit(_session.summary.exit_code)  # the jobs that are left shall not begin


def ended(made: Job, end: Summary | Exception) -> None:
    """A job has come to its end: its summary is kept, its error told and written down, and the other jobs go on."""
    if isinstance(end, Exception):
        _failed(end, made.title, made.folder, made.overrides, made.request)
    else:
        _session.summary = end


def _failed(error: Exception, title: str, folder: Path, overrides: tuple[str, ...], request: Request | None = None) -> None:
    if isinstance(error, DnnlabError):
        failure = error
        tell(error, prefix=f"{title} - ")
    else:
        failure = DnnlabError(f"{type(error).__name__}: {error}", where=title)  # our own fault, and not the other jobs'
        traceback.print_exception(error)
    from dnnlab import runfolder

    runfolder.record_failure(folder, request.document if request else None, overrides, failure)


def _say(text: str) -> None:
    from dnnlab.loggers.console import say

    say(text)


@contextmanager
def collecting() -> Iterator[dict[int, Job]]:
    """Within, the jobs of a sweep are noted by their numbers, and not trained."""
    _session.collected = {}
    try:
        yield _session.collected
    finally:
        _session.collected = None


def train_collected(jobs: Mapping[int, Job]) -> None:
    """Train the jobs that were noted, as stacks where they pay; SystemExit where a signal ended them."""
    if not jobs:
        return
    from dnnlab import app  # torch comes in here, and not before

    announced: set[int] = set()
    stopped: list[Summary] = []

    def announce(number: int) -> None:
        if number not in announced:
            announced.add(number)
            _say(jobs[number].title)

    def told(number: int, end: Summary | Exception) -> None:
        if not isinstance(end, Exception):
            announce(number)
            stopped.extend([end] if end.status == "interrupted" else [])
        ended(jobs[number], end)

    def alone(number: int, request: Request) -> Summary:
        announce(number)
        return train(request, _session.arguments)

    app.train_jobs({number: job.request for number, job in jobs.items()}, told, _say, alone)
    if stopped:
        raise SystemExit(stopped[0].exit_code)


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
