"""Loggers: they tell what happened, whole and cheap, and change nothing."""

from __future__ import annotations

import io
import math
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as some
from rich.console import Console
from torch import nn

from dnnlab.errors import ResourceError
from dnnlab.loggers import Beginning
from dnnlab.loggers import progress as progress_module
from dnnlab.loggers.cadence import Thinned, due, landmark
from dnnlab.loggers.console import number, result_table
from dnnlab.loggers.events import crc32c, scalars
from dnnlab.loggers.graph import network_graph
from dnnlab.loggers.metrics_file import MetricsFile
from dnnlab.loggers.progress import Progress
from dnnlab.loggers.tensorboard import HPARAMS, TensorBoard, hparams
from dnnlab.models import Style, autoencoder, feedforward
from dnnlab.records import Epoch, Finding, Summary
from dnnlab.runfolder import RunFolder
from dnnlab.seeding import Noise

CONFIG: dict[str, Any] = {
    "name": "run", "seed": 3, "model": {"kind": "mlp", "hidden": [8, 8]}, "optimizer": {"kind": "adam", "lr": 0.01},
    "regularization": {"l1": 0.0, "max_norm": None, "sparsity": {"keep": 0.5}}, "trainer": {"batch_size": "auto"},
}  # fmt: skip


def record(epoch: int, *, ends: bool = True, **more: float) -> Epoch:
    metrics = {"train/loss": 1 / epoch, "valid/loss": 2 / epoch, "lr": 0.01, **more}
    return Epoch(epoch, 10 * epoch, ends, metrics, {"health/layer1/dead": 0.25}, seconds=0.5)


def summary(**metrics: float) -> Summary:
    return Summary("finished", "outputs/run", metrics or {"test/accuracy": 0.97, "valid/loss": 0.25}, epochs=3, steps=30, seconds=1.5)


def png() -> bytes:
    """A picture of 2 by 1 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    body = zlib.compress(b"\x00" + b"\xff\x00\x00" * 2)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 8, 2, 0, 0, 0)) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


class Ear:
    """A logger that remembers what it was told."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def start(self, beginning: Beginning) -> None:
        self.heard.append("start")

    def epoch(self, record: Epoch) -> None:
        self.heard.append(record.epoch)

    def finish(self, summary: Summary, pictures: Mapping[str, bytes]) -> None:
        self.heard.append("finish")


# --- when


def test_each_of_the_first_hundred_epochs_is_due_and_round_ones_always() -> None:
    assert all(due(epoch) for epoch in range(1, 101))
    assert all(due(factor * 10**power) for power in range(2, 8) for factor in range(1, 10))


@pytest.mark.parametrize("power", [2, 3, 4])
def test_a_tenfold_has_about_180_due_epochs_that_are_never_far_apart(power: int) -> None:
    epochs = [epoch for epoch in range(10**power, 10 ** (power + 1) + 1) if due(epoch)]
    assert 165 <= len(epochs) <= 195
    assert max(later / earlier for earlier, later in pairwise(epochs)) <= 1.021


def test_landmarks_grow_as_the_logarithm() -> None:
    assert sum(landmark(epoch) for epoch in range(1, 100_001)) <= 32


@pytest.mark.parametrize(("last", "expected"), [(4, [1, 2, 3, 4]), (103, [*range(1, 101), 102, 103]), (104, [*range(1, 101), 102, 104])])
def test_the_last_record_is_passed_on_exactly_once(last: int, expected: list[int]) -> None:
    ear = Ear()
    thinned = Thinned(ear)
    thinned.start(Beginning("run", last, 10))
    for epoch in range(1, last + 1):
        thinned.epoch(record(epoch))
    thinned.finish(summary(), {})
    assert ear.heard == ["start", *expected, "finish"]


def test_every_nth_epoch_and_the_last() -> None:
    ear = Ear()
    thinned = Thinned(ear, 4)
    for epoch in range(1, 11):
        thinned.epoch(record(epoch))
    thinned.finish(summary(), {})
    assert ear.heard == [4, 8, 10, "finish"]


# --- files


