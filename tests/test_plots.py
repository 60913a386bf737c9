"""Pictures: whole PNG files of a sane size, whatever the data bring; equal data give equal bytes; pyplot stays out."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from io import BytesIO

import numpy as np
import pytest
from matplotlib.axes import Axes
from numpy.typing import NDArray
from PIL import Image

from dnnlab import plots

RANDOM = np.random.default_rng(0)
ROWS = [
    {"epoch": epoch, "train/loss": 2.0 / epoch, "valid/loss": 2.0 / epoch + 0.01 * epoch, "valid/accuracy": 1 - 1 / epoch}
    for epoch in range(1, 31)
]


def size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels; that it is a whole PNG."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert png.endswith(b"IEND\xaeB`\x82")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def is_sane(png: bytes, most: int = 2000) -> bool:
    return all(60 <= side <= most for side in size(png))


def answers(classes: int, rows: int = 200) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    labels = RANDOM.integers(0, classes, rows)
    scores = RANDOM.normal(size=(rows, classes)) + 2.0 * np.eye(classes)[labels]
    return np.exp(scores) / np.exp(scores).sum(1, keepdims=True), labels


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What the axes were told: texts in cells and labels of curves."""
    told: dict[str, list[str]] = {"text": [], "label": []}
    text, plot = Axes.text, Axes.plot

    def noted_text(self: Axes, x: float, y: float, s: str, **kwargs: object) -> object:
        told["text"].append(s)
        return text(self, x, y, s, **kwargs)  # type: ignore[arg-type]

    def noted_plot(self: Axes, *args: object, **kwargs: object) -> object:
        told["label"].append(str(kwargs.get("label", "")))
        return plot(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Axes, "text", noted_text)
    monkeypatch.setattr(Axes, "plot", noted_plot)
    return told


@pytest.mark.parametrize("classes", [2, 3, 10, pytest.param(26, marks=pytest.mark.slow), pytest.param(100, marks=pytest.mark.slow)])
def test_a_confusion_matrix_of_any_number_of_classes(classes: int, drawn: dict[str, list[str]]) -> None:
    counts = np.diag(np.arange(1, classes + 1))
    assert is_sane(plots.confusion_matrix(counts, [f"class {code}" for code in range(classes)]))
    assert drawn["text"] == ([str(number) for number in range(1, classes + 1)] if classes <= 30 else [])


def test_a_confusion_matrix_of_classes_that_never_occur_and_names_from_hostile_data() -> None:
    names = ["$\\frac{", "\x1b[31m", "", "x" * 500]
    assert is_sane(plots.confusion_matrix(np.zeros((4, 4), dtype=int), names))
    assert is_sane(plots.confusion_matrix(np.full((4, 4), 1234567), names))


Curves = Callable[[NDArray[np.float64], NDArray[np.int64], Sequence[str]], bytes]
CURVES = [plots.roc_curves, plots.precision_recall_curves]


@pytest.mark.parametrize("curves", CURVES)
@pytest.mark.parametrize("classes", [3, 12])
def test_curves_of_many_classes(curves: Curves, classes: int) -> None:
    probabilities, labels = answers(classes)
    assert is_sane(curves(probabilities, labels, [str(code) for code in range(classes)]))


@pytest.mark.parametrize("curves", CURVES)
def test_curves_of_two_classes(curves: Curves) -> None:
    probabilities, labels = answers(2)
    assert is_sane(curves(probabilities[:, 1], labels, ["no", "yes"]))


@pytest.mark.parametrize("curves", CURVES)
def test_curves_of_data_that_make_none(curves: Curves) -> None:
    ones = np.ones(5, dtype=int)
    assert is_sane(curves(np.full(5, 0.5), ones, ["no", "yes"]))  # one class only
    assert is_sane(curves(np.full(5, np.nan), ones, ["no", "yes"]))  # no answer is a number


def test_the_areas_are_those_of_scikit_learn(drawn: dict[str, list[str]]) -> None:
    from sklearn.metrics import roc_auc_score

    probabilities, labels = answers(3)
    plots.roc_curves(probabilities, labels, ["a", "b", "c"])
    expected = [f"{name}  {roc_auc_score(labels == code, probabilities[:, code]):.3f}" for code, name in enumerate("abc")]
    assert drawn["label"][1:] == expected


