"""Where rows come from and how they reach the network: each source gives a Source, `prepare` makes a Dataset of it."""

from dnnlab.data.bundled import load_bundled
from dnnlab.data.dataset import Category, Dataset, Part, Source, prepare, rows_of
from dnnlab.data.encoding import Encoder, Recipe, Vocabulary, encode
from dnnlab.data.generated import blobs, circles, friedman, linear_regression, moons, parity, spirals, truth_table
from dnnlab.data.idx import read_idx
from dnnlab.data.splits import Plan

__all__ = [
    "Category",
    "Dataset",
    "Encoder",
    "Part",
    "Plan",
    "Recipe",
    "Source",
    "Vocabulary",
    "blobs",
    "circles",
    "encode",
    "friedman",
    "linear_regression",
    "load_bundled",
    "moons",
    "parity",
    "prepare",
    "read_idx",
    "rows_of",
    "spirals",
    "truth_table",
]
