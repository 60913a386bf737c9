"""Arrays of NumPy become rows whatever their type and order of bytes; what is damaged, too large or would run code is refused first."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnnlab import limits
from dnnlab.data import Source, npz, prepare
from dnnlab.data.npz import read_npz
from dnnlab.errors import ConfigError, DataError, DnnlabError, ResourceError, UntrustedError
from dnnlab.tasks import Task

Save = Callable[..., str]
X = np.arange(24.0).reshape(8, 3)
Y = np.array([1, 0, 2, 1, 0, 2, 1, 0])
PIXELS = np.arange(8 * 2 * 3, dtype=np.uint8).reshape(8, 2, 3)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Save arrays in a file and name it."""

    def put(**arrays: Any) -> str:
        path = tmp_path / "a.npz"
        np.savez_compressed(path, **arrays)
        return str(path)

    return put


def refused(path: str, kind: type[DnnlabError] = DataError, **asked: Any) -> DnnlabError:
    with pytest.raises(kind) as caught:
        read_npz(path, **asked)
    assert type(caught.value) is kind
    assert str(caught.value).isprintable()
    return caught.value


def where(error: DnnlabError) -> str:
    """The place of an error without the folder."""
    return error.where.rpartition("/")[2]


def raw(header: bytes, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """A .npy with a header of one's own."""
    return b"\x93NUMPY" + bytes(version) + len(header).to_bytes(2 if version == (1, 0) else 4, "little") + header + data


def packed(path: Path, members: dict[str, bytes]) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return str(path)


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


# --- inputs


def test_rows_of_numbers_with_classes(save: Save) -> None:
    source = read_npz(save(x=X, y=Y, other=np.zeros(3)))
    assert (source.name, source.classes, source.features, source.targets) == ("a", ("0", "1", "2"), ("x0", "x1", "x2"), ("y",))
    assert (source.task, source.image_shape, source.given) == (Task.MULTICLASS, None, {})
    assert source.x.dtype == torch.float64
    assert source.x.tolist() == X.tolist()
    assert source.y.dtype == torch.int64
    assert source.y.tolist() == Y.tolist()


@pytest.mark.parametrize("kind", ["?", "i1", "u1", "<i2", ">i2", "<u4", ">i4", "<i8", ">i8", ">u8", "<f2", ">f2", "<f4", ">f4", ">f8", "g"])
def test_numbers_of_every_width_and_order_of_bytes(save: Save, kind: str) -> None:
    x = (X % 2 if kind == "?" else X).astype(kind)
    source = read_npz(save(x=x, y=Y))
    assert source.x.tolist() == x.astype(float).tolist()
    assert source.x.dtype == (torch.float32 if kind in ("?", "i1", "u1", "<i2", ">i2", "<f2", ">f2", "<f4", ">f4") else torch.float64)


@pytest.mark.parametrize("kind", ["i1", "u1", ">i2", ">u4", ">i8", "<u8"])
def test_classes_of_every_width_and_order_of_bytes(save: Save, kind: str) -> None:
    assert read_npz(save(x=X, y=Y.astype(kind))).y.tolist() == Y.tolist()


def test_columns_first(save: Save) -> None:
    assert read_npz(save(x=np.asfortranarray(X), y=Y)).x.tolist() == X.tolist()
    images = read_npz(save(x=np.asfortranarray(PIXELS), y=Y))
    assert images.x.equal(read_npz(save(x=PIXELS, y=Y)).x)


def test_a_missing_number_stays_missing(save: Save) -> None:
    x = X.copy()
    x[2, 1] = np.nan
    source = read_npz(save(x=x, y=Y))
    assert source.x.isnan().nonzero().tolist() == [[2, 1]]


@pytest.mark.parametrize("shape", [(8, 2, 3), (8, 2, 3, 1)])
def test_images_of_bytes_become_grey(save: Save, shape: tuple[int, ...]) -> None:
    source = read_npz(save(x=PIXELS.reshape(shape), y=Y))
    assert source.image_shape == (2, 3)
    assert source.features == ("pixel_0_0", "pixel_0_1", "pixel_0_2", "pixel_1_0", "pixel_1_1", "pixel_1_2")
    assert source.x.equal(torch.from_numpy(PIXELS.reshape(8, 6).astype(np.float32)).div(255))


def test_only_images_of_bytes_are_scaled(save: Save) -> None:
    assert read_npz(save(x=PIXELS.reshape(8, 6), y=Y)).x.tolist() == PIXELS.reshape(8, 6).tolist()
    assert read_npz(save(x=PIXELS.astype(float), y=Y)).x.tolist() == PIXELS.reshape(8, 6).tolist()


def test_portions_do_not_show(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_npz(save(x=PIXELS, y=Y))
    monkeypatch.setattr(npz, "PORTION", 13)  # two rows at a time
    monkeypatch.setattr("dnnlab.data.npz_archive.PORTION", 5)
    assert read_npz(save(x=PIXELS, y=Y)).x.equal(whole.x)
    x = X.copy()
    x[5, 2], x[7, 0] = np.inf, np.inf
    assert where(refused(save(x=x, y=Y))) == "a.npz: x, row 5 (from 0), column x2"


@pytest.mark.parametrize(
    ("value", "kind", "told"),
    [
        (np.inf, "f8", "inf"),
        (-np.inf, "f2", "-inf"),
        (np.longdouble("1e999"), "g", "1e+999"),
        (2**53 + 1, "i8", "9007199254740993"),
        (-(2**53) - 1, "i8", "-9007199254740993"),
        (2**64 - 1, "u8", "18446744073709551615"),
    ],
)
def test_d13_d14_numbers_that_cannot_be_kept(save: Save, value: Any, kind: str, told: str) -> None:
    x = X.astype(kind)
    if kind == "g" and x.dtype.itemsize == 8:
        pytest.skip("long doubles are doubles here")
    x[5, 2] = value
    error = refused(save(x=x, y=Y))
    assert told in error.what
    assert where(error) == "a.npz: x, row 5 (from 0), column x2"


def test_d13_a_point_of_an_image_is_named(save: Save) -> None:
    x = PIXELS.astype(np.float32)
    x[3, 1, 2] = np.inf
    assert where(refused(save(x_train=x, y=Y))) == "a.npz: x_train, row 3 (from 0), column pixel_1_2"


@pytest.mark.parametrize("shape", [(), (24,), (2, 2, 2, 3, 1), (2, 2, 2, 3), (0, 3), (8, 0)])
def test_inputs_that_are_no_rows(save: Save, shape: tuple[int, ...]) -> None:
    error = refused(save(x=np.zeros(shape), y=Y))
    assert "(N, D)" in error.what
    assert str(shape) in error.what


@pytest.mark.parametrize("kind", ["c16", "M8[s]", "m8[s]", "V4", "U3", "S3", [("a", "f8")]])
def test_inputs_that_are_no_numbers(save: Save, kind: Any) -> None:
    assert "must hold numbers, however" in refused(save(x=np.zeros((8, 3), kind), y=Y)).what


# --- targets


def test_targets_by_their_type(save: Save) -> None:
    def task(y: Any, **asked: Any) -> Task:
        return read_npz(save(x=X, y=y), **asked).task

    assert task(Y) is Task.MULTICLASS
    assert task(Y % 2) is Task.BINARY
    assert task(Y > 0) is Task.BINARY
    assert task(Y.astype(str)) is Task.MULTICLASS
    assert task(Y.reshape(8, 1)) is Task.MULTICLASS
    assert task(Y.astype(float)) is Task.REGRESSION
    assert task(Y.astype(float), task="multiclass") is Task.MULTICLASS
    assert task(Y.astype(float), classes=["a", "b", "c"]) is Task.MULTICLASS
    assert task(Y % 2 * 1.0, task="binary") is Task.BINARY
    assert task(Y, task="regression") is Task.REGRESSION
    assert task(X[:, :2]) is Task.REGRESSION
    assert task(X[:, :2].astype(int)) is Task.REGRESSION


def test_numbers_are_columns_of_float64(save: Save) -> None:
    one = read_npz(save(x=X, y=Y.astype(">f4")), target="y")
    assert (one.y.dtype, one.y.tolist(), one.targets, one.classes) == (torch.float64, [[float(y)] for y in Y], ("y",), ())
    several = read_npz(save(x=X, goal=X[:, :2]), target="goal")
    assert (several.y.tolist(), several.targets) == (X[:, :2].tolist(), ("goal0", "goal1"))


def test_codes_go_by_sorted_values(save: Save) -> None:
    source = read_npz(save(x=X, y=np.array([10, -5, 9, 10, -5, 9, 10, 9])))
    assert (source.classes, source.y.tolist()) == (("-5", "9", "10"), [2, 0, 1, 2, 0, 1, 2, 1])
    source = read_npz(save(x=X, y=np.array([1.0, 0, 2, 1, 0, 2, 1, 0])), task="multiclass")
    assert (source.classes, source.y.tolist()) == (("0", "1", "2"), Y.tolist())
    source = read_npz(save(x=X, y=Y > 0))
    assert (source.classes, source.y.tolist()) == (("False", "True"), (Y > 0).astype(int).tolist())


@pytest.mark.parametrize("kind", ["U", "S"])
def test_texts_are_classes(save: Save, kind: str) -> None:
    y = np.array(["no", "yes", "a\x1b[1m", "no", "yes", "no", "yes", "no"]).astype(kind)
    source = read_npz(save(x=X, y=y))
    assert source.classes == ("a\\x1b[1m", "no", "yes")
    assert source.y.tolist() == [1, 2, 0, 1, 2, 1, 2, 1]
    assert read_npz(save(x=X, y=np.array(["ö".encode(), b"a"] * 4))).classes == ("a", "ö")


def test_names_of_classes(save: Save) -> None:
    assert read_npz(save(x=X, y=Y), classes=["c", "b", "a"]).classes == ("c", "b", "a")
    ordered = read_npz(save(x=X, y=np.array(["low", "mid", "high", "low"] * 2)), classes=["low", "mid", "high"])
    assert (ordered.classes, ordered.y.tolist()) == (("low", "mid", "high"), [0, 1, 2, 0] * 2)


@pytest.mark.parametrize(
    ("classes", "y", "told"),
    [
        (["a", "b"], Y, "each of 3 classes once (0: 3, 1: 3, 2: 2), however: 2 names"),
        (["a", "b", "b"], Y, "3 names, 2 different"),
        (["a", "b", "c", "d"], Y, "4 names"),
        ([], Y * 1.0, "0 names"),
        (["no", "si"], np.array(["no", "yes"] * 4), "'si' is none"),
    ],
)
def test_names_that_do_not_fit(save: Save, classes: list[str], y: Any, told: str) -> None:
    error = refused(save(x=X, y=y), ConfigError, classes=classes)
    assert told in error.what
    assert error.where.startswith("data.labels, data.path: ")


@pytest.mark.parametrize(
    ("y", "count", "rows"),
    [
        (np.array([1, np.nan, 2, 3, np.inf, 4, -np.inf, np.nan]), 4, "rows 1, 4, 6, … (from 0)"),
        (np.array([[1, 1]] * 6 + [[1, np.nan], [2, 2]]), 1, "rows 6 (from 0)"),
        (np.array(["a", "", "b", "a", "b", "", "a", "b"]), 2, "rows 1, 5 (from 0)"),
        (np.array(["", "", "", "", "", "", "", ""]), 8, "rows 0, 1, 2, … (from 0)"),
    ],
)
def test_d12_rows_without_a_target(save: Save, y: Any, count: int, rows: str) -> None:
    error = refused(save(x=X, y=y))
    assert error.what == f"every row must have a finite target, however: {count} of 8 have none"
    assert where(error) == f"a.npz: y, {rows}"


@pytest.mark.parametrize(
    ("y", "asked", "kind", "told"),
    [
        (np.zeros(8, int), {}, DataError, "two classes or more, however: one (0: 8)"),
        (Y, {"task": "binary"}, DataError, "two classes, however: 3 (0: 3, 1: 3, 2: 2)"),
        (Y + 0.5, {"task": "multiclass"}, DataError, "a whole number as its class, however: 8 of 8 have none"),
        (np.eye(3)[Y], {"task": "multiclass"}, DataError, "one number for each row, however: 3"),
        (Y.astype(str), {"task": "regression"}, ConfigError, "holds texts"),
        (Y, {"task": "regression", "classes": ["a", "b", "c"]}, ConfigError, "data.labels"),
        (np.full(8, 2.5), {}, DataError, "vary, however: all 8 rows have 2.5"),
        (Y * -1e30, {}, DataError, "at most 1e+15"),
        (np.array([b"a", b"\xff"] * 4), {}, DataError, "UTF-8"),
        (Y[:7], {}, DataError, "x (8, 3) of 'float64', y (7,)"),
        (np.zeros((8, 2), "U1"), {}, DataError, "(N,), or (N, T)"),
        (np.zeros(()), {}, DataError, "(N,), or (N, T)"),
        (np.zeros((8, 1, 1)), {}, DataError, "(N,), or (N, T)"),
        (np.zeros(8, complex), {}, DataError, "numbers or texts, however: 'complex128'"),
        (np.zeros(8, "M8[s]"), {}, DataError, "numbers or texts"),
    ],
)
def test_targets_that_cannot_be_used(save: Save, y: Any, asked: dict[str, Any], kind: type[DnnlabError], told: str) -> None:
    error = refused(save(x=X, y=y), kind, **asked)
    assert told in error.what
    assert error.where
    assert error.fix


def test_whole_numbers_that_are_no_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((202, 1)), y=np.arange(202) // 2 + np.arange(202) // 3)
    assert "data.task=regression" in refused(str(tmp_path / "a.npz")).fix


# --- parts


def test_parts_of_the_file_are_given(save: Save) -> None:
    path = save(x=X, y=Y, x_test=X[:2] + 100, y_test=Y[:2], x_valid=X[:3] + 50, y_valid=Y[:3])
    source = read_npz(path)
    assert {part: index.tolist() for part, index in source.given.items()} == {"valid": [8, 9, 10], "test": [11, 12]}
    assert source.x.tolist() == [*X.tolist(), *(X[:3] + 50).tolist(), *(X[:2] + 100).tolist()]
    assert source.y.tolist() == [*Y, *Y[:3], *Y[:2]]
    data = prepare(source)
    assert (len(data.train.x), data.valid and len(data.valid.x), data.test and data.test.index.tolist()) == (8, 3, [11, 12])


@pytest.mark.parametrize("names", [{}, {"inputs": "x_train", "target": "y_train"}])
def test_the_spelling_of_keras(save: Save, names: dict[str, str]) -> None:
    source = read_npz(save(x_train=PIXELS, y_train=Y.astype(np.uint8), x_test=PIXELS[:2], y_test=Y[:2].astype(np.uint8)), **names)
    assert (len(source.x), source.image_shape, source.given["test"].tolist()) == (10, (2, 3), [8, 9])


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"x_test": X}, "'y_test'"),
        ({"y_valid": Y}, "'x_valid'"),
        ({"x_test": X[:, :2], "y_test": Y}, "inputs of all parts must be alike, however: x (8, 3) of 'float64', x_test (8, 2)"),
        ({"x_test": X, "y_test": Y * 1.0}, "targets of all parts must be alike, however: y (8,) of 'int64', y_test (8,) of 'float64'"),
        ({"x_test": X, "y_test": np.stack([Y, Y], 1)}, "targets of all parts must be alike"),
        ({"x_test": X, "y_test": Y.astype(str)}, "targets of all parts must be alike"),
        ({"x_test": X[:3], "y_test": Y}, "as many rows, however: x_test (3, 3) of 'float64', y_test (8,)"),
    ],
)
def test_parts_that_do_not_fit(save: Save, more: dict[str, Any], told: str) -> None:
    assert told in refused(save(x=X, y=Y, **more)).what


