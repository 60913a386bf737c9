"""How a run goes on from what an earlier process left: what must be as it was, and what is taken over."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dnnlab.assembly import Parts
from dnnlab.checkpoints import Checkpoints, rows_digest
from dnnlab.errors import ArtifactError, DataError, shown
from dnnlab.exactness import differences, environment
from dnnlab.runfolder import Generation, RunFolder
from dnnlab.runfolder.tensorfile import forms
from dnnlab.tables.unchanged import check_unchanged
from dnnlab.tally import Tally
from dnnlab.trainer import Position

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Earlier:
    """What an earlier process left of a run."""

    folder: RunFolder
    generation: Generation | None  # None: it came to no checkpoint, and the run begins at step 0
    child: bool = False  # the run that goes on is another one, in a folder of its own: other settings, from the same state
    changed: tuple[str, ...] = ()  # settings that are others than they were, as key=value
    require_exact: bool = False
    allow_data_change: bool = False
    died: bool = False  # the process before ended without a word: killed, or out of memory (T15)

    @property
    def keeps_description(self) -> bool:
        """Whether schema and encoder stay those that the network was trained with."""
        return self.generation is not None and not self.child and not self.allow_data_change

    @property
    def facts(self) -> Mapping[str, Any]:
        """The numbers that the checkpoint holds."""
        facts: Mapping[str, Any] = self.generation.document["facts"] if self.generation is not None else {}
        return facts

    @property
    def threads(self) -> tuple[int, int] | None:
        """CPU threads that the run computed with, and those of its machine; None where it may choose anew."""
        if self.generation is None or self.child:
            return None
        told = self.facts["threads"]
        return int(told["run"]), int(told["machine"])

    @property
    def seconds(self) -> float:
        """How long the run had been going."""
        return 0.0 if self.child else float(self.facts.get("seconds", 0.0))


def check(parts: Parts, earlier: Earlier) -> tuple[str, ...]:
    """Everything that must be as it was, before anything is written; -> why the bits cannot be promised, if they cannot.

    DataError where the rows are others (D27), ArtifactError where the checkpoint is another network's (T18) or another table's (T19).
    """
    reasons = () if earlier.child else tuple(_inexact(parts, earlier))
    table = parts.rows.table
    data = earlier.folder.read_run().get("data")  # none, where the process before did not come so far
    if table is not None and data and not earlier.allow_data_change:
        check_unchanged(data, table.files)
    if earlier.generation is not None:
        _check_schema(parts, earlier.generation)
        digest = earlier.facts.get("rows")
        if not earlier.child and digest != rows_digest(parts.rows) and not earlier.allow_data_change:
            if not reasons:
                raise DataError(
                    "the rows must be those that the network was trained on, however: their checksum is another",
                    where=f"data={parts.config.data.kind}",
                    fix="Bring the old rows back, or allow it: --allow-data-change",
                )
            reasons = (*reasons, "the rows, as they are encoded, differ in their bits")
    if reasons and earlier.require_exact:
        raise ArtifactError(
            f"--require-exact asks for the bits of a run that was never stopped, however: {'; '.join(reasons)}",
            where=str(earlier.folder.path),
            fix="Continue on the machine and with the packages that it began with, or leave out --require-exact",
        )
    return reasons


def _inexact(parts: Parts, earlier: Earlier) -> Iterator[str]:
    made = parts.ingredients
    now = environment(made.threads, str(made.device), stacked=made.stacked)
    if earlier.generation is not None:
        yield from differences(earlier.generation.document["environment"], now)
    if earlier.allow_data_change:
        yield "the data may be others (--allow-data-change)"
    if earlier.changed:
        yield f"settings are others: {', '.join(earlier.changed)}"


def _check_schema(parts: Parts, generation: Generation) -> None:
    """T19: the same columns and classes, in the same order."""
    source, then = parts.rows.source, generation.document["schema"]
    now = {"columns": [*source.encoder.features, *source.encoder.category_names], "classes": list(source.classes)}
    for what, names in now.items():
        was = then[what]
        if names != was:
            place = next((place for place, (a, b) in enumerate(zip(was, names, strict=False)) if a != b), min(len(was), len(names)))
            here, there = (shown(of[place]) if place < len(of) else "none" for of in (names, was))
            raise ArtifactError(
                f"the {what} must be those of the checkpoint, however: number {place + 1} is {here}, in the checkpoint {there}",
                where=f"{generation.root}/checkpoints/{generation.name}",
                fix="Continue with the data that the run began with",
            )


@contextmanager
def _understood(generation: Generation) -> Iterator[None]:
    """Facts that no dnnlab of this version wrote."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise ArtifactError(
            f"a checkpoint must hold what this version wrote, however: {shown(str(error))}",
            where=f"{generation.root}/checkpoints/{generation.name}/checkpoint.json",
        ) from error


