"""Law 7: an evaluation gives the same figures for any batch size and any order of the rows."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest
import torch
from torch import Tensor, nn

from dnnlab import losses
from dnnlab.api import Trained, train
from dnnlab.build.rows import build_rows
from dnnlab.evaluate import figures_of, target_of
from dnnlab.metrics import evaluate, fitting
from dnnlab.predictor import Predictor
from dnnlab.tasks import Answer, Task

ROWS = 103
CASES = {
    "binary": (Answer(Task.BINARY, "sigmoid"), 1, losses.BinaryCrossEntropy(class_weights=torch.tensor([1.0, 3.0], dtype=torch.float64))),
    "multiclass": (
        Answer(Task.MULTICLASS, "softmax"), 4, losses.CrossEntropy(0.1, torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)),
    ),
    "margin": (Answer(Task.MULTICLASS, "softmax"), 4, losses.Hinge()),
    "regression": (Answer(Task.REGRESSION, "identity", (3.0,), (2.0,)), 1, losses.Huber(0.5)),
    "reconstruction": (Answer(Task.RECONSTRUCTION, "sigmoid"), 6, losses.BinaryCrossEntropy()),
}  # fmt: skip


def target_for(task: Task, x: Tensor, outputs: int) -> Tensor:
    """A target of the task's form, uneven in its classes."""
    random = torch.Generator().manual_seed(1)
    if task is Task.BINARY:
        return (torch.rand(ROWS, 1, generator=random) < 0.3).to(x.dtype)
    if task is Task.MULTICLASS:
        return torch.randint(0, outputs, (ROWS,), generator=random) // 2 * 2 % outputs
    return torch.sigmoid(x) if task is Task.RECONSTRUCTION else x[:, :1] * 2


@pytest.mark.parametrize("case", CASES)
def test_batches_and_order_do_not_change_an_evaluation(case: str) -> None:
    answer, outputs, loss = CASES[case]
    x = torch.randn(ROWS, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = target_for(answer.task, x, outputs)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, outputs)).double().eval()
    names = fitting(answer.task, margin=case == "margin")
    whole = evaluate(network, x, target, loss.mean, answer, names, batch_rows=ROWS)
    assert set(whole) == {"loss", *names}
    for batch_rows in (1, 2, 32, 102, 1000):
        other = evaluate(network, x, target, loss.mean, answer, names, batch_rows=batch_rows)
        assert other == pytest.approx(whole, abs=1e-6, nan_ok=True)
    for order in (torch.arange(ROWS - 1, -1, -1), torch.randperm(ROWS, generator=torch.Generator().manual_seed(2))):
        other = evaluate(network, x[order], target[order], loss.mean, answer, names, batch_rows=32)
        assert other == pytest.approx(whole, abs=1e-6, nan_ok=True)


TARGETS = {"binary": "kind", "multiclass": "part", "regression": "y"}
COLUMNS = {"code": "categorical", "word": "categorical"}


def a_table() -> pl.DataFrame:
    """Numbers with holes, times, truth values, words (of which some are rare), and a target of each sort."""
    n = torch.randn(200, generator=torch.Generator().manual_seed(3), dtype=torch.float64).tolist()
    return pl.DataFrame(
        {
            "n": [None if row % 9 == 4 else value for row, value in enumerate(n)],
            "m": [row * row % 97 for row in range(200)],
            "when": [None if row % 17 == 2 else datetime(2024, 1, 1) + timedelta(hours=row * 31) for row in range(200)],
            "flag": [row % 3 == 0 for row in range(200)],
            "code": [[1.0, 2.0, 2.5, None][row % 4] for row in range(200)],
            "word": [f"w{row * row % 61}" for row in range(200)],
            "kind": [["no", "yes"][int(value > 0.3)] for value in n],
            "part": [["low", "mid", "top"][int(value > -0.5) + int(value > 0.5)] for value in n],
            "y": [3 * value + row % 2 for row, value in enumerate(n)],
        }
    )


def fed(target: str) -> pl.DataFrame:
    """The table without the other targets."""
    return a_table().drop(other for other in TARGETS.values() if other != target)


@pytest.fixture(scope="module", params=list(TARGETS))
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A small run on the table."""
    few = ("trainer.epochs=2", "logger.tensorboard=false", "logger.progress=false", "threads=1", "data.one_hot=10", "model.hidden=[8]")
    target = TARGETS[request.param]
    return train(fed(target), *few, target=target, columns=COLUMNS, root=tmp_path_factory.mktemp(request.param))


def alike(one: pl.DataFrame, two: pl.DataFrame) -> None:
    """Equal answers, numbers up to rounding."""
    assert one.columns == two.columns
    for name in one.columns:
        if one[name].dtype == pl.String:
            assert one[name].to_list() == two[name].to_list()
        else:
            assert one[name].to_list() == pytest.approx(two[name].to_list(), abs=1e-5)


def test_predictions_do_not_depend_on_batch_row_or_column_order(trained: Trained) -> None:
    predictor = trained.predictor
    frame = fed(predictor.schema.targets[0])
    whole = predictor.predict(frame, proba=True)
    assert whole["prediction"].n_unique() > 1
    for rows in (1, 7, 64):
        alike(pl.concat([predictor.predict(piece, proba=True) for piece in frame.iter_slices(rows)]), whole)
    for order in (list(range(199, -1, -1)), torch.randperm(200, generator=torch.Generator().manual_seed(2)).tolist()):
        alike(predictor.predict(frame[order], proba=True), whole[order])
    for columns in (frame.columns[::-1], sorted(frame.columns), [name for name in frame.columns if name != predictor.schema.targets[0]]):
        alike(predictor.predict(frame.select(columns), proba=True), whole)
    alike(predictor.predict(frame.with_columns(more=pl.lit(5)), proba=True), whole)
    padding = pl.concat([frame, frame.head(50).with_columns(n=pl.lit(1e6), word=pl.lit("new"))])
    alike(predictor.predict(padding, proba=True).head(200), whole)


def figures(predictor: Predictor, frame: pl.DataFrame, rows: int) -> dict[str, float]:
    """The figures of a frame that is scored so many rows at a time."""
    pieces = list(frame.iter_slices(rows))
    targets = [target_of(predictor, piece, lambda row: f"row {row}") for piece in pieces]
    return figures_of(predictor, torch.cat([predictor.scores(piece) for piece in pieces]), torch.cat(targets))


def test_figures_of_a_run_do_not_depend_on_batch_row_or_column_order(trained: Trained) -> None:
    predictor = trained.predictor
    frame = fed(predictor.schema.targets[0])
    test = build_rows(predictor.config, torch.float32, torch.device("cpu"), frame).test
    assert test is not None
    frame = frame[test.index.tolist()]
    logged = {name.removeprefix("test/"): value for name, value in trained.metrics.items() if name.startswith("test/")}
    order = torch.randperm(len(frame), generator=torch.Generator().manual_seed(2)).tolist()
    for found in (
        figures(predictor, frame, len(frame)), figures(predictor, frame, 1), figures(predictor, frame[order], 7),
        figures(predictor, frame.select(frame.columns[::-1])[order], 32),
    ):  # fmt: skip
        both = logged.keys() & found.keys()
        assert len(both) >= 3
        assert {name: found[name] for name in both} == pytest.approx({name: logged[name] for name in both}, abs=1e-5)
