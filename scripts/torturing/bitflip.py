"""One bit of a file flipped, or its end cut off: found and named, or it changed nothing that anybody could see."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from functools import partial
from math import inf
from pathlib import Path
from random import Random
from typing import Any

import polars as pl

from dnnlab.errors import DnnlabError
from dnnlab.predictor import load
from dnnlab.runfolder import RunFolder
from dnnlab.verify import verify
from torturing.common import Place, Tally, apart, said_by, wait


@dataclass
class Found:
    """What became of the damages."""

    flips: int = 0
    cuts: int = 0
    found: int = 0  # by `dnnlab verify`, with the file's name
    refused: int = 0  # by `dnnlab predict`
    same: int = 0  # predictions that were made and are those of the whole folder
    different: int = 0  # silently


def bitflip(place: Place, count: int) -> tuple[Found, Tally]:
    """`count` flips and a tenth as many cuts over all files of a run whose bytes count."""
    folder, told = place.root / "flipped", place.root / "flipped.json"
    if wait(place.begin(3, folder, "logger.tensorboard=false")) != 0:
        raise RuntimeError(said_by(folder))
    if wait(apart(partial(_work, place, folder, count), told), inf) != 0:
        raise RuntimeError("the process that damages died")
    result = json.loads(told.read_text(encoding="utf-8"))
    shutil.rmtree(folder)
    return Found(**result["found"]), Tally(**result["tally"])


def _work(place: Place, folder: Path, count: int) -> dict[str, Any]:
    tally, found = Tally(), Found()
    rows = pl.read_csv(place.root / "rows.csv")
    answers = load(folder).predict(rows, proba=True)
    names = sorted({*RunFolder.open(folder).files(), "manifest.json"})
    wholes = {name: (folder / name).read_bytes() for name in names}
    for number in range(count + count // 10):
        name = place.random.choice(names)
        cut = number >= count
        (folder / name).write_bytes(damaged(wholes[name], place.random, cut=cut))
        found.flips, found.cuts, tally.count = found.flips + (not cut), found.cuts + cut, tally.count + 1
        faults = _faults(folder)
        if any(name in fault for fault in faults):
            found.found += 1
        else:
            tally.fail(f"{'cut' if cut else 'flip'} in {name}: not found")
        _predict(folder, rows, answers, found, tally, name)
        (folder / name).write_bytes(wholes[name])
    return {"found": asdict(found), "tally": asdict(tally)}


def damaged(whole: bytes, random: Random, *, cut: bool) -> bytes:
    """The bytes with one bit changed, or without their end."""
    if cut:
        return whole[: random.randrange(len(whole))]
    place = random.randrange(len(whole))
    return whole[:place] + bytes([whole[place] ^ 1 << random.randrange(8)]) + whole[place + 1 :]


def _faults(folder: Path) -> tuple[str, ...]:
    try:
        return verify(folder, files_only=True).faults
    except DnnlabError as error:
        return (str(error),)


def _predict(folder: Path, rows: pl.DataFrame, answers: pl.DataFrame, found: Found, tally: Tally, name: str) -> None:
    """A file that predictions do not need (a picture, the log) may be damaged without anything being different."""
    try:
        made: Any = load(folder).predict(rows, proba=True)
    except DnnlabError:
        found.refused += 1
        return
    if made.equals(answers):
        found.same += 1
    else:
        found.different += 1
        tally.fail(f"a silently different prediction: {name}")
