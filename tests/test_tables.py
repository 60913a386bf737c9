"""Tables are understood as people mean them, or refused with row, column and what to do; splits are functions of the seed."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from dnnlab.assembly import assemble
from dnnlab.build.rows import Rows, build_rows
from dnnlab.build.tables import TableRows, read_table
from dnnlab.config.table import Csv, Memory, TableFile
from dnnlab.data.splits import Plan, divide, split_groups, split_time
from dnnlab.errors import ArtifactError, ConfigError, DataError, DnnlabError
from dnnlab.preflight import findings, rehearse
from dnnlab.records import Finding
from dnnlab.tables.columns import Spec, as_booleans, as_words, declaration, numbers_of, parts_of
from dnnlab.tables.convert import encode_words
from dnnlab.tables.findings import summary
from dnnlab.tables.infer import infer
from dnnlab.tables.memory import as_frame
from dnnlab.tables.schema import Column, read_schema
from tests.support import settings

ROWS = 60
SCALES = ["standardise", "robust", "minmax", "quantile", "log", "none"]
LETTERS = ["ab"[row % 2] for row in range(ROWS)]
WAVE = [row * 7 % 13 + row / 100 for row in range(ROWS)]  # a number that tells nothing of the letters
Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Put columns (or text) into a CSV file and name it; each cell is written as Python prints it."""

    def put(content: dict[str, Any] | str, name: str = "t.csv") -> str:
        path = tmp_path / name
        if not isinstance(content, str):
            rows = zip(*content.values(), strict=True)
            content = "\n".join([",".join(content), *(",".join(map(str, row)) for row in rows)]) + "\n"
        path.write_text(content, encoding="utf-8")
        return str(path)

    return put


def csv(path: str, **asked: Any) -> TableRows:
    """A CSV file as `build` reads it."""
    return read_table(Csv(kind="csv", path=path, **{"target": "y", **asked}))


def memory(held: Any, **asked: Any) -> TableRows:
    """A table that Python holds."""
    return read_table(Memory(kind="memory", **{"target": "y", **asked}), as_frame(held))


def rows_of(path: str, **asked: Any) -> Rows:
    """A CSV file split, encoded and looked at."""
    data = {"kind": "csv", "path": path, "target": "y", **asked}
    return build_rows(settings({"data": data}), torch.float64, torch.device("cpu"))


def found_in(path: str, **asked: Any) -> list[Finding]:
    """What a person is told of a CSV file."""
    table = rows_of(path, **asked).table
    assert table is not None
    return list(table.findings)


def told(found: list[Finding], text: str) -> Finding:
    """The one finding that says so."""
    match = [finding for finding in found if text in finding.text]
    assert len(match) == 1, [finding.text for finding in found]
    return match[0]


def refused(read: Callable[..., object], *given: Any, kind: type[DnnlabError] = DataError, **asked: Any) -> DnnlabError:
    """The error of reading, whose exit code is that of its kind."""
    with pytest.raises(kind) as caught:
        read(*given, **asked)
    assert caught.value.exit_code == {DataError: 3, ConfigError: 2}[kind]
    return caught.value


def where(error: DnnlabError) -> str:
    """The place of an error without the folder."""
    return error.where.rpartition("/")[2]


def column(table: TableRows, name: str) -> Column:
    """What a column was taken for."""
    return next(column for column in table.schema.columns if column.name == name)


def numbers(table: TableRows, name: str) -> list[float]:
    """The numbers of a column before any encoding."""
    found: list[float] = table.source.x[:, table.source.features.index(name)].tolist()
    return found


def place(row: int) -> str:
    """Where a row stands."""
    return f"t: row {row}"


# D10 to D17: cells


@pytest.mark.parametrize("word", ["NA", "None", "null", "nan", "-", "?"])
def test_d10_words_for_nothing_are_categories_among_texts_and_missing_among_numbers(write: Write, word: str) -> None:
    path = write({"land": ["DE", word, "", "FR"] * 3, "n": [1, word, "", 2.5] * 3, "y": ["a", "b", "b"] * 4})
    table = csv(path)
    assert table.source.categories[0].levels == tuple(sorted(["DE", word, "FR"]))
    assert (column(table, "land").role, column(table, "land").missing) == ("categorical", 3)
    assert (column(table, "n").role, column(table, "n").missing) == ("numeric", 6)
    assert [number != number for number in numbers(table, "n")] == [False, True, True, False] * 3
    listed = csv(path, na_values=[word])
    assert listed.source.categories[0].levels == ("DE", "FR")
    assert column(listed, "land").missing == 6
    assert listed.schema.na_values == (word,)


def test_d10_na_values_hold_for_tables_that_python_holds_too() -> None:
    table = memory({"land": ["DE", "?", "FR", ""], "y": [0, 1, 0, 1]}, na_values=["?"])
    assert table.source.categories[0].levels == ("DE", "FR")
    assert column(table, "land").missing == 2


@pytest.mark.parametrize(("impute", "filled"), [("median", 3.0), ("mean", 4.0), ("most_frequent", 2.0), ("constant", -1.0)])
def test_d11_missing_numbers_are_counted_and_filled_by_training_rows(write: Write, impute: str, filled: float) -> None:
    cells = [2.0, 2.0, 3.0, 4.0, 9.0, ""] * 10
    parts = ["train"] * 30 + ["valid"] * 12 + ["test"] * 18
    wild = [cell if part == "train" or cell == "" else 1e6 for cell, part in zip(cells, parts, strict=True)]
    for values in (cells, wild):  # other rows change nothing
        path = write({"n": values, "z": WAVE, "part": parts, "y": LETTERS})
        rows = rows_of(path, scale="none", split="column", split_by="part", impute=impute, impute_value=-1.0)
        assert rows.test is not None
        assert rows.source.features == ("n", "z", "n is missing")
        for part in (rows.train, rows.test):
            assert part.x[5].tolist() == [filled, part.x[5, 1], 1.0]
            assert part.x[4, 2] == 0
        assert rows.table is not None
        assert rows.table.schema.columns[0].missing == 5


@pytest.mark.parametrize("row", [3, 57])
def test_d11_a_missing_number_can_be_refused_wherever_it_is(write: Write, row: int) -> None:
    cells: list[Any] = list(WAVE)
    cells[row] = ""
    error = refused(csv, write({"n": cells, "z": WAVE, "y": LETTERS}), impute="refuse")
    assert "1 of 60 rows" in error.what
    assert where(error) == f"t.csv: row {row + 2}, column 'n'"
    assert "data.impute=median" in error.fix
    cells[10] = cells[20] = cells[30] = cells[40] = ""
    first = sorted({row, 10, 20, 30, 40})[:3]
    error = refused(csv, write({"n": cells, "z": WAVE, "y": LETTERS}), impute="refuse")
    assert [f": row {number + 2}" in error.where for number in first] == [True] * 3
    assert error.where.endswith(", …, column 'n'")
    assert csv(write({"n": WAVE, "y": LETTERS}), impute="refuse").source.x.shape == (60, 1)


