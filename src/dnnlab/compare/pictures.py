"""Pictures of a comparison: curves with bands, a heat map of two settings, parallel coordinates of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnlab.compare.comparison import Comparison, Setup
from dnnlab.compare.statistics import spread
from dnnlab.compare.tables import shown
from dnnlab.errors import DnnlabError
from dnnlab.plots import COLOURS, GREY, as_png, label_axes, new_figure
from dnnlab.runfolder import RunFolder
from dnnlab.sweeptable import short_names

CURVES = 6  # setups that get a curve of their own
POINTS = 200


def draw(comparison: Comparison) -> dict[str, bytes]:
    """PNG files by name, as far as the comparison has something to show."""
    drawn: dict[str, bytes] = {}
    if (picture := _curves(comparison)) is not None:
        drawn["curves"] = picture
    if len(comparison.settings) == 2:
        drawn["heat_map"] = _heat_map(comparison)
    if comparison.settings and len(comparison.setups) > 1:
        drawn["parallel"] = _parallel(comparison)
    return drawn


def _name(comparison: Comparison, setup: Setup) -> str:
    names = short_names(comparison.settings)
    return ", ".join(f"{name}={shown(value)}" for name, value in zip(names, setup.settings, strict=True)) or "all runs"


def _curves(comparison: Comparison) -> bytes | None:
    """The judging metric over the epochs: mean over the seeds and the 95 % band, of the best setups."""
    metric = _curve_metric(comparison)
    figure = new_figure(7.2, 4.0)
    axes = figure.add_subplot()
    for colour, setup in zip(COLOURS, comparison.setups[:CURVES], strict=False):
        curves = [curve for job in setup.jobs if len(curve := _curve(comparison.folders, job.number, metric)[0])]
        series = [_curve(comparison.folders, job.number, metric) for job in setup.jobs]
        series = [found for found in series if len(found[0])]
        if not curves or not series:
            continue
        last = min(float(x[-1]) for x, _ in series)
        grid = np.unique(np.clip(series[0][0], None, last))
        values = np.array([np.interp(grid, x, y) for x, y in series])
        axes.plot(grid, values.mean(0), color=colour, label=_name(comparison, setup)[:60], linewidth=1.8)
        if len(values) > 1:
            bands = [spread([float(value) for value in column]) for column in values.T]
            axes.fill_between(grid, [band.low for band in bands], [band.high for band in bands], color=colour, alpha=0.18, linewidth=0)
    if not axes.lines:
        return None
    label_axes(axes, f"{metric}: mean over the seeds, 95 % band", "epoch", "")
    axes.legend(frameon=False, fontsize=8)
    return as_png(figure)


def _curve_metric(comparison: Comparison) -> str:
    """What has a curve: of the test rows there is none, so the validation rows speak for them."""
    first = comparison.metrics[0]
    return first.replace("test/", "valid/") if first.startswith("test/") else first


def _curve(folders: Mapping[int, Path], number: int, metric: str) -> tuple[NDArray[Any], NDArray[Any]]:
    try:
        rows = RunFolder.open(folders[number]).read_metrics()
    except DnnlabError:
        rows = []
    points = [(row["epoch"], row[metric]) for row in rows if metric in row and np.isfinite(row[metric])]
    points = points[:: max(1, len(points) // POINTS)]
    x, y = np.array(points, dtype=float).T if points else (np.empty(0), np.empty(0))
    return x, y


def _heat_map(comparison: Comparison) -> bytes:
    """The mean of the judging metric for every pair of values of two settings."""
    metric = comparison.metrics[0]
    across, up = (_values([setup.settings[place] for setup in comparison.setups]) for place in (1, 0))
    field = np.full((len(up), len(across)), np.nan)
    for setup in comparison.setups:
        if metric in setup.figures:
            field[up.index(shown(setup.settings[0])), across.index(shown(setup.settings[1]))] = setup.figures[metric].mean
    figure = new_figure(1.8 + 0.9 * len(across), 1.4 + 0.55 * len(up))
    axes = figure.add_subplot()
    image = axes.imshow(field, cmap="viridis" if comparison.higher else "viridis_r", aspect="auto")
    axes.set_xticks(range(len(across)), across)
    axes.set_yticks(range(len(up)), up)
    low, high = np.nanmin(field), np.nanmax(field)
    for row, column in np.ndindex(field.shape):
        value = field[row, column]
        if np.isfinite(value):
            bright = (value - low) / (high - low) if high > low else 0.0
            bright = bright if comparison.higher else 1 - bright
            axes.text(column, row, f"{value:.4g}", ha="center", va="center", fontsize=8, color="black" if bright > 0.6 else "white")
    names = short_names(comparison.settings)
    label_axes(axes, metric, names[1], names[0], grid=False)
    figure.colorbar(image)
    return as_png(figure)


def _values(values: Sequence[object]) -> list[str]:
    """In the order of numbers where they are numbers, else as they come."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    ordered = sorted(set(values)) if numbers else list(dict.fromkeys(values))  # type: ignore[type-var]
    return list(dict.fromkeys(shown(value) for value in ordered))


def _parallel(comparison: Comparison) -> bytes:
    """A line for every setup through its values; colour is the judging metric."""
    metric = comparison.metrics[0]
    setups = [setup for setup in comparison.setups if metric in setup.figures and np.isfinite(setup.figures[metric].mean)]
    figure = new_figure(2.2 + 1.6 * len(comparison.settings), 4.0)
    axes = figure.add_subplot()
    scores = np.array([setup.figures[metric].mean for setup in setups])
    low, high = (float(scores.min()), float(scores.max())) if len(scores) else (0.0, 1.0)
    scaled = (scores - low) / (high - low) if high > low else np.zeros_like(scores)
    from matplotlib import colormaps

    colours = colormaps["viridis" if comparison.higher else "viridis_r"]
    places = range(len(comparison.settings) + 1)
    for setup, share in sorted(zip(setups, scaled, strict=True), key=lambda pair: pair[1], reverse=not comparison.higher):
        heights = [_height(comparison, place, value) for place, value in enumerate(setup.settings)]
        axes.plot(places, [*heights, share], color=colours(share), linewidth=1.6, alpha=0.85)
    for place in range(len(comparison.settings)):
        axes.axvline(place, color=GREY, linewidth=0.8)
        values = _values([setup.settings[place] for setup in comparison.setups])
        for rank, value in enumerate(values):
            axes.text(place, _rank(rank, len(values)), f" {value}"[:18], fontsize=8, va="center")
    axes.axvline(len(comparison.settings), color=GREY, linewidth=0.8)
    for end, best in ((0.0, low), (1.0, high)):
        axes.text(len(comparison.settings), end, f" {best:.4g}", fontsize=8, va="center")
    axes.set_xticks(list(places), [*short_names(comparison.settings), metric])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_xlim(-0.1, len(comparison.settings) + 0.4)
    label_axes(axes, f"every setup through its values, coloured by {metric}", "", "", grid=False)
    return as_png(figure)


def _height(comparison: Comparison, place: int, value: object) -> float:
    values = _values([setup.settings[place] for setup in comparison.setups])
    return _rank(values.index(shown(value)), len(values))


def _rank(rank: int, count: int) -> float:
    return rank / (count - 1) if count > 1 else 0.5
