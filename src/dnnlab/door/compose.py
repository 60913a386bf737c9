"""Where Hydra composes: choices and overrides in, one typed request for each run out."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from dnnlab.config.reader import kinds_in, read
from dnnlab.config.request import Request
from dnnlab.config.schema import lookup
from dnnlab.config.yamlfile import MAX_BYTES, inspect, too_large
from dnnlab.door.arguments import Arguments, parse
from dnnlab.door.origins import Origins, overridden, override_key
from dnnlab.door.references import resolve
from dnnlab.door.survey import CONFIG_NAME, CONFIGS, files_in_use, plain
from dnnlab.door.translate import translated
from dnnlab.errors import DnnlabError


@dataclass
class Session:
    """One call of the door: what the command line said, and what is to be known at the end."""

    arguments: Arguments = field(default_factory=lambda: parse([]))
    folder: Path | None = None  # the run folder, where hydra.run.dir names it
    root: Path = Path("outputs")
    sweep: Path | None = None  # the folder of a sweep that has ended
    jobs: int = 0  # jobs begun
    training: bool = False  # an error from here on is not Hydra's
    status: str = "finished"  # how the last run ended


_session = Session()


def launch(session: Session) -> None:
    """Let Hydra read the command line in sys.argv and call `job` once, or once for each job of a sweep; raises DnnlabError."""
    global _session
    _session = session
    _check_sizes(session.arguments)
    with _environment("HYDRA_FULL_ERROR", "1"):  # else Hydra prints its errors itself, and leaves
        try:
            hydra.main(config_path=str(CONFIGS), config_name=CONFIG_NAME, execution_whitelist=f"{__name__}.Watch")(job)()
        except DnnlabError:
            raise
        except Exception as error:
            known = None if session.training else translated(error, session.arguments)
            if known is None:
                raise
            raise known from error


class Watch(Callback):
    """What Hydra tells at the borders of a run and of a sweep."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note where the run is to go, and keep Hydra from making the folder: a run that is refused leaves nothing behind."""
        try:
            chosen = Path(config.hydra.run.dir)
        except OmegaConfBaseException:
            return  # Hydra meets it again, and raises it
        if overridden("hydra.run.dir", config.hydra.overrides.hydra):
            _session.folder = chosen
        else:
            _session.root = chosen
        with read_write(config), open_dict(config):
            config.hydra.run.dir = "."

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Note the sweep's folder, for the table at the end."""
        _session.sweep = Path(config.hydra.sweep.dir)


def job(config: DictConfig) -> None:
    """One run. In a sweep an error is told and written down, and the other jobs go on."""
    context = HydraConfig.get()
    _session.jobs += 1
    if context.mode != RunMode.MULTIRUN:
        _session.status = _train(_request(config, context, _session.folder))
        return
    folder, overrides = Path(context.runtime.output_dir), list(context.overrides.task)
    title = " ".join((f"job {context.job.num}:", *overrides))
    print(title, flush=True)
    request: Request | None = None
    failure: DnnlabError | None = None
    try:
        request = _request(config, context, folder)
        if _train(request) == "interrupted":
            raise KeyboardInterrupt  # the sweep's jobs that are left shall not begin
    except DnnlabError as error:
        failure = error
        tell(error, prefix=f"{title} - ")
    except Exception as error:  # our own fault, and not the other jobs'
        traceback.print_exc()
        failure = DnnlabError(f"{type(error).__name__}: {error}", where=title)
    finally:
        _session.training = False
    if failure is not None:
        from dnnlab import runfolder

        runfolder.record_failure(folder, request.document if request else None, overrides, failure)


def tell(error: DnnlabError, prefix: str = "") -> None:
    """One line on stderr for an error, and one for each that was found beside it."""
    for line in (str(error), *getattr(error, "__notes__", ())):
        head = "" if line.startswith(" ") else f"dnnlab: error[{error.kind}]: {prefix}"
        print(head + line, file=sys.stderr, flush=True)


def _request(config: DictConfig, context: Any, folder: Path | None) -> Request:
    overrides = [*context.overrides.hydra, *context.overrides.task]
    origins = Origins(files_in_use(context, overrides), tuple(overrides))
    kinds = kinds_in(plain(config))
    for file in origins.files:
        inspect(file.path, wants=lambda key: fact.words if (fact := lookup(key, kinds)) else "", package=file.package)
    resolved = resolve(config, origins)
    typed = read(resolved.mapping, origin=origins, references=resolved.shown)
    return Request(
        config=typed,
        written=OmegaConf.to_yaml(config),
        document=resolved.keep_references(typed.model_dump(mode="json")),
        folder=folder,
        root=_session.root,
        trusted=_session.arguments.trusted,
        argv=tuple(context.overrides.task),
    )


def _train(request: Request) -> str:
    from dnnlab import app  # torch comes in here, and not before

    _session.training = True
    return app.train(request).status


def _check_sizes(arguments: Arguments) -> None:
    """Refuse large files before Hydra loads them: those of the options that the command line chooses."""
    folders = [folder for folder in (CONFIGS, arguments.config_dir) if folder is not None]
    for override in arguments.overrides:
        for option in override.partition("=")[2].split(","):
            for folder in folders:
                path = folder / override_key(override) / f"{option}.yaml"
                if len(str(path)) < 1000 and path.is_file() and path.stat().st_size > MAX_BYTES:
                    raise too_large(path, path.stat().st_size)


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
