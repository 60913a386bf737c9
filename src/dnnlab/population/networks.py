"""K networks of one shape as one: what they answer and their gradients, written out for plain stacks, by torch.func for all others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, final

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from dnnlab.backprop import Layer, Plain, WrittenOut, affine, plain_stack
from dnnlab.flat import StackedParameters, aligned
from dnnlab.layers import KeyedDropout, KeyedNoise
from dnnlab.losses import Loss
from dnnlab.population.noise import StackedDisturbance, StackedDropout, StackedNoise

Keyed = KeyedDropout | KeyedNoise
AT_ONCE = 1 << 23  # numbers of a layer that are scored at once


class Networks(Protocol):
    """K networks over one stack of parameters."""

    def gradients(self, x: Tensor, target: Tensor, loss: Tensor) -> None:
        """Fill the stack's gradient with that of each batch's mean loss. x: (K, B, D), or (B, D) for all; target alike; loss: (K,)."""

    def scores(self, x: Tensor, data: Tensor) -> Tensor:
        """The answers in evaluation mode with the parameters `data` (K, n). x: (K, B, D), or (B, D) for all -> (K, B, C)."""


@final
class WrittenNetworks:
    """Plain stacks: `backprop.WrittenOut` spells them, with K before every shape."""

    def __init__(self, plains: Sequence[Plain], flat: StackedParameters, names: Sequence[str], loss: Loss, noise: StackedNoise) -> None:
        """names: of the linear layers, as they stand."""
        self._flat = flat
        self._names = names
        self._count = len(plains)
        self._shapes = plains[0].shapes
        layers = [self._layer(name, flat.data, flat.grad) for name in names]
        for place, layer in enumerate(layers):
            layer.shape = self._shapes[place]
            layer.dropout = _dropout([plain.dropouts[place] for plain in plains], noise)
        self._scored: tuple[Tensor, list[Layer]] | None = None
        self._written = WrittenOut(list(_front(plains, noise)), layers, loss)

    def _layer(self, name: str, data: Tensor, grad: Tensor) -> Layer:
        flat, bias = self._flat, f"{name}.bias"
        known = bias in flat.spans
        return Layer(
            flat.view(f"{name}.weight", data),
            flat.view(bias, data).unsqueeze(1) if known else None,
            flat.view(f"{name}.weight", grad),
            flat.view(bias, grad) if known else None,
        )

    def gradients(self, x: Tensor, target: Tensor, loss: Tensor) -> None:
        """See `Networks.gradients`."""
        shared = x.dim() == 2
        self._written(_for_each(x, self._count, shared=shared), _for_each(target, self._count, shared=shared), loss)

    def bent(self, x: Tensor) -> list[Tensor]:
        """What each layer's activation gives, without dropout. x: (K, B, D), or (B, D) for all -> (K, B, H) each."""
        h, found = _for_each(x, self._count, shared=x.dim() == 2), list[Tensor]()
        for layer, shape in zip(self._written.layers, self._shapes, strict=True):
            h = affine(layer, h, aligned(h, len(h), h.shape[1], layer.weight.shape[1]))
            h = h if shape is None else shape.forward(h, aligned(h, *h.shape))
            found.append(h)
        return found

    def scores(self, x: Tensor, data: Tensor) -> Tensor:
        """See `Networks.scores`."""
        if self._scored is None or self._scored[0] is not data:
            self._scored = (data, [self._layer(name, data, self._flat.grad) for name in self._names])
        layers = self._scored[1]
        rows, widest = x.shape[-2], max(layer.weight.shape[1] for layer in layers)
        models = max(1, AT_ONCE // (rows * widest))  # scored at once; their rows are not divided, so that bits do not depend on K
        if models >= self._count:
            return self._forward(layers, _for_each(x, self._count, shared=x.dim() == 2))
        scores = aligned(data, self._count, rows, layers[-1].weight.shape[1])
        for start in range(0, self._count, models):
            part = slice(start, start + models)
            h = x.expand(len(scores[part]), *x.shape) if x.dim() == 2 else x[part]
            scores[part] = self._forward([layer.of_models(part) for layer in layers], h)
        return scores

    def _forward(self, layers: Sequence[Layer], h: Tensor) -> Tensor:
        """h: (K, B, D) -> (K, B, C)."""
        for layer, shape in zip(layers, self._shapes, strict=True):
            h = affine(layer, h, aligned(h, len(h), h.shape[1], layer.weight.shape[1]))
            if shape is not None:
                h = shape.forward(h, aligned(h, *h.shape))
        return h


@final
class MappedNetworks:
    """Any networks of one shape: one of them is called with the parameters of all, which torch.func.vmap stacks."""

    def __init__(
        self, networks: Sequence[nn.Module], flat: StackedParameters, kept: dict[str, Tensor], loss: Loss, noise: StackedNoise
    ) -> None:
        """kept: by `stack_kept`. ValueError where no network draws all the noise that the others draw."""
        self._flat = flat
        self._loss = loss
        self._count = len(networks)
        self._template = max(networks, key=lambda network: len(keyed(network)))
        own = {module.place: module for module in keyed(self._template)}
        self._fed = {(type(module), place): _Fed() for place, module in own.items()}
        self._draws = {kind: _draw(kind, networks, noise) for kind in self._fed}
        self._widths: dict[tuple[type[Keyed], str], int] = {}
        drawn = {(type(module), module.place) for network in networks for module in keyed(network)}
        if not drawn <= self._fed.keys():
            raise ValueError("dropout and noise must stand at the same places")
        self._parameters = {name: flat.view(name).requires_grad_() for name in flat.shapes}
        self._kept = kept

    def gradients(self, x: Tensor, target: Tensor, loss: Tensor) -> None:
        """See `Networks.gradients`."""
        widths = self._widths = self._widths or self._measure(x if x.dim() == 2 else x[0])
        noise = {
            f"{kind[0].__name__}/{kind[1]}": draw(x[..., :1].expand(*x.shape[:-1], widths[kind])) for kind, draw in self._draws.items()
        }
        with torch.enable_grad():
            scores = self._call(x, self._parameters, noise)
            values = self._loss.mean(scores, _for_each(target, self._count, shared=x.dim() == 2))
            found = torch.autograd.grad(values.sum(), list(self._parameters.values()), materialize_grads=True)
        for name, gradient in zip(self._parameters, found, strict=True):
            self._flat.view(name, self._flat.grad).copy_(gradient)
        loss.copy_(values.detach())

    def scores(self, x: Tensor, data: Tensor) -> Tensor:
        """See `Networks.scores`."""
        self._template.eval()
        try:
            return self._call(x, {name: self._flat.view(name, data) for name in self._flat.shapes}, {})
        finally:
            self._template.train()

    def _call(self, x: Tensor, parameters: dict[str, Tensor], noise: dict[str, Tensor]) -> Tensor:
        def one(parameters: dict[str, Tensor], kept: dict[str, Tensor], x: Tensor, noise: dict[str, Tensor]) -> Tensor:
            for (kind, place), fed in self._fed.items():
                fed.now = noise.get(f"{kind.__name__}/{place}")
            answer: Tensor = functional_call(self._template, (parameters, kept), (x,))
            return answer

        with self._feeding():
            mapped: Callable[..., Tensor] = vmap(one, in_dims=(0, 0, 0 if x.dim() == 3 else None, 0))
            return mapped(parameters, self._kept, x, noise)

    @torch.no_grad()
    def _measure(self, x: Tensor) -> dict[tuple[type[Keyed], str], int]:
        """How wide the noise is at each place. x: (B, D)."""
        found: dict[tuple[type[Keyed], str], int] = {}

        def look(module: nn.Module, inputs: tuple[Tensor]) -> None:
            assert isinstance(module, Keyed)
            found[type(module), module.place] = inputs[0].shape[-1]

        hooks = [module.register_forward_pre_hook(look) for module in keyed(self._template)]
        self._template.eval()
        try:
            self._template(x[:1])
        finally:
            self._template.train()
            for hook in hooks:
                hook.remove()
        return found

    @contextmanager
    def _feeding(self) -> Iterator[None]:
        """Within, the one network that is called takes its noise from what is fed to it."""
        modules = keyed(self._template)
        before = [module.noise for module in modules]
        for module in modules:
            module.noise = self._fed[type(module), module.place]  # type: ignore[assignment]  # it answers the same two calls
        try:
            yield
        finally:
            for module, noise in zip(modules, before, strict=True):
                module.noise = noise


@final
class _Fed:
    """Stands for a `Noise` within vmap: what each model drew is handed in."""

    def __init__(self) -> None:
        self.now: Tensor | None = None

    def mask(self, place: str, rows: int, width: int, *, keep: float, dtype: torch.dtype) -> Tensor:
        """(rows, width) of the model that is being called."""
        assert self.now is not None
        return self.now

    def normal(self, place: str, rows: int, width: int, *, std: float, dtype: torch.dtype) -> Tensor:
        """(rows, width) of the model that is being called."""
        assert self.now is not None
        return self.now


def keyed(network: nn.Module) -> list[Keyed]:
    """The modules that draw noise."""
    return [module for module in network.modules() if isinstance(module, Keyed)]


def stack_kept(networks: Sequence[nn.Module]) -> dict[str, Tensor]:
    """What the networks hold beside what they learn, (K, …) each: running statistics, frozen parameters. Theirs become views of it."""
    stacked: dict[str, Tensor] = {}
    all_held = [dict(_held(network)) for network in networks]
    for name in all_held[0]:
        stacked[name] = torch.stack([held[name].detach() for held in all_held])
        for held, row in zip(all_held, stacked[name], strict=True):
            held[name].data = row
    return stacked


def _held(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from ((name, parameter) for name, parameter in network.named_parameters() if not parameter.requires_grad)
    yield from network.named_buffers()


def _for_each(tensor: Tensor, count: int, *, shared: bool) -> Tensor:
    """(K, …), without a copy where all models have the same."""
    return tensor.expand(count, *tensor.shape) if shared else tensor


def _dropout(modules: Sequence[KeyedDropout | None], noise: StackedNoise) -> StackedDropout | None:
    """The dropout behind a layer of K models; None where no model has one."""
    place = next((module.place for module in modules if module is not None), None)
    return None if place is None else StackedDropout(place, [0.0 if module is None else module.rate for module in modules], noise)


def _front(plains: Sequence[Plain], noise: StackedNoise) -> Iterator[StackedDropout | StackedDisturbance]:
    """What happens to the inputs: noise first, then dropout, as far as any model has them."""
    noisy = [next((module for module in plain.front if isinstance(module, KeyedNoise)), None) for plain in plains]
    place = next((module.place for module in noisy if module is not None), None)
    if place is not None:
        yield StackedDisturbance(place, [0.0 if module is None else module.std for module in noisy], noise)
    dropout = _dropout([next((module for module in plain.front if isinstance(module, KeyedDropout)), None) for plain in plains], noise)
    if dropout is not None:
        yield dropout


def _draw(kind: tuple[type[Keyed], str], networks: Sequence[nn.Module], noise: StackedNoise) -> Callable[[Tensor], Tensor]:
    """Draws what K models draw at one place."""
    own: list[Any] = [next((module for module in keyed(network) if (type(module), module.place) == kind), None) for network in networks]
    if kind[0] is KeyedNoise:
        return StackedDisturbance(kind[1], [0.0 if module is None else module.std for module in own], noise).draw
    return StackedDropout(kind[1], [0.0 if module is None else module.rate for module in own], noise).mask


def stacked_networks(
    networks: Sequence[nn.Module], flat: StackedParameters, kept: dict[str, Tensor], loss: Loss, noise: StackedNoise, *, written: bool
) -> Networks:
    """The fastest form that covers them; ValueError where none does. written: whether gradients may be written out."""
    plains = [plain for network in networks if (plain := plain_stack(network)) is not None]
    if written and loss.written and len(plains) == len(networks):
        names = {id(module): name for name, module in networks[0].named_modules()}
        return WrittenNetworks(plains, flat, [names[id(linear)] for linear in plains[0].linears], loss, noise)
    return MappedNetworks(networks, flat, kept, loss, noise)
