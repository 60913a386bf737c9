"""From the settings of loss, optimizer, regularization and trainer to the parts that train."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

from dnnlab import backprop, custom, losses, optimizers
from dnnlab.config.loss import Bce, CrossEntropy, Custom, Focal, Huber, Loss
from dnnlab.config.optimizer import FULL_BATCH, Adam, AdamW, Momentum, Muon, Optimizer
from dnnlab.config.optimizer import Custom as CustomOptimizer
from dnnlab.config.regularization import Regularization
from dnnlab.config.run import RunConfig
from dnnlab.errors import ConfigError
from dnnlab.flat import FlatParameters
from dnnlab.regularization import Regularizer, SparsityPlan
from dnnlab.tasks import Task

LARGE = 20_000  # training rows from which on an automatic batch is larger


def loss_kind(config: RunConfig, task: Task) -> str:
    """The loss by its name, where the settings leave it open."""
    perceptron = config.model.kind == "perceptron"
    if perceptron and not task.classifies:
        raise ConfigError(
            f"model=perceptron must stand with classes to tell apart, however: data={config.data.kind} asks for {task}",
            where="model.kind, data.kind",
            fix="Try model=linear",
        )
    if config.loss.kind != "auto":
        return config.loss.kind
    if perceptron:
        return "perceptron"
    return {Task.BINARY: "bce", Task.MULTICLASS: "cross_entropy"}.get(task, "mse")


def build_loss(settings: Loss, kind: str, target: Tensor, classes: int, dtype: torch.dtype, trusted: Collection[str]) -> losses.Loss:
    """The loss; balanced class weights are counted on the training target."""
    match settings:
        case Custom():
            return losses.CustomLoss(custom.load(settings.target, trusted, "loss.target")(**settings.args))
        case Huber():
            return losses.Huber(settings.delta)
        case Bce():
            return losses.BinaryCrossEntropy(settings.label_smoothing, _weights(settings.class_weights, target, classes, dtype))
        case CrossEntropy():
            return losses.CrossEntropy(settings.label_smoothing, _weights(settings.class_weights, target, classes, dtype))
        case Focal():
            return losses.Focal(settings.gamma, _weights(settings.class_weights, target, classes, dtype))
    return PLAIN_LOSSES[kind]()


PLAIN_LOSSES: dict[str, Callable[[], losses.Loss]] = {
    "mse": losses.SquaredError,
    "mae": losses.AbsoluteError,
    "log_cosh": losses.LogCosh,
    "bce": losses.BinaryCrossEntropy,
    "cross_entropy": losses.CrossEntropy,
    "hinge": losses.Hinge,
    "squared_hinge": lambda: losses.Hinge(power=2),
    "perceptron": losses.PerceptronCriterion,
}


def _weights(asked: list[float] | str | None, target: Tensor, classes: int, dtype: torch.dtype) -> Tensor | None:
    """A weight per class: (C,). Balanced: rows / (classes · rows of the class)."""
    if asked is None:
        return None
    if not classes:
        raise ConfigError(
            "loss.class_weights must stand with a task that has classes, however: this one answers with numbers",
            where="loss.class_weights, model.kind",
            fix="Try loss.class_weights=null",
        )
    if isinstance(asked, str):
        counts = torch.bincount(target.reshape(-1).long(), minlength=classes)
        return (len(target) / (classes * counts.clamp_min(1))).to(target.device, dtype)
    if len(asked) != classes:
        raise ConfigError(
            f"loss.class_weights must have a number for each of the {classes} classes, however: {len(asked)}",
            where="loss.class_weights",
            fix="Try loss.class_weights=balanced",
        )
    return torch.tensor(asked, dtype=dtype, device=target.device)


def row_weights(config: RunConfig, target: Tensor, classes: int) -> Tensor | None:
    """How often each training row is to be drawn, relative to the others: (N,) of float64, on the CPU; None: all once an epoch.

    target: (N,) or (N, 1); a class's weight is shared by its rows, so that the classes are drawn as often as the weights say.
    """
    asked = config.trainer.sampling
    if asked == "natural":
        return None
    _check_sampling(config, classes)
    if isinstance(asked, list) and len(asked) != classes:
        raise ConfigError(
            f"trainer.sampling must have a number for each of the {classes} classes, however: {len(asked)}",
            where="trainer.sampling, data.kind",
            fix="Try trainer.sampling=balanced",
        )
    codes = target.reshape(-1).long().cpu()
    share = torch.ones(classes, dtype=torch.float64) if isinstance(asked, str) else torch.tensor(asked, dtype=torch.float64)
    return (share / torch.bincount(codes, minlength=classes).clamp_min(1))[codes]


def _check_sampling(config: RunConfig, classes: int) -> None:
    """Refuse to draw rows where there are no classes, or where the settings say which rows come in which order."""
    trainer, asked = config.trainer, f"trainer.sampling={'balanced' if config.trainer.sampling == 'balanced' else '[…]'}"
    if not classes:
        raise ConfigError(
            f"{asked} must stand with a task that has classes, however: data={config.data.kind} is answered with numbers "
            f"by model={config.model.kind}",
            where="trainer.sampling, data.kind, model.kind",
            fix="Try trainer.sampling=natural",
        )
    if not trainer.shuffle:
        raise ConfigError(
            f"{asked} must stand with trainer.shuffle=true, however: false asks for the order of the file",
            where="trainer.sampling, trainer.shuffle",
            fix="Try trainer.shuffle=true",
        )
    whole = "trainer.batch_size" if trainer.batch_size == "full" else "optimizer.kind" if config.optimizer.kind in FULL_BATCH else ""
    if whole:
        setting = "trainer.batch_size=full" if trainer.batch_size == "full" else f"optimizer={config.optimizer.kind}"
        raise ConfigError(
            f"{asked} must stand with batches to draw, however: {setting} takes all rows at each step",
            where=f"trainer.sampling, {whole}",
            fix="Try trainer.sampling=natural with loss.class_weights=balanced, or trainer.batch_size=32 with optimizer=sgd",
        )


def batch_size(config: RunConfig, rows: int) -> int:
    """Rows of one step: those of a batch, times the batches that are accumulated."""
    asked = config.trainer.batch_size
    if asked == "full" or config.optimizer.kind in FULL_BATCH:
        return rows
    batch = (256 if rows >= LARGE else 32) if asked == "auto" else asked
    return min(rows, batch * config.trainer.accumulate)


def least_rows(config: RunConfig, network: nn.Module, size: int) -> int:
    """The rows that a batch must have at least: two (in every slice), where the network normalises over a batch's rows."""
    if not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()):
        return 1
    least = 2 * config.trainer.accumulate
    if size < least:
        raise ConfigError(
            f"batch normalisation must have at least 2 rows at a time, however: {_rows(size, config.trainer.accumulate)}",
            where="trainer.batch_size, trainer.accumulate, model.norm",
            fix="Try a larger trainer.batch_size, or model.norm=layer",
        )
    return least


