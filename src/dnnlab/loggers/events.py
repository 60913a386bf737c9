"""Event files as TensorBoard reads them: records of length, checksum, content, checksum."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import cache
from math import copysign, inf
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HEAD, SUM = struct.Struct("<QI"), struct.Struct("<I")


def framed(event: bytes) -> bytes:
    """One event as a file holds it."""
    length = struct.pack("<Q", len(event))
    return length + SUM.pack(_checksum(length)) + event + SUM.pack(_checksum(event))


def scalars(wall_time: float, step: int, values: Mapping[str, float]) -> bytes:
    """An event with scalars, as protobuf would serialize it: a fifth of the time, and records are many.

    >>> scalars(1.0, 2, {"a": 0.5}).hex()
    '09000000000000f03f10022a0a0a080a0161150000003f'
    """
    content = b"".join(_value(tag) + _single(value) for tag, value in values.items())
    head = b"\x09" + struct.pack("<d", wall_time) + (b"\x10" + _varint(step) if step else b"")
    return head + b"\x2a" + _varint(len(content)) + content


def _single(number: float) -> bytes:
    """A float of 32 bits; one that is too large for it is infinite."""
    try:
        return struct.pack("<f", number)
    except OverflowError:
        return struct.pack("<f", copysign(inf, number))


@cache
def _value(tag: str) -> bytes:
    """A value of a summary up to its number: a message with the tag as field 1 and a float as field 2."""
    name = tag.encode()
    inner = b"\x0a" + _varint(len(name)) + name + b"\x15"
    return b"\x0a" + _varint(len(inner) + 4) + inner


def _varint(number: int) -> bytes:
    """Seven bits at a time, the lowest first."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


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
    """The masked CRC-32C of TFRecord files."""
    crc = crc32c(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(content: bytes) -> int:
    """The CRC with Castagnoli's polynomial (1993), reflected.

    It is linear: each byte contributes by its value and by how many bytes follow it, so that a block is one look into a table, instead of
    a step of Python for each byte.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    state = 0xFFFFFFFF
    for start in range(0, len(content), BLOCK):
        block = np.frombuffer(content, np.uint8, min(BLOCK, len(content) - start), start)
        if len(block) < SHORT:
            for byte in block.tolist():
                state = int(_table()[0, (state ^ byte) & 0xFF]) ^ (state >> 8)
            continue
        block = block.copy()
        block[:4] ^= np.frombuffer(SUM.pack(state), np.uint8)  # what came before acts on the first four bytes, and on nothing else
        places = np.arange(len(block) - 1, -1, -1)
        state = int(np.bitwise_xor.reduce(_table()[places, block]))
    return state ^ 0xFFFFFFFF


BLOCK, SHORT = 1024, 16


@cache
def _table() -> NDArray[np.uint32]:
    """What a byte of value b becomes when k bytes of zero follow it: (k, b)."""
    table = np.empty((BLOCK, 256), np.uint32)
    row = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        row = np.where(row & 1, (row >> 1) ^ np.uint32(0x82F63B78), row >> 1)
    first = table[0] = row
    for place in range(1, BLOCK):
        table[place] = first[table[place - 1] & 0xFF] ^ (table[place - 1] >> 8)
    return table
