"""A run folder looked at from outside: every hash taken again, every file known or not."""

from __future__ import annotations

import os
import re
from hashlib import sha256
from pathlib import Path

from dnnlab.errors import ArtifactError
from dnnlab.files import to_csv
from dnnlab.runfolder.folder import RunFolder
from dnnlab.runfolder.inside import is_inside, read_inside
from dnnlab.runfolder.manifest import Fingerprint
from dnnlab.runfolder.names import ENCODER, ENCODER_TENSORS, FOLDS, LOCK, MANIFEST, SCHEMA, TABLE, TENSORBOARD

FIRST = ("epoch", "step")  # columns of the table
DESCRIPTION = {SCHEMA, ENCODER, ENCODER_TENSORS}


def check_file(folder: RunFolder, name: str) -> Fingerprint:
    """Take a file's hash again; ArtifactError where it is not the one in the manifest, UntrustedError for a link."""
    manifest = folder.read_manifest()
    found = Fingerprint.of_file(folder.path, name, [known.bytes for known in manifest.files[name]])
    manifest.check(name, found, str(folder.path / name))
    return found


def check_table(folder: RunFolder) -> None:
    """ArtifactError where the table at the end does not tell what the rows do."""
    rows = folder.read_metrics()
    if rows and read_inside(folder.path, TABLE).decode(errors="replace") != to_csv(rows, FIRST):
        raise ArtifactError("the table must tell what metrics.jsonl tells, however it does not", where=str(folder.path / TABLE))


def unwritten(folder: RunFolder) -> set[str]:
    """Files that the manifest names, and a process that died before its first checkpoint did not come to write."""
    manifest = folder.read_manifest()
    if manifest.complete or folder.generations():
        return set()
    return {name for name in manifest.files if not os.path.lexists(folder.path / name)}


def describes_itself(folder: RunFolder) -> bool:
    """Whether the run came so far that it told what its rows are."""
    return folder.read_manifest().files.keys() - unwritten(folder) >= DESCRIPTION


def folds(folder: RunFolder) -> list[Path]:
    """The run folders of a cross-validation, by number."""
    place = folder.path / FOLDS
    found = [path for path in place.iterdir() if path.name.isdecimal()] if place.is_dir() and not place.is_symlink() else []
    return sorted(found, key=lambda path: int(path.name))


def events(folder: RunFolder) -> list[Path]:
    """The files that TensorBoard reads, links left out."""
    names = [f"{TENSORBOARD}/{path.name}" for path in sorted(folder.tensorboard.glob("*.tfevents.*"))]
    return [folder.path / name for name in names if is_inside(folder.path, name)]


def strangers(folder: RunFolder) -> list[str]:
    """Files that are none of a run's; those of its folds are theirs to tell."""
    known = {*folder.files(), MANIFEST, LOCK}
    ours = re.compile(rf"({TENSORBOARD}|{FOLDS})/.*|(.*/)?\.[^/]*\.\d+\.tmp")
    places = [Path(place, name) for place, _, names in os.walk(folder.path) for name in names]
    found = (path.relative_to(folder.path).as_posix() for path in places)
    return sorted(name for name in found if name not in known and not ours.fullmatch(name))


def digest(folder: RunFolder) -> str:
    """The SHA-256 of the manifest, which stands for every file of a complete run."""
    return sha256(read_inside(folder.path, MANIFEST)).hexdigest()
