"""The health of K stacked models, as `health.Health` takes it of one."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from dnnlab.flat import StackedParameters
from dnnlab.health import WATCHED, layer_name, unit_figure
from dnnlab.population.networks import Networks, WrittenNetworks


@final
class StackedHealth:
    """Takes the figures of all models around one step: `mark` before it, `figures` after it."""

    def __init__(self, network: nn.Module, networks: Networks, flat: StackedParameters, kept: dict[str, Tensor]) -> None:
        """network: one of the models; networks: all of them; kept: what they hold beside their parameters, (K, …) each."""
        self._network = network
        self._written = networks if isinstance(networks, WrittenNetworks) else None
        self._flat = flat
        self._kept = kept
        self._before: Tensor | None = None
        self._gradient: Tensor | None = None
        self._watched = {name: module for name, module in network.named_modules() if type(module) in WATCHED}

    @property
    def marked(self) -> bool:
        """Whether the step that is being taken is the one to tell of."""
        return self._before is not None

    def mark(self) -> None:
        """Remember the parameters, just before a step."""
        self._before = self._flat.data.clone()

    def note_gradient(self) -> None:
        """Remember the losses' own gradient, before penalties and clipping change it."""
        self._gradient = self._flat.grad.clone()

    @torch.no_grad()
    def figures(self, x: Tensor) -> dict[str, Tensor]:
        """`<layer>/<figure>` -> (K,). x: (K, B, D), or (B, D) for all."""
        figures = self._of_weights() | self._of_units(x)
        self._before = self._gradient = None
        return figures

    def _of_weights(self) -> dict[str, Tensor]:
        figures: dict[str, Tensor] = {}
        flat, gradient = self._flat, self._flat.grad if self._gradient is None else self._gradient
        for name in flat.weight_names:
            layer, weight = layer_name(name), flat.data[:, flat.spans[name]]
            norm = torch.linalg.vector_norm(weight, dim=1)
            figures[f"{layer}/gradient_norm"] = torch.linalg.vector_norm(gradient[:, flat.spans[name]], dim=1)
            figures[f"{layer}/weight_norm"] = norm
            figures[f"{layer}/zeros"] = (weight == 0).to(weight.dtype).mean(1)
            if self._before is not None:
                update = torch.linalg.vector_norm(weight - self._before[:, flat.spans[name]], dim=1)
                figures[f"{layer}/update_ratio"] = update / norm.clamp_min(torch.finfo(weight.dtype).tiny)
        return figures

    def _written_out(self, networks: WrittenNetworks, x: Tensor) -> dict[str, Tensor]:
        """Of a plain stack: each watched activation is that of the linear layer before it."""
        found: dict[str, Tensor] = {}
        place = -1
        outputs = networks.bent(x)
        for name, module in self._network.named_modules():
            place += type(module) is nn.Linear
            if name in self._watched:
                figure, value = unit_figure(module, outputs[place])
                found[f"{layer_name(name)}/{figure}"] = value
        return found

    def _of_units(self, x: Tensor) -> dict[str, Tensor]:
        if not self._watched:
            return {}
        if self._written is not None:
            return self._written_out(self._written, x)
        seen: dict[str, Tensor] = {}

        def one(parameters: dict[str, Tensor], kept: dict[str, Tensor], x: Tensor) -> dict[str, Tensor]:
            functional_call(self._network, (parameters, kept), (x,))
            return dict(seen)

        def hook(name: str, module: nn.Module, output: Tensor) -> None:
            figure, value = unit_figure(module, output)
            seen[f"{layer_name(name)}/{figure}"] = value

        hooks = [
            module.register_forward_hook(lambda module, _, output, name=name: hook(name, module, output))
            for name, module in self._watched.items()
        ]
        self._network.eval()
        try:
            parameters = {name: self._flat.view(name) for name in self._flat.shapes}
            found: dict[str, Tensor] = vmap(one, in_dims=(0, 0, 0 if x.dim() == 3 else None))(parameters, self._kept, x)
            return found
        finally:
            self._network.train()
            for handle in hooks:
                handle.remove()
