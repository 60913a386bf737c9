"""`dnnlab resume`: what a run folder says, and what is asked to be different, become a run that goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from dnnlab.build.device import threads
from dnnlab.config.request import Request
from dnnlab.config.run import RunConfig
from dnnlab.config.saved import read_saved
from dnnlab.config.table import Memory
from dnnlab.config.yamlfile import as_yaml
from dnnlab.continuing import Earlier
from dnnlab.crossval import cross_validate, is_asked
from dnnlab.errors import ArtifactError, ConfigError, DivergedError, shown
from dnnlab.records import COMPLETE, Finding, Summary
from dnnlab.run import run
from dnnlab.runfolder import Generation, RunFolder

if TYPE_CHECKING:
    import polars as pl

LENGTH = (
    "trainer.epochs",
    "trainer.early_stopping.patience",
    "trainer.early_stopping.min_delta",
    "trainer.stop_at.metric",
    "trainer.stop_at.value",
)
"""Settings that say how long: the same run goes on with others."""

PLACES = (
    "data.path", "data.valid_path", "data.test_path", "data.root", "device", "threads", "trainer.checkpoint_every", "logger.progress",
    "logger.tensorboard",
)  # fmt: skip
"""Settings that say where and how comfortably: what is learned does not follow from them."""


@dataclass(frozen=True)
class Order:
    """What is wanted of a run that was stopped."""

    path: Path
    changes: Mapping[str, Any] = field(default_factory=dict)  # by dotted name, as JSON has them
    argv: tuple[str, ...] = ()  # the changes as they were typed
    config: RunConfig | None = None  # the settings with the changes, where they are typed already
    override: bool = False  # let other settings make a child run
    require_exact: bool = False
    fallback: bool = False
    allow_data_change: bool = False
    trusted: frozenset[str] = frozenset()
    env: tuple[str, ...] = ()  # variables of the environment that may be read
    brief: bool = False
    frame: pl.DataFrame | None = None  # the rows of data.kind=memory


def resume(order: Order) -> Summary:
    """Go on with a run from its last checkpoint; a run that is complete is left as it is.

    ConfigError for changes that would make another run (unless `order.override`: then a child run begins from the state that there is),
    ArtifactError for a damaged folder, BusyError where another process trains there.
    """
    folder = RunFolder.open(order.path)
    before = folder.read_config()
    document = changed(before, order.changes)
    config = order.config or read_saved(document, env=order.env)
    if order.config is None:
        typed = config.model_dump(mode="json")
        document = changed(before, {key: _at(typed, key) for key in order.changes})  # as it is always written
    others = different(before, document)
    if folder.has_ended and not others and (ended := _ended(folder)) is not None:
        return ended
    _check_rows(config, order)
    if is_asked(config.data):
        return _resume_folds(order, folder, config, document)
    own = [key for key in others if key not in (*LENGTH, *PLACES)]
    if own and not order.override:
        raise _refused(before, document, own)
    folder.take()
    try:
        return _go_on(order, folder, config, document, child=bool(own), longer=tuple(key for key in others if key in LENGTH))
    finally:
        folder.close()


def _go_on(
    order: Order, folder: RunFolder, config: RunConfig, document: dict[str, Any], *, child: bool, longer: tuple[str, ...]
) -> Summary:
    generation = folder.generation(fallback=order.fallback)
    if generation is None and child:
        raise ArtifactError(
            "a child run must have a checkpoint to begin from, however: there is none yet", where=str(folder.path), fix="Train anew"
        )
    if generation is not None and not child:
        _check_settings(generation, document)
    told = tuple(f"{key}={_at(document, key)}" for key in longer)
    died = folder.read_run().get("status", "running") == "running"
    earlier = Earlier(folder, generation, child, told, order.require_exact, order.allow_data_change, died)
    counts = earlier.threads
    if counts is not None and config.threads == "auto":
        config = config.model_copy(update={"threads": counts[0]})
    request = Request(
        config=config,
        written=as_yaml(document),
        document=document,
        folder=None,
        trusted=order.trusted,
        brief=order.brief,
        argv=order.argv if child else (*_command(folder), *order.argv),
        frame=order.frame,
    )
    if counts is None:
        return run(request, earlier)
    with threads(counts[1]):  # encoding rows depends on it in the last bits, too
        return run(request, earlier)


def taken(request: Request) -> RunFolder:
    """The folder of a run that another process began, for this process alone; BusyError where that one still trains."""
    assert request.folder is not None
    folder = RunFolder.open(request.folder)
    folder.take()
    return folder


def going_on(request: Request, folder: RunFolder, step: int | None) -> tuple[Earlier, Request]:
    """What is left of a run that is to go on as a member of a stack, and the request with which it does.

    step: of the checkpoint that is taken; None: the newest, if there is one. ArtifactError where it is damaged.
    """
    found = next((made for made in folder.generations() if made.step == step), None) if step is not None else folder.generation()
    if found is not None:
        found.check()
        _check_settings(found, request.document)
    died = folder.read_run().get("status", "running") == "running"
    earlier = Earlier(folder, found, died=died)
    config, counts = request.config, earlier.threads
    if counts is not None and config.threads == "auto":
        config = config.model_copy(update={"threads": counts[0]})
    return earlier, replace(request, config=config, argv=_command(folder))


def _resume_folds(order: Order, folder: RunFolder, config: RunConfig, document: dict[str, Any]) -> Summary:
    """The folds that are finished stay; the others go on, or begin."""
    changes = {key: _at(document, key) for key in different(folder.read_config(), document)}
    if not changes.keys() <= set(PLACES):
        raise ConfigError(
            "a cross-validation must go on with the settings it began with, however: others are given",
            where="command line",
            fix="Start another one with dnnlab train",
        )
    folder.take()
    request = Request(
        config=config, written=as_yaml(document), document=document, trusted=order.trusted, brief=order.brief, argv=_command(folder)
    )

    def one(fold: Request) -> Summary:
        assert fold.folder is not None
        return resume(replace(order, path=fold.folder, changes=changes, config=fold.config, brief=True))

    try:
        return cross_validate(request, folder, one)
    finally:
        folder.close()


def changed(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A document with other values at dotted names; ConfigError for a name that it does not have.

    >>> changed({"trainer": {"epochs": 3}, "seed": 0}, {"trainer.epochs": 9})
    {'trainer': {'epochs': 9}, 'seed': 0}
    """
    copy = json.loads(json.dumps(document))
    assert isinstance(copy, dict)
    for key, value in changes.items():
        *path, last = key.split(".")
        place: Any = copy
        for part in path:
            place = place.get(part) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise ConfigError(f"a setting of the run must be changed, however: it has no {shown(key)}", where="command line")
        place[last] = value
    return copy


