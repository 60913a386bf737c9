"""How long, in which portions and watched by what a network is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dnnlab.config.base import NonNegative, Often, OftenField, Positive, Probability, Settings, Span, SpanField

MetricName = Annotated[str, Field(pattern=r"^(train|valid)/[a-z0-9_]+$")]


class EarlyStopping(Settings):
    """Stop when trainer.monitor no longer improves."""

    patience: Annotated[int, Field(ge=1)] | None = None
    """Validations without improvement before training stops; null never stops."""
    min_delta: NonNegative = 0.0
    """Smaller changes are no improvement."""


class StopAt(Settings):
    """Stop when a metric has reached a value."""

    metric: MetricName | None = None
    """Logged name of the metric, such as train/accuracy; null never stops."""
    value: float = 1.0
    """The value to reach."""


class Trainer(Settings):
    """The course of training."""

    epochs: Annotated[int, Field(ge=1)] = 30
    """Passes over the training rows."""
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto", "full"] = "auto"
    """Rows of one step; full: all rows; auto: 32 (256 from 20,000 rows on), full for gd and lbfgs."""
    shuffle: bool = True
    """New order of the rows in every epoch; false keeps the order of the file."""
    sampling: Annotated[list[Positive], Field(min_length=2)] | Literal["natural", "balanced"] = "natural"
    """natural: every row once an epoch; balanced: rows drawn with replacement, every class equally often; a list: as often as it says."""
    accumulate: Annotated[int, Field(ge=1)] = 1
    """Batches whose gradients are summed into one step."""
    validate_every: SpanField = Span(1, "epochs")
    """How often the validation rows are measured."""
    train_metrics: bool = False
    """Measure the training rows, too, at each validation (costs a pass over them)."""
    monitor: MetricName | Literal["auto"] = "auto"
    """Metric that picks the best state and drives early stopping and plateau; auto: valid/loss, train/loss without validation rows."""
    mode: Literal["auto", "min", "max"] = "auto"
    """Whether the monitored metric is better small or large; auto knows every built-in metric."""
    restore_best: bool = True
    """End with the best state that the monitor saw, not with the last one."""
    early_stopping: EarlyStopping = EarlyStopping()
    """Stop when the monitor no longer improves."""
    stop_at: StopAt = StopAt()
    """Stop when a metric has reached a value."""
    checkpoint_every: OftenField = Often(30, "seconds")
    """How often a checkpoint is written: 30s, 500steps, 1epoch; by time it never costs more than 2 % of the training."""
    gradient_limit: Positive | None = None
    """End as diverged before a step whose gradient, over all parameters and before clipping, has a greater norm; null: no limit."""
    ema: Probability = 0.0
    """Decay of an exponential moving average of the weights, which is then measured and saved instead; 0 is off."""
    gradients: Literal["auto", "written", "autograd"] = "auto"
    """written: backpropagation spelled out (plain stacks); autograd: any network; auto takes written where it covers the network."""
