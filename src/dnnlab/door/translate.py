"""Hydra's and OmegaConf's errors in our words: what is wrong, where, and how to mend it. None: not theirs, but a bug of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from hydra.errors import HydraException, InstantiationException, MissingConfigException, OverrideParseException, SearchPathException
from omegaconf.errors import GrammarParseError, OmegaConfBaseException
from yaml import YAMLError

from dnnlab.config.schema import Origin, at, shown_key, unknown_key
from dnnlab.config.yamlfile import inspect, shown_path, too_deep
from dnnlab.door.arguments import Arguments
from dnnlab.door.origins import COMMAND_LINE, override_key
from dnnlab.door.survey import CONFIGS, Survey, survey, unknown_key_of
from dnnlab.errors import ConfigError, DnnlabError, ResourceError, UntrustedError, did_you_mean, shown


def translated(error: Exception, arguments: Arguments) -> DnnlabError | None:
    """Our word for an error that Hydra raised before or between runs."""
    for look in (_grammar, _option, _file, _key, _several_values, _refused):
        found = look(error, arguments)
        if found is not None:
            return found
    chain = list(_chain(error))
    if any(isinstance(link, RecursionError) for link in chain):
        return too_deep(COMMAND_LINE)
    disk = next((link for link in chain if isinstance(link, OSError) and link.filename), None)
    if disk is not None and not isinstance(disk, MissingConfigException):
        return ResourceError(f"a file or folder must be usable, however: {disk.strerror}", where=str(disk.filename))
    if any(isinstance(link, HydraException | OmegaConfBaseException | YAMLError) for link in chain):
        return _other(error, chain)
    return None


def _grammar(error: Exception, arguments: Arguments) -> ConfigError | None:
    """C15: the argument, and a caret under the place where it could not be read on."""
    if not isinstance(error, OverrideParseException):
        return None
    text = error.override
    column = min(_column(error), len(text))
    if "=" not in text:
        fix = f"Settings are written as key=value: {text or 'key'}=VALUE"
    elif column >= len(text):
        fix = "Something is not closed: a bracket, a brace or a quote"
    else:
        fix = f"Quote what is text: '{override_key(text)}=\"{text.partition('=')[2]}\"'"
    fault = ConfigError(f"an argument must read key=value, however: {shown(text)}", where=f"{COMMAND_LINE}:{column + 1}", fix=fix)
    if text.isprintable() and len(text) <= 200:
        fault.add_note(f"  {text}\n  {' ' * column}^")
    return fault


def _column(error: Exception) -> int:
    """Where the parser stopped: it says so only in the frame that raised."""
    for frame in _frames(error):
        if frame.f_code.co_name == "syntaxError":
            return int(frame.f_locals.get("column", 0))
    return 0


def _option(error: Exception, arguments: Arguments) -> ConfigError | None:
    """C11: an option that its group has not."""
    if isinstance(error, ValueError) and "Config group override must be a string" in str(error):
        return ConfigError("a choice must be the name of an option, however: a number or mapping", where=COMMAND_LINE, fix="Try --help")
    if not isinstance(error, MissingConfigException) or not error.missing_cfg_file:
        return None
    group, _, name = error.missing_cfg_file.rpartition("/")
    if not group:
        folder = arguments.config_dir or CONFIGS
        where = f"--config-name, {shown_path(folder)}"
        return ConfigError(
            f"the main file of settings must exist, however: there is no {shown(name)}", where=where, fix="Try --config-name train"
        )
    named = re.match(r"In '([^']+)'", str(error))
    typed = any(override_key(override) == group for override in arguments.overrides)
    where = f"{COMMAND_LINE}:{group}" if typed or named is None else f"{named[1]}.yaml:{group}"
    options = list(error.options or ())
    fix = did_you_mean(name, options) if options else "There is no such group; --help shows what there is"
    return ConfigError(f"{group} must be one of its options, however: {shown(name)}", where=where, fix=fix)


def _file(error: Exception, arguments: Arguments) -> ConfigError | None:
    """C5, C6, C9, C14: a file that cannot be read."""
    for frame in _frames(error):
        path = frame.f_locals.get("full_path")
        if frame.f_code.co_name != "load_config" or not isinstance(path, str) or not Path(path).is_file():
            continue
        try:
            inspect(Path(path))
        except ConfigError as fault:
            return fault
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        key = next((str(link.full_key) for link in _chain(error) if isinstance(link, GrammarParseError) and link.full_key), "")
        if key:
            text = f"the reference in {shown_key(key)} is not closed or not written as ${{key}}"
        fault_at = f"{shown_path(Path(path))}:{shown_key(key)}" if key else shown_path(Path(path))
        return ConfigError(f"a file of settings must be readable, however: {text}", where=fault_at)
    return None


def _key(error: Exception, arguments: Arguments) -> ConfigError | None:
    """C1: keys on the command line that no setting has; all of them at once."""
    key = unknown_key_of(error)
    if not key:
        return None
    if key.startswith("hydra."):
        near = re.search(r"Did you mean: '([^']+)'", str(error.__cause__))
        fix = f"Did you mean {key.rpartition('.')[0]}.{near[1]}?" if near else "--hydra-help shows what there is"
        return ConfigError(f"{shown_key(key)} must be a known setting of Hydra, however: it is none", where=COMMAND_LINE, fix=fix)
    try:
        found = survey(arguments)
    except Exception:  # something else is wrong, too: this error first
        return ConfigError(f"{shown_key(key)} must be a known setting, however: it is none", where=at(key, lambda _: COMMAND_LINE))
    return unknown_keys(found, key)


def unknown_keys(found: Survey, *names: str) -> ConfigError:
    """The error for keys on the command line that no setting has."""
    faults = [unknown_key(name, found.kinds, _typed(name, found)) for name in found.unknown or names]
    for fault in faults[1:]:
        faults[0].add_note(str(fault))
    return faults[0]


def _typed(own: str, found: Survey) -> Origin:
    return lambda key: COMMAND_LINE if key == own else found.origins(key)


def _several_values(error: Exception, arguments: Arguments) -> ConfigError | None:
    found = re.search(r"(?:Ambiguous value for argument|Sweep parameters) '(.*)'", str(error).splitlines()[0] if str(error) else "")
    if found is None:
        return None
    key, _, value = found[1].partition("=")
    fix = (
        f"Add -m to run one after the other, or write a list: '{key}=[{value}]'"
        if "(" not in value
        else "Add -m to run one after the other"
    )
    return ConfigError(f"{shown_key(key)} must have one value, however: {shown(value)}", where=f"{COMMAND_LINE}:{shown_key(key)}", fix=fix)


def _refused(error: Exception, arguments: Arguments) -> DnnlabError | None:
    if isinstance(error, SearchPathException):
        where = f"--config-dir {arguments.config_dir}"
        return ConfigError("the folder of your own settings must exist, however: it does not", where=where, fix="Look at the path")
    if isinstance(error, InstantiationException):
        what = "settings must not name code to run, however: hydra was told to (a _target_ of its own)"
        return UntrustedError(what, where="hydra", fix="Remove it; a module of yours comes in by kind: custom and --trust PACKAGE")
    return None


def _other(error: Exception, chain: list[BaseException]) -> ConfigError:
    key = next((str(link.full_key) for link in chain if isinstance(link, OmegaConfBaseException) and link.full_key), "")
    said = [str(link).splitlines()[0] for link in chain if str(link)]
    fact = "; ".join(dict.fromkeys(line.rstrip(" :.") for line in said[:2])) or type(error).__name__
    return ConfigError(
        f"the settings must fit together, however: {fact}", where=shown_key(key) if key else COMMAND_LINE, fix="--debug shows more"
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and what led to it."""
    seen: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in seen:
        seen.append(link)
        yield link
        link = link.__cause__ or link.__context__


def _frames(error: BaseException) -> Iterator[FrameType]:
    """The frames that an error and its causes went through."""
    for link in _chain(error):
        trace = link.__traceback__
        while trace is not None:
            yield trace.tb_frame
            trace = trace.tb_next
