"""From a composed config to a typed request: files looked at, references resolved, settings read."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    """What Hydra composed, before any reference in it is resolved. Jobs that differ from it in plain values are made from a copy of it."""

    config: DictConfig
    files: tuple[Used, ...]  # that took part
    hydra: tuple[str, ...]  # overrides of Hydra's own settings
    own: tuple[str, ...]  # overrides of ours
    brief: bool  # one job of many

    def with_values(self, words: Sequence[str]) -> Composed | None:
        """The same with other values; None where a word says more than the value of a setting that is there."""
        try:
            parsed = OverridesParser.create().parse_overrides(list(words))
            config = copy.deepcopy(self.config)
            for override in parsed:
                if OmegaConf.is_missing(config, override.key_or_group) or not is_value(str(override.input_line)):
                    return None
                OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
        except (HydraException, OmegaConfBaseException, AttributeError, TypeError, ValueError):
            return None  # Hydra shall say what is wrong with it
        return replace(self, config=config)


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
    with open_dict(config):
        for key in OF_SWEEP:
            del config[key]
    return Request(
        config=settings,
        written=OmegaConf.to_yaml(config),
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
