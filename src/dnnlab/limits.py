"""Files that may be opened, and memory that may be taken: asked before anything is read."""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO

from dnnlab.errors import DataError

GROUP = Path("/sys/fs/cgroup")  # limits of a container, and of a service


def open_regular(path: str | Path, where: str) -> IO[bytes]:
    """Open a regular file for reading; anything else is refused by its status alone, so that nothing waits and no device is touched."""
    try:
        place = Path(path).expanduser()
        if stat.S_ISREG(place.stat().st_mode):
            file = os.fdopen(os.open(place, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # it may have been exchanged in between
                return file
            file.close()
    except (OSError, RuntimeError, ValueError) as error:  # none, no permission, a loop of links; no such home; a NUL byte
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise DataError(f"must be a file that can be read, however: {reason}", where=where, fix="Check the path and permissions") from error
    raise DataError("must be a regular file, however: it is a folder, a FIFO or a device", where=where, fix="Name a file, or remove this")


def free_memory() -> int:
    """Bytes that can still be had, of the machine and of the control group; where neither tells, more than anybody asks for."""
    known = [2**63]
    with suppress(OSError, ValueError):  # another system than Linux
        known.append(_entry(Path("/proc/meminfo"), r"^MemAvailable:\s+(\d+) kB") * 1024)
    with suppress(OSError, ValueError):  # the text "max" where there is no limit; what is kept of files is given back on demand
        used = _entry(GROUP / "memory.current", r"(\d+)") - _entry(GROUP / "memory.stat", r"^inactive_file (\d+)")
        known.append(max(0, _entry(GROUP / "memory.max", r"(\d+)") - used))
    return min(known)


def _entry(path: Path, pattern: str) -> int:
    found = re.search(pattern, path.read_text(encoding="ascii"), re.MULTILINE)
    if found is None:
        raise ValueError(pattern)
    return int(found[1])
