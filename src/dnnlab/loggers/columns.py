"""A table's columns, what becomes of them and what a person should know of them, as one screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dnnlab.files import printable
from dnnlab.loggers.console import finding_line, number
from dnnlab.records import Finding

if TYPE_CHECKING:
    from dnnlab.build.rows import Description
    from dnnlab.tables.schema import Column

MANY = 40  # columns that are shown; of more the first ones
WIDE = 28  # letters of a name


def description(table: Description | None, findings: Sequence[Finding]) -> RenderableType:
    """The columns as a table, then the findings, each with its remedy."""
    lines: list[RenderableType] = []
    if table is not None:
        schema = table.schema
        lines.append(_columns(schema.columns[:MANY]))
        if len(schema.columns) > MANY:
            lines.append(Text(f"… and {len(schema.columns) - MANY:,} more columns (schema.json of the run has all)", "dim"))
        lines.append(Text(f"{schema.task}: {schema.reason}{_classes(schema.classes)}", "dim"))
    lines += [finding_line(finding) for finding in findings]
    return Group(*lines)


def _classes(classes: Sequence[str]) -> str:
    if not classes:
        return ""
    told = ", ".join(printable(name)[:WIDE] for name in classes[:10])
    return f"; classes {told}{', …' if len(classes) > 10 else ''}"


def _columns(columns: Sequence[Column]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("column", "is", "values", "becomes"):
        table.add_column(heading, no_wrap=True)
    table.add_column("missing", justify="right", no_wrap=True)
    table.add_column("because", overflow="fold", min_width=12)
    for column in columns:
        style = "dim" if not column.is_input else ""
        missing = f"{column.missing:,}" if column.missing else ""
        cells = (_cut(column.name), column.role, _values(column), column.encoding, missing, column.reason)
        table.add_row(*(Text(printable(cell), style) for cell in cells))
    return table


def _cut(name: str) -> str:
    return name if len(name) <= WIDE else f"{name[: WIDE - 1]}…"


def _values(column: Column) -> str:
    if column.low is not None and column.high is not None:
        return f"{number(column.low)} … {number(column.high)}"
    return f"{column.distinct:,} different" if column.distinct else ""
