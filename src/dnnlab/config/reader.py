"""A mapping in, a RunConfig out, or a ConfigError that says requirement, fact and remedy. No torch, no Hydra."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from dnnlab import __version__
from dnnlab.config.rules import clashes
from dnnlab.config.run import CONFIG_VERSION, RunConfig
from dnnlab.config.schema import REQUIRED, Kinds, Origin, at, lookup, shown_key, unknown_key, variants
from dnnlab.config.yamlfile import MAX_BYTES, MAX_DEPTH, too_deep
from dnnlab.errors import ConfigError, did_you_mean, shown


def read(mapping: Mapping[str, Any], *, origin: Origin = lambda key: "", references: Mapping[str, str] | None = None) -> RunConfig:
    """Type the settings of a run.

    `origin` says where a key was set, for messages. `references` holds, by dotted key, the text of values that came from the
    environment: it is shown in their stead. Of several errors the first is raised, and the others are its notes.
    """
    return _Reader(mapping, origin, references or {}).read()


def kinds_in(mapping: Mapping[str, Any]) -> dict[str, str]:
    """The kind that each group of a mapping names, as far as it is one."""
    chosen = {group: value.get("kind") for group, value in mapping.items() if isinstance(value, Mapping)}
    return {group: kind for group, kind in chosen.items() if isinstance(kind, str) and kind in variants(group)}


class _Reader:
    def __init__(self, mapping: Mapping[str, Any], origin: Origin, references: Mapping[str, str]) -> None:
        self.mapping = mapping
        self.origin = origin
        self.references = references
        self.kinds: Kinds = {}

    def read(self) -> RunConfig:
        leaves = list(self._leaves())
        self.kinds = kinds_in(self.mapping)
        self._check_version()
        self._check_missing(leaves)
        problems = self._not_finite(leaves)
        try:
            config = RunConfig.model_validate(dict(self.mapping))
        except ValidationError as error:
            problems = {**self._translated(error), **problems}
        else:
            if not problems:
                problems = self._name(config) | self._clashes(config)
                if not problems:
                    return config
        raise _together(list(problems.values()))

    def _leaves(self) -> Iterator[tuple[str, Any]]:
        """Every value that is no mapping with its dotted key, without recursion; refuses what is too deep or too long."""
        waiting: list[tuple[str, Any, int]] = [("", self.mapping, 0)]
        size = 0
        while waiting:
            key, value, depth = waiting.pop()
            size += len(value) if isinstance(value, str) else 8
            if depth > MAX_DEPTH:
                raise too_deep(at(key.split("[")[0], self.origin))
            if size > MAX_BYTES:
                raise ConfigError(f"settings must be at most {MAX_BYTES / 1e6:g} MB, however: more", fix="Settings are not data")
            if isinstance(value, Mapping):
                waiting.extend((f"{key}.{name}" if key else str(name), item, depth + 1) for name, item in value.items())
            elif isinstance(value, list):
                waiting.extend((f"{key}[{index}]", item, depth + 1) for index, item in enumerate(value))
            else:
                yield key, value

    def _check_version(self) -> None:
        version = self.mapping.get("config_version", CONFIG_VERSION)
        if version != CONFIG_VERSION or isinstance(version, bool):
            later = isinstance(version, int) and version > CONFIG_VERSION
            able = f"a later release than {__version__} reads version {version}" if later else "no release reads another version"
            raise ConfigError(
                f"config_version must be {CONFIG_VERSION}, which dnnlab {__version__} reads, however: {shown(version)}",
                where=at("config_version", self.origin),
                fix=f"{able[0].upper()}{able[1:]}; or set config_version={CONFIG_VERSION} and look over the settings",
            )

    def _check_missing(self, leaves: list[tuple[str, Any]]) -> None:
        missing = sorted(key for key, value in leaves if value == REQUIRED)
        if missing:
            where = ", ".join(at(key, self.origin) for key in missing)
            many = "keys need" if len(missing) > 1 else "key needs"
            fix = "Give " + " ".join(f"{key}=VALUE" for key in missing)
            raise ConfigError(f"every setting must have a value, however: {len(missing)} {many} one", where=where, fix=fix)

    def _not_finite(self, leaves: list[tuple[str, Any]]) -> dict[str, ConfigError]:
        found = [(key.split("[")[0], value) for key, value in leaves if isinstance(value, float) and not math.isfinite(value)]
        return {key: self._wrong(key, value) for key, value in found}

    def _translated(self, error: ValidationError) -> dict[str, ConfigError]:
        """pydantic's errors by key, each said once: a value that fits none of several forms is one error, not several."""
        problems: dict[str, ConfigError] = {}
        for item in error.errors(include_url=False, include_context=False):
            location = item["loc"]
            if len(location) > 1 and location[1] in variants(str(location[0])):
                location = (location[0], *location[2:])  # pydantic's tag of the chosen kind
            problem = self._problem(item["type"], [str(part) for part in location], str(item["msg"]))
            key = problem[0]
            problems.setdefault(key, problem[1])
        return problems

    def _problem(self, sort: str, location: list[str], message: str) -> tuple[str, ConfigError]:
        key = ".".join(location)
        if sort == "extra_forbidden":
            return key, unknown_key(key, self.kinds, self.origin)
        if sort in ("union_tag_invalid", "union_tag_not_found"):
            return key, self._no_kind(location[0])
        fact = lookup(key, self.kinds)
        if sort == "missing":
            asked = f"{fact.words}" if fact else "given"
            return key, ConfigError(f"{key} must be {asked}, however: it is missing", where=key, fix=f"Give {key}=VALUE")
        if fact is None:  # a form of a value, or a place inside one: its setting is above it
            return self._problem(sort, location[:-1], message)
        detail = message.removeprefix("Value error, ") if sort == "value_error" else ""
        return fact.key, self._wrong(fact.key, self._value(fact.key), detail)

    def _no_kind(self, group: str) -> ConfigError:
        value = self.mapping.get(group)
        kind = value.get("kind") if isinstance(value, Mapping) else None
        fix = did_you_mean(str(kind), variants(group)) if kind is not None else f"Choose one of: {', '.join(sorted(variants(group)))}"
        fact = f"{self._told(f'{group}.kind', kind)}" if kind is not None else "it names none"
        return ConfigError(f"{group}.kind must be a known kind, however: {fact}", where=at(f"{group}.kind", self.origin), fix=fix)

    def _wrong(self, key: str, value: Any, detail: str = "") -> ConfigError:
        fact = lookup(key, self.kinds)
        if fact is None or fact.key != key:  # inside a free mapping: only numbers that are none are refused there
            return ConfigError(f"{shown_key(key)} must be a finite number, however: {self._told(key, value)}", where=at(key, self.origin))
        words = detail.removeprefix("must be ") or fact.words
        if isinstance(value, float) and not math.isfinite(value):
            words += " and finite"
        fix = f"Try {key}={fact.example}" if fact.default != REQUIRED and fact.group is None else ""
        if words.startswith("one of: ") and isinstance(value, str):
            fix = did_you_mean(value, words.removeprefix("one of: ").split(", ")) if key not in self.references else fix
        if words.startswith("text") and not isinstance(value, str | None):
            text = self._told(key, value)
            fix = f"Quote it: \"{key}='{text}'\" on the command line, '{text}' in a file" if not isinstance(value, dict | list) else fix
        if key in self.references and isinstance(value, str):
            fix = f"The environment holds text: read it with ${{oc.decode:{self.references[key]}}}"
        return ConfigError(f"{shown_key(key)} must be {words}, however: {self._told(key, value)}", where=at(key, self.origin), fix=fix)

    def _told(self, key: str, value: Any) -> str:
        """A value as YAML would write it, or the reference that it came from."""
        if key in self.references:
            return self.references[key]
        if value is None or isinstance(value, bool):
            return {None: "null", True: "true", False: "false"}[value]
        return shown(value)

    def _value(self, key: str) -> Any:
        value: Any = self.mapping
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    def _name(self, config: RunConfig) -> dict[str, ConfigError]:
        fault = name_fault(config.name)
        if not fault:
            return {}
        what = f"name must be the name of one folder, however: {self._told('name', config.name)} {fault}"
        return {"name": ConfigError(what, where=at("name", self.origin), fix="Try name=my_run")}

    def _clashes(self, config: RunConfig) -> dict[str, ConfigError]:
        found = clashes(config)
        places = [", ".join(at(key, self.origin) for key in clash.keys) for clash in found]
        return {clash.what: ConfigError(clash.what, where=where, fix=clash.fix) for clash, where in zip(found, places, strict=True)}


def name_fault(name: str) -> str:
    """What makes a name unfit for a folder, or nothing; letters of every script, spaces and quotes are fit.

    >>> name_fault("größe 3, 'b'"), name_fault("../x"), name_fault("-rf")
    ('', 'holds a path separator', 'begins with - or .')
    """
    if not name.strip():
        return "is blank"
    if "/" in name or "\\" in name:
        return "holds a path separator"
    if name[0] in ".-":
        return "begins with - or ."
    if name != name.strip() or name.endswith("."):
        return "begins or ends with a blank, or ends with a dot"
    if any(unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") for letter in name):
        return "holds a control character"
    return f"takes {len(name.encode())} bytes, more than 200" if len(name.encode()) > 200 else ""


def _together(problems: list[ConfigError]) -> ConfigError:
    first, *others = problems
    for other in others:
        first.add_note(str(other))
    return first
