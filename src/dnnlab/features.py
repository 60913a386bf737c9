"""Learned embeddings of the inputs, as a front of any network: a table for each category column, a small map for each number.

The encoded inputs are x: (B, D), laid out as [M numbers, scaled | P plain columns, indicators and the like | E codes of categories]. A
number becomes `size` numbers by a piecewise-linear or a periodic embedding (Gorishniy, Rubachev and Babenko 2022, "On Embeddings for
Numerical Features in Tabular Deep Learning"), a code becomes a row of its table, and plain columns stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi, pow, sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dnnlab.seeding import generator

LARGEST_SIZE = 50  # of a category's embedding that is sized by the rule
REACH = 1000.0  # how many widths of the outermost bin a number may lie beyond it; keeps one of almost no width from blowing up
PORTION = 1 << 22  # numbers between a row and its embedding that are held at once where no gradient needs them
SORTED = 1 << 24  # numbers that are sorted at once for their quantiles


@dataclass(frozen=True)
class Layout:
    """What the columns of the encoded inputs are, from left to right.

    >>> Layout(numbers=3, plain=2, cardinalities=(7, 2)).width
    7
    """

    numbers: int
    plain: int = 0
    cardinalities: tuple[int, ...] = ()  # of each column of codes: how many codes there are, from 0

    @property
    def width(self) -> int:
        """How many columns there are."""
        return self.numbers + self.plain + len(self.cardinalities)


def table_size(cardinality: int) -> int:
    """Numbers for one of `cardinality` categories: min(50, 1.6·cardinality^0.56), rounded, by the rule of thumb of fastai (whose bound
    is 600).

    >>> [table_size(count) for count in (2, 10, 100, 10_000)]
    [2, 6, 21, 50]
    """
    return min(LARGEST_SIZE, round(1.6 * pow(cardinality, 0.56)))


def quantile_edges(x: Tensor, bins: int) -> Tensor:
    """The edges of `bins` bins that hold equally many rows of each column. x: (N, M) -> (M, bins + 1), never falling.

    Quantiles are interpolated linearly, as by torch.quantile. Of a column that has few values, neighbouring edges are equal: a bin
    without a width is not used.

    >>> quantile_edges(torch.tensor([[0.0, 1.0], [1.0, 1.0], [4.0, 1.0]]), 2)
    tensor([[0., 1., 4.],
            [1., 1., 1.]])
    """
    place = torch.linspace(0, 1, bins + 1, dtype=torch.float64) * (len(x) - 1)
    below = place.floor().long().clamp_(0, len(x) - 1)
    share = (place - below).to(x.dtype).to(x.device)[:, None]  # not on the device in float64, which not every device has
    below = below.to(x.device)
    above = (below + 1).clamp_max_(len(x) - 1)
    parts = []
    for columns in torch.split(x, max(1, SORTED // len(x)), dim=1):
        ordered = columns.sort(dim=0).values
        parts.append(torch.lerp(ordered[below], ordered[above], share))
    return torch.cat(parts, dim=1).T.contiguous()


def encode_piecewise(x: Tensor, edges: Tensor) -> Tensor:
    """The piecewise-linear encoding. x: (B, M), edges: (M, bins + 1) -> (B, M, bins).

    With edges b_0 ≤ b_1 ≤ …, part t is (x − b_t) / (b_(t+1) − b_t), cut to [0, 1]; but the first one falls below 0 and the last one rises
    above 1, up to REACH. A bin without a width gives 0, and is neither the first nor the last (Gorishniy et al. 2022, equation 1).

    >>> encode_piecewise(torch.tensor([[-1.0], [3.0], [9.0]]), torch.tensor([[0.0, 2.0, 2.0, 4.0]]))[:, 0].tolist()
    [[-0.5, 0.0, 0.0], [1.0, 0.0, 0.5], [1.0, 0.0, 3.5]]
    """
    width = edges.diff(dim=1)
    used = width > 0
    first = used & (used.cumsum(1) == 1)
    last = used & (used.flip(1).cumsum(1).flip(1) == 1)
    low = torch.where(first, -REACH, torch.zeros_like(width))
    high = torch.where(last, REACH, used.to(width.dtype))
    return ((x[:, :, None] - edges[:, :-1]) / torch.where(used, width, 1.0)).clamp(low, high)


class FeatureLinear(nn.Module):
    """A linear map for each feature, or one that all of them share. Shape: (B, M, K) -> (B, M, S)."""

    def __init__(self, features: int, inputs: int, size: int, *, relu: bool, shared: bool = False) -> None:
        super().__init__()
        self.relu = relu
        self.weight = nn.Parameter(torch.zeros((inputs, size) if shared else (features, inputs, size)))
        # in one dimension, as every bias: two would make it a weight, which decay acts on
        self.bias = nn.Parameter(torch.zeros(size if shared else features * size))

    @torch.no_grad()
    def draw(self, numbers: torch.Generator) -> None:
        """First weights and biases: U(−a, a) with a = 1/sqrt(K), as in the authors' code."""
        bound = 1 / sqrt(self.weight.shape[-2])
        for parameter in (self.weight, self.bias):
            parameter.copy_(torch.empty(parameter.shape, dtype=parameter.dtype).uniform_(-bound, bound, generator=numbers))

    def forward(self, v: Tensor) -> Tensor:
        """v: (B, M, K) -> (B, M, S)."""
        mapped = v @ self.weight if self.weight.ndim == 2 else torch.einsum("bmk,mks->bms", v, self.weight)
        mapped = mapped + self.bias.view(-1, self.weight.shape[-1])
        return F.relu(mapped) if self.relu else mapped


