"""Backpropagation, written out: the forward and the backward pass of a plain stack, as the textbook spells them.

For layers l = 1 … L, a batch x: (B, D), weights W_l: (H_l, H_(l-1)) and biases b_l: (H_l,)

    forward     h_0 = x;   z_l = h_(l-1) W_lᵀ + b_l;   h_l = f_l(z_l) · mask_l
    backward    dh_L = d loss / d scores
                dz_l = dh_l · mask_l · f_l'(z_l)
                dW_l = dz_lᵀ h_(l-1);   db_l = Σ over rows of dz_l;   dh_(l-1) = dz_l W_l

(Rumelhart, Hinton and Williams 1986.) Every product writes into a buffer that was made once, and dW and db are views of the flat
gradient, so that a step makes no tensor but the loss's own. What a stack holds beside linear layers, activations, keyed dropout and
input noise is left to autograd: `Autograd` answers the same call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from dnnlab.activations import Written, written
from dnnlab.flat import FlatParameters, aligned
from dnnlab.layers import KeyedDropout, KeyedNoise
from dnnlab.losses import Loss

Gradients = Callable[[Tensor, Tensor, Tensor], None]
"""Fills the flat gradient with that of the batch's mean loss, and writes this loss: (x: (B, D), target: (B, …), loss: ()) -> None."""


class Silencer(Protocol):
    """What silences units: dropout of one model, or of K stacked ones."""

    def mask(self, x: Tensor) -> Tensor:
        """What this step multiplies x with: (…, B, H)."""


class Disturber(Protocol):
    """What disturbs inputs: noise of one model, or of K stacked ones."""

    def draw(self, x: Tensor) -> Tensor:
        """What this step adds to x: (…, B, D)."""


@dataclass
class Layer:
    """One linear layer with what follows it. Its tensors are views of the flat buffers: those of one model, or (K, …) of K of them."""

    weight: Tensor  # W: (H, D)
    bias: Tensor | None  # (H,); of K models (K, 1, H)
    weight_grad: Tensor
    bias_grad: Tensor | None  # (H,); of K models (K, H)
    shape: Written | None = None  # None: the layer is linear
    dropout: Silencer | None = None
    weight_t: Tensor = field(init=False)  # Wᵀ

    def __post_init__(self) -> None:
        self.weight_t = self.weight.mT

    def of_models(self, part: slice) -> Layer:
        """The same layer of some of the K models."""
        grad = None if self.bias_grad is None else self.bias_grad[part]
        return Layer(self.weight[part], None if self.bias is None else self.bias[part], self.weight_grad[part], grad)

    @classmethod
    def of(cls, linear: nn.Linear) -> Layer:
        """The layer of one model, whose parameters have their gradients by `FlatParameters`."""
        weight, bias = linear.weight, linear.bias
        assert weight.grad is not None
        bias_grad = None if bias is None else bias.grad
        return cls(weight.detach(), None if bias is None else bias.detach(), weight.grad, bias_grad)


class _Buffers:
    """The tensors of one layer for batches of one size, used again at every step."""

    def __init__(self, layer: Layer, rows: int) -> None:
        *stack, width, inputs = layer.weight.shape
        self.z, self.bent, self.h, self.dz = (aligned(layer.weight, *stack, rows, width) for _ in range(4))
        self.dh = aligned(layer.weight, *stack, rows, inputs)
        self.dz_t = self.dz.mT
        # a batched product into a strided view costs twice its time
        self.dw = aligned(layer.weight, *stack, width, inputs) if stack else layer.weight_grad


