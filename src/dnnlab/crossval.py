"""Cross-validation: as many runs as there are folds, each in a folder of its own, and the mean ± standard deviation of their figures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, stdev
from time import monotonic
from typing import Any

from rich.table import Table
from rich.text import Text

from dnnlab.build.rows import data_folder
from dnnlab.config.request import Request
from dnnlab.config.table import Data
from dnnlab.config.yamlfile import as_yaml
from dnnlab.errors import DataError, DivergedError
from dnnlab.files import printable
from dnnlab.loggers.console import PARTS, duration, number, terminal
from dnnlab.records import Finding, Summary
from dnnlab.run import run
from dnnlab.runfolder import RunFolder, has_begun, telling
from dnnlab.runlog import logged

log = logging.getLogger(__name__)


def is_asked(data: object) -> bool:
    """Whether all folds are to be trained."""
    return isinstance(data, Data) and data.folds is not None and data.fold is None


def cross_validate(request: Request, earlier: RunFolder | None = None, resume: Callable[[Request], Summary] | None = None) -> Summary:
    """Train every fold; -> the means of the final figures.

    A fold that diverges does not keep the others from being trained: it is left out of the means, and raised at the end. earlier: the
    folder of a cross-validation that was stopped; resume: how a fold that began goes on.
    """
    config = request.config
    folds = config.data.folds if isinstance(config.data, Data) else None
    if folds is None:
        raise ValueError("there are no folds")
    _check(request)  # before anything is written
    folder = _folder(request, earlier)
    folder.begin(seed=config.seed, device=config.device, threads=0, command=request.argv)
    began, summaries, lost = monotonic(), list[Summary](), list[tuple[int, DivergedError]]()
    for fold in range(folds):
        if not request.brief:
            terminal().print(Text(f"fold {fold + 1} of {folds}", "dim"))
        with logged(folder.log), telling(folder):
            summary = _one(request, folder, fold, lost, resume)
            log.info("fold %d of %d: %s", fold + 1, folds, summary.status)
            _check_same_data(folder, fold)
        summaries.append(summary)
        if summary.status == "interrupted":
            break
    summary, spread = together(summaries, str(folder.path), monotonic() - began)
    error = _diverged(lost, folds) if summary.status == "diverged" else None
    folder.status("running", {"folds": len(summaries), "spread": spread})
    folder.finish(summary, error)
    if not request.brief:
        terminal().print(_table(summary, spread, config.name), crop=False)
    if error is not None:
        raise error
    return summary


def _folder(request: Request, earlier: RunFolder | None) -> RunFolder:
    if earlier is not None:
        earlier.go_on(None, {})
        return earlier
    config = request.config
    return RunFolder.create(
        request.root, config.name, request.document, written=request.written, exact=request.folder, forbid=data_folder(config)
    )


def _diverged(lost: Sequence[tuple[int, DivergedError]], folds: int) -> DivergedError:
    """The first divergence, and which folds it is about."""
    first = lost[0][1]
    told = ", ".join(str(fold) for fold, _ in lost)
    return DivergedError(f"fold {told} of {folds} (from 0) diverged: {first.what}", where=first.where, fix=first.fix)


def _check_same_data(folder: RunFolder, fold: int) -> None:
    """D28: every fold reads the files; what changes in between would make the folds overlap."""
    first, now = (RunFolder.open(folder.fold(number)).read_run().get("data", []) for number in (0, fold))
    for was, found in zip(first, now, strict=False):
        if was != found:
            raise DataError(
                f"the data must stay what they are until all folds are trained, however: the file's SHA-256 is {found['sha256'][:16]}… "
                f"in fold {fold} and was {was['sha256'][:16]}… in fold 0",
                where=printable(found["path"]),
                fix="Train on a copy that nobody writes to",
            )


def _check(request: Request) -> None:
    from dnnlab.assembly import assemble

    assemble(_of_fold(request, 0, None).config, request.trusted, frame=request.frame)


def _one(
    request: Request, folder: RunFolder, fold: int, lost: list[tuple[int, DivergedError]], resume: Callable[[Request], Summary] | None
) -> Summary:
    own = _of_fold(request, fold, folder)
    try:
        return resume(own) if resume is not None and has_begun(folder.fold(fold)) else run(own)
    except DivergedError as error:
        lost.append((fold, error))
        return Summary("diverged", str(own.folder), {}, 0, 0, 0.0, (Finding("warning", f"fold {fold}: {error.what}", error.fix),))


def _of_fold(request: Request, fold: int, folder: RunFolder | None) -> Request:
    """The same request for one of the folds."""
    data = request.config.data.model_copy(update={"fold": fold})
    document = {**request.document, "data": {**request.document["data"], "fold": fold}}
    return replace(
        request,
        config=request.config.model_copy(update={"data": data}),
        written=as_yaml(document),
        document=document,
        folder=None if folder is None else folder.fold(fold),
        brief=True,
    )


def together(summaries: Sequence[Summary], folder: str, seconds: float) -> tuple[Summary, dict[str, float]]:
    """The means of the finished folds' figures as one summary, and the standard deviation from fold to fold of each.

    >>> runs = [Summary("finished", "", {"test/accuracy": value}, 1, 10, 0.1) for value in (0.8, 0.9)]
    >>> summary, spread = together(runs, "folder", 1.0)
    >>> round(summary.metrics["test/accuracy"], 3), round(spread["test/accuracy"], 3)
    (0.85, 0.071)
    """
    finished = [summary for summary in summaries if summary.status == "finished"]
    names = [name for name in (finished[0].metrics if finished else {}) if all(name in other.metrics for other in finished)]
    values = {name: [summary.metrics[name] for summary in finished] for name in names}
    statuses = [summary.status for summary in summaries]
    status = next((bad for bad in ("interrupted", "diverged") if bad in statuses), "finished")
    findings = tuple(finding for summary in summaries if summary.status == "diverged" for finding in summary.findings)
    return Summary(
        status=status,
        folder=folder,
        metrics={name: fmean(of) for name, of in values.items()},
        epochs=max(summary.epochs for summary in summaries),
        steps=sum(summary.steps for summary in summaries),
        seconds=seconds,
        findings=findings,
        signal=next((summary.signal for summary in summaries if summary.signal), ""),
    ), {name: stdev(of) if len(of) > 1 else 0.0 for name, of in values.items()}


def _table(summary: Summary, spread: Mapping[str, float], name: str) -> Any:
    from rich.console import Group

    parts = [part for part in PARTS if any(metric.startswith(part) for metric in summary.metrics)]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    for part in parts:
        table.add_column(part.rstrip("/"), justify="right")
    figures = dict.fromkeys(metric.split("/", 1)[1] for metric in summary.metrics if metric.startswith(PARTS))
    for figure in figures:
        cells = [f"{part}{figure}" for part in parts]
        table.add_row(figure, *(f"{number(summary.metrics[cell])} ± {number(spread[cell])}" if cell in spread else "" for cell in cells))
    head = Text(f"{printable(name)} ", "bold").append(
        f"{summary.status}: mean ± standard deviation over the folds, {duration(summary.seconds)}", "not bold"
    )
    return Group(head, table, Text(printable(summary.folder), "blue", overflow="ignore", no_wrap=True))
