"""Checkpoints: numbered generations, the two newest of which are kept.

A generation is a folder of files that are written once; its checkpoint.json comes last and names their hashes. A process killed at any
instant leaves older generations as they are and at most one folder without a checkpoint.json, which does not count.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnnlab.errors import ArtifactError, DnnlabError
from dnnlab.files import naming, sync_folder, write_atomic
from dnnlab.runfolder.inside import is_inside, read_inside
from dnnlab.runfolder.manifest import Fingerprint
from dnnlab.runfolder.names import BEST, CHECKPOINT, CHECKPOINTS, FORMAT, STATE
from dnnlab.runfolder.sealed import sealed, unsealed

if TYPE_CHECKING:
    from torch import Tensor

    from dnnlab.runfolder.tensorfile import Form

KEPT = 2
BESIDE = ("optimizer.", "trainer.")  # tensors of a state that only training needs
NAME = re.compile(r"step-(\d{12})")


@dataclass(frozen=True)
class Generation:
    """One committed checkpoint of a run folder."""

    root: Path
    name: str  # of its folder
    instead_of: str = ""  # why the one after it was passed over

    @cached_property
    def document(self) -> dict[str, Any]:
        """What its checkpoint.json says; ArtifactError where it is damaged."""
        where = str(self.root / self._file(CHECKPOINT))
        document = unsealed(read_inside(self.root, self._file(CHECKPOINT)), where)
        wanted = {"format", "step", "epoch", "files", "settings", "schema", "metrics", "environment", "facts"}
        if document.keys() != wanted or document["format"] != FORMAT or document["step"] != self.step:
            raise ArtifactError("must be a checkpoint's, however it says something else", where=where)
        return document

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self.root / CHECKPOINTS / self.name

    @property
    def step(self) -> int:
        """Optimizer steps that were done."""
        return int(self.name.removeprefix("step-"))

    @property
    def has_best(self) -> bool:
        """Whether there was a best state by then."""
        return BEST in self.document["files"]

    def read_state(
        self, expected: Mapping[str, Form] | None = None, key: str = "", *, beside: tuple[str, ...] = ("optimizer.",)
    ) -> dict[str, Tensor]:
        """All that training changes, on the CPU; ArtifactError where it is damaged or of another form.

        expected: forms that are known beforehand; key: the setting to blame; beside: how names begin whose tensors may have any form.
        """
        return self._read(STATE, expected, key, beside)

    def read_best(self, expected: Mapping[str, Form] | None = None, key: str = "") -> dict[str, Tensor]:
        """The weights of the best state."""
        return self._read(BEST, expected, key)

    def check(self) -> None:
        """ArtifactError where one of its files is missing or damaged."""
        for name in self.document["files"]:
            expected = self._print(name)
            found = Fingerprint.of_file(self.root, self._file(name), [expected.bytes])
            if found != expected:
                raise ArtifactError(f"{expected.unlike(found)} (as {CHECKPOINT} says)", where=str(self.root / self._file(name)))

    def _read(self, name: str, expected: Mapping[str, Form] | None, key: str, beside: tuple[str, ...] = ()) -> dict[str, Tensor]:
        from dnnlab.runfolder.tensorfile import load

        known = self._print(name)
        return load(self.root, self._file(name), sha256=known.sha256, size=known.bytes, expected=expected, key=key, beside=beside)

    def _print(self, name: str) -> Fingerprint:
        where = str(self.root / self._file(CHECKPOINT))
        files = self.document["files"]
        if not isinstance(files, dict) or not files.keys() <= {STATE, BEST} or name not in files:
            raise ArtifactError(f"must name {name}, however it does not", where=where)
        return Fingerprint.read(files[name], where)

    def _file(self, name: str) -> str:
        return f"{CHECKPOINTS}/{self.name}/{name}"


def generations(root: Path) -> list[Generation]:
    """The committed ones, the newest first."""
    names = sorted((name for name in _listed(root) if is_inside(root, f"{CHECKPOINTS}/{name}/{CHECKPOINT}")), reverse=True)
    return [Generation(root, name) for name in names]


def newest(root: Path, *, fallback: bool) -> Generation | None:
    """The newest generation, or with `fallback` the newest that is whole; None where none was ever finished.

    ArtifactError where the newest is damaged, or with fallback all are.
    """
    found = generations(root)
    if not fallback:
        return found[0] if found else None
    fault = ""
    for generation in found:
        try:
            generation.check()
        except DnnlabError as error:
            fault = fault or str(error)
            continue
        return Generation(root, generation.name, fault)
    if found:
        raise ArtifactError(f"one checkpoint must be whole, however all {len(found)} are damaged: {fault}", where=str(root / CHECKPOINTS))
    return None


def write_generation(root: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], document: Mapping[str, Any]) -> Generation:
    """Write a generation, look whether the disk holds it, and let older ones go.

    tensors: by the name of their file; document: what checkpoint.json tells beside the files.
    """
    from dnnlab.runfolder.tensorfile import dump

    made = Generation(root, f"step-{step:012d}")
    place = root / CHECKPOINTS / made.name
    try:
        with naming(place):
            place.parent.mkdir(exist_ok=True)
            _remove(place)
            place.mkdir()
            sync_folder(place.parent)
        files: dict[str, dict[str, Any]] = {}
        for name, content in ((name, dump(of)) for name, of in tensors.items()):
            write_atomic(place / name, content)
            files[name] = asdict(Fingerprint.of(content))
        write_atomic(place / CHECKPOINT, sealed({"format": FORMAT, "step": step, **document, "files": files}))
    except DnnlabError:
        with suppress(OSError):
            _remove(place)  # an unfinished one would only take the space that was lacking
        raise
    made.check()
    prune(root)
    return made


def prune(root: Path) -> None:
    """Remove all but the newest generations, and what is left of unfinished ones."""
    keep = {generation.name for generation in generations(root)[:KEPT]}
    for name in _listed(root):
        if name not in keep:
            with naming(root / CHECKPOINTS / name):
                _remove(root / CHECKPOINTS / name)


def _listed(root: Path) -> list[str]:
    """The folders with a generation's name; none where checkpoints/ is no folder of its own (a link, say)."""
    place = root / CHECKPOINTS
    try:
        if not stat.S_ISDIR(place.lstat().st_mode):
            return []
        return [entry.name for entry in os.scandir(place) if NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _remove(place: Path) -> None:
    """First what makes it count: a process killed in between leaves nothing that looks whole."""
    (place / CHECKPOINT).unlink(missing_ok=True)
    if place.is_dir():
        shutil.rmtree(place)
