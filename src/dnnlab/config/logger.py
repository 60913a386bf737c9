"""What is written while a network trains, beside metrics.jsonl, metrics.csv and train.log, which are always written."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dnnlab.config.base import Settings


class Logger(Settings):
    """Who is told."""

    tensorboard: bool = True
    """Write TensorBoard events: scalars, health, graph, hparams, confusion matrix and curves."""
    progress: bool = True
    """Show a live line on a terminal, plain lines elsewhere."""
    pictures: bool | Literal["auto"] = "auto"
    """Draw curves, confusion matrix and the like at the end; auto: of a run by itself, not of each job of a sweep (0.3 s a job)."""
    health: bool = True
    """Log gradient and weight norms, update ratios, dead and saturated units of every layer."""
    every: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Write every n-th epoch; auto: each of the first 100, then ever fewer, about 180 for each tenfold."""
