"""How many jobs of a sweep are done: read at the door, and no part of any job's own settings."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dnnlab.config.base import Settings


class Halving(Settings):
    """End the worse jobs of a stack early (successive halving)."""

    eta: Annotated[int, Field(ge=2, le=100)] | None = None
    """One of so many jobs goes on at each rung, to the next rung, so many times as far; null: no halving."""
    least: Annotated[int, Field(ge=1)] = 1
    """Epochs before the first rung."""
    brackets: Annotated[int, Field(ge=1, le=10)] = 1
    """Groups of jobs whose first rungs come ever later (Hyperband)."""


class Sweep(Settings):
    """What holds for a sweep as a whole."""

    name: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """Name: the sweep stands in outputs/sweeps/NAME, and the same command continues it; null: a folder with date and time, done once."""
    retries: Annotated[int, Field(ge=0, le=100)] = 1
    """How often a job that failed is tried again when a named sweep is continued (one that diverged would do so again)."""
    max_failures: Annotated[int, Field(ge=1)] | None = None
    """Begin no further job after so many have failed; null: all are tried."""
    same_failures: Annotated[int, Field(ge=1)] | None = 5
    """Begin no further job when the first so many all failed by one and the same error; null: all are tried."""
    extend: bool = False
    """Let a named sweep grow by the jobs that the command line asks for now."""
    zip: Annotated[list[str], Field(max_length=100)] = []
    """Settings that go through their values together, [optimizer.lr,trainer.epochs]: the first with the first, and so on."""
    halving: Halving = Halving()
    """End the worse jobs of a stack early."""
    jobs: str | None = None
    """A CSV file whose every row is a job and whose columns are named like settings; null: the command line says all."""
