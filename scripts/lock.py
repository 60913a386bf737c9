"""Pin what dnnlab is tested with, with the hash of every file: requirements.lock.

    python -m pip install --dry-run --ignore-installed --quiet --report report.json -c constraints.txt '.[dev]'
    python scripts/lock.py report.json > requirements.lock

torch is left out: each machine has a build of its own (CPU, CUDA, ROCm), and each build its own hash.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import Any

LEFT_OUT = ("dnnlab", "torch")
HEAD = """\
# Every package that dnnlab is tested with, and the hash of its file: {python}, {system} {machine}; made by scripts/lock.py.
# torch has other files for other machines and is not among them; install the one for yours, in the version of constraints.txt, first.
# pip install --require-hashes --no-deps -r requirements.lock
"""


def locked(report: dict[str, Any]) -> str:
    """The lines of the lock, from what pip says that it would install; KeyError where a file has no hash."""
    found: dict[str, str] = {}
    for entry in report["install"]:
        name, version = entry["metadata"]["name"], entry["metadata"]["version"]
        if name not in LEFT_OUT:
            found[name.lower().replace("_", "-")] = (
                f"{name}=={version} --hash=sha256:{entry['download_info']['archive_info']['hashes']['sha256']}"
            )
    head = HEAD.format(python=f"Python {sys.version_info[0]}.{sys.version_info[1]}", system=platform.system(), machine=platform.machine())
    return head + "\n".join(found[name] for name in sorted(found)) + "\n"


if __name__ == "__main__":
    print(locked(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), end="")