def test_images_of_bytes_and_of_floats_do_not_mix(save: Save) -> None:
    assert "alike" in refused(save(x=PIXELS, y=Y, x_test=PIXELS / 255, y_test=Y)).what


def test_a_width_of_their_own_is_no_hindrance(save: Save) -> None:
    source = read_npz(save(x=X.astype(np.float32), y=Y.astype(np.int8), x_test=X + 1e-9, y_test=Y.astype(np.uint64)))
    assert source.x[8:].tolist() == (X + 1e-9).tolist()
    assert source.y.tolist() == [*Y, *Y]


def test_arrays_that_are_missing_are_named_with_those_that_are_there(save: Save) -> None:
    error = refused(save(X=X, labels=Y))
    assert (error.what, where(error)) == ("the file must hold an array 'x', however: it does not", "a.npz, data.inputs")
    assert error.fix == "Did you mean X? Choose one of: X, labels"
    assert where(refused(save(x=X, labels=Y))) == "a.npz, data.target"


# --- the file


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.mark),))


@pytest.mark.parametrize("name", ["x", "y", "x_test"])
def test_objects_are_refused_unread(tmp_path: Path, name: str) -> None:
    mark = tmp_path / "mark"
    arrays = {"x": npy(X), "y": npy(Y), "x_test": npy(X), "y_test": npy(Y)}
    arrays[name] = npy(np.array([Bomb(mark)] * 8, object))
    error = refused(packed(tmp_path / "a.npz", {f"{key}.npy": value for key, value in arrays.items()}), UntrustedError)
    assert error.exit_code == 7
    assert where(error) == f"a.npz: {name}"
    (tmp_path / "b.npz").write_bytes(pickle.dumps({"x": Bomb(mark)}))
    assert "pickle" in refused(str(tmp_path / "b.npz"), UntrustedError).what
    fields = np.zeros(8, [("a", "O"), ("b", "f8")])
    arrays[name] = npy(fields)
    refused(packed(tmp_path / "a.npz", {f"{key}.npy": value for key, value in arrays.items()}), UntrustedError)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it is empty"),
        (b"x,y\n1,2\n", "it begins with b'x,y\\n1,'"),
        (npy(X), "it is a single array (.npy)"),
        (b"PK\x03\x04 and no more", "zip file"),
        (b"PK\x05\x06" + bytes(18), "'x'"),  # an archive without arrays
    ],
)
def test_a_file_that_is_none(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    assert told in refused(str(tmp_path / "a.npz")).what


GOOD = b"{'descr': '<f8', 'fortran_order': False, 'shape': (8, 3), }\n"


@pytest.mark.parametrize(
    "array",
    [
        b"",
        b"no array",
        raw(GOOD[:20]),
        raw(GOOD, X.tobytes()[:-1]),  # short
        raw(GOOD, X.tobytes() + b"\0"),  # long
        raw(GOOD, X.tobytes(), version=(3, 0)),
        raw(GOOD, X.tobytes(), version=(9, 9)),
        raw(GOOD.replace(b"<f8", b"<q7"), X.tobytes()),
        raw(GOOD.replace(b"False", b"0"), X.tobytes()),
        raw(GOOD.replace(b"(8, 3)", b"(-8, -3)"), X.tobytes()),
        raw(GOOD.replace(b"8, 3", b"8.0, 3"), X.tobytes()),
        raw(GOOD.replace(b"8, 3", b"9" * 400 + b", 3"), X.tobytes()),
        raw(GOOD.replace(b"(8, 3)", b"__import__('os')"), X.tobytes()),
        raw(GOOD.replace(b"(8, 3)", b"(" * 3000), X.tobytes()),
        raw(GOOD.replace(b"(8, 3)", b"[" * 300 + b"]" * 300), X.tobytes()),
        raw(GOOD + b" " * 20000, X.tobytes()),
    ],
)
def test_an_array_that_is_damaged(tmp_path: Path, array: bytes) -> None:
    error = refused(packed(tmp_path / "a.npz", {"x.npy": array, "y.npy": npy(Y)}))
    assert error.what.startswith("must be a whole .npz file, however: ")
    assert where(error) == "a.npz: x"


def test_an_array_that_python_2_wrote(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.npz", {"x.npy": raw(GOOD.replace(b"8, 3", b"8L, 3L"), X.tobytes()), "y.npy": npy(Y)})
    assert read_npz(path).x.tolist() == X.tolist()


def test_a_checksum_that_does_not_fit(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y)  # as it is, not packed
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.index(X.tobytes()) + 20] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    assert "CRC" in refused(str(tmp_path / "a.npz")).what


def test_a_password(tmp_path: Path) -> None:
    content = bytearray(Path(packed(tmp_path / "a.npz", {"x.npy": npy(X), "y.npy": npy(Y)})).read_bytes())
    for mark in (b"PK\x03\x04", b"PK\x01\x02"):
        content[content.index(mark) + (6 if mark.endswith(b"\x04") else 8)] |= 1
    (tmp_path / "a.npz").write_bytes(content)
    assert "encrypted" in refused(str(tmp_path / "a.npz")).what


def test_a_bomb_is_measured_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 10**13
    big = raw(GOOD.replace(b"8, 3", f"{rows}, 3".encode()).replace(b"<f8", b"|u1"), bytes(1000))
    path = packed(tmp_path / "a.npz", {"x.npy": big, "y.npy": raw(GOOD.replace(b"8, 3", f"{rows},".encode()))})
    error = refused(path, ResourceError)
    assert "GiB" in error.what
    assert f"x ({rows}, 3) of 'uint8'" in error.where
    words = raw(b"{'descr': '<U%d', 'fortran_order': False, 'shape': (8,), }\n" % 10**8)
    monkeypatch.setattr(npz, "free_memory", lambda: 2**30)
    refused(packed(tmp_path / "a.npz", {"x.npy": npy(X), "y.npy": words}), ResourceError)


def test_what_fits_is_read(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(x=X, y=Y)
    need = 2 * X.nbytes + 4 * Y.nbytes
    monkeypatch.setattr(npz, "free_memory", lambda: need)
    read_npz(path)
    monkeypatch.setattr(npz, "free_memory", lambda: need - 1)
    refused(path, ResourceError)


def test_free_memory_is_what_the_machine_and_its_group_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < limits.free_memory() <= 2**63
    files = {"/proc/meminfo": "MemTotal: 9 kB\nMemAvailable:   4000 kB\n"}
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: files.get(str(path)) or path.open(encoding=encoding).read())
    monkeypatch.setattr(limits, "GROUP", tmp_path)
    assert limits.free_memory() == 4_096_000
    files |= {
        f"{tmp_path}/memory.{name}": value
        for name, value in {"max": "max\n", "current": "900\n", "stat": "a 1\ninactive_file 300\n"}.items()
    }
    assert limits.free_memory() == 4_096_000
    files[f"{tmp_path}/memory.max"] = "1000\n"
    assert limits.free_memory() == 1000 - (900 - 300)
    files[f"{tmp_path}/memory.max"] = "500\n"
    assert limits.free_memory() == 0


def test_d32_paths_that_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "fifo.npz")
    (tmp_path / "loop.npz").symlink_to(tmp_path / "loop.npz")
    with monkeypatch.context() as context:
        context.setattr(os, "open", None)  # to ask what a device is, it is not opened
        for path in (tmp_path, tmp_path / "fifo.npz", "/dev/zero"):
            assert "must be a regular file" in refused(str(path)).what
    for path in (tmp_path / "none\x1b[31m.npz", tmp_path / "loop.npz", "a\0b", "https://example.org/a.npz", "~nobody-of-this-name/a.npz"):
        assert "must be a file that can be read" in refused(str(path), key="data.file").what
    assert refused(str(tmp_path / "none\x1b[31m.npz"), key="data.file").where == f"data.file: {tmp_path}/none\\x1b[31m.npz"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 2000), byte=st.integers(0, 255), cut=st.booleans())
def test_whatever_is_changed_the_answer_is_one_of_ours(tmp_path: Path, place: int, byte: int, cut: bool) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=X, y=Y)
    content = bytearray(path.read_bytes())
    place %= len(content)
    if cut:
        del content[place:]
    else:
        content[place] = byte
    path.write_bytes(content)
    try:
        source = read_npz(str(path))
    except (DataError, UntrustedError, ResourceError):
        return
    assert isinstance(source, Source)
    assert source.x.tolist() == X.tolist()
    assert source.y.tolist() == Y.tolist()
