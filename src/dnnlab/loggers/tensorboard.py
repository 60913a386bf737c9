"""TensorBoard's events: scalars and health, the network's graph, hyperparameters with final metrics, pictures.

Each record is one event with all its values, written at once by this process: a tenth of the cost of a SummaryWriter's scalars, no
thread, and a full disk is noticed where it happens.
"""

from __future__ import annotations

import logging
import struct
import time
import warnings
from collections.abc import Iterable, Mapping
from io import RawIOBase
from typing import TYPE_CHECKING, Any, final

from dnnlab.files import naming
from dnnlab.loggers import Beginning
from dnnlab.loggers.events import framed, scalars
from dnnlab.records import Epoch, Summary
from dnnlab.runfolder import RunFolder

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary as Values
    from torch import Tensor, nn

log = logging.getLogger(__name__)

# What the HParams page shows of a run; the same columns for every run, since the page takes them from the first one that it finds.
HPARAMS = (
    "data", "model", "model.hidden", "model.depth", "model.width", "model.norm", "model.residual", "model.bottleneck", "activation",
    "initialization", "loss", "optimizer", "optimizer.lr", "optimizer.momentum", "optimizer.weight_decay", "scheduler",
    "scheduler.warmup", "regularization.l1", "regularization.l2", "regularization.dropout", "regularization.input_noise",
    "regularization.max_norm", "regularization.clip_norm", "regularization.sparsity.keep", "trainer.epochs", "trainer.batch_size",
    "trainer.ema", "precision", "seed",
)  # fmt: skip
FIRST = ("data", "model", "optimizer", "optimizer.lr", "seed")
METRICS = ("test/accuracy", "test/loss", "test/rmse", "test/r2")


