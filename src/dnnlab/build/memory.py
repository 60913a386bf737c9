"""How much memory is free."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch


def free_memory(device: torch.device) -> int:
    """Free memory of a device, in bytes; where the system does not tell, more than anybody asks for."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:  # what the system keeps of files counts as free: it gives it back
        found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"), re.MULTILINE)
        return int(found[1]) * 1024 if found else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (ValueError, OSError):  # not every system tells
        return 2**63
