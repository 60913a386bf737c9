"""`lr_find=true`: the range test on a run's own parts, its curve as a picture, its suggestion on the screen."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from time import monotonic

from dnnlab import plots
from dnnlab.assembly import assemble
from dnnlab.build.device import threads
from dnnlab.build.rows import data_folder
from dnnlab.config.optimizer import FULL_BATCH
from dnnlab.config.request import Request
from dnnlab.errors import ConfigError
from dnnlab.loggers.console import result_table, terminal
from dnnlab.lr_finder import RangeTest, range_test
from dnnlab.records import Finding, Summary
from dnnlab.runfolder import RunFolder, telling
from dnnlab.runlog import logged


def find_rate(request: Request) -> Summary:
    """Test the rates of `lr_range`; leaves a run folder with plots/lr_find.png and the suggestion in run.json."""
    config = request.config
    if config.optimizer.kind in FULL_BATCH:
        raise ConfigError(
            f"lr_find needs an optimizer that takes batches, however: optimizer={config.optimizer.kind}",
            where="lr_find, optimizer.kind",
            fix="Try optimizer=sgd",
        )
    began = monotonic()
    parts = assemble(config, request.trusted)
    folder = RunFolder.create(
        request.root, config.name, request.document, written=request.written, exact=request.folder, forbid=data_folder(config)
    )
    device, count = str(parts.ingredients.device), parts.ingredients.threads
    with logged(folder.log), threads(count), telling(folder):
        folder.begin(seed=config.seed, device=device, threads=count, command=request.argv)
        asked = config.lr_range
        weights = parts.trainer.course.weights
        seen = range_test(parts.learner, parts.trainer.batches, asked.low, asked.high, asked.steps, config.seed, weights)
        for step, (rate, loss) in enumerate(zip(seen.rates, seen.losses, strict=True), start=1):
            folder.append_metrics({"step": step, "lr": rate, "train/loss": loss})
        path = folder.write_picture("lr_find", plots.rate_range(seen.rates, seen.smooth, seen.suggestion))
        metrics = {"lr_find/suggestion": seen.suggestion}
        summary = Summary("finished", str(folder.path), metrics, 0, len(seen.rates), monotonic() - began, (_finding(seen, path),))
        folder.finish(summary)
    terminal().print(result_table(summary, config.name), crop=False)
    return summary


def _finding(seen: RangeTest, path: Path) -> Finding:
    if isnan(seen.suggestion):
        return Finding("warning", f"the loss exploded at once, so no rate can be suggested; curve: {path}", "Try lr_range.low=1e-8")
    text = f"the loss falls fastest at a rate of {seen.suggestion:.3g}; curve: {path}"
    return Finding("note", text, f"Try optimizer.lr={seen.suggestion:.2g}")
