"""The arrays in a .npz file, without pickle: headers first, so that they can be refused or measured before anything is unpacked."""

from __future__ import annotations

import tokenize
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from math import prod
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from dnnlab.errors import DataError, UntrustedError, shown
from dnnlab.files import printable

Array = NDArray[Any]
PORTION = 1 << 24  # so many bytes are unpacked in one go
DAMAGE = (
    zipfile.BadZipFile, zlib.error, tokenize.TokenError, EOFError, OSError, ValueError, TypeError, KeyError, IndexError, OverflowError,
    SyntaxError, RuntimeError,
)  # fmt: skip  # RuntimeError: a password, or a way of packing that is not known


@dataclass(frozen=True)
class Header:
    """What an array says of itself before its numbers come."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    columns_first: bool  # Fortran's order
    start: int  # the byte where the numbers begin

    @property
    def size(self) -> int:
        """Bytes of the numbers."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def family(self) -> str:
        """What the numbers are, whatever their width: "b" truth values, "i" whole numbers, "f" floats, "U" texts."""
        return {"u": "i", "S": "U"}.get(self.dtype.kind, self.dtype.kind)

    @property
    def grey(self) -> bool:
        """Whether the rows are images whose points are bytes."""
        return len(self.shape) > 2 and self.dtype == np.uint8


def open_archive(file: IO[bytes], where: str) -> zipfile.ZipFile:
    """The archive in a file, whose first bytes must say that it is one. DataError, or UntrustedError for a pickle."""
    start = file.read(6)
    if start[:1] == b"\x80":
        raise UntrustedError(
            "must be a .npz file, however: it begins as a pickle does, which runs code when it is read",
            where=where,
            fix="Save the arrays by numpy.savez(path, x=x, y=y)",
        )
    if start[:4] not in (b"PK\x03\x04", b"PK\x05\x06"):
        fact = "it is a single array (.npy)" if start == b"\x93NUMPY" else f"it begins with {shown(start)}" if start else "it is empty"
        raise DataError(
            f"must be a .npz file, which is a zip archive, however: {fact}",
            where=where,
            fix="Save the arrays by numpy.savez(path, x=x, y=y)",
        )
    try:
        return zipfile.ZipFile(file)
    except DAMAGE as error:
        raise _damaged(error, where) from error


def read_header(archive: zipfile.ZipFile, name: str, where: str) -> Header:
    """What the array of a name says of itself. DataError where it is damaged, UntrustedError where it holds objects."""
    where = f"{where}: {printable(name)}"
    try:
        with archive.open(f"{name}.npy") as member, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            version = npy.read_magic(member)
            if version not in ((1, 0), (2, 0)):
                raise ValueError(f"format {version[0]}.{version[1]}")
            shape, order, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(member)
            start = member.tell()
        if not all(0 <= length < 2**48 for length in shape):
            raise ValueError(f"an array of {shape}")
    except (*DAMAGE, MemoryError) as error:  # MemoryError: of Python's parser, from brackets in brackets
        raise _damaged(error, where) from error
    if dtype.hasobject:
        raise UntrustedError(
            "an array must hold numbers or texts, however: it holds Python objects, which run code when they are read",
            where=where,
            fix=f"Save {printable(name)} with a type: array.astype(float), or array.astype(str) for names of classes",
        )
    return Header(name, shape, dtype, order, start)


def read_array(archive: zipfile.ZipFile, head: Header, where: str) -> Array:
    """The array itself; one byte more than is due shows whether anything follows, and lets the checksum be compared."""
    where = f"{where}: {printable(head.name)}"
    try:
        with archive.open(f"{head.name}.npy") as member:
            member.read(head.start)
            data, place = np.empty(head.size, np.uint8), 0
            while place < head.size and (portion := member.read(min(PORTION, head.size - place))):
                data[place : place + len(portion)] = np.frombuffer(portion, np.uint8)
                place += len(portion)
            if place < head.size or member.read(1):
                raise ValueError(f"{head.size:,} bytes are due, and {f'there are {place:,}' if place < head.size else 'more follow'}")
    except DAMAGE as error:
        raise _damaged(error, where) from error
    flat = data.view(head.dtype) if head.size else np.empty(prod(head.shape), head.dtype)  # texts may have no letters
    return flat.reshape(head.shape, order="F" if head.columns_first else "C")


def _damaged(error: BaseException, where: str) -> DataError:
    return DataError(
        f"must be a whole .npz file, however: {shown(str(error) or type(error).__name__)}", where=where, fix="Fetch or save it again"
    )
