"""Whether a stack pays: a few steps of each way are taken on copies of the members, and what all steps would take is compared."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch

from dnnlab.assembly import Parts, assemble
from dnnlab.build.device import find_device, threads
from dnnlab.build.rows import Shelf
from dnnlab.config.request import Request
from dnnlab.population.batches import StackedBatches
from dnnlab.population.trainer import StackedTrainer

START = 5.0  # seconds until a process of its own has imported torch and read its rows
STEPS = 7  # that are timed
LONGEST = 2.0  # seconds for the steps of one way


@dataclass(frozen=True)
class Estimate:
    """Seconds that all steps of a group would take, each way."""

    stack: float
    sequence: float
    processes: float

    @property
    def best(self) -> str:
        """stack, processes or sequence.

        >>> Estimate(stack=9.0, sequence=8.0, processes=4.0).best
        'processes'
        """
        found = {"stack": self.stack, "processes": self.processes, "sequence": self.sequence}
        return min(found, key=lambda way: found[way])

    def told(self, count: int) -> str:
        """For a person.

        >>> Estimate(stack=9.0, sequence=8.0, processes=4.0).told(4)
        'steps of 4 jobs: about 9 s as one stack, 4 s in processes, 8 s one after the other'
        """
        words = f"{self.stack:.2g} s as one stack, {self.processes:.2g} s in processes, {self.sequence:.2g} s one after the other"
        return f"steps of {count} jobs: about {words}"


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def slots(device: torch.device) -> list[dict[str, str]]:
    """What each process at a time has in its environment: one for every core, or for every GPU that can be seen.

    >>> len(slots(torch.device("cpu"))) == cores(), slots(torch.device("cuda:1"))
    (True, [{}])
    """
    if device.type == "cpu":
        return [{} for _ in range(cores())]
    count = torch.cuda.device_count() if device.type == "cuda" and device.index is None else 1
    seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name] or [str(number) for number in range(count)]
    return [{"CUDA_VISIBLE_DEVICES": name} for name in seen[:count]] if count > 1 else [{}]


def pays(seconds: float, count: int, some: int) -> bool:
    """Whether `some` processes of their own pay for so many jobs that take so many seconds each.

    >>> pays(0.1, 4, some=2), pays(60.0, 4, some=2), pays(60.0, 4, some=1)
    (False, True, False)
    """
    some = min(some, count)
    return some > 1 and START + seconds * -(-count // some) < seconds * count


def estimate(requests: Sequence[Request], shelf: Shelf, stack_threads: int) -> Estimate:
    """Time a few steps of each way. ValueError where the runs cannot be one stack. shelf: the rows that were read already."""
    trial = [assemble(request.config, request.trusted, frame=request.frame, shelf=shelf) for request in requests]
    first = trial[0]
    steps = first.config.trainer.epochs * first.ingredients.batches.count
    with threads(first.ingredients.threads):
        alone = _of_solo(first)
    with threads(1):
        single = alone if first.ingredients.threads == 1 else _of_solo(first)
    with threads(stack_threads):
        together = _of_stack(trial)
    count, some = len(requests), min(len(slots(find_device(first.config.device))), len(requests))
    waves = -(-count // some)
    return Estimate(steps * together, steps * count * alone, START + steps * waves * single if some > 1 else float("inf"))


@torch.no_grad()
def _of_solo(parts: Parts) -> float:
    batches, learner, loss = parts.trainer.batches, parts.learner, parts.rows.train.x.new_zeros(())
    x, target = next(iter(batches(parts.trainer.order())))
    return _timed(lambda: learner.step(x, target, 0, 1e-9, loss))


@torch.no_grad()
def _of_stack(trial: Sequence[Parts]) -> float:
    trainer = StackedTrainer([parts.trainer for parts in trial], [parts.learner for parts in trial], lambda population, members: {})
    batches = StackedBatches([parts.trainer.batches for parts in trial])
    x, target = next(iter(batches([parts.trainer.order() for parts in trial])))
    rates = torch.full((len(trial), 1), 1e-9, dtype=torch.float64, device=x.device)
    loss = x.new_zeros(len(trial))
    return _timed(lambda: trainer.population.step(x, target, 0, rates, loss))


def _timed(step: Callable[[], object]) -> float:
    """The median of a few steps, in seconds, after one that warms up."""
    step()
    took: list[float] = []
    end = perf_counter() + LONGEST
    while len(took) < STEPS and (len(took) < 2 or perf_counter() < end):
        began = perf_counter()
        step()
        took.append(perf_counter() - began)
    return median(took)
