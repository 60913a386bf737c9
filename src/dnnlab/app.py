"""A request in, a run folder out: what every door calls once the settings are typed."""

from __future__ import annotations

import gc

from dnnlab.config.request import Request
from dnnlab.errors import ResourceError
from dnnlab.find_rate import find_rate
from dnnlab.records import Summary
from dnnlab.run import run


def train(request: Request) -> Summary:
    """Train as the request says, or only search a learning rate; memory that runs out is told with the batch that asked for it."""
    gc.freeze()  # torch's million objects stay: the collector need not walk them again and again
    try:
        return find_rate(request) if request.config.lr_find else run(request)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        import torch

        peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        raise ResourceError(
            f"memory must suffice, however: {str(error).splitlines()[0] if str(error) else 'it ran out'}"
            + (f" (peak on the device: {peak / 2**20:,.0f} MiB)" if peak else ""),
            where=f"trainer.batch_size={request.config.trainer.batch_size}, model={request.config.model.kind}",
            fix="Try a smaller trainer.batch_size or a narrower model",
        ) from error


def _out_of_memory(error: Exception) -> bool:
    said = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in said
        or "not enough memory" in said
    )
