"""What the settings are, asked by key: words for a requirement, documentation, defaults, neighbours, and the JSON Schema for editors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, get_args

from pydantic.fields import FieldInfo

from dnnlab.config.base import Settings
from dnnlab.config.run import RunConfig
from dnnlab.errors import ConfigError

Kinds = Mapping[str, str]  # group -> the kind chosen in it
Origin = Callable[[str], str]  # key -> where its value was set: "conf/my.yaml:3", "command line" or ""
REQUIRED = "???"


@dataclass(frozen=True)
class Fact:
    """What is known of one setting, or of a group of them."""

    key: str
    doc: str
    words: str  # completes "must be …"
    default: Any = REQUIRED
    group: type[Settings] | None = None  # the class of a group of settings

    @property
    def example(self) -> str:
        """A value that may stand on the command line."""
        return _yaml(self.default) if self.default != REQUIRED else "VALUE"


@cache
def variants(group: str) -> dict[str, type[Settings]]:
    """The kinds of a group and the class of each; empty where a group has no kinds, or where there is no such group.

    >>> variants("loss")["huber"].__name__, variants("trainer")
    ('Huber', {})
    """
    field = RunConfig.model_fields.get(group)
    if field is None or field.discriminator is None:
        return {}
    return {kind: settings for settings in get_args(field.annotation) for kind in get_args(settings.model_fields["kind"].annotation)}


def groups() -> tuple[str, ...]:
    """The top-level keys that hold groups of settings, in the order of the schema."""
    return tuple(name for name, field in RunConfig.model_fields.items() if variants(name) or _settings(field))


def settings_of(group: str, kinds: Kinds) -> type[Settings] | None:
    """The class of a top-level group under the chosen kinds; None for a plain setting or an unknown kind."""
    if kinds_of := variants(group):
        return kinds_of.get(kinds.get(group, ""))
    field = RunConfig.model_fields.get(group)
    return None if field is None else _settings(field)


def lookup(key: str, kinds: Kinds) -> Fact | None:
    """What is known of a dotted key; a place inside a list or a free mapping belongs to its setting. None: there is no such key.

    >>> lookup("optimizer.lr", {"optimizer": "adam"}).words
    'a number above 0'
    >>> lookup("optimizer.momentum", {"optimizer": "adam"}) is None
    True
    """
    parts, group = key.split("."), ""
    owner: type[Settings] = RunConfig
    for depth, part in enumerate(parts):
        field = owner.model_fields.get(part)
        if field is None:
            return None
        group = ".".join(parts[: depth + 1])
        inner = settings_of(part, kinds) if depth == 0 else _settings(field)
        if inner is None:
            return _fact(group, owner, part, field)
        owner = inner
    doc = RunConfig.model_fields[key].description if key in RunConfig.model_fields else owner.__doc__
    return Fact(group, doc or "", "a group of settings", group=owner)


def keys(kinds: Kinds) -> list[str]:
    """Every dotted key under the chosen kinds, groups before their members."""
    found: list[str] = []

    def walk(prefix: str, owner: type[Settings]) -> None:
        for name, field in owner.model_fields.items():
            found.append(prefix + name)
            inner = settings_of(name, kinds) if not prefix else _settings(field)
            if inner is not None:
                walk(f"{prefix}{name}.", inner)

    walk("", RunConfig)
    return found


def all_keys() -> list[str]:
    """Every dotted key under any kind, for completion."""
    wholes = [keys({group: kind}) for group in groups() for kind in variants(group) or ("",)]
    return sorted({key for whole in wholes for key in whole})


PRESETS = ("experiment", "debug", "local")  # groups without settings of their own


def unknown_key(key: str, kinds: Kinds, origin: Origin) -> ConfigError:
    """The error for a key that no setting has: it names the nearest one, and where that stands."""
    parent, _, word = key.rpartition(".")
    group = key.split(".")[0]
    holder = f"{group}={kinds[group]}" if parent and parent in kinds else parent
    others = sorted(kind for kind, settings in variants(group).items() if parent == group and word in settings.model_fields)
    near = "" if others else nearest(key, kinds)
    hints = [f"Did you mean {near}{_in_brackets(origin(near))}?" if near else ""]
    if others:
        hints.append(f"{group}={', '.join(others)} would have it.")
        if any(f"{group}/{kind}.yaml:" in origin(key).replace("\\", "/") for kind in others):  # the file of another choice is in use
            set_by = _in_brackets(origin(f"{group}.kind"))
            hints.append(f"Choose a kind with all its settings, by {group}={kinds[group]}, not by {group}.kind{set_by}.")
    siblings = [name.removeprefix(f"{parent}.") for name in keys(kinds) if name.rpartition(".")[0] == parent]
    siblings = [name for name in siblings if name != "kind"]
    if key in PRESETS:
        hints.append(f"A file of the folder {key}/ sets keys of every group: let it begin with the line # @package _global_")
    elif siblings:
        hints.append(f"{holder or 'The top level'} has: {', '.join(siblings)}")
    elif parent in kinds:
        hints.append(f"{holder} has no settings of its own")
    what = f"{shown_key(key)} must be a known setting, however: {holder + ' has' if holder else 'there is'} no {shown_key(word)}"
    return ConfigError(what, where=at(key, origin), fix=" ".join(hint for hint in hints if hint))


def nearest(key: str, kinds: Kinds) -> str:
    """The valid key that was most likely meant, or nothing.

    >>> nearest("model.hiden", {"model": "mlp"}), nearest("lr", {"optimizer": "adam"}), nearest("qqq", {})
    ('model.hidden', 'optimizer.lr', '')
    """
    parent, _, word = key.rpartition(".")
    every = keys(kinds)
    beside = {name.rpartition(".")[2]: name for name in every if name.rpartition(".")[0] == parent}
    close = [beside[name] for name in get_close_matches(word, beside, n=1, cutoff=0.6)]
    same_word = [name for name in every if name.rpartition(".")[2] == word]
    anywhere = [] if parent and beside else get_close_matches(key, every, n=1, cutoff=0.8)
    return next(iter(close + same_word + anywhere), "")


def at(key: str, origin: Origin) -> str:
    """Where a key was set, for an error: place:key."""
    place = origin(key)
    return f"{place}:{shown_key(key)}" if place else shown_key(key)


def shown_key(key: str) -> str:
    """A key from outside, safe to print."""
    text = key if key.isprintable() and key else ascii(key)
    return text if len(text) <= 80 else text[:79] + "…"


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a run's YAML: partial files (an experiment, a group's option) are valid, too.

    >>> json_schema()["properties"]["seed"]["minimum"]
    0
    """
    schema = RunConfig.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "dnnlab settings"
    loosened: dict[str, Any] = _loosen(schema)
    loosened["properties"]["defaults"] = {
        "type": "array",
        "description": "Choices that this file is built upon, as `override /model: deep`.",
    }
    loosened["properties"]["hydra"] = {"type": "object", "description": "Settings of Hydra itself."}
    return loosened


