"""`dnnlab ensemble`: finished runs become one model in a folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from dnnlab.errors import ArtifactError, shown


def ensembled(
    paths: Sequence[Path], output: Path, *, greedy: bool = False, trusted: frozenset[str] = frozenset(), env: tuple[str, ...] = ()
) -> None:
    """Write the ensemble of these runs, and of all finished jobs of these sweeps; print its members."""
    from dnnlab.ensemble import make, members_of
    from dnnlab.files import printable
    from dnnlab.loggers.console import number

    runs = finished(paths)
    make(runs, output, greedy=greedy, trusted=trusted, env=env)
    kept = members_of(output)
    for folder, weight in kept:
        print(f"{folder.name:>4}  weight {number(weight)}")
    print(f"{len(kept)} of {len(runs)} runs answer together: {printable(output)}")


def finished(paths: Sequence[Path]) -> list[Path]:
    """The folders of runs, and of the finished jobs of sweeps."""
    from dnnlab.compare import jobs_in

    found: list[Path] = []
    for path in paths:
        jobs, folders = jobs_in([path])
        found += [folders[job.number] for job in jobs if job.status == "finished"]
    if not found:
        raise ArtifactError("there must be finished runs, however: none", where=", ".join(shown(str(path)) for path in paths))
    return found


def at_the_end(sweep: Path, trusted: frozenset[str]) -> None:
    """Of a sweep with ensemble=true: all its finished jobs as one model, made anew where the sweep goes on."""
    output = sweep / "ensemble"
    shutil.rmtree(output, ignore_errors=True)
    ensembled([sweep], output, trusted=trusted)
