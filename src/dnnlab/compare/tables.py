"""A comparison as people and papers want it: on the terminal, as Markdown, CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isnan

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dnnlab.compare.comparison import Comparison, Effect, Setup
from dnnlab.compare.statistics import Spread
from dnnlab.files import printable, to_csv
from dnnlab.loggers.console import number
from dnnlab.sweeptable import short_names

SIGN = {True: "best", False: ""}


def interval(found: Spread, plus: str = "±") -> str:
    """Mean and half the 95 % interval.

    >>> interval(Spread((0.9, 0.92), 0.8, 1.02)), interval(Spread((0.9,), float("nan"), float("nan")))
    ('0.9100 ± 0.11', '0.9000')
    """
    return number(found.mean) if isnan(found.half) else f"{number(found.mean)} {plus} {found.half:.2g}"


def shown(value: object) -> str:
    """A setting's value for people."""
    return "" if value is None else f"{value:g}" if isinstance(value, float) else printable(value)


def verdict(setup: Setup) -> str:
    """What the paired test says.

    >>> verdict(Setup((), (), 0, {}, best=True)), verdict(Setup((), (), 0, {}, p=0.3)), verdict(Setup((), (), 0, {}, p=0.001))
    ('best', 'ties, p = 0.3', 'p = 0.001')
    """
    if setup.best:
        return "best"
    if isnan(setup.p):
        return ""
    return f"{'ties, ' if setup.ties else ''}p = {setup.p:.2g}"


def rows(comparison: Comparison, plus: str = "±", most: int = 4) -> tuple[list[str], list[list[str]]]:
    """-> the heads of the columns, and the cells. most: metrics that have a column."""
    metrics = comparison.metrics[:most]
    heads = [*(short_names(comparison.settings) or ["setup"]), "runs", *metrics, "paired test"]
    cells = []
    for setup in comparison.setups:
        runs = f"{len(setup.jobs)}" + (f" (+{setup.lost} lost)" if setup.lost else "")
        figures = [interval(setup.figures[name], plus) if name in setup.figures else "" for name in metrics]
        cells.append([*([shown(value) for value in setup.settings] or ["all"]), runs, *figures, verdict(setup)])
    return heads, cells


def on_terminal(comparison: Comparison, *, width: int = 80, most: int = 40) -> RenderableType:
    """The table, and the main effects below it. width: of the screen; most: rows that are shown."""
    columns = max(1, min(len(comparison.metrics), (width - 24 - 9 * len(comparison.settings)) // 19))
    heads, cells = rows(comparison, most=columns)
    table = Table(header_style="bold", padding=(0, 1), pad_edge=False, box=None)
    first = len(heads) - 2 - columns
    for place, head in enumerate(heads):
        table.add_column(Text(printable(head)), justify="right" if place >= first and place < len(heads) - 1 else "left", overflow="fold")
    for setup, row in list(zip(comparison.setups, cells, strict=True))[:most]:
        style = "bold green" if setup.best else "green" if setup.ties else ""
        table.add_row(*(Text(printable(cell), style) for cell in row))
    parts: list[RenderableType] = [table]
    if len(cells) > most:
        parts.append(Text(f"… and {len(cells) - most} more in comparison.csv", "dim"))
    parts.append(Text(f"mean ± half of the 95 % interval over the runs of each row; judged by {comparison.metrics[0]}", "dim"))
    return Group(*parts, *_effects(comparison))


def _effects(comparison: Comparison) -> list[RenderableType]:
    if not comparison.effects:
        return []
    table = Table(header_style="bold", padding=(0, 1), pad_edge=False, box=None)
    for head in ("setting", "value", "runs", f"mean {comparison.metrics[0]} over all the rest"):
        table.add_column(Text(printable(head)), justify="right" if head == "runs" else "left", overflow="fold")
    last = ""
    for effect in comparison.effects:
        name = "" if effect.setting == last else printable(effect.setting)
        table.add_row(name, shown(effect.value), str(effect.spread.count), interval(effect.spread))
        last = effect.setting
    return [Text(""), table]


def markdown(comparison: Comparison) -> str:
    """Two tables: the setups, and the main effects."""
    heads, cells = rows(comparison)
    text = _grid(heads, cells, lambda cell: cell.replace("|", "\\|"))
    if comparison.effects:
        text += "\n" + _grid(["setting", "value", "runs", f"mean {comparison.metrics[0]}"], _effect_rows(comparison.effects), lambda c: c)
    return text


def _grid(heads: Sequence[str], cells: Sequence[Sequence[str]], clean: Callable[[str], str]) -> str:
    lines = [heads, ["---"] * len(heads), *cells]
    return "".join("| " + " | ".join(clean(printable(cell)) for cell in line) + " |\n" for line in lines)


def _effect_rows(effects: Sequence[Effect]) -> list[list[str]]:
    return [[effect.setting, shown(effect.value), str(effect.spread.count), interval(effect.spread)] for effect in effects]


def latex(comparison: Comparison) -> str:
    """A table for a paper; it needs the package booktabs. The best is bold, what ties with it is underlined."""
    heads, cells = rows(comparison, r"$\pm$")
    judged = len(heads) - 1 - len(comparison.metrics)
    lines = [r"\begin{tabular}{" + "l" * (judged - 1) + "r" * (1 + len(comparison.metrics)) + "}", r"\toprule"]
    lines += [" & ".join(map(_escaped, heads[:-1])) + r" \\", r"\midrule"]
    for setup, row in zip(comparison.setups, cells, strict=True):
        line = [cell if place >= judged else _escaped(cell) for place, cell in enumerate(row[:-1])]
        if setup.ties and line[judged]:
            line[judged] = (r"\textbf{" if setup.best else r"\underline{") + line[judged] + "}"
        lines.append(" & ".join(line) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _escaped(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"}
    special |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(letter, letter) for letter in printable(text))


def csv(comparison: Comparison) -> str:
    """Every setup with mean, interval and number of runs of every metric, unrounded."""
    table: list[dict[str, object]] = []
    for setup in comparison.setups:
        row: dict[str, object] = dict(zip(comparison.settings, setup.settings, strict=True))
        row |= {"runs": len(setup.jobs), "lost": setup.lost}
        for name in comparison.metrics:
            found = setup.figures.get(name)
            row |= {
                name: None if found is None else found.mean,
                f"{name}/low": None if found is None else found.low,
                f"{name}/high": None if found is None else found.high,
            }
        table.append(row | {"best": setup.best, "p": None if isnan(setup.p) else setup.p})
    return to_csv(table)