@pytest.mark.parametrize("cells", [["0", "1", "", "1"], ["0", "NA", "1", "1"], ["0.5", "nan", "1", ""], ["a", "", "b", "a"]])
def test_d12_a_row_without_a_target(write: Write, cells: list[str]) -> None:
    gone = [row for row, cell in enumerate(cells * 4) if cell in ("", "NA", "nan")]
    error = refused(csv, write({"x": range(16), "y": cells * 4}))
    assert f"{len(gone)} of 16 have none in 'y'" in error.what
    assert [f": row {row + 2}" in error.where for row in gone[:3]] == [True] * 3
    assert error.where.endswith(", …, column 'y'")
    assert "data.target" in error.fix


def test_d12_a_class_may_be_called_na_where_classes_are_texts(write: Write) -> None:
    assert csv(write({"x": range(6), "y": ["EU", "NA", "AS"] * 2})).schema.classes == ("AS", "EU", "NA")


@pytest.mark.parametrize("cell", ["inf", "-inf", "1e999", "-1e999", "Infinity"])
@pytest.mark.parametrize("other", ["1", "NA"])  # NA: the column is read as text
def test_d13_infinity(write: Write, cell: str, other: str) -> None:
    sign = "-" * cell.startswith("-")
    error = refused(csv, write({"a": range(5), "x": ["1.5", other, cell, "2", cell], "y": list("ababa")}))
    assert "finite" in error.what
    assert any(repr(text) in error.what for text in (cell, sign + "inf"))  # as it was written, or as the number that it was read as
    assert "and 1 more" in error.what
    assert where(error) == "t.csv: row 4, column 'x'"
    assert "leave it empty" in error.fix
    assert csv(write({"a": range(5), "x": ["1.5", other, cell, "2", cell], "y": list("ababa")}), columns={"x": "ignore"})


def test_d13_infinity_in_the_second_file(write: Write) -> None:
    test = write({"x": [1, 2, "inf"], "y": list("aba")}, "test.csv")
    error = refused(csv, write({"x": [1, 2, 3], "y": list("aba")}), test_path=test)
    assert where(error) == "test.csv: row 4, column 'x'"


@pytest.mark.parametrize("cell", [2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 10**20])
@pytest.mark.parametrize("other", ["", "7", "NA"])
def test_d14_whole_numbers_that_would_lose_digits(write: Write, cell: int, other: str) -> None:
    path = write({"id": [1, other, cell, 5], "z": range(4), "y": list("abab")})
    error = refused(csv, path)
    assert str(cell) in error.what
    assert where(error) == "t.csv: row 4, column 'id'"
    assert "data.columns.id=categorical" in error.fix
    kept = csv(path, columns={"id": "categorical"})
    assert str(cell) in kept.source.categories[0].levels


@pytest.mark.parametrize("cell", ["9007199254740992", "-9007199254740992", "0000000000000000000000012", "1e20", "9007199254740993.5"])
@pytest.mark.parametrize("other", ["7", "NA"])
def test_d14_numbers_that_lose_nothing_or_were_never_whole_stay(write: Write, cell: str, other: str) -> None:
    assert numbers(csv(write({"x": ["1", other, cell, "2"], "y": list("abab")})), "x")[2] == float(cell)


@pytest.mark.parametrize("bad", [1, 4, 20])
def test_d15_texts_among_numbers(write: Write, bad: int) -> None:
    cells = [f"abc{row}" if row < bad else str(row / 2) for row in range(bad * 5)]
    error = refused(csv, write({"x": cells[::-1], "y": (["a", "b"] * len(cells))[: len(cells)]}))
    first = len(cells) - bad
    assert f"'abc{bad - 1}'" in error.what
    assert (f"and {bad - 1} more" in error.what) == (bad > 1)
    assert where(error) == f"t.csv: row {first + 2}, column 'x'"
    assert "data.columns.x=categorical" in error.fix
    assert f"'data.na_values=[abc{bad - 1}]'" in error.fix


def test_d15_a_declared_number_is_refused_however_many_texts_there_are(write: Write) -> None:
    path = write({"x": ["a", "b", "1", "c"], "y": list("abab")})
    assert column(csv(path), "x").role == "categorical"
    assert where(refused(csv, path, columns={"x": "numeric"})) == "t.csv: row 2, column 'x'"


@pytest.mark.parametrize(
    ("cells", "fix"),
    [
        (["1,5", "2,25"], "'data.decimal=\",\"'"),
        (["-1,5", "12"], "'data.decimal=\",\"'"),
        (["1,234", "2,345,678"], "'data.thousands=\",\"'"),
        (["999", "12", "2,345", "7", "100", "55"], "'data.thousands=\",\"'"),
        (["1,234.5", "1.5"], "'data.thousands=\",\"'"),
        (["1.234,5", "7"], "'data.decimal=\",\"' 'data.thousands=\".\"'"),
        (["1 234", "7 000"], "'data.thousands=\" \"'"),
        (["1'234", "7'000"], "'data.thousands=\"'\"'"),
        (["1_234", "7_000"], "'data.thousands=\"_\"'"),
        (["1.234.567", "7.000.000"], "'data.thousands=\".\"'"),
        (["1;", "2;"], "'data.separator=\";\"'"),
        (["$5", "$6.50"], "Take the $ out of the column, or try data.columns.x=categorical"),
        (["5 €", "5"], "Take the € out"),
        (["5%", "17 %"], "Take the % out"),
    ],
)
def test_d16_numbers_that_are_written_otherwise(write: Write, cells: list[str], fix: str) -> None:
    lines = [f'"{cell}"\t{"ab"[row % 2]}' for row, cell in enumerate(cells * 3)]
    error = refused(csv, write("\n".join(["x\ty", *lines])))
    assert fix in error.fix
    bad = next(row for row, cell in enumerate(cells) if not cell.replace(".", "", 1).isdigit())
    assert where(error) == f"t.csv: row {bad + 2}, column 'x'"
    assert repr(cells[bad]) in error.what or f'"{cells[bad]}"' in error.what


@pytest.mark.parametrize(
    ("cells", "asked", "wanted"),
    [
        (["1,5", "-2,25"], {"decimal": ","}, [1.5, -2.25]),
        (["1.234,5", "7"], {"decimal": ",", "thousands": "."}, [1234.5, 7]),
        (["1,234", "12"], {"thousands": ","}, [1234, 12]),
        (["1 234", "7 000"], {"thousands": " "}, [1234, 7000]),
    ],
)
def test_d16_what_is_suggested_reads_them(write: Write, cells: list[str], asked: dict[str, str], wanted: list[float]) -> None:
    path = write("\n".join(["x\ty", *(f'"{cell}"\t{"ab"[row % 2]}' for row, cell in enumerate(cells))]))
    assert numbers(csv(path, **asked), "x") == wanted


def test_d17_leading_zeros_stay_where_they_are_declared_and_are_warned_of_else(write: Write) -> None:
    path = write({"zip": [f"{row % 4:05d}" for row in range(ROWS)], "z": WAVE, "y": LETTERS})
    finding = told(found_in(path), "is written with leading zeros")
    assert (finding.level, finding.remedy) == ("warning", "data.columns.zip=categorical")
    assert "'zip'" in finding.text
    kept = csv(path, columns={"zip": "categorical"})
    assert kept.source.categories[0].levels == ("00000", "00001", "00002", "00003")
    assert not [finding for finding in found_in(path, columns={"zip": "categorical"}) if "zeros" in finding.text]


# D23 to D29: what a person should know


