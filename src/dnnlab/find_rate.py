"""`lr_find=true`: the range test on a run's own parts, its curve as a picture, its suggestion on the screen."""

from __future__ import annotations

from functools import partial
from time import monotonic

from dnnlab.assembly import assemble
from dnnlab.build.device import threads
from dnnlab.build.rows import data_folder
from dnnlab.config.optimizer import FULL_BATCH
from dnnlab.config.request import Request
from dnnlab.errors import ConfigError
from dnnlab.loggers.console import result_table, terminal
from dnnlab.lr_finder import range_test
from dnnlab.records import Finding, Summary
from dnnlab.runfolder import RunFolder


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
    folder = RunFolder.create(request.root, config.name, exact=request.folder, forbid=data_folder(config))
    device, count = str(parts.ingredients.device), parts.ingredients.threads
    folder.begin(request.written, request.document, seed=config.seed, device=device, threads=count, command=request.argv)
    asked = config.lr_range
    test = partial(range_test, parts.learner, parts.trainer.batches, asked.low, asked.high, asked.steps, config.seed)
    with threads(count):
        seen = test()
    for step, (rate, loss) in enumerate(zip(seen.rates, seen.losses, strict=True), start=1):
        folder.append_metrics({"step": step, "lr": rate, "train/loss": loss})
    from dnnlab import plots

    path = folder.write_picture("lr_find", plots.rate_range(seen.rates, seen.smooth, seen.suggestion))
    finding = Finding(
        "note", f"the loss falls fastest at a rate of {seen.suggestion:.3g}; curve: {path}", f"Try optimizer.lr={seen.suggestion:.2g}"
    )
    summary = Summary(
        "finished", str(folder.path), {"lr_find/suggestion": seen.suggestion}, 0, len(seen.rates), monotonic() - began, (finding,)
    )
    folder.finish(summary)
    terminal().print(result_table(summary, config.name), crop=False)
    return summary
