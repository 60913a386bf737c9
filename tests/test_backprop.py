"""Backpropagation agrees with one in NumPy, written by hand, and with difference quotients; slices with the whole batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dnnlab import losses
from dnnlab.backprop import Autograd, Gradients, written_out
from dnnlab.flat import FlatParameters
from dnnlab.layers import KeyedDropout
from dnnlab.models import Style, autoencoder, feedforward
from dnnlab.seeding import Noise
from tests.samples import closely, exactly


def network_of(activation: type[nn.Module] = nn.Tanh, **changes: object) -> nn.Sequential:
    """Two hidden layers, float64: 5 inputs, 6 and 4 units, 3 scores."""
    return feedforward(5, [6, 4], 3, Style(activation, Noise(0), **changes)).double()  # type: ignore[arg-type]


def batch(rows: int = 11) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, 5, dtype=torch.float64), torch.randint(0, 3, (rows,))


def gradient(gradients: Gradients | None, flat: FlatParameters, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """-> the loss and the flat gradient."""
    assert gradients is not None
    flat.grad.fill_(torch.nan)
    loss = torch.full((), torch.nan, dtype=x.dtype)
    gradients(x, target, loss)
    return loss, flat.grad.clone()


def by_hand(network: nn.Sequential, x: np.ndarray, codes: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
    """A tanh network with softmax cross-entropy, as the textbook has it: -> the mean loss and every gradient."""
    p = {name: parameter.detach().numpy() for name, parameter in network.named_parameters()}
    rows = len(x)
    h1 = np.tanh(x @ p["hidden1.linear.weight"].T + p["hidden1.linear.bias"])
    h2 = np.tanh(h1 @ p["hidden2.linear.weight"].T + p["hidden2.linear.bias"])
    scores = h2 @ p["output.linear.weight"].T + p["output.linear.bias"]
    exponentials = np.exp(scores - scores.max(1, keepdims=True))
    probabilities = exponentials / exponentials.sum(1, keepdims=True)
    loss = -np.log(probabilities[np.arange(rows), codes]).mean()

    error3 = (probabilities - np.eye(3)[codes]) / rows
    error2 = error3 @ p["output.linear.weight"] * (1 - h2**2)
    error1 = error2 @ p["hidden2.linear.weight"] * (1 - h1**2)
    return loss, {
        "hidden1.linear.weight": error1.T @ x,
        "hidden1.linear.bias": error1.sum(0),
        "hidden2.linear.weight": error2.T @ h1,
        "hidden2.linear.bias": error2.sum(0),
        "output.linear.weight": error3.T @ h2,
        "output.linear.bias": error3.sum(0),
    }


@pytest.mark.parametrize("path", ["written", "autograd"])
def test_gradients_are_those_computed_by_hand(path: str) -> None:
    network, (x, target) = network_of(), batch()
    flat, cross_entropy = FlatParameters(network), losses.CrossEntropy()
    gradients = written_out(network, cross_entropy) if path == "written" else Autograd(network, cross_entropy, flat)
    wanted_loss, wanted = by_hand(network, x.numpy(), target.numpy())
    loss, grad = gradient(gradients, flat, x, target)
    assert loss.item() == pytest.approx(wanted_loss, abs=1e-13)
    for name, value in wanted.items():
        closely(flat.view(name, grad), torch.from_numpy(value))


def test_gradients_are_difference_quotients() -> None:
    network, (x, target) = network_of(nn.SiLU, dropout=0.3, input_noise=0.2, input_dropout=0.2), batch()
    flat, cross_entropy = FlatParameters(network), losses.CrossEntropy(0.1, torch.tensor([1.0, 2.0, 0.5]).double())
    gradients = written_out(network, cross_entropy)
    _, grad = gradient(gradients, flat, x, target)
    quotients, small = torch.empty_like(grad), 1e-6
    for index in range(len(grad)):
        middle = flat.data[index].item()
        flat.data[index] = middle + small
        up, _ = gradient(gradients, flat, x, target)
        flat.data[index] = middle - small
        down, _ = gradient(gradients, flat, x, target)
        flat.data[index] = middle
        quotients[index] = (up - down) / (2 * small)
    torch.testing.assert_close(grad, quotients, rtol=1e-6, atol=1e-8)


def test_batches_of_changing_size_share_no_buffer() -> None:
    network = network_of(dropout=0.3)
    flat, cross_entropy = FlatParameters(network), losses.CrossEntropy()
    kept, autograd = written_out(network, cross_entropy), Autograd(network, cross_entropy, flat)
    for rows in (11, 3, 11, 1, 3):
        x, target = batch(rows)
        closely(gradient(kept, flat, x, target), gradient(autograd, flat, x, target))


def test_gradients_follow_the_parameters() -> None:
    network, (x, target) = network_of(), batch()
    flat, cross_entropy = FlatParameters(network), losses.CrossEntropy()
    gradients = written_out(network, cross_entropy)
    gradient(gradients, flat, x, target)
    flat.data.mul_(2.0).add_(0.1)
    closely(gradient(gradients, flat, x, target), gradient(Autograd(network, cross_entropy, flat), flat, x, target))


def test_the_batch_is_only_read() -> None:
    network, (x, target) = network_of(dropout=0.3, input_noise=0.2), batch()
    before = x.clone(), target.clone()
    flat = FlatParameters(network)
    gradient(written_out(network, losses.CrossEntropy()), flat, x, target)
    exactly((x, target), before)


def test_every_step_draws_its_own_noise() -> None:
    noise, (x, target) = Noise(0), batch()
    network = feedforward(5, [6], 3, Style(nn.Tanh, noise, dropout=0.5)).double()
    flat = FlatParameters(network)
    gradients = written_out(network, losses.CrossEntropy())
    seen = []
    for step in (0, 1, 0):
        noise.step = step
        seen.append(gradient(gradients, flat, x, target))
    exactly(seen[0], seen[2])
    assert not torch.equal(seen[0][1], seen[1][1])


WEIGHTED = losses.CrossEntropy(0.1, torch.tensor([0.2, 3.0, 1.0], dtype=torch.float64))


@pytest.mark.parametrize("slices", [1, 2, 3, 4, 11, 50])
@pytest.mark.parametrize("loss", [losses.CrossEntropy(), WEIGHTED], ids=["plain", "weighted"])
def test_a_batch_in_slices_is_the_batch(slices: int, loss: losses.Loss) -> None:
    noise, (x, target) = Noise(0, rows=16), batch()
    network = feedforward(5, [6, 4], 3, Style(nn.Tanh, noise, dropout=0.3, input_noise=0.2, input_dropout=0.1)).double()
    flat = FlatParameters(network)
    whole = gradient(Autograd(network, loss, flat), flat, x, target)
    closely(gradient(Autograd(network, loss, flat, slices=slices), flat, x, target), whole)
    closely(gradient(written_out(network, loss), flat, x, target), whole)  # and no slice's place is left behind


def test_a_failing_network_leaves_the_noise_at_its_place() -> None:
    noise, (x, target) = Noise(0, rows=16), batch()
    network = feedforward(5, [6], 3, Style(nn.Tanh, noise, dropout=0.3)).double()
    flat = FlatParameters(network)
    target[-1] = 7  # no such class
    with pytest.raises((IndexError, RuntimeError)):
        gradient(Autograd(network, losses.CrossEntropy(), flat, slices=3), flat, x, target)
    assert noise.first == 0


def test_autograd_scales_the_loss_and_tells_it_unscaled() -> None:
    network, (x, target) = network_of(), batch()
    flat, loss = FlatParameters(network), losses.CrossEntropy()
    plain = gradient(Autograd(network, loss, flat), flat, x, target)
    scaled = gradient(Autograd(network, loss, flat, scale=lambda value: value * 8), flat, x, target)
    closely(scaled, (plain[0], plain[1] * 8))


def test_autocast_gives_gradients_of_the_weights_own_type() -> None:
    network = network_of(nn.ReLU).float()
    flat, x, target = FlatParameters(network), torch.randn(11, 5), torch.randint(0, 3, (11,))
    wanted = gradient(Autograd(network, losses.CrossEntropy(), flat), flat, x, target)
    context = torch.autocast("cpu", dtype=torch.bfloat16)
    got = gradient(Autograd(network, losses.CrossEntropy(), flat, autocast=context), flat, x, target)
    assert got[1].dtype is torch.float32
    torch.testing.assert_close(got, wanted, rtol=0.1, atol=0.02)


def test_gradients_do_not_depend_on_whether_torch_records() -> None:
    network, (x, target) = network_of(), batch()
    flat, loss = FlatParameters(network), losses.CrossEntropy()
    for gradients in (written_out(network, loss), Autograd(network, loss, flat)):
        outside = gradient(gradients, flat, x, target)
        with torch.no_grad():
            exactly(gradient(gradients, flat, x, target), outside)


class Doubled(nn.Sequential):
    """Looks like a plain stack, and is not."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)  # type: ignore[no-any-return]


