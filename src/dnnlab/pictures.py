"""Which pictures tell a run's result: curves of learning, and what the network answers on the rows it has not learned from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dnnlab import metrics, models, plots
from dnnlab.assembly import Parts
from dnnlab.records import Epoch
from dnnlab.tasks import Task

ROWS = 20_000  # at most so many rows are drawn
CURVES = 10  # classes up to which a curve for each can be told apart
FEW = 20  # rows below which a curve over thresholds is a few steps, and tells nothing
IMAGES = 10
GRID = 150  # points of the plane each way


def draw(parts: Parts, records: Sequence[Epoch]) -> dict[str, bytes]:
    """PNG files by name."""
    rows = [{"epoch": float(record.epoch), **record.metrics} for record in records]
    figures = [name for name in ("loss", *parts.figures.epoch[:1]) if any(f"valid/{name}" in row or f"train/{name}" in row for row in rows)]
    drawn = {"learning_curves": plots.learning_curves(rows, figures)} if rows else {}
    return drawn | _answers(parts) | _weights(parts)


def _answers(parts: Parts) -> dict[str, bytes]:
    """What the network makes of the test rows; of the validation or training rows, where there are none."""
    part = parts.rows.test or parts.rows.valid or parts.rows.train
    x, y = part.x[:ROWS], part.y[:ROWS]
    scores = parts.learner.scores(x)
    match parts.rows.task:
        case Task.RECONSTRUCTION:
            shape = parts.rows.source.image_shape
            if shape is None:
                return {}
            return {"reconstructions": plots.reconstructions(_array(x[:IMAGES]), _array(parts.answer.values(scores[:IMAGES])), shape)}
        case Task.REGRESSION:
            predicted, actual = _array(parts.answer.values(scores)), _array(parts.answer.unscale(y))
            return {"predicted_against_actual": plots.predicted_against_actual(predicted[:, 0], actual[:, 0])}
        case _:
            return _classes(parts, x, scores, y)


def _classes(parts: Parts, x: Tensor, scores: Tensor, y: Tensor) -> dict[str, bytes]:
    classes = parts.rows.source.classes
    codes = _array(y.reshape(-1).long())
    drawn = {"confusion_matrix": plots.confusion_matrix(_array(metrics.confusion(parts.answer, scores, y)), classes)}
    if len(classes) <= CURVES and len(codes) >= FEW and len(np.unique(codes)) == len(classes):
        probabilities = _array(parts.answer.probabilities(scores))
        if parts.rows.task is Task.MULTICLASS and len(classes) == 2:
            probabilities = probabilities[:, 1]
        drawn["roc_curves"] = plots.roc_curves(probabilities, codes, classes)
        drawn["precision_recall_curves"] = plots.precision_recall_curves(probabilities, codes, classes)
    if x.shape[1] == 2:
        drawn["decision_regions"] = _plane(parts, _array(x), codes)
    return drawn


def _plane(parts: Parts, points: NDArray[np.generic], codes: NDArray[np.generic]) -> bytes:
    """The answers on a grid around the rows of two inputs."""
    low, high = points.min(0), points.max(0)
    margin = 0.15 * (high - low)
    across, up = (torch.linspace(float(a - m), float(b + m), GRID) for a, b, m in zip(low, high, margin, strict=True))
    grid = torch.cartesian_prod(up, across).flip(1).to(parts.rows.train.x)
    p = parts.answer.probabilities(parts.learner.scores(grid))
    both = torch.stack([1 - p, p], -1) if p.dim() == 1 else p
    field = _array(both.reshape(GRID, GRID, -1))
    return plots.decision_regions(_array(across), _array(up), field, points, codes, parts.rows.source.classes)


def _weights(parts: Parts) -> dict[str, bytes]:
    """Where rows are images, the first layer's units are images, too."""
    shape = parts.rows.source.image_shape
    layers = list(models.linears(parts.learner.network).values())
    if shape is None or not layers or layers[0].in_features != shape[0] * shape[1]:
        return {}
    return {"first_layer": plots.first_layer(_array(layers[0].weight.detach()), shape)}


def _array(tensor: Tensor) -> NDArray[np.generic]:
    return tensor.detach().cpu().numpy()
