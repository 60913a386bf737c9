"""A user's own rows: tables in files, from OpenML or in memory, arrays, folders of pictures; their columns, split and encoding."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dnnlab.config.base import Settings

Share = Annotated[float, Field(ge=0, lt=1)]
Scale = Literal["standardise", "robust", "minmax", "quantile", "log", "none"]
ColumnKind = Literal["numeric", "categorical", "boolean", "date", "ignore"]
Names = str | Annotated[list[str], Field(min_length=1, max_length=1000)]


class Data(Settings):
    """What every source has that is split into parts."""

    valid: Share = 0.2
    """Share of rows held back for validation."""
    test: Share = 0.2
    """Share of rows held back for the final test."""
    split_seed: int | None = None
    """Seed of the split; null takes the run's seed."""
    stratify: bool = True
    """Keep the classes' shares equal in all parts (classification only)."""
    folds: Annotated[int, Field(ge=2, le=1000)] | None = None
    """Cross-validation: train so many times, each fold of the rows being the test once (the validation rows, where the test is given)."""
    fold: Annotated[int, Field(ge=0)] | None = None
    """Train this one of the folds only, from 0; null trains all of them, one after the other."""
    scale_target: Literal["standardise", "log", "none"] = "standardise"
    """How a numeric target is scaled for training (log: the logarithm of 1 + y, standardised); undone in every metric and prediction."""


class Scaled(Data):
    """A source whose columns are all numbers."""

    scale: Scale = "standardise"
    """How inputs are scaled; fitted on training rows only."""


class Images(Data):
    """A folder of PNG or JPEG files, one sub-folder for each class (or train/ and test/, which hold these)."""

    kind: Literal["images"]
    """Pictures by class, as vectors of grey values between 0 and 1."""
    root: str
    """The folder."""
    size: Annotated[list[Annotated[int, Field(ge=1, le=1024)]], Field(min_length=2, max_length=2)] | None = None
    """Height and width that every picture is brought to; null: all have one size."""
    rows: Annotated[int, Field(ge=2)] | None = None
    """Use only so many pictures, drawn evenly; null takes all."""
    scale: Scale = "none"
    """How the grey values are scaled further."""


class Npz(Scaled):
    """NumPy's .npz: one array of inputs, one of targets; arrays named …_test and …_valid are those parts."""

    kind: Literal["npz"]
    """Arrays of NumPy."""
    path: str
    """The file."""
    inputs: str = "x"
    """Name of the array of inputs: rows of numbers, or images."""
    target: str = "y"
    """Name of the array of targets: whole numbers or texts are classes, other numbers are numbers."""
    labels: list[str] | None = None
    """Names of the classes, in order."""
    task: Literal["auto", "binary", "multiclass", "regression"] = "auto"
    """What is asked; auto goes by the target."""


class Table(Data):
    """What every table has."""

    task: Literal["auto", "binary", "multiclass", "regression"] = "auto"
    """What is asked; auto goes by the target, and says why."""
    positive: str | None = None
    """Which of two classes counts as class 1; null: the second one in order."""
    relabel: dict[str, str] = {}
    """Classes that are written in several ways: as written → as meant."""
    columns: dict[str, ColumnKind] = {}
    """What columns are, by name, where they shall not be what they look like: numeric, categorical, boolean, date or ignore."""
    na_values: list[str] = []
    """Texts that mean a missing cell in every column; an empty cell always does, and NA, NaN, null, None and - in columns of numbers."""
    split: Literal["random", "group", "time", "column"] = "random"
    """How rows are divided: each by itself, groups as a whole, the latest as test, or by a column that says train, valid and test."""
    split_by: str | None = None
    """The column that group, time or column go by; it is no input."""
    scale: Literal["auto", "standardise", "robust", "minmax", "quantile", "log", "none"] = "auto"
    """How numbers are scaled; auto: quantile from 1,000 training rows on, else standardise. Fitted on training rows only."""
    impute: Literal["median", "mean", "most_frequent", "constant", "refuse"] = "median"
    """What stands for a missing number; refuse: it is an error."""
    impute_value: float = 0.0
    """The number that impute=constant puts in."""
    indicator: bool = True
    """A column of its own that says where a number was missing."""
    categories: Literal["auto", "one_hot", "embedding"] = "auto"
    """How categories become numbers; auto: one column each up to one_hot of them, else a learned embedding."""
    one_hot: Annotated[int, Field(ge=1, le=10_000)] = 50
    """Categories up to which auto gives each a column of its own."""
    rare: Annotated[int, Field(ge=1)] = 3
    """Categories with fewer training rows share the place of those that training rows do not have."""


class Targeted(Table):
    """A table whose target must be named."""

    target: Names
    """Column that is to be predicted, or a list of columns of numbers."""


class Files(Targeted):
    """A table in one file or several."""

    path: Names
    """The file, a pattern (data/*.csv), a list of these, or - for standard input."""
    test_path: Names | None = None
    """Files whose rows are the test; null: a share of the rows."""
    valid_path: Names | None = None
    """Files whose rows are the validation rows; null: a share of the rows."""
    root: str | None = None
    """Folder that relative paths begin at; null: the working directory."""
    rows: Annotated[int, Field(ge=2)] | None = None
    """Read only so many rows, the first ones; null reads all."""


class Csv(Files):
    """Delimited text, plain or packed (.gz, .zst)."""

    kind: Literal["csv"]
    """Delimited text."""
    separator: Annotated[str, Field(min_length=1, max_length=1)] | Literal["auto"] = "auto"
    """What stands between cells; auto finds it in the header: comma, semicolon, tab or bar."""
    decimal: Literal[".", ","] = "."
    """What stands before the decimals of a number."""
    thousands: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """What groups the digits of a number."""
    quote: Annotated[str, Field(min_length=1, max_length=1)] | None = '"'
    """What encloses a cell that holds a separator; null: nothing does."""
    encoding: str = "utf-8"
    """Encoding of the text."""
    header: bool = True
    """Whether the first line names the columns."""
    names: list[str] = []
    """Names of the columns, where no line names them."""
    skip_rows: Annotated[int, Field(ge=0)] = 0
    """Lines before the header."""
    comment: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """What a line begins with that is no row."""


class TableFile(Files):
    """A table in a format that knows its types; table goes by the file's suffix, .csv included."""

    kind: Literal["table", "parquet", "arrow", "jsonl"]
    """Parquet, Arrow (Feather), JSON lines, or by suffix."""


class OpenMl(Table):
    """A data set of openml.org, fetched by scikit-learn and kept in its cache."""

    kind: Literal["openml"]
    """A data set of openml.org."""
    name: str | Annotated[int, Field(ge=1)]
    """Name of the set, or its number."""
    target: Names | None = None
    """Column that is to be predicted; null takes the set's own."""
    version: Annotated[int, Field(ge=1)] | Literal["active"] = "active"
    """Version of a set that is named; active: the oldest one in use."""
    cache: str | None = None
    """Folder of the cache; null: scikit-learn's own."""


class Memory(Targeted):
    """A table that Python holds: pandas, polars, a mapping of columns, or an array; for `dnnlab.api`, not for the command line."""

    kind: Literal["memory"]
    """A table that Python holds."""
