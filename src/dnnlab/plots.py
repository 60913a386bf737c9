"""Pictures of a run, as PNG files: how it learned, where it errs, what it sees.

Drawn on matplotlib's figures directly, never through pyplot: no window, no state that is shared between runs. Colours are told apart
without colour vision (Okabe and Ito 2008); text and curves are readable at the size that TensorBoard shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dnnlab.files import printable
from dnnlab.metrics import HIGHER_IS_BETTER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = Sequence[float] | NDArray[Any]

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8C8C8C"
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#9A8700", "#7A3E9D", "#5B6B73")
DPI = 100
MOST_CURVES = 10  # classes that get a curve of their own


def learning_curves(rows: Sequence[Mapping[str, float]], figures: Sequence[str] = ("loss",)) -> bytes:
    """Each figure over the epochs, training and validation in one panel; the best validation is marked.

    rows: those of metrics.jsonl, with `epoch` and names such as train/loss.
    """
    width, height = 4.8 * len(figures) + 0.4, 3.7
    figure = new_figure(width, height, constrained=False)
    figure.subplots_adjust(left=0.7 / width, right=1 - 0.15 / width, bottom=0.55 / height, top=1 - 0.35 / height, wspace=0.22)
    for place, name in enumerate(figures, start=1):
        axes = figure.add_subplot(1, len(figures), place)
        for part, colour in (("train", BLUE), ("valid", ORANGE)):
            metric = f"{part}/{name}"
            points = [(row["epoch"], row[metric]) for row in rows if metric in row]
            if points:
                x, y = np.array(points, dtype=float).T
                axes.plot(x, y, color=colour, label=part, marker="." if len(points) < 40 else "", linewidth=1.8)
                if part == "valid" and np.isfinite(y).any():
                    _mark_best(axes, x, y, smallest=not HIGHER_IS_BETTER.get(name, False))
        if _spans_decades(axes):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")  # matplotlib's own powers of ten take longer than the curve
            axes.minorticks_off()
        label_axes(axes, name, "epoch", "")
        if axes.lines:
            axes.legend(frameon=False, loc="lower right" if HIGHER_IS_BETTER.get(name, False) else "upper right")
    return as_png(figure)


def confusion_matrix(counts: NDArray[Any], classes: Sequence[str]) -> bytes:
    """Rows are the true classes, columns the answers; colour is the share of the true class, numbers are rows of data. counts: (C, C)."""
    size = len(classes)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(11.0, 2.6 + 0.3 * size)
    figure = new_figure(side + 0.9, side)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, label="share of the true class")
    names = [_short(name) for name in classes]
    upright = max(map(len, names)) <= 9 * (side - 1.2) / size  # as far as nine letters an inch fit into a cell
    axes.set_xticks(range(size), names, rotation=0 if upright else 45, ha="center" if upright else "right", rotation_mode="anchor")
    axes.set_yticks(range(size), names)
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="both", length=0)
    if size <= 30:
        font = 11 if size <= 4 else 8.5 if size <= 12 else 6.5
        for (row, column), count in np.ndenumerate(counts):
            if count:
                ink = "white" if shares[row, column] > 0.55 else "black"
                axes.text(column, row, _count(count), ha="center", va="center", color=ink, fontsize=font)
    right = np.trace(counts) / max(counts.sum(), 1)
    label_axes(axes, f"Confusion matrix: {right:.1%} of {counts.sum():,.0f} rows right", "answered", "true", grid=False)
    return as_png(figure)


def roc_curves(probabilities: NDArray[Any], labels: NDArray[Any], classes: Sequence[str]) -> bytes:
    """True against false positive rate. probabilities: (N,) of class 1, or (N, C), each class against the rest; labels: (N,) of codes."""
    from sklearn.metrics import roc_auc_score, roc_curve

    figure = new_figure(5.4, 4.8)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
    for (name, scores, truth), colour in zip(_against_rest(probabilities, labels, classes), COLOURS, strict=False):
        false, true, _ = roc_curve(truth, scores)
        axes.plot(false, true, color=colour, linewidth=1.8, label=f"{name}  {roc_auc_score(truth, scores):.3f}")
    _unit_square(axes, "ROC", "false positive rate", "true positive rate")
    _legend(axes, "area under the curve")
    return as_png(figure)


def precision_recall_curves(probabilities: NDArray[Any], labels: NDArray[Any], classes: Sequence[str]) -> bytes:
    """Precision against recall, as roc_curves; average precision in the legend."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    figure = new_figure(5.4, 4.8)
    axes = figure.add_subplot()
    for (name, scores, truth), colour in zip(_against_rest(probabilities, labels, classes), COLOURS, strict=False):
        precision, recall, _ = precision_recall_curve(truth, scores)
        axes.step(
            recall, precision, where="post", color=colour, linewidth=1.8, label=f"{name}  {average_precision_score(truth, scores):.3f}"
        )
    _unit_square(axes, "Precision and recall", "recall", "precision")
    _legend(axes, "average precision")
    return as_png(figure)