class WrittenOut:
    """Gradients of a plain stack, spelled out. Call it in training mode only; it draws the same noise as the modules would.

    One spelling serves one model, h: (B, H), and K stacked ones, h: (K, B, H).
    """

    def __init__(self, front: Sequence[Silencer | Disturber], layers: list[Layer], loss: Loss) -> None:
        self.front = front
        self.layers = layers
        self.loss = loss
        self.stack = layers[0].weight.shape[:-2]  # (), or (K,)
        self._buffers: dict[int, tuple[list[_Buffers], Tensor, Tensor]] = {}

    def __call__(self, x: Tensor, target: Tensor, loss: Tensor) -> None:
        """x: (B, D), target: (B, …), loss: () -> None; see `Gradients`. Of K models (K, B, D), (K, B, …) and (K,)."""
        rows = x.shape[-2]
        if rows not in self._buffers:
            ones = x.new_ones(rows)
            self._buffers[rows] = ([_Buffers(layer, rows) for layer in self.layers], ones, ones.new_tensor(1.0 / rows))
        buffers, ones, share = self._buffers[rows]
        inputs, masks = self._forward(x, buffers)
        self._backward(inputs, masks, target, loss, buffers, ones, share)

    def _forward(self, x: Tensor, buffers: list[_Buffers]) -> tuple[list[Tensor], list[Tensor | None]]:
        """-> the inputs of every layer with the scores behind them, and the dropout masks."""
        h = x
        for module in self.front:
            h = h * module.mask(h) if hasattr(module, "mask") else h + module.draw(h)
        if self.front and self.stack:
            h = aligned(h, *h.shape).copy_(h)
        inputs, masks = [h], []
        for layer, b in zip(self.layers, buffers, strict=True):
            h = affine(layer, h, b.z)
            if layer.shape is not None:
                h = layer.shape.forward(h, b.bent)
            mask = None if layer.dropout is None else layer.dropout.mask(h)
            if mask is not None:
                h = torch.mul(h, mask, out=b.h)
            masks.append(mask)
            inputs.append(h)
        return inputs, masks

    def _backward(
        self,
        inputs: list[Tensor],
        masks: list[Tensor | None],
        target: Tensor,
        loss: Tensor,
        buffers: list[_Buffers],
        ones: Tensor,
        share: Tensor,
    ) -> None:
        scores = inputs[-1]
        (rows, slope), weight = self.loss.judged(scores, target), self.loss.weight(target)
        if weight is None:
            torch.mean(rows, -1, out=loss)
        else:
            share = weight.sum(-1).reciprocal_()
            torch.mul(rows.sum(-1), share, out=loss)
            share = share.reshape(*self.stack, *([1] * (scores.dim() - len(self.stack))))
        dh = slope.mul_(share)
        for index in range(len(self.layers) - 1, -1, -1):
            layer, b, mask = self.layers[index], buffers[index], masks[index]
            if mask is not None:
                dh.mul_(mask)
            dz, dz_t = dh, None
            if layer.shape is not None:
                dz = layer.shape.backward(dh, b.z, b.bent, b.dz)
                dz_t = b.dz_t if dz is b.dz else None
            if self.stack and dz is not b.dz:
                dz, dz_t = b.dz.copy_(dz), b.dz_t
            _gradients(layer, dz, dz.mT if dz_t is None else dz_t, inputs[index], b.dw, ones)
            if index:
                dh = _product(dz, layer.weight, b.dh)


def affine(layer: Layer, h: Tensor, out: Tensor) -> Tensor:
    """z = h Wᵀ + b. h: (B, D) -> (B, H)."""
    if out.dim() == 2:
        return torch.mm(h, layer.weight_t, out=out) if layer.bias is None else torch.addmm(layer.bias, h, layer.weight_t, out=out)
    return torch.bmm(h, layer.weight_t, out=out) if layer.bias is None else torch.baddbmm(layer.bias, h, layer.weight_t, out=out)


def _gradients(layer: Layer, dz: Tensor, dz_t: Tensor, h: Tensor, dw: Tensor, ones: Tensor) -> None:
    """dW = dzᵀ h, db = Σ over rows of dz, into the flat gradient."""
    if dz.dim() == 2:
        torch.mm(dz_t, h, out=dw)
        if layer.bias_grad is not None:
            torch.mv(dz_t, ones, out=layer.bias_grad)
        return
    torch.bmm(dz_t, h, out=dw)
    layer.weight_grad.copy_(dw)
    if layer.bias_grad is not None:
        torch.sum(dz, 1, out=layer.bias_grad)


def _product(dz: Tensor, weight: Tensor, out: Tensor) -> Tensor:
    """dh = dz W."""
    return torch.mm(dz, weight, out=out) if dz.dim() == 2 else torch.bmm(dz, weight, out=out)


