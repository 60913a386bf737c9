"""What the door hands to the application: one run, fully said."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnnlab.config.run import RunConfig

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Request:
    """One run to do. References to the environment are resolved in `config` only: what is saved keeps `${oc.env:NAME}`."""

    config: RunConfig
    written: str  # the settings as YAML, as people wrote them: references unresolved
    document: dict[str, Any]  # the typed settings as JSON; what came from the environment stays a reference
    folder: Path | None = None  # the exact run folder, where the user named it or a sweep made it; it may exist, empty
    root: Path = Path("outputs")  # else the run makes <root>/<name>/<date>_<time>_<microseconds>
    trusted: frozenset[str] = frozenset()  # top-level packages from which kind=custom may import
    brief: bool = False  # one job of many: say little on the terminal
    argv: tuple[str, ...] = ()  # the settings given on the command line, as typed (a sweep's job: its own)
    frame: pl.DataFrame | None = None  # the rows of data.kind=memory
