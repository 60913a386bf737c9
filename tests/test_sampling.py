"""Weighted sampling: how often rows are drawn, that a draw is a function of seed and epoch, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dnnlab.assembly import Parts
from dnnlab.build.training import row_weights
from dnnlab.errors import ConfigError, DivergedError
from dnnlab.lr_finder import range_test
from dnnlab.seeding import generator, permutation, weighted_order
from tests.laws.test_resume import check
from tests.support import differences, parts, settings, state

SEVERAL = {"data": {"kind": "iris"}}
NUMBERS = {"data": {"kind": "diabetes"}}


def seen(made: Parts, epochs: int) -> list[Tensor]:
    """The targets that the learner is given, one tensor for each epoch."""
    take, batches = made.learner.step, list[Tensor]()

    def taking(x: Any, target: Tensor, step: int, lr: float, loss: Any) -> None:
        batches.append(target.reshape(-1).clone())
        take(x, target, step, lr, loss)

    made.learner.step = taking  # type: ignore[method-assign]
    for record in made.trainer:
        if record.epoch == epochs:
            break
    count = made.trainer.batches.count
    return [torch.cat(batches[first : first + count]) for first in range(0, len(batches), count)]


# the draw


def test_a_draw_is_the_same_on_every_machine_and_in_every_version() -> None:
    assert weighted_order(7, 2, torch.tensor([1.0, 1.0, 2.0, 4.0, 1.0, 1.0])).tolist() == [2, 1, 3, 4, 3, 1]


def test_a_draw_changes_with_seed_and_epoch_and_leaves_torchs_own_generator_alone() -> None:
    before, weights = torch.random.get_rng_state(), torch.arange(1.0, 101.0)
    draws = [weighted_order(seed, epoch, weights) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(draw.tolist()) for draw in draws}) == 4
    assert torch.equal(draws[3], weighted_order(1, 1, weights))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(draw.dtype == torch.int64 and len(draw) == 100 for draw in draws)


def test_a_draw_shares_no_numbers_with_the_order_of_rows() -> None:
    uniform = torch.rand(1000, dtype=torch.float64, generator=generator(0, "shuffle", 0))
    assert not torch.equal(weighted_order(0, 0, torch.ones(1000)), (uniform * 1000).long())
    assert not torch.equal(weighted_order(0, 0, torch.ones(1000)), permutation(0, 0, 1000))


def test_a_draw_is_the_inverse_of_the_cumulative_distribution() -> None:
    weights = torch.rand(5000, generator=torch.Generator().manual_seed(1))
    uniform = torch.rand(5000, dtype=torch.float64, generator=generator(3, "sampling", 4)).numpy()
    edges = np.cumsum(weights.double().numpy())
    assert weighted_order(3, 4, weights).tolist() == np.searchsorted(edges, uniform * edges[-1], side="right").tolist()


def test_only_the_relation_of_weights_counts_and_a_row_of_weight_0_is_never_drawn() -> None:
    weights = torch.rand(2000, generator=torch.Generator().manual_seed(0))
    weights[::3] = 0
    weights[-5:] = 0
    order = weighted_order(0, 0, weights)
    assert bool((weights[order] > 0).all())
    assert torch.equal(order, weighted_order(0, 0, weights * 1024))


def test_the_lowest_number_that_may_be_drawn_is_no_row_of_weight_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda count, dtype, generator: torch.zeros(count, dtype=dtype))
    assert weighted_order(0, 0, torch.tensor([0.0, 0.0, 3.0])).tolist() == [2, 2, 2]


def test_the_highest_number_that_may_be_drawn_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    several = (torch.ones(7), torch.ones(8), torch.rand(50), torch.full((8,), 1 / 3))
    monkeypatch.setattr(torch, "rand", lambda count, dtype, generator: torch.full((count,), 1 - 2**-53, dtype=dtype))
    for weights in several:
        assert weighted_order(0, 0, weights).tolist() == [len(weights) - 1] * len(weights)


def test_rows_are_drawn_as_often_as_their_weights_say() -> None:
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0]).repeat(1000)
    counts = sum(torch.bincount(weighted_order(0, epoch, weights) % 4, minlength=4) for epoch in range(25))
    share = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    assert isinstance(counts, Tensor)
    assert counts.sum() == 100_000
    assert ((counts - 100_000 * share).abs() < 4 * (100_000 * share * (1 - share)).sqrt()).all()


# what the settings come to


@pytest.mark.parametrize("shape", [(10,), (10, 1)])
def test_balanced_gives_every_class_the_same_weight_in_all(shape: tuple[int, ...]) -> None:
    codes = torch.tensor([0, 0, 0, 0, 0, 0, 0, 1, 1, 1])
    target = codes.reshape(shape) if len(shape) == 1 else codes.float().reshape(shape)
    weights = row_weights(settings({"trainer.sampling": "balanced"}), target, 2)
    assert weights is not None
    torch.testing.assert_close(torch.bincount(codes, weights), torch.tensor([1.0, 1.0], dtype=torch.float64))
    assert len(set(weights[codes == 1].tolist())) == 1


def test_a_list_says_how_often_each_class_is_drawn_whatever_its_rows() -> None:
    codes = torch.tensor([0, 2, 2, 1, 2, 2])
    weights = row_weights(settings({"trainer.sampling": [1.0, 2.0, 0.5]}), codes, 3)
    assert weights is not None
    torch.testing.assert_close(torch.bincount(codes, weights), torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64))
    assert row_weights(settings(), codes, 3) is None


@pytest.mark.parametrize(
    ("changes", "keys", "fix"),
    [
        (NUMBERS, ("trainer.sampling", "data.kind"), "natural"),
        ({"model": {"kind": "autoencoder", "hidden": [4], "bottleneck": 1}}, ("trainer.sampling", "model.kind"), "natural"),
        ({"trainer.shuffle": False}, ("trainer.sampling", "trainer.shuffle"), "trainer.shuffle=true"),
        ({"trainer.batch_size": "full"}, ("trainer.sampling", "trainer.batch_size"), "loss.class_weights=balanced"),
        ({"optimizer": {"kind": "gd", "lr": 0.1}, "trainer.batch_size": "auto"}, ("trainer.sampling", "optimizer.kind"), "optimizer=sgd"),
        ({"optimizer": {"kind": "lbfgs"}, "trainer.batch_size": "auto"}, ("trainer.sampling", "optimizer.kind"), "optimizer=sgd"),
    ],
)
def test_sampling_that_cannot_be_is_refused(changes: dict[str, Any], keys: tuple[str, ...], fix: str) -> None:
    for sampling in ("balanced", [1.0, 2.0]):
        with pytest.raises(ConfigError) as caught:
            parts(changes | {"trainer.sampling": sampling})
        assert all(key in caught.value.where for key in keys)
        assert fix in caught.value.fix


@pytest.mark.parametrize("weights", [[1.0, 2.0], [1.0, 1.0, 1.0, 1.0]])
def test_a_list_of_another_length_than_the_classes_is_refused(weights: list[float]) -> None:
    with pytest.raises(ConfigError, match=f"each of the 3 classes, however: {len(weights)}"):
        parts(SEVERAL | {"trainer.sampling": weights})


@pytest.mark.parametrize("bad", ["even", [1.0], [1.0, 0.0], [1.0, -1.0]])
def test_what_is_no_sampling_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="sampling"):
        settings({"trainer.sampling": bad})


# training


@pytest.mark.parametrize("loss", ["bce", "cross_entropy"])
def test_an_epoch_holds_as_many_rows_as_before_and_the_classes_that_were_asked_for(loss: str) -> None:
    made = parts({"data": {"kind": "moons", "rows": 6000}, "trainer.sampling": [1.0, 3.0], "loss": {"kind": loss}})
    rows = len(made.rows.train.x)
    for targets in seen(made, epochs=2):
        assert len(targets) == rows
        assert abs(float((targets == 1).sum()) - 0.75 * rows) < 4 * (rows * 0.75 * 0.25) ** 0.5
    assert made.rows.train.y.double().mean() == pytest.approx(0.5, abs=0.01)


def test_classes_of_unequal_size_are_balanced() -> None:
    made = parts({"data": {"kind": "breast_cancer"}, "trainer.sampling": "balanced"})
    targets = torch.cat(seen(made, epochs=3))
    assert made.rows.train.y.mean() > 0.6
    assert abs(float(targets.mean()) - 0.5) < 4 * 0.5 / len(targets) ** 0.5


def test_a_batch_that_is_as_large_as_the_rows_is_drawn_too() -> None:
    made = parts({"trainer.sampling": "balanced", "trainer.batch_size": 1000})
    assert made.trainer.batches.count == 1
    weights = made.trainer.course.weights
    assert weights is not None
    order = weighted_order(0, 0, weights)
    assert torch.equal(seen(made, epochs=1)[0], made.rows.train.y[order].reshape(-1))


@pytest.mark.parametrize("sampling", ["balanced", [1.0, 4.0]])
def test_the_same_settings_give_the_same_bits(sampling: object) -> None:
    runs = [parts({"trainer.sampling": sampling}) for _ in range(2)]
    records = [[(record.step, dict(record.metrics)) for record in run.trainer] for run in runs]
    assert records[0] == records[1]
    assert differences(state(runs[0]), state(runs[1])) == []


def test_resume_equals_uninterrupted(tmp_path: Path) -> None:
    check({"trainer.sampling": "balanced", "regularization": {"dropout": 0.3}}, (1, 4, 5, 7, 12), tmp_path)


def test_resume_inside_an_epoch_of_one_draw_in_slices(tmp_path: Path) -> None:
    check({"trainer.sampling": [1.0, 3.0], "trainer.accumulate": 2, "trainer.batch_size": 16}, (3, 8), tmp_path)


def test_looking_at_every_step_changes_no_bit() -> None:
    runs = [parts({"trainer.sampling": "balanced", "trainer.validate_every": every}) for every in ("1000epochs", "1steps")]
    for run in runs:
        list(run.trainer)
    assert differences(runs[0].learner.state(), runs[1].learner.state()) == []


def test_a_divergence_is_found_in_the_rows_that_were_drawn() -> None:
    made = parts({"data": {"kind": "iris"}, "trainer.sampling": [1.0, 1.0, 9.0], "optimizer": {"kind": "sgd", "lr": 0.1}})
    made.rows.train.x[:] = torch.nan
    weights = made.trainer.course.weights
    assert weights is not None
    first = made.rows.train.index[weighted_order(0, 0, weights)[:8]].tolist()
    with pytest.raises(DivergedError) as caught:
        list(made.trainer)
    assert caught.value.where == f"data rows {', '.join(map(str, first))}, …"


def test_the_range_test_draws_as_training_would() -> None:
    made = parts({"trainer.sampling": [1.0, 9.0]})
    take, targets = made.learner.step, list[Tensor]()

    def taking(x: Any, target: Tensor, step: int, lr: float, loss: Any) -> None:
        targets.append(target.clone())
        take(x, target, step, lr, loss)

    made.learner.step = taking  # type: ignore[method-assign]
    weights = made.trainer.course.weights
    assert weights is not None
    range_test(made.learner, made.trainer.batches, 1e-6, 1e-3, 10, 0, weights)
    drawn = torch.cat([weighted_order(0, epoch, weights) for epoch in (0, 1)])
    assert torch.equal(torch.cat(targets), made.rows.train.y[drawn])
