"""`dnnlab compare`: runs and sweeps in, a table on the screen, and files where they are asked for; and the end of a sweep over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def compared(paths: Sequence[Path], *, by: Sequence[str], metric: str, bootstrap: bool, output: Path | None) -> None:
    """Print the comparison; write comparison.md, .csv, .tex and .html and pictures into `output`."""
    from dnnlab.compare import compare, jobs_in, tables
    from dnnlab.files import naming, printable, write_atomic
    from dnnlab.loggers.console import terminal

    jobs, folders = jobs_in(paths)
    found = compare(jobs, folders, by=by, metric=metric, bootstrap=bootstrap)
    terminal().print(tables.on_terminal(found, width=terminal().width))
    if output is None:
        return
    from dnnlab.compare import page, pictures

    with naming(output):
        output.mkdir(parents=True, exist_ok=True)
    drawn = pictures.draw(found)
    texts = {"md": tables.markdown(found), "csv": tables.csv(found), "tex": tables.latex(found)}
    texts["html"] = page.page(found, drawn, f"{', '.join(path.name for path in paths)}: {found.metrics[0]}")
    for suffix, text in texts.items():
        write_atomic(output / f"comparison.{suffix}", text)
    for name, png in drawn.items():
        write_atomic(output / f"{name}.png", png)
    terminal().print(printable(output), style="blue", soft_wrap=True)


def repeated(sweep: Path) -> None:
    """At the end of a sweep: means and intervals, where setups were done more than once."""
    from dnnlab.compare import compare, jobs_in, tables
    from dnnlab.errors import DnnlabError
    from dnnlab.loggers.console import terminal

    try:
        found = compare(*jobs_in([sweep]))
    except DnnlabError:  # there is nothing to compare
        return
    if any(len(setup.jobs) > 1 for setup in found.setups):
        terminal().print()
        terminal().print(tables.on_terminal(found, width=terminal().width))
