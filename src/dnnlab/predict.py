"""A file in, a file of answers out: in pieces, so that it may be larger than memory; rows stay in order."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import polars as pl

from dnnlab.build.tables import dialect_of
from dnnlab.config.table import Csv
from dnnlab.errors import ConfigError, DataError, did_you_mean, shown
from dnnlab.files import cell, naming, printable
from dnnlab.predictor import Answering, Notes
from dnnlab.tables.cells import plain
from dnnlab.tables.columns import as_words
from dnnlab.tables.dialect import Dialect
from dnnlab.tables.paths import find
from dnnlab.tables.schema import Column
from dnnlab.tables.stream import stream

PIECE = 65_536  # rows at once
OUTPUTS = (".csv", ".parquet")


@dataclass(frozen=True)
class Order:
    """What is wanted of a prediction."""

    file: str  # a path, or - for standard input
    output: Path | None = None  # None: CSV to standard output
    proba: bool = False
    keep: tuple[str, ...] = ()  # columns of the file to stand before the answers
    strict: bool = False
    raw: bool = False  # leave text in CSV as it is, even where a spreadsheet takes it for a formula
    form: str = "auto"


def predict_file(predictor: Answering, order: Order) -> Notes:
    """Write the answers of all rows of a file; -> what was met on the way."""
    if order.output is not None and order.output.suffix not in OUTPUTS:
        raise ConfigError(
            f"-o must name a file that ends in {' or '.join(OUTPUTS)}, however: {shown(str(order.output))}",
            where="command line",
            fix="Try -o answers.csv",
        )
    if order.output is not None and order.output.exists() and _is_read(order.output, order.file):
        raise ConfigError(
            "-o must name another file than the rows', however: it is the same", where="command line", fix="Try -o answers.csv"
        )
    answers = _answers(predictor, order)
    if order.output is None:
        _write_csv(answers, sys.stdout, raw=order.raw)
    else:
        _write_whole(answers, order.output, raw=order.raw)
    return predictor.notes


def _is_read(output: Path, file: str) -> bool:
    return any(not found.standard_input and Path(found.path).exists() and output.samefile(found.path) for found in find(file, "FILE"))


def pieces(predictor: Answering, file: str, form: str = "auto") -> Iterator[tuple[pl.DataFrame, int]]:
    """The rows of a file a piece at a time, each with the number of rows before it; a CSV is read in the dialect of the training rows."""
    settings = predictor.config.data
    dialect = dialect_of(settings) if isinstance(settings, Csv) else Dialect(na_values=predictor.schema.na_values)
    before = 0
    for frame in stream(file, form, dialect, rows=PIECE, key="FILE"):
        yield _as_trained(frame, predictor.schema.columns, dialect), before
        before += len(frame)


def _as_trained(frame: pl.DataFrame, columns: Sequence[Column], dialect: Dialect) -> pl.DataFrame:
    """Text is to say what it said when a whole training column had a type: 1.0 is the category 1, True is true."""
    there = [column for column in columns if frame.schema.get(column.name) == pl.String]
    numeric = [plain(frame[column.name], dialect) for column in there if column.role in ("numeric", "target")]
    frame = frame.with_columns(numeric)
    named = [column for column in there if column.role in ("categorical", "target")]
    return frame.with_columns(_worded(frame[column.name], column.type) for column in named)


def _worded(words: pl.Series, trained: str) -> pl.Series:
    """Text as a column of the type `trained` would tell it; what is of no such type stays."""
    if trained == "Boolean":
        small = words.str.to_lowercase()
        return words.zip_with(~small.is_in(["true", "false"]).fill_null(False), small)
    if not trained.startswith(("Int", "UInt", "Float")):
        return words
    whole = words.cast(pl.Int64, strict=False).cast(pl.String)
    number = as_words(words.cast(pl.Float64, strict=False))
    return whole.fill_null(number).fill_null(words).alias(words.name)


def place_in(predictor: Answering, file: str, before: int) -> Callable[[int], str]:
    """Where a row of a piece stands in its file, as a spreadsheet numbers rows."""
    settings = predictor.config.data
    first = before + 1 + (settings.header if isinstance(settings, Csv) else True)
    return lambda row: f"{printable(file)}: row {row + first}"


def _answers(predictor: Answering, order: Order) -> Iterator[pl.DataFrame]:
    keep = list(dict.fromkeys(order.keep))
    for frame, before in pieces(predictor, order.file, order.form):
        if lacking := [name for name in keep if name not in frame.columns]:
            raise ConfigError(
                f"--keep must name columns of the file, however: {shown(lacking[0])} is none",
                where="command line",
                fix=did_you_mean(lacking[0], frame.columns[:20]),
            )
        answered = predictor.predict(frame, proba=order.proba, place=place_in(predictor, order.file, before), strict=order.strict)
        names = distinct([*answered.columns, *keep])[answered.width :]
        yield pl.DataFrame([frame[name].alias(other) for name, other in zip(keep, names, strict=True)] + answered.get_columns())


def distinct(names: Sequence[str]) -> list[str]:
    """Names of columns, each once: what stands there before gets a number.

    >>> distinct(["prediction", "x", "prediction"])
    ['prediction', 'x', 'prediction_2']
    """
    told: list[str] = []
    for name in names:
        number, other = 2, name
        while other in told:
            number, other = number + 1, f"{name}_{number}"
        told.append(other)
    return told


def _write_csv(answers: Iterator[pl.DataFrame], file: TextIO, *, raw: bool) -> None:
    for number, frame in enumerate(answers):
        text = (frame if raw else disarmed(frame)).write_csv(include_header=number == 0)
        file.write("\n".join(map(printable, text.split("\n"))) if file.isatty() else text)  # U15: names may hold what a terminal obeys
    file.flush()


def disarmed(frame: pl.DataFrame) -> pl.DataFrame:
    """Text that a spreadsheet would take for a formula gets an apostrophe in front, in cells and names (U13); numbers stay.

    >>> disarmed(pl.DataFrame({"=x": ["=1+1", "ok"], "n": ["-1.5", "-x"]})).to_dict(as_series=False)
    {"'=x": ["'=1+1", 'ok'], 'n': ['-1.5', "'-x"]}
    """
    text = pl.col(pl.String)
    armed = text.str.contains(r"^[=+\-@\t\r]") & ~text.str.contains(r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$")
    safe = frame.with_columns(pl.when(armed).then(pl.lit("'") + pl.col(pl.String)).otherwise(pl.col(pl.String)).name.keep())
    safe.columns = distinct([str(cell(name)) for name in frame.columns])
    return safe


def _write_whole(answers: Iterator[pl.DataFrame], path: Path, *, raw: bool) -> None:
    """The file stands whole under its name, or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with naming(path, otherwise="Try another -o"):
        try:
            if path.suffix == ".parquet":
                _write_parquet(answers, temporary)
            else:
                with temporary.open("w", encoding="utf-8", newline="") as file:
                    _write_csv(answers, file, raw=raw)
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _write_parquet(answers: Iterator[pl.DataFrame], path: Path) -> None:
    """A piece at a time, by polars' streaming engine; what goes wrong in a piece is raised here as it was there."""
    from polars.io.plugins import register_io_source

    first = next(answers, None)
    if first is None:
        pl.DataFrame({"prediction": []}).write_parquet(path)
        return
    failed: list[BaseException] = []

    def source(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        yield first
        try:
            yield from answers
        except BaseException as error:
            failed.append(error)
            raise

    answers = _alike(answers, first)
    try:
        register_io_source(source, schema=first.schema).sink_parquet(path)
    except Exception:
        if failed:
            raise failed[0] from None
        raise


def _alike(answers: Iterator[pl.DataFrame], first: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """JSON lines may hold another type further down: a Parquet file has one for each column."""
    for frame in answers:
        other = next((name for name in frame.columns if frame.schema[name] != first.schema[name]), None)
        if other is not None:
            raise DataError(
                f"a column of a Parquet file must have one type, however: {first.schema[other]} and {frame.schema[other]}",
                where=f"column {shown(other)}",
                fix="Try -o answers.csv, or leave out its --keep",
            )
        yield frame


def told(notes: Notes) -> list[str]:
    """What a person should know of later rows."""
    lines = [
        f"columns that the network does not know are ignored ({len(notes.extra):,}): {', '.join(shown(name) for name in notes.extra[:5])}"
    ] * bool(notes.extra)
    lines += [
        f"{count:,} of {notes.rows:,} cells of {shown(name)} have a category that the training rows did not have"
        for name, count in notes.unseen.items()
    ]
    lines += [
        f"{count:,} of {notes.rows:,} cells of {shown(name)} have no number; the training rows' own was put in"
        for name, count in notes.missing.items()
    ]
    return lines