def test_a_record_becomes_a_row_and_pictures_become_files(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "run", {})
    logger = MetricsFile(folder)
    logger.start(Beginning("run", 2, 10))
    logger.epoch(record(1))
    logger.epoch(record(2))
    logger.finish(summary(), {"confusion_matrix": png(), "curve/roc": png()})
    folder.finish(summary())
    expected = {"epoch": 2, "step": 20, "train/loss": 0.5, "valid/loss": 1.0, "lr": 0.01, "health/layer1/dead": 0.25}
    assert folder.read_metrics()[1] == expected
    assert (folder.path / "plots" / "confusion_matrix.png").read_bytes() == png()
    assert (folder.path / "plots" / "curve_roc.png").exists()


# --- TensorBoard


def events(folder: RunFolder) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder.tensorboard), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    return accumulator.Reload()


def logged_run(folder: RunFolder, epochs: int = 3, model: nn.Module | None = None) -> None:
    logger = TensorBoard(folder)
    logger.start(Beginning("run", epochs, 10, config=CONFIG, model=model, example=torch.zeros(2, 4)))
    for epoch in range(1, epochs + 1):
        logger.epoch(record(epoch))
    logger.finish(summary(), {"confusion_matrix": png()})


def test_tensorboard_reads_every_value_at_its_step(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "run", {})
    logged_run(folder)
    found = events(folder)
    assert {"train/loss", "valid/loss", "lr", "health/layer1/dead", "test/accuracy"} == set(found.Tags()["scalars"])
    assert [(event.step, round(event.value, 6)) for event in found.Scalars("train/loss")] == [(10, 1.0), (20, 0.5), (30, 0.333333)]
    assert [event.step for event in found.Scalars("valid/loss")] == [10, 20, 30]  # the final value does not bend the curve
    image = found.Images("confusion_matrix")[0]
    assert (image.width, image.height, image.encoded_image_string) == (2, 1, png())


def test_the_hparams_page_shows_settings_and_final_metrics(tmp_path: Path) -> None:
    from tensorboard.plugins.hparams import metadata

    folder = RunFolder.create(tmp_path, "run", {})
    logged_run(folder)
    content = events(folder).summary_metadata
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG].plugin_data.content)
    shown = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    assert shown == {
        "model": "mlp", "model.hidden": "8-8", "optimizer": "adam", "optimizer.lr": 0.01, "regularization.l1": 0.0,
        "regularization.sparsity.keep": 0.5, "trainer.batch_size": "auto", "seed": 3.0,
    }  # fmt: skip
    experiment = metadata.parse_experiment_plugin_data(content[metadata.EXPERIMENT_TAG].plugin_data.content)
    assert "test/accuracy" in [info.name.tag for info in experiment.metric_infos]
    assert [info.name for info in experiment.hparam_infos] == list(HPARAMS)
    end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG].plugin_data.content)
    assert end.status == 1  # success


def test_settings_that_are_missing_or_off_are_no_hparams() -> None:
    assert hparams({"model": None, "optimizer": {}, "trainer": {"ema": None}}) == {}


