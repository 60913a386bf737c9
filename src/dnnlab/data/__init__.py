"""Where rows come from and how they reach the network: each source gives a Source, `prepare` makes a Dataset of it."""

from dnnlab.data.bundled import load_bundled
from dnnlab.data.dataset import Dataset, Part, Source, prepare
from dnnlab.data.generated import blobs, circles, friedman, linear_regression, moons, parity, spirals, truth_table
from dnnlab.data.idx import read_idx
from dnnlab.data.scaling import Scaler

__all__ = [
    "Dataset",
    "Part",
    "Scaler",
    "Source",
    "blobs",
    "circles",
    "friedman",
    "linear_regression",
    "load_bundled",
    "moons",
    "parity",
    "prepare",
    "read_idx",
    "spirals",
    "truth_table",
]
