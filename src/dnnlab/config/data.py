"""Which rows are learned from, and how they are split and scaled."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dnnlab.config.base import NonNegative, Positive, Settings
from dnnlab.config.table import Csv, Images, Memory, Npz, OpenMl, Scale, Scaled, Share, TableFile

Rows = Annotated[int, Field(ge=2, le=100_000_000)]
Count = Annotated[int, Field(ge=1, le=10_000)]


class Bundled(Scaled):
    """A real data set that scikit-learn carries."""

    kind: Literal["digits", "iris", "wine", "breast_cancer", "diabetes"]
    """digits (1797 images of 8x8, 10 classes), iris (150, 3), wine (178, 3), breast_cancer (569, 2), diabetes (442, a number)."""


class Truth(Settings):
    """A truth table: all rows train, and the same rows validate and test."""

    kind: Literal["xor", "and", "or"]
    """Boolean function of two inputs."""
    scale: Scale = "none"
    """How inputs are scaled."""


class Parity(Scaled):
    """Is the number of ones odd? All 2^bits rows."""

    kind: Literal["parity"]
    """Parity of n bits."""
    bits: Annotated[int, Field(ge=2, le=20)] = 8
    """Number of inputs."""
    valid: Share = 0.1
    """Share of rows held back for validation."""


class Shapes(Scaled):
    """Two classes in the plane."""

    kind: Literal["moons", "circles"]
    """Two half moons, or two rings."""
    rows: Rows = 1000
    """Number of rows."""
    noise: NonNegative = 0.1
    """Standard deviation of the noise."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """circles: the inner ring's radius as a share of the outer one's."""


class Spirals(Scaled):
    """Interleaved spirals."""

    kind: Literal["spirals"]
    """Interleaved spirals, one per class."""
    rows: Rows = 1000
    """Number of rows."""
    classes: Annotated[int, Field(ge=2, le=20)] = 2
    """Number of arms."""
    turns: Positive = 1.5
    """Turns of each arm."""
    noise: NonNegative = 0.05
    """Standard deviation of the noise."""


class Blobs(Scaled):
    """Normal clouds."""

    kind: Literal["blobs"]
    """Normal clouds around random centres."""
    rows: Rows = 1000
    """Number of rows."""
    features: Count = 2
    """Number of inputs."""
    classes: Annotated[int, Field(ge=2, le=1000)] = 3
    """Number of clouds."""
    spread: Positive = 1.0
    """Standard deviation of each cloud; centres lie in a cube of side 20."""


class LinearRegression(Scaled):
    """A linear function of random inputs plus noise."""

    kind: Literal["linear_regression"]
    """y = x·w + noise"""
    rows: Rows = 1000
    """Number of rows."""
    features: Count = 10
    """Number of inputs."""
    informative: Count = 5
    """Inputs whose weight is not zero."""
    noise: NonNegative = 1.0
    """Standard deviation of the noise."""


class Friedman(Scaled):
    """Friedman's first function (1991): five inputs count, the others do not."""

    kind: Literal["friedman"]
    """y = 10·sin(π·x0·x1) + 20·(x2 − ½)² + 10·x3 + 5·x4 + noise"""
    rows: Rows = 2000
    """Number of rows."""
    features: Annotated[int, Field(ge=5, le=10_000)] = 10
    """Number of inputs."""
    noise: NonNegative = 1.0
    """Standard deviation of the noise."""


class Idx(Settings):
    """IDX files as MNIST and Fashion-MNIST come in: train-images-idx3-ubyte(.gz) and its three sisters in one folder."""

    kind: Literal["idx"]
    """Images of MNIST's format, each a vector of grey values between 0 and 1."""
    root: str
    """Folder of the four files."""
    labels: list[str] | None = None
    """Names of the classes, in order."""
    valid: Share = 0.1
    """Share of the training images held back for validation; the test files are the test."""
    rows: Rows | None = None
    """Use only so many training images, the first ones; null takes all."""
    split_seed: int | None = None
    """Seed of the split; null takes the run's seed."""
    stratify: bool = True
    """Keep the classes' shares equal in both parts."""
    scale: Scale = "none"
    """How the grey values are scaled further."""


Dataset = Annotated[
    Bundled
    | Truth
    | Parity
    | Shapes
    | Spirals
    | Blobs
    | LinearRegression
    | Friedman
    | Idx
    | Images
    | Npz
    | Csv
    | TableFile
    | OpenMl
    | Memory,
    Field(discriminator="kind"),
]
