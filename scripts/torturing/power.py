"""Power is lost at a random instant: what was not brought to the disk is gone, renames that were not are undone or not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from torturing.common import Place, Tally, differing, identity, said_by, wait

LOST = 77  # exit code of a child whose power is gone


class Disk:
    """What a disk would still hold: bytes that were synced, under names whose folder was synced since."""

    def __init__(self, root: Path, events: int, random: Random) -> None:
        self.root, self.left, self.random = root, events, random
        self.synced: dict[int, int] = {}  # by inode: bytes that are safe
        self.loose: dict[Path, bytes | None] = {}  # names not yet safe: what stood there before
        self._sync, self._replace = os.fsync, Path.replace

    def watch(self) -> None:
        """From now on, every fsync and rename of this process passes here."""
        disk = self

        def replace(path: Path, target: Any) -> Path:
            place = Path(target).absolute()
            disk.loose.setdefault(place, place.read_bytes() if place.exists() else None)
            made = disk._replace(path, target)
            disk.event()
            return made

        os.fsync = disk.fsync  # type: ignore[assignment]
        Path.replace = replace  # type: ignore[method-assign, assignment]

    def fsync(self, handle: int) -> None:
        """A file's bytes, or a folder's names, are safe now."""
        self._sync(handle)
        status = os.fstat(handle)
        self.synced[status.st_ino] = status.st_size
        place = Path(f"/proc/self/fd/{handle}").readlink()
        if place.is_dir():
            self.loose = {name: before for name, before in self.loose.items() if name.parent != place}
        self.event()

    def event(self) -> None:
        """Count, and lose the power when the count is over."""
        self.left -= 1
        if self.left == 0:
            self.lose()

    def lose(self) -> None:
        """Leave in the folder what a disk would hold, and die."""
        undone = {place: before for place, before in self.loose.items() if self.random.random() < 0.5}
        for place, before in undone.items():
            place.unlink() if before is None else place.write_bytes(before)
        for path in self.root.rglob("*"):
            if path.is_file() and path not in undone and path.name != "lock":
                os.truncate(path, min(path.stat().st_size, self.synced.get(path.stat().st_ino, 0)))
        os._exit(LOST)


def power(place: Place, count: int) -> Tally:
    """`count` runs that lose their power once, at a random event of the disk, and go on."""
    tally = Tally()
    for number in range(count):
        kind, folder = number, place.root / f"power{number}"
        reference = place.reference(kind)
        events, seed = place.random.randint(1, 200), place.random.getrandbits(32)
        code = wait(place.begin(kind, folder, before=_watched(folder, events, seed)))
        tally.count += code == LOST
        again = wait(place.begin(kind, folder)) if code == LOST else code
        if again != 0:
            tally.fail(f"power {number}: exit code {again}: {said_by(folder)[-800:]}")
        elif found := differing(identity(folder), reference):
            tally.fail(f"power {number}: not identical: {', '.join(found)}")
        else:
            tally.good += 1
            shutil.rmtree(folder)
    return tally


def _watched(folder: Path, events: int, seed: int) -> Callable[[], None]:
    return lambda: Disk(folder, events, Random(seed)).watch()
