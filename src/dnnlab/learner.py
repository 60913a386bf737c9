"""What learns: one model with its loss, optimizer and noise, moved a batch at a time. The trainer knows nothing else of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import nan
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dnnlab.backprop import Gradients, WrittenOut, written_out
from dnnlab.flat import FlatParameters
from dnnlab.health import Health
from dnnlab.loss_scale import LossScale
from dnnlab.losses import Loss
from dnnlab.optimizers import Optimizer
from dnnlab.regularization import Regularizer
from dnnlab.seeding import Noise, key


@dataclass(frozen=True)
class Snapshot:
    """A learner's state in memory."""

    data: Tensor  # (n,)
    average: Tensor | None  # (n,)
    kept: tuple[Tensor, ...]  # running statistics and the like
    optimizer: Mapping[str, Tensor]
    facts: Mapping[str, Any]


class Learner(Protocol):
    """Whatever the trainer can train."""

    def step(self, x: Tensor, target: Tensor, step: int, lr: float, loss: Tensor) -> None:
        """Learn from one batch: x (B, D), target (B, …); write the batch's loss, before the step, into `loss`: ()."""

    def checked_step(self, x: Tensor, target: Tensor, step: int, lr: float, loss: Tensor) -> str:
        """As `step`, but nothing moves where a number is not finite: -> "X is not" of the first such tensor X, or ''."""

    def is_finite(self) -> Tensor:
        """Whether every parameter and running statistic is a finite number: () of bool, on the device."""

    def scores(self, x: Tensor) -> Tensor:
        """Raw scores of the averaged weights where there are such, else of the current ones. x: (B, D) -> (B, C)."""

    def mark(self) -> None:
        """Remember the parameters before a step whose health is to be told."""

    def health(self, x: Tensor) -> dict[str, Tensor]:
        """Each layer's figures after a marked step, x: (B, D) being a batch to look at the units with."""

    def snapshot(self) -> Snapshot:
        """A cheap copy of the whole state, to go back to."""

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot."""

    def state(self) -> dict[str, Tensor]:
        """Copies of everything that training changes, by name."""

    def facts(self) -> dict[str, Any]:
        """The numbers of the state that are not tensors; JSON-able."""

    def load(self, state: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go back to a state."""

    def penalties(self) -> dict[str, Tensor]:
        """The penalty terms' values, by name."""


def kept(network: nn.Module) -> dict[str, Tensor]:
    """What a network holds beside the parameters that it learns: frozen ones, running statistics and the like; live."""
    frozen = {name: parameter.detach() for name, parameter in network.named_parameters() if not parameter.requires_grad}
    return frozen | dict(network.named_buffers())