def take_over(parts: Parts, earlier: Earlier, checkpoints: Checkpoints, tally: Tally) -> None:
    """Bring the state of the checkpoint into the parts of the run, and its count into the tally."""
    generation = earlier.generation
    if generation is None:
        return
    if earlier.child:
        with _understood(generation):
            _inherit(parts, generation.read_state(), earlier.facts)
        return
    own = forms(parts.learner.state() | parts.trainer.state())
    expected = {name: form for name, form in own.items() if not name.startswith("optimizer.")}  # which come with its first step
    state = generation.read_state(expected, "model")
    best = generation.read_best(forms(parts.learner.weights()), "model") if generation.has_best else None
    with _understood(generation):
        parts.learner.load(state, earlier.facts["learner"])
        parts.trainer.load(state, earlier.facts["trainer"])
        tally.restore(earlier.facts["tally"], earlier.folder.read_metrics())
        if earlier.changed:
            tally.reason = ""  # it may be no reason to end any longer
        checkpoints.take_over(generation, best)


@torch.no_grad()
def _inherit(parts: Parts, state: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """A child begins with its parent's weights and place; with its optimizer's state where that is of the same kind and form."""
    own = parts.learner.state()
    wanted = {name: tensor for name, tensor in own.items() if name.startswith(("model.", "average."))}
    there = {name: state.get(name, state.get(name.replace("average.", "model.", 1))) for name in wanted}
    for name, tensor in wanted.items():
        found = there[name]
        if found is None or found.shape != tensor.shape:
            raise ArtifactError(
                f"{name} must have the shape {tuple(tensor.shape)} that the settings ask for, however: "
                f"{'none' if found is None else tuple(found.shape)} in the parent's checkpoint",
                where="model, embedding",
                fix="A child run keeps its parent's network: change other settings, or train anew",
            )
    moved = {name: tensor for name, tensor in state.items() if name.startswith("optimizer.")}
    mine = {name: tensor.shape for name, tensor in own.items() if name.startswith("optimizer.")}
    same = not mine or mine == {name: tensor.shape for name, tensor in moved.items()}
    fresh = {name: tensor for name, tensor in own.items() if name.startswith("optimizer.")}
    kept = {name: found for name, found in there.items() if found is not None}
    if same:
        parts.learner.load(kept | moved, {**parts.learner.facts(), "optimizer": facts["learner"]["optimizer"]})
    else:
        log.info("The optimizer begins anew: its parent's was another one")
        parts.learner.load(kept | fresh, parts.learner.facts())
    _take_place(parts, Position(**facts["trainer"]["position"]), state)


def _take_place(parts: Parts, place: Position, state: Mapping[str, Tensor]) -> None:
    """The parent's place; where an epoch has other steps by now, the beginning of the epoch that was under way."""
    count, losses = parts.ingredients.batches.count, state.get("trainer.losses")
    if losses is not None and len(losses) == count:
        parts.trainer.load(state, {**parts.trainer.facts(), "position": vars(place)})
    else:
        parts.trainer.position = replace(place, batch=0, step=place.epoch * count, recorded=0)


def resumed_facts(earlier: Earlier, reasons: Sequence[str]) -> dict[str, Any]:
    """What run.json tells of a run that goes on."""
    step = None if earlier.generation is None else earlier.generation.step
    told = {"step": step or 0, "exact": not reasons, "why_not": list(reasons), "changed": list(earlier.changed)}
    if earlier.child:
        place = Path(earlier.folder.path)
        return {"parent": {"folder": place.name, "name": place.parent.name, **told}}
    before = earlier.folder.read_run().get("resumed")
    return {"resumed": [*(before if isinstance(before, list) else []), told]}
