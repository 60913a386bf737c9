"""manifest.json: which files a run folder vouches for, with size and SHA-256 of each."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from dnnlab import __version__
from dnnlab.errors import ArtifactError, shown
from dnnlab.runfolder.inside import open_inside, read_inside
from dnnlab.runfolder.names import FORMAT, MANIFEST
from dnnlab.runfolder.sealed import sealed, unsealed

Content = bytes


@dataclass(frozen=True)
class Fingerprint:
    """What a file is, without its content."""

    sha256: str
    bytes: int

    @classmethod
    def of(cls, content: Content) -> Fingerprint:
        """Of bytes in memory."""
        return cls(sha256(content).hexdigest(), len(content))

    @classmethod
    def of_file(cls, root: Path, name: str, sizes: Collection[int] | None = None) -> Fingerprint:
        """Of a file below `root`. sizes: those that it may have; the hash of another one, however large, is not taken."""
        with open_inside(root, name) as file:
            found, size = sha256(), os.fstat(file.fileno()).st_size
            if sizes is not None and size not in sizes:
                return cls("", size)
            while piece := file.read(2**20):
                found.update(piece)
            return cls(found.hexdigest(), file.tell())

    def unlike(self, found: Fingerprint) -> str:
        """In which way a file is another one."""
        if self.bytes != found.bytes:
            return f"must have {self.bytes:,} bytes, however: {found.bytes:,}"
        return f"must have the hash {self.sha256[:12]}…, however: {found.sha256[:12]}…"

    @classmethod
    def read(cls, value: Any, where: str) -> Fingerprint:
        """Of what a JSON file says; ArtifactError where that is something else."""
        match value:
            case {"sha256": str(digest), "bytes": int(size), **rest} if not rest and size >= 0 and not isinstance(size, bool):
                return cls(digest, size)
        raise ArtifactError(f"a file must be named with its sha256 and bytes, however: {shown(value)}", where=where)


@dataclass(frozen=True)
class Manifest:
    """The files that a run folder vouches for; while one of them is replaced, two fingerprints of it are right."""

    files: Mapping[str, tuple[Fingerprint, ...]] = field(default_factory=dict)
    complete: bool = False  # nobody writes here any longer, and every file is named

    def with_files(self, files: Mapping[str, Fingerprint], *, also_old: bool = False) -> Manifest:
        """With these fingerprints in place of older ones, or beside them."""
        old = self.files if also_old else {}
        return replace(
            self, files={**self.files, **{name: tuple(dict.fromkeys((found, *old.get(name, ())))) for name, found in files.items()}}
        )

    def content(self) -> bytes:
        """As the file holds it."""
        files = {name: [asdict(found) for found in prints] for name, prints in sorted(self.files.items())}
        return sealed({"format": FORMAT, "dnnlab": __version__, "complete": self.complete, "files": files})

    def check(self, name: str, found: Fingerprint, where: str) -> None:
        """ArtifactError where a file is not what it was when it was written."""
        prints = self.files.get(name)
        if not prints:
            raise ArtifactError(f"must be named in {MANIFEST}, however it is not", where=where)
        if found not in prints:
            fact = f"{prints[0].unlike(found)} (as {MANIFEST} says)"
            raise ArtifactError(fact, where=where, fix="Bring back a copy of the file that is whole")


def read_manifest(root: Path) -> Manifest:
    """The manifest of a run folder; ArtifactError where it is missing, damaged, or written by a later dnnlab (T20)."""
    where = str(root / MANIFEST)
    document = unsealed(read_inside(root, MANIFEST), where)
    version = document.get("format")
    if version != FORMAT or isinstance(version, bool):
        raise ArtifactError(
            f"the folder must have the format {FORMAT}, which dnnlab {__version__} reads, however: {shown(version)}",
            where=where,
            fix=f"It was written by dnnlab {shown(document.get('dnnlab'))}: install that version or a later one",
        )
    files = document.get("files")
    if not isinstance(files, dict) or not all(isinstance(prints, list) and prints for prints in files.values()):
        raise ArtifactError("must name files, each with its fingerprints, however it does not", where=where)
    read = {name: tuple(Fingerprint.read(found, where) for found in prints) for name, prints in files.items()}
    return Manifest(read, document.get("complete") is True)
