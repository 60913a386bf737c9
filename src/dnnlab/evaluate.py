"""How good a trained network is on the rows of a file, or on the rows that its run set apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import torch
from torch import Tensor

from dnnlab import losses, metrics
from dnnlab.build.rows import build_rows, parts_of
from dnnlab.build.training import loss_kind
from dnnlab.config.table import Files, Table
from dnnlab.errors import ConfigError, DataError, did_you_mean, shown
from dnnlab.predict import pieces, place_in
from dnnlab.predictor import Answering, Predictor
from dnnlab.runfolder import RunFolder
from dnnlab.tables.columns import Place, as_numbers
from dnnlab.tables.target import words_as_meant
from dnnlab.tables.unchanged import check_unchanged
from dnnlab.tasks import Task

SCORED = 8192


def evaluate_file(predictor: Answering, file: str, *, form: str = "auto", strict: bool = False) -> dict[str, float]:
    """The figures of all rows of a file; DataError where it has no target (D20), or a class that the network does not know."""
    if predictor.answer.task is Task.RECONSTRUCTION:
        raise ConfigError(
            "evaluate must have a target to compare with, however: an autoencoder has none",
            where="RUN",
            fix="Try dnnlab predict, which tells reconstruction_error",
        )
    scores, targets = [], []
    for frame, before in pieces(predictor, file, form):
        place = place_in(predictor, file, before)
        targets.append(target_of(predictor, frame, place))
        scores.append(predictor.scores(frame, place, strict=strict))
    if not scores:
        raise DataError("a file to be judged must have rows, however: it has none", where=file)
    return figures_of(predictor, torch.cat(scores), torch.cat(targets))


def figures_of(predictor: Answering, scores: Tensor, target: Tensor) -> dict[str, float]:
    """All figures that fit. scores: (N, C); target: as tasks.Task has it."""
    margin = loss_kind(predictor.config, predictor.answer.task) in losses.MARGIN
    with torch.inference_mode():
        return metrics.figures(predictor.answer, scores, target, metrics.default_final(predictor.answer.task, margin=margin))


def target_of(predictor: Answering, frame: pl.DataFrame, place: Place) -> Tensor:
    """The target of rows, in the form that the task has, and scaled as the network's answers are."""
    schema, answer = predictor.schema, predictor.answer
    if lacking := [name for name in schema.targets if name not in frame.columns]:
        raise DataError(
            f"rows to be judged must have the target, however: {shown(lacking[0])} is no column",
            where="header",
            fix=did_you_mean(lacking[0], frame.columns[:20]),
        )
    if not answer.task.classifies:
        columns = [_whole(as_numbers(frame[name], place), place) for name in schema.targets]
        y = torch.stack([torch.from_numpy(column.to_numpy().copy()) for column in columns], 1)
        y = y.log1p() if answer.log else y
        return (y - y.new_tensor(answer.shift)) / y.new_tensor(answer.factor) if answer.shift else y
    words = _whole(words_as_meant(frame[schema.targets[0]], schema.relabel), place)
    codes = words.replace_strict(list(schema.classes), list(range(len(schema.classes))), default=None, return_dtype=pl.Int64)
    if codes.null_count():
        row = int(codes.is_null().arg_max() or 0)
        raise DataError(
            f"a class must be one that the network knows, however: {shown(words[row])}"
            + (f" (and {codes.null_count() - 1:,} more)" * (codes.null_count() > 1)),
            where=f"{place(row)}, column {shown(words.name)}",
            fix=f"Classes: {', '.join(map(shown, schema.classes[:20]))}",
        )
    target = torch.from_numpy(codes.to_numpy().copy())
    return target.to(torch.float64).unsqueeze(1) if answer.task is Task.BINARY else target


def _whole(series: pl.Series, place: Place) -> pl.Series:
    if series.null_count():
        row = int(series.is_null().arg_max() or 0)
        raise DataError(
            f"every row must have a target, however: {series.null_count():,} have none",
            where=f"{place(row)}, column {shown(series.name)}",
            fix="Take these rows out of the file",
        )
    return series


def evaluate_run(predictor: Predictor, path: str | Path, *, allow_change: bool = False) -> dict[str, float]:
    """The figures of the run's own rows, read anew: valid/… and test/…; DataError where a file is no longer what it was (D27)."""
    judged = own_parts(predictor, path, allow_change=allow_change)
    return {f"{name}/{figure}": value for name, parts in judged for figure, value in figures_of(predictor, *parts).items()}


Judged = Iterator[tuple[str, tuple[Tensor, Tensor]]]  # a part's name, its scores (N, C) and its target


def own_parts(predictor: Predictor, path: str | Path, *, allow_change: bool = False) -> Judged:
    """The scores of the rows that the run at `path` set apart, read anew, and their target."""
    config = predictor.config
    if config.data.kind == "memory":
        raise ConfigError(
            "evaluate must have rows, however: those of this run were in memory only",
            where="RUN",
            fix="Name a file: dnnlab evaluate RUN FILE",
        )
    if isinstance(config.data, Files) and "-" in (config.data.path, config.data.valid_path, config.data.test_path):
        raise ConfigError(
            "evaluate must have rows, however: those of this run were piped in",
            where="RUN",
            fix="Name a file: dnnlab evaluate RUN FILE, or pipe them in again: dnnlab evaluate RUN -",
        )
    if isinstance(config.data, Table):
        return _table_parts(predictor, config.data, path, allow_change=allow_change)
    return _other_parts(predictor)


def _table_parts(predictor: Predictor, settings: Table, path: str | Path, *, allow_change: bool) -> Judged:
    """The rows of a table go through the encoder that was saved: one fitted anew would be another, had the files changed."""
    from dnnlab.build.tables import read_rows, understood

    config = predictor.config
    gathered, targets, called = read_rows(settings)
    if not allow_change:
        check_unchanged(RunFolder.open(Path(path)).read_run().get("data", []), gathered.files)
    table = understood(settings, gathered, targets, called)
    frame, place = table.gathered.frame, table.gathered.place
    for name, index in parts_of(config, table.source).items():
        if name == "train":
            continue
        rows, where = frame[index.numpy()], _moved(place, index)
        x = predictor.encoded(rows, where)
        scores = metrics.score_all(predictor.network, x, batch_rows=SCORED)
        yield name, (scores, x if predictor.answer.task is Task.RECONSTRUCTION else target_of(predictor, rows, where))


def _moved(place: Place, index: Tensor) -> Place:
    return lambda row: place(int(index[row]))


def _other_parts(predictor: Predictor) -> Judged:
    """Rows that are no table are the same whenever they are read."""
    config = predictor.config
    rows = build_rows(config, next(predictor.network.parameters()).dtype, torch.device("cpu"))
    rows = rows.for_loss(loss_kind(config, rows.task), config.data.scale)
    for name, part in rows.parts().items():
        if name != "train":
            yield name, (metrics.score_all(predictor.network, part.x, batch_rows=SCORED), part.y)
