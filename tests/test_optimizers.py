"""Each optimizer over the flat buffer takes the steps of torch's over separate parameters, and continues from its saved state."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from dnnlab import optimizers
from dnnlab.build.training import build_optimizer
from dnnlab.config import optimizer as settings
from dnnlab.flat import FlatParameters
from dnnlab.optimizers import Optimizer
from tests.samples import closely, exactly

HIDDEN = ["2.weight"]
LR, STEPS = 0.01, 20
KINDS = [kind for setting in get_args(get_args(settings.Optimizer)[0]) for kind in get_args(setting.model_fields["kind"].annotation)]
BUILT_IN = [kind for kind in KINDS if kind != "custom"]


def network_of() -> nn.Sequential:
    """The same network at each call: 3 inputs, twice 6 units, 2 scores, float64."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 2)).double()


def objective(network: nn.Module) -> Callable[[], Tensor]:
    """A regression's loss, with its gradient in the parameters' `grad`: added to what is there."""
    torch.manual_seed(4)
    x, y = torch.randn(20, 3, dtype=torch.float64), torch.randn(20, 2, dtype=torch.float64)

    def closure() -> Tensor:
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter.grad.zero_()
        loss = (network(x) - y).square().mean()
        loss.backward()
        return loss

    return closure


def ours(kind: str, network: nn.Module, decay: float = 0.0, **numbers: Any) -> Optimizer:
    """The optimizer that the settings of a kind come to."""
    setting = next(s for s in get_args(get_args(settings.Optimizer)[0]) if kind in get_args(s.model_fields["kind"].annotation))
    if "weight_decay" in setting.model_fields:
        numbers["weight_decay"] = decay
    return build_optimizer(setting(kind=kind, lr=LR, **numbers), FlatParameters(network), HIDDEN, ())


def advance(optimizer: Optimizer, network: nn.Module, steps: int = STEPS, lr: float = LR) -> None:
    closure = objective(network)
    for step in range(steps):
        closure()
        optimizer.step(lr / (1 + step % 3), closure)


REFERENCES: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    "gd": lambda p: torch.optim.SGD(p, LR),
    "sgd": lambda p: torch.optim.SGD(p, LR),
    "momentum": lambda p: torch.optim.SGD(p, LR, momentum=0.9),
    "nesterov": lambda p: torch.optim.SGD(p, LR, momentum=0.9, nesterov=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, LR, foreach=False),
    "adadelta": lambda p: torch.optim.Adadelta(p, LR, rho=0.9, eps=1e-6, foreach=False),
    "rmsprop": lambda p: torch.optim.RMSprop(p, LR, foreach=False),
    "adam": lambda p: torch.optim.Adam(p, LR, foreach=False),
    "nadam": lambda p: torch.optim.NAdam(p, LR, foreach=False),
    "radam": lambda p: torch.optim.RAdam(p, LR, foreach=False),
    "adamax": lambda p: torch.optim.Adamax(p, LR, foreach=False),
    "adamw": lambda p: torch.optim.AdamW(p, LR, weight_decay=0.0, foreach=False),
    "lbfgs": lambda p: torch.optim.LBFGS(p, LR, max_iter=20, history_size=10, line_search_fn="strong_wolfe"),
    "rprop": lambda p: torch.optim.Rprop(p, LR, foreach=False),
}


