"""Where rows come from and how they reach the network: `load` a source, `prepare` it."""

from __future__ import annotations

from collections.abc import Callable

from dnnlab.data.bundled import load_bundled
from dnnlab.data.dataset import Dataset, Part, Source, prepare
from dnnlab.data.generated import blobs, circles, friedman, linear_regression, moons, parity, spirals, truth_table
from dnnlab.data.idx import read_idx
from dnnlab.data.scaling import Scaler
from dnnlab.errors import ConfigError, did_you_mean

__all__ = ["KEYED", "SOURCES", "Dataset", "Part", "Scaler", "Source", "load", "prepare"]

SOURCES: dict[str, Callable[..., Source]] = {
    "digits": lambda: load_bundled("digits"),
    "iris": lambda: load_bundled("iris"),
    "wine": lambda: load_bundled("wine"),
    "breast_cancer": lambda: load_bundled("breast_cancer"),
    "diabetes": lambda: load_bundled("diabetes"),
    "xor": lambda: truth_table("xor"),
    "and": lambda: truth_table("and"),
    "or": lambda: truth_table("or"),
    "parity": parity,
    "moons": lambda rows, noise, seed, factor=0.5: moons(rows, noise, seed),  # factor is circles' own
    "circles": circles,
    "spirals": spirals,
    "blobs": blobs,
    "linear_regression": linear_regression,
    "friedman": friedman,
    "idx": read_idx,
}
KEYED = frozenset({"moons", "circles", "spirals", "blobs", "linear_regression", "friedman"})  # their rows depend on the seed


def load(kind: str, seed: int, **settings: object) -> Source:
    """The rows of one kind; `settings` are the kind's own, by the names that they have in the configuration.

    >>> load("moons", 0, rows=100, noise=0.1).x.shape
    torch.Size([100, 2])
    """
    if kind not in SOURCES:
        raise ConfigError(f"must be a known kind of data, however: {kind}", where="data.kind", fix=did_you_mean(kind, SOURCES))
    return SOURCES[kind](**settings, seed=seed) if kind in KEYED else SOURCES[kind](**settings)
