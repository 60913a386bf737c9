"""Files inside a run folder, which may be a stranger's: plain names only, no link on the way, regular files, of bounded size."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from dnnlab.errors import ArtifactError, UntrustedError, shown

JSON_LIMIT = 64 * 2**20  # bytes

_FILE = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def open_inside(folder: Path, name: str) -> BinaryIO:
    """Open a regular file below a folder: `name` is a plain relative path.

    UntrustedError for a link, a FIFO, a device or a folder in its place, ArtifactError where it is missing or cannot be read.
    """
    parts, where = name.split("/"), str(folder / name)
    if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
        raise UntrustedError("a file of a run must have a plain name inside its folder, however: " + shown(name), where=str(folder))
    try:
        for depth in range(1, len(parts) + 1):
            mode = (folder.joinpath(*parts[:depth])).lstat().st_mode
            if not (stat.S_ISREG(mode) if depth == len(parts) else stat.S_ISDIR(mode)):
                raise UntrustedError(
                    "a file of a run must be a regular one in the folder itself, however: a link, a FIFO, a device or a folder", where=where
                )
        handle = os.open(folder / name, _FILE)
    except OSError as error:
        raise ArtifactError(f"must be a file that can be read, however: {error.strerror or error}", where=where) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):  # exchanged in between
        os.close(handle)
        raise UntrustedError("a file of a run must be a regular one, however it is not", where=where)
    return os.fdopen(handle, "rb")


def read_inside(folder: Path, name: str, *, limit: int = JSON_LIMIT) -> bytes:
    """The bytes of such a file; ArtifactError where there are more than `limit`."""
    with open_inside(folder, name) as file:
        content = file.read(limit + 1) if os.fstat(file.fileno()).st_size <= limit else None
    if content is None or len(content) > limit:
        raise ArtifactError(f"must have at most {limit:,} bytes, however it has more", where=str(folder / name))
    return content


def is_inside(folder: Path, name: str) -> bool:
    """Whether there is a regular file of that name, with no link on the way."""
    with suppress(ArtifactError, UntrustedError):
        open_inside(folder, name).close()
        return True
    return False
