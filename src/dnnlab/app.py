"""A request in, a run folder out, or a look at what would go wrong: what every door calls once the settings are typed."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from dnnlab.assembly import assemble
from dnnlab.config.request import Request
from dnnlab.config.run import RunConfig
from dnnlab.config.sweep import Sweep
from dnnlab.crossval import cross_validate, is_asked
from dnnlab.errors import ResourceError
from dnnlab.find_rate import find_rate
from dnnlab.preflight import findings, memory_needed, rehearse
from dnnlab.records import Finding, Summary
from dnnlab.resume import Order
from dnnlab.resume import resume as go_on
from dnnlab.run import run
from dnnlab.sweep.leading import Asked, Voice, lead


def train(request: Request) -> Summary:
    """Train as the request says, once or for every fold, or only search a learning rate."""
    with _naming_the_batch(request.config):
        if request.config.lr_find:
            return find_rate(request)
        return cross_validate(request) if is_asked(request.config.data) else run(request)


def sweep(
    folder: Path, asked: Sequence[Asked], settings: Sweep, space: Sequence[str], voice: Voice, *, first: int = 0
) -> list[Summary | None]:
    """Do the jobs of a sweep, as stacks where they pay; see `sweep.leading.lead`."""
    configs = [job.request.config for job in asked if job.request is not None]
    with _naming_the_batch(configs[0] if configs else None):
        return lead(folder, asked, settings, space, voice, first=first)


def resume(order: Order) -> Summary:
    """Go on with a run that was stopped, or make a child of it."""
    with _naming_the_batch(None):
        return go_on(order)


@contextmanager
def _naming_the_batch(config: RunConfig | None) -> Iterator[None]:
    """Where memory runs out within, the batch and the model are named."""
    gc.freeze()  # torch's million objects stay: the collector need not walk them again and again
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        import torch

        peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        raise ResourceError(
            f"memory must suffice, however: {str(error).splitlines()[0] if str(error) else 'it ran out'}"
            + (f" (peak on the device: {peak / 2**20:,.0f} MiB)" if peak else ""),
            where=f"trainer.batch_size={config.trainer.batch_size}, model={config.model.kind}" if config else "trainer.batch_size, model",
            fix="Try a smaller trainer.batch_size or a narrower model",
        ) from error


def _out_of_memory(error: Exception) -> bool:
    said = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in said
        or "not enough memory" in said
    )


def check(config: RunConfig, trusted: Collection[str] = ()) -> tuple[RenderableType, bool]:
    """Everything that would go wrong in a run, without training: -> one screen for people, and whether nothing is to be warned of."""
    from dnnlab.loggers.columns import description
    from dnnlab.loggers.console import finding_line

    parts = assemble(config, trusted)
    loss = rehearse(parts)
    told = findings(parts)
    needed = ", ".join(f"{name} {size / 2**20:,.1f} MiB" for name, size in memory_needed(parts).items())
    choices = [Text(f"{name}: {choice}", "dim") for name, choice in parts.ingredients.choices().items()]
    warnings = sum(finding.level == "warning" for finding in told)
    end = Text(
        f"{warnings} warning{'' if warnings == 1 else 's'}; the rest is fine" if warnings else "nothing speaks against training", "bold"
    )
    lines = [*choices, Text(f"memory: {needed}", "dim"), finding_line(Finding("note", f"the first batch passes: loss {loss:.4g}")), end]
    return Group(description(parts.rows.table, told), *lines), not warnings
