"""One run, from its parts to its folder. Read this file first: it is the story that all the others serve."""

from __future__ import annotations

from functools import partial

from dnnlab.assembly import assemble
from dnnlab.build.device import threads
from dnnlab.checkpoints import Timetable
from dnnlab.config.logger import Logger as Logging
from dnnlab.config.request import Request
from dnnlab.continuing import Earlier, check
from dnnlab.errors import DivergedError
from dnnlab.loggers.cadence import due
from dnnlab.preflight import rehearse
from dnnlab.records import Epoch, Summary
from dnnlab.runfolder import telling
from dnnlab.runlog import logged
from dnnlab.running import Outcome, Running, open_folder, show
from dnnlab.signals import interruptible


def run(request: Request, earlier: Earlier | None = None) -> Summary:
    """Build, train, keep the best, measure, leave a folder; a divergence is raised once the folder is complete.

    earlier: what another process left of this run; it goes on from there.
    """
    config = request.config
    parts = assemble(config, request.trusted, partial(health_due, config.logger), frame=request.frame)
    rehearse(parts)
    inexact = () if earlier is None else check(parts, earlier)
    folder = open_folder(request, earlier, inexact)
    with logged(folder.log), threads(parts.ingredients.threads), telling(folder):
        running = Running(request, parts, folder, earlier, inexact)
        running.take_up_again()
        outcome = _train(running)
        summary = running.conclude(outcome)
    show(summary, running.parts, brief=request.brief)
    if outcome.error is not None:
        raise outcome.error
    return summary


def health_due(settings: Logging, epoch: int) -> bool:
    """Whether an epoch (from 1) is to tell its layers' health."""
    return settings.health and due(epoch, settings.every)


def _train(running: Running) -> Outcome:
    """Every record is told to the loggers, judged, and followed by what it asks for; between records the state is kept."""
    trainer, checkpoints = running.parts.trainer, running.checkpoints
    timetable = Timetable(running.parts.config.trainer.checkpoint_every, trainer.batches.count, trainer.pause_at)
    timetable.plan(trainer.position.step)
    with interruptible(trainer.stop) as caught:
        try:
            for event in () if running.is_done else trainer:
                if isinstance(event, Epoch):
                    running.hear(event)
                    if running.tally.reason:
                        break
                if timetable.is_due(trainer.position.step):
                    timetable.plan(trainer.position.step, cost=checkpoints.write(running.tally))
        except DivergedError as error:
            return running.diverged(error)
    return Outcome("interrupted", caught[0]) if caught and not running.is_done else Outcome()
