"""How a network is: norms of gradients and weights, size of the updates, dead and saturated units, zeros; without a backward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dnnlab.flat import FlatParameters

# What an activation can reach: a unit within 1 % of such a bound is saturated. One that is flat below zero can die.
BOUNDS: dict[type[nn.Module], tuple[float, float]] = {
    nn.Sigmoid: (0.0, 1.0),
    nn.Tanh: (-1.0, 1.0),
    nn.Hardtanh: (-1.0, 1.0),
    nn.Softsign: (-1.0, 1.0),
}
CAN_DIE = (nn.ReLU,)
WITHIN = frozenset({"weight", "block", "linear", "norm", "activation"})  # what a block's parts are called
WATCHED: tuple[type[nn.Module], ...] = (*CAN_DIE, *BOUNDS)


class Health:
    """Takes a network's figures around one step: `mark` before it, `figures` after it.

    >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> health = Health(network, FlatParameters(network))
    >>> health.mark()
    >>> sorted(health.figures(torch.ones(4, 2)))
    ['0/gradient_norm', '0/update_ratio', '0/weight_norm', '0/zeros', '1/dead']
    """

    def __init__(self, network: nn.Module, flat: FlatParameters) -> None:
        self.network = network
        self.flat = flat
        self._before: Tensor | None = None
        self._gradient: Tensor | None = None
        self._watched = {name: module for name, module in network.named_modules() if type(module) in WATCHED}

    def mark(self) -> None:
        """Remember the parameters, just before a step."""
        self._before = self.flat.data.clone()

    @property
    def marked(self) -> bool:
        """Whether the step that is being taken is the one to tell of."""
        return self._before is not None

    def note_gradient(self) -> None:
        """Remember the loss's own gradient, before penalties and clipping change it."""
        self._gradient = self.flat.grad.clone()

    @torch.no_grad()
    def figures(self, x: Tensor) -> dict[str, Tensor]:
        """Each layer's figures: `<layer>/<figure>` -> (). x: (B, D), a batch to look at the units with, in evaluation mode."""
        figures = self._of_weights() | self._of_units(x)
        self._before = self._gradient = None
        return figures

    def _of_weights(self) -> dict[str, Tensor]:
        figures: dict[str, Tensor] = {}
        gradient = self.flat.grad if self._gradient is None else self._gradient
        for name in self.flat.weight_names:
            layer, weight = layer_name(name), self.flat.view(name)
            norm = torch.linalg.vector_norm(weight)
            figures[f"{layer}/gradient_norm"] = torch.linalg.vector_norm(self.flat.view(name, gradient))
            figures[f"{layer}/weight_norm"] = norm
            figures[f"{layer}/zeros"] = (weight == 0).to(weight.dtype).mean()
            if self._before is not None:
                update = torch.linalg.vector_norm(weight - self.flat.view(name, self._before))
                figures[f"{layer}/update_ratio"] = update / norm.clamp_min(torch.finfo(weight.dtype).tiny)
        return figures

    def _of_units(self, x: Tensor) -> dict[str, Tensor]:
        figures: dict[str, Tensor] = {}

        def look(name: str, module: nn.Module, output: Tensor) -> None:
            figure, value = unit_figure(module, output)
            figures[f"{layer_name(name)}/{figure}"] = value

        def hook(name: str) -> Callable[[nn.Module, object, Tensor], None]:
            return lambda module, _, output: look(name, module, output)

        hooks = [module.register_forward_hook(hook(name)) for name, module in self._watched.items()]
        self.network.eval()
        try:
            self.network(x)
        finally:
            self.network.train()
            for handle in hooks:
                handle.remove()
        return figures


def unit_figure(module: nn.Module, output: Tensor) -> tuple[str, Tensor]:
    """What a watched activation's output tells of its units: the figure's name, and its value. output: (B, H) -> (); (K, B, H) -> (K,)."""
    if type(module) in CAN_DIE:
        return "dead", (output <= 0).all(-2).to(output.dtype).mean(-1)
    low, high = BOUNDS[type(module)]
    near = (output < low + 0.01 * (high - low)) | (output > high - 0.01 * (high - low))
    return "saturated", near.to(output.dtype).mean((-2, -1))


def layer_name(parameter: str) -> str:
    """The block that a parameter or module stands in.

    >>> layer_name("hidden1.linear.weight"), layer_name("hidden2.block.activation"), layer_name("layers.0.weight"), layer_name("weight")
    ('hidden1', 'hidden2', 'layers.0', 'weight')
    """
    parts = parameter.split(".")
    while len(parts) > 1 and parts[-1] in WITHIN:
        parts.pop()
    return ".".join(parts)
