"""One process at a time may train in a run folder: a lock of the kernel's, which a process that dies cannot keep."""

from __future__ import annotations

import json
import logging
import os
import socket
from contextlib import suppress
from errno import EACCES, EAGAIN, EWOULDBLOCK
from pathlib import Path
from typing import final

from dnnlab.errors import BusyError
from dnnlab.files import naming, printable
from dnnlab.runfolder.names import LOCK

log = logging.getLogger(__name__)


@final
class Lock:
    """The lock of one run folder; its file tells who holds it."""

    def __init__(self, root: Path) -> None:
        self._path = root / LOCK
        self._handle: int | None = None
        self._signed = False

    @property
    def held(self) -> bool:
        """Whether this process holds it."""
        return self._handle is not None

    def take(self) -> None:
        """Take it, or raise BusyError with process and host of whoever has it."""
        if self.held:
            return
        with naming(self._path):
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o644)
        try:
            _flock(handle)
        except OSError as error:
            said = _holder(handle)
            os.close(handle)
            if error.errno in (EAGAIN, EWOULDBLOCK, EACCES):
                raise BusyError(
                    f"must be free, however: another process trains here{said}",
                    where=str(self._path.parent),
                    fix="Wait until it ends, or stop it",
                ) from None
            log.warning("This file system has no locks (%s): nothing keeps two processes from training here", error.strerror)
            return
        self._handle, self._signed = handle, os.fstat(handle).st_size > 0  # of a process that died

    def sign(self) -> None:
        """Write who holds it, for others to read."""
        if self._handle is not None:
            with naming(self._path):
                os.ftruncate(self._handle, 0)
                self._signed = True
                os.pwrite(self._handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)

    def release(self) -> None:
        """Let go of it, and leave no trace of this machine; a process that ends does so by itself."""
        if self._handle is None:
            return
        if self._signed:
            with suppress(OSError):  # the folder is gone, or the disk full: the lock goes with the handle
                os.ftruncate(self._handle, 0)
        os.close(self._handle)
        self._handle, self._signed = None, False


def _flock(handle: int) -> None:
    try:
        import fcntl
    except ImportError:  # no POSIX
        return
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(handle: int) -> str:
    """Who holds it, as far as its file tells."""
    try:
        said = json.loads(os.pread(handle, 4096, 0))
        return f", process {int(said['pid'])} on {printable(said['host'])[:80]}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
