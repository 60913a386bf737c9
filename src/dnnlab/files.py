"""How files are written: whole or not at all, strictly JSON, and with an error that names the path."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from errno import EACCES, EDQUOT, EINVAL, EIO, EMFILE, ENAMETOOLONG, ENFILE, ENOMEM, ENOSPC, ENOTSUP, EPERM, EROFS
from pathlib import Path
from typing import Any

from dnnlab.errors import ConfigError, DnnlabError, FullDiskError, ResourceError, shown


def plain(value: Any) -> Any:
    """What JSON can say: mappings, lists, text, numbers; a number that is not finite becomes the text "nan", "inf" or "-inf".

    >>> plain({"loss": float("nan"), "folder": Path("a"), "widths": (1, 2)})
    {'loss': 'nan', 'folder': 'a', 'widths': [1, 2]}
    """
    kind = type(value)
    if kind is float:  # most of what is written are numbers
        return value if math.isfinite(value) else repr(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(float(value))
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)


def printable(text: object) -> str:
    """Text for a terminal or a log: control characters, which may come from data or names, are written out.

    >>> printable("a\\x1b[31m\\nb"), printable("größe")
    ('a\\\\x1b[31m\\\\nb', 'größe')
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def to_json(value: Any, *, indent: int | None = 2) -> str:
    """Strict JSON: no NaN, no Infinity, readable letters."""
    with suppress(ValueError, TypeError):
        return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)  # most values are plain already
    return json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


RAN_OUT = (ENOSPC, EDQUOT, EIO, EROFS, EMFILE, ENFILE, EACCES, EPERM, ENOMEM)  # what no program can help


def silence() -> None:
    """Let what is still buffered for standard output go nowhere: else Python complains when it exits."""
    if sys.stdout is not None:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def refusal(error: OSError, where: str, size: int | None = None, *, otherwise: str = "") -> DnnlabError:
    """What the system refused, as an error that names the place, the reason and the bytes needed.

    >>> str(refusal(OSError(ENOSPC, "No space left on device"), "a.json", 12))
    'must be writable, however: No space left on device (12 bytes needed) - a.json - Free some space'
    """
    if error.errno == ENAMETOOLONG:
        return ConfigError("a path must be one that the file system takes, however: it is too long", where=shown(where), fix=otherwise)
    full = error.errno in (ENOSPC, EDQUOT)
    needed = f" ({size} bytes needed)" if size is not None and full else ""
    fix = "Free some space" if full else otherwise
    kind = FullDiskError if full else ResourceError
    return kind(f"must be writable, however: {error.strerror or error}{needed}", where=where, fix=fix)


@contextmanager
def naming(path: Path, size: int | None = None, *, otherwise: str = "Try another hydra.run.dir") -> Iterator[None]:
    """Turn what the system refuses into an error that names the path, the reason and the bytes needed."""
    try:
        yield
    except OSError as error:
        raise refusal(error, str(path), size, otherwise=otherwise) from error


def write_new(path: Path, content: bytes) -> None:
    """Write a file that must not exist yet (FileExistsError), down to the disk."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file whole or not at all: a temporary one in the same folder, flushed to the disk, then renamed."""
    content = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with naming(path, len(content)):
        try:
            temporary.unlink(missing_ok=True)
            write_new(temporary, content)
            temporary.replace(path)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (EINVAL, ENOTSUP):  # some file systems keep no folders to bring anywhere
            raise
    finally:
        os.close(handle)


def cell(value: object) -> object:
    """A value for a CSV file: text that a spreadsheet would take for a formula is disarmed by an apostrophe; numbers stay.

    >>> cell("=1+1"), cell("adam"), cell(-0.5), cell(None)
    ("'=1+1", 'adam', -0.5, '')
    """
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return "" if value is None else value


def to_csv(rows: Sequence[Mapping[str, object]], first: Sequence[str] = ()) -> str:
    """A table of all columns that any row has: those in `first`, then as they appear.

    >>> to_csv([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "name": "@x"}])
    "epoch,loss,name\\n1,0.5,\\n2,,'@x\\n"
    """
    columns = list(dict.fromkeys([*first, *(key for row in rows for key in row)]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([cell(column) for column in columns])
    writer.writerows([cell(row.get(column)) for column in columns] for row in rows)
    return text.getvalue()
