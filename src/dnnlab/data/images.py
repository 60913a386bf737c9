"""A folder of pictures, one sub-folder for each class, or one for each part that holds the classes: grey values of PNG and JPEG files."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISDIR

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from dnnlab.data.dataset import Source
from dnnlab.errors import DataError, ResourceError
from dnnlab.files import printable
from dnnlab.limits import free_memory, open_regular

PARTS = ("train", "valid", "test")
SUFFIXES = (".png", ".jpg", ".jpeg")
POINTS = 1 << 20  # of a picture: more inputs than that are no row of numbers any more
DAMAGE = (OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, OverflowError, struct.error, zlib.error)
Listing = Mapping[str, Sequence[Path]]  # class -> its pictures


def read_images(root: str, *, size: tuple[int, int] | None = None, rows: int | None = None, key: str = "data.root") -> Source:
    """Grey values between 0 and 1 of all pictures, as vectors, with the sub-folders' names as classes.

    size: height and width that every picture is brought to (None: all have one size); rows: only so many pictures, drawn evenly from the
    sorted ones (of train/, where there are parts). Files that are neither PNG nor JPEG by their suffix are ignored, hidden ones, too.
    DataError for what is no such folder and for damaged pictures, ResourceError where the grey values would not fit into memory.
    """
    folder = _root(root, key)
    parts = {part: _classes(place, key) for part, place in _parts(folder, key).items()}
    classes = _same_classes(parts, folder, key)
    files = {part: [(file, code) for code, name in enumerate(classes) for file in found.get(name, ())] for part, found in parts.items()}
    if rows is not None:
        files["train"] = _evenly(files["train"], rows, key)
    listed = [pair for part in files.values() for pair in part]
    with _strict():
        height, width = size or _size(listed[0][0], key)
        _check_size(len(listed), height, width, f"{key}: {printable(folder)}", key)
        x = np.empty((len(listed), height * width), np.float32)
        for row, (file, _) in enumerate(listed):
            x[row] = _grey(file, (height, width), listed[0][0] if size is None else None, key).reshape(-1)
    x /= 255
    ends = np.cumsum([len(part) for part in files.values()]).tolist()
    return Source(
        name=printable(folder.name),
        x=torch.from_numpy(x),
        y=torch.tensor([code for _, code in listed]),
        features=tuple(f"pixel_{row}_{column}" for row in range(height) for column in range(width)),
        classes=tuple(map(printable, classes)),
        image_shape=(height, width),
        given={part: torch.arange(end - len(files[part]), end) for part, end in zip(files, ends, strict=True) if part != "train"},
    )


# --- folders


def _root(root: str, key: str) -> Path:
    try:
        folder = Path(root).expanduser().resolve()
        if folder.is_dir():
            return folder
        fact = "it is a file" if folder.exists() else "there is none"
    except (OSError, RuntimeError, ValueError) as error:  # no permission, a loop of links, a NUL byte
        fact = printable(error)
    raise DataError(
        f"must be a folder of pictures, however: {fact}", where=f"{key}: {printable(root)}", fix=f"Try {key}=path/to/the/folder"
    )


def _parts(folder: Path, key: str) -> dict[str, Path]:
    """train/ with test/ or valid/, in this order, or else the folder itself, all of which is to be split."""
    inside = _folders(folder, key)
    if "train" not in inside or not ("test" in inside or "valid" in inside):
        return {"train": folder}
    if stray := [name for name in inside if name not in PARTS]:
        raise DataError(
            f"a folder with train/ must hold train/, valid/ and test/ alone, however: there is {printable(stray[0])}/",
            where=f"{key}: {printable(folder)}",
            fix="Rename it, or move it elsewhere",
        )
    return {part: inside[part] for part in PARTS if part in inside}


def _classes(folder: Path, key: str) -> Listing:
    """The pictures of each class folder, all sorted by name."""
    found = {name: _pictures(place, key) for name, place in _folders(folder, key).items()}
    if not found:
        raise DataError(
            "there must be a sub-folder of pictures for each class, however: there is no sub-folder",
            where=f"{key}: {printable(folder)}",
            fix="Move the pictures of each class into a folder with its name",
        )
    return found


def _pictures(folder: Path, key: str) -> list[Path]:
    entries = _entries(folder, key)
    found = [entry for entry in entries if entry.suffix.lower() in SUFFIXES]
    if not found:
        raise DataError(
            f"a class must have pictures, however: none of {len(entries)} entries is a PNG or JPEG file",
            where=f"{key}: {printable(folder)}",
            fix="Save pictures as .png or .jpg, or take this folder away",
        )
    return found


def _folders(folder: Path, key: str) -> dict[str, Path]:
    """Sub-folders by name, sorted; whatever cannot be asked what it is (a loop of links) is refused."""
    found = {}
    for entry in _entries(folder, key):
        try:
            if S_ISDIR(entry.stat().st_mode):
                found[entry.name] = entry
        except OSError as error:
            raise DataError(
                f"must be a folder or a file, however: {error.strerror}", where=f"{key}: {printable(entry)}", fix="Take it away"
            ) from error
    return found


def _entries(folder: Path, key: str) -> list[Path]:
    try:
        return sorted((entry for entry in folder.iterdir() if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"must be a folder that can be read, however: {error.strerror}",
            where=f"{key}: {printable(folder)}",
            fix="Check its permissions",
        ) from error


def _same_classes(parts: Mapping[str, Listing], folder: Path, key: str) -> list[str]:
    classes = list(parts["train"])
    for part, found in parts.items():
        if stray := [name for name in found if name not in classes]:
            raise DataError(
                f"every class of {part}/ must have pictures in train/, however: {printable(stray[0])} has none",
                where=f"{key}: {printable(folder)}",
                fix=f"Move {part}/{printable(stray[0])} elsewhere, or add pictures to train/{printable(stray[0])}",
            )
    if len(classes) < 2:
        raise DataError(
            f"there must be two classes or more, however: there is only {printable(classes[0])}/",
            where=f"{key}: {printable(folder)}",
            fix=f"Is {key} the folder above the classes?",
        )
    return classes


def _evenly(files: list[tuple[Path, int]], rows: int, key: str) -> list[tuple[Path, int]]:
    if rows > len(files):
        raise DataError(
            f"data.rows must be at most {len(files)}, however: {rows}", where=f"data.rows, {key}", fix=f"Try data.rows={len(files)}"
        )
    return [files[place * len(files) // rows] for place in range(rows)]


# --- pictures


@contextmanager
def _strict() -> Iterator[None]:
    """A picture too large to be one is an error, not a warning; what else Pillow warns of (odd metadata) changes no grey value."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextmanager
def _opened(file: Path, key: str) -> Iterator[Image.Image]:
    """The picture in a file, its checksums compared where it has some; only PNG and JPEG are tried, whatever the file says it is."""
    where = f"{key}: {printable(file)}"
    with open_regular(file, where) as stream:
        try:
            with Image.open(stream, formats=("PNG", "JPEG")) as image:
                image.verify()
            stream.seek(0)
            with Image.open(stream, formats=("PNG", "JPEG")) as image:
                yield image
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise DataError(
                f"a picture must have at most {Image.MAX_IMAGE_PIXELS:,} points, however: it says that it has far more",
                where=where,
                fix="Take it away, or save it smaller",
            ) from error
        except UnidentifiedImageError as error:
            raise DataError("must be a PNG or JPEG file, however: it is none", where=where, fix="Save it again, or take it away") from error
        except DAMAGE as error:
            raise DataError(
                f"must be a whole picture, however: {printable(error)}", where=where, fix="Save it again, or take it away"
            ) from error


def _size(file: Path, key: str) -> tuple[int, int]:
    with _opened(file, key) as image:
        return image.height, image.width


def _check_size(count: int, height: int, width: int, where: str, key: str) -> None:
    """Refuse pictures that would not fit, before they are unpacked."""
    if height * width > POINTS:
        raise DataError(
            f"a picture must have at most {POINTS:,} points, however: {height} x {width}", where=where, fix="Try data.size=[28,28]"
        )
    need, free = count * height * width * 4, free_memory()
    if need > free:
        raise ResourceError(
            f"the pictures must fit into memory, however: {count:,} of {height} x {width} points need {need / 2**30:,.1f} GiB, "
            f"and {free / 2**30:,.1f} GiB are free",
            where=where,
            fix="Try data.size=[28,28], or data.rows with a smaller number",
        )


def _grey(file: Path, size: tuple[int, int], first: Path | None, key: str) -> NDArray[np.uint8]:
    """-> (H, W) of bytes. first: the picture whose size all must have; None: this one is brought to the size."""
    with _opened(file, key) as image:
        if first is not None and (image.height, image.width) != size:
            raise DataError(
                f"all pictures must have one size, however: {size[0]} x {size[1]} and {image.height} x {image.width} (height x width)",
                where=f"{key}: {printable(first)}, {printable(file)}",
                fix="Try data.size=[28,28]",
            )
        grey = _eight_bits(image).convert("L")
        if grey.size != size[::-1]:
            grey = grey.resize(size[::-1], Image.Resampling.BILINEAR)
        return np.asarray(grey)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Pillow would cut grey values of 16 bits off at 255."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) // 257).astype(np.uint8))