@pytest.mark.parametrize("scale", SCALES)
def test_d23_columns_that_tell_nothing_are_left_out_warned_of_and_recorded(write: Write, scale: str) -> None:
    same: dict[str, Any] = {"seven": [7] * ROWS, "tenth": [0.1] * ROWS, "word": ["w"] * ROWS, "empty": [""] * ROWS, "none": ["NA", ""] * 30}
    rows = rows_of(write({**same, "z": WAVE, "y": LETTERS}), scale=scale, na_values=["NA"])
    assert rows.source.features == ("z",)
    for part in rows.parts().values():
        assert part.x.shape[1] == 1
        assert part.x.isfinite().all()
    assert rows.table is not None
    for name in same:
        finding = told(list(rows.table.findings), f"'{name}' is left out")
        assert (finding.level, finding.remedy) == ("warning", f"data.columns.{name}=ignore")
    left_out = {column.name: column.encoding or column.reason for column in rows.table.schema.columns if column.name in same}
    assert left_out == {
        "seven": "left out: no variation", "tenth": "left out: no variation", "word": "left out: one category",
        "empty": "every cell is empty", "none": "every cell is empty",
    }  # fmt: skip


def test_d23_a_column_that_only_training_rows_lack_is_left_out(write: Write) -> None:
    parts = ["train"] * 40 + ["test"] * 20
    cells = [""] * 40 + list(range(20))
    rows = rows_of(write({"n": cells, "z": WAVE, "part": parts, "y": LETTERS}), split="column", split_by="part", valid=0)
    assert rows.source.features == ("z",)
    assert rows.table is not None
    assert told(list(rows.table.findings), "'n' is left out").level == "warning"


def test_d23_a_column_that_only_lacks_cells_tells_where(write: Write) -> None:
    rows = rows_of(write({"n": ["" if row % 3 else 5 for row in range(ROWS)], "z": WAVE, "y": LETTERS}))
    assert rows.source.features == ("z", "n is missing")
    assert rows.table is not None
    assert rows.table.schema.columns[0].encoding == "left out: no variation but that of missing cells"


def test_d23_missing_floats_are_no_numbers_in_the_schema() -> None:
    nan = float("nan")
    table = memory({"n": np.array([1.0, nan, 3.0] * 4), "gone": np.full(12, nan), "y": ["a", "b"] * 6})
    assert (column(table, "n").missing, column(table, "gone").role) == (4, "ignore")
    frame = {"n": np.array([1.0, nan, 3.0] * 20), "y": LETTERS}
    data = {"kind": "memory", "target": "y"}
    described = build_rows(settings({"data": data}), torch.float32, torch.device("cpu"), as_frame(frame)).table
    assert described is not None
    seen = described.schema.columns[0]
    assert (seen.low, seen.high, seen.distinct) == (1.0, 3.0, 2)
    assert seen.mean == seen.mean
    assert 0 < seen.missing < 36


@pytest.mark.parametrize("norm", [None, "batch"])
@pytest.mark.parametrize(("rows", "batch"), [(10, 32), (33, 8), (10, 3)])
def test_d24_few_rows_pass_a_step(write: Write, rows: int, batch: int, norm: str | None) -> None:
    path = write({"z": WAVE[:rows], "y": LETTERS[:rows]})
    model = {"kind": "deep", "depth": 2, "width": 4, "norm": norm} if norm else {"kind": "mlp", "hidden": [4]}
    changes = {"data": {"kind": "csv", "path": path, "target": "y", "valid": 0, "test": 0}, "model": model, "trainer.batch_size": batch}
    parts = assemble(settings(changes | {"trainer.epochs": 1}))
    assert rehearse(parts) > 0
    assert [record.epoch for record in parts.trainer] == [1]
    said = [finding.text for finding in findings(parts)]
    assert (f"there are fewer training rows ({rows}) than trainer.batch_size={batch}: each step sees all of them" in said) == (batch > rows)
    assert any("last 1 rows of each epoch's order are left out" in text for text in said) == (norm is not None and rows % batch == 1)
    assert f"there are {rows} training rows only: figures will say little" in said


def test_d24_one_row(write: Write) -> None:
    for cell in ("a", "1", "1.5"):
        assert "column 'y'" in refused(csv, write({"x": [1], "y": [cell]})).where
    path = write({"z": WAVE[:20], "y": LETTERS[:20]})
    one = {"kind": "csv", "path": path, "target": "y", "valid": 0, "test": 0}
    changes = {"data": one, "model": {"kind": "deep", "depth": 2, "width": 4, "norm": "batch"}, "trainer.batch_size": 1}
    assert "batch normalisation must have at least 2 rows" in refused(assemble, settings(changes), kind=ConfigError).what


@pytest.mark.parametrize(
    ("cells", "target", "fact"),
    [
        ([row % 2 for row in range(ROWS)], [row % 2 for row in range(ROWS)], "equals the target"),
        (WAVE, WAVE, "equals the target"),
        ([3 - 2 * value for value in WAVE], WAVE, "has a correlation of 1.0000 with the target"),
        (["pq"[row % 2] for row in range(ROWS)], LETTERS, "alone tells 100.0% of the classes"),
        ([row % 3 * 10 for row in range(ROWS)], ["abc"[row % 3] for row in range(ROWS)], "alone tells 100.0% of the classes"),
    ],
)
def test_d25_a_column_that_says_the_target(write: Write, cells: list[Any], target: list[Any], fact: str) -> None:
    other = [row * 11 % 17 for row in range(ROWS)]
    path = write({"cheat": cells, "z": other, "y": target})
    found = found_in(path)
    finding = told(found, "leak?")
    assert found[0] == finding  # the loudest comes first
    assert finding.level == "warning"
    assert f"'cheat' {fact}" in finding.text
    assert finding.remedy == "Else data.columns.cheat=ignore"
    assert not [finding for finding in found_in(path, columns={"cheat": "ignore"}) if "leak?" in finding.text]


def test_d25_any_of_several_targets_and_any_part_of_a_date_is_looked_at(write: Write) -> None:
    days = [f"2024-0{row % 9 + 1}-{row % 28 + 1:02d}" for row in range(ROWS)]
    other = [(row * row) % 31 for row in range(ROWS)]
    path = write({"made.day": WAVE, "when": days, "y": other, "second": [2 * value for value in WAVE]})
    finding = told(found_in(path, target=["y", "second"], columns={"when": "date"}), "leak?")
    assert "'made.day' has a correlation of 1.0000 with the target 'second'" in finding.text
    assert "made.day" in finding.remedy
    path = write({"when": days, "z": other, "y": [row % 9 + 1.25 for row in range(ROWS)]})
    assert told(found_in(path, columns={"when": "date"}), "leak?").remedy == "Else data.columns.when=ignore"


@pytest.mark.parametrize(
    ("name", "step", "warned"), [("n", 1, True), ("user_id", 3, True), ("Id", 2, True), ("width", 3, False), ("paid", 2, False)]
)
def test_d25_numbers_of_rows(write: Write, name: str, step: int, warned: bool) -> None:
    order = [row * 23 % ROWS for row in range(ROWS)]
    found = found_in(write({name: [5 + step * row for row in order], "z": WAVE, "y": ["aab"[row % 3] for row in range(ROWS)]}))
    assert bool([finding for finding in found if "looks like a number of rows" in finding.text]) == warned
    if warned:
        assert told(found, "looks like a number of rows").remedy == f"data.columns.{name}=ignore"