def _rows(size: int, slices: int) -> str:
    """How many rows are seen at a time, for people.

    >>> _rows(1, 1), _rows(6, 4)
    ('1', '6 in 4 slices')
    """
    return str(size) if slices == 1 else f"{size} in {slices} slices"


def build_optimizer(settings: Optimizer, flat: FlatParameters, hidden: list[str], trusted: Collection[str]) -> optimizers.Optimizer:
    """The optimizer over the flat buffer; hidden: names of the matrices that Muon takes."""
    decay = getattr(settings, "weight_decay", 0.0)
    fused = flat.data.device.type in ("cpu", "cuda")
    match settings:
        case Momentum():
            return optimizers.Descent(flat, decay, settings.momentum, nesterov=settings.kind == "nesterov")
        case Adam(kind="adam") | AdamW() if fused:
            return optimizers.FusedAdam(flat, decay, settings.betas, settings.eps)
        case Muon():
            return optimizers.muon(flat, hidden, decay, settings.lr, settings.momentum, settings.adamw_lr)
        case CustomOptimizer():
            make = custom.load(settings.target, trusted, "optimizer.target")
            return optimizers.single(flat, decay, lambda leaves: make(leaves, lr=settings.lr, **settings.args))
    if settings.kind in FROM_TORCH:
        make, rename = FROM_TORCH[settings.kind]
        numbers: dict[str, Any] = {
            rename.get(name, name): value for name, value in settings.model_dump(exclude={"kind", "weight_decay"}).items()
        }
        fixed = {name: tuple(value) if isinstance(value, list) else value for name, value in numbers.items()}
        if settings.kind == "lbfgs":
            fixed["line_search_fn"] = "strong_wolfe"
        return optimizers.single(flat, decay, lambda leaves: make(leaves, **fixed))
    return optimizers.Descent(flat, decay)


