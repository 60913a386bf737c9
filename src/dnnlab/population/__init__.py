"""K models of one shape that learn together: every step is one step of the whole stack.

Each model stays a `Solo` of its own, whose parameters, gradients, averages and optimizer state are the k-th rows of the stack's
tensors: what it answers, saves and tells is what it would by itself. Only the steps are taken together. When models leave, a new,
smaller `Population` is made of those that stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from dnnlab import losses
from dnnlab.backprop import WrittenOut
from dnnlab.flat import StackedParameters
from dnnlab.learner import Snapshot, Solo
from dnnlab.population.health import StackedHealth
from dnnlab.population.networks import stack_kept, stacked_networks
from dnnlab.population.noise import StackedNoise
from dnnlab.population.regularizer import StackedRegularizer
from dnnlab.population.rules import stacked_rule


@dataclass(frozen=True)
class StackedSnapshot:
    """The state of all models in memory."""

    data: Tensor  # (K, n)
    average: Tensor | None  # (K, n)
    kept: dict[str, Tensor]  # (K, …) each
    optimizer: dict[str, Tensor]  # (K, …) each


FLAT = ""  # the name of the parameters among what else a model holds


@final
class Population:
    """K models, trained as one."""

    def __init__(self, members: Sequence[Solo]) -> None:
        """ValueError where the members cannot be one stack."""
        self.members = members
        self.flat = flat = StackedParameters([member.flat for member in members])
        self.kept = stack_kept([member.network for member in members])
        self.noise = StackedNoise([member.noise for member in members])
        self.loss = losses.stacked([member.loss for member in members], flat.data)
        written = all(isinstance(member.gradients, WrittenOut) for member in members)
        self.networks = stacked_networks([member.network for member in members], flat, self.kept, self.loss, self.noise, written=written)
        self.rule = stacked_rule(flat, [member.optimizer for member in members])
        self.regularizer = StackedRegularizer([member.regularizer for member in members], flat, [member.flat for member in members])
        self.average = self._averages()
        self._limit = self._limits()
        self._health = StackedHealth(members[0].network, self.networks, flat, self.kept)
        for member in members:
            member.moved()

    def _averages(self) -> Tensor | None:
        """The averaged weights, (K, n); of a model that keeps none, its current ones."""
        if all(member.average is None for member in self.members):
            return None
        average = self.flat.data.clone()
        self._follow = self.flat.data.new_tensor([1 - member.ema for member in self.members]).unsqueeze(1)
        for member, row in zip(self.members, average, strict=True):
            if member.average is not None:
                row[: len(member.average)] = member.average
                member.average = row[: len(member.average)]
        return average

    def _limits(self) -> Tensor | None:
        limits = [member.gradient_limit for member in self.members]
        if all(limit is None for limit in limits):
            return None
        return self.flat.data.new_tensor([torch.inf if limit is None else limit for limit in limits])

    def step(self, x: Tensor, target: Tensor, step: int, rates: Tensor, loss: Tensor) -> None:
        """Let every model learn from one batch: x (K, B, D), target (K, B, …), without K where all learn from the same rows.

        rates: (K, 1) of float64; the batches' losses, before the step, are written into `loss`: (K,).
        """
        flat, regularizer = self.flat, self.regularizer
        self.noise.step = step
        self.networks.gradients(x, target, loss)
        if self._limit is not None:
            loss.masked_fill_(torch.linalg.vector_norm(flat.grad, dim=1) > self._limit, torch.nan)
        if self._health.marked:
            self._health.note_gradient()
        regularizer.penalise()
        regularizer.clip()
        self.rule.step(rates)
        regularizer.project(step, rates)
        if self.average is not None:
            self.average.lerp_(flat.data, self._follow)

    def is_finite(self) -> Tensor:
        """Whether every parameter and running statistic of a model is a finite number: (K,) of bool."""
        finite = self.flat.data[:, : len(self.members[0].flat.data)].isfinite().all(1)
        for name in self.members[0].statistics:
            finite = finite & self.kept[name].isfinite().reshape(len(finite), -1).all(1)
        return finite

    @torch.no_grad()
    def scores(self, x: Tensor) -> Tensor:
        """Raw scores, by the averaged weights where there are such. x: (K, B, D), or (B, D) for all -> (K, B, C)."""
        return self.networks.scores(x, self.flat.data if self.average is None else self.average)

    def weights(self) -> dict[str, Tensor]:
        """What predicts, live: the (averaged) parameters under the name FLAT, and what the networks hold beside them, (K, …) each."""
        return {FLAT: self.flat.data if self.average is None else self.average, **self.kept}

    def penalties(self) -> dict[str, Tensor]:
        """The penalty terms' values by name, (K,)."""
        return self.regularizer.terms()

    def mark(self) -> None:
        """See `Learner.mark`."""
        self._health.mark()

    def health(self, x: Tensor) -> dict[str, Tensor]:
        """See `Learner.health`: each figure (K,)."""
        return self._health.figures(x)

    def snapshot(self) -> StackedSnapshot:
        """A copy of the whole state."""
        return StackedSnapshot(
            self.flat.data.clone(),
            None if self.average is None else self.average.clone(),
            {name: kept.clone() for name, kept in self.kept.items()},
            {name: tensor.clone() for name, tensor in self.rule.tensors().items()},
        )

    def of_one(self, snapshot: StackedSnapshot, k: int) -> Snapshot:
        """What model k would have remembered by itself."""
        member = self.members[k]
        count = len(member.flat.data)
        whole = self.flat.data.shape
        return Snapshot(
            snapshot.data[k, :count],
            None if snapshot.average is None else snapshot.average[k, :count],
            tuple(snapshot.kept[name][k] for name in self.kept),
            {name: tensor[k, :count] if tensor.shape == whole else tensor[k] for name, tensor in snapshot.optimizer.items()},
            member.facts(),
        )