def test_d25_names_of_rows_are_left_out_and_said_so(write: Write) -> None:
    path = write({"name": [f"person {row}" for row in range(ROWS)], "z": WAVE, "y": LETTERS})
    finding = told(found_in(path), "'name' is left out: 60 different texts in 60 rows: names")
    assert (finding.level, finding.remedy) == ("note", "data.columns.name=categorical keeps it")
    assert column(csv(path, columns={"name": "categorical"}), "name").role == "categorical"


def test_d26_rows_that_stand_on_both_sides_are_counted(write: Write) -> None:
    train = write({"x": [row / 7 for row in range(ROWS)], "k": ["u", "v", "w"] * 20, "y": LETTERS})
    mixed = {"x": [row / 7 if row < 4 else row + 100.5 for row in range(10)], "k": (["u", "v", "w"] * 4)[:10], "y": LETTERS[:10]}
    finding = told(found_in(train, test_path=write(mixed, "test.csv"), valid=0), "stand among the training rows")
    assert finding == Finding("warning", "4 of 10 test rows (40.0%) stand among the training rows, too", "Take doubles out of the file")
    changed = {**mixed, "k": ["w", "w", "u", "v", *mixed["k"][4:]]}  # another word makes another row
    clean = found_in(train, test_path=write(changed, "test.csv"), valid=0)
    assert not [finding for finding in clean if "training rows, too" in finding.text]


def test_d26_doubles_among_training_rows_are_counted(write: Write) -> None:
    path = write({"x": [min(row, 49) / 7 for row in range(ROWS)], "y": [min(row, 49) % 5 + 0.5 for row in range(ROWS)]})
    assert told(found_in(path, valid=0, test=0), "are there before").text == "10 of 60 training rows are there before"


@pytest.mark.parametrize("cell", ["1e30", "-2e15"])
def test_d29_a_target_too_large(write: Write, cell: str) -> None:
    error = refused(csv, write({"x": range(4), "y": [1.5, 2, cell, 3]}))
    assert f"{float(cell):g}" in error.what
    assert where(error) == "t.csv: row 4, column 'y'"
    assert "unit" in error.fix


def test_d29_a_constant_target(write: Write) -> None:
    error = refused(csv, write({"x": range(4), "y": [2.5] * 4}))
    assert "all 4 rows have 2.5" in error.what
    assert error.where == "column 'y'"
    parts = ["train"] * 30 + ["test"] * 30
    path = write({"x": WAVE, "part": parts, "y": [0.5] * 30 + WAVE[30:]})
    rows = rows_of(path, split="column", split_by="part", valid=0)
    assert rows.train.y.isfinite().all()
    assert rows.table is not None
    finding = told(list(rows.table.findings), "the target 'y' is the same number in all training rows")
    assert (finding.level, "data.split_seed" in finding.remedy) == ("warning", True)


def test_d29_a_target_of_a_huge_spread_or_of_hardly_any(write: Write) -> None:
    other = [row * 11 % 17 for row in range(ROWS)]
    assert "hardly varies" in told(found_in(write({"x": other, "y": [1e9 + value for value in WAVE]}), test=0, valid=0), "target").text
    far = told(found_in(write({"x": other, "y": [*WAVE[:-1], 1e14]}), test=0, valid=0), "the target 'y'")
    assert "100 standard deviations" in far.text
    assert "data.scale_target=log" in far.remedy
    assert not [finding for finding in found_in(write({"x": other, "y": [*WAVE[:-1], 100.5]})) if "the target" in finding.text]


@pytest.mark.parametrize("cells", [[""] * ROWS, [f"name {row}" for row in range(ROWS)], [5] * ROWS, ["w"] * ROWS])
def test_d30_no_column_is_left(write: Write, cells: list[Any]) -> None:
    error = refused(rows_of, write({"c": cells, "y": LETTERS}))
    assert "column" in error.what
    assert "'c'" in error.where or "c: " in error.what
    assert "none" in error.what


def test_d30_the_target_alone(write: Write) -> None:
    assert "there is the target alone" in refused(csv, write({"y": LETTERS})).what
    assert "c: declared" in refused(csv, write({"c": WAVE, "y": LETTERS}), columns={"c": "ignore"}).what


LOOKS = {
    "dates": (["2024-02-01", "2023-12-31"], "date"),
    "slashes": (["2024/02/01", "2023/12/31"], "date"),
    "german": (["01.02.2024", "31.12.2023"], "date"),
    "american": (["02/01/2024", "12/31/2023"], "date"),
    "times": (["2024-02-01 10:30", "2023-12-31 00:00"], "date"),
    "zoned": (["2024-02-01T10:30:00+02:00", "2023-12-31T10:30:00Z"], "date"),
    "hex": (["0x1F", "-0XAB"], "categorical"),
    "truth": (["true", "False"], "boolean"),
    "TRUTH": (["TRUE", "FALSE"], "boolean"),
}


@pytest.mark.parametrize("looks", LOOKS)
@pytest.mark.parametrize("hole", [None, "", "NA"])
def test_d31_what_is_open_to_doubt_is_to_be_declared(write: Write, looks: str, hole: str | None) -> None:
    cells, kind = LOOKS[looks]
    path = write({"c": [*(cells * 4)[:7], cells[0] if hole is None else hole], "z": range(8), "y": ["a", "b"] * 4})
    error = refused(csv, path)
    assert error.where == "column 'c'"
    assert f"Try data.columns.c={kind}" in error.fix
    assert "=ignore" in error.fix
    declared = column(csv(path, columns={"c": kind}), "c")
    assert declared.role == kind
    assert declared.reason == (f"declared, {declared.form}" if kind == "date" else "declared")
    assert declared.missing == (1 if hole == "" or (hole == "NA" and kind != "categorical") else 0)
    assert column(csv(path, columns={"c": "categorical"}), "c").role == "categorical"
    assert column(csv(path, columns={"c": "ignore"}), "c").role == "ignore"


def test_d31_every_column_is_told_at_once(write: Write) -> None:
    columns = {name: (cells * 3)[:5] for name, (cells, _) in LOOKS.items()}
    error = refused(csv, write({**columns, "z": range(5), "bad": [1, 2, "x", 3, 4], "y": list("ababa")}))
    said = [str(error), *error.__notes__]
    assert len(said) == len(LOOKS) + 1
    for name, line in zip([*LOOKS, "bad"], said, strict=True):
        assert f"column '{name}'" in line
        assert f"data.columns.{name}=" in line


