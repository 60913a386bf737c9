"""A trained network, read back from its run folder and nothing else: rows in, answers out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, get_args

import polars as pl
import torch
from torch import Tensor, nn

from dnnlab.build.network import empty_network, fill
from dnnlab.config.run import RunConfig
from dnnlab.config.saved import read_saved
from dnnlab.data.encoding import Encoder, encode
from dnnlab.data.saved import restore_encoder
from dnnlab.errors import ArtifactError, DataError, did_you_mean, shown
from dnnlab.features import Layout
from dnnlab.metrics import score_all
from dnnlab.runfolder import Generation, RunFolder
from dnnlab.runfolder.generations import BESIDE
from dnnlab.runfolder.tensorfile import forms
from dnnlab.tables.columns import Place, as_words, parts_of
from dnnlab.tables.convert import encode_words, numbers
from dnnlab.tables.memory import without
from dnnlab.tables.schema import Schema, read_schema
from dnnlab.tasks import Answer, Link, Task

SCORED = 8192  # rows that are scored at once


@dataclass
class Notes:
    """What was met in later rows that training rows did not have."""

    unseen: dict[str, int] = field(default_factory=dict)  # cells by column whose category is another one
    missing: dict[str, int] = field(default_factory=dict)  # cells by column without a number
    extra: tuple[str, ...] = ()  # columns that nobody asked for
    rows: int = 0


class Answering(Protocol):
    """Whatever answers rows: one network, or several."""

    @property
    def config(self) -> RunConfig:
        """The settings."""

    @property
    def schema(self) -> Schema:
        """The columns."""

    @property
    def answer(self) -> Answer:
        """What scores mean."""

    @property
    def notes(self) -> Notes:
        """What was met in later rows."""

    @property
    def passed_over(self) -> str:
        """A damaged checkpoint, after the one that answers."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of their codes; empty where the answer is a number."""

    def scores(self, frame: pl.DataFrame, place: Place = ..., *, strict: bool = False) -> Tensor:
        """Raw scores: (B, C)."""

    def predict(self, table: pl.DataFrame, *, proba: bool = False, place: Place = ..., strict: bool = False) -> pl.DataFrame:
        """The answer of each row."""


