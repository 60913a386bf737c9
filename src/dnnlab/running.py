"""A run under way: begun in a folder of its own, told of each record, and concluded. `run.py` leads one, `stack.py` leads many."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from shlex import quote
from signal import Signals
from typing import Any, final

from rich.text import Text

from dnnlab import pictures
from dnnlab.assembly import Parts, tuned
from dnnlab.build.rows import data_folder
from dnnlab.checkpoints import Checkpoints
from dnnlab.config.request import Request
from dnnlab.continuing import Earlier, resumed_facts, take_over
from dnnlab.description import keep_description
from dnnlab.diagnostics import examine
from dnnlab.errors import DivergedError, DnnlabError, shown
from dnnlab.loggers import Beginning, Logger
from dnnlab.loggers.cadence import Thinned, due
from dnnlab.loggers.columns import description
from dnnlab.loggers.console import duration, number, result_table, terminal
from dnnlab.loggers.metrics_file import MetricsFile
from dnnlab.loggers.progress import Progress
from dnnlab.preflight import findings
from dnnlab.records import Epoch, Finding, Summary
from dnnlab.runfolder import RunFolder
from dnnlab.stopping import Best, Stopper
from dnnlab.tally import Tally

log = logging.getLogger(__name__)


PRUNED = "pruned after epoch "  # how the reason begins for which halving ends a run


@dataclass(frozen=True)
class Outcome:
    """How training ended."""

    status: str = "finished"
    signal: Signals | None = None  # that stopped it
    error: DnnlabError | None = None


@final
class Running:
    """A run between its beginning and its end."""

    def __init__(self, request: Request, parts: Parts, folder: RunFolder, earlier: Earlier | None = None, inexact: tuple[str, ...] = ()):
        """Write down what begins, take over what an earlier process left, and tell the loggers."""
        self.request = request
        self.parts = parts
        self.folder = folder
        settings, figures = parts.config.trainer, parts.figures
        _begin(request, parts, folder)
        if earlier is None or not earlier.keeps_description:
            keep_description(parts, folder)
        self.checkpoints = Checkpoints(folder, parts, request.document, seconds=earlier.seconds if earlier else 0.0)
        self.tally = Tally(Best(figures.monitor, figures.mode, settings.early_stopping.min_delta))
        if earlier is not None:
            take_over(parts, earlier, self.checkpoints, self.tally)
            _tell_continued(request, earlier, inexact)
        self.stopper = Stopper(settings.early_stopping.patience, settings.stop_at.metric, settings.stop_at.value, figures.stop_mode)
        self._loggers = _loggers(request, parts, folder, self.tally)

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to train."""
        return bool(self.tally.reason) or self.parts.trainer.position.epoch >= self.parts.config.trainer.epochs

    @property
    def pruned(self) -> bool:
        """Whether halving has ended it."""
        return self.tally.reason.startswith(PRUNED)

    def take_up_again(self) -> None:
        """Go on by itself, where halving had ended it."""
        if self.pruned:
            self.tally.reason = ""

    @cached_property
    def absent(self) -> frozenset[str]:
        """Metrics that a stack may tell of, and that this run by itself would not: penalties that it does not have."""
        own = self.parts.learner.regularizer
        return frozenset(f"train/penalty/{name}" for name, amount in (("l1", own.l1), ("l2", own.l2)) if not amount)

    def hear(self, record: Epoch) -> None:
        """Tell the loggers of a record and count it; keep the state if it is the best so far, and see whether it is time to stop."""
        self.log(record)
        value = record.metrics.get(self.parts.figures.monitor)
        if value is not None:
            best = self.tally.best
            if best.improves(value):
                self.checkpoints.keep_best(record)
            self.judge(record, best.after(value, record.epoch))

    def log(self, record: Epoch) -> None:
        """Tell the loggers of a record, and keep it where it is due."""
        for logger in self._loggers:
            logger.epoch(record)
        self.tally.last = record
        if due(record.epoch, self.parts.config.logger.every):
            self.tally.records.append(record)

    def judge(self, record: Epoch, best: Best) -> None:
        """Count a validation, and see whether it is time to stop. best: with this record."""
        self.tally.best = best
        self.tally.reason = self.stopper.reason(record, best)

    def diverged(self, error: DivergedError) -> Outcome:
        """What is left when training did not stay finite: the best state, or the last finite one."""
        if self.checkpoints.best is None:
            place = self.parts.trainer.position
            self.checkpoints.keep_best(Epoch(place.epoch, place.step, False, {}))
        return Outcome("diverged", error=error)

    def conclude(self, outcome: Outcome) -> Summary:
        """Keep the last state, measure the best, tell the loggers, and close the folder."""
        self.checkpoints.write(self.tally)
        if outcome.status == "interrupted":
            summary = self._interrupted(outcome)
            drawn: dict[str, bytes] = {}  # a run that is asked to end ends soon; what it lacks comes when it is resumed
        else:
            if self.parts.config.trainer.restore_best:
                self.checkpoints.restore_best()
            self.parts = tuned(self.parts)
            summary = self._summary(outcome)
            drawn = pictures.draw(self.parts, self.tally.records) if self._draws else {}
        log.info("%s after %d epochs, %d steps", summary.status, summary.epochs, summary.steps)
        _log(summary.findings)
        for logger in self._loggers:
            logger.finish(summary, drawn)
        self.folder.finish(summary, outcome.error)
        return summary

    @property
    def _draws(self) -> bool:
        asked = self.parts.config.logger.pictures
        return not self.request.brief if asked == "auto" else asked

    def _summary(self, outcome: Outcome) -> Summary:
        parts, tally = self.parts, self.tally
        ended = [Finding("note", f"stopped early: {tally.reason}")] if tally.reason else []
        return Summary(
            status=outcome.status,
            folder=str(self.folder.path),
            metrics=_measure(parts, tally.best),
            epochs=tally.last.epoch if tally.last else 0,
            steps=parts.trainer.position.step,
            seconds=self.checkpoints.seconds,
            findings=(*ended, *_threshold(parts), *examine(tally.records)),
            monitor=parts.figures.monitor,
        )

    def _interrupted(self, outcome: Outcome) -> Summary:
        """What is known without measuring anything."""
        name, tally = outcome.signal.name if outcome.signal else "", self.tally
        path = str(self.folder.path)
        return Summary(
            status="interrupted",
            folder=path,
            metrics=dict(tally.last.metrics) if tally.last else {},
            epochs=tally.last.epoch if tally.last else 0,
            steps=self.parts.trainer.position.step,
            seconds=self.checkpoints.seconds,
            findings=(Finding("note", f"stopped by {name}; its state is kept", f"Continue with: dnnlab resume {quote(path)}"),),
            signal=name,
        )


