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
from dnnlab.config.yamlfile import inspect, lines, shown_path, too_deep
from dnnlab.door.arguments import Arguments
from dnnlab.door.choices import CONFIGS, chosen_files, group_names, options, override_key
from dnnlab.door.origins import COMMAND_LINE
from dnnlab.door.survey import Survey, survey, unknown_key_of
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


def surveyed(arguments: Arguments) -> Survey:
    """The composed settings of a command line; what is wrong with them is raised in our words, unknown keys all at once."""
    try:
        found = survey(arguments)
    except DnnlabError:
        raise
    except Exception as error:
        known = translated(error, arguments)
        if known is None:
            raise
        raise known from error
    if found.unknown:
        raise unknown_keys(found)
    return found


def _grammar(error: Exception, arguments: Arguments) -> ConfigError | None:
    """C15: the argument, and a caret under the place where it could not be read on."""
    if not isinstance(error, OverrideParseException):
        return None
    text = error.override
    column = min(_column(error), len(text))
    if "=" not in text:
        fix = f"Settings are written as key=value: {text or 'key'}=VALUE"
    elif column < text.index("="):
        fix = "A key is a dotted name: optimizer.lr=0.01"
    elif column >= len(text) or any(text.count(quote) % 2 for quote in "'\""):
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
        return _no_word(arguments)
    asked = re.search(r"Invalid Defaults List override '/?([^:@']+).*?:\s*([^']*)'", str(error))
    if asked is not None:
        return _no_group(asked[1], f"{_asking_file(asked[1], asked[2], arguments) or COMMAND_LINE}:{shown_key(asked[1])}", arguments)
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
    where = f"{COMMAND_LINE}:{group}" if typed or named is None else f"{_asking_file(group, name, arguments) or named[1] + '.yaml'}:{group}"
    options = list(error.options or ())
    if not options:
        return _no_group(group, where, arguments)
    return ConfigError(f"{group} must be one of its options, however: {shown(name)}", where=where, fix=did_you_mean(name, options))


def _no_group(group: str, where: str, arguments: Arguments) -> ConfigError:
    what = f"{shown_key(group)} must be a group of choices, however: there is none of that name"
    return ConfigError(what, where=where, fix=did_you_mean(group, group_names(arguments)))


def _asking_file(group: str, name: str, arguments: Arguments) -> str:
    """The file chosen on the command line whose defaults ask for an option; Hydra names only the one that is overridden."""
    for path in chosen_files(arguments):
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            if re.search(rf"\boverride\s+/?{re.escape(group)}\s*:\s*['\"]?{re.escape(name)}\b", line):
                return f"{shown_path(path)}:{number}"
    return ""


def _no_word(arguments: Arguments) -> ConfigError:
    chosen = [(override_key(override), override.partition("=")[2]) for override in arguments.overrides]
    group, value = next(
        ((key, value) for key, value in chosen if (names := options(key, arguments)) and value not in names), ("a choice", "")
    )
    fix = did_you_mean(value, options(group, arguments)) if value else "--help shows the choices"
    what = f"{group} must be one of its options, however: {shown(value) if value else 'a number or mapping'}"
    return ConfigError(what, where=f"{COMMAND_LINE}:{group}" if value else COMMAND_LINE, fix=fix)


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
        text = str(error).splitlines()[0].split(". ")[0] if str(error) else type(error).__name__
        key = next((str(link.full_key) for link in _chain(error) if isinstance(link, GrammarParseError) and link.full_key), "")
        if key:
            text = f"the reference in {shown_key(key)} is not closed or not written as ${{key}}"
        fault_at = f"{lines(Path(path)).get(key, shown_path(Path(path)))}:{shown_key(key)}" if key else shown_path(Path(path))
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
    fix = "Add -m to run one after the other"
    if "(" not in value and not options(key, arguments):  # a choice is one word
        fix += f", or write a list: '{key}=[{value}]'"
    return ConfigError(f"{shown_key(key)} must have one value, however: {shown(value)}", where=f"{COMMAND_LINE}:{shown_key(key)}", fix=fix)


def _refused(error: Exception, arguments: Arguments) -> DnnlabError | None:
    if isinstance(error, SearchPathException):
        where = f"--config-dir {arguments.config_dir}"
        return ConfigError("the folder of your own settings must exist, however: it does not", where=where, fix="Look at the path")
    if any(isinstance(link, InstantiationException) for link in _chain(error)):
        what = "settings must not name code to run, however: hydra was told to (a _target_ of its own)"
        return UntrustedError(what, where="hydra", fix="Remove it; a module of yours comes in by kind: custom and --trust PACKAGE")
    return None


def _other(error: Exception, chain: list[BaseException]) -> ConfigError:
    key = next((str(link.full_key) for link in chain if isinstance(link, OmegaConfBaseException) and link.full_key), "")
    if any(isinstance(link, GrammarParseError) for link in chain):
        what = f"a reference must be written ${{key}} or ${{resolver:arguments}}, however: {shown(str(chain[-1]).splitlines()[0])}"
        return ConfigError(what, where=shown_key(key) if key else COMMAND_LINE, fix="Close its brace, or write \\${ for the plain text")
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
