"""Jobs that were done with several seeds each become a comparison: what differs, means with intervals, what ties with the best."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path

from dnnlab.compare.statistics import Spread, holm, paired_p, spread
from dnnlab.errors import ArtifactError, ConfigError, did_you_mean, shown
from dnnlab.metrics import HIGHER_IS_BETTER
from dnnlab.sweeptable import Job, differing, headline, read_jobs, read_one

REPEATS = ("seed", "data.split_seed", "data.fold")  # settings that repeat a setup instead of changing it
ALPHA = 0.05


@dataclass(frozen=True)
class Setup:
    """One combination of settings, with all runs of it."""

    settings: tuple[object, ...]  # in the order of the comparison's
    jobs: tuple[Job, ...]  # that finished
    lost: int  # that did not
    figures: Mapping[str, Spread]
    p: float = float("nan")  # against the best, paired and corrected; NaN of the best itself, and where there are no pairs
    best: bool = False

    @property
    def ties(self) -> bool:
        """Whether it is as good as the best, as far as these runs can tell."""
        return self.best or (not isnan(self.p) and self.p >= ALPHA)


@dataclass(frozen=True)
class Effect:
    """One value of one setting: the mean over all setups that have it."""

    setting: str
    value: object
    spread: Spread


@dataclass(frozen=True)
class Comparison:
    """Setups beside each other."""

    settings: tuple[str, ...]  # dotted names of what differs
    metrics: tuple[str, ...]  # the first one judges
    setups: tuple[Setup, ...]
    effects: tuple[Effect, ...]
    folders: Mapping[int, Path]  # of each job

    @property
    def higher(self) -> bool:
        """Whether a greater value of the judging metric is better."""
        return is_higher_better(self.metrics[0])


def is_higher_better(metric: str) -> bool:
    """By its logged name."""
    return HIGHER_IS_BETTER.get(metric.split("/")[-1], False)


def jobs_in(paths: Sequence[Path]) -> tuple[list[Job], dict[int, Path]]:
    """The jobs of sweeps, and single runs, numbered in the order of the paths."""
    jobs: list[Job] = []
    folders: dict[int, Path] = {}
    for path in paths:
        if not path.is_dir():
            raise ArtifactError("must be the folder of a sweep or of a run, however there is none", where=shown(str(path)))
        numbered = any(child.name.isdecimal() and child.is_dir() for child in path.iterdir())
        found = read_jobs(path) if numbered and not (path / "config.json").exists() else [read_one(0, path)]
        for job in found:
            number = job.number if len(paths) == 1 else len(jobs)
            folders[number] = path / str(job.number) if numbered else path
            jobs.append(Job(number, job.status, job.settings, job.metrics, job.seconds, job.reason, job.asked))
    if not jobs:
        raise ArtifactError("there must be runs to compare, however: none", where=", ".join(map(str, paths)))
    return jobs, folders


def compare(
    jobs: Sequence[Job],
    folders: Mapping[int, Path],
    *,
    by: Sequence[str] = (),
    metric: str = "",
    bootstrap: bool = False,
) -> Comparison:
    """Group jobs by the settings that differ (or by those in `by`), seeds apart; ConfigError for a metric or setting that none has."""
    varied = [name for name in differing(jobs) if name not in REPEATS]
    known = {name for job in jobs for name in job.settings}
    settings = tuple(_full_name(name, known, varied) for name in by) or tuple(varied)
    metrics = _metrics(jobs, metric)
    groups: dict[tuple[str, ...], list[Job]] = {}
    for job in jobs:
        groups.setdefault(tuple(repr(job.setting(name)) for name in settings), []).append(job)
    setups = [_setup(settings, own, metrics, bootstrap=bootstrap) for own in groups.values()]
    return Comparison(
        settings, metrics, tuple(_judged(setups, metrics[0])), tuple(_effects(jobs, settings, metrics[0], bootstrap)), folders
    )


def _full_name(name: str, known: Collection[str], varied: Sequence[str]) -> str:
    """A setting by its dotted name, or by as much of its end as no other that differs has."""
    found = [full for full in varied if full.endswith(f".{name}")]
    if name in known or len(found) == 1:
        return name if name in known else found[0]
    raise ConfigError(
        f"--by must name a setting of the runs, however: {shown(name)}", where="command line", fix=did_you_mean(name, varied or known)
    )


def _metrics(jobs: Sequence[Job], asked: str) -> tuple[str, ...]:
    have = list(dict.fromkeys(name for job in jobs for name in job.metrics))
    if asked and asked not in have:
        raise ConfigError(f"--metric must be one that the runs have, however: {asked}", where="command line", fix=did_you_mean(asked, have))
    shown = headline(jobs) or ["valid/loss"]
    return tuple(dict.fromkeys([asked, *shown] if asked else shown))


def _setup(settings: Sequence[str], jobs: Sequence[Job], metrics: Sequence[str], *, bootstrap: bool) -> Setup:
    done = tuple(job for job in jobs if not job.failed)
    figures = {
        name: spread([job.metrics[name] for job in done if name in job.metrics], bootstrap=bootstrap)
        for name in metrics
        if any(name in job.metrics for job in done)
    }
    return Setup(tuple(jobs[0].setting(name) for name in settings), done, len(jobs) - len(done), figures)


def _judged(setups: Sequence[Setup], metric: str) -> list[Setup]:
    """The best first, each with what a paired test on equal seeds says of its distance to the best."""
    sign = -1 if is_higher_better(metric) else 1
    rated = [setup for setup in setups if metric in setup.figures and not isnan(setup.figures[metric].mean)]
    rest = [setup for setup in setups if setup not in rated]
    rated.sort(key=lambda setup: sign * setup.figures[metric].mean)
    if not rated:
        return rest
    best = rated[0]
    p = holm([_against(best, setup, metric) for setup in rated[1:]])
    judged = [Setup(best.settings, best.jobs, best.lost, best.figures, best=True)]
    judged += [Setup(own.settings, own.jobs, own.lost, own.figures, value) for own, value in zip(rated[1:], p, strict=True)]
    return judged + rest


def _against(best: Setup, other: Setup, metric: str) -> float:
    """The paired p-value over the repeats that both have."""
    mine = {_repeat(job): job.metrics[metric] for job in best.jobs if metric in job.metrics}
    its = {_repeat(job): job.metrics[metric] for job in other.jobs if metric in job.metrics}
    both = [repeat for repeat in mine if repeat in its]
    return paired_p([mine[repeat] for repeat in both], [its[repeat] for repeat in both])


def _repeat(job: Job) -> tuple[object, ...]:
    return tuple(job.settings.get(name) for name in REPEATS)


def _effects(jobs: Sequence[Job], settings: Sequence[str], metric: str, bootstrap: bool) -> list[Effect]:
    """The main effect of each setting: over whatever the others are."""
    effects: list[Effect] = []
    for name in settings if len(settings) > 1 else ():
        values: dict[str, list[Job]] = {}
        for job in jobs:
            if not job.failed and metric in job.metrics:
                values.setdefault(repr(job.setting(name)), []).append(job)
        for own in values.values():
            effects.append(Effect(name, own[0].setting(name), spread([job.metrics[metric] for job in own], bootstrap=bootstrap)))
    return effects
