"""What is measured, beside the loss."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dnnlab.config.base import Settings

MetricKind = Literal[
    "accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "average_precision", "log_loss", "calibration_error",
    "mse", "rmse", "rmsle", "mae", "r2",
]  # fmt: skip
ThresholdMetric = Literal["accuracy", "balanced_accuracy", "precision", "recall", "f1"]


class Metrics(Settings):
    """Which figures are taken, by name; the task gives sensible defaults."""

    epoch: list[MetricKind] | Literal["auto"] = "auto"
    """Figures at each validation; auto: accuracy for classes, rmse for numbers."""
    final: list[MetricKind] | Literal["auto"] = "auto"
    """Figures at the end, for every part of the data; auto: all that fit the task and the loss, but rmsle."""
    threshold: Annotated[float, Field(gt=0, lt=1)] | ThresholdMetric = 0.5
    """Class 1 of two is answered above it; the name of a figure: at the end, where this figure is best on the validation rows."""
