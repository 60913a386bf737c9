"""Where a run computes: the device that was asked for, its numbers and its threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from dnnlab.errors import ConfigError

SMALL = 2_000_000  # multiply-adds of a product below which a second thread costs more than it brings (measured on 2 cores)


def find_device(asked: str) -> torch.device:
    """The device by its name; one that is not there is an error, never replaced silently.

    >>> find_device("cpu")
    device(type='cpu')
    """
    cuda, mps = torch.cuda.device_count(), torch.backends.mps.is_available()
    if asked == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    device = torch.device(asked)
    there = {"cpu": 1, "cuda": cuda, "mps": int(mps)}[device.type]
    if (device.index or 0) >= there:
        present = ["cpu", *(f"cuda:{index}" for index in range(cuda)), *(["mps"] if mps else [])]
        raise ConfigError(
            f"device must be one that is present, however: {asked}", where="device", fix=f"Try device=auto; present: {', '.join(present)}"
        )
    return device


def find_dtype(precision: str, device: torch.device) -> tuple[torch.dtype, torch.dtype | None]:
    """-> the type of the weights, and that of autocast where it is on."""
    if precision in ("bf16", "fp16"):
        if device.type != "cuda":
            raise ConfigError(
                f"precision={precision} must stand with a CUDA device, however: device={device}",
                where="precision, device",
                fix="Try precision=float32",
            )
        return torch.float32, torch.bfloat16 if precision == "bf16" else torch.float16
    if precision == "float64" and device.type == "mps":
        raise ConfigError(
            "precision=float64 must stand with cpu or cuda, however: device=mps", where="precision, device", fix="Try device=cpu"
        )
    return (torch.float64 if precision == "float64" else torch.float32), None


def thread_count(asked: int | str, work: int) -> int:
    """CPU threads for a run. work: multiply-adds of the largest product in a step.

    Many small products gain little from a second thread, and lose much where another process wants the same core.

    >>> thread_count(3, 10), thread_count("auto", 10)
    (3, 1)
    """
    if isinstance(asked, int):
        return asked
    return 1 if work < SMALL else max(1, torch.get_num_threads())


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Within, torch computes with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
