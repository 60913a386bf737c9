"""Folders of pictures become grey vectors, in a fixed order; what is no picture, or not the same size, is named."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dnnlab.data import images, prepare, read_idx
from dnnlab.data.images import read_images
from dnnlab.errors import DataError, DnnlabError, ResourceError
from dnnlab.tasks import Task

REAL = Path(os.environ.get("DNNLAB_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
SHAPE = (4, 3)


def grey(seed: int, shape: tuple[int, int] = SHAPE) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def put(path: Path, picture: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


def fill(root: Path, classes: Sequence[str] = ("cat", "dog"), count: int = 3) -> Path:
    """So many pictures for each class, numbered through."""
    for place, name in enumerate(classes):
        for number in range(count):
            put(root / name / f"{number}.png", grey(100 * place + number))
    return root


def refused(root: Path | str, kind: type[DnnlabError] = DataError, **asked: Any) -> DnnlabError:
    with pytest.raises(kind) as caught:
        read_images(str(root), **asked)
    assert type(caught.value) is kind
    assert str(caught.value).isprintable()
    return caught.value


# --- what is read


def test_folders_are_classes_and_pictures_grey_vectors(tmp_path: Path) -> None:
    root = fill(tmp_path / "pets", ("dog", "cat"))
    source = read_images(str(root))
    assert (source.name, source.classes, source.image_shape, source.given) == ("pets", ("cat", "dog"), SHAPE, {})
    assert source.task is Task.BINARY
    assert source.features[:4] == ("pixel_0_0", "pixel_0_1", "pixel_0_2", "pixel_1_0")
    assert (source.x.dtype, source.x.shape, source.y.dtype) == (torch.float32, (6, 12), torch.int64)
    assert source.y.tolist() == [0, 0, 0, 1, 1, 1]
    expected = np.stack([grey(seed).reshape(-1) for seed in (100, 101, 102, 0, 1, 2)]).astype(np.float32)
    assert source.x.equal(torch.from_numpy(expected).div(255))


def test_files_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b/z.png", "b/10.png", "a/9.PNG", "b/9.png", "a/A.png"):
        put(tmp_path / name, np.full(SHAPE, ord(name[2]), np.uint8))
    assert [round(value * 255) for value in read_images(str(tmp_path)).x[:, 0].tolist()] == [ord(c) for c in "9A19z"]


def test_hidden_and_other_files_are_ignored(tmp_path: Path) -> None:
    fill(tmp_path)
    whole = read_images(str(tmp_path))
    for name in (".cache/0.png", ".DS_Store", "cat/.0.png", "cat/Thumbs.db", "dog/notes.txt", "dog/more/0.txt", "README.md"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"no picture")
    again = read_images(str(tmp_path))
    assert again.x.equal(whole.x)
    assert again.classes == whole.classes


def test_train_valid_and_test_are_given(tmp_path: Path) -> None:
    for part, count in (("train", 3), ("test", 2), ("valid", 1)):
        fill(tmp_path / part, ("a", "b"), count)
    source = read_images(str(tmp_path))
    assert source.classes == ("a", "b")
    assert {part: index.tolist() for part, index in source.given.items()} == {"valid": [6, 7], "test": [8, 9, 10, 11]}
    assert source.y.tolist() == [0, 0, 0, 1, 1, 1, 0, 1, 0, 0, 1, 1]
    assert source.x[8:].equal(source.x[[0, 1, 3, 4]])
    data = prepare(source)
    assert (len(data.train.x), data.test and data.test.index.tolist()) == (6, [8, 9, 10, 11])


def test_a_part_may_lack_a_class(tmp_path: Path) -> None:
    fill(tmp_path / "train", ("a", "b", "c"))
    fill(tmp_path / "valid", ("c",), 1)
    source = read_images(str(tmp_path))
    assert source.y[source.given["valid"]].tolist() == [2]
    assert "test" not in source.given


def test_train_alone_is_a_class(tmp_path: Path) -> None:
    assert read_images(str(fill(tmp_path, ("car", "train")))).classes == ("car", "train")


def test_fewer_pictures_are_drawn_evenly(tmp_path: Path) -> None:
    fill(tmp_path / "train", ("a", "b"), 6)
    fill(tmp_path / "test", ("a", "b"), 2)
    whole, some = read_images(str(tmp_path)), read_images(str(tmp_path), rows=4)
    assert some.x.equal(whole.x[[0, 3, 6, 9, 12, 13, 14, 15]])
    assert some.given["test"].tolist() == [4, 5, 6, 7]
    error = refused(tmp_path, rows=13)
    assert (error.what, error.fix) == ("data.rows must be at most 12, however: 13", "Try data.rows=12")


def test_kinds_of_pictures(tmp_path: Path) -> None:
    full = np.arange(12, dtype=np.uint8).reshape(SHAPE) * 20
    colours = np.stack([full, full, full], -1)
    wide = full.astype(np.uint16) * 257
    for place, picture in enumerate((full, colours, np.dstack([colours, full]), wide, full > 100)):
        put(tmp_path / "a" / f"{place}.png", picture)
    put(tmp_path / "b" / "0.png", full)
    Image.fromarray(full).convert("P").save(tmp_path / "b" / "1.png")
    Image.fromarray(full).save(tmp_path / "b" / "2.jpg", quality=100)
    Image.fromarray(colours).convert("CMYK").save(tmp_path / "b" / "3.JPEG", quality=100)
    found = [np.rint(row.numpy() * 255) for row in read_images(str(tmp_path)).x]
    for place in (0, 1, 2, 3, 5, 6):
        np.testing.assert_array_equal(found[place], full.reshape(-1))
    np.testing.assert_array_equal(found[4], np.where(full > 100, 255, 0).reshape(-1))
    for place in (7, 8):
        np.testing.assert_allclose(found[place], full.reshape(-1), atol=4)


def test_every_picture_is_brought_to_a_size(tmp_path: Path) -> None:
    put(tmp_path / "a" / "0.png", np.full((8, 6), 40, np.uint8))
    put(tmp_path / "a" / "1.png", grey(1))
    put(tmp_path / "b" / "0.png", np.kron(grey(2), np.ones((2, 2), np.uint8)))
    source = read_images(str(tmp_path), size=(4, 3))
    assert source.image_shape == (4, 3)
    assert source.x[0].mul(255).round().tolist() == [40] * 12
    assert source.x[1].mul(255).round().tolist() == grey(1).reshape(-1).tolist()
    tall = read_images(str(tmp_path), size=(5, 1))
    assert (tall.image_shape, tall.x.shape, tall.features) == ((5, 1), (3, 5), tuple(f"pixel_{row}_0" for row in range(5)))


def test_links_to_pictures_are_followed(tmp_path: Path) -> None:
    fill(tmp_path / "store", ("a", "b"))
    (tmp_path / "root" / "b").mkdir(parents=True)
    (tmp_path / "root" / "a").symlink_to(tmp_path / "store" / "a", target_is_directory=True)
    (tmp_path / "root" / "b" / "0.png").symlink_to(tmp_path / "store" / "b" / "0.png")
    assert read_images(str(tmp_path / "root")).y.tolist() == [0, 0, 0, 1]


def test_digits_come_back_as_they_were(tmp_path: Path) -> None:
    if not (REAL / "mnist").is_dir():
        pytest.skip(f"{REAL / 'mnist'} is missing")
    real = read_idx(str(REAL / "mnist"), rows=60)
    shape = real.image_shape
    assert shape is not None
    order = sorted(range(60), key=lambda row: (int(real.y[row]), row))
    for row in order:
        put(tmp_path / "png" / str(int(real.y[row])) / f"{row:02}.png", (real.x[row] * 255).round().byte().reshape(shape).numpy())
    source = read_images(str(tmp_path / "png"))
    assert (source.classes, source.image_shape, source.features) == (real.classes, (28, 28), real.features)
    assert source.x.equal(real.x[order])
    assert source.y.equal(real.y[order])
    small = read_images(str(tmp_path / "png"), size=(14, 14))
    halves = source.x.reshape(60, 14, 2, 14, 2).mean((2, 4)).reshape(60, 196)
    assert (small.x - halves).abs().mean() < 0.05
    for file in (tmp_path / "png").rglob("*.png"):
        place = tmp_path / "jpeg" / file.parent.name / f"{file.stem}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.open(file).save(place, quality=95)
    assert (read_images(str(tmp_path / "jpeg")).x - source.x).abs().mean() < 0.01


# --- folders that cannot be used


def test_a_root_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for root in (tmp_path / "none", tmp_path / "file", tmp_path / "loop", "with\0nul", "a\x1b[31m"):
        error = refused(root, key="data.folder")
        assert error.what.startswith("must be a folder of pictures, however: ")
        assert error.where.startswith("data.folder: ")


def test_no_class_one_class_and_an_empty_class(tmp_path: Path) -> None:
    put(tmp_path / "0.png", grey(0))
    assert "no sub-folder" in refused(tmp_path).what
    fill(tmp_path, ("a",))
    assert "only a/" in refused(tmp_path).what
    (tmp_path / "b\x1b[31m").mkdir()
    error = refused(tmp_path)
    assert error.what == "a class must have pictures, however: none of 0 entries is a PNG or JPEG file"
    assert error.where == f"data.root: {tmp_path}/b\\x1b[31m"
    (tmp_path / "b\x1b[31m" / "0.gif").write_bytes(b"")
    assert "none of 1 entries" in refused(tmp_path).what
    put(tmp_path / "b\x1b[31m" / "0.png", grey(0))
    assert read_images(str(tmp_path)).classes == ("a", "b\\x1b[31m")


def test_parts_that_do_not_fit(tmp_path: Path) -> None:
    fill(tmp_path / "train", ("a", "b"))
    fill(tmp_path / "test", ("a", "c"))
    error = refused(tmp_path)
    assert error.what == "every class of test/ must have pictures in train/, however: c has none"
    fill(tmp_path / "train", ("c",))
    fill(tmp_path / "val", ("a",))
    assert "however: there is val/" in refused(tmp_path).what
    (tmp_path / "val").rename(tmp_path / "valid")
    assert read_images(str(tmp_path)).classes == ("a", "b", "c")
    put(tmp_path / "bare" / "train" / "0.png", grey(0))
    fill(tmp_path / "bare" / "test")
    error = refused(tmp_path / "bare")
    assert "no sub-folder" in error.what
    assert error.where == f"data.root: {tmp_path}/bare/train"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may read everything")
def test_what_may_not_be_read(tmp_path: Path) -> None:
    fill(tmp_path)
    for path in (tmp_path / "cat", tmp_path / "cat" / "0.png"):
        path.chmod(0)
        assert "Permission" in refused(tmp_path).what
        path.chmod(0o700)


# --- files that cannot be used


def test_whatever_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    fill(tmp_path)
    path = tmp_path / "cat" / "1.png"

    def refuses(told: str) -> None:
        error = refused(tmp_path)
        assert told in error.what
        assert error.where == f"data.root: {path}"
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()

    path.unlink()
    path.symlink_to(path)
    refuses("must be a file that can be read")
    path.symlink_to(tmp_path / "none.png")
    refuses("must be a file that can be read")
    os.mkfifo(path)
    refuses("must be a regular file")
    path.symlink_to("/dev/zero")
    refuses("must be a regular file")
    path.mkdir()
    refuses("must be a regular file")
    path = tmp_path / "bird"
    path.symlink_to(path)
    refuses("must be a folder or a file")


def test_pictures_of_two_sizes_are_both_named(tmp_path: Path) -> None:
    fill(tmp_path)
    put(tmp_path / "dog" / "1.png", grey(0, (3, 4)))
    error = refused(tmp_path)
    assert "4 x 3 and 3 x 4" in error.what
    assert error.where == f"data.root: {tmp_path}/cat/0.png, {tmp_path}/dog/1.png"
    assert error.fix == "Try data.size=[28,28]"


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("keep", [0, 1, 20, 60, 400, -30])
def test_a_truncated_picture_is_named(tmp_path: Path, suffix: str, keep: int) -> None:
    put(tmp_path / "cat" / f"0.{suffix}", grey(0, (40, 30)))
    path = put(tmp_path / "dog" / f"0\x1b[31m.{suffix}", grey(1, (40, 30)))
    path.write_bytes(path.read_bytes()[:keep])
    for size in (None, (4, 3)):
        assert refused(tmp_path, size=size).where == f"data.root: {tmp_path}/dog/0\\x1b[31m.{suffix}"


def test_a_damaged_byte_of_a_png_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    whole = read_images(str(fill(tmp_path))).x
    path = tmp_path / "dog" / "2.png"
    content = path.read_bytes()
    unnoticed = set()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        try:
            assert read_images(str(tmp_path)).x.equal(whole)
            unnoticed.add(place)
        except DataError:
            assert str(path) in refused(tmp_path).where
    assert unnoticed <= set(range(len(content) - 12, len(content)))  # the chunk that says that nothing follows


def test_other_formats_are_not_tried(tmp_path: Path) -> None:
    fill(tmp_path)
    Image.fromarray(grey(0)).save(tmp_path / "cat" / "9.png", format="GIF")
    error = refused(tmp_path)
    assert (error.what, error.where) == ("must be a PNG or JPEG file, however: it is none", f"data.root: {tmp_path}/cat/9.png")
    (tmp_path / "cat" / "9.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    refused(tmp_path)
    Image.fromarray(grey(0)).save(tmp_path / "cat" / "9.png", format="JPEG")  # by a wrong name, but a picture
    assert len(read_images(str(tmp_path)).x) == 7


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    """A small PNG that says it is large."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_000, 60_000])  # Pillow warns of the one, and refuses the other
def test_a_bomb_is_named(tmp_path: Path, side: int) -> None:
    fill(tmp_path)
    (tmp_path / "cat" / "9.png").write_bytes(bomb(side, side))
    for size in (None, (4, 3)):
        error = refused(tmp_path, size=size)
        assert "points" in error.what
        assert error.where == f"data.root: {tmp_path}/cat/9.png"


