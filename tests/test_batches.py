"""Every row comes once, in the order that was asked for, however the rows are cut."""

from __future__ import annotations

import pytest
import torch

from dnnlab import batches as room
from dnnlab.batches import Batches
from tests.support import parts

SIZES = [(1, 1), (7, 1), (7, 3), (7, 7), (7, 100), (64, 16), (65, 16), (63, 16), (1000, 7), (1000, 333)]


def rows_of(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.arange(count * 3.0).view(count, 3)
    return x, torch.arange(count)


@pytest.fixture(params=[1, 60, 200, 1 << 20], ids=lambda numbers: f"chunk{numbers}")
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many numbers are gathered at once: from one batch at a time to all of them."""
    monkeypatch.setattr(room, "CHUNK", request.param)
    return int(request.param)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(("count", "size"), SIZES)
def test_batches_are_plain_indexing(count: int, size: int, ordered: bool) -> None:
    x, y = rows_of(count)
    order = torch.randperm(count) if ordered else None
    rows = torch.arange(count) if order is None else order
    batches = Batches(x, y, size)
    got = [(part.clone(), target.clone()) for part, target in batches(order)]
    wanted = [(x[part], y[part]) for part in rows.split(size)]
    assert len(got) == len(wanted) == batches.count
    for number, ((part, target), (wanted_part, wanted_target)) in enumerate(zip(got, wanted, strict=True)):
        assert torch.equal(part, wanted_part)
        assert torch.equal(target, wanted_target)
        assert batches.rows(number) == len(wanted_part)
        assert batches.numbers(number, order) == wanted_target.tolist()
    assert sorted(torch.cat([target for _, target in got]).tolist()) == list(range(count))


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(("count", "size"), SIZES)
def test_a_start_in_the_middle_is_the_rest_of_the_whole(count: int, size: int, ordered: bool) -> None:
    x, y = rows_of(count)
    order = torch.randperm(count) if ordered else None
    batches = Batches(x, y, size)
    whole = [(part.clone(), target.clone()) for part, target in batches(order)]
    for start in {*range(min(5, batches.count)), batches.count // 2, batches.count - 1}:
        rest = [(part.clone(), target.clone()) for part, target in batches(order, start)]
        assert len(rest) == len(whole) - start
        for (part, target), (wanted_part, wanted_target) in zip(rest, whole[start:], strict=True):
            assert torch.equal(part, wanted_part)
            assert torch.equal(target, wanted_target)


def test_epochs_may_be_left_in_the_middle() -> None:
    batches = Batches(*rows_of(20), size=3)
    for _ in batches(torch.randperm(20)):
        break
    order = torch.randperm(20)
    assert torch.cat([target.clone() for _, target in batches(order)]).tolist() == order.tolist()


def test_messages_name_the_rows_of_the_source() -> None:
    batches = Batches(*rows_of(5), size=2, index=torch.tensor([10, 20, 30, 40, 50]))
    assert batches.numbers(1, torch.tensor([4, 3, 2, 1, 0])) == [30, 20]
    assert batches.numbers(2, None) == [50]


def test_the_rows_themselves_are_only_read() -> None:
    x, y = rows_of(20)
    before = x.clone(), y.clone()
    for _ in Batches(x, y, 6)(torch.randperm(20)):
        pass
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])


@pytest.mark.parametrize(("size", "rows"), [("auto", 64), (16, 32), ("full", 144), (100, 144)])
def test_a_step_has_the_rows_of_all_its_batches(size: int | str, rows: int) -> None:
    made = parts({"trainer": {"batch_size": size, "accumulate": 2}})
    assert len(made.rows.train.x) == 144
    assert made.trainer.batches.size == rows
