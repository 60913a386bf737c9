"""`dnnlab predict` and `dnnlab evaluate`: a run folder and a file in, answers or figures out. torch comes in with the first of them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dnnlab.errors import ConfigError, did_you_mean, shown

if TYPE_CHECKING:
    from dnnlab.predictor import Answering

FORMS = ("auto", "csv", "parquet", "arrow", "jsonl")


@dataclass(frozen=True)
class Opening:
    """What may be done to open a run folder."""

    trusted: frozenset[str] = frozenset()  # packages that its network may be imported from
    fallback: bool = False  # take the checkpoint before a damaged one
    env: tuple[str, ...] = ()  # variables of the environment that its settings may read


def opened(run: Path, opening: Opening) -> Answering:
    """The network of a run, or those of an ensemble; that a damaged checkpoint was passed over goes to stderr."""
    from dnnlab.ensemble import open_any
    from dnnlab.files import printable

    predictor = open_any(run, opening.trusted, fallback=opening.fallback, env=opening.env)
    if predictor.passed_over:
        print(f"dnnlab: warning: a damaged checkpoint was passed over: {printable(predictor.passed_over)}", file=sys.stderr)
    return predictor


def predicted(
    run: Path,
    file: str,
    *,
    output: Path | None,
    proba: bool,
    keep: tuple[str, ...],
    strict: bool,
    raw: bool,
    form: str,
    opening: Opening,
) -> None:
    """Write the answers; what later rows had that training rows had not goes to stderr."""
    _check_form(form)
    from dnnlab.files import printable
    from dnnlab.predict import Order, predict_file, told

    notes = predict_file(opened(run, opening), Order(file, output, proba, keep, strict, raw, form))
    for line in told(notes):
        print(f"dnnlab: warning: {line}", file=sys.stderr)
    if output is not None:
        print(f"{notes.rows:,} rows answered: {printable(output)}")


def evaluated(run: Path, file: str, *, strict: bool, as_json: bool, allow_change: bool, form: str, opening: Opening) -> None:
    """Print the figures."""
    _check_form(form)
    from dnnlab.ensemble import Ensemble, evaluate
    from dnnlab.evaluate import evaluate_file, evaluate_run
    from dnnlab.files import to_json
    from dnnlab.loggers.console import number
    from dnnlab.predict import told
    from dnnlab.predictor import Predictor

    predictor = opened(run, opening)
    if file:
        figures = evaluate_file(predictor, file, form=form, strict=strict)
    elif isinstance(predictor, Predictor):
        figures = evaluate_run(predictor, run, allow_change=allow_change)
    else:
        assert isinstance(predictor, Ensemble)
        figures = evaluate(predictor, run, allow_change=allow_change)
    for line in told(predictor.notes):
        print(f"dnnlab: warning: {line}", file=sys.stderr)
    if as_json:
        print(to_json(figures))
        return
    wide = max(map(len, figures), default=0)
    for name, value in figures.items():
        print(f"{name:<{wide}}  {number(value)}")


def _check_form(form: str) -> None:
    if form not in FORMS:
        raise ConfigError(
            f"--format must be one that can be read, however: {shown(form)}", where="command line", fix=did_you_mean(form, FORMS)
        )
