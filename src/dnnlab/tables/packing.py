"""Packed files: gzip and zstandard, unpacked as they come, a cut or damaged one refused."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from dnnlab.errors import DataError, ResourceError
from dnnlab.tables.paths import plain

PACKED = (".gz", ".zst")
_SLICE = 1 << 12  # bytes in at a time: a zstandard bomb gives 128 KiB for 4 bytes, so at most 128 MiB come out at once
_PIECE = 1 << 20  # bytes out at a time, at least


def packed(name: str) -> bool:
    """Whether a file's name says that it is packed.

    >>> packed("a.csv.gz"), packed("a.csv")
    (True, False)
    """
    return name.lower().endswith(PACKED)


def unpack(chunks: Iterator[bytes], name: str, limit: int | None = None) -> Iterator[bytes]:
    """The unpacked bytes of `chunks`, by the suffix of `name`; as they are where it has none of a packer.

    limit: refuse, as ResourceError, what unpacks to more bytes than this.
    """
    if not packed(name):
        yield from chunks
        return
    total, held, waiting = 0, 0, list[bytes]()
    for piece in _gzip(chunks, name) if name.lower().endswith(".gz") else _zstandard(chunks, name):
        total += len(piece)
        if limit is not None and total > limit:
            raise ResourceError(
                f"must unpack to what fits into free memory, at most {limit:,} bytes, however: there is more",
                where=plain(name),
                fix="Try data.rows=100000, or unpack the file and keep the columns that are needed",
            )
        waiting.append(piece)
        held += len(piece)
        if held >= _PIECE:
            yield b"".join(waiting)
            held, waiting = 0, []
    yield b"".join(waiting)


def _gzip(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Members one after the other; zeros that pad the end are no member."""
    member = zlib.decompressobj(wbits=31)
    try:
        for chunk in chunks:
            data = chunk
            while data:
                if member.eof:
                    data = data.lstrip(b"\0")
                    if not data:
                        break
                    member = zlib.decompressobj(wbits=31)
                yield member.decompress(data, 1 << 24)
                data = member.unconsumed_tail or member.unused_data
    except zlib.error as error:
        raise _damaged(name, "gzip", str(error)) from error
    if not member.eof:
        raise _damaged(name, "gzip", "it ends too early")


def _zstandard(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    import zstandard

    frame = zstandard.ZstdDecompressor().decompressobj()
    try:
        for chunk in chunks:
            for start in range(0, len(chunk), _SLICE):
                data = chunk[start : start + _SLICE]
                while data:
                    if frame.eof:
                        frame = zstandard.ZstdDecompressor().decompressobj()
                    yield frame.decompress(data)
                    data = frame.unused_data
    except zstandard.ZstdError as error:
        raise _damaged(name, "zstandard", str(error)) from error
    if not frame.eof:
        raise _damaged(name, "zstandard", "it ends too early")


def _damaged(name: str, kind: str, fact: str) -> DataError:
    return DataError(f"must be a whole {kind} file, however: {plain(fact, 200)}", where=plain(name), fix="Fetch or pack the file again")
