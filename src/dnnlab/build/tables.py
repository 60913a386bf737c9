"""From the settings of a table to its rows, understood: read, fetched, or handed over by Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dnnlab.config.table import Csv, Files, Memory, OpenMl, Table
from dnnlab.data.dataset import Source
from dnnlab.errors import ConfigError, DataError, did_you_mean, shown
from dnnlab.files import printable
from dnnlab.tables.convert import Wishes, to_source
from dnnlab.tables.dialect import Dialect
from dnnlab.tables.gather import Gathered, gather
from dnnlab.tables.memory import without
from dnnlab.tables.schema import Schema

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, eq=False)
class TableRows:
    """A table as it was read, and what it was taken for."""

    source: Source
    schema: Schema
    gathered: Gathered


def read_table(settings: Table, frame: pl.DataFrame | None = None) -> TableRows:
    """The rows that the settings ask for, understood; frame: what data.kind=memory stands for."""
    return understood(settings, *read_rows(settings, frame))


def read_rows(settings: Table, frame: pl.DataFrame | None = None) -> tuple[Gathered, tuple[str, ...], str]:
    """The rows as they were read, the names of the targets, and what the table is called."""
    match settings:
        case Files():
            return _files(settings), _names(settings.target), _title(settings)
        case OpenMl():
            return _openml(settings)
        case Memory() if frame is not None:
            rows = without(frame, settings.na_values)
            return Gathered(rows, place=lambda row: f"row {row}", typed=True), _names(settings.target), "table"
    raise ConfigError(
        "data=memory must stand with a table that Python holds, however: there is none here",
        where="data.kind",
        fix="Call dnnlab.api.train(table, target=…), or try data=csv data.path=FILE",
    )


def understood(settings: Table, gathered: Gathered, targets: tuple[str, ...], name: str) -> TableRows:
    """What rows that were read are taken for."""
    wishes = Wishes(
        targets=targets,
        task=settings.task,
        positive=settings.positive,
        relabel=settings.relabel,
        columns=settings.columns,
        na_values=tuple(settings.na_values),
        split=settings.split,
        split_by=settings.split_by,
    )
    source, schema = to_source(gathered.frame, wishes, gathered.place, name=name, typed=gathered.typed, given=gathered.given)
    if settings.impute == "refuse":
        _refuse_missing(source, gathered)
    return TableRows(source, schema, gathered)


def _refuse_missing(source: Source, gathered: Gathered) -> None:
    """D11: no row may lack a number, whether it trains or judges."""
    holes = source.x.isnan()
    if not holes.any():
        return
    column = int(holes.any(0).nonzero()[0])
    rows = holes[:, column].nonzero().squeeze(1).tolist()
    first = ", ".join(gathered.place(row) for row in rows[:3])
    raise DataError(
        f"data.impute=refuse wants a number in every cell, however: {len(rows):,} of {len(holes):,} rows have none",
        where=f"{first}{', …' if len(rows) > 3 else ''}, column {shown(source.features[column])}",
        fix="Try data.impute=median",
    )


def dialect_of(settings: Table | Mapping[str, Any]) -> Dialect:
    """How delimited files of these settings are written."""
    if isinstance(settings, Csv):
        return Dialect(
            separator=None if settings.separator == "auto" else settings.separator,
            decimal=settings.decimal,
            thousands=settings.thousands,
            quote=settings.quote,
            encoding=settings.encoding,
            header=settings.header,
            names=tuple(settings.names),
            na_values=tuple(settings.na_values),
            skip_rows=settings.skip_rows,
            comment=settings.comment,
        )
    return Dialect(na_values=tuple(settings.na_values) if isinstance(settings, Table) else ())


def form_of(settings: Files) -> str:
    """The format by the name that the reading room has for it."""
    return "auto" if settings.kind == "table" else settings.kind  # type: ignore[attr-defined]


def _files(settings: Files) -> Gathered:
    parts = {"train": settings.path, "valid": settings.valid_path, "test": settings.test_path}
    paths = {part: path for part, path in parts.items() if path is not None}
    text = [name for name, kind in settings.columns.items() if kind == "categorical"]
    return gather(paths, form_of(settings), dialect_of(settings), text=text, rows=settings.rows, root=settings.root)


def _openml(settings: OpenMl) -> tuple[Gathered, tuple[str, ...], str]:
    from dnnlab.tables.openml import fetch

    found = fetch(settings.name, version=settings.version, cache=settings.cache)
    targets = found.target if settings.target is None else _names(settings.target)
    if not targets:
        raise ConfigError(
            f"data.target must be named, however: {shown(found.name)} does not say what is to be predicted",
            where="data.target, data.name",
            fix=did_you_mean("target", map(printable, found.frame.columns[:50])),
        )
    rows, notes = without(found.frame, settings.na_values), tuple(found.facts["notes"])
    return Gathered(rows, place=lambda row: f"{printable(found.name)}: row {row}", typed=True, notes=notes), targets, found.name


def _names(target: str | list[str]) -> tuple[str, ...]:
    return (target,) if isinstance(target, str) else tuple(target)


def _title(settings: Files) -> str:
    first = settings.path if isinstance(settings.path, str) else settings.path[0]
    return first.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or first
