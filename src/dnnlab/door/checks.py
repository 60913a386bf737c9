"""`dnnlab check`: the settings of a command line, looked at as a run would, without a run."""

from __future__ import annotations

from dnnlab.config.reader import read
from dnnlab.config.run import RunConfig
from dnnlab.config.schema import lookup
from dnnlab.config.yamlfile import inspect
from dnnlab.door.arguments import Arguments, as_typed
from dnnlab.door.references import resolve
from dnnlab.door.survey import sweeping
from dnnlab.door.translate import surveyed
from dnnlab.errors import ConfigError, shown


def settings_of(arguments: Arguments) -> RunConfig:
    """The typed settings that a command line asks for; every fault of theirs is told as `train` would tell it."""
    found = surveyed(arguments)
    for file in found.origins.files:
        inspect(file.path, wants=lambda key: fact.words if (fact := lookup(key, found.kinds)) else "", package=file.package)
    resolved = resolve(found.config, found.origins)
    return read(resolved.mapping, origin=found.origins, references=resolved.shown)


def checked(arguments: Arguments) -> None:
    """Print what would go wrong, on one screen; of a sweep, in its first job."""
    swept = sweeping(arguments)
    if swept and arguments.option("-m", "--multirun") is None:
        raise ConfigError(
            f"a run must have one value for each setting, however: {shown(as_typed(swept))}",
            where="command line",
            fix="Give one value, write a list as KEY=[A,B], or add -m to look at the first job of a sweep",
        )
    config = settings_of(arguments)
    from dnnlab import app  # torch comes in here
    from dnnlab.loggers.console import terminal

    screen, _ = app.check(config, arguments.trusted)
    terminal().print(screen, crop=False)
