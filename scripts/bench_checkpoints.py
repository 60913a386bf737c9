"""What checkpoints cost: the share of a run that their budget takes, in alternating runs with and without them.

    python scripts/bench_checkpoints.py                      # three sizes, 5 rounds
    python scripts/bench_checkpoints.py --folder /mnt/disk   # on another disk

Each run trains for some seconds in a folder of its own. `often` asks for a checkpoint every millisecond, so that the budget alone
(sixty times the cost of the last one) holds it back: the worst case of trainer.checkpoint_every in seconds. `never` writes the one at
the end only. Prints the share of the time inside of writing, and the ratio of the seconds per step, as medians with quartiles.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import torch

from dnnlab.assembly import assemble
from dnnlab.build.device import threads
from dnnlab.checkpoints import Checkpoints, Timetable
from dnnlab.config.run import RunConfig
from dnnlab.runfolder import RunFolder
from dnnlab.stopping import Best
from dnnlab.tally import Tally


@dataclass(frozen=True)
class Size:
    """A network and its rows."""

    name: str
    data: dict[str, Any]
    hidden: list[int]
    batch: int
    epochs: int


SIZES = (
    Size("2000x30, 32-32 units", {"kind": "blobs", "rows": 2000, "features": 30, "classes": 2}, [32, 32], 32, 400),
    Size("20000x50, 128-128 units", {"kind": "blobs", "rows": 20_000, "features": 50, "classes": 2}, [128, 128], 256, 80),
    Size("20000x784, 1024-1024 units", {"kind": "blobs", "rows": 20_000, "features": 784, "classes": 10}, [1024, 1024], 512, 16),
)


def settings(size: Size, every: str) -> RunConfig:
    """The run's settings."""
    return RunConfig.model_validate(
        {
            "name": "bench",
            "data": {**size.data, "valid": 0.0, "test": 0.0},
            "model": {"kind": "mlp", "hidden": size.hidden},
            "activation": {"kind": "relu"},
            "initialization": {"kind": "auto"},
            "loss": {"kind": "auto"},
            "optimizer": {"kind": "adam"},
            "scheduler": {"kind": "constant"},
            "trainer": {"epochs": size.epochs, "batch_size": size.batch, "checkpoint_every": every},
        }
    )


def train(size: Size, every: str, root: Path) -> tuple[float, float, int]:
    """-> seconds of the whole course, seconds inside of writing, checkpoints written."""
    config = settings(size, every)
    parts = assemble(config)
    folder = RunFolder.create(root, "bench", config.model_dump(mode="json"))
    inside, count = 0.0, 0
    with threads(parts.ingredients.threads):
        checkpoints, tally = Checkpoints(folder, parts, {}), Tally(Best("train/loss", "min"))
        timetable = Timetable(parts.config.trainer.checkpoint_every, parts.trainer.batches.count, parts.trainer.pause_at)
        timetable.plan(0)
        began = perf_counter()
        for _ in parts.trainer:
            before, step = perf_counter(), parts.trainer.position.step
            if timetable.is_due(step):
                timetable.plan(step, cost=checkpoints.write(tally))
            took = perf_counter() - before
            inside += took
            count += took > 1e-3
        return perf_counter() - began, inside, count


def line(size: Size, rounds: int, root: Path) -> str:
    """One size, both ways in turn."""
    shares, ratios, counts, costs = [], [], [], []
    for number in range(rounds + 1):
        often, inside, count = train(size, "0.001s", root)
        never, _, _ = train(size, "1000000epochs", root)
        if number:  # the first round only warms up
            shares.append(100 * inside / often)
            ratios.append(often / never)
            counts.append(count)
            costs.append(1e3 * inside / max(count, 1))
    share, ratio = (f"{median(of):.3f} ({quantiles(of, n=4)[0]:.3f} to {quantiles(of, n=4)[-1]:.3f})" for of in (shares, ratios))
    return f"{size.name:30} {median(costs):7.1f} ms {median(counts):6.0f} {share:>26} {ratio:>26}"


def main() -> None:
    """Compare all sizes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="where run folders are made; default: the system's temporary folder")
    asked = parser.parse_args()
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {date.today()}, {asked.rounds} rounds")
    print(f"{'size':30} {'each':>10} {'count':>6} {'share of the time, %':>26} {'often / never':>26}")
    with tempfile.TemporaryDirectory(dir=asked.folder) as root:
        for size in SIZES:
            print(line(size, asked.rounds, Path(root)), flush=True)


if __name__ == "__main__":
    main()
