"""One run, from its parts to its folder. Read this file first: it is the story that all the others serve."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from shlex import quote
from signal import Signals
from typing import Any

from rich.text import Text

from dnnlab import pictures
from dnnlab.assembly import Parts, assemble, tuned
from dnnlab.build.device import threads
from dnnlab.build.rows import data_folder
from dnnlab.checkpoints import Checkpoints
from dnnlab.config.logger import Logger as Logging
from dnnlab.config.request import Request
from dnnlab.continuing import Earlier, check, resumed_facts, take_over
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
from dnnlab.signals import interruptible
from dnnlab.stopping import Best, Stopper
from dnnlab.tally import Tally

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Outcome:
    """How training ended."""

    status: str = "finished"
    signal: Signals | None = None  # that stopped it
    error: DnnlabError | None = None


def run(request: Request, earlier: Earlier | None = None) -> Summary:
    """Build, train, keep the best, measure, leave a folder; a divergence is raised once the folder is complete.

    earlier: what another process left of this run; it goes on from there.
    """
    config = request.config
    parts = assemble(config, request.trusted, partial(_health_due, config.logger), frame=request.frame)
    rehearse(parts)
    inexact = () if earlier is None else check(parts, earlier)
    folder = _folder(request, earlier, inexact)
    with logged(folder.log), threads(parts.ingredients.threads), telling(folder):
        _begin(request, parts, folder)
        if earlier is None or not earlier.keeps_description:
            keep_description(parts, folder)
        checkpoints = Checkpoints(folder, parts, request.document, seconds=earlier.seconds if earlier else 0.0)
        tally = Tally(Best(parts.figures.monitor, parts.figures.mode, config.trainer.early_stopping.min_delta))
        if earlier is not None:
            take_over(parts, earlier, checkpoints, tally)
            _tell_continued(request, earlier, inexact)
        loggers = _loggers(request, parts, folder, tally)
        outcome = _train(parts, checkpoints, loggers, tally)
        checkpoints.write(tally)
        if outcome.status == "interrupted":
            summary = _interrupted(parts, tally, outcome, folder, checkpoints.seconds)
            drawn: dict[str, bytes] = {}  # a run that is asked to end ends soon; what it lacks comes when it is resumed
        else:
            if config.trainer.restore_best:
                checkpoints.restore_best()
            parts = tuned(parts)
            summary = _summary(parts, tally, outcome, folder, checkpoints.seconds)
            drawn = pictures.draw(parts, tally.records)
        _note(summary)
        for logger in loggers:
            logger.finish(summary, drawn)
        folder.finish(summary, outcome.error)
    show(summary, parts, brief=request.brief)
    if outcome.error is not None:
        raise outcome.error
    return summary


def _health_due(settings: Logging, epoch: int) -> bool:
    return settings.health and due(epoch, settings.every)


def _folder(request: Request, earlier: Earlier | None, inexact: tuple[str, ...]) -> RunFolder:
    """A folder of its own, or the one of the run that goes on, brought back to its checkpoint."""
    config = request.config
    if earlier is not None and not earlier.child:
        mark = earlier.generation.document["metrics"] if earlier.generation is not None else None
        earlier.folder.go_on(mark, resumed_facts(earlier, inexact))
        if request.document != earlier.folder.read_config():
            earlier.folder.change_settings(request.document, request.written)
        return earlier.folder
    folder = RunFolder.create(
        request.root, config.name, request.document, written=request.written, exact=request.folder, forbid=data_folder(config)
    )
    if earlier is not None:
        folder.status("running", resumed_facts(earlier, inexact))
    return folder


def _begin(request: Request, parts: Parts, folder: RunFolder) -> None:
    """Keep what `auto` came to, and say it."""
    config, choices, known = request.config, parts.ingredients.choices(), findings(parts)
    folder.begin(seed=config.seed, device=str(parts.ingredients.device), threads=parts.ingredients.threads, command=request.argv)
    folder.status("running", {"choices": choices})
    for name, choice in choices.items():
        log.info("%s: %s", name, choice)
    if config.logger.progress and not request.brief:
        terminal().print(Text(" · ".join(f"{name} {choice}" for name, choice in choices.items()), "dim"))
        terminal().print(description(parts.rows.table, known))
    _log(known)


def _tell_continued(request: Request, earlier: Earlier, inexact: tuple[str, ...]) -> None:
    """From where the run goes on, and whether it will have the bits of one that was never stopped."""
    made = earlier.generation
    told = ["the process before died without a word"] * earlier.died
    told += ["there was no checkpoint yet: it begins at step 0"] if made is None else [f"it goes on after step {made.step:,}"]
    told += [f"a damaged checkpoint was passed over: {made.instead_of}"] if made is not None and made.instead_of else []
    told += [f"not bit-exact: {reason}" for reason in inexact]
    for line in told:
        log.info("%s", line)
        if not request.brief:
            terminal().print(Text(line, "dim"), soft_wrap=True)


def _train(parts: Parts, checkpoints: Checkpoints, loggers: list[Logger], tally: Tally) -> _Outcome:
    """Every record is told to the loggers, judged, and followed by what it asks for; between records the state is kept."""
    settings, figures = parts.config.trainer, parts.figures
    stopper = Stopper(settings.early_stopping.patience, settings.stop_at.metric, settings.stop_at.value, figures.stop_mode)
    with interruptible(parts.trainer.stop) as caught:
        try:
            for event in () if tally.reason else parts.trainer:
                if isinstance(event, Epoch):
                    for logger in loggers:
                        logger.epoch(event)
                    _judge(event, parts, checkpoints, stopper, tally)
                    if tally.reason:
                        break
                checkpoints.write_if_due(tally)
        except DivergedError as error:
            if checkpoints.best is None:
                checkpoints.keep_best({"epoch": parts.trainer.position.epoch, "metrics": {}})  # the last finite state
            return _Outcome("diverged", error=error)
    return _Outcome("interrupted", caught[0]) if caught and not _is_done(parts, tally) else _Outcome()


def _judge(record: Epoch, parts: Parts, checkpoints: Checkpoints, stopper: Stopper, tally: Tally) -> None:
    """Count a record, keep the state if it is the best so far, and see whether it is time to stop."""
    tally.last = record
    if due(record.epoch, parts.config.logger.every):
        tally.records.append(record)
    value = record.metrics.get(parts.figures.monitor)
    if value is not None:
        if tally.best.improves(value):
            checkpoints.keep_best({"epoch": record.epoch, "metrics": dict(record.metrics)})
        tally.best = tally.best.after(value, record.epoch)
        tally.reason = stopper.reason(record, tally.best)


def _is_done(parts: Parts, tally: Tally) -> bool:
    """Whether nothing was left to train when a signal came."""
    return bool(tally.reason) or parts.trainer.position.epoch >= parts.config.trainer.epochs


def _summary(parts: Parts, tally: Tally, outcome: _Outcome, folder: RunFolder, seconds: float) -> Summary:
    ended = [Finding("note", f"stopped early: {tally.reason}")] if tally.reason else []
    return Summary(
        status=outcome.status,
        folder=str(folder.path),
        metrics=_measure(parts, tally.best),
        epochs=tally.last.epoch if tally.last else 0,
        steps=parts.trainer.position.step,
        seconds=seconds,
        findings=(*ended, *_threshold(parts), *examine(tally.records)),
    )


def _interrupted(parts: Parts, tally: Tally, outcome: _Outcome, folder: RunFolder, seconds: float) -> Summary:
    """What is known without measuring anything."""
    name = outcome.signal.name if outcome.signal else ""
    return Summary(
        status="interrupted",
        folder=str(folder.path),
        metrics=dict(tally.last.metrics) if tally.last else {},
        epochs=tally.last.epoch if tally.last else 0,
        steps=parts.trainer.position.step,
        seconds=seconds,
        findings=(Finding("note", f"stopped by {name}; its state is kept", f"Continue with: dnnlab resume {quote(str(folder.path))}"),),
        signal=name,
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


def _measure(parts: Parts, best_seen: Best) -> dict[str, float]:
    """The final figures of every part of the data, by their logged names, and when the best state was."""
    told = {
        f"{name}/{figure}": value
        for name, part in parts.rows.parts().items()
        for figure, value in parts.judge(part, parts.figures.final).items()
    }
    best = {"best/epoch": float(best_seen.epoch)} if best_seen.epoch else {}
    lost = {"best/nans": float(best_seen.nans)} if best_seen.nans else {}
    threshold = {"best/threshold": parts.answer.threshold} if isinstance(parts.config.metrics.threshold, str) else {}
    return told | best | lost | threshold


def _loggers(request: Request, parts: Parts, folder: RunFolder, tally: Tally) -> list[Logger]:
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
        logger.start(_beginning(parts, request.document, tally))
        if tally.last is not None and not due(tally.last.epoch, settings.every):
            logger.epoch(tally.last)  # it may turn out to be the last one
    return loggers


def _beginning(parts: Parts, document: dict[str, Any], tally: Tally) -> Beginning:
    train = parts.rows.train
    return Beginning(
        name=parts.config.name,
        epochs=parts.config.trainer.epochs,
        rows=len(train.x),
        monitor=parts.figures.monitor,
        config=document,
        model=parts.learner.network,
        example=train.x[:2],
        earlier=tuple(tally.records),
    )
