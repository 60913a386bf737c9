"""How K stacked models move: one rule for all rows of the stack, each with its own learning rate and weight decay.

A rule that is linear in the learning rate takes its step at rate 1 from zero; each model then adds its own fraction of it. (All rules
of this file are: Descent, Adam, AdamW, Adagrad, Adadelta, RMSprop, NAdam, RAdam, Adamax. LBFGS and Rprop are not.)
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from dnnlab.flat import StackedParameters
from dnnlab.optimizers import COUNTERS, Descent, FusedAdam, Optimizer, TorchOptimizer

LINEAR = (
    torch.optim.Adagrad,
    torch.optim.Adadelta,
    torch.optim.RMSprop,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.Adamax,
)


class Rule(ABC):
    """Moves all rows at once; the states of the models' own optimizers are rows of its tensors."""

    def __init__(self, flat: StackedParameters, optimizers: Sequence[Optimizer]) -> None:
        self.flat = flat
        decays = [optimizer.decay for optimizer in optimizers]
        self._decay = flat.data.new_tensor(decays, dtype=torch.float64).unsqueeze(1) if any(decays) else None
        self._delta = torch.zeros_like(flat.data)  # of a step at rate 1
        self._rates: Tensor | None = None
        self._one: float | None = None  # the rate that all models have
        self._factor = self._negative = flat.data.new_zeros(())

    def step(self, rates: Tensor) -> None:
        """Move every model once. rates: (K, 1) of float64."""
        if rates is not self._rates:  # constant ones are one tensor
            values = rates.flatten().tolist()
            self._one = values[0] if all(value == values[0] for value in values) else None
            self._rates, self._negative = rates, (-rates).to(self.flat.data.dtype)
            self._factor = self._negative if self._decay is None else (1 - rates * self._decay).to(self.flat.data.dtype)
        if self._decay is not None:
            self.flat.weights.mul_(self._factor)
        self._move(self._negative)

    @abstractmethod
    def _move(self, negative: Tensor) -> None:
        """negative: (K, 1), the rates times −1."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """The states of all models, (K, …) by the names of the models' own; live."""

    def _stacked(self, tensors: Sequence[Tensor]) -> Tensor:
        """Rows of the buffer's length, from rows of the models' length."""
        stacked = torch.zeros_like(self.flat.data)
        for row, tensor in zip(stacked, tensors, strict=True):
            row[: len(tensor)] = tensor
        return stacked


@final
class StackedDescent(Rule):
    """Gradient descent, with momentum by choice; see `Descent`."""

    def __init__(self, flat: StackedParameters, optimizers: Sequence[Descent]) -> None:
        super().__init__(flat, optimizers)
        self._nesterov = optimizers[0].nesterov
        self._velocity = None
        if optimizers[0].velocity is not None:
            self._momentum = flat.data.new_tensor([own.momentum for own in optimizers]).unsqueeze(1)
            self._velocity = self._stacked([own.velocity for own in optimizers if own.velocity is not None])
            for own, row in zip(optimizers, self._velocity, strict=True):
                own.velocity = row[: len(own.flat.data)]

    def _move(self, negative: Tensor) -> None:
        data, grad = self.flat.data, self.flat.grad
        if self._velocity is None:
            data.addcmul_(grad, negative)
            return
        self._velocity.mul_(self._momentum).add_(grad)
        if self._nesterov:
            data.addcmul_(grad, negative).addcmul_(self._velocity, negative * self._momentum)
        else:
            data.addcmul_(self._velocity, negative)

    def tensors(self) -> dict[str, Tensor]:
        """The velocities, if there are any."""
        return {} if self._velocity is None else {"velocity": self._velocity}


