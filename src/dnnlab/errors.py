"""What may go wrong, said once: requirement, fact, remedy; each kind with its exit code."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class DnnlabError(Exception):
    """Something that the user can mend: what is wrong, where it stands and how to fix it.

    >>> print(ConfigError("epochs must be at least 1, however: 0", where="trainer.epochs", fix="Try trainer.epochs=10"))
    epochs must be at least 1, however: 0 - trainer.epochs - Try trainer.epochs=10
    """

    kind: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        return " - ".join(part for part in (self.what, self.where, self.fix) if part)


class ConfigError(DnnlabError):
    """A setting or command that cannot be honoured."""

    kind = "config"
    exit_code = 2


class DataError(DnnlabError):
    """A file or table that cannot be used."""

    kind = "data"
    exit_code = 3


class DivergedError(DnnlabError):
    """Training left the finite numbers; the last finite state is kept."""

    kind = "diverged"
    exit_code = 4


class ResourceError(DnnlabError):
    """Memory, disk or permission ran out."""

    kind = "resources"
    exit_code = 5


class FullDiskError(ResourceError):
    """There is no room left: nothing that could be done next would have any."""


class ArtifactError(DnnlabError):
    """A saved file is damaged, or does not fit what is asked of it."""

    kind = "artifact"
    exit_code = 6


class UntrustedError(DnnlabError):
    """Something would have executed code that nobody trusted."""

    kind = "untrusted"
    exit_code = 7


class BusyError(DnnlabError):
    """The folder already holds a run."""

    kind = "busy"
    exit_code = 8


class SweepError(DnnlabError):
    """A sweep ended, and some of its jobs failed."""

    kind = "sweep"
    exit_code = 9


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Name the nearest valid choice, and all of them where they are few.

    >>> did_you_mean("adm", ["adam", "sgd"]), did_you_mean("SGD", ["adam", "sgd"])
    ('Did you mean adam? Choose one of: adam, sgd', 'Did you mean sgd? Choose one of: adam, sgd')
    """
    names = sorted(choices)
    small = {name.lower(): name for name in names}
    near = get_close_matches(word.lower(), small, n=1, cutoff=0.5)
    hint = f"Did you mean {small[near[0]]}? " if near else ""
    return f"{hint}Choose one of: {', '.join(names)}"


def shown(text: object, limit: int = 80) -> str:
    """Quote a value that came from outside: control characters escaped, cut at `limit` characters.

    >>> shown("a\\x1b[31mb")
    "'a\\\\x1b[31mb'"
    """
    quoted = ascii(text) if isinstance(text, str) and not text.isprintable() else repr(text)
    return quoted if len(quoted) <= limit else quoted[: limit - 1] + "…"
