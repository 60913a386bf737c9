"""Whether the files of a table are those that a network was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dnnlab.errors import DataError
from dnnlab.files import printable
from dnnlab.tables.reading import FileFact


def check_unchanged(before: Sequence[Mapping[str, object]], files: Sequence[FileFact]) -> None:
    """D27: the files of a run must be what they were, wherever they lie by now; DataError names one that is another, gone or new."""
    if [file.get("sha256") for file in before] == [file.sha256 for file in files]:
        return
    was = {str(file.get("path")): str(file.get("sha256")) for file in before}
    now = {file.path: file.sha256 for file in files}
    for path in dict.fromkeys((*now, *was)):
        if was.get(path) != now.get(path):
            raise DataError(
                f"the data must be what the network was trained on, however: the file's SHA-256 {_hash('is', now.get(path))} "
                f"and {_hash('was', was.get(path))}",
                where=printable(path),
                fix="Bring the old file back, or allow it: --allow-data-change",
            )


def _hash(verb: str, sha256: str | None) -> str:
    return f"{verb} {sha256[:16]}…" if sha256 else f"{verb} none (there {verb} no such file)"