@pytest.mark.parametrize("cells", [[date(2024, 2, 1)], [datetime(2024, 2, 1)], [True]])
def test_d31_a_type_counts_where_the_file_itself_has_types(cells: list[Any]) -> None:
    assert refused(infer, pl.Series("c", cells), None, place, typed=False).where == "column 'c'"
    assert infer(pl.Series("c", cells), None, place, typed=True).reason == "the file says so"


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "jsonl"])
def test_d31_types_of_the_file_itself_need_no_declaration(tmp_path: Path, suffix: str) -> None:
    frame = pl.DataFrame(
        {"b": [True, False] * 4, "d": [date(2024, 2, day) for day in range(1, 9)], "t": [datetime(2024, 2, 1, hour) for hour in range(8)],
         "y": ["a", "b", "b", "a"] * 2}
    )  # fmt: skip
    path = str(tmp_path / f"t.{suffix}")
    if suffix == "jsonl":
        frame = frame.drop("d", "t")
        frame.write_ndjson(path)
    else:
        (frame.write_parquet if suffix == "parquet" else frame.write_ipc)(path)
    table = read_table(TableFile(kind="table", path=path, target="y"))
    assert numbers(table, "b") == [1, 0] * 4
    if suffix != "jsonl":
        assert [(column(table, name).role, column(table, name).timed) for name in ("b", "d", "t")] == [
            ("boolean", False), ("date", False), ("date", True),
        ]  # fmt: skip
        assert numbers(table, "d.day") == list(range(1, 9))
        assert numbers(table, "t.hour") == list(range(8))


NASTY = "a\x1b[31mb\u202e"


def test_u15_escape_codes_in_names_are_shown_escaped(write: Write) -> None:
    def safe(text: str) -> bool:
        return "\x1b" not in text and "\u202e" not in text

    for cells, asked in (
        (["inf", "1", "2", "3"], {}), (["true", "false"] * 2, {}), (["1", "2", "3", "x\x1b[31m"], {"columns": {NASTY: "numeric"}}),
        ([""] * 4, {}), (["1", "2", "3", ""], {"impute": "refuse"}), (["9007199254740993", "1", "2", "3"], {}),
        (["1", "2", "3", ""], {"target": NASTY}), (["w"] * 4, {"target": NASTY}), (["1"] * 4, {"target": NASTY, "task": "regression"}),
        (["1", "2", "", "3"], {"split": "group", "split_by": NASTY, "target": "k"}),
    ):  # fmt: skip
        data = {NASTY: cells} if cells == [""] * 4 else {NASTY: cells, "k": ["p", "q"] * 2}
        error = refused(csv, write({**data, "y": list("abab")}), **asked)
        assert safe(str(error))
        assert "\\x1b" in str(error) or "\\u001b" in str(error)
    missing = refused(csv, write({NASTY: [1, 2], "y": list("ab")}), target="z", kind=ConfigError)
    assert safe(str(missing))
    found = found_in(write({NASTY: [5] * ROWS, NASTY + "2": LETTERS, "z": WAVE, "y": LETTERS}))
    assert all(safe(finding.text + finding.remedy) for finding in found)
    assert len([finding for finding in found if "\\x1b" in finding.text]) == 2


@pytest.mark.parametrize("name", ["age", "a b:c", 'a"b', "it's", "größe", "{x}", "$HOME"])
def test_declarations_are_shown_as_they_are_typed_in_a_shell(name: str) -> None:
    assert shlex.split(declaration(name, "date")) == [f"data.columns.{name}=date"]


def test_what_cannot_be_typed_is_declared_in_a_file() -> None:
    assert declaration("a\nb", "date") == 'columns: {"a\\nb": date} under data: in a file of settings'


# the task


@pytest.mark.parametrize(
    ("cells", "task", "reason", "classes"),
    [
        (["x", "y"], "binary", "2 different texts", ("x", "y")),
        (["x", "y", "z"], "multiclass", "3 different texts", ("x", "y", "z")),
        (["true", "false"], "binary", "2 different texts", ("false", "true")),
        (["0", "1"], "binary", "2 different whole numbers", ("0", "1")),
        (["10", "9", "2"], "multiclass", "3 different whole numbers", ("2", "9", "10")),
        (["1.0", "2.0"], "binary", "2 different whole numbers", ("1", "2")),
        (["0.5", "1"], "regression", "numbers with decimals", ()),
        ([str(n) for n in range(20)], "multiclass", "20 different whole numbers", tuple(map(str, range(20)))),
        ([str(n) for n in range(21)], "regression", "21 different whole numbers", ()),
    ],
)
def test_a_task_follows_from_the_target(write: Write, cells: list[str], task: str, reason: str, classes: tuple[str, ...]) -> None:
    rows = [cells[row % len(cells)] for row in range(len(cells) * 10)]
    table = csv(write({"x": range(len(rows)), "y": rows}))
    assert (table.schema.task, table.schema.classes) == (task, classes)
    assert table.schema.reason.startswith(reason)
    if classes:
        assert [float(classes[code]) if classes[code].isdigit() else classes[code] for code in table.source.y.tolist()] == [
            float(cell) if classes[0].isdigit() else cell for cell in rows
        ]
    else:
        assert table.source.y[:, 0].tolist() == [float(cell) for cell in rows]


def test_few_rows_of_many_whole_numbers_are_numbers(write: Write) -> None:
    assert csv(write({"x": range(29), "y": [row % 3 for row in range(29)]})).schema.task == "regression"
    assert csv(write({"x": range(30), "y": [row % 3 for row in range(30)]})).schema.task == "multiclass"


def test_numbers_that_the_file_holds_as_text_are_numbers() -> None:
    table = memory({"x": range(40), "y": [str(row + 0.5) for row in range(40)]})
    assert (table.schema.task, table.source.y[2].tolist()) == ("regression", [2.5])
    assert memory({"x": range(40), "y": ["1", "0"] * 20}).schema.reason == "2 different whole numbers"
    assert memory({"x": range(40), "y": [True, False] * 20}).schema.classes == ("false", "true")


def test_a_declared_task_is_taken(write: Write) -> None:
    path = write({"x": range(8), "y": [3, 1, 2, 1] * 2})
    assert csv(path, task="multiclass").schema.classes == ("1", "2", "3")
    assert csv(path, task="regression").source.y[:4, 0].tolist() == [3, 1, 2, 1]
    two = csv(write({"x": range(8), "y": list("abab") * 2}, "two.csv"), task="multiclass")
    assert (two.schema.task, str(two.source.task)) == ("binary", "binary")  # one output does for two classes
    error = refused(csv, path, task="binary")
    assert ("however: 3" in error.what, error.where, error.fix) == (True, "column 'y'", "Try data.task=multiclass")
    error = refused(csv, write({"x": range(4), "y": ["1", "2", "x", "3"]}), task="regression")
    assert where(error) == "t.csv: row 4, column 'y'"


def test_the_positive_class_is_class_1(write: Write) -> None:
    path = write({"x": range(6), "y": ["yes", "no", "no"] * 2})
    assert csv(path).source.y.tolist() == [1, 0, 0] * 2
    table = csv(path, positive="no")
    assert (table.schema.classes, table.source.y.tolist()) == (("yes", "no"), [0, 1, 1] * 2)
    assert "Did you mean yes?" in refused(csv, path, positive="Yes", kind=ConfigError).fix
    three = write({"x": range(6), "y": ["yes", "no", "so"] * 2})
    assert refused(csv, three, positive="yes", kind=ConfigError).where == "data.positive"


def test_classes_that_are_written_in_several_ways_are_one(write: Write) -> None:
    path = write({"x": range(6), "y": [">50K", "<=50K", ">50K.", "<=50K.", ">50K", "<=50K"]})
    table = csv(path, relabel={">50K.": ">50K", "<=50K.": "<=50K"}, positive=">50K")
    assert (table.schema.task, table.schema.classes) == ("binary", ("<=50K", ">50K"))
    assert table.source.y.tolist() == [1, 0] * 3
    assert table.schema.relabel == {">50K.": ">50K", "<=50K.": "<=50K"}


