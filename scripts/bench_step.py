"""What a training step costs: dnnlab's trainer against the loop that an expert would write by hand, in alternating runs.

    python scripts/bench_step.py                              # all three sizes, 7 rounds
    python scripts/bench_step.py --rounds 3 --threads 1       # quicker; every run on one thread
    python scripts/bench_step.py --fashion-mnist FOLDER       # real images for the third size, else random ones of their shape

Both train the same network on the same tensors with the same batches, fused Adam and cross-entropy. The hand-written loop holds the
data as tensors, takes a new permutation each epoch and indexes it; it waits for no loss. The trainer does all that it does in a run
(records, penalties, checks for numbers that are not finite), without validation. Prints medians and ratios; writes JSON with --json.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from dnnlab.assembly import assemble
from dnnlab.build.device import threads
from dnnlab.config.run import RunConfig


@dataclass(frozen=True)
class Size:
    """One comparison: a table, a network, a batch, and the ratio that is aimed at."""

    name: str
    data: dict[str, Any]
    hidden: list[int]
    batch: int
    epochs: int
    goal: float


SIZES = (
    Size("2000x30, 32-32 units, batch 32", {"kind": "blobs", "rows": 2000, "features": 30, "classes": 2}, [32, 32], 32, 20, 0.6),
    Size("20000x50, 128-128 units, batch 256", {"kind": "blobs", "rows": 20_000, "features": 50, "classes": 2}, [128, 128], 256, 4, 0.85),
    Size(
        "Fashion-MNIST, 512-512 units, batch 512",
        {"kind": "blobs", "rows": 60_000, "features": 784, "classes": 10},
        [512, 512],
        512,
        1,
        1.05,
    ),
)


def settings(size: Size) -> RunConfig:
    """The run's settings; cross-entropy for two classes, too, as the loop by hand has it."""
    return RunConfig.model_validate(
        {
            "name": "bench",
            "data": {**size.data, "valid": 0.0, **({"test": 0.0} if size.data["kind"] == "blobs" else {})},
            "model": {"kind": "mlp", "hidden": size.hidden},
            "activation": {"kind": "relu"},
            "initialization": {"kind": "auto"},
            "loss": {"kind": "cross_entropy"},
            "optimizer": {"kind": "adam"},
            "scheduler": {"kind": "constant"},
            "trainer": {"epochs": size.epochs, "batch_size": size.batch},
        }
    )


def by_hand(x: torch.Tensor, y: torch.Tensor, size: Size, classes: int) -> float:
    """Seconds of one step of the expert's loop."""
    torch.manual_seed(0)
    widths = [x.shape[1], *size.hidden, classes]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    network = nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    steps, began = 0, perf_counter()
    for _ in range(size.epochs):
        for rows in torch.randperm(len(x)).split(size.batch):
            optimizer.zero_grad()
            F.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
            steps += 1
    return (perf_counter() - began) / steps


def by_dnnlab(size: Size) -> float:
    """Seconds of one step of the trainer."""
    trainer = assemble(settings(size)).trainer
    began = perf_counter()
    for _ in trainer:
        pass
    return (perf_counter() - began) / trainer.position.step


def compare(size: Size, rounds: int, thread_count: int | None) -> dict[str, Any]:
    """Alternate the two, so that a noisy machine is noisy for both."""
    parts = assemble(settings(size))
    x, y = parts.rows.train.x, parts.rows.train.y
    default = torch.get_num_threads() if thread_count is None else thread_count
    own = parts.ingredients.threads if thread_count is None else thread_count
    times: dict[str, list[float]] = {"hand": [], "dnnlab": []}
    runs: dict[str, tuple[int, Callable[[], float]]] = {
        "hand": (default, lambda: by_hand(x, y, size, parts.rows.outputs)),
        "dnnlab": (own, lambda: by_dnnlab(size)),
    }
    for round_number in range(rounds + 1):
        for name, (count, run) in runs.items():
            with threads(count):
                seconds = run()
            if round_number:  # the first round only warms up
                times[name].append(seconds * 1e6)
    ratios = [own_time / hand for own_time, hand in zip(times["dnnlab"], times["hand"], strict=True)]
    spread = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return {
        "size": size.name,
        "hand_us": median(times["hand"]),
        "dnnlab_us": median(times["dnnlab"]),
        "ratio": median(ratios),
        "ratio_quartiles": [spread[0], spread[-1]],
        "goal": size.goal,
        "threads": {"hand": default, "dnnlab": own},
        "rounds": rounds,
    }


def main() -> None:
    """Compare all sizes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--threads", type=int, default=None, help="threads of both; default: torch's for the loop, dnnlab's own choice for dnnlab"
    )
    parser.add_argument("--fashion-mnist", type=Path, default=None)
    parser.add_argument("--json", type=Path, default=None)
    asked = parser.parse_args()
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {date.today()}, {asked.rounds} rounds")
    print(f"{'size':42} {'by hand':>10} {'dnnlab':>10} {'ratio (quartiles)':>22} {'goal':>6}  threads")
    results = []
    for size in SIZES:
        if asked.fashion_mnist is not None and "784" in str(size.data):
            size = Size(size.name, {"kind": "idx", "root": str(asked.fashion_mnist)}, size.hidden, size.batch, size.epochs, size.goal)
        result = compare(size, asked.rounds, asked.threads)
        results.append(result)
        low, high = result["ratio_quartiles"]
        times = f"{result['hand_us']:7.1f} µs {result['dnnlab_us']:7.1f} µs"
        ratio = f"{result['ratio']:7.3f} ({low:.3f} to {high:.3f}) {result['goal']:6.2f}"
        print(f"{result['size']:42} {times} {ratio}  {result['threads']['hand']}, {result['threads']['dnnlab']}")
    if asked.json is not None:
        asked.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
