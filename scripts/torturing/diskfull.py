"""The disk is full after a number of bytes: exit code 5, what was finished is whole, and the run goes on once there is space."""

from __future__ import annotations

import builtins
import io
import os
import shutil
from collections.abc import Callable
from errno import ENOSPC
from pathlib import Path
from typing import Any

from torturing.common import Place, Tally, differing, identity, said_by, wait

RESOURCES = 5


class Quota:
    """Bytes that may still be written below a folder."""

    def __init__(self, root: Path, left: int) -> None:
        self.root, self.left, self.written = root.absolute(), left, 0

    def enforce(self) -> None:
        """From now on, every file that this process opens for writing below the folder counts its bytes, as a file system would."""
        plain, quota = io.open, self

        def opened(file: Any, mode: str = "r", buffering: int = -1, *args: Any, **named: Any) -> Any:
            writes = isinstance(file, str | os.PathLike) and any(letter in mode for letter in "wxa+")
            if not writes or not Path(file).absolute().is_relative_to(quota.root):
                return plain(file, mode, buffering, *args, **named)
            raw = Metered(file, mode.replace("b", "").replace("t", ""), quota)
            if buffering == 0:
                return raw
            stream = io.BufferedWriter(raw) if "+" not in mode else io.BufferedRandom(raw)
            return stream if "b" in mode else io.TextIOWrapper(stream, named.get("encoding") or "utf-8", write_through=True)

        io.open = builtins.open = opened  # type: ignore[assignment]


class Metered(io.FileIO):
    """A file whose writes are short, and then refused, when the quota is used up."""

    def __init__(self, file: Any, mode: str, quota: Quota) -> None:
        super().__init__(file, mode)
        self._quota = quota

    def write(self, content: Any) -> int:
        """As the system's call does it: what still fits is written."""
        view = memoryview(content).cast("B")
        if len(view) > self._quota.left:
            if self._quota.left == 0:
                raise OSError(ENOSPC, os.strerror(ENOSPC))
            view = view[: self._quota.left]
        written = super().write(view) or 0
        self._quota.left -= written
        self._quota.written += written
        return written


def diskfull(place: Place, count: int) -> Tally:
    """At `count` offsets of all the bytes that a run writes."""
    tally = Tally()
    total: dict[int, int] = {}
    for number in range(count):
        kind, folder = number % 2 * 3, place.root / f"full{number}"  # without and with a table
        reference = place.reference(kind)
        if kind not in total:
            total[kind] = _bytes_of(place, kind)
        offset = int(total[kind] * (number + place.random.random()) / count)
        code = wait(place.begin(kind, folder, before=_limited(folder, offset)))
        tally.count += 1
        said = said_by(folder)
        if code != RESOURCES or "No space left on device" not in said or "Traceback" in said:
            tally.fail(f"full after {offset:,} bytes: exit code {code}: {said[-800:]}")
            continue
        _judge(place, tally, kind, folder, offset, reference)
    return tally


def _judge(place: Place, tally: Tally, kind: int, folder: Path, offset: int, reference: dict[str, Any]) -> None:
    from dnnlab.runfolder import has_begun
    from dnnlab.verify import verify

    if has_begun(folder) and (faults := verify(folder, files_only=True).faults):
        tally.fail(f"full after {offset:,} bytes: {'; '.join(faults)}")
    code = wait(place.begin(kind, folder))
    if code != 0:
        tally.fail(f"full after {offset:,} bytes: going on ended with {code}: {said_by(folder)[-800:]}")
    elif found := differing(identity(folder), reference):
        tally.fail(f"full after {offset:,} bytes: not identical: {', '.join(found)}")
    else:
        tally.good += 1
        shutil.rmtree(folder)


def _bytes_of(place: Place, kind: int) -> int:
    """All that a run writes."""
    folder, told = place.root / f"measured{kind}", place.root / f"bytes{kind}"
    quota = Quota(folder, 2**62)

    def measured() -> None:
        quota.enforce()
        real = os._exit

        def leave(code: int) -> None:
            told.write_text(str(quota.written), encoding="utf-8")
            real(code)

        os._exit = leave  # type: ignore[assignment]

    wait(place.begin(kind, folder, before=measured))
    return int(told.read_text(encoding="utf-8"))


def _limited(folder: Path, offset: int) -> Callable[[], None]:
    return lambda: Quota(folder, offset).enforce()