def test_predicted_against_actual() -> None:
    actual = RANDOM.normal(size=500)
    assert is_sane(plots.predicted_against_actual(actual + 0.1 * RANDOM.normal(size=500), actual, "price in $"))


@pytest.mark.parametrize("predicted", [[1.0, 1.0, 1.0], [np.nan, 1.0, 2.0], [np.nan, np.inf, np.nan], [1e30, -1e30, 0.0]])
def test_predicted_against_actual_of_odd_answers(predicted: list[float]) -> None:
    assert is_sane(plots.predicted_against_actual(np.array(predicted), np.ones(3)))


def test_learning_curves_mark_the_best_validation(drawn: dict[str, list[str]]) -> None:
    assert is_sane(plots.learning_curves(ROWS, ("loss", "accuracy")))
    assert drawn["label"] == ["train", "valid", "", "valid", ""]


@pytest.mark.parametrize(
    "rows", [[], ROWS[:1], [{"epoch": 1, "train/loss": float("nan"), "valid/loss": float("nan")}], [{"epoch": 1, "train/loss": 0.0}]]
)
def test_learning_curves_of_little_or_nothing(rows: list[dict[str, float]]) -> None:
    assert is_sane(plots.learning_curves(rows))


def test_the_range_test_names_its_suggestion() -> None:
    rates = np.logspace(-6, 1, 100)
    assert is_sane(plots.rate_range(list(rates), list(2 - np.tanh(rates * 100) + np.maximum(0, rates - 1) ** 4), 0.003))


@pytest.mark.parametrize(("losses", "suggestion"), [([], float("nan")), ([1.0, 1.0, 1.0], 1e-5), ([1.0, np.nan, np.inf], float("nan"))])
def test_the_range_test_of_little_or_nothing(losses: list[float], suggestion: float) -> None:
    assert is_sane(plots.rate_range([1e-6, 1e-5, 1e-4][: len(losses)], losses, suggestion))


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (2, 5)])
def test_images(shape: tuple[int, int]) -> None:
    images = RANDOM.random((10, shape[0] * shape[1]))
    assert min(size(plots.reconstructions(images, images**2, shape))) > 50
    assert is_sane(plots.first_layer(np.concatenate([images - 0.5] * 20), shape))
    assert is_sane(plots.first_layer(np.zeros((1, images.shape[1])), shape))


def test_tiles_keep_every_image_in_its_place() -> None:
    images = np.arange(5 * 6).reshape(5, 6).astype(float)
    picture = plots._tiles(images, (2, 3), columns=3)
    assert picture.shape == (5, 11)
    assert (picture[3:5, 4:7] == images[4].reshape(2, 3)).all()
    assert np.isnan(picture[2]).all()


def test_equal_data_give_equal_bytes() -> None:
    assert plots.learning_curves(ROWS) == plots.learning_curves(ROWS)


def test_pyplot_stays_out_and_matplotlib_is_loaded_when_it_draws() -> None:
    code = """
import sys
from dnnlab import plots
assert "matplotlib" not in sys.modules
plots.rate_range([1e-3, 1e-2], [1.0, 0.5], 1e-2)
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_decision_regions_show_the_class_that_is_answered() -> None:
    across = up = np.linspace(-1, 1, 40)
    right = np.broadcast_to((across > 0).astype(float), (40, 40))
    field = np.stack([1 - right, right], -1)
    points = np.array([[-0.5, 0.0], [0.5, 0.0]])
    png = plots.decision_regions(across, up, field, points, np.array([0, 1]), ["left", "right"])
    picture = np.asarray(Image.open(BytesIO(png)).convert("RGB"), dtype=int)
    height, width = picture.shape[:2]
    left, other = picture[height // 3, width // 4], picture[height // 3, 5 * width // 8]
    assert left[2] > left[0], "class 0 is blue"
    assert other[0] > other[2], "class 1 is orange"
