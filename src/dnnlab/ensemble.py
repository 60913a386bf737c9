"""Several trained networks that answer as one: the mean of their probabilities, or of their numbers, each with its weight.

An ensemble is a folder of its own: ensemble.json, and a whole run folder for each member below members/. What it opens, it opens as
`predictor.load` does: nothing in it executes.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import polars as pl
import torch
from torch import Tensor

from dnnlab import metrics
from dnnlab.config.run import RunConfig
from dnnlab.errors import ArtifactError, BusyError, ConfigError, shown
from dnnlab.evaluate import figures_of, own_parts
from dnnlab.files import naming, write_atomic
from dnnlab.predictor import Answering, Notes, Predictor, load
from dnnlab.runfolder import RunFolder
from dnnlab.runfolder.inside import open_inside, read_inside
from dnnlab.runfolder.names import MANIFEST
from dnnlab.runfolder.sealed import sealed, unsealed
from dnnlab.tables.columns import Place
from dnnlab.tables.schema import Schema
from dnnlab.tasks import Answer, Link, Task

ENSEMBLE, MEMBERS = "ensemble.json", "members"
FORMAT = 1
MOST = 1000  # members
ROUNDS = 50  # of the greedy selection


@final
@dataclass(frozen=True, eq=False)
class Ensemble:
    """Members that answer together; it answers the calls of a `Predictor`."""

    members: tuple[Predictor, ...]
    weights: tuple[float, ...]  # sum 1
    answer: Answer
    notes: Notes = field(default_factory=Notes)

    @property
    def config(self) -> RunConfig:
        """The settings of the first member."""
        return self.members[0].config

    @property
    def schema(self) -> Schema:
        """The columns, which all members have."""
        return self.members[0].schema

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of their codes; empty where the answer is a number."""
        return self.members[0].classes

    @property
    def passed_over(self) -> str:
        """Damaged checkpoints, after the ones that answer."""
        return "; ".join(member.passed_over for member in self.members if member.passed_over)

    def scores(self, frame: pl.DataFrame, place: Place = lambda row: f"row {row}", *, strict: bool = False) -> Tensor:
        """Scores that mean the mean answer: (B, C) of float64."""
        found = combined(self.members, self.weights, [member.scores(frame, place, strict=strict) for member in self.members])
        self._note(self.members[0].notes)
        return found

    def predict(
        self, table: pl.DataFrame, *, proba: bool = False, place: Place = lambda row: f"row {row}", strict: bool = False
    ) -> pl.DataFrame:
        """The answer of each row; see `Predictor.predict`."""
        return replace(self.members[0], answer=self.answer).answers(self.scores(table, place, strict=strict), proba=proba)

    def _note(self, met: Notes) -> None:
        """What the first member met: the others' rows were the same."""
        self.notes.unseen, self.notes.missing, self.notes.extra, self.notes.rows = met.unseen, met.missing, met.extra, met.rows


def combined(members: Sequence[Predictor], weights: Sequence[float], scores: Sequence[Tensor]) -> Tensor:
    """The members' scores (B, C) as one: those whose answer is the weighted mean of the members' answers. -> (B, C) of float64."""
    task = members[0].answer.task
    if not task.classifies:
        values = [member.answer.values(own.double()) for member, own in zip(members, scores, strict=True)]
        return torch.stack([weight * value for weight, value in zip(weights, values, strict=True)]).sum(0)
    chances = [member.answer.probabilities(own.double()) for member, own in zip(members, scores, strict=True)]
    p = torch.stack([weight * chance for weight, chance in zip(weights, chances, strict=True)]).sum(0)
    tiny = torch.finfo(p.dtype).tiny
    if task is Task.BINARY:
        return (p.clamp_min(tiny).log() - (1 - p).clamp_min(tiny).log()).unsqueeze(1)
    return p.clamp_min(tiny).log()


def _answer(members: Sequence[Predictor]) -> Answer:
    task = members[0].answer.task
    link: Link = "sigmoid" if task is Task.BINARY else "softmax" if task is Task.MULTICLASS else "identity"
    return Answer(task, link)