@final
class TensorBoard:
    """Writes a run's events to the folder `tensorboard` of its run folder."""

    def __init__(self, folder: RunFolder) -> None:
        self._older = sorted(folder.tensorboard.glob("*.tfevents.*")) if folder.tensorboard.is_dir() else []
        self._path = folder.events_file()
        self._file: RawIOBase | None = None

    def start(self, beginning: Beginning) -> None:
        """Open the file; write hyperparameters and graph."""
        with naming(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("xb", buffering=0)
        self._write(file_version="brain.Event:2")
        if self._older:
            self._write(restarts=True)  # a TensorBoard that is open forgets what it read
        self._write(summary=_session_start(hparams(beginning.config)))
        if beginning.model is not None and beginning.example is not None:
            self._graph(beginning.model, beginning.example)
        for record in beginning.earlier:
            self.epoch(record)
        for path in self._older:  # what they tell stands in metrics.jsonl, and now in the new file
            with naming(path):
                path.unlink(missing_ok=True)

    def epoch(self, record: Epoch) -> None:
        """Write all values of a record at its step."""
        self._scalars({**record.metrics, **record.health}, record.step)

    def finish(self, summary: Summary, pictures: Mapping[str, bytes]) -> None:
        """Write the test's metrics (train and valid have curves), pictures, and how the run ended."""
        if self._file is None:
            return
        final_metrics = {name: value for name, value in summary.metrics.items() if name.startswith("test/")}
        self._scalars(final_metrics, summary.steps)
        self._write(summary=_experiment(final_metrics), step=summary.steps)
        for name, png in pictures.items():
            self._write(summary=_picture(name, png), step=summary.steps)
        self._write(summary=_session_end(summary.status == "finished"), step=summary.steps)
        self._file.close()
        self._file = None

    def _graph(self, model: nn.Module, example: Tensor) -> None:
        """A network that cannot be drawn is a pity, not a failure."""
        from dnnlab.loggers.graph import network_graph

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                graph = network_graph(model, example)
        except Exception as error:
            log.info("The graph of the network could not be drawn: %s", error)
            return
        self._write(graph_def=graph.SerializeToString())

    def _scalars(self, values: Mapping[str, float], step: int) -> None:
        self._append(scalars(time.time(), step, values))

    def _write(
        self,
        *,
        summary: Values | None = None,
        step: int = 0,
        file_version: str | None = None,
        graph_def: bytes | None = None,
        restarts: bool = False,
    ) -> None:
        """Append one event."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        log = SessionLog(status=SessionLog.START) if restarts else None
        event = Event(wall_time=time.time(), step=step, summary=summary, file_version=file_version, graph_def=graph_def, session_log=log)
        self._append(event.SerializeToString())

    def _append(self, event: bytes) -> None:
        content = framed(event)
        if self._file is None:
            raise RuntimeError("start comes first")
        with naming(self._path, len(content)):
            self._file.write(content)


def hparams(config: Mapping[str, Any]) -> dict[str, float | str | bool]:
    """The settings that HParams shows: flat, readable, without those that are off.

    >>> hparams({"model": {"kind": "mlp", "hidden": [64, 64]}, "optimizer": {"kind": "adam", "lr": 0.001}, "seed": 0, "name": "x"})
    {'model': 'mlp', 'model.hidden': '64-64', 'optimizer': 'adam', 'optimizer.lr': 0.001, 'seed': 0}
    """
    found: dict[str, float | str | bool] = {}
    for name in HPARAMS:
        value: Any = config
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, Mapping):
            value = value.get("kind")
        if isinstance(value, list | tuple):
            value = "-".join(map(str, value))
        if value is not None:
            found[name] = value if isinstance(value, bool | int | float) else str(value)
    return found


def _session_start(settings: Mapping[str, float | str | bool]) -> Values:
    from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    info = SessionStartInfo(start_time_secs=time.time())
    for name, value in settings.items():
        kind = "bool_value" if isinstance(value, bool) else "string_value" if isinstance(value, str) else "number_value"
        setattr(info.hparams[name], kind, value)
    return _hparams_summary(SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=info))


def _session_end(well: bool) -> Values:
    from tensorboard.plugins.hparams.api_pb2 import Status
    from tensorboard.plugins.hparams.metadata import SESSION_END_INFO_TAG
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    status = Status.STATUS_SUCCESS if well else Status.STATUS_FAILURE
    info = SessionEndInfo(status=status, end_time_secs=time.time())
    return _hparams_summary(SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=info))


def _experiment(metrics: Iterable[str]) -> Values:
    """Which columns the page has; without it, every scalar of every layer's health would be one."""
    from tensorboard.plugins.hparams.api_pb2 import Experiment, HParamInfo, MetricInfo, MetricName
    from tensorboard.plugins.hparams.metadata import EXPERIMENT_TAG
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    columns = dict.fromkeys([*METRICS, *(name for name in metrics if name.startswith("test/"))])
    experiment = Experiment(
        hparam_infos=[HParamInfo(name=name, differs=name in FIRST) for name in HPARAMS],  # what differs is what the page shows at first
        metric_infos=[MetricInfo(name=MetricName(tag=name), display_name=name) for name in columns],
    )
    return _hparams_summary(EXPERIMENT_TAG, HParamsPluginData(experiment=experiment))


def _hparams_summary(tag: str, content: Any) -> Values:
    from tensorboard.compat.proto.summary_pb2 import Summary as Values
    from tensorboard.plugins.hparams.metadata import NULL_TENSOR, create_summary_metadata

    return Values(value=[Values.Value(tag=tag, metadata=create_summary_metadata(content), tensor=NULL_TENSOR)])


def _picture(name: str, png: bytes) -> Values:
    """A PNG file as it is; its header names width and height."""
    from tensorboard.compat.proto.summary_pb2 import Summary as Values

    width, height = struct.unpack(">II", png[16:24])
    image = Values.Image(width=width, height=height, colorspace=4, encoded_image_string=png)
    return Values(value=[Values.Value(tag=name, image=image)])
