"""One run, from its parts to its folder. Read this file first: it is the story that all the others serve."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from signal import SIGINT, SIGTERM, Signals, default_int_handler, signal
from threading import current_thread, main_thread
from time import monotonic
from types import FrameType
from typing import Any

from rich.text import Text

from dnnlab import pictures
from dnnlab.assembly import Parts, assemble, tuned
from dnnlab.build.device import threads
from dnnlab.build.rows import data_folder
from dnnlab.checkpoints import Checkpoints
from dnnlab.config.logger import Logger as Logging
from dnnlab.config.request import Request
from dnnlab.description import keep_description
from dnnlab.diagnostics import examine
from dnnlab.errors import DivergedError, DnnlabError, shown
from dnnlab.loggers import Beginning, Logger
from dnnlab.loggers.cadence import Thinned, due
from dnnlab.loggers.columns import description
from dnnlab.loggers.console import duration, number, result_table, terminal
from dnnlab.loggers.metrics_file import MetricsFile
from dnnlab.loggers.progress import Progress
from dnnlab.preflight import findings, rehearse
from dnnlab.records import Epoch, Finding, Summary
from dnnlab.runfolder import RunFolder, telling
from dnnlab.runlog import logged
from dnnlab.stopping import Best, Stopper
from dnnlab.trainer import Trainer

log = logging.getLogger(__name__)


@dataclass
class _Course:
    """What the story of a run gathers on its way."""

    best: Best
    records: list[Epoch] = field(default_factory=list)  # those that were due
    last: Epoch | None = None
    status: str = "finished"
    reason: str = ""  # why training ended
    error: DnnlabError | None = None


def run(request: Request) -> Summary:
    """Build, train, keep the best, measure, leave a folder; a divergence is raised once the folder is complete."""
    config = request.config
    due_health = partial(_health_due, config.logger)
    parts = assemble(config, request.trusted, due_health, frame=request.frame)
    rehearse(parts)
    folder = RunFolder.create(request.root, config.name, exact=request.folder, forbid=data_folder(config))
    with logged(folder.log), threads(parts.ingredients.threads), telling(folder):
        began = monotonic()
        _begin(request, parts, folder)
        keep_description(parts, folder)
        checkpoints = Checkpoints(folder, parts.learner, parts.trainer)
        loggers = _loggers(request, parts, folder)
        course = _train(parts, checkpoints, loggers)
        checkpoints.write()
        if config.trainer.restore_best:
            checkpoints.restore_best()
        parts = tuned(parts)
        summary = _summary(parts, course, folder, monotonic() - began)
        _note(summary)
        drawn = pictures.draw(parts, course.records)
        for logger in loggers:
            logger.finish(summary, drawn)
        folder.finish(summary, course.error)
    show(summary, parts, brief=request.brief)
    if course.error is not None:
        raise course.error
    return summary


def _health_due(settings: Logging, epoch: int) -> bool:
    return settings.health and due(epoch, settings.every)


def _begin(request: Request, parts: Parts, folder: RunFolder) -> None:
    """Keep the settings and what `auto` came to; say the latter."""
    config, choices, known = request.config, parts.ingredients.choices(), findings(parts)
    folder.begin(
        request.written,
        request.document,
        seed=config.seed,
        device=str(parts.ingredients.device),
        threads=parts.ingredients.threads,
        command=request.argv,
    )
    folder.status("running", {"choices": choices})
    for name, choice in choices.items():
        log.info("%s: %s", name, choice)
    if config.logger.progress and not request.brief:
        terminal().print(Text(" · ".join(f"{name} {choice}" for name, choice in choices.items()), "dim"))
        terminal().print(description(parts.rows.table, known))
    _log(known)


def _train(parts: Parts, checkpoints: Checkpoints, loggers: list[Logger]) -> _Course:
    """Every record is told to the loggers, judged, and followed by what it asks for."""
    settings, figures = parts.config.trainer, parts.figures
    stopper = Stopper(settings.early_stopping.patience, settings.stop_at.metric, settings.stop_at.value, parts.figures.stop_mode)
    course = _Course(Best(figures.monitor, figures.mode, settings.early_stopping.min_delta))
    with interruptible(parts.trainer) as caught:
        try:
            for record in parts.trainer:
                course.last = record
                if due(record.epoch, parts.config.logger.every):
                    course.records.append(record)
                for logger in loggers:
                    logger.epoch(record)
                value = record.metrics.get(figures.monitor)
                if value is not None:
                    if course.best.improves(value):
                        checkpoints.keep_best({"epoch": record.epoch, "metrics": dict(record.metrics)})
                    course.best = course.best.after(value, record.epoch)
                    course.reason = stopper.reason(record, course.best)
                if course.reason:
                    break
                checkpoints.write_if_due()
        except DivergedError as error:
            course.status, course.error = "diverged", error
            if checkpoints.best is None:
                checkpoints.keep_best({"epoch": parts.trainer.position.epoch, "metrics": {}})  # the last finite state
    if caught:
        course.status, course.reason = "interrupted", caught[0].name
    return course


def _summary(parts: Parts, course: _Course, folder: RunFolder, seconds: float) -> Summary:
    ended = [Finding("note", f"stopped early: {course.reason}")] if course.reason else []
    return Summary(
        status=course.status,
        folder=str(folder.path),
        metrics=_measure(parts, course),
        epochs=course.last.epoch if course.last else 0,
        steps=parts.trainer.position.step,
        seconds=seconds,
        findings=(*ended, *_threshold(parts), *examine(course.records)),
    )


def _threshold(parts: Parts) -> list[Finding]:
    """What was sought, and from where on the second class is answered."""
    metric = parts.config.metrics.threshold
    if not isinstance(metric, str):
        return []
    name = shown(parts.rows.source.classes[1])
    return [Finding("note", f"{name} is answered above {parts.answer.threshold:.4g}, where {metric} is best on the validation rows")]


def _note(summary: Summary) -> None:
    """The end, and what a person should know, for the log."""
    log.info("%s after %d epochs, %d steps", summary.status, summary.epochs, summary.steps)
    _log(summary.findings)


def _log(known: Iterable[Finding]) -> None:
    for finding in known:
        log.log(logging.WARNING if finding.level == "warning" else logging.INFO, "%s - %s", finding.text, finding.remedy)


def show(summary: Summary, parts: Parts, *, brief: bool) -> None:
    """The result on the terminal: a table, or one line for one job of many."""
    if not brief:
        terminal().print(result_table(summary, parts.config.name, parts.figures.monitor), crop=False)
        return
    headline = [
        name for name in summary.metrics if name.startswith(("valid/", "test/")) and name.split("/")[1] in ("loss", *parts.figures.epoch)
    ]
    words = [summary.status, *(f"{name} {number(summary.metrics[name])}" for name in headline), duration(summary.seconds)]
    terminal().print(Text("  " + " · ".join(words)), soft_wrap=True)


def _measure(parts: Parts, course: _Course) -> dict[str, float]:
    """The final figures of every part of the data, by their logged names, and when the best state was."""
    told = {
        f"{name}/{figure}": value
        for name, part in parts.rows.parts().items()
        for figure, value in parts.judge(part, parts.figures.final).items()
    }
    best = {"best/epoch": float(course.best.epoch)} if course.best.epoch else {}
    lost = {"best/nans": float(course.best.nans)} if course.best.nans else {}
    threshold = {"best/threshold": parts.answer.threshold} if isinstance(parts.config.metrics.threshold, str) else {}
    return told | best | lost | threshold


def _loggers(request: Request, parts: Parts, folder: RunFolder) -> list[Logger]:
    """Whoever is told of this run, told that it begins."""
    settings = parts.config.logger
    thinned: list[Logger] = [MetricsFile(folder)]
    if settings.tensorboard:
        from dnnlab.loggers.tensorboard import TensorBoard

        thinned.append(TensorBoard(folder))
    loggers: list[Logger] = [Thinned(logger, settings.every) for logger in thinned]
    if settings.progress and not request.brief:
        loggers.append(Progress())
    for logger in loggers:
        logger.start(_beginning(parts, request.document))
    return loggers


def _beginning(parts: Parts, document: dict[str, Any]) -> Beginning:
    train = parts.rows.train
    return Beginning(
        name=parts.config.name,
        epochs=parts.config.trainer.epochs,
        rows=len(train.x),
        monitor=parts.figures.monitor,
        config=document,
        model=parts.learner.network,
        example=train.x[:2],
    )


@contextmanager
def interruptible(trainer: Trainer) -> Iterator[list[Signals]]:
    """Within, SIGINT and SIGTERM ask the trainer to stop at the next step, a second one ends at once; -> the signals that came."""
    caught: list[Signals] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if caught:
            default_int_handler(number, frame)
        caught.append(Signals(number))
        trainer.stop()

    if current_thread() is not main_thread():  # only there Python hears signals
        yield caught
        return
    before = {number: signal(number, handle) for number in (SIGINT, SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal(number, handler)
