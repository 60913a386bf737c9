"""JSON from strangers: one way to say each thing, of bounded depth and size, or an error."""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any

from dnnlab.errors import ArtifactError, ResourceError, shown
from dnnlab.limits import free_memory

DEPTH = 50
DIGITS = 30  # of an integer; longer ones take time that grows with their square

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ONLY_BRACKETS = bytes.maketrans(b"{}", b"[]"), bytes(set(range(256)) - set(b"[]{}"))
_SMALL = 1_000_000  # bytes that any machine has memory for, whatever they hold


def parse(content: bytes, where: str) -> dict[str, Any]:
    """A strict JSON object in UTF-8.

    ArtifactError for a key that stands twice, NaN, Infinity, a number that no float can hold (1e999), an integer of more than 30 digits,
    half a surrogate pair, more than 50 levels, or anything but an object; ResourceError where memory for it is lacking.

    >>> parse(b'{"step": 3}', "run.json")
    {'step': 3}
    """
    try:
        text = content.decode("utf-8")
        _check_depth(content)
        _check_memory(content, where)
        document = json.loads(text, object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)
        if _ESCAPED_SURROGATE.search(content):
            json.dumps(document, ensure_ascii=False).encode()
    except UnicodeError as error:
        raise ArtifactError(f"must be UTF-8, however: {error.reason}", where=where) from error  # type: ignore[attr-defined]
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"must be strict JSON, however: {error}", where=where) from error
    if not isinstance(document, dict):
        raise ArtifactError("must hold a JSON object, however it holds something else", where=where)
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for place, key in enumerate(names) if key in names[:place])
        raise ValueError(f"the key {shown(twice)} stands twice")
    return found


def _integer(text: str) -> int:
    if len(text) > DIGITS and len(text.removeprefix("-")) > DIGITS:
        raise ValueError(f"an integer has {len(text):,} digits, more than {DIGITS}")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"the number {shown(text)} is too large")
    return value


def _constant(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _check_depth(content: bytes) -> None:
    """What is nested too deeply is refused before the reader, which calls itself for each level, sees it."""
    if content.count(b"[") + content.count(b"{") <= DEPTH:
        return
    brackets = _STRING.sub(b"", content).translate(*_ONLY_BRACKETS)
    for _ in range(DEPTH):
        brackets = brackets.replace(b"[]", b"")  # takes one level away: the innermost
    if brackets:
        raise ValueError(f"it is nested more than {DEPTH} levels deep, or a bracket is missing")


def _check_memory(content: bytes, where: str) -> None:
    """Objects take more memory than their text: an empty list of three bytes takes sixty-four."""
    if len(content) <= _SMALL:
        return
    brackets, values = content.count(b"[") + content.count(b"{"), content.count(b",")
    needed, free = 4 * len(content) + 250 * brackets + 100 * values, free_memory()
    if needed > free:
        raise ResourceError(f"reading it may take {needed:,} bytes of memory, however {free:,} are free", where=where)
