"""Rows made on the spot: truth tables, shapes in the plane, and functions with noise. Same numbers and seed, same rows."""

from __future__ import annotations

from math import pi

import torch
from torch import Generator, Tensor

from dnnlab.data.dataset import Source
from dnnlab.errors import ConfigError
from dnnlab.seeding import generator

F64 = torch.float64
TRUTH = {"xor": (0, 1, 1, 0), "and": (0, 0, 0, 1), "or": (0, 1, 1, 1)}
BOOLEAN = ("false", "true")


def truth_table(kind: str) -> Source:
    """xor, and, or of two inputs: four rows, all of them in every part.

    >>> truth_table("xor").x.tolist(), truth_table("xor").y.tolist()
    ([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0])
    """
    return Source(kind, _bits(2), torch.tensor(TRUTH[kind]), _names(2), BOOLEAN, whole=True)


def parity(bits: int) -> Source:
    """Is the number of ones odd? All 2^bits rows, counting upwards."""
    x = _bits(bits)
    return Source("parity", x, x.sum(1).long() % 2, _names(bits), BOOLEAN)


def moons(rows: int, noise: float, seed: int) -> Source:
    """Two half moons of radius 1 that reach into each other; `noise` is a standard deviation."""
    random = generator(seed, "data")
    upper, lower = _sizes(rows, 2)
    above, below = torch.linspace(0, pi, upper, dtype=F64), torch.linspace(0, pi, lower, dtype=F64)
    arcs = [torch.stack([above.cos(), above.sin()], 1), torch.stack([1 - below.cos(), 0.5 - below.sin()], 1)]
    return _plane("moons", arcs, noise, random)


def circles(rows: int, noise: float, factor: float, seed: int) -> Source:
    """A ring of radius 1 (class 0) around one of radius `factor` (class 1)."""
    random = generator(seed, "data")
    outer, inner = (_turn(size) for size in _sizes(rows, 2))
    rings = [_polar(torch.ones_like(outer), outer), _polar(torch.full_like(inner, factor), inner)]
    return _plane("circles", rings, noise, random)


def spirals(rows: int, classes: int, turns: float, noise: float, seed: int) -> Source:
    """Interleaved spirals of radius 0 to 1, one per class, each with `turns` turns (after Lang and Witbrock 1988)."""
    random = generator(seed, "data")
    arms = []
    for code, size in enumerate(_sizes(rows, classes)):
        radius = torch.arange(1, size + 1, dtype=F64) / size
        arms.append(_polar(radius, 2 * pi * (turns * radius + code / classes)))
    return _plane("spirals", arms, noise, random)


def blobs(rows: int, features: int, classes: int, spread: float, seed: int) -> Source:
    """Normal clouds of standard deviation `spread` around centres drawn from a cube of side 20."""
    random = generator(seed, "data")
    centres = torch.empty(classes, features, dtype=F64).uniform_(-10, 10, generator=random)
    x, y = _shuffled([centre.expand(size, -1) for centre, size in zip(centres, _sizes(rows, classes), strict=True)], random)
    return Source("blobs", x + spread * _normal(x.shape, random), y, _names(features), _numbered(classes))


def linear_regression(rows: int, features: int, informative: int, noise: float, seed: int) -> Source:
    """y = x·w + noise, with normal x and weights between 1 and 10 for the first `informative` inputs, 0 for the others."""
    if informative > features:
        raise ConfigError(
            f"data.informative must be at most data.features, however: {informative} and {features}",
            where="data.informative, data.features",
            fix=f"Try data.informative={features}",
        )
    random = generator(seed, "data")
    weights = torch.zeros(features, 1, dtype=F64)
    weights[:informative].uniform_(1, 10, generator=random)
    x = _normal((rows, features), random)
    return Source("linear_regression", x, x @ weights + noise * _normal((rows, 1), random), _names(features))


def friedman(rows: int, features: int, noise: float, seed: int) -> Source:
    """y = 10·sin(π·x1·x2) + 20·(x3 − ½)² + 10·x4 + 5·x5 + noise, x uniform in [0, 1] (Friedman 1991)."""
    random = generator(seed, "data")
    x = torch.empty(rows, features, dtype=F64).uniform_(generator=random)
    y = 10 * torch.sin(pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5).square() + 10 * x[:, 3] + 5 * x[:, 4]
    return Source("friedman", x, y.unsqueeze(1) + noise * _normal((rows, 1), random), _names(features))


def _bits(count: int) -> Tensor:
    """All rows of `count` bits, counting upwards. -> (2^count, count) of 0.0 and 1.0, float32."""
    numbers = torch.arange(2**count).unsqueeze(1)
    return (numbers >> torch.arange(count - 1, -1, -1) & 1).float()


def _names(count: int) -> tuple[str, ...]:
    return tuple(f"x{number}" for number in range(1, count + 1))


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(str(number) for number in range(count))


def _sizes(rows: int, classes: int) -> list[int]:
    """Rows of each class, as equal as can be."""
    return [rows // classes + (code < rows % classes) for code in range(classes)]


def _turn(size: int) -> Tensor:
    """Angles evenly around a circle. -> (size,)"""
    return 2 * pi * torch.arange(size, dtype=F64) / size


def _polar(radius: Tensor, angle: Tensor) -> Tensor:
    """(N,) and (N,) -> (N, 2)."""
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1)


def _normal(shape: tuple[int, ...], random: Generator) -> Tensor:
    return torch.empty(shape, dtype=F64).normal_(generator=random)


def _plane(name: str, classes: list[Tensor], noise: float, random: Generator) -> Source:
    x, y = _shuffled(classes, random)
    return Source(name, x + noise * _normal(x.shape, random), y, _names(2), _numbered(len(classes)))


def _shuffled(classes: list[Tensor], random: Generator) -> tuple[Tensor, Tensor]:
    """The classes' rows in one random order, so that the first n rows are a fair sample. -> (N, D), (N,)"""
    x = torch.cat(classes)
    y = torch.repeat_interleave(torch.arange(len(classes)), torch.tensor([len(rows) for rows in classes]))
    order = torch.randperm(len(x), generator=random)
    return x[order], y[order]
