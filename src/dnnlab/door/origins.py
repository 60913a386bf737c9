"""Who set what: the files that were composed, in their order, and the overrides on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from dnnlab.config.schema import groups
from dnnlab.config.yamlfile import lines
from dnnlab.door.choices import override_key

COMMAND_LINE = "command line"


class Used(NamedTuple):
    """A file that took part, and the group that its keys belong to ("" for whole runs)."""

    path: Path
    package: str


@dataclass(frozen=True)
class Origins:
    """Call it with a dotted key: "command line", "conf/my.yaml:3", or "" where only the schema's default speaks."""

    files: tuple[Used, ...] = ()  # the later wins
    overrides: tuple[str, ...] = ()

    def __call__(self, key: str) -> str:
        if any(_sets(override, key) for override in self.overrides):
            return COMMAND_LINE
        parts = key.split(".")
        for depth in range(len(parts), 0, -1):  # a value inside a free mapping or list stands where that stands
            name = ".".join(parts[:depth])
            for places in reversed(self._places):
                if name in places:
                    return places[name]
        return ""

    @cached_property
    def _places(self) -> list[dict[str, str]]:
        return [lines(file.path, file.package) for file in self.files]


def _sets(override: str, key: str) -> bool:
    name = override_key(override)
    if name in groups() and not override.partition("=")[2].startswith("{"):  # a choice
        return key in (name, f"{name}.kind")
    return key == name or key.startswith(f"{name}.") or name.startswith(f"{key}.")
