"""What a person who means harm can do to a run folder: make every hash and seal fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dnnlab.errors import DnnlabError
from dnnlab.runfolder.manifest import Fingerprint
from dnnlab.runfolder.sealed import sealed

Document = dict[str, Any]
LARGEST = 2**24  # bytes: what is larger is left as it is
UNREADABLE = (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, DnnlabError)


def reseal(folder: Path) -> None:
    """Make the hashes of a folder fit what lies there, as far as that can be read."""
    for place in sorted((folder / "checkpoints").glob("step-*/checkpoint.json")):
        _sealed_anew(place, lambda document, place=place: _known(document, place.parent, lambda found: found))  # type: ignore[misc]
    _sealed_anew(folder / "run.json", lambda document: document)
    _sealed_anew(folder / "manifest.json", lambda document: _known(document, folder, lambda found: [found]))


def _known(document: Document, place: Path, entry: Callable[[Document], Any]) -> Document:
    """The document with the hashes of the files that it names, as they are now."""
    there = [name for name in document["files"] if _small(place / name)]
    return {**document, "files": {**document["files"], **{name: entry(asdict(Fingerprint.of_file(place, name))) for name in there}}}


def _sealed_anew(path: Path, change: Callable[[Document], Document]) -> None:
    with suppress(*UNREADABLE):
        if _small(path):
            document = json.loads(path.read_text(encoding="utf-8"))
            document.pop("seal", None)
            path.write_bytes(sealed(change(document)))


def _small(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size < LARGEST
