"""One YAML file of settings, looked at before anybody believes it: syntax, double keys, size, and words that YAML silently changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from dnnlab.errors import ConfigError, shown

MAX_BYTES = 1_000_000
MAX_DEPTH = 50

# Plain words that YAML 1.1 reads as something else than what stands there, and what a person meant.
TRAPS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?i)yes|no|on|off"), "true or false"),
    (re.compile(r"[-+]?0[0-7_]*[0-7]"), "a number in base 8"),
    (re.compile(r"[-+]?0b[01_]+"), "a number in base 2"),
    (re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"), "a number in base 60"),
    (
        re.compile(r"[-+]?(0x[0-9a-fA-F_]*_[0-9a-fA-F_]*|(?=[0-9.]*_)[0-9_]+(\.[0-9_]*)?([eE][-+]?[0-9]+)?)"),
        "a number without its underscores",
    ),
)
BOOLEAN = "true or false"
LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Wants = Callable[[str], str]  # a dotted key -> in words, what the schema asks of it; "" where it is unknown


@cache
def _read(path: Path, changed: int) -> yaml.Node | None:
    """The file as a tree of nodes with their places; `changed` (its time of change) only tells the cache."""
    raw = path.read_bytes()
    if len(raw) > MAX_BYTES:
        raise too_large(path, len(raw))
    text = _decode(path, raw)
    _package_line(path, text)
    try:
        node = yaml.compose(text, Loader=LOADER) if _shallow(path, text) else None
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(path, text, error) from error
    except yaml.YAMLError as error:
        raise ConfigError("a file of settings must be YAML, however: " + shown(str(error)), where=str(path)) from error
    if node is None:
        if text.strip():  # nothing but comments
            return None
        raise ConfigError(
            "a file of settings must hold key: value lines, however: it is empty", where=f"{shown_path(path)}:1:1", fix="Remove it"
        )
    if not isinstance(node, yaml.MappingNode):
        found = "a list" if isinstance(node, yaml.SequenceNode) else "a single value"
        raise ConfigError(
            f"a file of settings must hold key: value lines, however: {found}", where=place(path, node), fix="Write key: value"
        )
    return node


def inspect(path: Path, wants: Wants = lambda key: "", package: str = "") -> None:
    """Raise a ConfigError for the first fault of a file; `package`: the group that its keys belong to."""
    node = _read(path, path.stat().st_mtime_ns)
    if node is not None:
        _double_keys(path, node)
        for key, scalar in scalars(node, package):
            _trap(path, key, scalar, wants(key))


def lines(path: Path, package: str = "") -> dict[str, str]:
    """The place of every dotted key of a file: "conf/my.yaml:3"; empty where the file cannot be read.

    >>> _dotted("optimizer", "lr"), _dotted("", "seed")
    ('optimizer.lr', 'seed')
    """
    try:
        node = _read(path, path.stat().st_mtime_ns)
    except (ConfigError, OSError):
        return {}
    found = list(_walk(node, package)) if node is not None else []
    pairs = [(key, pair) for key, item in found if isinstance(item, yaml.MappingNode) for pair in item.value]
    names = {_dotted(key, name.value): name for key, (name, _) in pairs if isinstance(name, yaml.ScalarNode)}
    return {key: f"{shown_path(path)}:{name.start_mark.line + 1}" for key, name in names.items()}


def scalars(node: yaml.Node, package: str = "") -> Iterator[tuple[str, yaml.ScalarNode]]:
    """Every scalar of a tree with its dotted key; keys of mappings, too: they stand at "group." of their group."""
    for key, item in _walk(node, package):
        if isinstance(item, yaml.ScalarNode):
            yield key, item
        for name, _ in item.value if isinstance(item, yaml.MappingNode) else ():
            if isinstance(name, yaml.ScalarNode):
                yield f"{key}.", name


def _walk(top: yaml.Node, package: str) -> Iterator[tuple[str, yaml.Node]]:
    """Every node under a node once, however often aliases repeat it; a list's items stand at their list's key."""
    seen: set[int] = set()
    waiting = [(package, top)]
    while waiting:
        key, node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield key, node
        if isinstance(node, yaml.SequenceNode):
            waiting.extend((key, item) for item in reversed(node.value))
        elif isinstance(node, yaml.MappingNode):
            inner = [(_dotted(key, name.value), value) for name, value in node.value if isinstance(name, yaml.ScalarNode)]
            waiting.extend(reversed(inner))


def shown_path(path: Path) -> str:
    """A path as a person would type it from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def place(path: Path, node: yaml.Node) -> str:
    """file:line:column of a node."""
    return f"{shown_path(path)}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def too_large(path: Path, size: int) -> ConfigError:
    """The error for a file beyond the limit."""
    return ConfigError(
        f"a file of settings must be at most {MAX_BYTES / 1e6:g} MB, however: {size / 1e6:.1f} MB",
        where=shown_path(path),
        fix="Settings are not data: let a data source read large tables",
    )