@dataclass(frozen=True, eq=False)
class Predictor:
    """The encoder, the network with its best weights, and what its scores mean.

    `predict` answers a table of rows; `scores` gives what lies beneath.
    """

    config: RunConfig
    schema: Schema
    encoder: Encoder
    network: nn.Module
    answer: Answer
    notes: Notes = field(default_factory=Notes)
    passed_over: str = ""  # a damaged checkpoint, after the one that answers

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of their codes; empty where the answer is a number."""
        return self.schema.classes if self.answer.task.classifies else ()

    def encoded(self, frame: pl.DataFrame, place: Place, *, strict: bool = False) -> Tensor:
        """x: (B, D) of rows whose columns may stand in any order; DataError for a missing column or a cell that cannot be read.

        strict: a category that the training rows did not have is an error.
        """
        self._check_columns(frame)
        frame = without(pl.DataFrame([frame[column.name] for column in self.schema.inputs]), ("", *self.schema.na_values))
        specs = [column.spec for column in self.schema.inputs]
        found = torch.from_numpy(numbers(frame, specs, place))
        self._check_missing(found, place)
        codes = torch.zeros(len(frame), len(self.encoder.vocabularies), dtype=torch.int32)
        for column, (name, words) in enumerate(zip(self.encoder.category_names, self.encoder.vocabularies, strict=True)):
            cells = as_words(frame[name])
            coded, unseen = encode_words(cells, words.words, words.missing_code)
            if unseen:
                self._note_unseen(name, cells, coded, unseen, place, strict=strict)
            codes[:, column] = torch.from_numpy(coded)
        self.notes.rows += len(frame)
        return encode(self.encoder, found, codes, _dtype(self.network))

    def scores(self, frame: pl.DataFrame, place: Place = lambda row: f"row {row}", *, strict: bool = False) -> Tensor:
        """Raw scores: (B, C)."""
        return score_all(self.network, self.encoded(frame, place, strict=strict), batch_rows=SCORED)

    def predict(
        self, table: pl.DataFrame, *, proba: bool = False, place: Place = lambda row: f"row {row}", strict: bool = False
    ) -> pl.DataFrame:
        """The answer of each row, in the order of the rows: `prediction`, or `prediction_<target>` for each of several; with proba
        `probability_<class>` for each class. An autoencoder tells `reconstruction_error`, with proba also what it restored.
        """
        x = self.encoded(table, place, strict=strict)
        scores = score_all(self.network, x, batch_rows=SCORED)
        if self.answer.task is not Task.RECONSTRUCTION:
            return self.answers(scores, proba=proba)
        values = self.answer.values(scores)
        error = pl.DataFrame({"reconstruction_error": (values - x).square().mean(1).numpy()})
        restored = {f"restored_{name}": column.numpy() for name, column in zip(self.encoder.names, values.unbind(1), strict=True)}
        return error.with_columns(pl.Series(name, column) for name, column in restored.items()) if proba else error

    def answers(self, scores: Tensor, *, proba: bool = False) -> pl.DataFrame:
        """Scores (B, C) as people read them."""
        if not self.answer.task.classifies:
            values = self.answer.values(scores.double())
            names = self._answer_names(values.shape[1])
            return pl.DataFrame({name: column.numpy() for name, column in zip(names, values.unbind(1), strict=True)})
        labels = pl.Series("prediction", self.answer.labels(scores).numpy()).replace_strict(
            list(range(len(self.classes))), list(self.classes), return_dtype=pl.String
        )
        columns = [labels]
        if proba:
            p = self.answer.probabilities(scores.double())
            both = torch.stack([1 - p, p], 1) if p.dim() == 1 else p
            columns += [pl.Series(f"probability_{name}", column.numpy()) for name, column in zip(self.classes, both.unbind(1), strict=True)]
        return pl.DataFrame(columns)

    def _answer_names(self, count: int) -> list[str]:
        return ["prediction"] if count == 1 else [f"prediction_{name}" for name in self.schema.targets]

    def _check_columns(self, frame: pl.DataFrame) -> None:
        """D19: every input must be there; others are noted."""
        wanted = [column.name for column in self.schema.inputs]
        others = [name for name in frame.columns if name not in wanted]
        if lacking := [name for name in wanted if name not in frame.columns]:
            raise DataError(
                f"the rows must have the columns that the network learned from, however: {', '.join(shown(name) for name in lacking[:10])} "
                f"{'is' if len(lacking) == 1 else 'are'} missing",
                where="header",
                fix=did_you_mean(lacking[0], others[:20]) if others else "",
            )
        known = {column.name for column in self.schema.columns}
        self.notes.extra = tuple(name for name in frame.columns if name not in known)

    def _check_missing(self, found: Tensor, place: Place) -> None:
        """D11: counted; refused where the run refused them."""
        holes = found.isnan()
        for name, column in zip(self.encoder.features, holes.unbind(1), strict=True):
            count = int(column.sum())
            if not count:
                continue
            if getattr(self.config.data, "impute", "refuse") == "refuse":
                raise DataError(
                    f"every row must have a number here, as the training rows had, however: {count:,} have none",
                    where=f"{place(int(column.nonzero()[0]))}, column {shown(name)}",
                    fix="Train with data.impute=median to have such cells filled",
                )
            self.notes.missing[name] = self.notes.missing.get(name, 0) + count

    def _note_unseen(self, name: str, cells: pl.Series, codes: Any, unseen: int, place: Place, *, strict: bool) -> None:
        """D18: another category is none of the known ones, and counted."""
        if strict:
            row = int((codes == 0).argmax())
            raise DataError(
                f"a category must be one of the training rows', however: {shown(str(cells[row]))}"
                + (f" (and {unseen - 1:,} more)" * (unseen > 1)),
                where=f"{place(row)}, column {shown(name)}",
                fix="Leave out --strict to have it counted as none of them",
            )
        self.notes.unseen[name] = self.notes.unseen.get(name, 0) + unseen


def load(path: str | Path, trusted: Collection[str] = (), *, fallback: bool = False, env: Collection[str] = ()) -> Predictor:
    """The network of a finished (or stopped) run. trusted: packages that a model of kind=custom may be imported from.

    fallback: take the checkpoint before where the last is damaged; env: variables of the environment that its settings may read.
    ArtifactError where the folder is damaged or holds no trained state; UntrustedError for a custom model of another package.
    """
    folder = RunFolder.open(Path(path))
    if folder.fold(0).is_dir():
        raise ArtifactError(
            "a run must have one network to answer, however: a cross-validation has one for each fold",
            where=str(folder.path),
            fix=f"Name a fold: {folder.fold(0)}, or train on all rows without data.folds",
        )
    config = read_saved(folder.read_config(), env=env)
    document = folder.read_schema()
    schema = read_schema(document)
    tensors, facts = folder.read_encoder()
    encoder = restore_encoder(facts, tensors)
    answer, outputs = _answer(document.get("answer"), folder)
    _check_together(schema, encoder, answer, outputs, folder)
    network = _network(config, Layout(encoder.numbers, encoder.plain, encoder.cardinalities), outputs, trusted, folder)
    generation = folder.generation(fallback=fallback)
    if generation is None:
        raise ArtifactError(
            "a run must have a trained state, however: there is none yet", where=str(folder.path), fix="Let it train for an epoch"
        )
    weights = weights_of(generation, network, best=config.trainer.restore_best)
    bad = next((name for name, tensor in weights.items() if not tensor.isfinite().all()), None)
    if bad is not None:
        raise ArtifactError(f"{bad} must be finite, however it is not", where=f"{folder.path}/checkpoints")
    fill(network, weights)
    return Predictor(config, schema, encoder, network.eval(), answer, passed_over=generation.instead_of)


def _network(config: RunConfig, layout: Layout, outputs: int, trusted: Collection[str], folder: RunFolder) -> nn.Module:
    """The network that the settings ask for, without its numbers: it takes no memory before the file is known to fit."""
    dtype = torch.float64 if config.precision == "float64" else torch.float32
    try:
        return empty_network(config, layout, outputs, dtype=dtype, trusted=trusted)
    except (RuntimeError, ValueError, OverflowError) as error:
        raise ArtifactError(
            f"the settings must ask for a network that can be, however: {shown(str(error))}", where=f"{folder.path}/config.json, model"
        ) from error


def _answer(document: Any, folder: RunFolder) -> tuple[Answer, int]:
    """-> what scores mean, and how many there are."""
    try:
        link = document["link"]
        if link not in get_args(Link):
            raise ValueError(f"unknown link {link!r}")
        shift, factor = (tuple(float(number) for number in document[name]) for name in ("shift", "factor"))
        found = folder.read_run().get("metrics", {}).get("best/threshold")
        threshold = _asked_threshold(folder) if found is None else float(found)
        answer = Answer(Task(document["task"]), link, shift, factor, threshold=threshold, log=document["log"] is True)
        outputs = int(document["outputs"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(
            f"the schema must say what scores mean, however: {shown(str(error))}", where=f"{folder.path}/schema.json"
        ) from error
    return answer, outputs


def _check_together(schema: Schema, encoder: Encoder, answer: Answer, outputs: int, folder: RunFolder) -> None:
    """What the schema tells must be what the encoder takes and the network answers."""
    parts = tuple(part for column in schema.inputs for part in parts_of(column.spec))
    words = tuple(column.name for column in schema.inputs if column.role == "categorical")
    scores = {Task.BINARY: 1, Task.MULTICLASS: len(schema.classes), Task.REGRESSION: len(schema.targets)}.get(answer.task, outputs)
    wrong = [
        *["the columns are not those of the encoder"] * ((parts, words) != (encoder.features, encoder.category_names)),
        *[f"{outputs} outputs do not fit the targets"] * (outputs != scores),
        *["two classes must have two names"] * (answer.task is Task.BINARY and len(schema.classes) != 2),
        *["the target's scale has another width"] * (bool(answer.shift) and not len(answer.shift) == len(answer.factor) == outputs),
    ]
    if wrong:
        raise ArtifactError(f"the schema of a run must fit its network, however: {wrong[0]}", where=f"{folder.path}/schema.json")


def _asked_threshold(folder: RunFolder) -> float:
    asked = folder.read_config().get("metrics", {}).get("threshold", 0.5)
    return float(asked) if isinstance(asked, int | float) else 0.5


def weights_of(generation: Generation, network: nn.Module, *, best: bool) -> dict[str, Tensor]:
    """What predicts: the best weights, or the last ones (averaged, if there is an average), by name."""
    own = forms(dict(network.named_parameters()) | dict(network.named_buffers()))
    if best and generation.has_best:
        return generation.read_best(own, "model")
    state = generation.read_state({f"model.{name}": form for name, form in own.items()}, "model", beside=("average.", *BESIDE))
    model = {name.removeprefix("model."): tensor for name, tensor in state.items() if name.startswith("model.")}
    weights = model | {name.removeprefix("average."): tensor for name, tensor in state.items() if name.startswith("average.")}
    if forms(weights) != own:
        raise ArtifactError("averaged weights must have the form of the weights, however they have not", where=str(generation.folder))
    return weights


def _dtype(network: nn.Module) -> torch.dtype:
    return next(network.parameters()).dtype