class Scaled(nn.Linear):
    """Looks like a linear layer, and is not."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def shared_linear() -> nn.Module:
    layer = nn.Linear(4, 4)
    return nn.Sequential(nn.Linear(5, 4), layer, nn.Tanh(), layer)


def shared_weight() -> nn.Module:
    network = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    network[2].weight = network[1].weight
    return network


def style(activation: type[nn.Module] = nn.Tanh, **changes: object) -> Style:
    return Style(activation, Noise(0), **changes)  # type: ignore[arg-type]


NOT_COVERED: dict[str, tuple[nn.Module, losses.Loss]] = {
    "batch norm": (feedforward(5, [4], 3, style(norm="batch")), losses.CrossEntropy()),
    "layer norm": (feedforward(5, [4], 3, style(norm="layer")), losses.CrossEntropy()),
    "residual": (feedforward(5, [5], 3, style(residual=True)), losses.CrossEntropy()),
    "prelu": (feedforward(5, [4], 3, style(nn.PReLU)), losses.CrossEntropy()),
    "tied": (autoencoder(5, [4], 2, style(), tied=True), losses.SquaredError()),
    "custom loss": (feedforward(5, [4], 3, style()), losses.CustomLoss(lambda s, t: s.sum(-1))),
    "no stack": (nn.Bilinear(5, 5, 3), losses.CrossEntropy()),
    "nothing": (nn.Sequential(), losses.CrossEntropy()),
    "torch's dropout": (nn.Sequential(nn.Linear(5, 3), nn.Dropout(0.5), nn.Linear(3, 3)), losses.CrossEntropy()),
    "dropout before the activation": (
        nn.Sequential(nn.Linear(5, 4), KeyedDropout(0.5, "a", Noise(0)), nn.Tanh(), nn.Linear(4, 3)),
        losses.CrossEntropy(),
    ),
    "two activations": (nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.ReLU(), nn.Linear(4, 3)), losses.CrossEntropy()),
    "activation first": (nn.Sequential(nn.Tanh(), nn.Linear(5, 3)), losses.CrossEntropy()),
    "another Sequential": (Doubled(nn.Linear(5, 3)), losses.CrossEntropy()),
    "another Linear": (nn.Sequential(Scaled(5, 3)), losses.CrossEntropy()),
    "a layer used twice": (shared_linear(), losses.CrossEntropy()),
    "a weight used twice": (shared_weight(), losses.CrossEntropy()),
}


@pytest.mark.parametrize("name", NOT_COVERED)
def test_what_is_not_spelled_is_left_to_autograd(name: str) -> None:
    network, loss = NOT_COVERED[name]
    if name != "nothing":
        FlatParameters(network)
    assert written_out(network, loss) is None


def test_a_single_layer_needs_no_stack_around_it() -> None:
    network, (x, target), loss = nn.Linear(5, 3).double(), batch(), losses.CrossEntropy()
    flat = FlatParameters(network)
    closely(gradient(written_out(network, loss), flat, x, target), gradient(Autograd(network, loss, flat), flat, x, target))


def test_an_activation_used_twice_is_spelled_twice() -> None:
    tanh = nn.Tanh()
    network = nn.Sequential(nn.Linear(5, 4), tanh, nn.Linear(4, 4), tanh, nn.Linear(4, 3)).double()
    flat, (x, target), loss = FlatParameters(network), batch(), losses.CrossEntropy()
    closely(gradient(written_out(network, loss), flat, x, target), gradient(Autograd(network, loss, flat), flat, x, target))
