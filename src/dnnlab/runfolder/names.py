"""The names in a run folder, and what may be at the places where one is made."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from dnnlab.errors import BusyError, ConfigError, shown
from dnnlab.files import naming

FORMAT = 1  # of the folder: raised when a later dnnlab writes what this one could not read
CONFIG_YAML, CONFIG_JSON, RUN, ROWS, TABLE, LOG = "config.yaml", "config.json", "run.json", "metrics.jsonl", "metrics.csv", "train.log"
SCHEMA, MANIFEST, LOCK = "schema.json", "manifest.json", "lock"
FOLDS = "folds"  # of a cross-validation: numbered run folders
CHECKPOINTS, TENSORBOARD, PLOTS = "checkpoints", "tensorboard", "plots"
ENCODER, ENCODER_TENSORS = f"{CHECKPOINTS}/encoder.json", f"{CHECKPOINTS}/encoder.safetensors"
STATE, BEST, CHECKPOINT = "state.safetensors", "best.safetensors", "checkpoint.json"  # in the folder of a generation
SWEEP_TABLE = "results.csv"  # in the folder of a sweep, beside its numbered runs


def new_folder(parent: Path, now: datetime) -> Path:
    """Make a folder named after the time, exclusively; a number follows where somebody was faster."""
    stem = now.strftime("%Y-%m-%d_%H-%M-%S_%f")
    with naming(parent):
        parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, 100_000):
            path = parent / (stem if number == 1 else f"{stem}_{number}")
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return path
    raise BusyError("must have a free name for a run, however all of this instant are taken", where=str(parent))


def check_name(name: str) -> None:
    """A name is one plain folder name."""
    if name in ("", ".", "..") or "/" in name or "\\" in name or not name.isprintable() or len(os.fsencode(name)) > 255:
        fact = f"must be usable as the name of a folder (no slash, no control character), however: {shown(name)}"
        raise ConfigError(fact, where="name", fix="Try name=my_run")


def refuse(path: Path, forbid: Path | None, where: str) -> None:
    """No run in the root of the file system, in somebody's home itself, or inside the data."""
    with naming(path):
        full, is_file = path.resolve(), path.exists() and not path.is_dir()
    fix = "Try hydra.run.dir=outputs/my_run"
    if full in (Path(full.anchor), Path.home().resolve()):
        raise ConfigError(f"must be a folder of its own, however: {shown(str(full))}", where=where, fix=fix)
    if forbid is not None and full.is_relative_to(forbid.resolve()):
        raise ConfigError(f"must lie outside the folder of the data, however: {shown(str(path))}", where=f"{where}, data.root", fix=fix)
    if is_file:
        raise ConfigError(f"must be a folder, however it is a file: {shown(str(path))}", where=where, fix=fix)