def together(members: Sequence[Predictor], weights: Sequence[float], names: Sequence[str]) -> Ensemble:
    """An ensemble in memory; ConfigError where the members do not answer the same question. names: of the members, for messages."""
    first = members[0]
    if first.answer.task is Task.RECONSTRUCTION:
        raise ConfigError("an ensemble must have answers to average, however: autoencoders restore rows", where=names[0])
    for member, name in zip(members, names, strict=True):
        if _question(member) != _question(first):
            raise ConfigError(
                "the members of an ensemble must have the same columns, targets and classes, however: one has others",
                where=f"{shown(name)} and {shown(names[0])}",
                fix="Take runs of the same data",
            )
    total = sum(weights)
    return Ensemble(tuple(members), tuple(weight / total for weight in weights), _answer(members))


def _question(member: Predictor) -> tuple[object, ...]:
    columns = tuple((column.name, column.role) for column in member.schema.columns)
    return columns, member.schema.targets, member.classes, member.answer.task


def make(runs: Sequence[Path], output: Path, *, greedy: bool = False, trusted: Collection[str] = (), env: Collection[str] = ()) -> Ensemble:
    """Write the ensemble of these runs into a new folder. greedy: choose members and weights on validation rows (Caruana et al. 2004)."""
    if not 1 <= len(runs) <= MOST:
        raise ConfigError(f"an ensemble must have 1 to {MOST:,} members, however: {len(runs)}", where="command line")
    if (output / ENSEMBLE).exists() or (output.exists() and any(output.iterdir())):
        raise BusyError("must be an empty or a new folder, however it holds something", where=str(output), fix="Try another -o")
    members = [load(run, trusted, env=env) for run in runs]
    found = together(members, [1.0] * len(members), [str(run) for run in runs])
    weights: Sequence[float] = found.weights
    if greedy:
        weights = selected(found, runs)
    kept = [(run, member, weight) for run, member, weight in zip(runs, members, weights, strict=True) if weight > 0]
    with naming(output):
        (output / MEMBERS).mkdir(parents=True)
    for number, (run, _, _) in enumerate(kept):
        _copy(run, output / MEMBERS / str(number))
    told = [{"folder": f"{MEMBERS}/{number}", "weight": weight, "from": run.name} for number, (run, _, weight) in enumerate(kept)]
    write_atomic(output / ENSEMBLE, sealed({"format": FORMAT, "members": told}))
    return together([member for _, member, _ in kept], [weight for _, _, weight in kept], [str(run) for run, _, _ in kept])


def _copy(run: Path, to: Path) -> None:
    """The files that a run folder vouches for, and the manifest that does."""
    names = RunFolder.open(run).read_manifest().files
    for name in (*names, MANIFEST):
        with naming(to / name):
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            with open_inside(run, name) as source, (to / name).open("xb") as copy:
                shutil.copyfileobj(source, copy)


def is_ensemble(path: Path) -> bool:
    """Whether a folder is an ensemble's."""
    return (path / ENSEMBLE).is_file()


def members_of(path: Path) -> list[tuple[Path, float]]:
    """The folders and weights that an ensemble's folder names; ArtifactError where it is damaged."""
    where = str(path / ENSEMBLE)
    document: Mapping[str, Any] = unsealed(read_inside(path, ENSEMBLE), where)
    match document:
        case {"format": 1, "members": [_, *_] as members} if len(members) <= MOST:
            return [(path / MEMBERS / str(number), _weight(member, number, where)) for number, member in enumerate(members)]
    raise ArtifactError(f"must be an ensemble of format {FORMAT}, however it says something else", where=where)


def _weight(member: Any, number: int, where: str) -> float:
    match member:
        case {"folder": folder, "weight": float(weight)} if folder == f"{MEMBERS}/{number}" and 0 < weight <= 1:
            return weight
    raise ArtifactError(f"must name members/{number} with a weight above 0, however: {shown(member)}", where=where)


