"""The networks: perceptron, linear, mlp, deep, autoencoder. Each is a stack of named blocks, read from inputs to output.

A block is `linear`, `norm`, `activation`, `dropout`, as far as it has them; a Linear that is followed by a normalisation has no
bias, since the normalisation would take it away again. Shape of every network: (B, D) -> (B, outputs), raw scores.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from dnnlab.layers import KeyedDropout, KeyedNoise, Residual, TiedLinear
from dnnlab.seeding import Noise


@dataclass(frozen=True)
class Style:
    """What the hidden blocks of a network have in common."""

    activation: Callable[[], nn.Module]
    noise: Noise
    norm: str = "none"
    dropout: float = 0.0
    input_dropout: float = 0.0
    input_noise: float = 0.0
    residual: bool = False


def single_layer(inputs: int, outputs: int, style: Style) -> nn.Sequential:
    """One layer: perceptron, linear, logistic and softmax regression differ by their loss alone.

    >>> single_layer(4, 3, Style(nn.ReLU, Noise(0)))
    Sequential(
      (output): Sequential(
        (linear): Linear(in_features=4, out_features=3, bias=True)
      )
    )
    """
    return _stack(_front(style), _block(inputs, outputs))


def feedforward(inputs: int, widths: Sequence[int], outputs: int, style: Style, output: nn.Module | None = None) -> nn.Sequential:
    """A multilayer perceptron of any depth: hidden blocks of the given widths, then the output layer."""
    blocks = _front(style) | _hidden("hidden", inputs, widths, style)
    return _stack(blocks, _block(widths[-1], outputs, activation=output))


def autoencoder(
    inputs: int, hidden: Sequence[int], bottleneck: int, style: Style, output: nn.Module | None = None, *, tied: bool = False
) -> nn.Sequential:
    """Encoder, code and mirrored decoder: D -> hidden -> bottleneck -> hidden reversed -> D."""
    blocks = _front(style) | _hidden("encoder", inputs, (*hidden, bottleneck), style)
    blocks["code"] = blocks.pop(f"encoder{len(hidden) + 1}")
    if not tied:
        blocks |= _hidden("decoder", bottleneck, hidden[::-1], style)
        return _stack(blocks, _block(hidden[0] if hidden else bottleneck, inputs, activation=output))
    first, *deeper = linears(nn.Sequential(blocks)).values()
    for index, linear in enumerate(reversed(deeper), start=1):
        block = _named(linear=TiedLinear(linear), activation=style.activation())
        blocks[f"decoder{index}"] = _with_dropout(block, f"decoder{index}", style)
    return _stack(blocks, _named(linear=TiedLinear(first), activation=output))


def pyramid(first: int, depth: int, outputs: int) -> list[int]:
    """Widths that shrink geometrically from `first` towards the number of outputs.

    >>> pyramid(256, 4, 16)
    [256, 128, 64, 32]
    """
    ratio = (min(outputs, first) / first) ** (1 / depth)
    return [max(1, round(first * ratio**layer)) for layer in range(depth)]


def linears(network: nn.Module) -> dict[str, nn.Linear]:
    """The network's linear layers by name, from inputs to output."""
    return {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear)}


def _front(style: Style) -> OrderedDict[str, nn.Module]:
    """What happens to the inputs while training: noise, dropout, or nothing at all."""
    parts = OrderedDict[str, nn.Module]()
    if style.input_noise:
        parts["noise"] = KeyedNoise(style.input_noise, "input", style.noise)
    if style.input_dropout:
        parts["dropout"] = KeyedDropout(style.input_dropout, "input", style.noise)
    return OrderedDict(input=nn.Sequential(parts)) if parts else OrderedDict()


def _hidden(prefix: str, inputs: int, widths: Sequence[int], style: Style) -> OrderedDict[str, nn.Module]:
    blocks = OrderedDict[str, nn.Module]()
    for index, (before, width) in enumerate(zip((inputs, *widths), widths, strict=False), start=1):
        name = f"{prefix}{index}"
        block = _with_dropout(_block(before, width, norm=style.norm, activation=style.activation()), name, style)
        blocks[name] = Residual(block) if style.residual and before == width else block
    return blocks


def _with_dropout(block: nn.Sequential, place: str, style: Style) -> nn.Sequential:
    if style.dropout:
        block.add_module("dropout", KeyedDropout(style.dropout, place, style.noise))
    return block


def _block(inputs: int, outputs: int, *, norm: str = "none", activation: nn.Module | None = None) -> nn.Sequential:
    return _named(
        linear=nn.Linear(inputs, outputs, bias=norm == "none"),
        norm=None if norm == "none" else NORMS[norm](outputs),
        activation=activation,
    )


NORMS: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


def _named(*, linear: nn.Module, norm: nn.Module | None = None, activation: nn.Module | None = None) -> nn.Sequential:
    parts = OrderedDict(linear=linear, norm=norm, activation=None if isinstance(activation, nn.Identity) else activation)
    return nn.Sequential(OrderedDict((name, part) for name, part in parts.items() if part is not None))


def _stack(blocks: OrderedDict[str, nn.Module], output: nn.Sequential) -> nn.Sequential:
    return nn.Sequential(OrderedDict([*blocks.items(), ("output", output)]))
