"""Law 6: whatever is fitted does not change when validation and test rows do."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
import torch

from dnnlab.build.rows import Rows, build_rows
from dnnlab.data import Recipe, Source, load_bundled, prepare
from tests.support import differences, settings


def spoiled(source: Source, keep: torch.Tensor) -> Source:
    """The source with wild numbers in every row that is not kept."""
    other = torch.ones(len(source.x), dtype=torch.bool)
    other[keep] = False
    x, y = source.x.clone(), source.y.clone()
    x[other] = 1e6 * torch.randn(int(other.sum()), x.shape[1], generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    if y.is_floating_point():  # the classes belong to the split, so they stay
        y[other] = -1e6
    return replace(source, x=x, y=y)


@pytest.mark.parametrize("scale", ["standardise", "robust", "minmax", "quantile", "log", "none"])
@pytest.mark.parametrize("kind", ["digits", "breast_cancer", "diabetes"])
def test_scalers_targets_and_training_rows_do_not_depend_on_the_other_rows(kind: str, scale: str) -> None:
    source = load_bundled(kind)
    data = prepare(source, recipe=Recipe(scale=scale))  # type: ignore[arg-type]
    other = prepare(spoiled(source, data.train.index), recipe=Recipe(scale=scale))  # type: ignore[arg-type]
    assert data.valid is not None
    assert other.valid is not None
    assert not torch.equal(data.valid.x, other.valid.x)
    assert torch.equal(data.train.x, other.train.x)
    assert torch.equal(data.train.y, other.train.y)
    assert not differences(data.encoder.state_dict(), other.encoder.state_dict())
    assert (data.target_shift, data.target_factor) == (other.target_shift, other.target_factor)


def test_the_parts_share_no_row() -> None:
    data = prepare(load_bundled("digits"))
    assert data.valid is not None
    assert data.test is not None
    rows = torch.cat([data.train.index, data.valid.index, data.test.index])
    assert torch.equal(rows.sort().values, torch.arange(1797))


ROWS = 240


def a_table() -> pl.DataFrame:
    """Numbers with holes, dates, truth values, few and many words (some of them numbers), and targets of both sorts."""
    random = torch.Generator().manual_seed(0)
    n = torch.randn(ROWS, generator=random, dtype=torch.float64).tolist()
    word = torch.randint(0, 40, (ROWS,), generator=random).tolist()
    return pl.DataFrame(
        {
            "n": [None if row % 7 == 3 else value for row, value in enumerate(n)],
            "m": [row * row % 97 for row in range(ROWS)],
            "day": [None if row % 11 == 5 else date(2024, 1, 1) + timedelta(days=row * 3 % 200) for row in range(ROWS)],
            "flag": [None if row % 13 == 1 else row % 3 == 0 for row in range(ROWS)],
            "size": [["1", "2", "10", None, "S"][row % 5] if row % 5 < 4 else "9" for row in range(ROWS)],
            "code": [float(row % 4) for row in range(ROWS)],
            "word": [f"w{number}" for number in word],
            "kind": [["no", "yes"][int(value > 0.3)] for value in n],
            "y": [3 * value + row % 2 for row, value in enumerate(n)],
        }
    )


def spoiled_table(frame: pl.DataFrame, keep: torch.Tensor) -> pl.DataFrame:
    """The table with wild numbers, other dates, unheard-of words and other holes in every row that is not kept; its classes stay."""
    kept = pl.Series([row in set(keep.tolist()) for row in range(ROWS)])
    wild = {
        "n": [None if row % 2 else 1e12 for row in range(ROWS)],
        "m": [10**9 + row for row in range(ROWS)],
        "day": [date(2199, 12, 31)] * ROWS,
        "flag": [None] * ROWS,
        "size": [f"{row} metres" for row in range(ROWS)],
        "code": [row + 0.5 for row in range(ROWS)],
        "word": [f"new{row}" for row in range(ROWS)],
        "y": [1e6 + row for row in range(ROWS)],
    }
    other = pl.DataFrame(wild, schema={name: frame.schema[name] for name in wild})
    return frame.with_columns(frame[name].zip_with(kept, other[name]) for name in wild)


def rows_of(frame: pl.DataFrame, target: str, **asked: Any) -> Rows:
    """The table split and encoded."""
    kinds = {"code": "categorical", "word": "categorical", "size": "categorical", "y" if target == "kind" else "kind": "ignore"}
    data = {"kind": "memory", "target": target, "columns": kinds, "one_hot": 20, **asked}
    return build_rows(settings({"data": data}), torch.float32, torch.device("cpu"), frame)


@pytest.mark.parametrize("scale", ["standardise", "robust", "minmax", "quantile", "log", "none"])
@pytest.mark.parametrize(
    ("target", "asked"),
    [
        ("kind", {}),
        ("kind", {"impute": "mean", "rare": 1, "folds": 4, "fold": 2}),
        ("y", {"impute": "most_frequent", "categories": "one_hot"}),
        ("y", {"scale_target": "log", "relabel": {}, "stratify": False}),
    ],
)
def test_what_a_table_becomes_does_not_depend_on_the_other_rows(target: str, asked: dict[str, Any], scale: str) -> None:
    frame = a_table()
    if asked.get("scale_target") == "log":
        frame = frame.with_columns(pl.col("y").exp())
    rows = rows_of(frame, target, scale=scale, **asked)
    other = rows_of(spoiled_table(frame, rows.train.index), target, scale=scale, **asked)
    assert rows.valid is not None
    assert other.valid is not None
    assert torch.equal(rows.valid.index, other.valid.index)
    assert not torch.equal(rows.valid.x, other.valid.x)
    assert torch.equal(rows.train.x, other.train.x)
    assert torch.equal(rows.train.y, other.train.y)
    one, two = rows.source, other.source
    assert not differences(one.encoder.state_dict(), two.encoder.state_dict())
    assert one.encoder.vocabularies == two.encoder.vocabularies
    assert one.features == two.features
    assert (one.target_shift, one.target_factor, one.target_log) == (two.target_shift, two.target_factor, two.target_log)
    assert rows.table is not None
    assert other.table is not None
    told = [[(c.name, c.role, c.distinct, c.low, c.high, c.mean, c.encoding) for c in made.table.schema.inputs] for made in (rows, other)]  # type: ignore[union-attr]
    assert told[0] == told[1]


def test_figures_of_a_tables_columns_are_those_of_training_rows() -> None:
    rows = rows_of(a_table(), "kind")
    assert rows.table is not None
    n = next(column for column in rows.table.schema.columns if column.name == "n")
    train = a_table()["n"].gather(rows.train.index.tolist())
    assert (n.low, n.high, n.mean, n.missing) == (train.min(), train.max(), pytest.approx(train.mean()), train.null_count())