@final
class StackedAdam(Rule):
    """Adam: torch's fused kernel over the whole stack; spelled out where betas or eps differ from model to model."""

    def __init__(self, flat: StackedParameters, optimizers: Sequence[FusedAdam]) -> None:
        super().__init__(flat, optimizers)
        self._mean = self._stacked([own.mean for own in optimizers])
        self._square = self._stacked([own.square for own in optimizers])
        self._count = torch.stack([own.count for own in optimizers])
        count = len(optimizers[0].flat.data)
        for own, mean, square, steps in zip(optimizers, self._mean, self._square, self._count, strict=True):
            own.adopt(mean[:count], square[:count], steps)
        first = optimizers[0]
        self._betas, self._eps = first.betas, first.eps
        self._own = None
        if any((own.betas, own.eps) != (first.betas, first.eps) for own in optimizers):
            numbers = [[*own.betas, own.eps] for own in optimizers]
            self._own = flat.data.new_tensor(numbers, dtype=torch.float64).unsqueeze(-1).unbind(1)
        self._rest = ([flat.grad], [self._mean], [self._square], list[Tensor](), [self._count[0]])

    def _move(self, negative: Tensor) -> None:
        self._count.add_(1)
        if self._own is not None:
            self._spelled(negative, *self._own)
            return
        one = self._one
        moved = self._delta.zero_() if one is None else self.flat.data
        torch._fused_adam_(
            [moved],
            *self._rest,
            lr=-1.0 if one is None else one,  # the step itself, which `negative` then turns round
            beta1=self._betas[0],
            beta2=self._betas[1],
            weight_decay=0.0,
            eps=self._eps,
            amsgrad=False,
            maximize=False,
        )
        if one is None:
            self.flat.data.addcmul_(self._delta, negative)

    def _spelled(self, negative: Tensor, beta1: Tensor, beta2: Tensor, eps: Tensor) -> None:
        """m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²; p ← p − lr·m̂ / (√v̂ + eps). beta1, beta2, eps: (K, 1) of float64."""
        grad, dtype, count = self.flat.grad, self.flat.data.dtype, self._count.double().unsqueeze(1)
        self._mean.lerp_(grad, (1 - beta1).to(dtype))
        self._square.mul_(beta2.to(dtype)).addcmul_(grad * grad, (1 - beta2).to(dtype))
        below = torch.div(self._square.sqrt(), (1 - beta2**count).sqrt().to(dtype), out=self._delta).add_(eps.to(dtype))
        self.flat.data.addcdiv_(self._mean * (negative.double() / (1 - beta1**count)).to(dtype), below)

    def tensors(self) -> dict[str, Tensor]:
        """See `FusedAdam.tensors`."""
        return {"mean": self._mean, "square": self._square, "count": self._count}


@final
class StackedTorch(Rule):
    """A rule of torch.optim over the whole stack as one parameter."""

    def __init__(self, flat: StackedParameters, optimizers: Sequence[TorchOptimizer]) -> None:
        super().__init__(flat, optimizers)
        self._optimizers = optimizers
        self._leaf = nn.Parameter(self._delta)
        self._leaf.grad = flat.grad
        own = optimizers[0].optimizers[0][0]
        takes = inspect.signature(type(own).__init__).parameters
        self._torch = type(own)([self._leaf], **{name: value for name, value in own.defaults.items() if name in takes} | {"lr": 1.0})
        self._attached = False
        states = [optimizer.follow() for optimizer in optimizers]
        if states[0]:
            self._take(states)

    def _take(self, states: Sequence[dict[str, Any]]) -> None:
        """Let the models' states be rows of the stack's."""
        state = self._torch.state[self._leaf]
        for name, value in states[0].items():
            if name in COUNTERS or not isinstance(value, Tensor):
                state[name] = value.clone() if isinstance(value, Tensor) else value
            else:
                state[name] = self._stacked([own[name] for own in states])
        self._hand_out()

    def _hand_out(self) -> None:
        state = self._torch.state[self._leaf]
        for k, optimizer in enumerate(self._optimizers):
            own, count = optimizer.follow(), len(optimizer.flat.data)
            for name, value in state.items():
                own[name] = value if name in COUNTERS or not isinstance(value, Tensor) else value[k, :count]
        self._attached = True

    def _move(self, negative: Tensor) -> None:
        self._delta.zero_()
        self._torch.step()
        if not self._attached:
            self._hand_out()
        self.flat.data.addcmul_(self._delta, -negative)

    def tensors(self) -> dict[str, Tensor]:
        """torch's state, by the names of `TorchOptimizer.tensors`."""
        state = self._torch.state[self._leaf]
        count = len(self._optimizers)
        found = {name: value for name, value in state.items() if isinstance(value, Tensor)}
        return {f"0.0.{name}": value.expand(count, *value.shape) if name in COUNTERS else value for name, value in found.items()}


def stacked_rule(flat: StackedParameters, optimizers: Sequence[Optimizer]) -> Rule:
    """The rule of a stack; ValueError where the models' own have none."""
    descents = [own for own in optimizers if isinstance(own, Descent)]
    adams = [own for own in optimizers if isinstance(own, FusedAdam)]
    others = [own for own in optimizers if isinstance(own, TorchOptimizer) and own.is_one_of(LINEAR)]
    if len(descents) == len(optimizers):
        return StackedDescent(flat, descents)
    if len(adams) == len(optimizers):
        return StackedAdam(flat, adams)
    if len(others) == len(optimizers):
        return StackedTorch(flat, others)
    raise ValueError("no rule moves these together")
