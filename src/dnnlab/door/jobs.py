"""What Hydra calls: one run, or the jobs of a sweep, which a launcher may gather first. Help and completion pass here: imports are few."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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

if TYPE_CHECKING:
    from dnnlab.config.request import Request
    from dnnlab.door.requests import Composed
    from dnnlab.records import Summary
    from dnnlab.sweep.leading import Asked, Voice


@dataclass
class Session:
    """One call of the door: what the command line said, and what is to be known at the end."""

    arguments: Arguments = field(default_factory=lambda: parse([]))
    folder: Path | None = None  # the run folder, where hydra.run.dir names it
    root: Path = Path("outputs")
    ensemble: bool = False  # let what a sweep has trained answer as one
    planning: bool = False  # only say how a sweep would be done
    sweep: Path | None = None  # the folder of a sweep that has ended
    jobs: int = 0  # jobs begun
    summary: Summary | None = None  # how the run ended
    error: Exception | None = None  # what ended the run early
    bases: dict[tuple[str, ...], Composed] = field(default_factory=dict)  # what Hydra composed, by what was chosen
    collected: list[Asked] | None = None  # while a launcher gathers jobs: those that are to be done


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
    """Do a job, or, where a launcher gathers them, only note it."""
    from dnnlab import app
    from dnnlab.config.sweep import Sweep

    folder = Path(context.runtime.output_dir)
    if _session.collected is not None:
        asked, made = _asked(lambda: _composed(config, context), folder)
        if made is not None:
            _session.bases[_choices(made.own)] = made
        _session.collected.append(replace(asked, overrides=_own(context)))
        return
    asked, _ = _asked(lambda: _composed(config, context), folder)
    ends = app.sweep(folder.parent, [replace(asked, overrides=_own(context))], Sweep(), (), _voice(), first=int(context.job.num))
    _leave_where_interrupted(ends)


def derived(words: Sequence[str], folder: Path) -> bool:
    """Note a job that differs from one that Hydra composed by plain values only; False where Hydra has to compose it. Composing takes a
    tenth of a second, a value a hundredth."""
    from dnnlab.door.requests import is_value, of_sweep

    base = _session.bases.get(_choices(words))
    if _session.collected is None or base is None:
        return False
    known = set(base.own)
    with base.changed([word for word in words if is_value(word) and word not in known]) as made:
        if made is None:
            return False
        asked, _ = _asked(lambda: replace(made, own=tuple(words)), folder)
    _session.jobs += 1
    overrides = tuple(word for word in words if not of_sweep(word) and not override_key(word).startswith("hydra."))
    _session.collected.append(replace(asked, overrides=overrides))
    return True


def _choices(words: Sequence[str]) -> tuple[str, ...]:
    """What a command line says, without the values: jobs that say the same set the same settings."""
    from dnnlab.door.requests import is_value

    return tuple(sorted(override_key(word) if is_value(word) else word for word in words))


def _own(context: Any) -> tuple[str, ...]:
    from dnnlab.door.requests import of_sweep

    words = [str(override) for override in OmegaConf.to_container(context.overrides.task, resolve=False) or ()]
    return tuple(word for word in words if not of_sweep(word))


def _composed(config: DictConfig, context: Any) -> Composed:
    from dnnlab.door.requests import composed

    return composed(config, context)


def _asked(compose: Callable[[], Composed], folder: Path) -> tuple[Asked, Composed | None]:
    """A job as it is asked for, whatever is wrong with it."""
    from dnnlab.door.requests import request_of
    from dnnlab.sweep.leading import Asked

    made: Composed | None = None
    try:
        made = compose()
        return Asked((), request_of(made, _session.arguments, folder=folder, root=_session.root)), made
    except Exception as error:
        return Asked((), None, error), made


def _voice() -> Voice:
    from dnnlab.loggers.console import say
    from dnnlab.sweep.leading import Voice

    return Voice(say, lambda error, title: tell(error, prefix=title), lambda request: train(request, _session.arguments))


@contextmanager
def collecting() -> Iterator[list[Asked]]:
    """Within, the jobs of a sweep are noted, and not done."""
    _session.collected, _session.bases = [], {}
    try:
        yield _session.collected
    finally:
        _session.collected = None


def do_collected(jobs: Sequence[Asked], folder: Path, first: int) -> list[Summary | None]:
    """Do the jobs that were noted, as stacks where they pay: -> how each ended; SystemExit where a signal ended them.

    folder: of the sweep; first: the number of the first job.
    """
    if _session.planning:
        from dnnlab.sweep.plan import plan

        print("\n".join(plan(jobs, first)))
        raise SystemExit(0)
    from dnnlab import app  # torch comes in here, and not before
    from dnnlab.config.sweep import Sweep
    from dnnlab.door.requests import of_sweep

    settings = next((job.request.config.sweep for job in jobs if job.request is not None), Sweep())
    _session.ensemble = any(job.request is not None and job.request.config.ensemble for job in jobs)
    words = _session.arguments.overrides
    space = [word for word in words if not of_sweep(word) and not override_key(word).startswith("hydra.")]
    ends = app.sweep(folder, jobs, settings, space, _voice(), first=first)
    _leave_where_interrupted(ends)
    return ends


def _leave_where_interrupted(ends: Sequence[Summary | None]) -> None:
    """The jobs that are left shall not begin."""
    _session.summary = next((end for end in reversed(ends) if end is not None), _session.summary)
    for end in ends:
        if end is not None and end.status == "interrupted":
            raise SystemExit(end.exit_code)


def _request(config: DictConfig, context: Any, folder: Path | None) -> Request:
    from dnnlab.door.requests import composed, request_of

    return request_of(composed(config, context), _session.arguments, folder=folder, root=_session.root)


def train(request: Request, arguments: Arguments) -> Summary:
    """Hand one run to the application, which begins it or, where that is asked for, goes on with it."""
    if not arguments.resume_if_exists:
        from dnnlab import app  # torch comes in here, and not before

        return app.train(request)
    from dnnlab.door.resuming import begun, train_or_resume

    return train_or_resume(*begun(request, arguments))