def open_any(path: str | Path, trusted: Collection[str] = (), *, fallback: bool = False, env: Collection[str] = ()) -> Answering:
    """The network of a run folder, or the networks of an ensemble's; see `predictor.load`."""
    if not is_ensemble(Path(path)):
        return load(path, trusted, fallback=fallback, env=env)
    found = members_of(Path(path))
    members = [load(folder, trusted, fallback=fallback, env=env) for folder, _ in found]
    return together(members, [weight for _, weight in found], [str(folder) for folder, _ in found])


def judged(ensemble: Ensemble, runs: Sequence[Path], *, allow_change: bool = False) -> Iterator[tuple[str, Tensor, Tensor]]:
    """The ensemble's scores of the rows that its members' runs set apart, and their target: valid and test.

    ConfigError where the members were divided differently: what one was validated with, another has learned.
    """
    if len({_division(member) for member in ensemble.members}) > 1:
        raise ConfigError(
            "the members of an ensemble must have been divided alike to be judged by their own rows, however: they were not",
            where="data.split_seed",
            fix="Train with one data.split_seed, or name a file: dnnlab evaluate ENSEMBLE FILE",
        )
    for parts in zip(*(own_parts(m, run, allow_change=allow_change) for m, run in zip(ensemble.members, runs, strict=True)), strict=True):
        target = _unscaled(ensemble.members[0], parts[0][1][1])
        yield parts[0][0], combined(ensemble.members, ensemble.weights, [scores for _, (scores, _) in parts]), target


def _division(member: Predictor) -> tuple[str, int | None]:
    """On what it depends which rows were learned from."""
    data = member.config.data
    return data.model_dump_json(), member.config.seed if getattr(data, "split_seed", None) is None else None


def _unscaled(member: Predictor, target: Tensor) -> Tensor:
    return target if member.answer.task.classifies else member.answer.unscale(target.double())


def evaluate(ensemble: Ensemble, path: Path, *, allow_change: bool = False) -> dict[str, float]:
    """The figures of the members' own validation and test rows."""
    runs = [folder for folder, _ in members_of(path)]
    return {
        f"{name}/{figure}": value
        for name, scores, target in judged(ensemble, runs, allow_change=allow_change)
        for figure, value in figures_of(ensemble, scores, target).items()
    }


def selected(ensemble: Ensemble, runs: Sequence[Path]) -> list[float]:
    """Weights by greedy selection: again and again the member is added, also a second time, with which the whole is best on validation
    rows: log loss for classes, squared error for numbers."""
    parts = [dict(own_parts(member, run)) for member, run in zip(ensemble.members, runs, strict=True)]
    if any("valid" not in part for part in parts):
        raise ConfigError("greedy selection must have validation rows, however: there are none", where="data.valid")
    next(judged(ensemble, runs))  # they were divided alike
    _, target = parts[0]["valid"]
    target = _unscaled(ensemble.members[0], target)
    scores = [part["valid"][0] for part in parts]
    figure = "log_loss" if ensemble.answer.task.classifies else "mse"
    counts = [0] * len(scores)
    best = float("inf")
    for _ in range(ROUNDS):
        losses = [_loss(ensemble, counts, own, scores, target, figure) for own in range(len(scores))]
        chosen = min(range(len(scores)), key=lambda own: losses[own])
        if losses[chosen] >= best:
            break
        best = losses[chosen]
        counts[chosen] += 1
    total = sum(counts)
    return [count / total for count in counts]


def _loss(ensemble: Ensemble, counts: Sequence[int], more: int, scores: Sequence[Tensor], target: Tensor, figure: str) -> float:
    """Of the members that are chosen already and one more."""
    weights = [float(count + (number == more)) for number, count in enumerate(counts)]
    total = sum(weights)
    mixed = combined(ensemble.members, [weight / total for weight in weights], scores)
    return metrics.figures(ensemble.answer, mixed, target, [figure])[figure]
