"""Law 6: whatever is fitted does not change when validation and test rows do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dnnlab.data import Recipe, Source, load_bundled, prepare
from tests.support import differences


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
