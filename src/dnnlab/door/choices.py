"""The YAML that can be chosen, and what a command line chooses of it: files and words only, nothing is composed."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from dnnlab.door.arguments import Arguments

CONFIGS = Path(str(files("dnnlab.configs")))
CONFIG_NAME = "train"


def override_key(override: str) -> str:
    """The key of an override: what stands before its equals sign.

    >>> override_key("+model.args.size=3"), override_key("model.hidden[0]=5"), override_key("~loss")
    ('model.args.size', 'model.hidden.0', 'loss')
    """
    return override.partition("=")[0].lstrip("+~").strip().replace("[", ".").replace("]", "")


def group_names(arguments: Arguments) -> list[str]:
    """The groups that there are options for."""
    return sorted({path.parent.name for folder in _folders(arguments) for path in folder.glob("*/*.yaml")})


def options(group: str, arguments: Arguments) -> list[str]:
    """The options of a group: the YAML files of its folders."""
    folders = [folder / group for folder in _folders(arguments)]
    return sorted({path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.yaml")})


def chosen_files(arguments: Arguments) -> list[Path]:
    """The files of the options that a command line chooses."""
    chosen = [(override_key(override), option) for override in arguments.overrides for option in override.partition("=")[2].split(",")]
    short = [(group, option) for group, option in chosen if len(group) + len(option) < 200]
    return [path for group, option in short for folder in _folders(arguments) if (path := folder / group / f"{option}.yaml").is_file()]


def _folders(arguments: Arguments) -> list[Path]:
    return [folder for folder in (CONFIGS, arguments.config_dir) if folder is not None]
