"""Event files as TensorBoard reads them: records of length, checksum, content, checksum."""

from __future__ import annotations

import struct
from pathlib import Path

HEAD, SUM = struct.Struct("<QI"), struct.Struct("<I")


def framed(event: bytes) -> bytes:
    """One event as a file holds it."""
    length = struct.pack("<Q", len(event))
    return length + SUM.pack(_checksum(length)) + event + SUM.pack(_checksum(event))


def fault(path: Path) -> str:
    """What is wrong with a file of events, or ''."""
    content, place = path.read_bytes(), 0
    while place < len(content):
        head = content[place : place + HEAD.size]
        if len(head) < HEAD.size:
            return f"it is torn after {place:,} bytes"
        length, found = HEAD.unpack(head)
        end = place + HEAD.size + length
        if found != _checksum(head[:8]) or end + SUM.size > len(content):
            return f"the record at byte {place:,} is damaged"
        event, after = content[place + HEAD.size : end], content[end : end + SUM.size]
        if SUM.unpack(after)[0] != _checksum(event):
            return f"the record at byte {place:,} is damaged"
        place = end + SUM.size
    return ""


def _checksum(content: bytes) -> int:
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    return int(masked_crc32c(content))
