"""IDX files, the format of MNIST and Fashion-MNIST (LeCun, yann.lecun.com/exdb/mnist): read as bytes, checked, gzipped or plain."""

from __future__ import annotations

import gzip
import zlib
from math import prod
from pathlib import Path
from typing import IO, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dnnlab.data.dataset import Source
from dnnlab.errors import DataError, shown

Bytes = NDArray[np.uint8]
UBYTE = 0x08  # the only type of number that images and labels come in
KEY = "data.root"


def read_idx(root: str, labels: list[str] | None = None, rows: int | None = None) -> Source:
    """The four files of one folder: images as vectors of grey values between 0 and 1, with their labels.

    labels: names of the classes (None: their numbers); rows: only so many training images, the first ones. The two test files
    stand behind the others and are given as the test.
    """
    folder = _folder(root)
    images, codes = _pair(folder, "train")
    test_images, test_codes = _pair(folder, "t10k")
    if test_images.shape[1:] != images.shape[1:]:
        raise DataError(
            f"training and test images must have one size, however: {images.shape[1:]} and {test_images.shape[1:]}", where=str(folder)
        )
    if rows is not None and rows > len(images):
        raise DataError(
            f"data.rows must be at most {len(images)}, however: {rows}", where=f"data.rows, {folder}", fix=f"Try data.rows={len(images)}"
        )
    classes = tuple(labels) if labels else tuple(str(code) for code in range(int(codes.max()) + 1))
    for name, found in (("train", codes), ("t10k", test_codes)):
        _check_labels(_file(folder, f"{name}-labels-idx1-ubyte"), found, len(classes))
    height, width = images.shape[1:]
    used = images[:rows]
    return Source(
        name=folder.name,
        x=torch.cat([_grey(used), _grey(test_images)]),
        y=torch.from_numpy(np.concatenate([codes[:rows], test_codes]).astype(np.int64)),
        features=tuple(f"pixel_{row}_{column}" for row in range(height) for column in range(width)),
        classes=classes,
        image_shape=(height, width),
        given={"test": torch.arange(len(used), len(used) + len(test_images))},
    )


def read_array(path: Path, dimensions: int) -> Bytes:
    """The numbers of one IDX file with so many dimensions; whatever does not fit its header is refused with the byte."""
    with _open(path) as file:
        try:
            shape = _header(path, file, dimensions)
            data = _read(file, prod(shape) + 1)  # one byte more than is due shows whether anything follows
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"must be a whole gzip file, however: {error}", where=str(path), fix="Fetch the file again") from error
        except OSError as error:
            raise _unreadable(path, error) from error
    start = 4 + 4 * dimensions
    if len(data) != prod(shape):
        fact = f"the file ends at byte {start + len(data)}" if len(data) < prod(shape) else "more follows"
        raise DataError(
            f"must end at byte {start + prod(shape)}, as its dimensions {shape} say, however: {fact}",
            where=f"{path}: byte {start + min(len(data), prod(shape))}",
            fix="Fetch the file again",
        )
    return np.frombuffer(data, np.uint8).reshape(shape)


def _read(file: IO[bytes], count: int) -> bytearray:
    """Up to `count` bytes, in portions: a header that lies does not reserve what it claims."""
    data = bytearray()
    while len(data) < count and (portion := file.read(min(1 << 24, count - len(data)))):
        data += portion
    return data


def _header(path: Path, file: IO[bytes], dimensions: int) -> tuple[int, ...]:
    """Two zero bytes, the type, the number of dimensions, then each dimension in four bytes, big end first."""
    magic = file.read(4)
    for byte, (found, wanted, meaning) in enumerate(
        zip(magic, (0, 0, UBYTE, dimensions), ("zero", "zero", "the type (unsigned bytes)", "the number of dimensions"), strict=False)
    ):
        if found != wanted:
            raise DataError(
                f"byte {byte} must be {wanted}, {meaning}, however: {found}",
                where=f"{path}: byte {byte}",
                fix="Is this an IDX file, and are images and labels not exchanged?",
            )
    sizes = file.read(4 * dimensions)
    if len(magic) + len(sizes) < 4 + 4 * dimensions:
        raise DataError(
            f"must begin with a header of {4 + 4 * dimensions} bytes, however the file has {len(magic) + len(sizes)}",
            where=f"{path}: byte {len(magic) + len(sizes)}",
            fix="Fetch the file again",
        )
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    if 0 in shape:
        raise DataError(f"must have rows, however its dimensions are {shape}", where=f"{path}: byte {4 + 4 * shape.index(0)}")
    return shape


def _folder(root: str) -> Path:
    try:
        folder = Path(root).expanduser().resolve()
        if folder.is_dir():
            return folder
        fact = "it is a file" if folder.exists() else "there is none"
    except (OSError, RuntimeError, ValueError) as error:  # no permission, a loop of links, a NUL byte
        raise DataError(f"must be a folder that can be read, however: {error}", where=f"{KEY}={shown(root)}") from error
    raise DataError(
        f"must be the folder of the four IDX files, however: {fact}",
        where=f"{KEY}={shown(root)} ({folder})",
        fix="Try data.root=path/to/the/folder",
    )


def _file(folder: Path, stem: str) -> Path:
    """The plain file, or else its gzipped form."""
    for name in (stem, f"{stem}.gz"):
        path = folder / name
        try:
            if path.is_file():
                return path
            if path.exists():
                raise DataError("must be a file, however it is none", where=f"{KEY}: {path}")
        except OSError as error:
            raise _unreadable(path, error) from error
    raise DataError(
        f"the folder must hold {stem}.gz (or without .gz), however: it does not",
        where=f"{KEY}: {folder}",
        fix="Put MNIST's four files there: train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-…, t10k-labels-…",
    )


def _open(path: Path) -> IO[bytes]:
    try:
        return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"must be readable, however: {error.strerror or error}", where=f"{KEY}: {path}", fix="Check the file's permissions")


def _pair(folder: Path, name: str) -> tuple[Bytes, Bytes]:
    """Images (N, H, W) and labels (N,) that belong together."""
    image_path, label_path = _file(folder, f"{name}-images-idx3-ubyte"), _file(folder, f"{name}-labels-idx1-ubyte")
    images, codes = read_array(image_path, 3), read_array(label_path, 1)
    if len(images) != len(codes):
        raise DataError(
            f"images and labels must be as many, however: {len(images)} and {len(codes)}",
            where=f"{image_path}: byte 4, {label_path}: byte 4",
        )
    return images, codes


def _check_labels(path: Path, codes: Bytes, classes: int) -> None:
    beyond = np.flatnonzero(codes >= classes)
    if beyond.size:
        raise DataError(
            f"labels must be below {classes}, the number of classes, however: {codes[beyond[0]]} in row {beyond[0]}",
            where=f"{path}: byte {8 + beyond[0]}",
            fix="Name all classes in data.labels",
        )


def _grey(images: Bytes) -> Tensor:
    """(N, H, W) of bytes -> (N, H·W) of float32 between 0 and 1."""
    return torch.from_numpy(images.reshape(len(images), -1).astype(np.float32)).div_(255)
