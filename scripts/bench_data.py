"""What reading a table costs: dnnlab's reading room against polars' own read_csv, in alternating rounds.

    python scripts/bench_data.py                                  # 1,000,000 rows of 30 columns, 7 rounds
    python scripts/bench_data.py --rows 100000 --rounds 3         # quicker
    python scripts/bench_data.py --missing --quotes               # blank cells in every column; text columns in quotes

Both read the same CSV file (floats, whole numbers, five columns of text), which lies in the page cache, and copy the number columns into
torch tensors. polars' read_csv gives a frame and nothing else; dnnlab hashes the bytes, looks for short rows, stray bytes, padded
numbers and blanks around text. Prints medians, the ratio with its quartiles, and the rows per second of the stream in pieces.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
from collections.abc import Callable
from datetime import date
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import polars as pl
import torch
from torch import Tensor

from dnnlab.tables.reading import read
from dnnlab.tables.stream import stream

GOAL = 1.3
TEXTS = 5


def table(rows: int, columns: int, missing: bool) -> pl.DataFrame:
    """Half of the number columns floats, half whole numbers, then five of text."""
    random = np.random.default_rng(0)
    words = np.array(["alpha", "beta", "gamma, delta", "epsilon", "zeta"])
    numbers = max(0, columns - TEXTS)
    made: dict[str, pl.Series] = {}
    for column in range(numbers):
        floats = column < (numbers + 1) // 2
        made[f"x{column}"] = pl.Series(random.normal(size=rows).round(6) if floats else random.integers(0, 100_000, rows))
    for column in range(columns - numbers):
        made[f"t{column}"] = pl.Series(words[random.integers(0, len(words), rows)])
    frame = pl.DataFrame(made)
    if not missing:
        return frame
    present = {name: pl.Series(random.random(rows) > 0.05) for name in frame.columns}
    return frame.with_columns(pl.when(present[name]).then(pl.col(name)).alias(name) for name in frame.columns)


def copied(frame: pl.DataFrame) -> list[Tensor]:
    """The number columns as tensors of their own."""
    return [torch.from_numpy(frame[name].to_numpy().copy()) for name, kind in frame.schema.items() if kind.is_numeric()]


def by_polars(path: Path) -> None:
    """polars' own reading."""
    copied(pl.read_csv(path))


def by_dnnlab(path: Path) -> None:
    """The reading room."""
    copied(read(str(path)).frame)


def seconds(run: Callable[[Path], None], path: Path) -> float:
    """How long it takes once."""
    began = perf_counter()
    run(path)
    return perf_counter() - began


def in_pieces(path: Path) -> float:
    """Rows per second of the stream."""
    began = perf_counter()
    rows = sum(frame.height for frame in stream(str(path)))
    return rows / (perf_counter() - began)


def main() -> None:
    """Write the file, alternate the two, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--missing", action="store_true", help="one cell of twenty is empty, in every column")
    parser.add_argument("--quotes", action="store_true", help="text columns are written in quotes")
    parser.add_argument("--json", type=Path, default=None)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        frame = table(asked.rows, asked.columns, asked.missing)
        frame.write_csv(path, quote_style="non_numeric" if asked.quotes else "necessary")
        del frame
        size = path.stat().st_size
        print(
            f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, polars {pl.__version__}, "
            f"torch {torch.__version__}, {date.today()}"
        )
        print(
            f"{asked.rows:,} rows, {asked.columns} columns, {size / 1e6:,.0f} MB, n = {asked.rounds} rounds (started at {before >> 10} MiB)"
        )
        times: dict[str, list[float]] = {"polars": [], "dnnlab": []}
        for number in range(asked.rounds + 1):
            for name, run in (("polars", by_polars), ("dnnlab", by_dnnlab)):
                took = seconds(run, path)
                if number:  # the first round only warms up
                    times[name].append(took)
        rates = [in_pieces(path) for _ in range(min(3, asked.rounds))]
    ratios = [own / theirs for own, theirs in zip(times["dnnlab"], times["polars"], strict=True)]
    spread = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    result = {
        "polars_s": median(times["polars"]),
        "dnnlab_s": median(times["dnnlab"]),
        "ratio": median(ratios),
        "ratio_quartiles": [spread[0], spread[-1]],
        "goal": GOAL,
        "stream_rows_per_s": median(rates),
        "bytes": size,
        "rounds": asked.rounds,
    }
    print(f"polars {result['polars_s']:.3f} s · dnnlab {result['dnnlab_s']:.3f} s")
    print(f"ratio {result['ratio']:.3f} ({spread[0]:.3f} to {spread[-1]:.3f}), goal {GOAL}")
    print(f"stream {result['stream_rows_per_s']:,.0f} rows/s")
    if asked.json is not None:
        asked.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
