"""Randomness is a function of (seed, purpose, index), whatever was drawn before."""

from __future__ import annotations

import copy

import pytest
import torch

from dnnlab.seeding import CHUNK, Noise, generator, key, permutation

WIDE = CHUNK // 300  # with 300 rows, one step fills the chunk


def mask(noise: Noise, step: int, place: str = "here", rows: int = 8, width: int = 5, keep: float = 0.5) -> torch.Tensor:
    noise.step = step
    return noise.mask(place, rows, width, keep=keep).clone()


def test_streams_are_the_same_on_every_machine_and_in_every_version() -> None:
    assert key(0, "shuffle", 3) == 6929415451674553806
    assert permutation(7, 2, 6).tolist() == [5, 3, 1, 4, 0, 2]
    assert mask(Noise(7), 3, "hidden1", 2, 4).tolist() == [[0, 0, 2, 0], [0, 0, 2, 0]]


def test_a_key_is_a_number_of_63_bits() -> None:
    assert all(0 <= key(seed, "init", "a") < 2**63 for seed in range(100))


def test_keys_of_different_places_differ() -> None:
    keys = [
        key(seed, purpose, *index) for seed in range(5) for purpose in ("a", "ab") for index in ((), (0,), (1,), ("0",), (0, 1), ("b",))
    ]
    assert len(set(keys)) == len(keys)


def test_a_permutation_holds_every_row_once_and_changes_with_seed_and_epoch() -> None:
    orders = [permutation(seed, epoch, 100) for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order.tolist()) == list(range(100)) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == 4
    assert torch.equal(orders[3], permutation(1, 1, 100))


def test_drawing_leaves_torchs_own_generator_alone() -> None:
    before = torch.random.get_rng_state()
    generator(3, "x")
    permutation(3, 1, 50)
    noise = Noise(3)
    noise.normal("a", 4, 4, std=1.0)
    noise.mask("a", 4, 4, keep=0.5)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("width", [5, 1000, WIDE, 2 * WIDE])
def test_noise_is_a_function_of_seed_place_and_step(width: int) -> None:
    steps = [0, 1, 2, 63, 64, 130, 5]
    once = Noise(1, rows=300)
    forward = {step: mask(once, step, rows=300, width=width) for step in steps}
    for step in reversed(steps):  # another order, a fresh one each time, and other places in between
        fresh = Noise(1, rows=300)
        mask(fresh, 999, "elsewhere", 300, 7)
        assert torch.equal(mask(fresh, step, rows=300, width=width), forward[step])
    assert len({tuple(m.flatten().tolist()) for m in forward.values()}) == len(steps)


def test_normal_noise_is_a_function_of_seed_place_and_step() -> None:
    a, b = Noise(1, step=9), Noise(1)
    b.normal("x", 6, 3, std=1.0)
    b.step = 9
    assert torch.equal(a.normal("x", 6, 3, std=1.0), b.normal("x", 6, 3, std=1.0))


def test_no_place_seed_or_kind_shares_noise() -> None:
    noises = [Noise(seed).normal(place, 10, 10, std=1.0) for seed in (0, 1) for place in ("input", "hidden1", "hidden2")]
    masks = [Noise(seed).mask(place, 10, 10, keep=0.5) for seed in (0, 1) for place in ("input", "hidden1", "hidden2")]
    for group in (noises, masks):
        assert len({tuple(n.flatten().tolist()) for n in group}) == len(group)


@pytest.mark.parametrize("keep", [0.05, 0.5, 0.8, 0.999])
def test_a_mask_keeps_its_share_and_the_mean(keep: float) -> None:
    drawn = Noise(0).mask("a", 1000, 400, keep=keep)
    share = (drawn > 0).double().mean().item()
    assert share == pytest.approx(keep, abs=6 * (keep * (1 - keep) / drawn.numel()) ** 0.5 + 2**-17)
    assert set(drawn.unique().tolist()) == {0.0, torch.tensor(1 / keep).item()}


def test_a_masks_numbers_are_independent_of_their_neighbours() -> None:
    kept = (Noise(0).mask("a", 1000, 400, keep=0.5) > 0).double() - 0.5
    for shift in (1, 2, 3, 4, 8):  # four numbers come from one word
        assert abs((kept[:, shift:] * kept[:, :-shift]).mean().item()) < 0.25 * 6 / kept.numel() ** 0.5
    assert abs((kept[1:] * kept[:-1]).mean().item()) < 0.25 * 6 / kept.numel() ** 0.5


def test_normal_noise_has_its_mean_and_spread() -> None:
    drawn = Noise(0).normal("a", 1000, 200, std=0.3).double()
    assert drawn.mean().item() == pytest.approx(0, abs=6 * 0.3 / drawn.numel() ** 0.5)
    assert drawn.std().item() == pytest.approx(0.3, rel=0.01)


def test_a_short_batch_takes_the_first_rows() -> None:
    whole = mask(Noise(0, rows=8), 3)
    noise = Noise(0, rows=8)
    assert torch.equal(mask(noise, 3, rows=5), whole[:5])
    assert torch.equal(mask(noise, 3), whole)


def test_a_slice_of_a_batch_takes_its_own_rows() -> None:
    whole = mask(Noise(0, rows=8), 3)
    noise = Noise(0, rows=8)
    noise.first = 5
    assert torch.equal(mask(noise, 3, rows=3), whole[5:])


def test_another_rate_or_type_at_the_same_place_is_drawn_anew() -> None:
    noise = Noise(0)
    mask(noise, 0, keep=0.5)
    assert torch.equal(mask(noise, 0, keep=0.9), mask(Noise(0), 0, keep=0.9))
    assert noise.mask("here", 8, 5, keep=0.9, dtype=torch.float64).dtype is torch.float64


def test_a_copy_draws_the_same_and_goes_its_own_way() -> None:
    noise = Noise(4, rows=8)
    mask(noise, 2)
    twin = copy.deepcopy(noise)
    assert torch.equal(mask(twin, 100), mask(noise, 100))
    twin.step = 0
    assert noise.step == 100
