"""Sources hold what they say, splits are exact and keyed, scaling is the training rows' own, and damaged files are named."""

from __future__ import annotations

import gzip
import os
import struct
from math import pi
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import datasets
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from torch import Tensor

from dnnlab import data as room
from dnnlab.data import Dataset, Recipe, Source, prepare
from dnnlab.data.generated import circles, moons
from dnnlab.data.idx import read_array, read_idx
from dnnlab.data.scaling import fit, spread
from dnnlab.data.splits import largest_remainder, split
from dnnlab.errors import ConfigError, DataError
from dnnlab.tasks import Task

F64 = torch.float64
REAL = Path(os.environ.get("DNNLAB_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))

SETTINGS: dict[str, dict[str, float]] = {
    "moons": {"rows": 101, "noise": 0.1},
    "circles": {"rows": 101, "noise": 0.1, "factor": 0.5},
    "spirals": {"rows": 100, "classes": 3, "turns": 1.5, "noise": 0.05},
    "blobs": {"rows": 100, "features": 4, "classes": 6, "spread": 0.5},
    "linear_regression": {"rows": 100, "features": 6, "informative": 3, "noise": 0.5},
    "friedman": {"rows": 100, "features": 7, "noise": 0.5},
}
FORM = {  # rows, features, classes
    "digits": (1797, 64, 10), "iris": (150, 4, 3), "wine": (178, 13, 3), "breast_cancer": (569, 30, 2), "diabetes": (442, 10, 0),
    "xor": (4, 2, 2), "and": (4, 2, 2), "or": (4, 2, 2), "parity": (64, 6, 2), "moons": (101, 2, 2), "circles": (101, 2, 2),
    "spirals": (100, 2, 3), "blobs": (100, 4, 6), "linear_regression": (100, 6, 0), "friedman": (100, 7, 0),
}  # fmt: skip


def load(kind: str, seed: int = 0, **settings: float) -> Source:
    """A source by the name that it has in the configuration."""
    if kind in ("digits", "iris", "wine", "breast_cancer", "diabetes"):
        return room.load_bundled(kind)
    if kind in ("xor", "and", "or"):
        return room.truth_table(kind)
    source: Source = getattr(room, kind)(**settings, **({} if kind == "parity" else {"seed": seed}))
    return source


def labelled(counts: list[int]) -> Tensor:
    """Class codes in a mixed order, so many of each."""
    codes = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return codes[torch.randperm(len(codes), generator=torch.Generator().manual_seed(5))]


@pytest.mark.parametrize("kind", FORM)
def test_a_source_has_the_rows_features_and_classes_that_it_names(kind: str) -> None:
    source = load(kind, 0, **SETTINGS.get(kind, {"bits": 6} if kind == "parity" else {}))
    rows, features, classes = FORM[kind]
    assert source.name == kind
    assert source.x.shape == (rows, features)
    assert len(source.features) == len(set(source.features)) == features
    assert len(source.classes) == classes
    assert source.x.isfinite().all()
    if classes:
        assert source.y.dtype == torch.int64
        assert torch.unique(source.y).tolist() == list(range(classes))
    else:
        assert source.y.shape == (rows, 1)
    assert source.task == {0: Task.REGRESSION, 2: Task.BINARY}.get(classes, Task.MULTICLASS)


def test_bundled_rows_are_scikit_learns() -> None:
    digits = datasets.load_digits()
    source = load("digits")
    assert np.array_equal(source.x.numpy(), digits.data)
    assert np.array_equal(source.y.numpy(), digits.target)
    assert source.image_shape == (8, 8)
    assert load("diabetes").features[:3] == ("age", "sex", "bmi")
    assert load("breast_cancer").classes == ("malignant", "benign")


@pytest.mark.parametrize("kind", SETTINGS)
def test_generated_rows_are_a_function_of_the_seed(kind: str) -> None:
    first, again, other = (load(kind, seed, **SETTINGS[kind]) for seed in (3, 3, 4))
    assert torch.equal(first.x, again.x)
    assert torch.equal(first.y, again.y)
    assert not torch.equal(first.x, other.x)


def test_moons_and_circles_lie_on_scikit_learns_curves() -> None:
    for ours, (x, y) in (
        (moons(100, 0.0, 0), datasets.make_moons(100, shuffle=False)),
        (circles(100, 0.0, 0.3, 0), datasets.make_circles(100, shuffle=False, factor=0.3)),
    ):
        found, theirs = (
            {(*row.round(9) + 0.0, code) for row, code in zip(*pair, strict=True)} for pair in ((ours.x.numpy(), ours.y.tolist()), (x, y))
        )
        assert found == theirs
        assert len(found) == 100
    assert moons(101, 0.0, 0).y.bincount().tolist() == [51, 50]


def test_the_noise_of_a_shape_has_its_standard_deviation() -> None:
    off = circles(20_000, 0.2, 0.5, 0).x - circles(20_000, 0.0, 0.5, 0).x
    assert float(off.std()) == pytest.approx(0.2, rel=0.02)


def test_spirals_turn_as_often_as_asked() -> None:
    source = load("spirals", rows=3000, classes=3, turns=2.0, noise=0.0)
    radius = source.x.norm(dim=1)
    angle = torch.atan2(source.x[:, 1], source.x[:, 0])
    expected = 2 * pi * (2.0 * radius + source.y.double() / 3)
    assert torch.allclose(torch.sin(angle - expected), torch.zeros_like(angle), atol=1e-9)
    assert torch.allclose(torch.cos(angle - expected), torch.ones_like(angle), atol=1e-9)


def test_friedmans_function_is_written_as_in_the_paper() -> None:
    source = load("friedman", rows=50, features=8, noise=0.0)
    for x, y in zip(source.x.tolist(), source.y.squeeze(1).tolist(), strict=True):
        assert y == pytest.approx(10 * np.sin(pi * x[0] * x[1]) + 20 * (x[2] - 0.5) ** 2 + 10 * x[3] + 5 * x[4])


def test_linear_regression_is_linear_in_its_informative_inputs_alone() -> None:
    source = load("linear_regression", rows=60, features=6, informative=2, noise=0.0)
    weights = torch.linalg.lstsq(source.x, source.y).solution.squeeze(1)
    assert ((weights[:2] >= 1) & (weights[:2] <= 10)).all()
    assert weights[2:].abs().max() < 1e-12


def test_more_informative_inputs_than_inputs_names_both_settings() -> None:
    with pytest.raises(ConfigError) as caught:
        load("linear_regression", rows=10, features=2, informative=3, noise=0.0)
    assert "data.informative" in str(caught.value)
    assert "data.features" in str(caught.value)


@pytest.mark.parametrize(("kind", "answers"), [("xor", [0, 1, 1, 0]), ("and", [0, 0, 0, 1]), ("or", [0, 1, 1, 1])])
def test_a_truth_table_trains_validates_and_tests_on_all_its_rows(kind: str, answers: list[int]) -> None:
    data = prepare(load(kind), recipe=Recipe(scale="none"))
    assert data.train.x.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert data.train.y.squeeze(1).tolist() == answers
    assert data.train is data.valid is data.test


def test_parity_counts_ones() -> None:
    source = load("parity", bits=10)
    for number, (bits, odd) in enumerate(zip(source.x.tolist(), source.y.tolist(), strict=True)):
        assert int("".join(str(int(bit)) for bit in bits), 2) == number
        assert odd == bin(number).count("1") % 2


# splits


@pytest.mark.parametrize("counts", [[50, 30, 20], [37, 41, 11, 3], [500, 5], [3, 3, 3]])
@pytest.mark.parametrize(("valid", "test"), [(0.2, 0.2), (0.15, 0.0), (0.34, 0.33), (0.0, 0.1)])
def test_a_split_has_exact_sizes_shares_no_row_and_keeps_the_classes(counts: list[int], valid: float, test: float) -> None:
    codes = labelled(counts)
    rows = len(codes)
    parts = split(rows, {"valid": valid, "test": test}, 0, codes)
    assert torch.equal(torch.cat(list(parts.values())).sort().values, torch.arange(rows))
    assert [name for name in ("train", "valid", "test") if name in parts] == list(parts)
    shares = {"train": 1 - valid - test, "valid": valid, "test": test}
    for name, index in parts.items():
        assert abs(len(index) - rows * shares[name]) < 1
        assert torch.equal(index, index.sort().values)  # in the order of the rows
        found = torch.bincount(codes[index], minlength=len(counts))
        for count, got in zip(counts, found.tolist(), strict=True):
            assert abs(got - count * shares[name]) < 2 + 1e-9
        if name == list(parts)[-1]:  # the part that is drawn first is exact
            assert found.tolist() == largest_remainder(counts, len(index))


def test_a_split_is_a_function_of_the_seed_and_not_of_what_was_drawn_before() -> None:
    codes = labelled([40, 30, 30])
    for strata in (codes, None):
        first = split(100, {"valid": 0.2, "test": 0.2}, 1, strata)
        torch.rand(7)
        again, other = (split(100, {"valid": 0.2, "test": 0.2}, seed, strata) for seed in (1, 2))
        assert all(torch.equal(first[name], again[name]) for name in first)
        assert not torch.equal(first["valid"], other["valid"])


def test_without_strata_the_draw_is_uniform() -> None:
    hits = torch.zeros(20)
    for seed in range(2000):
        hits[split(20, {"valid": 0.25}, seed)["valid"]] += 1
    assert (hits / 2000 - 0.25).abs().max() < 0.04  # four standard deviations


def test_the_largest_remainder_sums_to_the_seats() -> None:
    for seats in range(101):
        given = largest_remainder([41, 33, 20, 5, 1], seats)
        assert sum(given) == seats
        assert all(abs(got - weight * seats / 100) < 1 for got, weight in zip(given, [41, 33, 20, 5, 1], strict=True))


def test_d22_a_class_too_small_to_be_stratified_is_named() -> None:
    source = Source("birds", torch.rand(11, 2), labelled([5, 5, 1]), ("a", "b"), ("robin", "wren", "dodo"))
    with pytest.raises(DataError, match="dodo has 1") as caught:
        prepare(source)
    assert caught.value.exit_code == 3
    assert "data.stratify=false" in caught.value.fix


def test_d21_a_class_without_training_rows_is_named_with_all_counts() -> None:
    codes = torch.tensor([0] * 10 + [1] * 9 + [2])
    source = Source("birds", torch.rand(20, 2), codes, ("a", "b"), ("robin", "wren", "dodo"))
    absent = [s for s in range(50) if 19 not in split(20, {"valid": 0.2, "test": 0.2}, s)["train"].tolist()]
    with pytest.raises(DataError, match=r"dodo has none \(training rows: robin: \d+, wren: \d+, dodo: 0\)"):
        prepare(source, stratify=False, seed=absent[0])


def test_d21_a_single_class_is_refused() -> None:
    with pytest.raises(DataError, match="one class only"):
        prepare(Source("same", torch.rand(20, 2), torch.zeros(20, dtype=torch.int64), ("a", "b"), ("only",)))


def test_a_part_that_would_be_empty_is_refused() -> None:
    with pytest.raises(DataError, match=r"valid gets 0\.01 of 20 rows") as caught:
        split(20, {"valid": 0.01, "test": 0.2}, 0)
    assert "data.valid=0" in caught.value.fix


@pytest.mark.parametrize(("valid", "test"), [(0.5, 0.5), (0.9, 0.3)])
def test_shares_that_leave_nothing_to_train_on_name_both_settings(valid: float, test: float) -> None:
    with pytest.raises(ConfigError) as caught:
        split(100, {"valid": valid, "test": test}, 0)
    assert "data.valid" in caught.value.where
    assert "data.test" in caught.value.where


# scaling


def test_scalers_agree_with_scikit_learn() -> None:
    x = load("breast_cancer").x
    assert np.allclose(fit(x, "standardise")(x).numpy(), StandardScaler().fit_transform(x.numpy()), rtol=1e-12, atol=1e-12)
    assert np.allclose(fit(x, "minmax")(x).numpy(), MinMaxScaler().fit_transform(x.numpy()), rtol=1e-12, atol=1e-12)
    assert torch.equal(fit(x, "none")(x), x)


@pytest.mark.parametrize("kind", ["standardise", "minmax"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e30, -1e-30, 123456.789])
def test_a_constant_column_becomes_zero_whatever_it_is_later(kind: str, value: float) -> None:
    x = torch.full((1000, 1), value, dtype=F64)
    scaler = fit(x, kind)  # type: ignore[arg-type]
    assert not scaler(x).any()
    assert not scaler(x + 5).any()
    assert [float(figure) for figure in spread(x, kind)] == [value, 1.0]  # type: ignore[arg-type]


def test_a_column_far_from_zero_keeps_its_digits() -> None:
    x = 1e9 + torch.arange(8.0, dtype=F64).unsqueeze(1)
    y = torch.arange(8) % 2
    data = prepare(Source("far", x, y, ("x",), ("a", "b")), valid=0, test=0)
    wanted = (torch.arange(8.0, dtype=F64) - 3.5) / torch.arange(8.0, dtype=F64).std(correction=0)
    assert torch.allclose(data.train.x.squeeze(1), wanted.float())


def test_scaling_is_the_same_in_one_piece_or_in_many() -> None:
    x = torch.randn(20_000, 3, generator=torch.Generator().manual_seed(0))
    scaler = fit(x, "standardise")
    assert torch.allclose(scaler.shift, x.double().mean(0), atol=1e-12)
    assert torch.allclose(1 / scaler.factor, x.double().std(0, correction=0), atol=1e-12)


# prepare


def test_the_scaler_travels_with_its_numbers() -> None:
    data = prepare(load("wine"))
    assert set(data.encoder.scaler.state_dict()) == {"shift", "factor"}
    raw = load("wine").x[data.train.index]
    assert torch.equal(data.encoder(raw).float(), data.train.x)
    assert data.train.x.mean(0).abs().max() < 1e-5


def parts(data: Dataset) -> list[tuple[str, int]]:
    """Which parts there are, and their rows."""
    return [(name, len(part.x)) for name in ("train", "valid", "test") if (part := getattr(data, name)) is not None]


def test_a_share_of_zero_is_no_part() -> None:
    assert parts(prepare(load("iris"), valid=0.0)) == [("train", 120), ("test", 30)]
    assert parts(prepare(load("iris"), valid=0.2, test=0.0)) == [("train", 120), ("valid", 30)]
    assert parts(prepare(load("digits"))) == [("train", 1078), ("valid", 360), ("test", 359)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_targets_have_the_form_of_their_task(dtype: torch.dtype) -> None:
    binary, several, number = (prepare(load(kind), dtype=dtype) for kind in ("breast_cancer", "wine", "diabetes"))
    assert all(data.train.x.dtype == dtype for data in (binary, several, number))
    assert (binary.task, binary.train.y.dtype, binary.train.y.shape[1:]) == (Task.BINARY, dtype, (1,))
    assert set(binary.train.y.flatten().tolist()) == {0.0, 1.0}
    assert (several.task, several.train.y.dtype, several.train.y.ndim) == (Task.MULTICLASS, torch.int64, 1)
    assert (number.task, number.train.y.dtype, number.train.y.shape[1:]) == (Task.REGRESSION, dtype, (1,))


def test_a_numeric_target_is_standardised_and_can_be_undone() -> None:
    source = load("diabetes")
    data = prepare(source, dtype=F64)
    assert abs(float(data.train.y.mean())) < 1e-12
    assert float(data.train.y.std(correction=0)) == pytest.approx(1)
    for part in (data.train, data.valid, data.test):
        assert part is not None
        undone = part.y * data.target_factor[0] + data.target_shift[0]
        assert torch.allclose(undone, source.y[part.index])


def test_a_numeric_target_can_stay_as_it_is() -> None:
    source = load("diabetes")
    data = prepare(source, scale_target="none", dtype=F64)
    assert (data.target_shift, data.target_factor) == ((), ())
    assert torch.equal(data.train.y, source.y[data.train.index])


def test_a_constant_target_divides_nothing_by_zero() -> None:
    source = Source("flat", torch.rand(10, 2), torch.full((10, 1), 0.1, dtype=F64), ("a", "b"))
    data = prepare(source)
    assert data.target_factor == (1.0,)
    assert not data.train.y.any()


def test_an_index_leads_back_to_the_row() -> None:
    source = load("iris")
    data = prepare(source, recipe=Recipe(scale="none"), dtype=F64)
    for part in (data.train, data.valid, data.test):
        assert part is not None
        assert torch.equal(part.x, source.x[part.index])
        assert torch.equal(part.y, source.y[part.index])


# idx


def idx_bytes(array: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small MNIST: 30 training and 10 test images of 3x4, three classes; the labels are not zipped."""
    random = np.random.default_rng(0)
    for name, rows in (("train", 30), ("t10k", 10)):
        images, codes = random.integers(0, 256, (rows, 3, 4)), np.arange(rows) % 3
        (tmp_path / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(idx_bytes(codes))
    return tmp_path


def test_idx_files_become_grey_vectors_with_labels(folder: Path) -> None:
    source = read_idx(str(folder), ["a", "b", "c"])
    images = np.random.default_rng(0).integers(0, 256, (30, 3, 4))
    assert source.x.dtype == torch.float32
    assert np.allclose(source.x[:30].numpy(), images.reshape(30, 12) / 255)
    assert source.y[:30].tolist() == [row % 3 for row in range(30)]
    assert (source.classes, source.image_shape, source.features[5]) == (("a", "b", "c"), (3, 4), "pixel_1_1")
    assert source.x.shape == (40, 12)
    assert source.given["test"].tolist() == list(range(30, 40))


def test_the_test_files_are_the_test_and_the_share_for_it_does_not_count(folder: Path) -> None:
    data = prepare(read_idx(str(folder), rows=20), valid=0.25, test=0.9, recipe=Recipe(scale="none"))
    assert parts(data) == [("train", 15), ("valid", 5), ("test", 10)]
    assert data.classes == ("0", "1", "2")
    assert data.test is not None
    assert data.test.index.tolist() == list(range(20, 30))


@pytest.mark.parametrize("root", ["missing", "train-labels-idx1-ubyte", "with\0nul"])
def test_c16_a_wrong_root_is_named_with_its_key_and_resolved_path(folder: Path, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(DataError) as caught:
        read_idx(root)
    assert caught.value.exit_code == 3
    assert "data.root" in str(caught.value)
    if "\0" not in root:
        assert str((folder / root).resolve()) in str(caught.value)


def test_c16_a_loop_of_links_is_an_error_and_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(DataError, match=r"data\.root"):
        read_idx(str(tmp_path / "a"))


def test_c16_a_missing_file_and_a_folder_in_its_place_are_named(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte").rename(folder / "elsewhere")
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz"):
        read_idx(str(folder))
    (folder / "t10k-labels-idx1-ubyte").mkdir()
    with pytest.raises(DataError, match="must be a file"):
        read_idx(str(folder))


def test_c16_a_file_without_permission_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match="Permission denied") as caught:
        read_array(folder / "train-labels-idx1-ubyte", 1)
    assert "train-labels-idx1-ubyte" in caught.value.where


LABELS = idx_bytes(np.arange(30) % 3)
DAMAGE = {
    "nothing": (b"", "header of 8 bytes", "byte 0"),
    "half a header": (LABELS[:6], "header of 8 bytes", "byte 6"),
    "another type": (b"\0\0\x0d\x01" + LABELS[4:], "byte 2 must be 8", "byte 2"),
    "images for labels": (idx_bytes(np.zeros((30, 3, 4))), "byte 3 must be 1", "byte 3"),
    "no IDX file": (b"PK\x03\x04 a zip file", "byte 0 must be 0", "byte 0"),
    "no rows": (idx_bytes(np.zeros(0)), "must have rows", "byte 4"),
    "a short file": (LABELS[:-5], "ends at byte 33", "byte 33"),
    "a long file": (LABELS + b"\0", "more follows", "byte 38"),
    "a lying header": (b"\0\0\x08\x01\xff\xff\xff\xff" + LABELS[8:], "ends at byte 38", "byte 38"),
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_idx_file_is_named_with_the_byte(tmp_path: Path, damage: str, zipped: bool) -> None:
    content, what, where = DAMAGE[damage]
    path = tmp_path / ("labels.gz" if zipped else "labels")
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(DataError, match=what) as caught:
        read_array(path, 1)
    assert caught.value.where == f"{path}: {where}"


def test_a_broken_gzip_file_is_named(tmp_path: Path) -> None:
    whole = gzip.compress(idx_bytes(np.random.default_rng(0).integers(0, 16, 5000)))
    flipped = bytearray(whole)
    flipped[12:100] = b"\xff" * 88
    for name, content in (("cut", whole[:-100]), ("not", b"no gzip at all"), ("crc", whole[:-8] + b"\0" * 8), ("flip", bytes(flipped))):
        path = tmp_path / f"{name}.gz"
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            read_array(path, 1)
        assert str(path) in caught.value.where


def test_labels_beyond_the_classes_are_named_with_row_and_byte(folder: Path) -> None:
    with pytest.raises(DataError, match="2 in row 2") as caught:
        read_idx(str(folder), ["a", "b"])
    assert caught.value.where.endswith("train-labels-idx1-ubyte: byte 10")


def test_images_and_labels_that_differ_in_number_are_refused(folder: Path) -> None:
    (folder / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(29)))
    with pytest.raises(DataError, match="30 and 29"):
        read_idx(str(folder))


def test_test_images_of_another_size_are_refused(folder: Path) -> None:
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((10, 4, 4))))
    with pytest.raises(DataError, match="must have one size"):
        read_idx(str(folder))


def test_more_rows_than_there_are_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="at most 30"):
        read_idx(str(folder), rows=31)


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "fashion_mnist").is_dir(), reason="Fashion-MNIST's files are not there (DNNLAB_TEST_DATA)")
def test_fashion_mnist_is_read_as_it_is_published() -> None:
    source = read_idx(str(REAL / "fashion_mnist"))
    assert source.x.shape == (70_000, 784)
    x, y = source.x[:60_000], source.y[:60_000]
    assert y.bincount().tolist() == [6000] * 10
    assert source.y[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert float(x.mean()) == pytest.approx(0.2860, abs=1e-4)
    assert float(x.std()) == pytest.approx(0.3530, abs=1e-4)
    assert source.y[source.given["test"]].bincount().tolist() == [1000] * 10
