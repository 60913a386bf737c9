"""metrics.jsonl: a row for each logged record; the truth about a run's course, cut back to the checkpoint when the run continues."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from errno import ENOSPC
from hashlib import sha256
from io import RawIOBase
from pathlib import Path
from typing import Any, final

from dnnlab.errors import ArtifactError, ResourceError
from dnnlab.files import naming, to_json
from dnnlab.runfolder.inside import is_inside, read_inside
from dnnlab.runfolder.names import ROWS

LIMIT = 2**31  # bytes


@final
class Rows:
    """The rows of one run folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.path = root / ROWS
        self._file: RawIOBase | None = None
        self._hash = sha256()
        self._bytes = 0

    def append(self, row: Mapping[str, float | int]) -> None:
        """Add one row, at once visible to whoever reads along."""
        line = (to_json(row, indent=None) + "\n").encode()
        with naming(self.path, len(line)):
            if self._file is None:
                self._file = self.path.open("ab", buffering=0)  # no buffer: what a full disk refused is not tried again at the end
            if self._file.write(line) != len(line):
                raise OSError(ENOSPC, os.strerror(ENOSPC))
        self._hash.update(line)
        self._bytes += len(line)

    def sync(self) -> dict[str, Any]:
        """Bring the rows to the disk; -> what they are up to here. ResourceError where the file was taken away (T10)."""
        with naming(self.path):
            if self._file is not None:
                os.fsync(self._file.fileno())
            if self._bytes and self.path.stat().st_size != self._bytes:
                raise ResourceError(
                    f"must hold the rows that were written ({self._bytes:,} bytes), however: {self.path.stat().st_size:,}",
                    where=str(self.path),
                    fix="Let nobody else write there; dnnlab resume goes on from the last checkpoint",
                )
        return {"bytes": self._bytes, "sha256": self._hash.hexdigest()}

    def cut(self, mark: Mapping[str, Any]) -> None:
        """Cut the file back to where `mark` (by `sync`) was taken; ArtifactError where it is not what it was."""
        self.close()
        content = self.checked(mark)
        with naming(self.path):
            if content or self.path.exists():
                with self.path.open("r+b" if self.path.exists() else "xb") as file:
                    file.truncate(len(content))
                    os.fsync(file.fileno())
        self._hash, self._bytes = sha256(content), len(content)

    def checked(self, mark: Mapping[str, Any]) -> bytes:
        """The bytes up to a mark."""
        whole = read_inside(self._root, ROWS, limit=LIMIT) if mark["bytes"] or is_inside(self._root, ROWS) else b""
        content = whole[: mark["bytes"]]
        if len(content) != mark["bytes"] or sha256(content).hexdigest() != mark["sha256"]:
            raise ArtifactError(
                f"its first {mark['bytes']:,} bytes must be those that the checkpoint saw, however they are not", where=str(self.path)
            )
        return content

    def read(self) -> list[dict[str, float]]:
        """All rows; a torn last line, left by a process that was killed, is dropped."""
        if not is_inside(self._root, ROWS):
            return []
        try:
            lines = read_inside(self._root, ROWS, limit=LIMIT).decode().split("\n")[:-1]  # after the last line's end: torn, or nothing
            return [{key: _number(value) for key, value in json.loads(line).items()} for line in lines]
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise ArtifactError(f"must hold a JSON object of numbers in each line, however: {error}", where=str(self.path)) from error

    def close(self) -> None:
        """Let go of the file; another row opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _number(value: Any) -> float:
    return float(value) if isinstance(value, str) else value + 0  # + 0: TypeError for what is no number