def predicted_against_actual(predicted: NDArray[Any], actual: NDArray[Any], name: str = "target") -> bytes:
    """A point for each row, beside the line of perfect answers; and how the errors are spread. predicted, actual: (N,)."""
    finite = np.isfinite(predicted) & np.isfinite(actual)
    predicted, actual = predicted[finite].astype(float), actual[finite].astype(float)
    figure = new_figure(9.0, 4.4)
    if not finite.any():
        label_axes(figure.add_subplot(), "No answer is a finite number", "", "")
        return as_png(figure)
    points, errors = figure.subplots(1, 2, width_ratios=(1.15, 1))
    low, high = min(predicted.min(), actual.min()), max(predicted.max(), actual.max())
    points.plot([low, high], [low, high], color=GREY, linewidth=1, linestyle=":")
    faint = float(np.clip(200 / len(actual), 0.08, 0.7))
    points.scatter(actual, predicted, s=14, color=BLUE, alpha=faint, linewidths=0, rasterized=True)
    points.set_aspect("equal", adjustable="datalim")
    residual = predicted - actual
    variance = ((actual - actual.mean()) ** 2).sum()
    told = f"R² {1 - (residual**2).sum() / variance:.3f},  " if variance > 0 else ""
    label_axes(points, f"{told}{len(actual):,} rows", f"actual {_short(name, 40)}", "predicted")
    errors.hist(residual, bins=int(np.clip(np.sqrt(len(residual)), 10, 60)), color=BLUE, alpha=0.85)
    errors.axvline(0, color=GREY, linewidth=1, linestyle=":")
    errors.axvline(residual.mean(), color=ORANGE, linewidth=1.5, label=f"mean {_clean(residual.mean(), residual):.3g}")
    label_axes(errors, f"Errors: RMSE {np.sqrt((residual**2).mean()):.4g}", "predicted − actual", "rows")
    errors.legend(frameon=False)
    return as_png(figure)


