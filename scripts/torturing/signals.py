"""SIGTERM, SIGINT and SIGHUP at random instants of training: the right exit code, a checkpoint, and an identical result after resuming."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

from torturing.common import Place, Tally, differing, identity, said_by, wait

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PATIENCE = 5.0  # seconds from the signal to the end
MORE = ("trainer.epochs=80", "trainer.checkpoint_every=30s")  # it is the signal that makes the checkpoint


def signals(place: Place, count: int) -> tuple[float, Tally]:
    """-> the longest time from a signal to the end, and what was broken. Every tenth child is stopped and continued first (T7)."""
    place.more, tally, longest = MORE, Tally(), 0.0  # longer than others
    reference = place.reference(0)
    for number in range(count):
        folder, sent = place.root / f"signal{number}", SIGNALS[number % len(SIGNALS)]
        code, seconds = _asked(place, folder, sent, halted=number % 10 == 0)
        longest, tally.count = max(longest, seconds), tally.count + 1
        if code not in (128 + sent, 0):  # 0: it came when all was done
            tally.fail(f"{sent.name}: exit code {code}: {said_by(folder)[-800:]}")
        elif seconds > PATIENCE:
            tally.fail(f"{sent.name}: it took {seconds:.1f} s to end")
        elif not list(folder.glob("checkpoints/step-*/checkpoint.json")):
            tally.fail(f"{sent.name}: there is no checkpoint")
        elif (again := wait(place.begin(0, folder))) != 0:
            tally.fail(f"{sent.name}: resuming ended with {again}: {said_by(folder)[-800:]}")
        elif found := differing(identity(folder), reference):
            tally.fail(f"{sent.name}: not identical: {', '.join(found)}")
        else:
            tally.good += 1
            shutil.rmtree(folder)
    place.more = ()
    return longest, tally


def _asked(place: Place, folder: Path, sent: signal.Signals, *, halted: bool) -> tuple[int, float]:
    """A run that is asked to end while it trains; -> its exit code, and seconds that it took."""
    pid = place.begin(0, folder)
    while not (folder / "metrics.jsonl").exists():  # training has begun
        time.sleep(0.0005)
    time.sleep(place.random.uniform(0, 0.2))
    if halted:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.05)
        os.kill(pid, signal.SIGCONT)
    began = time.monotonic()
    os.kill(pid, sent)
    return wait(pid), time.monotonic() - began


def at_once(place: Place, tally: Tally) -> None:
    """A second signal ends a run at once, even where the first one waits for a step that takes a minute."""
    folder, began = place.root / "twice", time.monotonic()
    pid = place.begin(0, folder, before=_slow_steps)
    while "a slow step" not in said_by(folder):
        time.sleep(0.001)
    os.kill(pid, signal.SIGTERM)
    time.sleep(0.2)
    os.kill(pid, signal.SIGTERM)
    code, seconds = wait(pid), time.monotonic() - began
    tally.count += 1
    if code != 128 + signal.SIGTERM or seconds > 30:
        tally.fail(f"a second signal: exit code {code} after {seconds:.1f} s")


def _slow_steps() -> None:
    """In a child: every step takes a minute."""
    from dnnlab.learner import Solo

    def slow(self: Solo, *args: object) -> None:
        print("a slow step", flush=True)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            time.sleep(0.01)

    Solo.step = slow  # type: ignore[method-assign, assignment]
