"""From a composed config to a typed request: files looked at, references resolved, settings read."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from dnnlab.config.reader import kinds_in, read
from dnnlab.config.request import Request
from dnnlab.config.run import OF_SWEEP, RunConfig
from dnnlab.config.schema import groups, lookup
from dnnlab.config.yamlfile import inspect
from dnnlab.door.arguments import Arguments, as_typed
from dnnlab.door.choices import override_key
from dnnlab.door.origins import Origins, Used
from dnnlab.door.references import resolve
from dnnlab.door.survey import files_in_use, name_columns, plain


@dataclass(frozen=True)
class Composed:
    """What Hydra composed, before any reference in it is resolved. Jobs that differ from it in plain values alone are made from it."""

    config: DictConfig
    files: tuple[Used, ...]  # that took part
    hydra: tuple[str, ...]  # overrides of Hydra's own settings
    own: tuple[str, ...]  # overrides of ours
    brief: bool  # one job of many

    @contextmanager
    def changed(self, words: Sequence[str]) -> Iterator[Composed | None]:
        """Within, the config has these other values; None where a word says more than the value of a setting that is there."""
        before: dict[str, Any] = {}
        try:
            try:
                for word in words:
                    key, value = _value(word)
                    before[key] = copy.deepcopy(_node(self.config, key))
                    OmegaConf.update(self.config, key, value, merge=True)
            except (HydraException, OmegaConfBaseException, AttributeError, TypeError, ValueError, KeyError):
                yield None  # Hydra shall say what is wrong with it
            else:
                yield self
        finally:
            for key, node in before.items():
                OmegaConf.update(self.config, key, node, merge=False)


@lru_cache(maxsize=10_000)
def _value(word: str) -> tuple[str, Any]:
    """Key and value of an override; ValueError where it is more than that."""
    (override,) = OverridesParser.create().parse_overrides([word])
    if not is_value(word):
        raise ValueError(word)
    return override.key_or_group, override.value()


def _node(config: DictConfig, key: str) -> Any:
    """What stands at a key, references as they are written; KeyError where nothing does."""
    *path, last = key.split(".")
    place: Any = config
    for part in path:
        place = place._get_node(part)
    node = place._get_node(last)
    if node is None or node._is_missing():
        raise KeyError(key)
    return node


def of_sweep(word: str) -> bool:
    """Whether an override holds for a sweep as a whole, and for none of its jobs.

    >>> of_sweep("sweep.name=a"), of_sweep("ensemble=true"), of_sweep("seed=1")
    (True, True, False)
    """
    return override_key(word).partition(".")[0] in OF_SWEEP


TOP = frozenset(name for name in RunConfig.model_fields if name not in groups())


def is_value(word: str) -> bool:
    """Whether an override gives a setting another value, and chooses, adds or deletes nothing.

    >>> [is_value(word) for word in ("optimizer.lr=0.1", "seed=3", "optimizer=adam", "+data.columns.a=numeric", "a/b=c", "~seed")]
    [True, True, False, False, False, False]
    """
    key = override_key(word)
    return (
        word[:1] not in "+~"
        and "/" not in key
        and "[" not in word.partition("=")[0]
        and (key in TOP or (key.partition(".")[0] in groups() and "." in key))
    )


def composed(config: DictConfig, context: Any) -> Composed:
    """What Hydra has composed, its files looked at. context: Hydra's own settings."""
    own = typed(context.overrides.task)
    hydra = typed(context.overrides.hydra)
    files = files_in_use(context, [*hydra, *own])
    kinds = kinds_in(plain(config))
    for file in files:
        inspect(file.path, wants=lambda key: fact.words if (fact := lookup(key, kinds)) else "", package=file.package)
    return Composed(config, files, tuple(hydra), tuple(own), context.mode == RunMode.MULTIRUN)


def request_of(made: Composed, arguments: Arguments, *, folder: Path | None, root: Path) -> Request:
    """The request of one run; changes the config. folder: the exact run folder; root: where the run makes one else."""
    config, own = made.config, [word for word in made.own if not of_sweep(word)]
    origins = Origins(made.files, (*made.hydra, *made.own))
    name_columns(config)
    resolved = resolve(config, origins)
    settings = read(resolved.mapping, origin=origins, references=resolved.shown)
    return Request(
        config=settings,
        written=_written(config),
        document=resolved.keep_references(settings.model_dump(mode="json", exclude=set(OF_SWEEP))),
        folder=folder,
        root=root,
        trusted=arguments.trusted,
        brief=made.brief,
        argv=tuple(as_typed(word) for word in own),
    )


def typed(overrides: Any) -> list[str]:
    """Overrides as they were typed: reading them from Hydra's config one by one would resolve the references in them."""
    return [str(override) for override in OmegaConf.to_container(overrides, resolve=False) or ()]


def _written(config: DictConfig) -> str:
    """As YAML, without what holds for a sweep as a whole."""
    with open_dict(config):  # a copy without it takes ten times as long
        aside = {key: config.pop(key) for key in OF_SWEEP if key in config}
        text: str = OmegaConf.to_yaml(config)
        config.update(aside)
    return text
