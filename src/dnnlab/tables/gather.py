"""The files of a table and of its test and validation rows, read alike and put one below the other."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl
import torch
from torch import Tensor

from dnnlab.errors import DataError, shown
from dnnlab.tables.columns import Place
from dnnlab.tables.dialect import Dialect
from dnnlab.tables.reading import FileFact, Reading, read

Paths = str | Sequence[str]


@dataclass(frozen=True, eq=False)
class Gathered:
    """All rows, training files first, and which of them belong to parts that files of their own hold."""

    frame: pl.DataFrame
    place: Place
    typed: bool  # the files say themselves which cells are numbers, dates and truth values
    given: Mapping[str, Tensor] = field(default_factory=dict)
    files: tuple[FileFact, ...] = ()
    notes: tuple[str, ...] = ()
    padded: tuple[str, ...] = ()  # columns of whole numbers that were written with leading zeros


def gather(
    paths: Mapping[str, Paths],
    form: str,
    dialect: Dialect,
    *,
    text: Collection[str] = (),
    rows: int | None = None,
    root: str | None = None,
    optional: Collection[str] = (),
) -> Gathered:
    """Read the files of each part. paths: "train", then "valid" and "test" where they have files of their own; rows: of the first only.

    text: columns that stay text; optional: columns that later parts need not have. A column that is text in one file and a number in
    another is read as text in all, so that the same rules make the same of it.
    """
    wanted = set(text)
    while True:
        found = {
            part: read(path, form, dialect, text=wanted, rows=rows if part == "train" else None, key=_key(part), root=root)
            for part, path in paths.items()
        }
        mixed = _mixed([reading.frame for reading in found.values()]) - wanted
        if not mixed:
            return _below(found, optional)
        wanted |= mixed


def _key(part: str) -> str:
    return "data.path" if part == "train" else f"data.{part}_path"


def _mixed(frames: Sequence[pl.DataFrame]) -> set[str]:
    """Columns that are text in one frame and something else in another."""
    first = frames[0]
    return {
        name
        for name in first.columns
        if len({frame.schema[name] == pl.String for frame in frames if name in frame.columns and frame.schema[name] != pl.Null}) > 1
    }


def _below(found: Mapping[str, Reading], optional: Collection[str]) -> Gathered:
    train = found["train"]
    frames, notes, given = list[pl.DataFrame](), list[str](), dict[str, Tensor]()
    starts: list[tuple[int, Reading]] = []
    count = 0
    for part, reading in found.items():
        frames.append(_alike(reading, train, part, notes, optional))
        starts.append((count, reading))
        notes += reading.notes
        if part != "train":
            given[part] = torch.arange(count, count + len(reading.frame))
        count += len(reading.frame)

    def place(row: int) -> str:
        start, reading = next((start, reading) for start, reading in reversed(starts) if start <= row)
        return reading.place(row - start)

    return Gathered(
        frame=frames[0] if len(frames) == 1 else pl.concat(frames, how="vertical_relaxed"),
        place=place,
        typed=train.typed,
        given=given,
        files=tuple(file for reading in found.values() for file in reading.files),
        notes=tuple(dict.fromkeys(notes)),
        padded=train.padded,
    )


def _alike(reading: Reading, train: Reading, part: str, notes: list[str], optional: Collection[str]) -> pl.DataFrame:
    """The columns of the training rows, in their order."""
    frame = reading.frame
    if part == "train":
        return frame
    missing = [name for name in train.frame.columns if name not in frame.columns]
    if lacking := [name for name in missing if name not in optional]:
        raise DataError(
            f"the {part} rows must have the columns of the training rows, however: {', '.join(shown(name) for name in lacking[:5])} "
            f"{'is' if len(lacking) == 1 else 'are'} missing",
            where=f"{_key(part)}, {reading.files[0].path}",
            fix="Look at the header of both files",
        )
    if extra := [name for name in frame.columns if name not in train.frame.columns]:
        told = ", ".join(shown(name) for name in extra[:5])
        notes.append(f"the {part} rows have columns that the training rows have not; they are ignored: {told}")
    return frame.with_columns(pl.lit(None).alias(name) for name in missing).select(train.frame.columns)
