"""The bytes of a file: read once, hashed as they are read, unpacked, and turned into UTF-8."""

from __future__ import annotations

import codecs
import ctypes
import hashlib
import io
import mmap
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal

from dnnlab.errors import ConfigError, DataError, ResourceError
from dnnlab.limits import free_memory
from dnnlab.tables.dialect import Dialect
from dnnlab.tables.faults import said
from dnnlab.tables.packing import packed, unpack
from dnnlab.tables.paths import Found, check_memory, open_regular, plain

Form = Literal["csv", "parquet", "arrow", "jsonl"]
FORMS: dict[Form, tuple[str, ...]] = {
    "csv": (".csv", ".tsv", ".txt", ".tab", ".data"),
    "parquet": (".parquet", ".pq"),
    "arrow": (".arrow", ".feather", ".ipc"),
    "jsonl": (".jsonl", ".ndjson"),
}
LARGE = 1 << 24  # bytes from which on large pages pay
CHUNK = 1 << 22  # bytes at a time, where a file is read in pieces
GROWTH = {"csv": 4.0, "jsonl": 5.0, "parquet": 5.0, "arrow": 3.0}  # bytes that reading takes for a byte of the file, about


@dataclass
class Tally:
    """What is known of a file's bytes so far: how many, and their hash."""

    size: int = 0
    hash: hashlib._Hash = field(default_factory=hashlib.sha256)

    def add(self, data: bytes | memoryview) -> None:
        """Count and hash some more bytes."""
        self.size += len(data)
        self.hash.update(data)


def form_of(found: Found, form: str) -> Form:
    """The format of a file, by its suffix where it is `auto`; what cannot be read is answered with what can."""
    if form != "auto" and form not in FORMS:
        raise ConfigError(
            f"must be one of auto, {', '.join(FORMS)}, however: {plain(form, 80)}", where="data.form", fix="Try data.form=auto"
        )
    suffixes = [suffix.lower() for suffix in PurePath(found.name).suffixes]
    inner = suffixes[:-1] if suffixes and packed(found.name) else suffixes
    named = next((name for name, known in FORMS.items() if inner and inner[-1] in known), None)
    kind = next((name for name in FORMS if name == form), named or ("csv" if found.standard_input else None))
    if kind is None:
        known = ", ".join(suffix for group in FORMS.values() for suffix in group)
        fix = f"{known} (the text formats also as .gz or .zst) can be read; for another suffix, try data.form=csv"
        if inner[-1:] == [".json"]:
            fix = f"Write one object per line into a .jsonl file; {known} can be read"
        raise DataError("a table must have a suffix that tells its format, however: it does not", where=said(found.name), fix=fix)
    if packed(found.name) and kind in ("parquet", "arrow"):
        raise DataError(f"only text formats may be packed as a whole, however: this is {kind}", where=said(found.name), fix="Unpack it")
    return kind


def whole(found: Found, kind: Form, key: str) -> tuple[bytes, Tally]:
    """All bytes of a file as they lie there, and their tally; a file that would not fit into memory is refused before."""
    tally = Tally()
    if found.standard_input:
        data = b"".join(_standard_input(kind))
        tally.add(data)
        return data, tally
    with open_regular(found, key) as file:
        size = _size(file)
        check_memory(found, size, GROWTH[kind], key)
        try:
            return _hashed(file, size, tally), tally
        except OSError as error:
            raise _broken(found, error) from error


def _hashed(file: io.FileIO, size: int, tally: Tally) -> bytes:
    """The rest of a file, of about so many bytes, hashed in a thread that runs after the reading: both take equally long."""
    store = io.BytesIO(bytes(size))  # its memory is written to directly, and given away as bytes without a copy
    rest = b""
    with store.getbuffer() as room, ThreadPoolExecutor(1) as hashing:
        _in_large_pages(room)
        start = 0
        while start < size and (count := file.readinto(room[start : start + CHUNK])):
            hashing.submit(tally.add, room[start : start + count])
            start += count
        while start == size and (more := file.read(CHUNK)):  # it has grown meanwhile
            hashing.submit(tally.add, more)
            rest += more
    store.truncate(start)
    return store.getvalue() + rest if rest else store.getvalue()


def _in_large_pages(room: memoryview) -> None:
    """Ask the system for large pages before memory is filled, which then takes a third of the time; a wish, that may not be granted."""
    page, advice = mmap.PAGESIZE, getattr(mmap, "MADV_HUGEPAGE", None)
    if advice is None or len(room) < LARGE:  # another system than Linux; a small file
        return
    first = ctypes.addressof(ctypes.c_char.from_buffer(room))
    skipped = -first % page
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first + skipped), ctypes.c_size_t(len(room) - skipped), advice)


def chunks(found: Found, key: str, tally: Tally | None = None) -> Iterator[bytes]:
    """The bytes of a file as they lie there, piece by piece."""
    if found.standard_input:
        for data in _standard_input(None):
            if tally is not None:
                tally.add(data)
            yield data
        return
    with open_regular(found, key) as file:
        while True:
            try:
                data = file.read(CHUNK)
            except OSError as error:
                raise _broken(found, error) from error
            if not data:
                return
            if tally is not None:
                tally.add(data)
            yield data


def unpacked(data: bytes, found: Found, kind: Form) -> bytes:
    """The whole file's bytes, unpacked where its suffix says so; no more than fits into memory."""
    if not packed(found.name):
        return data
    pieces = (data[start : start + CHUNK] for start in range(0, len(data), CHUNK))
    return b"".join(unpack(pieces, found.name, int(free_memory() / GROWTH[kind])))


def decoded(pieces: Iterator[bytes], file: str, dialect: Dialect) -> Iterator[bytes]:
    """The bytes in UTF-8, whatever the dialect's encoding is; UTF-8 itself passes unchecked (polars checks it)."""
    if dialect.utf8:
        yield from pieces
        return
    decoder = codecs.getincrementaldecoder(dialect.encoding)()
    before, lines = 0, 0
    for data, last in _ended(pieces):
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(data, last)
        except UnicodeDecodeError as error:
            lines += error.object[: error.start].decode(dialect.encoding, "replace").count("\n")
            raise DataError(
                f"the bytes must be {plain(dialect.encoding, 80)}, however: {error.reason}",
                where=f"{said(file)}: byte {before - pending + error.start}, row {lines + 1}",
                fix="Try data.encoding=utf-8, or another one",
            ) from error
        before += len(data)
        lines += text.count("\n")
        yield text.encode("utf-8", "surrogatepass")


def _ended(pieces: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    for data in pieces:
        yield data, False
    yield b"", True


def _standard_input(kind: Form | None) -> Iterator[bytes]:
    """What is piped in; `kind`: it is kept, so no more than fits into memory."""
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise DataError("there must be a standard input, however: it is closed", where=said("-"), fix="Pipe a table in, or name a file")
    free = free_memory()
    total = 0
    while data := stream.read(CHUNK):
        total += len(data)
        if kind is not None and total * GROWTH[kind] > free:
            raise ResourceError(
                f"what is piped in must fit into free memory, however: it takes more than {int(total * GROWTH[kind]):,} bytes and "
                f"{free:,} are free",
                where=said("-"),
                fix="Try data.rows=100000",
            )
        yield data


def _size(file: io.FileIO) -> int:
    size = file.seek(0, 2)
    file.seek(0)
    return size


def _broken(found: Found, error: OSError) -> DataError:
    return DataError(f"must be readable to its end, however: {error.strerror or error}", where=said(found.name))