@pytest.mark.parametrize("kind", [kind for kind in BUILT_IN if kind != "muon"])
def test_steps_over_the_buffer_are_torchs_over_separate_parameters(kind: str) -> None:
    flat_network, separate = network_of(), network_of()
    steps = 1 if kind == "lbfgs" else STEPS  # its line searches magnify the rounding of sums that are taken in another order
    advance(ours(kind, flat_network), flat_network, steps)
    reference, closure = REFERENCES[kind](list(separate.parameters())), objective(separate)
    for step in range(steps):
        closure()
        for group in reference.param_groups:
            group["lr"] = LR / (1 + step % 3)
        reference.step(closure if kind == "lbfgs" else None)  # type: ignore[arg-type]
    start = [parameter.clone() for parameter in network_of().parameters()]
    for before, mine, theirs in zip(start, flat_network.parameters(), separate.parameters(), strict=True):
        assert not torch.equal(before, mine)
        closely(mine, theirs, **({"rtol": 1e-8, "atol": 1e-8} if kind == "lbfgs" else {}))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adam_has_the_bits_of_torchs_fused_kernel(dtype: torch.dtype) -> None:
    network = network_of().to(dtype)
    flat = FlatParameters(network)
    adam = optimizers.FusedAdam(flat, 0.0, [0.8, 0.99], 1e-7)
    leaf = nn.Parameter(flat.data.clone())
    reference = torch.optim.Adam([leaf], LR, betas=(0.8, 0.99), eps=1e-7, fused=True)
    for _ in range(STEPS):
        flat.grad.normal_()
        leaf.grad = flat.grad.clone()
        adam.step(LR)
        reference.step()
        exactly(flat.data, leaf.data)


@pytest.mark.parametrize("kind", [kind for kind in BUILT_IN if kind not in ("muon", "lbfgs", "rprop")])
def test_decay_is_decoupled_and_leaves_biases_alone(kind: str) -> None:
    decayed, plain = network_of(), network_of()
    decay = 0.3
    optimizer, bare = ours(kind, decayed, decay), ours(kind, plain)
    objective(decayed)()
    objective(plain)()
    optimizer.step(LR)
    bare.step(LR)
    start = dict(network_of().named_parameters())
    for name, parameter in decayed.named_parameters():
        move = plain.get_parameter(name) - start[name]  # the gradient's part is the same with and without
        closely(parameter, start[name] * (1 - LR * decay if parameter.ndim == 2 else 1) + move)


def test_decay_is_that_of_adamw() -> None:
    network, reference = network_of(), network_of()
    advance(ours("adamw", network, 0.3), network)
    weights, biases = ([p for p in reference.parameters() if (p.ndim == 2) is wanted] for wanted in (True, False))
    groups = [{"params": weights, "weight_decay": 0.3}, {"params": biases, "weight_decay": 0.0}]
    adamw, closure = torch.optim.AdamW(groups, LR, foreach=False), objective(reference)
    for step in range(STEPS):
        closure()
        for group in adamw.param_groups:
            group["lr"] = LR / (1 + step % 3)
        adamw.step()
    for mine, theirs in zip(network.parameters(), reference.parameters(), strict=True):
        closely(mine, theirs)


def test_decay_with_momentum_is_sgdw() -> None:
    network = network_of()
    optimizer, closure = ours("momentum", network, 0.3, momentum=0.7), objective(network)
    mine = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    velocity = {name: torch.zeros_like(parameter) for name, parameter in mine.items()}
    for _ in range(STEPS):
        closure()
        for name, parameter in network.named_parameters():
            velocity[name] = 0.7 * velocity[name] + parameter.grad
            mine[name] = mine[name] - LR * velocity[name] - (LR * 0.3 * mine[name] if parameter.ndim == 2 else 0)
        optimizer.step(LR)
        for name, parameter in network.named_parameters():
            closely(parameter.detach(), mine[name])


