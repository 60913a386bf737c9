"""From raw rows to what a network takes: missing numbers filled, sizes made alike, categories spread out. Fitted on training rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dnnlab.data.scaling import PORTION, Scale, Scaler, fit
from dnnlab.errors import DataError, shown

Impute = Literal["median", "mean", "most_frequent", "constant", "refuse"]
Spread = Literal["auto", "one_hot", "embedding"]
MANY = 1000  # training rows from which on scale="auto" goes by quantiles
ELSE = 0  # the code of a category that training rows do not have, or hardly have


@dataclass(frozen=True)
class Recipe:
    """How columns are to be encoded."""

    scale: Scale | Literal["auto"] = "standardise"
    impute: Impute = "median"
    constant: float = 0.0  # what impute="constant" fills in
    indicator: bool = True  # a column that says where a number was missing
    spread: Spread = "auto"
    one_hot: int = 50  # categories up to which "auto" gives each a column of its own; beyond, an embedding
    rare: int = 1  # a category with fewer training rows shares the code of those that training rows do not have
    table: bool = False  # rows of a table: any cell may be missing, if not now then later; a column that does not vary is left out


@dataclass(frozen=True)
class Vocabulary:
    """The categories of one column, as the training rows have them: code 0 is anything else, 1 … the words, then missing."""

    words: tuple[str, ...]
    missing: bool = False  # training rows lacked a value: that is a category of its own
    rare: bool = False  # training rows have code 0, too

    @property
    def cardinality(self) -> int:
        """How many codes there are."""
        return 1 + len(self.words) + self.missing

    @property
    def missing_code(self) -> int:
        """The code of a cell without a value."""
        return len(self.words) + 1 if self.missing else ELSE

    @property
    def least(self) -> int:
        """The first code that has a column, where each has one: code 0 has none if no training row could teach it anything, and
        none has where all training rows have the same one."""
        first = 0 if self.rare else 1
        return first if self.cardinality - first > 1 else self.cardinality

    def table(self, levels: Sequence[str]) -> Tensor:
        """The code of each level, and behind them that of a missing cell: (len(levels) + 1,) of int64."""
        code = {word: place for place, word in enumerate(self.words, start=1)}
        return torch.tensor([*(code.get(level, ELSE) for level in levels), self.missing_code])


class Encoder(nn.Module):
    """(numbers, codes) -> x, laid out as numbers | where they were missing | one-hot | codes that an embedding looks up.

    Shape: (B, M) with NaN where missing, (B, G) of whole numbers -> (B, D), in float64.
    """

    fill: Tensor
    kept: Tensor
    flagged: Tensor

    def __init__(
        self,
        fill: Tensor,
        kept: Tensor,
        flagged: Tensor,
        scaler: nn.Module,
        vocabularies: Sequence[Vocabulary] = (),
        spread: Sequence[bool] = (),
        *,
        features: Sequence[str] = (),
        category_names: Sequence[str] = (),
        scale: Scale = "none",
    ) -> None:
        """fill: (M,) what stands for a missing number, (0,) where none can be missing and every column is kept; kept, flagged: the columns
        that are used, and those with an indicator; spread: whether a column of codes is one-hot, else it is left to an embedding;
        features, category_names: of the M and G columns; scale: the kind of the scaler."""
        super().__init__()
        self.register_buffer("fill", fill)
        self.register_buffer("kept", kept)
        self.register_buffer("flagged", flagged)
        self.scaler = scaler
        self.vocabularies = tuple(vocabularies)
        self.spread = tuple(spread)
        self.features = tuple(features)
        self.category_names = tuple(category_names)
        self.scale = scale

    @property
    def numbers(self) -> int:
        """How many columns of x are scaled numbers, the first ones."""
        return len(self.kept)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """The number of codes of each column that is to be embedded, the last ones of x."""
        return tuple(words.cardinality for words, spread in zip(self.vocabularies, self.spread, strict=True) if not spread)

    @property
    def plain(self) -> int:
        """How many columns of x stand between: indicators and one-hot."""
        hot = (words.cardinality - words.least for words, spread in zip(self.vocabularies, self.spread, strict=True) if spread)
        return len(self.flagged) + sum(hot)

    @property
    def width(self) -> int:
        """D, the columns of x."""
        return self.numbers + self.plain + len(self.cardinalities)

    def forward(self, numbers: Tensor, codes: Tensor | None = None) -> Tensor:
        """numbers: (B, M), codes: (B, G) -> (B, D)."""
        if not self.fill.numel() and not self.vocabularies:
            scaled: Tensor = self.scaler(numbers)
            return scaled
        there = numbers[:, self.kept]
        scaled = self.scaler(torch.where(there.isnan(), self.fill[self.kept], there))
        parts = [scaled, numbers[:, self.flagged].isnan()]
        if codes is not None:
            places = range(len(self.vocabularies))
            parts += [self._one_hot(codes[:, place], self.vocabularies[place]) for place in places if self.spread[place]]
            parts += [codes[:, place : place + 1] for place in places if not self.spread[place]]
        return torch.cat([part.to(scaled.dtype) for part in parts], 1)

    @staticmethod
    def _one_hot(codes: Tensor, words: Vocabulary) -> Tensor:
        return F.one_hot(codes.long(), words.cardinality)[:, words.least :]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the D columns of x."""
        told = [self.features[place] for place in self.kept.tolist()]
        told += [f"{self.features[place]} is missing" for place in self.flagged.tolist()]
        pairs = list(zip(self.category_names, self.vocabularies, self.spread, strict=True))
        for name, words, spread in pairs:
            if spread:
                told += [f"{name}={word}" for word in _words(words)[words.least :]]
        return (*told, *(name for name, _, spread in pairs if not spread))


