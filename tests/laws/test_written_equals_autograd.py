"""Law 12: the spelled gradients equal autograd's for every activation and loss they cover (float64, 1e-12)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dnnlab.activations import MODULES, activation
from dnnlab.backprop import Autograd, written_out
from dnnlab.config.activation import OutputActivation
from dnnlab.errors import ConfigError
from dnnlab.flat import FlatParameters
from dnnlab.losses import Loss, check_fit
from dnnlab.models import Style, autoencoder, feedforward, single_layer
from dnnlab.seeding import Noise
from dnnlab.tasks import Task
from tests.samples import ALL_LOSSES, WIDTH, closely, loss_of, target_of

ROWS, INPUTS = 9, 5
COVERED = [kind for kind in MODULES if kind != "prelu"]
OUTPUTS = [kind for kind in COVERED if kind in OutputActivation.__args__ and kind != "linear"]
NOISY = {"dropout": 0.3, "input_dropout": 0.2, "input_noise": 0.5}
every_loss = pytest.mark.parametrize(("kind", "task", "number"), ALL_LOSSES)


def style(hidden: str, noise: Noise, *, noisy: bool) -> Style:
    return Style(lambda: activation(hidden), noise, **(NOISY if noisy else {}))  # type: ignore[arg-type]


def both(network: nn.Module, loss: Loss, x: Tensor, target: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Loss and gradient, written out and by autograd."""
    flat = FlatParameters(network.double())
    spelled = written_out(network, loss)
    assert spelled is not None
    found = []
    for gradients in (spelled, Autograd(network, loss, flat)):
        flat.grad.fill_(torch.nan)
        value = torch.full((), torch.nan, dtype=torch.float64)
        with torch.no_grad():
            gradients(x, target, value)
        found.append((value, flat.grad.clone()))
    return found


def agree(network: nn.Module, loss: Loss, task: Task) -> None:
    x = torch.randn(ROWS, INPUTS, dtype=torch.float64)
    spelled, wanted = both(network, loss, x, target_of(task, ROWS))
    closely(spelled, wanted)
    assert wanted[1].isfinite().all()


@every_loss
@pytest.mark.parametrize("noisy", [False, True], ids=["plain", "noisy"])
@pytest.mark.parametrize("hidden", COVERED)
def test_hidden_activations(hidden: str, noisy: bool, kind: str, task: Task, number: int) -> None:
    noise = Noise(1, step=3, rows=ROWS + 2)
    agree(feedforward(INPUTS, [6, 4], WIDTH[task], style(hidden, noise, noisy=noisy)), loss_of(kind, task, number), task)


@every_loss
@pytest.mark.parametrize("output", OUTPUTS)
def test_output_activations(output: str, kind: str, task: Task, number: int) -> None:
    try:
        check_fit(kind, task, output, "somewhere")
    except ConfigError:
        return  # refused in the settings: nothing to train
    network = feedforward(INPUTS, [6], WIDTH[task], style("tanh", Noise(1), noisy=True), activation(output))
    agree(network, loss_of(kind, task, number), task)


@every_loss
def test_single_layers_from_zeros(kind: str, task: Task, number: int) -> None:
    network = single_layer(INPUTS, WIDTH[task], style("linear", Noise(1), noisy=False))
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    agree(network, loss_of(kind, task, number), task)


@pytest.mark.parametrize("hidden", COVERED)
@pytest.mark.parametrize("kind", ["mse", "bce"])
def test_autoencoders(kind: str, hidden: str) -> None:
    network = autoencoder(INPUTS, [4], 2, style(hidden, Noise(1), noisy=True))
    agree(network, loss_of(kind, Task.RECONSTRUCTION, 0), Task.RECONSTRUCTION)


@pytest.mark.parametrize("hidden", COVERED)
def test_hundred_layers(hidden: str) -> None:
    network = feedforward(INPUTS, [4] * 100, 1, style(hidden, Noise(1), noisy=True))
    agree(network, loss_of("bce", Task.BINARY, 0), Task.BINARY)
