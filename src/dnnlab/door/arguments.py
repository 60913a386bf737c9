"""The words of a command line, sorted: settings, options of Hydra's, and our own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from dnnlab.errors import ConfigError, did_you_mean, shown

# Hydra's options, and whether a value follows.
OPTIONS = {
    "-h": False, "--help": False, "--hydra-help": False, "--version": False, "-r": False, "--run": False, "-m": False, "--multirun": False,
    "-sc": False, "--shell-completion": False, "--resolve": False, "-c": True, "--cfg": True, "-p": True, "--package": True,
    "-cp": True, "--config-path": True, "-cn": True, "--config-name": True, "-cd": True, "--config-dir": True, "-i": True, "--info": True,
}  # fmt: skip
OWN = ("--debug", "--resume-if-exists")  # what Hydra does not know
SHOWS = {
    "--cfg": ("job", "hydra", "all"),
    "--info": ("all", "aliases", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}  # what these can show
FREE = ("data.columns.", "data.columns={", "data.relabel.", "data.relabel={")  # settings whose keys are names from somebody's file
COLUMNS = "data.columns."
ALONE = (("--run", "-r"), ("--multirun", "-m"), ("--cfg", "-c"), ("--shell-completion", "-sc"), ("--info", "-i"))  # one of them at most


@dataclass(frozen=True)
class Arguments:
    """One command line."""

    hydra: tuple[str, ...] = ()  # what Hydra is to see: everything but our own options
    overrides: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict)  # Hydra's options, with their values
    trusted: frozenset[str] = frozenset()
    debug: bool = False
    resume_if_exists: bool = False  # go on with the run that is in the folder already

    def option(self, *names: str) -> str | None:
        """The value of an option under any of its names; None where it was not given."""
        return next((self.options[name] for name in names if name in self.options), None)

    @property
    def config_dir(self) -> Path | None:
        """The user's own folder of YAML files."""
        given = self.option("-cd", "--config-dir")
        return None if given is None else Path(given).absolute()

    @property
    def completes(self) -> bool:
        """Whether a shell asks for completions, or for the script that asks for them."""
        return self.option("-sc", "--shell-completion") is not None


def parse(words: Sequence[str]) -> Arguments:
    """Sort the words of a command line; a ConfigError for an option that nobody knows.

    >>> found = parse(["model=deep", "-m", "--trust", "mine", "--config-dir=conf"])
    >>> found.hydra, found.overrides, sorted(found.trusted), found.options["--config-dir"]
    (('model=deep', '-m', '--config-dir=conf'), ('model=deep',), ['mine'], 'conf')
    """
    hydra: list[str] = []
    overrides: list[str] = []
    options: dict[str, str] = {}
    trusted = set(os.environ.get("DNNLAB_TRUST", "").replace(",", " ").split())
    waiting = list(reversed(words))
    while waiting:
        word = waiting.pop()
        name, _, value = word.partition("=")
        if word in OWN:
            options[word] = ""
        elif name == "--trust":
            trusted.add(value if "=" in word else _next(waiting, name))
        elif not word.startswith("-"):
            if not name.strip("+~ "):
                fix = "Settings are written as key=value: optimizer.lr=0.01"
                raise ConfigError(f"an argument must read key=value, however: {shown(word)}", where="command line", fix=fix)
            hydra.append(_opened(word))
            overrides.append(_opened(word))
        elif name in OPTIONS and ("=" not in word or OPTIONS[name]):
            hydra.append(word)
            if OPTIONS[name] and "=" not in word:
                value = "all" if name in ("-i", "--info") and (not waiting or waiting[-1] not in SHOWS["--info"]) else _next(waiting, name)
                hydra.append(value)
            options[name] = value
        else:
            raise _unknown(word)
    _check(options)
    return Arguments(
        tuple(hydra), tuple(overrides), options, frozenset(_package(name) for name in trusted), *(name in options for name in OWN)
    )


def _opened(word: str) -> str:
    """Mappings that take any name take new ones without Hydra's plus signs.

    >>> _opened("data.columns.age=numeric"), _opened("data.columns.my age=ignore"), _opened("optimizer.lr=0.1")
    ('++data.columns.age=numeric', '++data.columns.$6d7920616765=ignore', 'optimizer.lr=0.1')
    """
    bare = word.lstrip("+")
    if bare.startswith(COLUMNS) and "=" in bare:
        name, _, kind = bare.removeprefix(COLUMNS).rpartition("=")  # a name may hold an equals sign, a kind does not
        return f"++{COLUMNS}{_coded(name)}={kind}"
    return f"++{word}" if word.startswith(FREE) and "=" in word else word


def _coded(name: str) -> str:
    """A column's name as a key that Hydra's grammar takes: letters of other scripts, blanks, dots and quotes are none of its own."""
    plain = name.isidentifier() and name.isascii() and name.lower() not in ("true", "false", "null", "nan", "inf")
    return name if plain else "$" + os.fsencode(name).hex()


def decoded(key: str) -> str:
    """The name that a key stands for.

    >>> decoded(_coded("größe")), decoded("age")
    ('größe', 'age')
    """
    try:
        return os.fsdecode(bytes.fromhex(key[1:])) if key.startswith("$") else key
    except ValueError:
        return key


def as_typed(word: str) -> str:
    """A word that `parse` opened, as it was.

    >>> as_typed(_opened("data.columns.my age=ignore")), as_typed("optimizer.lr=0.1")
    ('data.columns.my age=ignore', 'optimizer.lr=0.1')
    """
    key, sign, value = word.partition("=")
    return f"{COLUMNS}{decoded(key.removeprefix('++' + COLUMNS))}{sign}{value}" if key.startswith(f"++{COLUMNS}") else word


def _check(options: dict[str, str]) -> None:
    """Refuse what Hydra would answer in its own words."""
    for long, short in ALONE:
        value = next((options[name] for name in (long, short) if name in options), None)
        if value is not None and value not in SHOWS.get(long, (value,)):
            fix = did_you_mean(value, SHOWS[long])
            raise ConfigError(f"{long} must show something that there is, however: {shown(value)}", where="command line", fix=fix)
    asked = [long for long, short in ALONE if long in options or short in options]
    if len(asked) > 1:
        raise ConfigError(
            f"one of {', '.join(asked)} must be enough, however: {len(asked)} are given", where="command line", fix="Leave one"
        )


def _next(waiting: list[str], name: str) -> str:
    if not waiting:
        raise ConfigError(
            f"{name} must be followed by a value, however: it is the last word", where="command line", fix=f"Try {name} VALUE"
        )
    return waiting.pop()


def _package(name: str) -> str:
    if name.isidentifier():
        return name
    top = name.split(".")[0]
    fix = f"Try --trust {top}" if top.isidentifier() else ""
    raise ConfigError(f"--trust must name a top-level package, however: {shown(name)}", where="command line, DNNLAB_TRUST", fix=fix)


def _unknown(word: str) -> ConfigError:
    name = word.partition("=")[0]
    long = [option for option in (*OPTIONS, "--trust", *OWN) if option.startswith("--")]
    near = get_close_matches(name, long, n=1, cutoff=0.7)
    fix = f"Did you mean {near[0]}?" if near else "--help shows what there is"
    if not near and name.startswith("--"):
        fix = f"Settings are written without dashes: {word.lstrip('-')}{'' if '=' in word else '=VALUE'}"
    return ConfigError(f"an option must be a known one, however: {shown(word)}", where="command line", fix=fix)