class PiecewiseLinear(nn.Module):
    """Which bins a number has passed, and how far it is within its own; then a linear map. Shape: (B, M) -> (B, M·size).

    Edges come from the training rows (`fit`), or from a saved network: whatever the data, there are (M, bins + 1) of them.
    """

    edges: Tensor

    def __init__(self, features: int, *, bins: int, size: int, relu: bool) -> None:
        super().__init__()
        self.features, self.parts, self.size = features, bins, size
        self.register_buffer("edges", torch.linspace(-1, 1, bins + 1).repeat(features, 1))
        self.linear = FeatureLinear(features, bins, size, relu=relu)

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Take the edges from the quantiles of training rows x: (N, M)."""
        self.edges.copy_(quantile_edges(x, self.parts))

    def draw(self, numbers: torch.Generator) -> None:
        """First weights."""
        self.linear.draw(numbers)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, M) -> (B, M·size)."""
        mapped: Tensor = self.linear(encode_piecewise(x, self.edges))
        return mapped.flatten(1)

    def extra_repr(self) -> str:
        """Show how many bins."""
        return f"bins={self.parts}"


class Periodic(nn.Module):
    """Sines and cosines of learned frequencies, then a linear map and ReLU. Shape: (B, M) -> (B, M·size).

    v = [sin(2π c_1 x), …, cos(2π c_1 x), …] with first frequencies c ~ N(0, sigma²) of each feature's own; "PLR" of Gorishniy et al.
    2022, or with `lite`, where all features share one map, "PLR(lite)" of Gorishniy et al. 2024 (TabR).
    """

    def __init__(self, features: int, *, frequencies: int, size: int, sigma: float, lite: bool = False) -> None:
        super().__init__()
        self.features, self.parts, self.size, self.sigma = features, 2 * frequencies, size, sigma
        self.frequency = nn.Parameter(torch.zeros(features * frequencies))  # in one dimension: decay is not to make functions flat
        self.linear = FeatureLinear(features, 2 * frequencies, size, relu=True, shared=lite)

    @torch.no_grad()
    def draw(self, numbers: torch.Generator) -> None:
        """First frequencies and weights."""
        drawn = torch.empty(self.frequency.shape, dtype=self.frequency.dtype)
        self.frequency.copy_(drawn.normal_(0.0, self.sigma, generator=numbers))
        self.linear.draw(numbers)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, M) -> (B, M·size)."""
        angle = x[:, :, None] * (2 * pi * self.frequency.view(self.features, -1))
        mapped: Tensor = self.linear(torch.cat([angle.sin(), angle.cos()], -1))
        return mapped.flatten(1)

    def extra_repr(self) -> str:
        """Show how many frequencies, and how they begin."""
        return f"frequencies={self.parts // 2}, sigma={self.sigma}"


class CategoryEmbedding(nn.Module):
    """A table for each column of codes; a code is answered by its row. Shape: (B, E) -> (B, sum of the tables' sizes).

    A code that lies beyond its table, as on the grid of a picture, is answered by the nearest row.
    """

    def __init__(self, cardinalities: Sequence[int], size: int | None = None) -> None:
        """size: numbers for a category, in every table; None: by `table_size`."""
        super().__init__()
        sizes = [table_size(count) if size is None else size for count in cardinalities]
        tables = (nn.Parameter(torch.zeros(shape)) for shape in zip(cardinalities, sizes, strict=True))
        self.tables = nn.ParameterList(tables)
        self.width = sum(sizes)

    @torch.no_grad()
    def draw(self, seed: int, place: str) -> None:
        """First rows: N(0, 1/size), so that a row is about as long as a scaled number; each table draws from a stream of its own.

        Row 0 begins at zero, amid the others: it answers a category that no training row has, and may never learn.
        """
        for index, table in enumerate(self.tables):
            drawn = torch.empty(table.shape, dtype=table.dtype)
            table.copy_(drawn.normal_(0.0, 1 / sqrt(table.shape[1]), generator=generator(seed, "init", place, index)))
            table[0] = 0.0

    def forward(self, codes: Tensor) -> Tensor:
        """codes: (B, E), whole numbers from 0 -> (B, width)."""
        rows = []
        for table, column in zip(self.tables, codes.unbind(1), strict=True):
            rows.append(F.embedding(column.round().clamp(0, len(table) - 1).long(), table))
        return torch.cat(rows, 1)


class Front(nn.Module):
    """Embeds the numbers, passes the plain columns, and replaces each code by a row of its table. Shape: (B, D) -> (B, width).

    >>> front = Front(Layout(numbers=1, plain=1, cardinalities=(3,)), None, category_size=2)
    >>> front.draw(seed=0)
    >>> front(torch.tensor([[0.5, 1.0, 2.0]])).shape, front.width
    (torch.Size([1, 4]), 4)
    """

    def __init__(self, layout: Layout, numbers: PiecewiseLinear | Periodic | None = None, category_size: int | None = None) -> None:
        """numbers: what embeds the layout's numbers, None for nothing; category_size: see `CategoryEmbedding`."""
        super().__init__()
        self.layout = layout
        self.numbers = numbers
        self.codes = CategoryEmbedding(layout.cardinalities, category_size) if layout.cardinalities else None
        embedded = layout.numbers if numbers is None else numbers.features * numbers.size
        self.width = embedded + layout.plain + (0 if self.codes is None else self.codes.width)

    @property
    def between(self) -> int:
        """Numbers between a row and its embedding, of which training holds a few copies for each row of a batch."""
        return 0 if self.numbers is None else self.numbers.features * max(self.numbers.parts, self.numbers.size)

    def draw(self, seed: int) -> None:
        """First weights, a function of the seed on every device; numbers and each table draw from streams of their own."""
        if self.numbers is not None:
            self.numbers.draw(generator(seed, "init", "features.numbers"))
        if self.codes is not None:
            self.codes.draw(seed, "features.codes")

    def fit(self, x: Tensor) -> None:
        """Take from training rows x: (N, D) what is not learned by gradients: the edges of bins."""
        if isinstance(self.numbers, PiecewiseLinear):
            self.numbers.fit(x[:, : self.layout.numbers])

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, D) -> (B, width)."""
        rows = max(1, PORTION // max(1, self.between))
        if torch.is_grad_enabled() or len(x) <= rows:
            return self._embed(x)
        return torch.cat([self._embed(part) for part in torch.split(x, rows)])

    def _embed(self, x: Tensor) -> Tensor:
        layout = self.layout
        numbers, plain, codes = torch.split(x, [layout.numbers, layout.plain, len(layout.cardinalities)], dim=1)
        parts = [numbers if self.numbers is None else self.numbers(numbers), plain]
        if self.codes is not None:
            parts.append(self.codes(codes))
        return torch.cat(parts, 1)