def different(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted names whose values differ; a group of another kind is one name.

    >>> different({"optimizer": {"kind": "sgd", "lr": 1}, "seed": 0}, {"optimizer": {"kind": "adam", "lr": 2}, "seed": 1})
    ['optimizer', 'seed']
    """
    found: list[str] = []
    for key in dict.fromkeys((*before, *after)):
        one, other = before.get(key), after.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping) and one.get("kind") == other.get("kind"):
            found += different(one, other, f"{prefix}{key}.")
        elif one != other or (key in before) != (key in after):
            found.append(f"{prefix}{key}")
    return found


def _at(document: Mapping[str, Any], key: str) -> Any:
    value: Any = document
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _refused(before: Mapping[str, Any], after: Mapping[str, Any], keys: Sequence[str]) -> ConfigError:
    """T21: what would be another run, key by key."""
    told = ", ".join(f"{key} is {shown(_at(after, key))} and was {shown(_at(before, key))}" for key in keys)
    return ConfigError(
        f"a run must go on with the settings that it began with, however: {told}",
        where="command line",
        fix=f"Only how long may change ({', '.join(LENGTH[:2])}, …); --override begins a child run from this one's state",
    )


def _check_settings(generation: Generation, document: Mapping[str, Any]) -> None:
    """T18: a checkpoint belongs to the settings beside it."""
    then = generation.document["settings"]
    for key in different(then, document):
        if key not in (*LENGTH, *PLACES):
            raise ArtifactError(
                f"the checkpoint must be one of this run, however: its {key} is {shown(_at(then, key))} and that of config.json "
                f"{shown(_at(document, key))}",
                where=f"{generation.root}/checkpoints/{generation.name}, {key}",
                fix="Bring back the files that belong together",
            )


def _ended(folder: RunFolder) -> Summary | None:
    """The end of a run that needs no more; None where it was stopped before. A divergence, which would come again, is raised again."""
    said, path = folder.read_run(), quote(str(folder.path))
    if said.get("status") == "diverged":
        what = str((said.get("error") or {}).get("what"))
        fix = f"Go on from its last finite state in a child run: dnnlab resume {path} --override optimizer.lr=LESS"
        raise DivergedError(f"a run that diverged would do so again: {what}", where=str(folder.path), fix=fix)
    if said.get("status") != "finished":
        return None
    note = Finding("note", COMPLETE, f"Train longer: dnnlab resume {path} trainer.epochs=MORE")
    metrics = {str(name): float(value) for name, value in said["metrics"].items()}
    return Summary("finished", str(folder.path), metrics, int(said["epochs"]), int(said["steps"]), float(said["seconds"]), (note,))


def _check_rows(config: RunConfig, order: Order) -> None:
    """Rows that are in no file must be given again; a search of a rate has nothing to go on from."""
    if config.lr_find:
        raise ConfigError("a run must be a training to go on, however: lr_find=true", where=str(order.path), fix="Start the search again")
    if isinstance(config.data, Memory) and order.frame is None:
        raise ConfigError(
            "a run must have its rows to go on, however: they were in memory only",
            where=str(order.path),
            fix="Go on from Python: dnnlab.api.resume(folder, table)",
        )


def _command(folder: RunFolder) -> tuple[str, ...]:
    said = folder.read_run().get("command")
    return tuple(map(str, said)) if isinstance(said, list) else ()
