"""`dnnlab resume`, and `dnnlab train --resume-if-exists`: which run goes on, and with what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dnnlab.config.reader import read
from dnnlab.config.request import Request
from dnnlab.door.arguments import Arguments, as_typed, parse
from dnnlab.door.choices import options, override_key
from dnnlab.errors import ConfigError, shown
from dnnlab.files import printable
from dnnlab.records import COMPLETE, Summary
from dnnlab.runfolder import RunFolder, has_begun


@dataclass(frozen=True)
class Wishes:
    """The options of `dnnlab resume`."""

    override: bool = False
    require_exact: bool = False
    fallback: bool = False
    allow_data_change: bool = False
    trusted: frozenset[str] = frozenset()
    env: tuple[str, ...] = ()


def resumed(run: Path, words: Sequence[str], wishes: Wishes) -> Summary:
    """Go on with a run; a run that is complete is told of, and left as it is."""
    arguments = parse(words)
    document = RunFolder.open(run).read_config()
    changes = changes_in(document, arguments) if arguments.overrides else {}
    from dnnlab import app  # torch comes in here
    from dnnlab.resume import Order

    argv = tuple(as_typed(word) for word in arguments.overrides)
    summary = app.resume(
        Order(
            run,
            changes,
            argv,
            override=wishes.override,
            require_exact=wishes.require_exact,
            fallback=wishes.fallback,
            allow_data_change=wishes.allow_data_change,
            trusted=wishes.trusted | arguments.trusted,
            env=wishes.env,
        )
    )
    tell_complete(summary)
    return summary


def tell_complete(summary: Summary) -> None:
    """Of a run that was left as it is, say so."""
    for finding in summary.findings:
        if finding.text == COMPLETE:
            print(f"{COMPLETE}: {printable(summary.folder)} - {finding.remedy}")


def train_or_resume(request: Request, changes: dict[str, Any] | None) -> Summary:
    """Begin, or, with the changes to a run that is there already, go on."""
    from dnnlab import app
    from dnnlab.resume import Order

    if changes is None or request.folder is None:
        return app.train(request)
    order = Order(request.folder, changes, request.argv, config=request.config, trusted=request.trusted, brief=request.brief)
    summary = app.resume(replace(order, frame=request.frame))
    tell_complete(summary)
    return summary


def changes_in(document: Mapping[str, Any], arguments: Arguments) -> dict[str, Any]:
    """The values that a command line sets, by dotted name; they are read as `train` reads them, beside the kinds that the run has."""
    from dnnlab.door.references import resolve
    from dnnlab.door.survey import sweeping
    from dnnlab.door.translate import surveyed
    from dnnlab.resume import changed

    if swept := sweeping(arguments):
        raise ConfigError(f"a run must go on with one value for each setting, however: {shown(swept)}", where="command line")
    kinds = {group: str(value["kind"]) for group, value in document.items() if isinstance(value, Mapping) and "kind" in value}
    chosen = tuple(f"{group}={kind}" for group, kind in kinds.items() if kind in options(group, arguments))
    found = surveyed(replace(arguments, overrides=(*chosen, *arguments.overrides)))
    mapping = resolve(found.config, found.origins).mapping
    keys = [override_key(word).replace("/", ".") for word in arguments.overrides]
    changes = {key: _at(mapping, key) for key in keys}
    read(changed(document, changes), origin=found.origins)  # says what is wrong in the words of `train`
    return changes


def _at(mapping: Mapping[str, Any], key: str) -> Any:
    value: Any = mapping
    for part in key.split("."):
        value = value[int(part)] if isinstance(value, list) and part.isdecimal() else value[part] if isinstance(value, Mapping) else None
    return value


def begun(request: Request, arguments: Arguments) -> tuple[Request, dict[str, Any] | None]:
    """For `--resume-if-exists`: -> the request with the folder that it always has, and what is changed where a run is there already."""
    from dnnlab.resume import different

    if request.folder is None and not any(override_key(word) == "name" for word in arguments.overrides):
        raise ConfigError(
            "--resume-if-exists must know which run is meant, however: neither name nor hydra.run.dir is given",
            where="command line",
            fix="Give the run a name: name=my_run",
        )
    folder = request.folder or request.root / request.config.name / "run"
    request = replace(request, folder=folder)
    if not has_begun(folder):
        return request, None
    before = RunFolder.open(folder).read_config()
    return request, {key: _at(request.document, key) for key in different(before, request.document)}
