"""Presets that are comparisons: files that say themselves what to sweep over, so that one command runs them."""

from __future__ import annotations

from dnnlab.config.yamlfile import lines
from dnnlab.door.arguments import OWN, Arguments
from dnnlab.door.choices import chosen_files, override_key

SWEEP = "hydra.sweeper.params"


def sweeps(arguments: Arguments, *, asked: bool = False) -> bool:
    """Whether a sweep is asked for, by settings or a file that the command line chooses, and nothing says run, multirun or only show.

    Hydra hears of its mode from the command line and the main file alone, so the door adds --multirun. What the command line sets
    itself replaces a preset's values; hydra.mode=RUN trains once, with the file's own settings.
    """
    said = any(override_key(override) == "hydra.mode" for override in arguments.overrides)
    if said or any(name not in (*OWN, "-cd", "--config-dir") for name in arguments.options):
        return False
    return asked or any(SWEEP in lines(path) for path in chosen_files(arguments))
