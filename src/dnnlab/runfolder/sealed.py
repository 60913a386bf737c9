"""JSON files that carry their own hash: one changed bit anywhere is noticed when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from dnnlab.errors import ArtifactError
from dnnlab.files import to_json
from dnnlab.runfolder.strict import parse

HEAD, TAIL = b'{\n  "seal": "', b'",\n'


def sealed(document: Mapping[str, Any]) -> bytes:
    """An object as JSON whose first line is the SHA-256 of all that follows it.

    >>> sealed({"step": 3}).decode().splitlines()[2:], unsealed(sealed({"step": 3}), "a.json")
    (['  "step": 3', '}'], {'step': 3})
    """
    rest = to_json(document).encode().removeprefix(b"{\n")
    return _head(rest) + rest


def unsealed(content: bytes, where: str) -> dict[str, Any]:
    """What `sealed` was given; ArtifactError where a byte is another."""
    size = len(_head(b""))
    if content[:size] != _head(content[size:]):
        raise ArtifactError("must be whole, however: its seal, the hash in its first line, does not fit the rest", where=where)
    document = parse(content, where)
    del document["seal"]
    return document


def _head(rest: bytes) -> bytes:
    return HEAD + sha256(rest).hexdigest().encode() + TAIL