# torch's class, and its names for our settings
FROM_TORCH: dict[str, tuple[Callable[..., torch.optim.Optimizer], dict[str, str]]] = {
    "adagrad": (torch.optim.Adagrad, {}),
    "adadelta": (torch.optim.Adadelta, {}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
    "nadam": (torch.optim.NAdam, {}),
    "radam": (torch.optim.RAdam, {}),
    "adamax": (torch.optim.Adamax, {}),
    "lbfgs": (torch.optim.LBFGS, {"history": "history_size"}),
    "rprop": (torch.optim.Rprop, {}),
}


def build_regularizer(settings: Regularization, total: int, per_epoch: int, ema: float) -> Regularizer:
    """Penalties, clipping and projections; ema: trainer.ema, which a sparsity limit cannot stand with."""
    sparsity = None
    if settings.sparsity.keep is not None:
        begin, end = (span.steps(total=total, per_epoch=per_epoch) for span in (settings.sparsity.begin, settings.sparsity.end))
        if end < begin:
            raise ConfigError(
                f"regularization.sparsity.end must not be before begin, however: {settings.sparsity.end} and {settings.sparsity.begin}",
                where="regularization.sparsity",
            )
        if ema:
            raise ConfigError(
                f"regularization.sparsity must stand with trainer.ema=0, however: {ema:g} (an average of sparse weights is not sparse)",
                where="regularization.sparsity.keep, trainer.ema",
                fix="Try trainer.ema=0",
            )
        sparsity = SparsityPlan(settings.sparsity.keep, begin, end, per_layer=settings.sparsity.scope == "layer")
    return Regularizer(
        l1=settings.l1,
        proximal=settings.l1_mode == "proximal",
        l2=settings.l2,
        clip_norm=settings.clip_norm,
        clip_value=settings.clip_value,
        max_norm=settings.max_norm,
        sparsity=sparsity,
    )


def build_gradients(
    config: RunConfig,
    network: nn.Module,
    loss: losses.Loss,
    flat: FlatParameters,
    autocast: torch.dtype | None,
    scale: Callable[[Tensor], Tensor] | None,
) -> backprop.Gradients:
    """Written out where that covers the network and nothing speaks against it; else by autograd."""
    asked, slices = config.trainer.gradients, config.trainer.accumulate
    plain = backprop.written_out(network, loss) if slices == 1 and autocast is None and not config.compile else None
    if asked == "written" and plain is None:
        raise ConfigError(
            "trainer.gradients=written must stand with a plain stack (linear layers, activations, dropout; no normalisation, residual "
            "connection, prelu, accumulation, autocast or compile), however: this network or its settings have more",
            where="trainer.gradients",
            fix="Try trainer.gradients=auto",
        )
    if plain is not None and asked != "autograd":
        return plain
    if config.optimizer.kind == "lbfgs" and scale is not None:
        raise ConfigError(
            "optimizer=lbfgs must stand with another precision, however: precision=fp16",
            where="optimizer.kind, precision",
            fix="Try precision=bf16",
        )
    compiled: Callable[[Tensor], Tensor] = torch.compile(network) if config.compile else network
    context = None if autocast is None else torch.autocast("cuda", dtype=autocast)
    return backprop.Autograd(compiled, loss, flat, slices=slices, autocast=context, scale=scale or (lambda value: value))