def saved(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A state as a file would give it back."""
    return {name: tensor.clone() for name, tensor in optimizer.tensors().items()}, json.loads(json.dumps(optimizer.facts()))


def twins(kind: str, steps: int) -> Iterator[tuple[nn.Module, Optimizer]]:
    """One that went on, and one that was made anew from the first one's state after so many steps."""
    first, second = network_of(), network_of()
    numbers = {"momentum": 0.9} if kind == "rmsprop" else {}
    if kind == "lbfgs":
        numbers = {"max_iter": 3, "history": 4}
    one, other = ours(kind, first, 0.1, **numbers), ours(kind, second, 0.1, **numbers)
    advance(one, first, steps)
    other.flat.data.copy_(one.flat.data)
    other.load(*saved(one))
    yield first, one
    yield second, other


@pytest.mark.parametrize("steps", [0, 1, 7])
@pytest.mark.parametrize("kind", BUILT_IN)
def test_a_loaded_state_continues_with_the_same_bits(kind: str, steps: int) -> None:
    (first, one), (second, other) = twins(kind, steps)
    for network, optimizer in ((first, one), (second, other)):
        advance(optimizer, network, 5)
    exactly(other.flat.data, one.flat.data)
    exactly(other.tensors(), one.tensors())
    assert other.facts() == one.facts()


@pytest.mark.parametrize("kind", BUILT_IN)
def test_a_saved_state_is_not_touched_by_what_loaded_it(kind: str) -> None:
    network, fresh = network_of(), network_of()
    one, other = ours(kind, network), ours(kind, fresh)
    advance(one, network, 3)
    tensors, facts = saved(one)
    kept = {name: tensor.clone() for name, tensor in tensors.items()}
    other.load(tensors, facts)
    advance(other, fresh, 3)
    exactly(tensors, kept)


@pytest.mark.parametrize("kind", BUILT_IN)
def test_going_back_to_a_state_and_again_gives_the_same_bits(kind: str) -> None:
    network = network_of()
    optimizer = ours(kind, network)
    advance(optimizer, network, 2)
    data, state = optimizer.flat.data.clone(), saved(optimizer)
    advance(optimizer, network, 3)
    wanted = optimizer.flat.data.clone()
    optimizer.flat.data.copy_(data)
    optimizer.load(*state)
    advance(optimizer, network, 3)
    exactly(optimizer.flat.data, wanted)


@pytest.mark.parametrize("kind", ["adagrad", "radam", "nadam"])
def test_a_state_is_loaded_to_where_the_parameters_are(kind: str) -> None:
    network, ghost = network_of(), network_of().to("meta")  # stands for a second device
    optimizer = ours(kind, network)
    advance(optimizer, network, 2)
    other = ours(kind, ghost)
    other.load(*saved(optimizer))
    counters = {"step", "mu_product"}
    assert all(tensor.device.type == ("cpu" if name.split(".")[2] in counters else "meta") for name, tensor in other.tensors().items())


def test_only_lbfgs_asks_for_the_loss_again() -> None:
    assert [kind for kind in BUILT_IN if ours(kind, network_of()).needs_closure] == ["lbfgs"]


def test_muon_moves_hidden_matrices_by_the_orthogonal_rule_and_the_rest_by_adamw() -> None:
    network, reference = network_of(), network_of()
    optimizer = ours("muon", network, 0.3, adamw_lr=0.002)
    matrix = reference[2].weight
    others = [parameter for parameter in reference.parameters() if parameter is not matrix]
    groups = [
        {"params": [p for p in others if p.ndim == 2], "weight_decay": 0.3},
        {"params": [p for p in others if p.ndim == 1], "weight_decay": 0.0},
    ]
    muon, adamw = torch.optim.Muon([matrix], LR, momentum=0.95, weight_decay=0.3), torch.optim.AdamW(groups, 0.002, foreach=False)
    closures = objective(network), objective(reference)
    for step in range(STEPS):
        for closure in closures:
            closure()
        factor = 1 / (1 + step % 3)  # both follow one schedule
        for optimizer_, rate in ((muon, LR), (adamw, 0.002)):
            for group in optimizer_.param_groups:
                group["lr"] = rate * factor
            optimizer_.step()
        optimizer.step(LR * factor)
    for mine, theirs in zip(network.parameters(), reference.parameters(), strict=True):
        closely(mine, theirs)


def test_muons_update_is_nearly_orthogonal() -> None:
    network = network_of()
    optimizer = ours("muon", network)
    objective(network)()
    before = network[2].weight.detach().clone()
    optimizer.step(LR)
    lengths = torch.linalg.svdvals((before - network[2].weight.detach()) / LR)
    assert lengths.max() < 1.3
    assert lengths[:-1].min() > 0.3  # the smallest of a small matrix may stay behind: five iterations only


def test_muon_without_hidden_matrices_is_adamw() -> None:
    network, reference = network_of(), network_of()
    mine = optimizers.muon(FlatParameters(network), [], 0.1, 5 * LR, 0.95, LR)
    theirs = ours("adamw", reference, 0.1)
    advance(mine, network, lr=5 * LR)  # the rate that is told is Muon's
    advance(theirs, reference)
    for one, other in zip(network.parameters(), reference.parameters(), strict=True):
        closely(one, other)