def group_schema(group: str) -> dict[str, Any]:
    """The JSON Schema of one group's YAML files."""
    whole = json_schema()
    return {"$schema": whole["$schema"], "$defs": whole["$defs"], **whole["properties"][group]}


def _loosen(node: Any) -> Any:
    """Without `required`, and with anyOf for oneOf: what a file leaves out, another one says."""
    if isinstance(node, list):
        return [_loosen(item) for item in node]
    if not isinstance(node, dict):
        return node
    renamed = {"anyOf" if name == "oneOf" else name: _loosen(value) for name, value in node.items() if name != "discriminator"}
    if "properties" in node and isinstance(node.get("required"), list):
        del renamed["required"]
    return renamed


def _settings(field: FieldInfo) -> type[Settings] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Settings) else None


def _fact(key: str, owner: type[Settings], name: str, field: FieldInfo) -> Fact:
    if kinds := variants(key):  # a group whose kind is unknown
        return Fact(key, field.description or "", f"a group of settings with a kind: {', '.join(kinds)}")
    if name == "kind":
        return Fact(key, owner.__doc__ or "", f"one of: {', '.join(variants(key.split('.')[0]))}")
    part = _class_schema(owner)["properties"][name]
    default = REQUIRED if field.is_required() else field.default
    return Fact(key, field.description or "", words(part, _class_schema(owner).get("$defs", {})), default)


@cache
def _class_schema(owner: type[Settings]) -> dict[str, Any]:
    return owner.model_json_schema()


SPAN = r"^\d+(\.\d+)? ?(steps?|epochs?|%)?$"
# How texts of a form are called; the key is the form's pattern in the schema.
FORMS = {
    r"^(auto|cpu|mps|cuda(:\d+)?)$": "auto, cpu, mps, cuda or cuda:1",
    r"^(train|valid)/[a-z0-9_]+$": "the logged name of a metric, as valid/loss",
    r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$": "package.module.Name",
    SPAN: "a length such as 500steps, 3epochs or 10%",
}


def words(part: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """What a part of a JSON Schema asks for, as a person says it.

    >>> words({"anyOf": [{"type": "integer", "minimum": 1}, {"enum": ["auto", "full"]}]}, {})
    'a whole number of at least 1, or one of: auto, full'
    """
    if "$ref" in part:
        return words(defs[part["$ref"].rpartition("/")[2]], defs)
    if "anyOf" in part:
        choices = sorted(part["anyOf"], key=lambda choice: choice.get("type") == "array")
        if any(choice.get("pattern") == SPAN for choice in choices):
            return FORMS[SPAN]
        return ", or ".join(words(choice, defs) for choice in choices)
    if "enum" in part:
        return f"one of: {', '.join(part['enum'])}"
    if "const" in part:
        return str(part["const"])
    return _plain_words(part, defs)


def _plain_words(part: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    match part.get("type"):
        case "integer":
            return "a whole number" + _range(part)
        case "number":
            return "a number" + _range(part)
        case "string":
            length = f" of {part.get('minLength', 0)} to {part['maxLength']} characters" if "maxLength" in part else ""
            return FORMS.get(part.get("pattern", ""), f"text{length}")
        case "array":
            least, most = part.get("minItems", 0), part.get("maxItems")
            count = f"{least} values" if least == most else f"{least} to {most} values" if most else f"at least {least} values"
            return f"a list{'' if not least and not most else ' of ' + count}, each {words(part['items'], defs)}"
        case "boolean":
            return "true or false"
        case "null":
            return "null"
        case _:
            return "a mapping of names to values"


def _range(part: Mapping[str, Any]) -> str:
    low, high = part.get("minimum", part.get("exclusiveMinimum")), part.get("maximum", part.get("exclusiveMaximum"))
    if low is not None and high is not None:
        return f" in {'[' if 'minimum' in part else '('}{low}, {high}{']' if 'maximum' in part else ')'}"
    if low is not None:
        return f" of at least {low}" if "minimum" in part else f" above {low}"
    return "" if high is None else f" of at most {high}"


def _in_brackets(place: str) -> str:
    return f" ({place})" if place else ""


def _yaml(value: Any) -> str:
    """A default as YAML writes it.

    >>> _yaml(None), _yaml(True), _yaml([0.9, 0.999])
    ('null', 'true', '[0.9,0.999]')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{','.join(_yaml(item) for item in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
