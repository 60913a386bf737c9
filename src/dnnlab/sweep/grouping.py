"""Which jobs of a sweep can be one stack: those whose settings differ only in what a stack lets differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dnnlab.config.request import Request
from dnnlab.config.run import RunConfig
from dnnlab.crossval import is_asked
from dnnlab.resume import different

MAY_DIFFER = (
    "name", "seed", "threads", "data.fold", "data.split_seed", "initialization", "scheduler", "loss.label_smoothing", "loss.delta",
    "loss.gamma", "loss.class_weights", "optimizer.lr", "optimizer.weight_decay", "regularization.l1", "regularization.l1_mode",
    "regularization.l2", "regularization.dropout", "regularization.input_dropout", "regularization.input_noise",
    "regularization.max_norm", "regularization.clip_norm", "regularization.clip_value", "regularization.sparsity", "trainer.ema",
    "trainer.early_stopping", "trainer.stop_at", "trainer.restore_best", "trainer.gradient_limit", "logger.tensorboard",
    "logger.progress", "logger.pictures", "seeds", "ensemble", "sweep",
)  # fmt: skip
"""Settings, and whole groups of them, that the members of one stack need not share."""

OF_RULE = {
    "momentum": ("optimizer.momentum",),
    "nesterov": ("optimizer.momentum",),
    "adam": ("optimizer.betas", "optimizer.eps"),
    "adamw": ("optimizer.betas", "optimizer.eps"),
}
"""What may differ, too, where the rule's steps allow it."""

ALONE = {
    "lbfgs": "its line search evaluates the loss as often as it needs",
    "rprop": "its steps are not proportional to the rate",
    "muon": "it orthogonalises each matrix by itself",
    "custom": "what a rule of your own does is not known",
}
"""Optimizers that a stack cannot have."""


@dataclass(frozen=True)
class Group:
    """Jobs that train as one stack; a single one says why it stands alone."""

    jobs: tuple[int, ...]  # their numbers
    reason: str = ""


def groups(requests: Mapping[int, Request]) -> list[Group]:
    """The groups of a sweep, in the order of their first jobs."""
    together: dict[str, list[int]] = {}
    alone: dict[int, str] = {}
    for number, request in requests.items():
        reason = stands_alone(request.config)
        if reason:
            alone[number] = reason
        else:
            together.setdefault(shared_settings(request.config), []).append(number)
    found = [Group((number,), reason) for number, reason in alone.items()]
    for numbers in together.values():
        found.append(Group(tuple(numbers), _why_single(numbers[0], together) if len(numbers) == 1 else ""))
    return sorted(found, key=lambda group: group.jobs[0])


def stands_alone(config: RunConfig) -> str:
    """Why a run cannot be a member of any stack; '' where it can."""
    if config.lr_find:
        return "lr_find searches a rate instead of training"
    if is_asked(config.data):
        return "it is a cross-validation, whose folds are runs of their own"
    if config.optimizer.kind in ALONE:
        return f"optimizer={config.optimizer.kind}: {ALONE[config.optimizer.kind]}"
    if config.loss.kind == "custom":
        return "loss=custom: a loss of your own takes the scores of one model"
    if config.compile:
        return "compile=true translates one network"
    if config.precision in ("bf16", "fp16"):
        return f"precision={config.precision} computes one network in mixed precision"
    if config.trainer.accumulate > 1:
        return "trainer.accumulate passes a batch in slices"
    return ""


def shared_settings(config: RunConfig) -> str:
    """The settings that all members of a stack have in common, as JSON."""
    document = config.model_dump(mode="json")
    for name in (*MAY_DIFFER, *OF_RULE.get(config.optimizer.kind, ())):
        *path, last = name.split(".")
        place: Any = document
        for part in path:
            place = place.get(part, {})
        place.pop(last, None)
    return json.dumps(document, sort_keys=True)


def _why_single(number: int, together: Mapping[str, Sequence[int]]) -> str:
    """What sets a job apart from the one that is most like it."""
    own = next(text for text, numbers in together.items() if number in numbers)
    others = [different(json.loads(own), json.loads(text)) for text in together if text != own]
    if not others:
        return "there is no other job"
    nearest = min(others, key=len)
    return f"no other job has its {' and '.join(nearest[:3])}{' and more' if len(nearest) > 3 else ''}"
