"""A comparison as one HTML file: tables and pictures, nothing loaded from anywhere."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape

from dnnlab.compare.comparison import Comparison
from dnnlab.compare.tables import interval, rows, shown
from dnnlab.files import printable

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { padding: .25rem .8rem; text-align: left; border-bottom: 1px solid #ddd; white-space: nowrap; }
tr.best td { font-weight: 600; background: #e8f5ee; } tr.ties td { background: #f4faf6; }
img { max-width: 100%; height: auto; } p { color: #555; }
@media (prefers-color-scheme: dark) {
  body { background: #16181c; color: #ddd; } th, td { border-color: #333; } p { color: #aaa; }
  tr.best td { background: #1d3a2b; } tr.ties td { background: #19271f; } img { background: #fff; }
}
"""


def page(comparison: Comparison, pictures: Mapping[str, bytes], title: str) -> str:
    """The whole file; every text from outside is escaped."""
    heads, cells = rows(comparison)
    classes = ["best" if setup.best else "ties" if setup.ties else "" for setup in comparison.setups]
    effects = [[effect.setting, shown(effect.value), str(effect.spread.count), interval(effect.spread)] for effect in comparison.effects]
    judge = escape(comparison.metrics[0])
    parts = [
        f"<h1>{escape(printable(title))}</h1>",
        f"<p>Mean ± half of the 95 % interval over the runs of each row, judged by {judge}. The paired test compares each row with the "
        "best on equal seeds, corrected after Holm; what it cannot tell from the best is tinted.</p>",
        _table(heads, cells, classes),
    ]
    if effects:
        parts += [f"<h2>Main effects</h2><p>Mean {judge} over whatever the other settings are.</p>"]
        parts += [_table(["setting", "value", "runs", comparison.metrics[0]], effects, [""] * len(effects))]
    for name, png in pictures.items():
        parts.append(f'<p><img alt="{escape(name)}" src="data:image/png;base64,{b64encode(png).decode()}"></p>')
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{escape(printable(title))}</title>"
    return f"<!doctype html><html lang=en><head>{head}<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"


def _table(heads: Sequence[str], cells: Sequence[Sequence[str]], classes: Sequence[str]) -> str:
    top = "".join(f"<th>{escape(printable(head))}</th>" for head in heads)
    lines = [
        f'<tr class="{name}">' + "".join(f"<td>{escape(printable(cell))}</td>" for cell in row) + "</tr>"
        for name, row in zip(classes, cells, strict=True)
    ]
    return f"<table><thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