def too_deep(where: str) -> ConfigError:
    """The error for settings that are nested beyond the limit."""
    fix = "No setting needs more than four levels"
    return ConfigError(f"settings must be nested at most {MAX_DEPTH} levels deep, however: deeper", where=where, fix=fix)


def _decode(path: Path, raw: bytes) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        good = raw[: error.start].decode("utf-8", "replace")
        line, column = good.count("\n") + 1, len(good) - (good.rfind("\n") + 1) + 1
        raise ConfigError(
            f"a file of settings must be UTF-8, however: byte 0x{raw[error.start]:02x} at offset {error.start}",
            where=f"{shown_path(path)}:{line}:{column}",
            fix="Save it as UTF-8",
        ) from error
    return text


def _package_line(path: Path, text: str) -> None:
    """Refuse a package line that composition does not see: it looks at the first lines only."""
    rows = [(number, row.strip()) for number, row in enumerate(text.splitlines(), start=1) if row.strip()]
    late = next((number for number, row in rows[1:] if re.match(r"#\s*@package\b", row)), None)
    if late is not None:
        what = "the line # @package must be the first one, however: it stands below others, where it has no effect"
        raise ConfigError(what, where=f"{shown_path(path)}:{late}:1", fix="Move it to the top")


def _shallow(path: Path, text: str) -> bool:
    """Refuse deep nesting before a recursive reader meets it."""
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise too_deep(shown_path(path) + (f":{event.start_mark.line + 1}" if event.start_mark else ""))
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return True


def _syntax_error(path: Path, text: str, error: yaml.MarkedYAMLError) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    found = text.splitlines()[line - 1 : line]
    if "'\\t'" in str(error.problem) or (found and found[0][: column + 1].lstrip(" ").startswith("\t")):
        problem, fix = "a tab as indentation", "Indent with spaces"
    else:
        problem, fix = str(error.problem or "no YAML"), "Look at this place and the line above it"
    return ConfigError(f"a file of settings must be YAML, however: {problem}", where=f"{shown_path(path)}:{line}:{column}", fix=fix)


def _double_keys(path: Path, top: yaml.Node) -> None:
    for key, node in _walk(top, ""):
        first: dict[str, int] = {}
        for name, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(name, yaml.ScalarNode):
                raise ConfigError("a key must be a word, however: a list or mapping", where=place(path, name), fix="Write key: value")
            if name.value in first and name.value != "<<":
                twice = f"{shown(name.value)} stands in lines {first[name.value]} and {name.start_mark.line + 1}"
                where = f"{place(path, name)}:{_dotted(key, name.value)}"
                raise ConfigError(f"a key must stand once, however: {twice}", where=where, fix="Remove one of the two")
            first[name.value] = name.start_mark.line + 1


def _trap(path: Path, key: str, scalar: yaml.ScalarNode, wanted: str) -> None:
    """Refuse a plain word that YAML changes; yes and no are left to settings that ask for true or false."""
    if scalar.style:  # quoted
        return
    changed = scalar.tag.endswith((":bool", ":int", ":float"))
    meanings = [meaning for pattern, meaning in TRAPS if changed and pattern.fullmatch(scalar.value)]
    text = wanted.startswith("text") or "each text" in wanted
    if text and not meanings and (changed or _is_number(scalar.value)):
        meanings = [BOOLEAN if scalar.tag.endswith(":bool") else "a number"]
    if not meanings or meanings[0] == BOOLEAN == wanted:
        return
    meaning = meanings[0]
    asks = f" must be {wanted}" if wanted else " must say what it means"
    plain = "" if text or meaning == BOOLEAN else ", or write the number in plain digits"
    raise ConfigError(
        f"{key.rstrip('.') or 'a key'}{asks}, however: YAML reads {scalar.value} as {meaning}",
        where=f"{place(path, scalar)}:{key.rstrip('.')}".rstrip(":"),
        fix=f"Quote it: '{scalar.value}'{plain}",
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _dotted(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def as_yaml(document: Mapping[str, Any]) -> str:
    """Settings as YAML, in their order.

    >>> as_yaml({"seed": 0, "name": "größe"})
    'seed: 0\\nname: größe\\n'
    """
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
