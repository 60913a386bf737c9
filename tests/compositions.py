"""What several tests share: settings composed from configs/ as the door composes them, and the sweeps that experiments name."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import yaml

from dnnlab.config.reader import read
from dnnlab.config.run import RunConfig
from dnnlab.door.arguments import parse
from dnnlab.door.references import resolve
from dnnlab.door.survey import CONFIGS, survey

EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "experiment").glob("*.yaml"))


def composed(*words: str) -> RunConfig:
    """The settings that a command line asks for."""
    found = survey(parse(words))
    assert not found.unknown, f"settings that nobody knows: {found.unknown}"
    resolved = resolve(found.config, found.origins)
    return read(resolved.mapping, origin=found.origins, references=resolved.shown)


def sweep_of(experiment: str) -> dict[str, list[str]]:
    """What an experiment compares: each swept setting and its values; empty where it is a single run."""
    document = yaml.safe_load((CONFIGS / "experiment" / f"{experiment}.yaml").read_text(encoding="utf-8"))
    named = document.get("hydra", {}).get("sweeper", {}).get("params", {})
    return {setting: str(values).split(",") for setting, values in named.items()}


def jobs_of(experiment: str) -> list[list[str]]:
    """The overrides of each job of an experiment; of a single run: one without any."""
    swept = sweep_of(experiment)
    return [[f"{setting}={value}" for setting, value in zip(swept, values, strict=True)] for values in product(*swept.values())]


def custom_configs(root: Path) -> list[Path]:
    """The files of settings of the example of a user's own modules."""
    return sorted((root / "examples" / "custom" / "configs").glob("*/*.yaml"))