def test_a_text_in_a_picture_may_be_a_bomb_too(tmp_path: Path) -> None:
    fill(tmp_path)
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000)))
    content = (tmp_path / "cat" / "0.png").read_bytes()
    (tmp_path / "cat" / "0.png").write_bytes(content[:33] + text + content[33:])
    assert refused(tmp_path).where == f"data.root: {tmp_path}/cat/0.png"


def test_pictures_of_too_many_points_for_a_row(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "0.png").write_bytes(bomb(2000, 1000))
    fill(tmp_path, ("dog",))
    error = refused(tmp_path)
    assert (error.what, error.fix) == ("a picture must have at most 1,048,576 points, however: 1000 x 2000", "Try data.size=[28,28]")


def test_memory_is_asked_for_before_pictures_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    need = 6 * 4 * 3 * 4
    monkeypatch.setattr(images, "free_memory", lambda: need)
    read_images(str(tmp_path))
    monkeypatch.setattr(images, "free_memory", lambda: need - 1)
    monkeypatch.setattr(images, "_grey", None)  # not to be called
    error = refused(tmp_path, ResourceError)
    assert "6 of 4 x 3 points" in error.what
    assert "data.size=[28,28]" in error.fix
    monkeypatch.setattr(images, "_size", None)  # neither, where the size is said
    assert "6 of 28 x 28" in refused(tmp_path, ResourceError, size=(28, 28)).what