def test_a_run_that_goes_on_makes_its_events_anew_from_the_rows_that_count(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
    from tensorboard.compat.proto.event_pb2 import SessionLog

    folder = RunFolder.create(tmp_path, "run", {})
    logged_run(folder, epochs=4)
    again = TensorBoard(folder)
    again.start(Beginning("run", 3, 10, earlier=(record(1), record(2))))
    assert sorted(path.name for path in folder.tensorboard.iterdir()) == ["events.out.tfevents.0001"]
    again.epoch(record(3))
    again.finish(summary(), {})
    first = list(LegacyEventFileLoader(str(folder.tensorboard / "events.out.tfevents.0001")).Load())[1]
    assert (first.session_log.status, first.step) == (SessionLog.START, 0)  # a TensorBoard that is open forgets what it read
    assert [event.step for event in events(folder).Scalars("train/loss")] == [10, 20, 30]


def test_a_value_that_is_not_finite_is_written_as_it_is(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "run", {})
    logger = TensorBoard(folder)
    logger.start(Beginning("run", 1, 10))
    logger.epoch(record(1, **{"valid/loss": float("nan")}))
    logger.finish(summary(), {})
    assert math.isnan(events(folder).Scalars("valid/loss")[0].value)


def test_a_network_that_cannot_be_drawn_does_not_stop_a_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("only on Sundays")

    folder = RunFolder.create(tmp_path, "run", {})
    with caplog.at_level("INFO"):
        logged_run(folder, model=Odd())
    assert "only on Sundays" in caplog.text
    assert len(events(folder).Scalars("train/loss")) == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_t8_a_full_disk_is_noticed_where_it_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder.create(tmp_path, "run", {})
    logger = TensorBoard(folder)
    logger.start(Beginning("run", 1, 10))
    logger._file.close()  # type: ignore[union-attr]
    with Path("/dev/full").open("wb", buffering=0) as full:
        logger._file = full
        with pytest.raises(ResourceError, match=r"bytes needed.*tfevents"):
            logger.epoch(record(1))


# --- the graph


def style(noise: Noise) -> Style:
    return Style(nn.ReLU, noise, norm="batch", dropout=0.5, input_noise=0.1, residual=True)


def test_the_graph_follows_the_data_through_the_network() -> None:
    graph = network_graph(feedforward(4, [3, 3], 2, style(Noise(0))), torch.zeros(2, 4))
    inputs = {node.name: list(node.input) for node in graph.node}
    assert inputs["hidden1/linear/linear"] == ["rows", "hidden1/linear/weight"]
    assert inputs["hidden2/add"] == ["hidden1/activation/relu", "hidden2/block/activation/relu"]
    assert inputs["scores"] == ["output/linear/linear"]
    assert all(source in inputs for sources in inputs.values() for source in sources)
    shapes = {node.name: [dim.size for dim in node.attr["_output_shapes"].list.shape[0].dim] for node in graph.node}
    assert (shapes["rows"], shapes["hidden1/linear/weight"], shapes["scores"]) == ([2, 4], [3, 4], [2, 2])


def test_a_tied_decoder_is_drawn_from_the_encoders_weight() -> None:
    graph = network_graph(autoencoder(4, [3], 2, style(Noise(0)), tied=True), torch.zeros(2, 4))
    assert ["encoder1/linear/weight"] in [list(node.input) for node in graph.node if node.name.startswith("output")]


def test_a_function_that_torch_does_not_see_is_drawn_as_its_module() -> None:
    class Doubling(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(2 * x.numpy())

    graph = network_graph(nn.Sequential(nn.Linear(4, 3), Doubling()), torch.zeros(1, 4))
    assert [list(node.input) for node in graph.node if node.op == "Doubling"] == [["0/linear"]]
    assert list(graph.node[-1].input) == ["1/Doubling"]


def test_drawing_the_graph_changes_nothing() -> None:
    noise = Noise(0)
    network = feedforward(4, [3, 3], 2, style(noise)).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.get_rng_state()
    network_graph(network, torch.zeros(2, 4))
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


# --- the terminal


def spoken(width: int = 100, *, is_terminal: bool = False) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=width, force_terminal=is_terminal, color_system=None, highlight=False), text


def told(epochs: int, console: Console, last: int | None = None) -> None:
    progress = Progress(console)
    progress.start(Beginning("run", epochs, 100, monitor="valid/loss"))
    for epoch in range(1, (last or epochs) + 1):
        progress.epoch(record(epoch))
    progress.finish(summary(), {})


def test_where_there_is_no_terminal_lines_come_at_landmarks_and_at_the_end() -> None:
    console, text = spoken()
    told(40, console, last=32)
    lines = text.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == [f"{epoch}/40" for epoch in (1, 2, 3, 5, 7, 10, 15, 20, 30, 32)]
    assert lines[1].startswith("epoch 2/40 · train/loss 0.5000 · valid/loss 1.000 · lr 0.01 · ")
    assert lines[1].endswith(" left · 200 rows/s")


def test_the_last_line_is_not_said_twice() -> None:
    console, text = spoken()
    told(10, console)
    assert [line.split()[1] for line in text.getvalue().splitlines()].count("10/10") == 1


def test_a_slow_run_breaks_its_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 4))
    monkeypatch.setattr(progress_module, "monotonic", lambda: float(next(clock)))
    console, text = spoken()
    told(29, console)
    epochs = [int(line.split()[1].split("/")[0]) for line in text.getvalue().splitlines()]
    assert {21, 24, 27} & set(epochs)


def test_on_a_terminal_the_line_is_drawn_at_most_ten_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress_module, "monotonic", lambda: now[0])
    console, _ = spoken(is_terminal=True)
    progress = Progress(console)
    progress.start(Beginning("run", 1000, 100))
    drawn = []
    monkeypatch.setattr(Progress, "_show", lambda self, record: drawn.append(record.epoch) or setattr(self, "_drawn", now[0]))
    for epoch in range(1, 1001):
        now[0] += 0.001
        progress.epoch(record(epoch))
    progress.finish(summary(), {})
    assert 8 <= len(drawn) <= 10