class Solo:
    """One network, trained with gradients from `backprop.py` and moved by one optimizer over its flat buffer."""

    def __init__(
        self,
        network: nn.Module,
        flat: FlatParameters,
        gradients: Gradients,
        loss: Loss,
        optimizer: Optimizer,
        regularizer: Regularizer,
        noise: Noise,
        *,
        ema: float = 0.0,
        scale: LossScale | None = None,
        gradient_limit: float | None = None,
        reseed: bool = False,
    ) -> None:
        """ema: decay of the averaged weights, 0 for none; scale: fp16's loss scale, which `gradients` applies; gradient_limit: a gradient
        with a greater norm counts as not finite; reseed: begin torch's own generator anew at each step, for networks that draw from it.
        """
        self.network = network
        self.flat = flat
        self.gradients = gradients
        self.loss = loss
        self.optimizer = optimizer
        self.regularizer = regularizer
        self.noise = noise
        self.ema = ema
        self.average = flat.data.clone() if ema else None
        self.scale = scale
        self.gradient_limit = gradient_limit
        self._length = torch.zeros(())  # of the last gradient, where it has a limit
        self.reseed = reseed
        self._health = Health(network, flat)
        self._kept = kept(network)
        # running statistics, which an input that is too large makes infinite without a trace in the loss; a user's mask may hold −∞
        self.statistics = frozenset(name for name, held in self._kept.items() if held.isfinite().all())
        network.train()

    def moved(self) -> None:
        """Take notice that the parameters, and what the network holds beside them, lie elsewhere by now."""
        self._kept = kept(self.network)
        if isinstance(self.gradients, WrittenOut):
            again = written_out(self.network, self.loss)
            assert again is not None
            self.gradients = again

    def step(self, x: Tensor, target: Tensor, step: int, lr: float, loss: Tensor) -> None:
        """See `Learner.step`."""
        self._at(step)
        self.gradients(x, target, loss)
        self._update(x, target, step, lr, loss)

    def checked_step(self, x: Tensor, target: Tensor, step: int, lr: float, loss: Tensor) -> str:
        """See `Learner.checked_step`."""
        before = self.snapshot()
        self._at(step)
        self.gradients(x, target, loss)
        bad = self._first_bad(x, loss)
        if not bad:
            self._update(x, target, step, lr, loss)
            if not loss.isfinite():
                self.restore(before)
                return f"the gradient's norm is {float(self._length):.3g}, above trainer.gradient_limit={self.gradient_limit:g}"
            moved = {name: self.flat.view(name) for name in self.flat.spans} | self._watched()
            bad = next((f"{name} after the step" for name, tensor in moved.items() if not tensor.isfinite().all()), "")
        if bad:
            self.restore(before)
        return bad and f"{bad} is not"

    def _at(self, step: int) -> None:
        self.noise.step = step
        if self.reseed:
            torch.manual_seed(key(self.noise.seed, "custom", step))

    def _update(self, x: Tensor, target: Tensor, step: int, lr: float, loss: Tensor) -> None:
        flat, regularizer = self.flat, self.regularizer
        if self.scale is not None and not self.scale.unscale(flat.grad):
            return
        if self.gradient_limit is not None:
            self._length = flat.grad.norm()
            loss.masked_fill_(self._length > self.gradient_limit, nan)  # seen at the next border: the device need not wait for the host
        if self._health.marked:
            self._health.note_gradient()
        if self.optimizer.needs_closure:
            self.optimizer.step(lr, partial(self._objective, x, target))
        else:
            regularizer.penalise(flat)
            regularizer.clip(flat)
            self.optimizer.step(lr)
        regularizer.project(flat, step, lr)
        if self.average is not None:
            self.average.lerp_(flat.data, 1 - self.ema)

    def _objective(self, x: Tensor, target: Tensor) -> Tensor:
        """Loss and penalties with their gradient, for an optimizer that asks several times a step."""
        loss = torch.zeros((), dtype=self.flat.data.dtype, device=self.flat.data.device)
        self.gradients(x, target, loss)
        self.regularizer.penalise(self.flat)
        self.regularizer.clip(self.flat)
        terms = self.penalties()
        if self.regularizer.proximal:
            terms.pop("l1", None)  # its part comes after the step, not by the gradient
        return sum(terms.values(), loss)

    def _first_bad(self, x: Tensor, loss: Tensor) -> str:
        """The first tensor that is not finite; fp16's gradients may overflow, which only lowers their scale."""
        if not x.isfinite().all():
            return "the batch's inputs"
        if not loss.isfinite():
            return "the loss"
        gradients = () if self.scale is not None else self.flat.spans
        return next((f"the gradient of {name}" for name in gradients if not self.flat.view(name, self.flat.grad).isfinite().all()), "")

    def is_finite(self) -> Tensor:
        """See `Learner.is_finite`."""
        return torch.stack([tensor.isfinite().all() for tensor in (self.flat.data, *self._watched().values())]).all()

    def _watched(self) -> dict[str, Tensor]:
        return {name: held for name, held in self._kept.items() if name in self.statistics}

    @torch.no_grad()
    def scores(self, x: Tensor) -> Tensor:
        """See `Learner.scores`; in evaluation mode, and without a trace in the learner."""
        self.network.eval()
        try:
            with self.averaged():
                scores = self.network(x)
        finally:
            self.network.train()
        assert isinstance(scores, Tensor)
        return scores

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within, the network holds the averaged weights, where there are such."""
        if self.average is None:
            yield
            return
        current = self.flat.data.clone()
        self.flat.data.copy_(self.average)
        try:
            yield
        finally:
            self.flat.data.copy_(current)

    def penalties(self) -> dict[str, Tensor]:
        """See `Learner.penalties`."""
        return self.regularizer.terms(self.flat)

    def mark(self) -> None:
        """See `Learner.mark`."""
        self._health.mark()

    def health(self, x: Tensor) -> dict[str, Tensor]:
        """See `Learner.health`."""
        return self._health.figures(x)

    def weights(self) -> dict[str, Tensor]:
        """Copies of what predicts: the (averaged) parameters and running statistics, by name."""
        source = self.flat.data if self.average is None else self.average
        source = source.clone()
        parameters = {name: self.flat.view(name, source) for name in self.flat.shapes}
        return parameters | {name: held.clone() for name, held in self._kept.items()}

    @torch.no_grad()
    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over what `weights` gave; training cannot go on from it as it would have."""
        for name in self.flat.shapes:
            self.flat.view(name).copy_(weights[name])
        if self.average is not None:
            self.average.copy_(self.flat.data)
        for name, held in self._kept.items():
            held.copy_(weights[name])

    def snapshot(self) -> Snapshot:
        """See `Learner.snapshot`."""
        return Snapshot(
            self.flat.data.clone(),
            None if self.average is None else self.average.clone(),
            tuple(held.clone() for held in self._kept.values()),
            {name: tensor.clone() for name, tensor in self.optimizer.tensors().items()},
            self.facts(),
        )

    @torch.no_grad()
    def restore(self, snapshot: Snapshot) -> None:
        """See `Learner.restore`."""
        self.flat.data.copy_(snapshot.data)
        if self.average is not None and snapshot.average is not None:
            self.average.copy_(snapshot.average)
        for held, saved in zip(self._kept.values(), snapshot.kept, strict=True):
            held.copy_(saved)
        self._load_optimizer(snapshot.optimizer, snapshot.facts)

    def state(self) -> dict[str, Tensor]:
        """Parameters, running statistics, optimizer and average: copies, by name."""
        state = {f"model.{name}": self.flat.view(name).clone() for name in self.flat.spans}
        state |= {f"model.{name}": held.clone() for name, held in self._kept.items()}
        state |= {f"optimizer.{name}": tensor.clone() for name, tensor in self.optimizer.tensors().items()}
        if self.average is not None:
            state |= {f"average.{name}": self.flat.view(name, self.average).clone() for name in self.flat.spans}
        return state

    def facts(self) -> dict[str, Any]:
        """The optimizer's numbers, and fp16's scale."""
        scale = None if self.scale is None else [self.scale.value, self.scale.good]
        return {"optimizer": self.optimizer.facts(), "scale": scale}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """See `Learner.load`."""
        for name in self.flat.spans:
            self.flat.view(name).copy_(state[f"model.{name}"])
            if self.average is not None:
                self.flat.view(name, self.average).copy_(state[f"average.{name}"])
        for name, held in self._kept.items():
            held.copy_(state[f"model.{name}"])
        own = {name.removeprefix("optimizer."): tensor for name, tensor in state.items() if name.startswith("optimizer.")}
        self._load_optimizer(own, facts)

    def _load_optimizer(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        self.optimizer.load(tensors, facts["optimizer"])
        if self.scale is not None:
            self.scale.value, self.scale.good = facts["scale"]
