"""What a setting means, what it may be, what it is, and who set it."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dnnlab.config.run import RunConfig
from dnnlab.config.schema import REQUIRED, Fact, keys, lookup, unknown_key, variants
from dnnlab.door.arguments import Arguments
from dnnlab.door.choices import options
from dnnlab.door.origins import COMMAND_LINE
from dnnlab.door.references import resolve
from dnnlab.door.survey import Survey
from dnnlab.door.translate import surveyed
from dnnlab.errors import ConfigError


def explain(key: str, arguments: Arguments) -> str:
    """The explanation of one dotted key, or of a group; of everything where the key is empty."""
    found = surveyed(arguments)
    if not key:
        return _table("Everything that a run can be asked; name one to know more.", list(RunConfig.model_fields), found, arguments)
    fact = lookup(key, found.kinds)
    if fact is None:
        raise unknown_key(key, found.kinds, lambda name: COMMAND_LINE if name == key else found.origins(name))
    return _setting(fact, found) if fact.group is None else _group(fact, found, arguments)


def _setting(fact: Fact, found: Survey) -> str:
    value = _value(fact.key, found)
    rows = [f"{fact.key} = {value}{_meaning(fact.key, found)}", f"  {fact.doc}"]
    rows.append(f"  must be    {fact.words}")
    rows.append("  default    none: it must be given" if fact.default == REQUIRED else f"  default    {fact.example}")
    rows.append(f"  set by     {found.origins(fact.key) or 'the default'}")
    return "\n".join(rows)


def _group(fact: Fact, found: Survey, arguments: Arguments) -> str:
    kind = found.kinds.get(fact.key)
    title = f"{fact.key} = {kind}\n  {fact.doc}" if kind else f"{fact.key}\n  {fact.doc}"
    if kind and fact.group is not None and fact.group.__doc__:
        title += f"\n  {kind}: {fact.group.__doc__}"
    if choices := options(fact.key, arguments):
        title += f"\n  choices    {', '.join(choices)}"
    origin = found.origins(f"{fact.key}.kind" if variants(fact.key) else fact.key)
    if origin:
        title += f"\n  set by     {origin}"
    members = [name for name in keys(found.kinds) if name.rpartition(".")[0] == fact.key and not name.endswith(".kind")]
    return _table(title, members, found, arguments) if members else title


def _table(title: str, members: list[str], found: Survey, arguments: Arguments) -> str:
    cells = []
    for name in members:
        fact = lookup(name, found.kinds)
        words = f"{fact.doc} ({fact.words})" if fact and fact.group is None else fact.doc if fact else ""
        cells.append((name, found.kinds.get(name) or ("…" if fact and fact.group else _value(name, found)), words))
    wide = [max(len(cell[column]) for cell in cells) for column in (0, 1)]
    wide[1] = min(wide[1], 24)
    return "\n".join([title, "", *(f"  {name:<{wide[0]}}  {value:<{wide[1]}}  {words}".rstrip() for name, value, words in cells)])


def _value(key: str, found: Survey) -> str:
    """The composed value as YAML in one line, references as they are written; the default, where no file gives one."""
    node: Any = OmegaConf.to_container(found.config, resolve=False)
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            fact = lookup(key, found.kinds)
            return fact.example if fact is not None and fact.default != REQUIRED else REQUIRED
        node = node[part]
    text = OmegaConf.to_yaml(OmegaConf.create([node]))[2:] if isinstance(node, str) and "${" not in node else _flow(node)
    return text.strip()


def _flow(node: Any) -> str:
    if isinstance(node, list):
        return f"[{', '.join(_flow(item) for item in node)}]"
    if node is None or isinstance(node, bool):
        return {None: "null", True: "true", False: "false"}[node]
    return str(node)


def _meaning(key: str, found: Survey) -> str:
    """What a reference stands for at the moment; nothing where it reads the environment."""
    if "${" not in _value(key, found):
        return ""
    try:
        resolved = resolve(found.config, found.origins)
    except (ConfigError, OmegaConfBaseException):
        return ""
    node: Any = resolved.mapping
    for part in key.split("."):
        node = node[part]
    return "" if key in resolved.shown else f"  (here: {_flow(node)})"