def rate_range(rates: Sequence[float], losses: Sequence[float], suggestion: float) -> bytes:
    """The curve of a learning-rate range test (Smith 2017): the smoothed loss over the rate, and the rate that it suggests."""
    figure = new_figure(6.8, 4.2)
    axes = figure.add_subplot()
    even = np.asarray(losses, dtype=float)
    axes.plot(rates, even, color=BLUE, linewidth=2)
    axes.set_xscale("log")
    if np.isfinite(suggestion):
        axes.axvline(suggestion, color=ORANGE, linewidth=1.8, label=f"suggestion: optimizer.lr={suggestion:.2g}")
        axes.legend(loc="upper left", **_LEGEND)
    known = even[np.isfinite(even)]
    if known.size:
        low, high = known.min(), max(known[: max(1, known.size // 10)].max(), np.median(known))
        room = max(high - low, 1e-3 * abs(high), np.finfo(float).tiny)
        axes.set_ylim(low - 0.08 * room, high + 0.6 * room)  # where the loss explodes is of no interest
    label_axes(axes, "Learning-rate range test", "learning rate", "loss, smoothed")
    return as_png(figure)


def reconstructions(inputs: NDArray[Any], outputs: NDArray[Any], shape: tuple[int, int]) -> bytes:
    """Images above what became of them. inputs, outputs: (N, H·W)."""
    low, high = float(inputs.min()), float(inputs.max())
    figure = new_figure(0.5 + 0.8 * len(inputs), 1.75)
    axes = figure.add_subplot()
    picture = _tiles(np.concatenate([inputs, outputs]), shape, len(inputs))
    axes.imshow(picture, cmap="gray", vmin=low, vmax=max(high, low + 1e-9), interpolation="nearest")
    axes.set_yticks([(shape[0] - 1) / 2 + row * (shape[0] + _gap(shape)) for row in (0, 1)], ["input", "output"])
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return as_png(figure)


def decision_regions(
    across: NDArray[Any], up: NDArray[Any], probabilities: NDArray[Any], points: NDArray[Any], labels: NDArray[Any], names: Sequence[str]
) -> bytes:
    """What a network of two inputs answers everywhere in the plane, and the rows that it is asked about.

    across: (W,) and up: (H,) of the grid; probabilities: (H, W, C); points: (N, 2), labels: (N,) of codes; names: of the classes.
    """
    from matplotlib.colors import to_rgb

    colours = [to_rgb(COLOURS[code % len(COLOURS)]) for code in range(len(names))]
    figure = new_figure(5.4, 4.6)
    axes = figure.add_subplot()
    field = 1 - 0.55 * (1 - probabilities @ np.array(colours))  # the classes' colours, mixed by probability and made pale
    extent = (across[0], across[-1], up[0], up[-1])
    axes.imshow(np.clip(field, 0, 1), extent=extent, origin="lower", aspect="auto", interpolation="bilinear")
    for code in range(len(names) if len(names) > 2 else 1):  # where a class draws level with the best other one
        others = np.delete(probabilities, code, axis=-1).max(-1)
        axes.contour(across, up, probabilities[..., code] - others, levels=[0.0], colors="#444444", linewidths=0.8)
    for code, name in enumerate(names):
        rows = points[labels == code]
        axes.scatter(
            rows[:, 0], rows[:, 1], s=18, color=COLOURS[code % len(COLOURS)], edgecolors="white", linewidths=0.5, label=_short(name)
        )
    label_axes(axes, "Answers in the plane (inputs as scaled)", "first input", "second input", grid=False)
    axes.set_xlim(across[0], across[-1])
    axes.set_ylim(up[0], up[-1])
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), **_LEGEND)
    return as_png(figure)


def first_layer(weights: NDArray[Any], shape: tuple[int, int], most: int = 64) -> bytes:
    """What the units of the first layer look for: the weights of each as an image, negative blue, positive red. weights: (H, H·W)."""
    shown = weights[:most]
    columns = min(len(shown), max(4, int(np.ceil(np.sqrt(len(shown) * 1.6)))))
    lines = -(-len(shown) // columns)
    figure = new_figure(max(3.4, 0.72 * columns + 0.3), 0.72 * lines + 0.5)
    bound = float(np.quantile(np.abs(shown), 0.99)) or 1.0
    axes = figure.add_subplot()
    axes.imshow(_tiles(shown, shape, columns), cmap="RdBu_r", vmin=-bound, vmax=bound, interpolation="nearest")
    axes.axis("off")
    more = f" of {len(weights)}" if len(weights) > len(shown) else ""
    axes.set_title(f"First layer: weights of {len(shown)}{more} units, ±{bound:.2g}", fontsize=10)
    return as_png(figure)


def _tiles(images: NDArray[Any], shape: tuple[int, int], columns: int) -> NDArray[Any]:
    """Images side by side, one picture with gaps of nothing between them: much faster than one axes for each. images: (N, H·W)."""
    lines, gap = -(-len(images) // columns), _gap(shape)
    picture = np.full((lines * (shape[0] + gap) - gap, columns * (shape[1] + gap) - gap), np.nan)
    for place, image in enumerate(images):
        top, left = place // columns * (shape[0] + gap), place % columns * (shape[1] + gap)
        picture[top : top + shape[0], left : left + shape[1]] = image.reshape(shape)
    return picture


def _gap(shape: tuple[int, int]) -> int:
    return max(1, shape[0] // 8)


_LEGEND: dict[str, Any] = {"frameon": True, "framealpha": 0.9, "edgecolor": "none", "fontsize": 8, "title_fontsize": 8}


def new_figure(width: float, height: float, *, constrained: bool = True) -> Figure:
    """An empty figure; constrained: matplotlib measures all labels to find the margins, which takes as long as drawing."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained" if constrained else None, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def as_png(figure: Figure) -> bytes:
    """The picture as a file; without the time and the version that would make equal runs differ."""
    file = BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def label_axes(axes: Axes, title: str, x: str, y: str, *, grid: bool = True) -> None:
    """Title, names of the axes, and a grid that does not shout."""
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if grid:
        axes.grid(color="#E6E6E6", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)


def _legend(axes: Axes, title: str) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(title=title, **_LEGEND)


def _unit_square(axes: Axes, title: str, x: str, y: str) -> None:
    label_axes(axes, title, x, y)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.02)
    axes.set_aspect("equal")


def _against_rest(probabilities: NDArray[Any], labels: NDArray[Any], classes: Sequence[str]) -> list[tuple[str, Any, Any]]:
    """Name, scores and truth of each curve: one for two classes; of many classes, one for each of the ten most frequent."""
    finite = np.isfinite(probabilities.reshape(len(labels), -1)).all(1)
    probabilities, labels = probabilities[finite], labels[finite]
    if probabilities.ndim == 1:
        return [(_short(classes[1]), probabilities, labels == 1)] if 0 < (labels == 1).sum() < len(labels) else []
    codes = [code for code in range(probabilities.shape[1]) if 0 < (labels == code).sum() < len(labels)]
    frequent = sorted(codes, key=lambda code: -int((labels == code).sum()))[:MOST_CURVES]
    return [(_short(classes[code]), probabilities[:, code], labels == code) for code in sorted(frequent)]


def _mark_best(axes: Axes, x: NDArray[Any], y: NDArray[Any], *, smallest: bool) -> None:
    best = int(np.nanargmin(y) if smallest else np.nanargmax(y))
    axes.plot(x[best], y[best], marker="o", color=ORANGE, markersize=8, fillstyle="none", markeredgewidth=1.8)
    axes.annotate(f"{y[best]:.4g}", (x[best], y[best]), textcoords="offset points", xytext=(0, 9), ha="center", fontsize=9, color=ORANGE)


def _spans_decades(axes: Axes) -> bool:
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines] or [np.ones(1)])
    values = values[np.isfinite(values)]
    return bool(values.size and values.min() > 0 and values.max() / values.min() > 50)


def _short(name: object, limit: int = 16) -> str:
    """A name from the data as a label: readable, not too long, and no formula for matplotlib's mathematics."""
    text = printable(name).replace("$", r"\$")
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _clean(value: float, among: NDArray[Any]) -> float:
    """Zero, where a value is nothing but rounding."""
    return 0.0 if abs(value) < 1e-9 * np.abs(among).max() else value


def _count(count: float) -> str:
    return f"{count:.0f}" if count < 10_000 else f"{count / 1000:.0f}k"
