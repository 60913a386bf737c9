"""What the figures mean: from the records of a run to findings, each with the override that would mend it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import isnan

from dnnlab.records import Epoch, Finding

DEAD, SATURATED = 0.5, 0.8  # share of units, of unit-row pairs
VANISHING = 1e-3  # gradient norm of the first layer over that of the last
SMALL, LARGE = 1e-5, 0.1  # update-to-weight ratio of one step
OVERFIT = 1.2  # last validation loss over the best one


def examine(records: Iterable[Epoch]) -> tuple[Finding, ...]:
    """Look at a whole run.

    >>> sick = Epoch(5, 50, True, {"train/loss": 0.7}, {"health/hidden1/dead": 0.9})
    >>> examine([sick])[0].text
    'hidden1: 90 % of the units are dead (zero for every row that was looked at)'
    """
    history = list(records)
    told = [record.health for record in history if record.health]
    figures = [_by_figure(health) for health in told]
    layers = figures[-1] if figures else {}
    findings = [*_units(layers), *_gradients(layers), *_updates(figures), *_overfitting(history), *_standstill(history)]
    return tuple(findings)


def _by_figure(health: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """health/<layer>/<figure> -> figure -> layer -> value, layers in the order of the network."""
    figures: dict[str, dict[str, float]] = defaultdict(dict)
    for name, value in health.items():
        _, layer, figure = name.split("/")
        figures[figure][layer] = value
    return figures


def _units(layers: Mapping[str, Mapping[str, float]]) -> Iterable[Finding]:
    for layer, share in layers.get("dead", {}).items():
        if share >= DEAD:
            text = f"{layer}: {share:.0%} of the units are dead (zero for every row that was looked at)".replace("%", " %")
            yield Finding("warning", text, "Try activation=leaky_relu, a smaller optimizer.lr, or initialization=kaiming_normal")
    for layer, share in layers.get("saturated", {}).items():
        if share >= SATURATED:
            text = f"{layer}: {share:.0%} of its answers lie at the activation's bounds, where gradients vanish".replace("%", " %")
            yield Finding("warning", text, "Try initialization=xavier_uniform, a smaller optimizer.lr, or activation=relu")


def _gradients(layers: Mapping[str, Mapping[str, float]]) -> Iterable[Finding]:
    norms = layers.get("gradient_norm", {})
    if len(norms) < 3:
        return
    first, *_, last = norms
    if norms[last] > 0 and norms[first] < VANISHING * norms[last]:
        text = f"gradients vanish on the way down: {norms[last]:.1e} at {last}, {norms[first]:.1e} at {first}"
        yield Finding("warning", text, "Try activation=relu, model=deep model.norm=batch, or model.residual=true")


def _updates(history: Sequence[Mapping[str, Mapping[str, float]]]) -> Iterable[Finding]:
    """Too small only if always so: a schedule that ends at zero, or a minimum that is reached, makes the last steps small."""
    ratios_of = [[ratio for ratio in layers.get("update_ratio", {}).values() if not isnan(ratio)] for layers in history]
    ratios = ratios_of[-1] if ratios_of else []
    if ratios and max(max(told, default=0.0) for told in ratios_of) < SMALL and max(history[-1]["gradient_norm"].values()) > 0:
        yield Finding(
            "note", f"every layer moves by less than {SMALL:g} of its weights a step", "Try a larger optimizer.lr, or lr_find=true"
        )
    if ratios and min(ratios) > LARGE:
        yield Finding(
            "warning", f"every layer moves by more than {LARGE:g} of its weights a step", "Try a smaller optimizer.lr, or lr_find=true"
        )


def _overfitting(history: list[Epoch]) -> Iterable[Finding]:
    pairs = [(r.epoch, r.metrics["train/loss"], r.metrics["valid/loss"]) for r in history if "valid/loss" in r.metrics]
    if len(pairs) < 5:
        return
    epoch, _, best = min(pairs, key=lambda pair: pair[2])
    _, train, valid = pairs[-1]
    if valid > OVERFIT * best and train < valid and train <= pairs[len(pairs) // 2][1]:
        text = (
            f"overfitting: valid/loss was best in epoch {epoch} ({best:.4g}) and ended at {valid:.4g}, while train/loss fell to {train:.4g}"
        )
        yield Finding("note", text, "Try trainer.early_stopping.patience=10, regularization.dropout=0.2 or regularization.l2=1e-3")


def _standstill(history: list[Epoch]) -> Iterable[Finding]:
    losses = [record.metrics["train/loss"] for record in history if "train/loss" in record.metrics]
    if len(losses) >= 5 and losses[0] > 0 and min(losses) > 0.99 * losses[0]:
        text = f"nothing was learned: train/loss began at {losses[0]:.4g} and was never below {min(losses):.4g}"
        yield Finding("warning", text, "Try another optimizer.lr (lr_find=true), or another initialization than zeros")
