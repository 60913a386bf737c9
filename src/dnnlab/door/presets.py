"""Presets that are comparisons: files that say themselves what to sweep over, so that one command runs them."""

from __future__ import annotations

from dnnlab.config.yamlfile import lines
from dnnlab.door.arguments import OWN, Arguments
from dnnlab.door.choices import chosen_files, override_key

SWEEP = "hydra.sweeper.params"


def sweeps(arguments: Arguments) -> bool:
    """Whether a file that the command line chooses names values to sweep over, and nothing there says run, multirun or only show.

    Hydra hears of its mode from the command line and the main file alone, so the door adds --multirun. What the command line sets
    itself replaces a preset's values; hydra.mode=RUN trains once, with the file's own settings.
    """
    asked = any(override_key(override) == "hydra.mode" for override in arguments.overrides)
    if asked or any(name not in (*OWN, "-cd", "--config-dir") for name in arguments.options):
        return False
    return any(SWEEP in lines(path) for path in chosen_files(arguments))
