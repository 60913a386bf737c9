"""metrics.jsonl while the run goes on, plots/ at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from dnnlab.loggers import Beginning
from dnnlab.records import Epoch, Summary
from dnnlab.runfolder import RunFolder
from dnnlab.tally import row_of


@final
class MetricsFile:
    """Writes each record as a row of the run folder's metrics.jsonl; the folder makes metrics.csv of them at the end."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def start(self, beginning: Beginning) -> None:
        """Nothing to write yet."""

    def epoch(self, record: Epoch) -> None:
        """Add a row: epoch, step, metrics and health; no times, so that equal runs leave equal bytes."""
        self._folder.append_metrics(row_of(record))

    def finish(self, summary: Summary, pictures: Mapping[str, bytes]) -> None:
        """Keep the pictures."""
        for name, png in pictures.items():
            self._folder.write_picture(name, png)
