"""How parameters move, on the flat buffer: the plain rules spelled out, Adam in torch's fused kernel, the rest by torch.optim.

Weight decay is decoupled for every rule (Loshchilov and Hutter 2019): before a step, each weight loses lr·decay of itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dnnlab.flat import FlatParameters

Facts = dict[str, Any]  # JSON-able


class Optimizer(ABC):
    """One rule; its whole state is tensors and plain numbers."""

    needs_closure = False  # True: a step evaluates the loss several times

    def __init__(self, flat: FlatParameters, decay: float) -> None:
        self.flat = flat
        self.decay = decay

    def step(self, lr: float, closure: Callable[[], Tensor] | None = None) -> None:
        """Move all parameters once. lr: the learning rate of this very step."""
        if self.decay:
            self.flat.weights.mul_(1 - lr * self.decay)
        self._move(lr, closure)

    @abstractmethod
    def _move(self, lr: float, closure: Callable[[], Tensor] | None) -> None: ...

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """The state's tensors, live: writing to them changes the optimizer. Not yet there before the first step."""

    def facts(self) -> Facts:
        """The state's numbers."""
        return {}

    @abstractmethod
    def load(self, tensors: Mapping[str, Tensor], facts: Facts) -> None:
        """Take over a state that `tensors` and `facts` gave."""


class Descent(Optimizer):
    """Gradient descent, with momentum by choice: v ← momentum·v + g; p ← p − lr·v (Nesterov: p − lr·(g + momentum·v))."""

    def __init__(self, flat: FlatParameters, decay: float, momentum: float = 0.0, *, nesterov: bool = False) -> None:
        super().__init__(flat, decay)
        self.momentum = momentum
        self.nesterov = nesterov
        self.velocity = torch.zeros_like(flat.data) if momentum else None

    def _move(self, lr: float, closure: Callable[[], Tensor] | None) -> None:
        if self.velocity is None:
            self.flat.data.add_(self.flat.grad, alpha=-lr)
            return
        self.velocity.mul_(self.momentum).add_(self.flat.grad)
        if self.nesterov:
            self.flat.data.add_(self.flat.grad, alpha=-lr).add_(self.velocity, alpha=-lr * self.momentum)
        else:
            self.flat.data.add_(self.velocity, alpha=-lr)

    def tensors(self) -> dict[str, Tensor]:
        """The velocity, if there is one."""
        return {} if self.velocity is None else {"velocity": self.velocity}

    def load(self, tensors: Mapping[str, Tensor], facts: Facts) -> None:
        """Take over the velocity."""
        if self.velocity is not None:
            self.velocity.copy_(tensors["velocity"])


class FusedAdam(Optimizer):
    """Adam (Kingma and Ba 2015) in one kernel: the very one of torch.optim.Adam(fused=True), without its Python around it."""

    def __init__(self, flat: FlatParameters, decay: float, betas: Sequence[float], eps: float) -> None:
        super().__init__(flat, decay)
        self.betas = tuple(betas)
        self.eps = eps
        self.mean = torch.zeros_like(flat.data)
        self.square = torch.zeros_like(flat.data)
        self.count = torch.zeros((), dtype=torch.float32, device=flat.data.device)
        self.adopt(self.mean, self.square, self.count)

    def adopt(self, mean: Tensor, square: Tensor, count: Tensor) -> None:
        """Keep the state in these tensors from now on, and move the parameters where they are by now."""
        self.mean, self.square, self.count = mean, square, count
        self._lists = [[self.flat.data], [self.flat.grad], [mean], [square], list[Tensor](), [count]]

    def _move(self, lr: float, closure: Callable[[], Tensor] | None) -> None:
        self.count.add_(1)
        torch._fused_adam_(
            *self._lists,
            lr=lr,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=0.0,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )

    def tensors(self) -> dict[str, Tensor]:
        """Running means of gradients and of their squares, and the number of steps."""
        return {"mean": self.mean, "square": self.square, "count": self.count}

    def load(self, tensors: Mapping[str, Tensor], facts: Facts) -> None:
        """Take over means and count."""
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])


