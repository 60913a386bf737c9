"""A sweep of 40 jobs, three of which fail, killed again and again: the same command goes on, to the same table and the same bits."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from dnnlab.errors import DnnlabError
from torturing.common import Place, Tally, differing, identity, wait

WORDS = (
    "train", "-m", "sweep.jobs=jobs.csv", "data=iris", "model.hidden=[8]", "trainer.epochs=40", "trainer.early_stopping.patience=12",
    "trainer.checkpoint_every=20steps", "threads=1", "logger.progress=false",
)  # fmt: skip
FAILING = (5, 17, 30)  # jobs whose rate is beyond all numbers
JOBS = 40


def sweeps(place: Place, count: int) -> tuple[int, Tally]:
    """`count` kills over as many sweeps as that takes: -> the sweeps, and what was broken."""
    _write_jobs(place.root / "jobs.csv")
    tally, kills, number = Tally(), 0, 0
    began = time.monotonic()
    _end(place, "reference", place.begin_sweep(WORDS, "reference"), tally)
    seconds = time.monotonic() - began
    reference = place.root / "outputs" / "sweeps" / "reference"
    while kills < count:
        name = f"study{number}"
        code = None
        while code is None:
            pid = place.begin_sweep(WORDS, name)
            if kills < count:
                time.sleep(place.random.uniform(0, seconds))
                os.kill(pid, signal.SIGKILL)
                kills += 1
            code = wait(pid)
            code = None if code == 128 + signal.SIGKILL else code
        tally.count += 1
        folder = place.root / "outputs" / "sweeps" / name
        if code != 9:
            tally.fail(f"{name}: exit code {code}")
        elif found := _differing(reference, folder):
            tally.fail(f"{name}: not identical: {', '.join(found[:5])}")
        else:
            tally.good += 1
        number += 1
    return number, tally


def _end(place: Place, name: str, pid: int, tally: Tally) -> None:
    if wait(pid) != 9:
        raise RuntimeError((place.root / f"{name}.txt").read_text(encoding="utf-8"))
    lines = _table(place.root / "outputs" / "sweeps" / name).splitlines()[1:]
    lost = [place for place, line in enumerate(lines) if "diverged" in line]
    if lost != list(FAILING) or len(lines) != JOBS:
        tally.fail(f"the sweep that nobody killed: {len(lines)} jobs, of which {lost} diverged")


def _table(folder: Path) -> str:
    return (folder / "results.csv").read_text(encoding="utf-8")


def _differing(one: Path, other: Path) -> list[str]:
    """The names of what is not the same in two sweeps."""
    found = ["results.csv"] * (_table(one) != _table(other))
    numbers = [sorted(path.name for path in sweep.iterdir() if path.name.isdecimal()) for sweep in (one, other)]
    found += ["the jobs"] * (numbers[0] != numbers[1])
    for number in numbers[0]:
        try:
            found += [f"{number}/{name}" for name in differing(identity(one / number), identity(other / number))]
        except DnnlabError as error:
            found.append(f"{number}: {error}")
    return found


def _write_jobs(path: Path) -> None:
    lines = ["optimizer,optimizer.lr,regularization.dropout,seed"]
    for job in range(JOBS):
        rule = "lbfgs" if job % 10 == 3 else "adam"
        rate = 3e37 if job in FAILING else (0.01, 0.003)[job % 2]
        lines.append(f"{rule},{rate},{(0, 0.2)[job // 2 % 2]},{job // 4}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
