"""Small versions of scripts/torture.py, and that it notices builds that are broken on purpose."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="the runs are forked")]


def torture(*words: str) -> tuple[int, str]:
    """-> the exit code, and what was printed."""
    command = [sys.executable, str(ROOT / "scripts" / "torture.py"), *words, "--seed", "7", "--plain"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    return done.returncode, done.stdout + done.stderr


KINDS = {
    "kill": (5, r"5 kills in (\d+) runs, \1 identical results"),
    "steps": (3, r"resumed after each of 3 steps, 3 identical results"),
    "signals": (3, r"3 signals, 3 right ends and identical results"),
    "diskfull": (4, r"full at 4 offsets, 4 times nothing was lost"),
    "power": (4, r"\d losses of power in 4 runs, 4 identical results"),
    "bitflip": (200, r"200 flips and 20 truncations, 220 found \(100\.000 %\); .* 0 silently different"),
    "sweeps": (2, r"2 kills in (\d) sweeps, \1 with the same table and the same bits"),
    "fuzz": (150, r"150 folders: .*; executed 0, outside 0, hung 0, traceback 0"),
}


def test_a_sound_build_stands_everything() -> None:
    code, said = torture(*KINDS, "--count", *(str(count) for count, _ in KINDS.values()))
    assert code == 0, said
    for _, told in KINDS.values():
        assert re.search(told, said), said


@pytest.mark.parametrize(
    ("broken", "words", "noticed"),
    [
        ("sampler", ("steps", "--count", "1"), "not identical: "),
        ("fsync", ("power", "--count", "2"), "BROKEN: power "),
        ("rename", ("power", "--count", "2"), "BROKEN: power "),
        ("table", ("fuzz", "--count", "200"), "BROKEN: executed: "),
    ],
)
def test_a_build_that_is_broken_on_purpose_is_noticed(broken: str, words: tuple[str, ...], noticed: str) -> None:
    code, said = torture(*words, "--break", broken)
    assert code == 1, said
    assert noticed in said