def open_folder(request: Request, earlier: Earlier | None, inexact: tuple[str, ...]) -> RunFolder:
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
    folder.status("running", {"choices": choices, **({"stacked": True} if parts.ingredients.stacked else {})})
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


def _threshold(parts: Parts) -> list[Finding]:
    """What was sought, and from where on the second class is answered."""
    metric = parts.config.metrics.threshold
    if not isinstance(metric, str):
        return []
    name = shown(parts.rows.source.classes[1])
    return [Finding("note", f"{name} is answered above {parts.answer.threshold:.4g}, where {metric} is best on the validation rows")]


def _log(known: Iterable[Finding]) -> None:
    for finding in known:
        log.log(logging.WARNING if finding.level == "warning" else logging.INFO, "%s - %s", finding.text, finding.remedy)


def show(summary: Summary, parts: Parts, *, brief: bool) -> None:
    """The result on the terminal: a table, or one line for one job of many."""
    if not brief:
        terminal().print(result_table(summary, parts.config.name, parts.figures.monitor), crop=False)
        return
    terminal().print(Text(result_line(summary, parts.figures.epoch)), soft_wrap=True)


def result_line(summary: Summary, figures: Sequence[str] = ("accuracy", "rmse")) -> str:
    """The end of one job of many: how it ended, its loss and the figures of each validation, how long it took."""
    headline = [name for name in summary.metrics if name.startswith(("valid/", "test/")) and name.split("/")[1] in ("loss", *figures)]
    words = [summary.status, *(f"{name} {number(summary.metrics[name])}" for name in headline), duration(summary.seconds)]
    return "  " + " · ".join(words)


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