def test_several_targets_are_numbers(write: Write) -> None:
    path = write({"x": range(6), "y": [1, 2, 3] * 2, "v": [0.5, 1, 0] * 2})
    table = csv(path, target=["v", "y"])
    assert (table.schema.task, table.schema.reason, table.source.targets) == ("regression", "2 targets", ("v", "y"))
    assert table.source.y[:2].tolist() == [[0.5, 1], [1, 2]]
    assert table.source.features == ("x",)
    assert refused(csv, path, target=["v", "y"], task="binary", kind=ConfigError).where == "data.task, data.target"
    texts = write({"x": range(4), "y": [1, 2, 3, 4], "v": ["1", "a", "2", "3"]})
    assert where(refused(csv, texts, target=["y", "v"])) == "t.csv: row 3, column 'v'"
    assert where(refused(csv, write({"x": range(3), "y": [1, 2, 3], "v": [1, "", 2]}), target=["y", "v"])) == "t.csv: row 3, column 'v'"


def test_classes_must_be_two_and_far_fewer_than_rows(write: Write) -> None:
    error = refused(csv, write({"x": range(4), "y": ["same"] * 4}))
    assert "all 4 rows have 'same'" in error.what
    assert error.where == "column 'y'"
    error = refused(csv, write({"x": range(101), "y": [f"w{row}" for row in range(101)]}))
    assert "101 classes in 101 rows" in error.what
    assert "data.task=regression" in error.fix


def test_settings_must_name_columns(write: Write) -> None:
    path = write({"age": range(4), "group": list("uvuv"), "y": list("abab")})
    error = refused(csv, path, target="Y", columns={"Age": "numeric"}, split="group", split_by="grp", kind=ConfigError)
    assert (error.where, error.__notes__) == ("data.target", [error.__notes__[0], error.__notes__[1]])
    assert "Did you mean y?" in error.fix
    assert "Did you mean age?" in error.__notes__[0]
    assert "Did you mean group?" in error.__notes__[1]
    assert "data.split_by" in refused(csv, path, split="group", kind=ConfigError).where
    assert "data.target" in refused(csv, path, columns={"y": "ignore"}, kind=ConfigError).where
    assert "data.target" in refused(csv, path, split="group", split_by="y", kind=ConfigError).where
    assert refused(read_table, Memory(kind="memory", target="y"), kind=ConfigError).where == "data.kind"


# columns become numbers


def test_a_date_becomes_its_parts() -> None:
    spec = Spec("when", "date", "%d.%m.%Y")
    found = numbers_of(pl.Series("when", ["02.01.1970", "29.02.2024", None, "NA"]), spec, place)
    assert [part.to_list() for part in found] == [
        [1, 19782, None, None], [1970, 2024, None, None], [1, 2, None, None], [2, 29, None, None], [5, 4, None, None],
    ]  # fmt: skip
    assert len(parts_of(spec)) == len(found)
    timed = Spec("when", "date", "", timed=True)
    found = numbers_of(pl.Series("when", [datetime(1970, 1, 1, 18, 30)]), timed, place)
    assert [part[0] for part in found] == [18.5 / 24, 1970, 1, 1, 4, 18, 30]
    assert parts_of(timed)[-2:] == ("when.hour", "when.minute")
    error = refused(numbers_of, pl.Series("when", ["01.02.2024", "2024-02-01"]), spec, place)
    assert error.where == "t: row 1, column 'when'"
    assert "%d.%m.%Y" in error.what
    assert "'2024-02-01'" in error.what


def test_a_time_with_a_zone_is_its_moment_in_utc() -> None:
    cells = ["2024-02-01T01:30:00+02:00", "2024-01-31T23:30:00Z"]
    table = memory({"when": cells * 2, "y": list("abab")}, columns={"when": "date"})
    assert numbers(table, "when.day") == [31] * 4
    assert numbers(table, "when.hour") == [23] * 4


def test_dates_that_change_their_way_of_writing_are_refused(write: Write) -> None:
    cells = ["2024-02-01"] * 5 + ["01.02.2024"]
    error = refused(csv, write({"d": cells, "y": list("ababab")}), columns={"d": "date"})
    assert where(error) == "t.csv: row 7, column 'd'"
    assert refused(csv, write({"d": [1, 2], "y": list("ab")}), columns={"d": "date"}).exit_code == 3


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        (["Yes", "no", "Y", "f", "ON", "off", "1", "0", "T", None, "NA"], [1, 0, 1, 0, 1, 0, 1, 0, 1, None, None]),
        ([True, False, None], [1, 0, None]),
        ([1, 0, None], [1, 0, None]),
        ([1.0, 0.0, None, float("nan")], [1, 0, None, None]),
    ],
)
def test_booleans(cells: list[Any], wanted: list[Any]) -> None:
    assert as_booleans(pl.Series("b", cells), place).to_list() == wanted


@pytest.mark.parametrize("cells", [["yes", "maybe"], [1, 2], [1.0, 0.5]])
def test_what_is_no_boolean(cells: list[Any]) -> None:
    error = refused(as_booleans, pl.Series("b", cells), place)
    assert error.where == "t: row 1, column 'b'"
    assert str(cells[1]) in error.what


def test_a_cells_word_does_not_depend_on_other_cells() -> None:
    assert as_words(pl.Series([1.0, 2.0, float("nan"), None])).to_list() == ["1", "2", None, None]
    assert as_words(pl.Series([1.0, 2.5, -0.0, 1e300])).to_list()[:3] == ["1", "2.5", "0"]
    assert as_words(pl.Series([2**63 - 1])).to_list() == [str(2**63 - 1)]


def test_words_are_encoded_by_the_vocabulary_alone() -> None:
    codes, unseen = encode_words(pl.Series(["b", "z", None, "a", "z"]), ("a", "b"), 3)
    assert (codes.tolist(), unseen) == ([2, 0, 3, 1, 0], 2)
    codes, unseen = encode_words(pl.Series(["5", None, "0"]), (), 0)  # no training row had a word
    assert (codes.tolist(), unseen) == ([0, 0, 0], 3 - 1)


def test_columns_that_hold_something_else_are_refused() -> None:
    for cells in ([[1], [2]], [{"a": 1}, {"a": 2}]):
        error = refused(memory, {"c": cells, "z": [1, 2], "y": ["a", "b"]})
        assert (error.where, error.fix) == ("column 'c'", "Try data.columns.c=ignore")
        assert column(memory({"c": cells, "z": [1, 2], "y": ["a", "b"]}, columns={"c": "ignore"}), "c").role == "ignore"
    dates = {"d": [date(2024, 1, 1), date(2024, 1, 2)], "y": ["a", "b"]}
    assert "data.columns.d=date" in refused(memory, dates, columns={"d": "numeric"}).fix