def _words(vocabulary: Vocabulary) -> list[str]:
    return ["(other)", *vocabulary.words, *(["(missing)"] if vocabulary.missing else [])]


def fit_encoder(
    numbers: Tensor,
    codes: Tensor,
    levels: Sequence[Sequence[str]],
    recipe: Recipe,
    *,
    names: Sequence[str],
    category_names: Sequence[str] = (),
    hot: bool = False,
) -> Encoder:
    """The encoder of these (training) rows; DataError where a number is missing and recipe.impute="refuse", or where nothing is left.

    numbers: (N, M), NaN where missing; codes: (N, G) of int, −1 where missing; levels: the words of each column of codes; names,
    category_names: of the M and G columns; hot: embeddings cannot be had, so every category gets a column.
    """
    places, scale = torch.arange(numbers.shape[1]), _scale(recipe, len(numbers))
    if not recipe.table:
        return Encoder(numbers.new_zeros(0), places, places[:0], fit(numbers, scale), features=names, scale=scale)
    holes = torch.tensor([bool(column.isnan().any()) for column in numbers.unbind(1)], dtype=torch.bool)
    if recipe.impute == "refuse" and holes.any():
        _refuse_holes(numbers, holes, names)
    fill = _fills(numbers, recipe)
    filled = torch.where(numbers.isnan(), fill, numbers) if holes.any() else numbers
    kept = places[filled.amin(0) < filled.amax(0)]
    always = torch.tensor([bool(column.isnan().all()) for column in numbers.unbind(1)], dtype=torch.bool)
    flagged = places[holes & ~always] if recipe.indicator else places[:0]  # what is always missing tells nothing
    vocabularies = [_vocabulary(column, words, recipe.rare) for column, words in zip(codes.unbind(1), levels, strict=True)]
    spread = [hot or _is_hot(words, recipe) for words in vocabularies]
    scaler = fit(filled[:, kept], scale)
    encoder = Encoder(fill, kept, flagged, scaler, vocabularies, spread, features=names, category_names=category_names, scale=scale)
    if not encoder.width:
        raise DataError(
            f"some column must vary in the training rows, however: none of {len(names) + len(category_names)} does",
            where="columns " + ", ".join(shown(name) for name in [*names, *category_names][:10]),
            fix="Look at the file, or try data.split=random with another data.split_seed",
        )
    return encoder


def _scale(recipe: Recipe, rows: int) -> Scale:
    """Quantiles want rows to be taken of."""
    return ("quantile" if rows >= MANY else "standardise") if recipe.scale == "auto" else recipe.scale


def _is_hot(words: Vocabulary, recipe: Recipe) -> bool:
    return recipe.spread == "one_hot" or (recipe.spread == "auto" and len(words.words) <= recipe.one_hot)


def _fills(numbers: Tensor, recipe: Recipe) -> Tensor:
    """What stands for a missing number in each column: (M,) of float64; 0 in a column without any number."""
    fills = []
    for column in numbers.unbind(1):
        there = column[~column.isnan()].double()
        if not len(there) or recipe.impute == "constant":
            fills.append(recipe.constant if recipe.impute == "constant" else 0.0)
        elif recipe.impute == "mean":
            fills.append(float(there.mean()))
        elif recipe.impute == "most_frequent":
            values, counts = torch.unique(there, return_counts=True)
            fills.append(float(values[counts.argmax()]))  # of several the least one
        else:
            fills.append(float(there.quantile(0.5)) if len(there) < 1 << 24 else float(there.median()))
    return torch.tensor(fills, dtype=torch.float64)


def _vocabulary(codes: Tensor, levels: Sequence[str], rare: int) -> Vocabulary:
    counts = torch.bincount(codes.long() + 1, minlength=len(levels) + 1).tolist()
    words = tuple(level for level, count in zip(levels, counts[1:], strict=True) if count >= max(1, rare))
    few = any(0 < count < rare for count in counts[1:])
    return Vocabulary(words, missing=counts[0] > 0, rare=few)


def _refuse_holes(numbers: Tensor, holes: Tensor, names: Sequence[str]) -> None:
    place = int(holes.nonzero()[0])
    rows = numbers[:, place].isnan().nonzero().squeeze(1)
    raise DataError(
        f"data.impute=refuse wants a number in every cell, however: {len(rows):,} of {len(numbers):,} training rows have none",
        where=f"column {shown(names[place]) if names else place}",
        fix="Try data.impute=median",
    )


def encode(encoder: Encoder, numbers: Tensor, codes: Tensor, dtype: torch.dtype) -> Tensor:
    """All rows through an encoder, a portion at a time. numbers: (N, M), codes: (N, G) of the encoder's own codes -> (N, D)."""
    if not encoder.fill.numel() and not encoder.vocabularies and _is_neutral(encoder.scaler):
        return numbers.to(dtype)
    x = torch.empty(len(numbers), encoder.width, dtype=dtype)
    for start in range(0, len(numbers), PORTION):  # float64 in between: not for all rows at once
        rows = slice(start, start + PORTION)
        x[rows] = encoder(numbers[rows], codes[rows])
    return x


def _is_neutral(scaler: nn.Module) -> bool:
    return type(scaler) is Scaler and bool((scaler.shift == 0).all() and (scaler.factor == 1).all())
