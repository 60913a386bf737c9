"""What a sweep costs: 64 jobs as one stack, against the same jobs one after the other by a loop written by hand.

    python scripts/bench_sweep.py                     # every size, medians of 5 rounds
    python scripts/bench_sweep.py iris digits --rounds 3 --json sweep.json
    python scripts/bench_sweep.py --members           # cost per member while their number doubles

The loop by hand is the yardstick: autograd, torch's fused Adam, rows on the device, no logging, no evaluation. It trains a few of the jobs
and is scaled to all of them; `training` is the stack's loop alone, `sweep` the whole command with its composing, run folders, metrics,
TensorBoard and checkpoints at their defaults. Every round times all ways one after the other; the medians are of ratios within a round.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dnnlab import cli
from dnnlab.assembly import Parts, assemble
from dnnlab.build.device import threads
from dnnlab.build.rows import Shelf
from dnnlab.config.run import RunConfig
from dnnlab.population.trainer import StackedTrainer
from dnnlab.stack import stack_threads

RATES = ("1e-4", "3e-4", "1e-3", "3e-3")
BY_HAND = 3  # jobs that the loop by hand trains


@dataclass(frozen=True)
class Size:
    """One comparison: data, network, batch and length of a job, and the ratios that are aimed at."""

    name: str
    data: tuple[str, ...]  # as on the command line
    hidden: tuple[int, ...]
    batch: int
    epochs: int
    training: float
    sweep: float

    @property
    def words(self) -> list[str]:
        """The settings of a job as on the command line."""
        hidden = ",".join(map(str, self.hidden))
        own = ["model=mlp", f"model.hidden=[{hidden}]", f"trainer.batch_size={self.batch}", f"trainer.epochs={self.epochs}"]
        return [*self.data, *own]


SIZES = {
    "xor": Size("XOR, 16 units", ("data=xor",), (16,), 32, 20_000, 40, 20),
    "iris": Size("iris, 16 units, batch 32", ("data=iris",), (16,), 32, 10_000, 40, 20),
    "table32": Size("2000x30, 32-32 units, batch 32", ("data=blobs", "data.rows=2000", "data.features=30"), (32, 32), 32, 300, 29, 15),
    "digits": Size("digits, 64-64 units, batch 64", ("data=digits",), (64, 64), 64, 300, 6, 4.5),
    "table128": Size(
        "20000x50, 128-128 units, batch 256", ("data=blobs", "data.rows=20000", "data.features=50"), (128, 128), 256, 24, 1.3, 1.3
    ),
}


def settings(size: Size, seed: int, rate: float) -> RunConfig:
    """The settings of one job."""
    data: dict[str, Any] = {}
    for word in size.data:
        key, value = word.split("=")
        data["kind" if key == "data" else key.split(".")[1]] = value if key == "data" else int(value)
    return RunConfig.model_validate(
        {
            "name": "bench", "seed": seed, "data": data, "model": {"kind": "mlp", "hidden": list(size.hidden)},
            "activation": {"kind": "relu"},
            "initialization": {"kind": "auto"}, "loss": {"kind": "auto"}, "optimizer": {"kind": "adam", "lr": rate},
            "scheduler": {"kind": "constant"}, "trainer": {"epochs": size.epochs, "batch_size": size.batch},
        }
    )  # fmt: skip


def by_hand(x: Tensor, y: Tensor, outputs: int, size: Size) -> None:
    """One job in a tight loop."""
    layers: list[nn.Module] = []
    width = x.shape[1]
    for units in size.hidden:
        layers += [nn.Linear(width, units), nn.ReLU()]
        width = units
    network = nn.Sequential(*layers, nn.Linear(width, outputs))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    judge = nn.BCEWithLogitsLoss() if outputs == 1 else nn.CrossEntropyLoss()
    for _ in range(size.epochs):
        order = torch.randperm(len(x))
        for start in range(0, len(x), size.batch):
            rows = order[start : start + size.batch]
            loss = judge(network(x[rows]), y[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()


def members(size: Size, count: int) -> list[Parts]:
    """The parts of so many jobs: eight seeds, several rates."""
    shelf = Shelf()
    return [assemble(settings(size, number % 8, float(RATES[number // 8 % len(RATES)])), shelf=shelf) for number in range(count)]


def training(parts: list[Parts]) -> float:
    """Seconds of the stack's loop alone."""
    trainer = StackedTrainer([own.trainer for own in parts], [own.learner for own in parts], lambda population, numbers: {})
    with threads(stack_threads(parts[0], len(parts))):
        return timed(lambda: [None for _ in trainer])


def sweep(size: Size) -> float:
    """Seconds of the whole command for 64 jobs."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        words = ["-m", *size.words, "seed=range(8)", f"optimizer.lr={','.join(RATES)}", "regularization.l2=0,1e-4"]
        return timed(lambda: cli.run(words))


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def rounds(size: Size, count: int) -> list[dict[str, float]]:
    """So many rounds of all ways."""
    told = []
    for _ in range(count):
        parts = members(size, 64)
        x, y, outputs = parts[0].rows.train.x.clone(), parts[0].rows.train.y.clone(), parts[0].rows.outputs
        hand = timed(lambda: [by_hand(x, y, outputs, size) for _ in range(BY_HAND)]) / BY_HAND * 64  # noqa: B023
        told.append({"by hand": hand, "training": training(parts), "sweep": sweep(size)})
    return told


def table(names: list[str], count: int) -> list[dict[str, Any]]:
    """Measure, print, and return what was measured."""
    found = []
    print(f"{'size':<38} {'by hand':>9} {'training':>20} {'sweep':>20}   aims")
    for name in names:
        size = SIZES[name]
        told = rounds(size, count)
        ratios = {way: [one["by hand"] / one[way] for one in told] for way in ("training", "sweep")}
        cells = [f"{statistics.median(of):5.1f}x ({min(of):.1f} to {max(of):.1f})" for of in ratios.values()]
        hand = statistics.median(one["by hand"] for one in told)
        print(f"{size.name:<38} {hand:7.1f} s {cells[0]:>20} {cells[1]:>20}   {size.training:g}x, {size.sweep:g}x", flush=True)
        found.append({"size": size.name, "epochs": size.epochs, "rounds": told, "ratios": ratios})
    return found


def doubling(names: list[str], most: int = 1024) -> list[dict[str, Any]]:
    """Microseconds of a member's step while the number of members doubles."""
    found = []
    for name in names:
        size = SIZES[name]
        cells = []
        count = 1
        while count <= most:
            short = Size(size.name, size.data, size.hidden, size.batch, max(1, min(size.epochs, 2000 // count)), 0, 0)
            parts = members(short, count)
            seconds = training(parts)
            cells.append({"members": count, "microseconds": seconds / parts[0].trainer.position.step / count * 1e6})
            count *= 2
        print(size.name, "  ".join(f"{cell['members']:g}: {cell['microseconds']:.1f} µs" for cell in cells), flush=True)
        found.append({"size": size.name, "cost": cells})
    return found


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", default=list(SIZES), help=", ".join(SIZES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--members", action="store_true", help="cost per member while their number doubles")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        cli.run(["-m", "data=iris", "trainer.epochs=1", "seed=0,1"])  # what is imported once is no part of any way
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {len(os.sched_getaffinity(0))} cores")
    found = doubling(asked.sizes) if asked.members else table(asked.sizes, asked.rounds)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