class Autograd:
    """The same gradients for any network and loss, by torch's autograd; with autocast and in slices of a batch by choice."""

    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        loss: Loss,
        flat: FlatParameters,
        *,
        slices: int = 1,
        autocast: AbstractContextManager[object] | None = None,
        scale: Callable[[Tensor], Tensor] = lambda loss: loss,
    ) -> None:
        """slices: parts of a batch that are passed one after the other; scale: what fp16 multiplies the loss with."""
        self.network = network
        self.loss = loss
        self.flat = flat
        self.slices = slices
        self.autocast = nullcontext() if autocast is None else autocast
        self.scale = scale
        modules = network.modules() if isinstance(network, nn.Module) else ()
        self.noises = {module.noise for module in modules if isinstance(module, KeyedNoise | KeyedDropout)}

    def __call__(self, x: Tensor, target: Tensor, loss: Tensor) -> None:
        """x: (B, D), target: (B, …), loss: () -> None; see `Gradients`."""
        self.flat.grad.zero_()
        loss.zero_()
        try:
            self._accumulate(x, target, loss)
        finally:
            self._begin_at(0)

    def _accumulate(self, x: Tensor, target: Tensor, loss: Tensor) -> None:
        first = 0
        for part, wanted, share in self._parts(x, target):
            self._begin_at(first)
            first += part.shape[0]
            with torch.enable_grad():
                with self.autocast:
                    scores = self.network(part)
                value = self.loss.mean(scores.to(x.dtype), wanted) * share
                self.scale(value).backward()  # type: ignore[no-untyped-call]
            loss.add_(value.detach())

    def _begin_at(self, row: int) -> None:
        """Let each slice draw its own rows of the batch's noise."""
        for noise in self.noises:
            noise.first = row

    def _parts(self, x: Tensor, target: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor | float]]:
        """The slices of a batch, each with its share of the batch's mean."""
        slices = max(1, min(self.slices, x.shape[0] // 2))  # at least two rows each, for what normalises over them
        if slices == 1:
            yield x, target, 1.0
            return
        weight = self.loss.weight(target)
        weight = x.new_ones(x.shape[0]) if weight is None else weight
        for part, wanted, weights in zip(*(whole.tensor_split(slices) for whole in (x, target, weight)), strict=True):
            yield part, wanted, weights.sum() / weight.sum()


@dataclass(frozen=True)
class Plain:
    """What a plain stack is made of, in order: what happens to the inputs, then linear layers with what follows each of them."""

    front: list[KeyedNoise | KeyedDropout]
    linears: list[nn.Linear]
    shapes: list[Written | None]
    dropouts: list[KeyedDropout | None]


def written_out(network: nn.Module, loss: Loss) -> WrittenOut | None:
    """The written-out gradients of a network, or None where it holds something that only autograd covers."""
    plain = plain_stack(network) if loss.written else None
    if plain is None:
        return None
    layers = [Layer.of(linear) for linear in plain.linears]
    for layer, shape, dropout in zip(layers, plain.shapes, plain.dropouts, strict=True):
        layer.shape, layer.dropout = shape, dropout
    return WrittenOut(plain.front, layers, loss)


def plain_stack(network: nn.Module) -> Plain | None:
    """The parts of a network that is a plain stack, else None."""
    if not all(parameter.requires_grad for parameter in network.parameters()):
        return None
    plain = Plain([], [], [], [])
    for module in _in_order(network):
        begun = bool(plain.linears)
        if type(module) is nn.Linear:
            plain.linears.append(module)
            plain.shapes.append(None)
            plain.dropouts.append(None)
        elif not begun and isinstance(module, KeyedNoise | KeyedDropout):
            plain.front.append(module)
        elif begun and isinstance(module, KeyedDropout) and plain.dropouts[-1] is None:
            plain.dropouts[-1] = module
        elif begun and plain.shapes[-1] is None and plain.dropouts[-1] is None and (shape := written(module)) is not None:
            plain.shapes[-1] = shape
        else:
            return None
    parameters = [parameter for linear in plain.linears for parameter in linear.parameters()]
    if len({id(parameter) for parameter in parameters}) < len(parameters):  # a shared one's gradient is a sum, which mm(out=) is not
        return None
    return plain if plain.linears else None


def _in_order(module: nn.Module) -> Iterator[nn.Module]:
    """What a stack calls, as often as it calls it; a subclass of Sequential may call its parts otherwise, and counts as one."""
    if type(module) is not nn.Sequential:
        yield module
        return
    for child in module:
        yield from _in_order(child)
