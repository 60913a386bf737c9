"""Where a run came from: versions of what computed it, the commit of the code, the command."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("dnnlab", "torch", "numpy", "scikit-learn", "polars", "torchmetrics", "safetensors", "hydra-core", "omegaconf", "pydantic")


@cache
def versions() -> Mapping[str, str]:
    """Versions of Python and of the packages that a result depends on, read without importing them.

    >>> sorted(versions())[:3]
    ['dnnlab', 'hydra-core', 'numpy']
    """
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a checkout on the path, never installed
            continue
    return found


def commit(folder: Path | None = None) -> dict[str, str | bool] | None:
    """The commit that `folder` is at, and whether tracked files differ from it; None where there is no git or no repository.

    Without a folder it is the checkout that dnnlab runs from, else the working directory.
    """
    said = _git(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
    if said is None:
        return None
    lines = said.splitlines()
    oid = next((line.split()[-1] for line in lines if line.startswith("# branch.oid")), "")
    return {"commit": oid, "dirty": any(not line.startswith("#") for line in lines)} if oid else None


def difference(folder: Path | None = None) -> str:
    """What tracked files differ in from the commit that `commit` tells of; '' where there is none, or no difference."""
    return _git(folder, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD") or ""


def _git(folder: Path | None, *words: str) -> str | None:
    """What git says; None where it cannot be asked."""
    checkout = Path(__file__).resolve().parents[2]
    place = folder or (checkout if (checkout / ".git").exists() else Path.cwd())
    # no fsmonitor: a repository's own settings must not start programs here
    command = ["git", "-C", str(place), "-c", "core.fsmonitor=false", "--no-optional-locks", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
