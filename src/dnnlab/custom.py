"""The one door for a user's own classes: imported by name, and only from packages that were trusted on the command line."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from typing import Any

from dnnlab.errors import ConfigError, UntrustedError, did_you_mean, shown


def load(target: str, trusted: Collection[str], where: str) -> Any:
    """The object that `target` (package.module.Name) names; `where` is the setting that asks for it.

    >>> load("collections.OrderedDict", {"collections"}, "model.target")
    <class 'collections.OrderedDict'>
    """
    package = target.split(".")[0]
    if package not in trusted:
        raise UntrustedError(
            f"{where} must name a class of a trusted package, however: {shown(target)}",
            where=where,
            fix=f"If you trust its code, add --trust {package} to the command line (or set DNNLAB_TRUST={package})",
        )
    module, _, name = target.rpartition(".")
    try:
        holder = import_module(module)
    except Exception as error:  # whatever the user's module raises while it is imported
        raise ConfigError(
            f"{where} must name a module that can be imported, however: {type(error).__name__}: {error}",
            where=where,
            fix=f"Put the folder of {package} on PYTHONPATH, or install it",
        ) from error
    if not hasattr(holder, name):
        own = [entry for entry, made in vars(holder).items() if (getattr(made, "__module__", None) or "").split(".")[0] == package]
        names = [entry for entry in own if not entry.startswith("_")]
        raise ConfigError(f"{where} must name something in {module}, however: {name}", where=where, fix=did_you_mean(name, names))
    return getattr(holder, name)
