"""SIGKILL at any instant, again and again, also while a run goes on: the result has the bits of a run that was never killed."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

from torturing.common import Place, Tally, differing, identity, left_over, said_by, wait

AIMS = (
    ".state.safetensors.", "checkpoint.json", ".manifest.json.", ".run.json.", "metrics.jsonl", ".best.safetensors.", "encoder.json",
    ".png",
)  # fmt: skip
"""Parts of file names: half of the kills fall when such a file has just appeared."""


def kill(place: Place, count: int) -> tuple[int, Tally]:
    """`count` kills over as many runs as that takes; -> the runs, and what was broken."""
    tally, kills, runs, outside = Tally(), 0, 0, set[str]()
    while kills < count:
        kind, folder = runs, place.root / f"run{runs}"
        reference = place.reference(kind)
        seconds = place.seconds[place.words(kind)]
        for attempt in range(50):
            pid = place.begin(kind, folder)
            if kills < count and (attempt == 0 or place.random.random() < 0.6):
                kills += _killed(pid, folder, seconds, place, outside)
            code = wait(pid)
            if code != 128 + signal.SIGKILL:
                break
            if len(left_over(folder)) > 1:
                tally.fail(f"run {runs}: more than one temporary file: {left_over(folder)}")
        _judge(place, tally, runs, folder, reference, code)
        runs += 1
    for name in sorted(outside)[:3]:
        tally.fail(f"a file outside of the folder: {name}")
    return runs, tally


def _killed(pid: int, folder: Path, seconds: float, place: Place, outside: set[str]) -> int:
    """Kill at a random instant of the life that it would have, or when a file appears; -> whether it was still alive."""
    until = time.monotonic() + place.random.uniform(0, seconds)
    aim = place.random.choice((*AIMS, *[""] * len(AIMS)))
    seen = set(_names(folder))
    while time.monotonic() < until:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return 0
        if place.temporary is not None:
            outside.update(_names(place.temporary))  # whatever flashes up there is seen sooner or later
        if aim and any(aim in name for name in _names(folder) if name not in seen):
            break
        time.sleep(0.0005)
    os.kill(pid, signal.SIGKILL)
    return 1


def _names(folder: Path) -> list[str]:
    return [f"{where}/{name}" for where, _, names in os.walk(folder) for name in names]


def _judge(place: Place, tally: Tally, number: int, folder: Path, reference: dict[str, object], code: int) -> None:
    tally.count += 1
    if code != 0:
        tally.fail(f"run {number}: exit code {code}: {said_by(folder)[-800:]}")
    elif found := differing(identity(folder), reference):
        tally.fail(f"run {number}: not identical: {', '.join(found)}")
    elif left := left_over(folder):
        tally.fail(f"run {number}: left behind: {', '.join(left)}")
    else:
        tally.good += 1
        shutil.rmtree(folder)


def steps(place: Place, count: int) -> Tally:
    """Killed after the checkpoint of each of `count` steps of the first kind (which has 42)."""
    tally = Tally()
    reference = place.reference(0)
    for step in range(1, count + 1):
        folder = place.root / f"step{step}"
        code = wait(place.begin(0, folder, before=lambda step=step: _die_after(step)))  # type: ignore[misc]
        if code != 128 + signal.SIGKILL:
            tally.fail(f"step {step}: the run ended before: exit code {code}: {said_by(folder)[-800:]}")
            continue
        _judge(place, tally, step, folder, reference, wait(place.begin(0, folder)))
    return tally


def _die_after(step: int) -> None:
    """In a child: SIGKILL as soon as the checkpoint of a step is written."""
    from dnnlab.checkpoints import Checkpoints

    write = Checkpoints.write

    def last(self: Checkpoints, tally: object) -> None:
        write(self, tally)  # type: ignore[arg-type]
        if self.trainer.position.step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    Checkpoints.write = last  # type: ignore[method-assign]
