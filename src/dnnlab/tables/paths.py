"""From what the user wrote to regular files: globs, refusals without opening, free memory."""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path

from dnnlab.errors import DataError, ResourceError, shown
from dnnlab.limits import free_memory

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


@dataclass(frozen=True)
class Found:
    """One file to read: its name as the user wrote it or the glob found it, and where it lies."""

    name: str
    path: str

    @property
    def standard_input(self) -> bool:
        """Whether it is no file, but what is piped in."""
        return self.name == "-"


def plain(text: str, limit: int = 1000) -> str:
    """Text from outside, for a line of an error: control characters escaped, cut at `limit` characters, no quotes around it.

    >>> plain("age"), plain("a\\x1b[31m")
    ('age', 'a\\\\x1b[31m')
    """
    quoted = text if text.isprintable() else ascii(text)[1:-1]
    return quoted if len(quoted) <= limit else quoted[: limit - 1] + "…"


def find(path: str | Sequence[str], key: str, root: str | None = None) -> list[Found]:
    """The files of a path, a glob or a list of both, in this order (a glob's files by name); relative ones begin at `root`."""
    found: list[Found] = []
    for name in [path] if isinstance(path, str) else path:
        found += _one(name, key, root)
    if not found:
        raise DataError("must name a file, however: the list is empty", where=key, fix=f"Try {key}=path/to/table.csv")
    return found


def open_regular(found: Found, key: str) -> io.FileIO:
    """Open a regular file for reading; anything else is refused from its status alone, so nothing waits and no device is touched."""
    try:
        _check_regular(Path(found.path).stat().st_mode, found, key)
        handle = os.open(found.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            _check_regular(os.fstat(handle).st_mode, found, key)  # it may have been exchanged in between
            return io.FileIO(handle, "rb")
        except BaseException:
            os.close(handle)
            raise
    except (OSError, ValueError) as error:  # ValueError: a NUL letter in the name
        raise _unreadable(found, key, error) from error


def check_memory(found: Found, size: int, factor: float, key: str) -> None:
    """Refuse a file that would not fit: `size` bytes, of which reading takes about `factor` times as many."""
    free, needed = free_memory(), int(size * factor)
    if needed > free:
        raise ResourceError(
            f"reading must fit into free memory, however: it takes about {needed:,} bytes and {free:,} are free",
            where=f"{key}: {plain(found.name)}",
            fix="Try data.rows=100000, a Parquet file of the columns that are needed, or (to predict) the rows in a stream",
        )


def _one(name: str, key: str, root: str | None) -> list[Found]:
    if _URL.match(name):
        raise DataError(
            f"must be a file on this machine, however: {shown(name)} is an address", where=key, fix="Fetch the file first, then name it"
        )
    if not name:
        raise DataError("must name a file, however: it is empty", where=key, fix=f"Try {key}=path/to/table.csv")
    if name == "-":
        return [Found("-", "-")]
    base = Path(root).expanduser() if root else Path()
    path = str(base / Path(name).expanduser())
    try:
        there = os.path.lexists(path)
    except ValueError:
        there = False
    if there or not any(letter in name for letter in "*?["):
        return [Found(name, path)]
    return [Found(match if Path(name).is_absolute() else _from(match, base), match) for match in _matches(name, path, key)]


def _matches(name: str, path: str, key: str) -> list[str]:
    matches = sorted(
        match
        for match in glob(path, recursive=True)  # noqa: PTH207 - Path.glob takes no pattern that begins at the root
        if not Path(match).is_dir()
    )
    if not matches:
        raise DataError(
            f"must match at least one file, however: {shown(name)} matches none", where=key, fix="Check the folder and the suffix"
        )
    return matches


def _from(match: str, base: Path) -> str:
    path = Path(match)
    return str(path.relative_to(base)) if path.is_relative_to(base) else match


def _check_regular(mode: int, found: Found, key: str) -> None:
    if stat.S_ISREG(mode):
        return
    kind = next((name for test, name in _KINDS if test(mode)), "something else")
    fix = f"Try {key}={plain(found.name)}/*.csv" if kind == "a folder" else f"Save the table in a file, or pipe it in with {key}=-"
    raise DataError(f"must be a regular file, however: {plain(found.name)} is {kind}", where=f"{key}: {plain(found.name)}", fix=fix)


def _unreadable(found: Found, key: str, error: OSError | ValueError) -> DataError:
    missing = isinstance(error, FileNotFoundError)
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return DataError(
        f"must be a file that can be read, however: {'there is none' if missing else reason}",
        where=f"{key}: {plain(found.name)}",
        fix=f"Paths begin at {plain(str(Path.cwd()))}" if missing and found.name == found.path else "Check the path and its permissions",
    )
