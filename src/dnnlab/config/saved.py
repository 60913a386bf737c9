"""The settings of a run folder, which may be a stranger's: typed, closed to names that would call something."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from dnnlab.config.run import RunConfig
from dnnlab.errors import ArtifactError, ConfigError, UntrustedError, shown

CALLS = ("_target_", "_partial_", "_args_", "_recursive_", "_convert_", "defaults", "hydra")
REFERENCE = re.compile(r"\$\{oc\.decode:\$\{oc\.env:(\w+)\}\}|\$\{oc\.env:(\w+)(?:,([^{}]*))?\}")


def read_saved(document: Mapping[str, Any], *, env: Collection[str] = ()) -> RunConfig:
    """The settings; UntrustedError for a key that names code, ArtifactError where they are not whole.

    env: variables of the environment that may be read; any other reference stays the text that it is.
    """
    for key in _keys(document):
        if key.rpartition(".")[2] in CALLS and not key.startswith("model.args."):
            raise UntrustedError("the settings of a run must name no code, however: " + shown(key), where=f"config.json:{key}")
    try:
        return RunConfig.model_validate(_filled(document, env))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        key, said = _place(document, first["loc"]), str(first.get("input"))
        found = REFERENCE.search(said)
        raise ArtifactError(
            f"the settings of a run must be whole, however: {shown(key)}: {first['msg']}",
            where=f"config.json:{key}",
            fix=f"It comes from the environment: allow it with --env {found[1] or found[2]}" if found else "",
        ) from error


def _place(document: Mapping[str, Any], location: tuple[int | str, ...]) -> str:
    """A dotted key, without the kinds of groups, which the complaint names between the group and its setting."""
    parts: list[str] = []
    value: Any = document
    for part in location:
        if isinstance(value, Mapping) and part not in value and part == value.get("kind"):
            continue
        parts.append(str(part))
        value = value.get(part) if isinstance(value, Mapping) else None
    return ".".join(parts)


def _keys(value: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield f"{prefix}{name}"
            yield from _keys(item, f"{prefix}{name}.")
    elif isinstance(value, list):
        for item in value:
            yield from _keys(item, prefix)


def _filled(value: Any, env: Collection[str]) -> Any:
    if isinstance(value, Mapping):
        return {name: _filled(item, env) for name, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, env) for item in value]
    found = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if found is None or (name := found[1] or found[2]) not in env:
        return value
    default: str | None = found[3]
    text = os.environ.get(name) or default
    if text is None:
        raise ConfigError(f"the environment must hold {name}, however it is not set", where=f"--env {name}", fix=f"export {name}=VALUE")
    return _scalar(text) if found[1] else text


def _scalar(text: str) -> Any:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return {"true": True, "false": False, "null": None}.get(text.lower(), text)
