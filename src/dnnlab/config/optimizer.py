"""How weights move. Weight decay is decoupled for every optimizer (Loshchilov and Hutter 2019) and acts on weights, not on biases."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from dnnlab.config.base import NonNegative, Positive, Probability, Settings

Betas = Annotated[list[Probability], Field(min_length=2, max_length=2)]


class Descent(Settings):
    """Gradient descent: on all rows at once (gd) or on batches (sgd)."""

    kind: Literal["gd", "sgd"]
    """gd uses all training rows for each step; sgd a batch."""
    lr: Positive = 0.1
    """Learning rate."""
    weight_decay: NonNegative = 0.0
    """Decoupled decay: each step takes lr·weight_decay of every weight."""


class Momentum(Settings):
    """SGD with momentum, classical or Nesterov's."""

    kind: Literal["momentum", "nesterov"]
    """momentum: Polyak's heavy ball; nesterov: looks ahead."""
    lr: Positive = 0.02
    """Learning rate."""
    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Share of the last step that is kept."""
    weight_decay: NonNegative = 0.0
    """Decoupled decay: each step takes lr·weight_decay of every weight."""


class Adagrad(Settings):
    """Adagrad (Duchi et al. 2011)."""

    kind: Literal["adagrad"]
    """Rates shrink with the sum of squared gradients."""
    lr: Positive = 0.02
    """Learning rate."""
    eps: Positive = 1e-10
    """Added to the denominator."""
    weight_decay: NonNegative = 0.0
    """Decoupled decay: each step takes lr·weight_decay of every weight."""


class Adadelta(Settings):
    """Adadelta (Zeiler 2012)."""

    kind: Literal["adadelta"]
    """Steps scaled by running means of squared steps and gradients."""
    lr: Positive = 1.0
    """Learning rate."""
    rho: Probability = 0.9
    """Decay of the running means."""
    eps: Positive = 1e-6
    """Added under the roots."""
    weight_decay: NonNegative = 0.0
    """Decoupled decay: each step takes lr·weight_decay of every weight."""


class RmsProp(Settings):
    """RMSprop (Tieleman and Hinton 2012)."""

    kind: Literal["rmsprop"]
    """Gradients scaled by a running mean of their squares."""
    lr: Positive = 0.001
    """Learning rate."""
    alpha: Probability = 0.99
    """Decay of the running mean."""
    momentum: Probability = 0.0
    """Share of the last step that is kept."""
    eps: Positive = 1e-8
    """Added to the denominator."""
    weight_decay: NonNegative = 0.0
    """Decoupled decay: each step takes lr·weight_decay of every weight."""


class Adam(Settings):
    """Adam and its kin."""

    kind: Literal["adam", "nadam", "radam", "adamax"]
    """adam (Kingma and Ba 2015), with Nesterov momentum (nadam), rectified (radam), or by the largest gradient (adamax)."""
    lr: Positive = 0.001
    """Learning rate."""
    betas: Betas = [0.9, 0.999]
    """Decay of the running means of gradients and of their squares."""
    eps: Positive = 1e-8
    """Added to the denominator."""
    weight_decay: NonNegative = 0.0
    """Decoupled decay: each step takes lr·weight_decay of every weight."""


class AdamW(Settings):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    kind: Literal["adamw"]
    """Adam with decoupled weight decay."""
    lr: Positive = 0.001
    """Learning rate."""
    betas: Betas = [0.9, 0.999]
    """Decay of the running means of gradients and of their squares."""
    eps: Positive = 1e-8
    """Added to the denominator."""
    weight_decay: NonNegative = 0.01
    """Decoupled decay: each step takes lr·weight_decay of every weight."""


class Lbfgs(Settings):
    """Limited-memory BFGS on all rows, with a strong Wolfe line search."""

    kind: Literal["lbfgs"]
    """Quasi-Newton on all training rows."""
    lr: Positive = 1.0
    """First length tried along the direction."""
    max_iter: Annotated[int, Field(ge=1)] = 20
    """Iterations of one step."""
    history: Annotated[int, Field(ge=1)] = 10
    """Pairs that approximate the curvature."""


class Rprop(Settings):
    """Resilient propagation (Riedmiller and Braun 1993): only the signs of gradients count; meant for full batches."""

    kind: Literal["rprop"]
    """Steps grow while a gradient keeps its sign, and shrink when it turns."""
    lr: Positive = 0.01
    """First step of every weight."""
    etas: Annotated[list[Positive], Field(min_length=2, max_length=2)] = [0.5, 1.2]
    """Factors to shrink and to grow."""


class Muon(Settings):
    """Muon (Jordan et al. 2024) on hidden matrices, AdamW on first layer, output layer and biases."""

    kind: Literal["muon"]
    """Orthogonalised momentum for hidden matrices, AdamW for the rest."""
    lr: Positive = 0.02
    """Learning rate of the hidden matrices."""
    momentum: Probability = 0.95
    """Share of the last step that is kept, for hidden matrices."""
    adamw_lr: Positive = 0.001
    """Learning rate of everything else; follows the same schedule."""
    weight_decay: NonNegative = 0.01
    """Decoupled decay: each step takes lr·weight_decay of every weight."""


class Custom(Settings):
    """A user's own torch Optimizer, built by `target(parameters, lr=lr, **args)`; its package must be trusted."""

    kind: Literal["custom"]
    """Your own optimizer."""
    target: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")]
    """package.module.Name of a torch.optim.Optimizer."""
    lr: Positive = 0.001
    """Learning rate."""
    args: dict[str, Any] = {}
    """Further keyword arguments."""
    weight_decay: NonNegative = 0.0
    """Decoupled decay: each step takes lr·weight_decay of every weight."""


Optimizer = Annotated[
    Descent | Momentum | Adagrad | Adadelta | RmsProp | Adam | AdamW | Lbfgs | Rprop | Muon | Custom, Field(discriminator="kind")
]
FULL_BATCH = ("gd", "lbfgs")  # optimizers that see all rows at each step
