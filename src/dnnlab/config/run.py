"""The whole of a run's settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dnnlab.config.activation import Activation
from dnnlab.config.base import Positive, Settings
from dnnlab.config.data import Dataset
from dnnlab.config.embedding import Embedding, NoEmbedding
from dnnlab.config.initialization import Initialization
from dnnlab.config.logger import Logger
from dnnlab.config.loss import Loss
from dnnlab.config.metrics import Metrics
from dnnlab.config.model import Model
from dnnlab.config.optimizer import Optimizer
from dnnlab.config.regularization import Regularization
from dnnlab.config.scheduler import Schedule
from dnnlab.config.sweep import Sweep
from dnnlab.config.trainer import Trainer

CONFIG_VERSION: Literal[1] = 1


class LrFind(Settings):
    """The range of the learning-rate range test (Smith 2017)."""

    low: Positive = 1e-6
    """First rate tried."""
    high: Positive = 10.0
    """Last rate tried."""
    steps: Annotated[int, Field(ge=10, le=10_000)] = 200
    """Steps from the first rate to the last."""


class RunConfig(Settings):
    """Everything that one run is asked to do."""

    config_version: Literal[1] = CONFIG_VERSION
    """Version of this schema."""
    name: Annotated[str, Field(min_length=1, max_length=100)]
    """Name of the run: the folder under outputs/ that its run folders stand in."""
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    """The one seed: of the split, the first weights, the order of rows, dropout and noise."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    """auto, cpu, cuda, cuda:1 or mps; one that is not there is an error."""
    precision: Literal["float32", "float64", "bf16", "fp16"] = "float32"
    """Numbers of the computation; bf16 and fp16 are autocast on CUDA, with float32 weights."""
    compile: bool = False
    """Let torch.compile translate the network (pays on large ones)."""
    threads: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    """CPU threads; auto: one for small networks, all cores for large ones. Results depend on it in the last bits."""
    lr_find: bool = False
    """Only search a learning rate: print a suggestion, draw the curve, train nothing."""
    lr_range: LrFind = LrFind()
    """The range of the search."""
    seeds: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Train with so many seeds, from `seed` on, and tell means with their 95 % intervals; null: with one."""
    ensemble: bool = False
    """Let all finished jobs of a sweep answer as one, in the folder `ensemble` of the sweep."""
    sweep: Sweep = Sweep()
    """How the jobs of a sweep are done."""
    data: Dataset
    """Which rows are learned from."""
    model: Model
    """Which network is built."""
    embedding: Embedding = NoEmbedding(kind="none")
    """How features enter it: categories by learned tables, numbers as they are or embedded."""
    activation: Activation
    """Function of the hidden layers."""
    initialization: Initialization
    """With which numbers the weights begin."""
    loss: Loss
    """What training makes small."""
    optimizer: Optimizer
    """How weights move."""
    scheduler: Schedule
    """How the learning rate changes."""
    regularization: Regularization = Regularization()
    """What keeps the network from learning its rows by heart."""
    trainer: Trainer = Trainer()
    """How long, in which portions and watched by what."""
    metrics: Metrics = Metrics()
    """What is measured."""
    logger: Logger = Logger()
    """What is written."""


OF_SWEEP = ("seeds", "ensemble", "sweep")
"""Settings that say which jobs there are; none of them is part of a job's own."""
