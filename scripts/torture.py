"""Does dnnlab keep what it promises? Runs are killed, asked to end, robbed of disk and power, damaged and forged, from outside.

    python scripts/torture.py kill --count 200                  # SIGKILL at any instant: the same bits
    python scripts/torture.py kill --count 200 --tmpdir /dev/shm
    python scripts/torture.py kill --count 10 --fresh           # a new interpreter for each process
    python scripts/torture.py steps --count 40                  # killed after each of 40 steps
    python scripts/torture.py signals --count 100               # SIGTERM, SIGINT, SIGHUP
    python scripts/torture.py diskfull --count 100              # no space after so many bytes
    python scripts/torture.py power --count 100                 # what was not synced is lost
    python scripts/torture.py bitflip --count 10000             # and a tenth as many truncations
    python scripts/torture.py fuzz --count 10000 --workers 2    # hostile run folders
    python scripts/torture.py sweeps --count 20                 # 40 jobs, three of which fail, killed: the same table
    python scripts/torture.py kill --break sampler              # a broken build, which must be noticed: exit code 1

Each prints its seed and its figures; exit code 1 where a law was broken. Processes are forked from one that has imported everything (on
systems that can fork), so that hundreds of runs take minutes.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from random import SystemRandom

from torturing.breaking import BREAKS
from torturing.common import Place, Tally, place

DEFAULTS = {"kill": 30, "steps": 40, "signals": 30, "diskfull": 40, "power": 40, "bitflip": 3000, "fuzz": 2000, "sweeps": 10}


def torture(what: str, ground: Place, count: int, workers: int) -> tuple[str, Tally]:
    """Do one kind of thing `count` times; -> a sentence of figures, and what was broken."""
    match what:
        case "kill":
            from torturing.kill import kill

            runs, tally = kill(ground, count)
            return f"{count} kills in {runs} runs, {tally.good} identical results", tally
        case "steps":
            from torturing.kill import steps

            tally = steps(ground, count)
            return f"resumed after each of {count} steps, {tally.good} identical results", tally
        case "signals":
            from torturing.signals import at_once, signals

            longest, tally = signals(ground, count)
            at_once(ground, tally)
            return f"{count} signals, {tally.good} right ends and identical results, at most {longest:.2f} s to end", tally
        case "diskfull":
            from torturing.diskfull import diskfull

            tally = diskfull(ground, count)
            return f"full at {count} offsets, {tally.good} times nothing was lost", tally
        case "power":
            from torturing.power import power

            tally = power(ground, count)
            return f"{tally.count} losses of power in {count} runs, {tally.good} identical results", tally
        case "sweeps":
            from torturing.sweeps import sweeps

            runs, tally = sweeps(ground, count)
            return f"{count} kills in {runs} sweeps, {tally.good} with the same table and the same bits", tally
        case "bitflip":
            from torturing.bitflip import bitflip

            found, tally = bitflip(ground, count)
            share = 100 * found.found / (found.flips + found.cuts)
            return (
                f"{found.flips:,} flips and {found.cuts:,} truncations, {found.found:,} found ({share:.3f} %); of predictions "
                f"{found.refused:,} were refused, {found.same:,} the same (of a file that they do not need), "
                f"{found.different} silently different",
                tally,
            )
        case _:
            from torturing.fuzz import fuzz

            ends, tally = fuzz(ground, count, workers)
            words = ", ".join(f"{end} {number:,}" for end, number in ends.most_common())
            kinds = {
                kind: sum(broken.startswith(kind) for broken in tally.failures) for kind in ("executed", "outside", "hung", "traceback")
            }
            return f"{tally.count:,} folders: {words}; " + ", ".join(f"{kind} {number}" for kind, number in kinds.items()), tally


def main(words: list[str]) -> int:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=DEFAULTS, help="one or several, on the same reference runs")
    parser.add_argument("--count", type=int, nargs="+", default=[], help="how often; one number for each")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--workers", type=int, default=2, help="processes of fuzz")
    parser.add_argument("--tmpdir", type=Path, default=None, help="another file system for TMPDIR of the runs")
    parser.add_argument("--root", type=Path, default=None, help="where the folders are made")
    parser.add_argument("--keep", action="store_true", help="keep the folders")
    parser.add_argument("--plain", action="store_true", help="runs without pictures: quicker")
    parser.add_argument("--fresh", action="store_true", help="begin a new interpreter for each process")
    parser.add_argument("--break", dest="broken", choices=BREAKS, default=None, help="torture a build that is broken on purpose")
    asked = parser.parse_args(words)
    if asked.count and len(asked.count) != len(asked.what):
        parser.error("--count takes one number for each kind")
    counts = asked.count or [DEFAULTS[what] for what in asked.what]
    seed = SystemRandom().randrange(2**32) if asked.seed is None else asked.seed
    print(f"seed {seed}, {platform.machine()}, {date.today()}", flush=True)
    broken = False
    with place(seed, asked.root, keep=asked.keep) as ground, tempfile.TemporaryDirectory(dir=asked.tmpdir) as temporary:
        ground.broken = BREAKS[asked.broken] if asked.broken else None
        ground.temporary, ground.fresh, ground.plain = Path(temporary), asked.fresh, asked.plain
        for what, count in zip(asked.what, counts, strict=True):
            began = time.monotonic()
            figures, tally = torture(what, ground, count, asked.workers)
            print(f"{what}: {figures}; {time.monotonic() - began:.0f} s", flush=True)
            broken = broken or bool(tally.failures)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
