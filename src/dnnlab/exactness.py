"""On what the bits of a result depend beside its settings, and why a continuation cannot be promised to have them."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dnnlab import provenance

PACKAGES = ("dnnlab", "torch", "numpy", "scikit-learn", "polars")
VARIABLES = ("MKL_CBWR", "ATEN_CPU_CAPABILITY")


def environment(threads: int, device: str, *, stacked: bool = False) -> dict[str, Any]:
    """Threads, device, processor, versions and what else the last bits depend on; JSON-able. stacked: trained as a member of a stack."""
    import torch

    versions = provenance.versions()
    told: dict[str, Any] = {"threads": threads, "device": device, "capability": torch.backends.cpu.get_cpu_capability()}
    told |= {"processor": _processor(), "machine": platform.machine(), "system": platform.system()}
    told |= {"python": ".".join(platform.python_version_tuple()[:2])}
    told |= {name: versions.get(name, "unknown") for name in PACKAGES}
    told |= {"stacked": "yes"} if stacked else {}
    return told | {name: os.environ.get(name, "") for name in VARIABLES}


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Why a run that began `then` cannot be promised its bits `now`; nothing where it can.

    >>> differences({"torch": "2.13.0", "device": "cpu"}, {"torch": "2.14.0", "device": "cpu"})
    ['torch is 2.14.0, was 2.13.0']
    >>> differences({"device": "cuda"}, {"device": "cuda"})
    ['cuda does not promise equal bits']
    """
    names = [name for name in dict.fromkeys((*now, *then)) if now.get(name) != then.get(name)]
    told = [f"{name} is {now.get(name) or 'not set'}, was {then.get(name) or 'not set'}" for name in names]
    return told + [f"{now['device']} does not promise equal bits"] * (not str(now.get("device", "cpu")).startswith("cpu"))


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
