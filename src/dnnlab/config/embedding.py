"""How features enter a network: categories as rows of learned tables, numbers as they are or embedded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dnnlab.config.base import Positive, Settings

Size = Annotated[int, Field(ge=1, le=10_000)]
CategorySize = Size | Literal["auto"]


class NoEmbedding(Settings):
    """Numbers enter as they are; categories that are codes still have their tables."""

    kind: Literal["none"]
    """Numbers enter as they are."""
    category_size: CategorySize = "auto"
    """Numbers for a category of a column of codes; auto: min(50, 1.6·categories^0.56)."""


class PiecewiseLinear(Settings):
    """Each number by the bins that it has passed, and how far it is within its own (Gorishniy et al. 2022)."""

    kind: Literal["piecewise_linear"]
    """Each number by the bins that it has passed."""
    bins: Annotated[int, Field(ge=1, le=10_000)] = 48
    """Bins of each number; their edges are quantiles of the training rows, and equal ones count once."""
    size: Size = 8
    """Numbers that each number becomes."""
    activation: bool = True
    """Bend the embedding by a ReLU."""
    category_size: CategorySize = "auto"
    """Numbers for a category of a column of codes; auto: min(50, 1.6·categories^0.56)."""


class Periodic(Settings):
    """Each number by sines and cosines of learned frequencies, a linear map and ReLU (Gorishniy et al. 2022)."""

    kind: Literal["periodic"]
    """Each number by sines and cosines of learned frequencies."""
    frequencies: Annotated[int, Field(ge=1, le=10_000)] = 24
    """Frequencies of each number."""
    size: Size = 8
    """Numbers that each number becomes."""
    sigma: Positive = 0.1
    """Standard deviation of the first frequencies: larger ones follow finer wiggles. The one to tune."""
    lite: bool = False
    """One map that all numbers share, instead of one for each."""
    category_size: CategorySize = "auto"
    """Numbers for a category of a column of codes; auto: min(50, 1.6·categories^0.56)."""


Embedding = Annotated[NoEmbedding | PiecewiseLinear | Periodic, Field(discriminator="kind")]
