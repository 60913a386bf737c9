"""How good a trained network is on the rows of a file, or on the rows that its run set apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import torch
from torch import Tensor

from dnnlab import losses, metrics
from dnnlab.build.rows import build_rows
from dnnlab.build.training import loss_kind
from dnnlab.errors import ConfigError, DataError, did_you_mean, shown
from dnnlab.predict import pieces, place_in
from dnnlab.predictor import Predictor
from dnnlab.runfolder import RunFolder
from dnnlab.tables.columns import Place, as_numbers
from dnnlab.tables.target import words_as_meant
from dnnlab.tasks import Task

SCORED = 8192


def evaluate_file(predictor: Predictor, file: str, *, form: str = "auto", strict: bool = False) -> dict[str, float]:
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


def figures_of(predictor: Predictor, scores: Tensor, target: Tensor) -> dict[str, float]:
    """All figures that fit. scores: (N, C); target: as tasks.Task has it."""
    margin = loss_kind(predictor.config, predictor.answer.task) in losses.MARGIN
    with torch.inference_mode():
        return metrics.figures(predictor.answer, scores, target, metrics.default_final(predictor.answer.task, margin=margin))


def target_of(predictor: Predictor, frame: pl.DataFrame, place: Place) -> Tensor:
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
    config = predictor.config
    if config.data.kind == "memory":
        raise ConfigError(
            "evaluate must have rows, however: those of this run were in memory only",
            where="RUN",
            fix="Name a file: dnnlab evaluate RUN FILE",
        )
    dtype = next(predictor.network.parameters()).dtype
    rows = build_rows(config, dtype, torch.device("cpu"))
    if rows.table is not None:
        check_unchanged(RunFolder.open(Path(path)).read_run().get("data", []), rows.table.files, allow_change=allow_change)
    rows = rows.for_loss(loss_kind(config, rows.task), config.data.scale)
    told: dict[str, float] = {}
    for name, part in rows.parts().items():
        if name != "train":
            scores = metrics.score_all(predictor.network, part.x, batch_rows=SCORED)
            told |= {f"{name}/{figure}": value for figure, value in figures_of(predictor, scores, part.y).items()}
    return told


def check_unchanged(before: Sequence[dict[str, object]], now: Sequence[object], *, allow_change: bool) -> None:
    """D27: the files of a run must be what they were."""
    hashes = {str(file.get("path")): str(file.get("sha256")) for file in before}
    for file in now:
        path, found = str(getattr(file, "path", "")), str(getattr(file, "sha256", ""))
        was = hashes.get(path, found)
        if was != found and not allow_change:
            raise DataError(
                f"the data must be what the network was trained on, however: the file's SHA-256 is {found[:16]}… and was {was[:16]}…",
                where=path,
                fix="Bring the old file back, or allow it: --allow-data-change",
            )