def test_a_schema_comes_back_from_json(write: Write) -> None:
    path = write({"n": WAVE, "k": LETTERS, "d": ["2024-02-01", "2024-03-01"] * 30, "y": ["p", "q", "q"] * 20})
    schema = rows_of(path, columns={"d": "date"}, relabel={"p": "p"}).table.schema  # type: ignore[union-attr]
    document = schema.document()
    document = {key: list(value) if isinstance(value, tuple) else value for key, value in document.items()}
    assert read_schema(document) == schema
    assert summary(schema) == "1 numeric, 1 categorical, 1 date"
    for key, value in (("columns", None), ("classes", "pq"), ("targets", [1]), ("relabel", []), ("task", ...)):
        damaged = {**document, key: value} if value is not ... else {name: entry for name, entry in document.items() if name != key}
        with pytest.raises(ArtifactError, match="schema"):
            read_schema(damaged)
    for change in ({"role": "spy"}, {"name": 5}, {"more": 1}):
        with pytest.raises(ArtifactError, match="schema"):
            read_schema({**document, "columns": [{**document["columns"][0], **change}]})


# splits


def whole(parts: dict[str, Tensor], rows: int) -> bool:
    """Whether every row is in one part."""
    return torch.equal(torch.cat(list(parts.values())).sort().values, torch.arange(rows))


SHARES = {"valid": 0.2, "test": 0.2}


@pytest.mark.parametrize("seed", range(5))
def test_a_group_is_in_one_part(seed: int) -> None:
    groups = torch.randint(0, 60, (1000,), generator=torch.Generator().manual_seed(seed)) * 7
    parts = split_groups(groups, SHARES, seed)
    assert whole(parts, 1000)
    sets = [set(groups[index].tolist()) for index in parts.values()]
    assert sum(map(len, sets)) == len(set(groups.tolist()))
    largest = int(torch.bincount(groups).max())
    assert all(abs(len(parts[name]) - 200) <= largest for name in SHARES)
    assert all(torch.equal(parts[name], split_groups(groups, SHARES, seed)[name]) for name in parts)
    assert not torch.equal(parts["test"], split_groups(groups, SHARES, seed + 1)["test"])


def test_few_groups_still_give_every_part_one() -> None:
    groups = torch.tensor([0] * 90 + [1] * 5 + [2] * 5)
    for seed in range(10):
        assert [len(set(groups[index].tolist())) for index in split_groups(groups, SHARES, seed).values()] == [1, 1, 1]
    assert refused(split_groups, torch.tensor([0, 0, 1, 1]), SHARES, 0).where == "data.split_by"


def test_the_latest_rows_judge() -> None:
    times = torch.tensor([5, 1, 4, 1, 3, 9, 8, 7, 6, 2]).double()
    parts = split_time(times, SHARES)
    assert {name: sorted(times[index].tolist()) for name, index in parts.items()} == {
        "train": [1, 1, 2, 3, 4, 5], "valid": [6, 7], "test": [8, 9],
    }  # fmt: skip
    assert all(torch.equal(index, index.sort().values) for index in parts.values())
    assert split_time(torch.zeros(10), SHARES)["test"].tolist() == [8, 9]  # of one time, as they stand


@pytest.mark.parametrize("cells", [
    [f"2024-01-{day:02d}" for day in range(1, 21)], [f"{day:02d}.01.2024" for day in range(1, 21)], [day * 1.5 for day in range(20)],
    [f"2024-01-01 {hour:02d}:00" for hour in range(20)],
])  # fmt: skip
def test_a_table_is_split_by_its_time(write: Write, cells: list[Any]) -> None:
    order = [row * 7 % 20 for row in range(20)]
    path = write({"t": [cells[row] for row in order], "z": WAVE[:20], "y": ["a", "b"] * 10})
    rows = rows_of(path, split="time", split_by="t")
    assert rows.source.features == ("z",)
    assert rows.test is not None
    assert sorted(order[row] for row in rows.test.index.tolist()) == [16, 17, 18, 19]
    gone = write({"t": ["", *cells[1:]], "z": WAVE[:20], "y": ["a", "b"] * 10})
    assert where(refused(csv, gone, split="time", split_by="t")) == "t.csv: row 2, column 't'"


