"""Resolves `${…}` in composed settings, and remembers what came from the environment: its text is saved, never its value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from omegaconf import Container, DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException, UnsupportedInterpolationType
from omegaconf.resolvers import oc

from dnnlab.config.schema import REQUIRED, Origin, at
from dnnlab.errors import ConfigError, shown

RESOLVERS = ("oc.env", "oc.decode", "oc.select", "oc.create", "oc.dict.keys", "oc.dict.values", "now", "hydra")
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Resolved:
    """Settings without references, and the text of those that read the environment."""

    mapping: dict[str, Any]
    references: dict[Path, str] = field(default_factory=dict)

    @property
    def shown(self) -> dict[str, str]:
        """The references by dotted key; a list's item stands for its list."""
        return {_dotted(path): text for path, text in self.references.items()}

    def keep_references(self, document: dict[str, Any]) -> dict[str, Any]:
        """The typed settings as JSON with every value that came from the environment as its reference; changes `document`."""
        for path, text in self.references.items():
            node: Any = document
            for part in path[:-1]:
                node = node[part]
            node[path[-1]] = text
        return document


def resolve(config: DictConfig, origin: Origin) -> Resolved:
    """Every reference of a composed config, resolved; a ConfigError names the chain of keys that led to a bad one."""
    raw = OmegaConf.to_container(config, resolve=False)
    references: dict[Path, str] = {}

    def walk(plain: Any, path: Path) -> Any:
        if isinstance(plain, dict):
            return {name: walk(value, (*path, name)) for name, value in plain.items()}
        if isinstance(plain, list):
            return [walk(value, (*path, index)) for index, value in enumerate(plain)]
        return value_of(plain, path) if isinstance(plain, str) and "${" in plain else plain

    def value_of(text: str, path: Path) -> Any:
        with _watching() as asked:
            try:
                value: Any = config
                for part in path:
                    value = value[part]
                value = OmegaConf.to_container(value, resolve=True) if isinstance(value, Container) else value
            except InterpolationToMissingValueError:
                return REQUIRED
            except (OmegaConfBaseException, RecursionError) as error:
                raise _unresolved(raw, path, error, asked, origin) from error
        if asked:
            references[path] = text
        return value

    return Resolved(walk(raw, ()), references)


_asked: list[str] = []  # variables of the environment that were read while somebody watched


@contextmanager
def _watching() -> Iterator[list[str]]:
    """Within, whatever reads the environment is noted: a reference may lead there by way of others."""
    OmegaConf.register_resolver("oc.env", _env, replace=True)
    _asked.clear()
    try:
        yield _asked
    finally:
        OmegaConf.register_resolver("oc.env", oc.env, replace=True)


def _env(name: str, *default: Any) -> Any:
    _asked.append(name)
    return oc.env(name, *default)


def _unresolved(raw: Any, path: Path, error: Exception, asked: list[str], origin: Origin) -> ConfigError:
    key = _dotted(path)
    links, circle = _chain(raw, path)
    via = f" (by way of {' -> '.join(links)})" if len(links) > 2 else ""
    fact = str(error).splitlines()[0]
    if circle:
        what, fix = f"references must not turn in a circle, however: {' -> '.join(links)}", "Give one of them a value"
    elif "Environment variable" in fact and asked:
        what = f"{key} must find the environment variable {asked[-1]}, however: it is not set{via}"
        fix = f"Set it: export {asked[-1]}=VALUE, or give a default: ${{oc.env:{asked[-1]},DEFAULT}}"
    elif isinstance(error, UnsupportedInterpolationType):
        name = fact.rpartition(" ")[2]
        what = f"a reference must use a known resolver, however: {shown(name)}{via}"
        fix = f"Resolvers are: {', '.join(RESOLVERS)}"
    elif missing := re.search(r"Interpolation key '(.*)' not found", fact):
        what = f"a reference must lead to a key that exists, however: {' -> '.join(links)} and there is no {shown(missing[1])}"
        fix = "Look up keys with --cfg job"
    else:
        what, fix = f"{key} must be a reference that can be resolved, however: {fact}{via}", f"Resolvers are: {', '.join(RESOLVERS)}"
    return ConfigError(what, where=at(key, origin), fix=fix)


def _chain(raw: Any, path: Path) -> tuple[list[str], bool]:
    """The keys from one reference to the next, and whether they come back to where they have been."""
    links = [_dotted(path)]
    while True:
        value = _find(raw, path)
        reference = re.search(r"\$\{\s*([^${}:\s]+)\s*\}", value) if isinstance(value, str) else None
        if reference is None:
            return links, False
        name = reference[1]
        up = len(name) - len(name.lstrip("."))
        path = (*(path[:-up] if up else ()), *(part for part in re.split(r"[.\[\]]+", name.lstrip(".")) if part))
        links.append(_dotted(path))
        if links[-1] in links[:-1]:
            return links, True


def _find(raw: Any, path: Path) -> Any:
    for part in path:
        raw = raw.get(part) if isinstance(raw, dict) else None
    return raw


def _dotted(path: Path) -> str:
    return ".".join(str(part) for part in path if isinstance(part, str))
