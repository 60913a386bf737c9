"""The end of a sweep: one table of all its jobs, on the screen and as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dnnlab.errors import DnnlabError
from dnnlab.files import printable, to_csv, write_atomic
from dnnlab.loggers.console import duration, number, terminal
from dnnlab.metrics import HIGHER_IS_BETTER
from dnnlab.runfolder import SWEEP_TABLE, RunFolder

HEADLINES = ("accuracy", "rmse", "balanced_accuracy", "f1", "roc_auc", "r2", "mae", "loss")  # what people look at first
MOST, BEST = 40, 10  # jobs that have a line on the screen, and how many of the best where not all have one
ALIKE = ("name", "config_version")  # follow from other settings


@dataclass(frozen=True)
class Job:
    """One run of a sweep, as its folder tells it."""

    number: int
    status: str
    settings: Mapping[str, object]  # by dotted name
    metrics: Mapping[str, float]
    seconds: float | None
    reason: str = ""  # why it failed
    asked: Mapping[str, str] = field(default_factory=dict)  # what its command line set, by dotted name

    @property
    def failed(self) -> bool:
        """Whether the job has no result: it failed, diverged, was interrupted or never began."""
        return self.status not in ("finished", "pruned")

    def setting(self, name: str) -> object:
        """The value of a setting; of a job that failed before its settings were complete, what was asked for."""
        return self.settings.get(name) if self.settings else self.asked.get(name)


def conclude(sweep: Path, console: Console | None = None) -> int:
    """Print the table of all jobs in the folder of a sweep and write it as CSV: -> the number of failed jobs."""
    jobs = read_jobs(sweep)
    console = console or terminal()
    if jobs:
        write_atomic(sweep / SWEEP_TABLE, _csv(jobs))
        shown = jobs if len(jobs) <= MOST else [*leading(jobs), *[job for job in jobs if job.failed][: MOST - BEST]]
        console.print(_fitting(shown, console))
        if len(shown) < len(jobs):
            console.print(Text(f"the best and the failed of {len(jobs)} jobs; all of them stand in {SWEEP_TABLE}", "dim"))
    for job in jobs:
        if job.failed:
            console.print(Text(f"job {job.number} {job.status}" + (f": {job.reason}" if job.reason else ""), "red"), soft_wrap=True)
    console.print(Text(printable(sweep), "blue"), soft_wrap=True)
    return sum(job.failed for job in jobs)


def read_jobs(sweep: Path) -> list[Job]:
    """The numbered folders of a sweep, in order."""
    numbers = sorted(int(path.name) for path in sweep.iterdir() if path.name.isdecimal() and path.is_dir())
    return [read_one(number, sweep / str(number)) for number in numbers]


def read_one(number: int, path: Path) -> Job:
    """One run folder; what cannot be read is a failed job."""
    try:
        folder = RunFolder.open(path)
        run = folder.read_run()
    except DnnlabError as lost:
        if not any(path.iterdir()):
            return Job(number, "not begun", {}, {}, None)
        return Job(number, "failed", {}, {}, None, printable(lost))
    try:
        settings = flat(folder.read_config())
    except DnnlabError:  # it failed before its settings were complete
        settings = {}
    error = run.get("error") or {}
    reason = " - ".join(printable(error[part]) for part in ("what", "where", "fix") if error.get(part))
    status = str(run.get("status"))
    if status == "running":
        status, reason = "unfinished", "its process ended without a word, or still runs"
    metrics = {str(name): float(value) for name, value in (run.get("metrics") or {}).items()}
    words = [str(word).lstrip("+").partition("=") for word in run.get("command") or run.get("overrides") or ()]
    asked = {name.replace("/", "."): value for name, _, value in words}
    return Job(number, printable(status), settings, metrics, run.get("seconds"), reason, asked)


def flat(config: Mapping[str, Any], before: str = "") -> dict[str, object]:
    """Settings by dotted name; the kind of a group is the group's own value.

    >>> flat({"model": {"kind": "mlp", "hidden": [8, 8]}, "seed": 0})
    {'model': 'mlp', 'model.hidden': '[8, 8]', 'seed': 0}
    """
    found: dict[str, object] = {}
    for key, value in config.items():
        name = before if key == "kind" and before else f"{before}.{key}" if before else str(key)
        if isinstance(value, Mapping):
            found |= flat(value, name)
        else:
            found[name] = value if value is None or isinstance(value, bool | int | float | str) else str(value)
    return found


def differing(jobs: Sequence[Job]) -> list[str]:
    """The settings that tell jobs apart. Where groups have another kind, only what differs within one kind counts besides.

    Of model=mlp,deep it names `model`, not every setting that only one of the two has.
    """
    known = [job.settings for job in jobs if job.settings]
    names = [name for name in dict.fromkeys(name for settings in known for name in settings) if name not in ALIKE]
    found = [name for name in names if _differs(name, known)]
    of_lost = dict.fromkeys(name for job in jobs if not job.settings for name in job.asked)
    found += [name for name in of_lost if name not in found and len({job.asked.get(name) for job in jobs}) > 1]
    return sorted(found, key=lambda name: name == "seed")  # the seed last


def _differs(name: str, known: Sequence[Mapping[str, object]]) -> bool:
    group = name.split(".")[0]
    seen: dict[str, set[str]] = {}
    for settings in known:
        kind = "" if name == group else repr(settings.get(group))
        seen.setdefault(kind, set()).add(repr(settings.get(name)))
    return any(len(values) > 1 for values in seen.values())


def headline(jobs: Sequence[Job]) -> list[str]:
    """The metrics that the table shows: test before valid, the first of the usual ones that the jobs have, and the loss."""
    have = {name for job in jobs for name in job.metrics}
    shown: list[str] = []
    for part in ("test", "valid", "train"):
        names = [f"{part}/{name}" for name in HEADLINES if f"{part}/{name}" in have]
        shown += dict.fromkeys(names[:1] + names[-1:])
    return shown[:4]


def best(jobs: Sequence[Job], metric: str) -> float | None:
    """The best value of a metric among the jobs that finished; None where they have none, or are one."""
    values = [job.metrics[metric] for job in jobs if not job.failed and metric in job.metrics]
    values = [value for value in values if value == value]
    if len(values) < 2:
        return None
    return max(values) if HIGHER_IS_BETTER.get(metric.split("/")[-1], False) else min(values)


def leading(jobs: Sequence[Job]) -> list[Job]:
    """The jobs that are best in the first metric of the table."""
    metric = next(iter(headline(jobs)), "")
    done = [job for job in jobs if not job.failed and job.metrics.get(metric, float("nan")) == job.metrics.get(metric)]
    sign = -1 if HIGHER_IS_BETTER.get(metric.split("/")[-1], False) else 1
    return sorted(done, key=lambda job: sign * job.metrics.get(metric, 0.0))[:BEST]


def _fitting(jobs: Sequence[Job], console: Console) -> Table:
    """The table with as many metrics as stand side by side; where settings take the room, with two, or one on a narrow screen."""
    metrics, least = headline(jobs), 2 if console.width >= 60 else 1
    for count in range(len(metrics), least, -1):
        table = _table(jobs, metrics[:count], console.width)
        if console.measure(table, options=console.options.update(width=1000)).maximum <= console.width:
            return table
    return _table(jobs, metrics[:least], console.width)


def _table(jobs: Sequence[Job], metrics: Sequence[str], width: int) -> Table:
    settings = differing(jobs)
    table = Table(header_style="bold", padding=(0, 1), pad_edge=False, box=None)
    table.add_column("job", justify="right", no_wrap=True)
    for title in short_names(settings):
        table.add_column(Text(printable(title)), overflow="fold", min_width=3)
    for metric in metrics:
        table.add_column(Text(printable(metric)), justify="right", overflow="fold", min_width=6)
    if roomy := width >= 60:
        table.add_column("time", justify="right", no_wrap=True)
    table.add_column("status", overflow="fold", no_wrap=roomy)
    winners = {metric: best(jobs, metric) for metric in metrics}
    for job in jobs:
        row = [Text(_shown(job.setting(name))) for name in settings]
        row += [_metric(job, metric, winners[metric]) for metric in metrics]
        row += [Text("" if job.seconds is None else duration(job.seconds))] if roomy else []
        table.add_row(str(job.number), *row, Text(job.status, "red" if job.failed else "green"))
    return table


def _metric(job: Job, metric: str, winner: float | None) -> Text:
    value = job.metrics.get(metric)
    if value is None:
        return Text("")
    return Text(number(value), "bold green" if value == winner and not job.failed else "")


def _shown(value: object) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else printable(value)


def short_names(names: Sequence[str]) -> list[str]:
    """The last part of each dotted name, or as much more of it as tells it from the others.

    >>> short_names(["model", "optimizer.lr", "scheduler.factor", "activation.factor"])
    ['model', 'lr', 'scheduler.factor', 'activation.factor']
    """
    last = [name.rsplit(".", 1)[-1] for name in names]
    return [short if last.count(short) == 1 else name for name, short in zip(names, last, strict=True)]


def _csv(jobs: Sequence[Job]) -> str:
    settings = differing(jobs)
    metrics = dict.fromkeys(name for job in jobs for name in job.metrics)
    rows = [
        {"job": job.number}
        | {name: job.setting(name) for name in settings}
        | {name: job.metrics.get(name) for name in metrics}
        | {"status": job.status, "reason": job.reason}  # and no times: equal sweeps leave equal bytes
        for job in jobs
    ]
    return to_csv(rows)
