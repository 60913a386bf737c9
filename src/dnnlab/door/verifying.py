"""`dnnlab verify`: the verdict on a run folder, in words or as JSON."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from dnnlab.door.answers import Opening
from dnnlab.errors import ArtifactError
from dnnlab.files import printable, to_json


def verified(run: Path, *, files_only: bool, digest: str, as_json: bool, opening: Opening) -> None:
    """Print the verdict; ArtifactError where something is not as it should be."""
    from dnnlab.ensemble import is_ensemble, members_of
    from dnnlab.verify import check_digest, verify  # torch comes in here

    if is_ensemble(run):
        for member, _ in members_of(run):
            print(f"member {member.name}:")
            verified(member, files_only=files_only, digest="", as_json=as_json, opening=opening)
        return
    verdict = verify(run, files_only=files_only, fallback=opening.fallback, trusted=opening.trusted, env=opening.env)
    faults = [*verdict.faults, *([said] if digest and (said := check_digest(verdict, digest)) else [])]
    if as_json:
        print(to_json({**asdict(verdict), "faults": faults}))
    else:
        for line in (*(f"fault: {fault}" for fault in faults), *(f"note: {note}" for note in verdict.notes)):
            print(printable(line))
        print(f"{verdict.files} files are as they were written, {verdict.figures} figures as they were measured")
        print(f"digest {verdict.digest}")
    if faults:
        count = "one fault was" if len(faults) == 1 else f"{len(faults)} faults were"
        raise ArtifactError(f"a run folder must be what it says, however: {count} found", where=str(run))
