"""What every test begins with: the same random numbers, float32, one thread; and no test leaves these changed behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from dnnlab import pictures, provenance


@pytest.fixture(autouse=True)
def fresh_torch() -> Iterator[None]:
    """Seed torch, and restore its default type and number of threads."""
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    yield
    torch.set_default_dtype(dtype)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def quick_runs() -> Iterator[None]:
    """Runs with one small picture, whose checkout nobody asks for: for tests that train hundreds of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "draw", lambda parts, records: {"picture": b"\x89PNG" + bytes(28)})
        patch.setattr(provenance, "commit", lambda: None)
        yield