def test_the_live_line_shows_where_the_run_stands_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "REFRESH", 0.0)
    console, text = spoken(width=140, is_terminal=True)
    told(3, console)
    assert "run ━" in text.getvalue()
    assert "epoch 2/3  train/loss 0.5000  valid/loss 1.000" in text.getvalue()
    assert text.getvalue().rstrip().splitlines()[-1].endswith("epoch 3/3 · train/loss 0.3333 · valid/loss 0.6667 · lr 0.01 · 200 rows/s")


def test_t6_a_closed_pipe_ends_the_talk_but_not_the_run(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from dnnlab.loggers import Beginning
from dnnlab.loggers.progress import Progress
from dnnlab.records import Epoch, Summary
sys.stdin.readline()  # until the reader is gone
progress = Progress()
progress.start(Beginning("run", 50_000, 100))
for epoch in range(1, 50_001):
    progress.epoch(Epoch(epoch, epoch, True, {{"train/loss": 0.5}}, seconds=0.1))
progress.finish(Summary("finished", "", {{}}, 1, 1, 1.0), {{}})
Path({str(tmp_path / "done")!r}).write_text("done")
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin and process.stdout and process.stderr  # noqa: PT018
    process.stdout.close()
    process.stdin.write("go\n")
    process.stdin.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 0
    assert (tmp_path / "done").exists()


def test_a_terminal_that_knows_only_ascii_is_no_obstacle() -> None:
    code = "from dnnlab.loggers.console import terminal; terminal().print('a · b ━')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "a ? b ?\n"


def test_the_result_has_a_column_for_each_part_and_the_findings_with_their_remedies() -> None:
    console, text = spoken()
    findings = (Finding("warning", "layer1 is dead [bold]\x1b[31m", "activation=leaky_relu"), Finding("note", "all is well"))
    metrics = {"test/loss": 0.25, "train/loss": 0.125, "valid/loss": 0.5, "test/accuracy": 0.9722}
    console.print(result_table(Summary("finished", "outputs/[x]", metrics, 30, 1350, 2.0, findings), "mlp", "valid/loss"))
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    assert lines[0] == "mlp finished after 30 epochs, 1,350 steps, 2.0 s"
    assert lines[1].split() == ["train", "valid", "test"]
    assert lines[2].split() == ["loss", "0.1250", "0.5000", "0.2500"]
    assert lines[3].split() == ["accuracy", "0.9722"]
    assert lines[4:] == [r"! layer1 is dead [bold]\x1b[31m  → activation=leaky_relu", "· all is well", "outputs/[x]"]


def test_figures_without_a_part_are_shown_too() -> None:
    console, text = spoken()
    console.print(result_table(summary(**{"best/epoch": 12.0, "plain": 3.0})))
    assert text.getvalue().splitlines()[1:] == ["best/epoch 12 · plain 3", "outputs/run"]


def test_the_path_of_a_run_stands_in_one_piece() -> None:
    console, text = spoken()
    path = "outputs/" + "long" * 100
    console.print(result_table(Summary("finished", path, {}, 1, 1, 1.0)), crop=False)
    assert text.getvalue().splitlines()[-1] == path


def test_numbers_are_never_longer_than_they_need() -> None:
    assert [number(value) for value in (0.0, 1e-7, 0.1, 99.99, 999.95, 12345.6, -0.5, 3e12)] == [
        "0.000", "1.000e-07", "0.1000", "99.99", "1000.", "12346", "-0.5000", "3.000e+12",
    ]  # fmt: skip


@given(
    values=some.dictionaries(some.text(min_size=1, max_size=300), some.floats(), max_size=20),
    step=some.integers(0, 2**40),
    wall=some.floats(0, 1e12),
)
def test_scalars_are_written_as_protobuf_writes_them(values: dict[str, float], step: int, wall: float) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary as Values

    assume(all(tag.encode("utf-8", "ignore").decode() == tag for tag in values) and wall > 0 and values)
    told = Values(value=[Values.Value(tag=tag, simple_value=value) for tag, value in values.items()])
    assert scalars(wall, step, values) == Event(wall_time=wall, step=step, summary=told).SerializeToString()


@given(content=some.binary(max_size=3000))
def test_the_checksum_is_tensorboards(content: bytes) -> None:
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    crc = crc32c(content)
    assert ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF == masked_crc32c(content)