class TorchOptimizer(Optimizer):
    """Any torch.optim optimizer over the whole buffer, or over parts of it."""

    def __init__(self, flat: FlatParameters, decay: float, optimizers: Sequence[tuple[torch.optim.Optimizer, float]]) -> None:
        """optimizers: each with its rate as a multiple of lr."""
        super().__init__(flat, decay)
        self.optimizers = optimizers
        self.needs_closure = any(isinstance(optimizer, torch.optim.LBFGS) for optimizer, _ in optimizers)

    def is_one_of(self, kinds: tuple[type[torch.optim.Optimizer], ...]) -> bool:
        """Whether a single rule, one of these, moves the whole buffer as one parameter."""
        return len(self.optimizers) == 1 and type(self.optimizers[0][0]) in kinds and len(list(self._leaves())) == 1

    def follow(self) -> dict[str, Any]:
        """Move the parameters where they are by now: -> torch's state of the one parameter, live."""
        ((optimizer, leaf),) = self._leaves()
        leaf.data, leaf.grad = self.flat.data, self.flat.grad
        state: dict[str, Any] = optimizer.state[leaf]
        return state

    def _leaves(self) -> Iterable[tuple[torch.optim.Optimizer, Tensor]]:
        for optimizer, _ in self.optimizers:
            yield from ((optimizer, leaf) for group in optimizer.param_groups for leaf in group["params"])

    def _move(self, lr: float, closure: Callable[[], Tensor] | None) -> None:
        for optimizer, factor in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr * factor
            if self.needs_closure:
                optimizer.step(closure)  # type: ignore[arg-type]  # torch types the closure as giving a float
            else:
                optimizer.step()

    def _entries(self) -> Iterable[tuple[str, Any]]:
        """Every value of torch's state, by `<optimizer>.<parameter>.<name>`."""
        for number, (optimizer, _) in enumerate(self.optimizers):
            leaves = [leaf for group in optimizer.param_groups for leaf in group["params"]]
            for index, leaf in enumerate(leaves):
                for name, value in optimizer.state.get(leaf, {}).items():
                    yield f"{number}.{index}.{name}", value

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of torch's state; lists (LBFGS's history) are numbered."""
        found: dict[str, Tensor] = {}
        for key, value in self._entries():
            if isinstance(value, Tensor):
                found[key] = value
            elif isinstance(value, list):
                found |= {f"{key}.{place}": item for place, item in enumerate(value) if isinstance(item, Tensor)}
        return found

    def facts(self) -> Facts:
        """All plain numbers of torch's state, and the lengths of its lists."""
        facts: Facts = {}
        for key, value in self._entries():
            if isinstance(value, list):
                facts[key] = {"length": len(value)}
            elif not isinstance(value, Tensor):
                facts[key] = value
        return facts

    def load(self, tensors: Mapping[str, Tensor], facts: Facts) -> None:
        """Rebuild torch's state, also in an optimizer that has not stepped yet."""
        for number, (optimizer, _) in enumerate(self.optimizers):
            leaves = [(leaf, group) for group in optimizer.param_groups for leaf in group["params"]]
            for index, (leaf, group) in enumerate(leaves):
                on_device = group.get("fused") or group.get("capturable")
                counters = leaf.device if on_device else torch.device("cpu")  # where torch keeps its counts of steps
                optimizer.state[leaf] = _rebuild(f"{number}.{index}.", tensors, facts, leaf.device, counters)


def _rebuild(prefix: str, tensors: Mapping[str, Tensor], facts: Facts, device: torch.device, counters: torch.device) -> dict[str, Any]:
    """One parameter's state in torch's form; a saved state may come from another device than the parameter's."""
    state: dict[str, Any] = {}
    for key, value in facts.items():
        if key.startswith(prefix):
            is_list = isinstance(value, dict)
            places = range(value["length"]) if is_list else ()
            state[key[len(prefix) :]] = [_copy(tensors.get(f"{key}.{place}"), device) for place in places] if is_list else value
    for key, tensor in tensors.items():
        if key.startswith(prefix) and key.count(".") == prefix.count("."):
            name = key[len(prefix) :]
            state[name] = _copy(tensor, counters if name in COUNTERS else device)
    return state


COUNTERS = frozenset({"step", "mu_product"})


def _copy(tensor: Tensor | None, device: torch.device) -> Tensor | None:
    return None if tensor is None else tensor.detach().to(device, copy=True)


def single(flat: FlatParameters, decay: float, make: Callable[[list[nn.Parameter]], torch.optim.Optimizer]) -> TorchOptimizer:
    """A torch optimizer over the whole buffer as one parameter.

    >>> single(FlatParameters(nn.Linear(2, 1)), 0.0, lambda leaves: torch.optim.Rprop(leaves)).needs_closure
    False
    """
    return TorchOptimizer(flat, decay, [(make([flat.parameter()]), 1.0)])


def muon(flat: FlatParameters, hidden: Sequence[str], decay: float, lr: float, momentum: float, adamw_lr: float) -> TorchOptimizer:
    """Muon on the hidden matrices (`hidden`: their names), AdamW on everything else; both follow one schedule."""
    rest = [name for name in flat.spans if name not in hidden]
    weights = [flat.parameter(name) for name in rest if name in flat.weight_names]
    others = [flat.parameter(name) for name in rest if name not in flat.weight_names]
    groups = [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW([group for group in groups if group["params"]], lr=adamw_lr, fused=True)
    if not hidden:
        return TorchOptimizer(flat, 0.0, [(adamw, adamw_lr / lr)])
    matrices = [flat.parameter(name) for name in hidden]
    orthogonal = torch.optim.Muon(matrices, lr=lr, momentum=momentum, weight_decay=decay)
    return TorchOptimizer(flat, 0.0, [(orthogonal, 1.0), (adamw, adamw_lr / lr)])