def test_a_table_is_split_by_its_groups(write: Write) -> None:
    who = [f"p{row % 12}" for row in range(ROWS)]
    path = write({"who": who, "z": WAVE, "y": [row // 12 % 2 for row in range(ROWS)]})
    rows = rows_of(path, split="group", split_by="who")
    sets = [{who[row] for row in part.index.tolist()} for part in rows.parts().values()]
    assert sum(map(len, sets)) == 12
    assert rows.source.features == ("z",)
    assert rows.table is not None
    assert (rows.table.schema.columns[0].role, rows.table.schema.columns[0].reason) == ("split", "what the rows are divided by")
    holes = {"who": [1.0, float("nan"), 2.0, 3.0], "z": [1, 2, 3, 4], "y": list("abab")}
    assert refused(memory, holes, split="group", split_by="who").where == "row 1, column 'who'"


def test_a_column_names_the_parts(write: Write) -> None:
    words = (["Train", "dev", "TEST", "training", "validation", "testing"] * 10)[:ROWS]
    rows = rows_of(write({"part": words, "z": WAVE, "y": LETTERS}), split="column", split_by="part", valid=0.9, test=0.9)
    assert {name: part.index.tolist() for name, part in rows.parts().items()} == {
        "train": [row for row in range(ROWS) if row % 3 == 0],
        "valid": [row for row in range(ROWS) if row % 3 == 1],
        "test": [row for row in range(ROWS) if row % 3 == 2],
    }
    error = refused(csv, write({"part": ["train", "tset"], "z": [1, 2], "y": ["a", "b"]}), split="column", split_by="part")
    assert "'tset'" in error.what
    assert where(error) == "t.csv: row 3, column 'part'"
    error = refused(csv, write({"part": ["test", "test"], "z": [1, 2], "y": ["a", "b"]}), split="column", split_by="part")
    assert "no row says train" in error.what


def test_files_of_their_own_are_the_parts(write: Write) -> None:
    train = write({"z": WAVE, "k": LETTERS, "y": ["p", "q", "q"] * 20})
    test = write({"extra": [1, 2], "k": ["a", "new"], "y": ["p", "q"], "z": [50, 60]}, "test.csv")
    rows = rows_of(train, test_path=test, test=0.9, valid=0.25, scale="none")
    assert {name: len(part.x) for name, part in rows.parts().items()} == {"train": 45, "valid": 15, "test": 2}
    assert rows.test is not None
    assert rows.test.x.tolist() == [[50, 1, 0], [60, 0, 0]]  # z, k=a, k=b: a new word is none of them
    assert rows.test.index.tolist() == [60, 61]
    assert rows.table is not None
    assert [file.rows for file in rows.table.files] == [60, 2]
    assert "'extra'" in told(list(rows.table.findings), "they are ignored").text
    error = refused(csv, train, test_path=write({"z": [1], "y": ["p"]}, "test.csv"))
    assert "'k' is missing" in error.what
    assert "data.test_path" in error.where


@pytest.mark.parametrize("suffix", ["x", "1.5"])
def test_a_column_is_of_one_kind_in_all_files(write: Write, suffix: str) -> None:
    train = write({"c": ["01", "02"] * 4, "z": range(8), "y": list("abab") * 2})
    test = write({"c": ["01", suffix], "z": [1, 2], "y": list("ab")}, "test.csv")
    if suffix == "x":  # a tenth of the cells is no number
        assert where(refused(csv, train, test_path=test)) == "test.csv: row 3, column 'c'"
        table = csv(train, test_path=test, columns={"c": "categorical"})
        assert table.source.categories[0].levels == ("01", "02", "x")
    else:
        assert numbers(csv(train, test_path=test), "c")[-2:] == [1, 1.5]


def folds(count: int, **asked: Any) -> list[dict[str, Tensor]]:
    """The parts of every fold."""
    kind = "group" if "by" in asked else "random"
    return [divide(asked["rows"], asked["shares"], asked.get("seed", 0), asked.get("codes"), (), given=asked.get("given"),
                   by=asked.get("by"), plan=Plan(kind, count, fold)) for fold in range(count)]  # fmt: skip


@pytest.mark.parametrize("count", [2, 3, 7])
def test_every_row_is_in_exactly_one_fold(count: int) -> None:
    codes = torch.tensor([0] * 50 + [1] * 30 + [2] * 14)
    for strata in (None, codes):
        made = folds(count, rows=94, shares=SHARES, codes=strata)
        assert torch.equal(torch.cat([parts["test"] for parts in made]).sort().values, torch.arange(94))
        for parts in made:
            assert whole(parts, 94)
            assert abs(len(parts["test"]) - 94 / count) < 1
            assert "valid" in parts
            if strata is not None:
                shares = torch.bincount(codes[parts["test"]], minlength=3)
                assert all(abs(int(share) - total / count) < 1 for share, total in zip(shares, (50, 30, 14), strict=True))
        again, other = (folds(count, rows=94, shares=SHARES, codes=strata, seed=seed) for seed in (0, 1))
        assert all(torch.equal(one["test"], two["test"]) for one, two in zip(made, again, strict=True))
        assert not torch.equal(made[0]["test"], other[0]["test"])


def test_groups_stay_whole_in_folds() -> None:
    groups = torch.randint(0, 30, (300,), generator=torch.Generator().manual_seed(0))
    made = folds(4, rows=300, shares=SHARES, by=groups)
    assert torch.equal(torch.cat([parts["test"] for parts in made]).sort().values, torch.arange(300))
    for parts in made:
        assert whole(parts, 300)
        sets = [set(groups[index].tolist()) for index in parts.values()]
        assert sum(map(len, sets)) == 30
    assert "data.folds=30" in refused(folds, 31, rows=300, shares=SHARES, by=groups).fix


def test_with_a_given_test_the_folds_validate() -> None:
    test = torch.arange(80, 100)
    made = folds(4, rows=100, shares=SHARES, given={"test": test})
    assert all(torch.equal(parts["test"], test) and whole(parts, 100) for parts in made)
    assert torch.equal(torch.cat([parts["valid"] for parts in made]).sort().values, torch.arange(80))
    assert [len(parts["train"]) for parts in made] == [60] * 4
    assert "data.folds" in refused(folds, 11, rows=10, shares=SHARES).where


# tables that Python holds


class Stream:
    """What hands its columns over as Arrow does."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.frame.__arrow_c_stream__(requested_schema)  # type: ignore[attr-defined]


def test_tables_that_python_holds_are_one_frame() -> None:
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
    for table in (frame, frame.lazy(), {"a": [1, 2], "b": ["x", ""]}, {"a": np.array([1, 2]), "b": ("x", None)}, Stream(frame)):
        assert as_frame(table).equals(frame)
    assert as_frame({"a": torch.tensor([1.5, 2.0], requires_grad=True)})["a"].to_list() == [1.5, 2.0]
    assert as_frame({3: [1]}).columns == ["3"]


def test_arrays_get_names() -> None:
    array = np.arange(6.0).reshape(3, 2)
    for table in (array, np.asfortranarray(array), torch.from_numpy(array), array.astype(np.int32)):
        found = as_frame(table)
        assert found.columns == ["x0", "x1"]
        assert found["x1"].to_list() == [1, 3, 5]
    assert as_frame(np.array([(1, 2.5)], dtype=[("p", int), ("q", float)])).to_dicts() == [{"p": 1, "q": 2.5}]
    assert as_frame(np.array([["u", ""]]))["x1"].to_list() == [None]


@pytest.mark.parametrize(
    "table",
    [np.zeros(3), np.zeros((2, 2, 2)), np.array([[1, "a"]], dtype=object), {}, pl.DataFrame({"a": []}), [1, 2], "file.csv", None,
     {"a": [1], "b": [1, 2]}, {"a": [1, "x"]}],
)  # fmt: skip
def test_what_is_no_table_is_refused(table: Any) -> None:
    assert refused(as_frame, table).where == "table"


class Pandas:
    """As much of a pandas column as is asked of it."""

    def __init__(self, values: list[Any], dtype: str) -> None:
        self.values, self.dtype = values, dtype

    def tolist(self) -> list[Any]:
        return self.values

    def isna(self) -> np.ndarray[Any, Any]:
        return np.array([value is None or value != value for value in self.values])

    def to_numpy(self, dtype: Any = None, na_value: Any = None) -> np.ndarray[Any, Any]:
        return np.array([na_value if value is None else value for value in self.values], dtype=dtype)


class PandasFrame:
    """As much of a pandas frame as is asked of it."""

    def __init__(self, columns: dict[str, Pandas]) -> None:
        self.held, self.columns = columns, list(columns)

    def __getitem__(self, name: str) -> Pandas:
        return self.held[name]


def check_pandas(frame: Any) -> None:
    """Types and missing cells of a pandas frame of these columns."""
    found = as_frame(frame)
    assert found["n"].to_list()[:2] == [1.5, 2.0]
    assert found["i"].to_list() == [1, 2, 3]
    assert found["k"].to_list() == ["u", None, "v"]
    assert found["d"].to_list() == [datetime(2024, 2, 1), datetime(2024, 2, 2), datetime(2024, 2, 3)]
    assert found["b"].to_list() == [True, False, True]
    table = memory(frame, target="i", task="regression")
    assert [column.role for column in table.schema.columns] == ["numeric", "target", "categorical", "date", "boolean"]
    assert [column.missing for column in table.schema.columns] == [1, 0, 1, 0, 0]


def test_a_pandas_frame_keeps_types_and_missing_cells() -> None:
    pandas = pytest.importorskip("pandas")
    days = pandas.to_datetime(["2024-02-01", "2024-02-02", "2024-02-03"])
    columns = {"n": [1.5, 2.0, None], "i": [1, 2, 3], "k": ["u", None, "v"], "d": days, "b": [True, False, True]}
    check_pandas(pandas.DataFrame(columns))
    check_pandas(pandas.DataFrame(columns).astype({"k": "category", "n": "Float64"}))


def test_what_looks_like_a_pandas_frame_keeps_types_and_missing_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PandasFrame, "__module__", "pandas.core.frame")
    monkeypatch.setitem(sys.modules, "pandas", ModuleType("pandas"))
    days = [np.datetime64(f"2024-02-0{day}") for day in (1, 2, 3)]
    check_pandas(PandasFrame({
        "n": Pandas([1.5, 2.0, float("nan")], "float64"), "i": Pandas([1, 2, 3], "int64"), "k": Pandas(["u", None, "v"], "category"),
        "d": Pandas(days, "datetime64[ns]"), "b": Pandas([True, False, True], "bool"),
    }))  # fmt: skip
