"""train.log: what was said while a run went on."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO, final

from dnnlab.files import naming, printable, refusal


@final
class _Plain(logging.Formatter):
    """Time, level and text on one line; control characters, which may come from data, are written out."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        lines = super().format(record).splitlines() or [""]
        return "\n    ".join(printable(line) for line in lines)


@final
class _File(logging.FileHandler):
    """A log that ends the run where it cannot be written: a full disk is nothing to go on with in silence."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Raise what the system said; ResourceError."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise refusal(error, self.baseFilename) from error
        super().handleError(record)

    def close(self) -> None:
        """Let go of the file; what could not be written is not tried again."""
        with suppress(OSError):
            super().close()


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """While it lasts, the log at `path` receives warnings and everything that dnnlab says from level INFO on.

    Warnings are shown as before, too; what others log is kept from the level that they were set to.
    """
    with naming(path):
        handler = _File(path, encoding="utf-8")
    handler.setFormatter(_Plain())
    root, own = logging.getLogger(), logging.getLogger("dnnlab")
    level, show = own.level, warnings.showwarning

    def tell(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None, line: str | None = None
    ) -> None:
        handler.handle(_record(message, category))
        show(message, category, filename, lineno, file, line)

    root.addHandler(handler)
    own.setLevel(logging.INFO)
    warnings.showwarning = tell
    try:
        yield
    finally:
        warnings.showwarning = show
        own.setLevel(level)
        root.removeHandler(handler)
        handler.close()


def _record(message: Warning | str, category: type[Warning]) -> logging.LogRecord:
    return logging.LogRecord("py.warnings", logging.WARNING, "", 0, f"{category.__name__}: {message}", None, None)
