"""The door for Python: train on a table that Python holds, and answer with what was trained.

from dnnlab.api import load, resume, train

trained = train(frame, "model=mlp", "trainer.epochs=20", target="income")
answers = trained.predict(new_frame, proba=True)
longer = resume(trained.folder, "trainer.epochs=40", table=frame)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dnnlab.config.reader import read
from dnnlab.config.request import Request
from dnnlab.config.run import OF_SWEEP
from dnnlab.config.yamlfile import as_yaml
from dnnlab.door.arguments import Arguments, parse
from dnnlab.door.references import resolve
from dnnlab.door.resuming import changes_in
from dnnlab.door.survey import plain, sweeping
from dnnlab.door.translate import surveyed
from dnnlab.errors import ConfigError, shown
from dnnlab.predictor import Predictor, load
from dnnlab.records import Summary
from dnnlab.runfolder import RunFolder
from dnnlab.tables.memory import as_frame

__all__ = ["Trained", "load", "resume", "train"]


@dataclass(frozen=True)
class Trained:
    """How a run ended, and the network that came of it."""

    summary: Summary
    trusted: frozenset[str] = frozenset()  # packages that a model of kind=custom may come from

    @property
    def metrics(self) -> Mapping[str, float]:
        """The final figures by their logged names."""
        return self.summary.metrics

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.summary.folder)

    @cached_property
    def predictor(self) -> Predictor:
        """The network, read back from the run folder."""
        return load(self.folder, self.trusted)

    def predict(self, table: Any, *, proba: bool = False, strict: bool = False) -> Any:
        """The answers to a table's rows, as a polars frame; see `Predictor.predict`."""
        return self.predictor.predict(as_frame(table), proba=proba, strict=strict)


def train(
    table: Any,
    *overrides: str,
    target: str | Sequence[str],
    columns: Mapping[str, str] | None = None,
    folder: str | Path | None = None,
    root: str | Path = "outputs",
    trust: Collection[str] = (),
) -> Trained:
    """Train on a table: polars, pandas, a mapping of columns, or an array (N, D) of NumPy or torch, whose columns are named x0, x1, ….

    overrides: as on the command line ("model=deep", "optimizer.lr=0.01"); target: the column (or columns) to predict; columns: what
    columns are, where they are not what they look like; folder: the run folder itself, else one is made below `root`. Raises DnnlabError.
    """
    arguments = parse(["data=memory", *overrides, *(word for package in trust for word in ("--trust", package))])
    _check_single(arguments)
    found = surveyed(arguments)
    data = found.config.data
    if data.get("kind") != "memory":
        raise ConfigError(
            f"data must be the table that is given, however: data={data.get('kind')}",
            where="overrides",
            fix="Leave it out of the overrides",
        )
    data.target = target if isinstance(target, str) else list(target)
    mapping_of_columns = {str(name): str(kind) for name, kind in (columns or {}).items()}
    resolved = resolve(found.config, found.origins)
    resolved.mapping["data"]["columns"] |= mapping_of_columns  # names with dots and blanks are no keys of a config
    config = read(resolved.mapping, origin=found.origins, references=resolved.shown)
    written = plain(found.config)
    written["data"]["columns"] = {**written["data"]["columns"], **mapping_of_columns}
    from dnnlab import app

    return Trained(
        app.train(
            Request(
                config=config,
                written=as_yaml(written),
                document=resolved.keep_references(config.model_dump(mode="json", exclude=set(OF_SWEEP))),
                folder=None if folder is None else Path(folder),
                root=Path(root),
                trusted=arguments.trusted,
                argv=tuple(overrides),
                frame=as_frame(table),
            )
        ),
        arguments.trusted,
    )


def resume(
    folder: str | Path,
    *overrides: str,
    table: Any = None,
    override: bool = False,
    require_exact: bool = False,
    fallback: bool = False,
    allow_data_change: bool = False,
    trust: Collection[str] = (),
) -> Trained:
    """Go on with a run that was stopped, as `dnnlab resume` does; table: the rows, where the run was trained on a table in memory."""
    arguments = parse([*overrides, *(word for package in trust for word in ("--trust", package))])
    _check_single(arguments)
    changes = changes_in(RunFolder.open(Path(folder)).read_config(), arguments) if overrides else {}
    from dnnlab import app
    from dnnlab.resume import Order

    order = Order(
        Path(folder),
        changes,
        tuple(overrides),
        override=override,
        require_exact=require_exact,
        fallback=fallback,
        allow_data_change=allow_data_change,
        trusted=arguments.trusted,
        frame=None if table is None else as_frame(table),
    )
    return Trained(app.resume(order), arguments.trusted)


def _check_single(arguments: Arguments) -> None:
    """One call is one run: sweeps and what only shows settings are for the command line."""
    if arguments.options:
        raise ConfigError(
            f"train takes settings only, however: {shown(next(iter(arguments.options)))}",
            where="overrides",
            fix='Settings are written as "optimizer.lr=0.01"',
        )
    swept = sweeping(arguments)
    if swept:
        raise ConfigError(
            f"train is one run, however: {shown(swept)} has several values", where="overrides", fix="Call it once for each of them"
        )
