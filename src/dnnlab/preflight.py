"""Everything that would go wrong, before anything is trained: what the data tell, and one real batch through model, loss and metrics."""

from __future__ import annotations

import torch

from dnnlab.assembly import Parts
from dnnlab.backprop import WrittenOut
from dnnlab.data import Part
from dnnlab.errors import ConfigError, DataError, DnnlabError
from dnnlab.records import Finding

LOOKED_AT = 256  # rows that the figures are tried on
BOUND = 1e12  # a loss beyond is as good as infinite: the first step would be


def findings(parts: Parts) -> tuple[Finding, ...]:
    """What a person should know before training: of the table, and of the first batch."""
    return (*(parts.rows.table.findings if parts.rows.table is not None else ()), *_sizes(parts))


def rehearse(parts: Parts) -> float:
    """Pass the first batch through model, loss, gradient and figures, and leave everything as it was: -> its loss.

    ConfigError where a user's own part does not fit; DataError where the rows make the loss infinite before anything is learned.
    """
    learner, train = parts.learner, parts.rows.train
    size = parts.ingredients.batches.size
    x, target = train.x[:size], train.y[:size]
    before = learner.snapshot()
    loss = x.new_zeros(())
    try:
        with torch.no_grad():
            learner.noise.step = 0
            learner.gradients(x, target, loss)
            part = parts.rows.valid or train
            parts.judge(Part(part.x[:LOOKED_AT], part.y[:LOOKED_AT], part.index[:LOOKED_AT]), parts.figures.epoch)
        _check_scores(parts, part)
    except DnnlabError:
        raise
    except Exception as error:  # a user's own code may raise anything
        custom = [group for group in ("model", "loss", "optimizer") if getattr(parts.config, group).kind == "custom"]
        if not custom or isinstance(error, torch.OutOfMemoryError | MemoryError):
            raise
        raise ConfigError(
            f"{' and '.join(custom)} of your own must take a batch {tuple(x.shape)} and its target {tuple(target.shape)}, however: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}",
            where=", ".join(f"{group}.target" for group in custom),
            fix="See docs/custom.md; --debug shows where it happened",
        ) from error
    finally:
        learner.restore(before)
        learner.flat.grad.zero_()
    told = float(loss)
    if not abs(told) < BOUND and bool(x.isfinite().all()):
        raise DataError(
            f"the first batch must have a loss that training can begin with, however: {told:g}",
            where="data, loss.kind",
            fix="Scale the target (data.scale_target=standardise) and the inputs (data.scale=standardise)",
        )
    return told


def _check_scores(parts: Parts, part: Part) -> None:
    """A model of the user's own must answer as wide as is asked: what is not would be broadcast, and learn something else."""
    scores, wanted = parts.learner.scores(part.x[:LOOKED_AT]), (len(part.x[:LOOKED_AT]), parts.rows.outputs)
    if tuple(scores.shape) != wanted:
        raise ValueError(f"the scores are {tuple(scores.shape)}, not {wanted}")


def memory_needed(parts: Parts) -> dict[str, int]:
    """Bytes that the rows take, and the network with its optimizer."""
    rows = sum(part.x.numel() * part.x.element_size() + part.y.numel() * part.y.element_size() for part in _distinct(parts))
    flat = parts.ingredients.flat.data
    copies = 2 + len(parts.ingredients.optimizer.tensors()) + bool(parts.config.trainer.ema) + 2  # with the snapshots to go back to
    widths = sum(shape[0] for shape in parts.ingredients.flat.shapes.values() if len(shape) == 2)
    return {
        "rows": rows,
        "network": flat.numel() * flat.element_size() * copies,
        "batch": parts.ingredients.batches.size
        * widths
        * flat.element_size()
        * (5 if isinstance(parts.ingredients.gradients, WrittenOut) else 4),
    }


def _distinct(parts: Parts) -> list[Part]:
    return list({id(part.x): part for part in parts.rows.parts().values()}.values())


def _sizes(parts: Parts) -> list[Finding]:
    """D24: what a small table means for batches; parameters beside rows."""
    rows, batches = len(parts.rows.train.x), parts.ingredients.batches
    found = []
    asked = parts.config.trainer.batch_size
    if isinstance(asked, int) and asked > rows:
        found.append(Finding("note", f"there are fewer training rows ({rows}) than trainer.batch_size={asked}: each step sees all of them"))
    if batches.used < rows:
        found.append(Finding("note", f"the last {rows - batches.used} rows of each epoch's order are left out: too few to normalise over"))
    if rows < 50 and parts.rows.table is not None:
        found.append(Finding("warning", f"there are {rows} training rows only: figures will say little", "Try data.folds=5"))
    return found
