"""One run from settings to folder: what it leaves, what it does when numbers, memory or people get in its way."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dnnlab.app import train
from dnnlab.assembly import assemble
from dnnlab.config.request import Request
from dnnlab.errors import BusyError, ConfigError, DivergedError, ResourceError
from dnnlab.records import Summary
from dnnlab.runfolder import RunFolder
from tests.support import last_state, newest, parts, settings
from tests.test_data import idx_bytes

QUIET = {"logger": {"tensorboard": False, "progress": False, "pictures": True}}


def run(root: Path, changes: dict[str, Any] | None = None, folder: Path | None = None) -> Summary:
    config = settings({**QUIET, **(changes or {})})
    return train(Request(config, "name: test\n", config.model_dump(mode="json"), root=root, folder=folder, brief=True))


def only_run(root: Path) -> Path:
    (found,) = (root / "test").iterdir()
    return found


def test_a_run_leaves_a_complete_folder(tmp_path: Path) -> None:
    summary = run(tmp_path, {"logger": {"progress": False, "pictures": True}})
    folder = Path(summary.folder)
    assert summary.status == "finished"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names >= {
        "config.yaml", "config.json", "run.json", "schema.json", "manifest.json", "metrics.jsonl", "metrics.csv", "train.log",
        "checkpoints/encoder.json", "checkpoints/encoder.safetensors", "checkpoints/step-000000000015/checkpoint.json",
        "checkpoints/step-000000000015/best.safetensors", "checkpoints/step-000000000015/state.safetensors",
        "tensorboard/events.out.tfevents.0000", "plots/learning_curves.png", "plots/confusion_matrix.png",
    }  # fmt: skip
    told = json.loads((folder / "run.json").read_text())
    assert told["status"] == "finished"
    assert {"seed", "device", "threads", "versions", "git", "seconds", "metrics", "choices"} <= told.keys()
    assert {"train/loss", "valid/loss", "valid/accuracy", "test/accuracy", "test/roc_auc"} <= told["metrics"].keys()
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert {"train/loss", "valid/loss", "valid/accuracy", "lr", "health/hidden1/gradient_norm"} <= rows[0].keys()


def test_rows_of_equal_runs_are_equal_bytes(tmp_path: Path) -> None:
    one, other = (Path(run(tmp_path, {"regularization": {"dropout": 0.2}}).folder) for _ in range(2))
    last = "checkpoints/step-000000000015"
    for name in (
        "metrics.jsonl",
        "metrics.csv",
        "checkpoints/encoder.safetensors",
        f"{last}/best.safetensors",
        f"{last}/state.safetensors",
    ):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_the_best_state_is_the_one_that_is_measured_and_saved(tmp_path: Path) -> None:
    changes = {
        "trainer": {"epochs": 40, "batch_size": 8},
        "optimizer": {"kind": "adam", "lr": 0.05},
        "data": {"kind": "moons", "rows": 60, "noise": 0.5},
    }
    folder = Path(run(tmp_path, changes).folder)
    told = json.loads((folder / "run.json").read_text())["metrics"]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    best = min(rows, key=lambda row: row["valid/loss"])
    assert best["epoch"] < 40, "the data should make this run overfit"
    assert told["best/epoch"] == best["epoch"]
    assert told["valid/loss"] == pytest.approx(best["valid/loss"], rel=1e-6)
    saved = newest(folder).read_best()
    fresh = assemble(settings(changes))
    fresh.learner.load_weights(saved)
    assert fresh.rows.valid is not None
    assert fresh.judge(fresh.rows.valid, ())["loss"] == pytest.approx(told["valid/loss"], rel=1e-6)


def test_last_checkpoint_continues_the_run(tmp_path: Path) -> None:
    half = newest(run(tmp_path, {"trainer.epochs": 2}).folder)
    tensors, facts = half.read_state(), half.document["facts"]
    resumed, whole = parts({"trainer.epochs": 4}), parts({"trainer.epochs": 4})
    resumed.learner.load(tensors, facts["learner"])
    resumed.trainer.load(tensors, facts["trainer"])
    list(resumed.trainer), list(whole.trainer)
    assert torch.equal(resumed.learner.flat.data, whole.learner.flat.data)


def test_early_stopping_waits_for_its_patience(tmp_path: Path) -> None:
    changes = {"trainer": {"epochs": 200, "batch_size": 8, "early_stopping": {"patience": 3}}, "optimizer": {"kind": "adam", "lr": 0.05},
               "data": {"kind": "moons", "rows": 60, "noise": 0.5}}  # fmt: skip
    summary = run(tmp_path, changes)
    assert summary.epochs < 200
    assert summary.epochs == summary.metrics["best/epoch"] + 3
    assert summary.findings[0].text.startswith("stopped early: valid/loss has not improved for 3 validations")


def test_stop_at_ends_a_run_at_the_value_asked_for(tmp_path: Path) -> None:
    summary = run(
        tmp_path,
        {
            "trainer": {"epochs": 500, "batch_size": 16, "stop_at": {"metric": "train/accuracy", "value": 0.97}},
            "optimizer": {"kind": "adam", "lr": 0.02},
        },
    )
    rows = RunFolder(Path(summary.folder)).read_metrics()
    assert summary.epochs < 500
    assert rows[-1]["train/accuracy"] >= 0.97
    assert all(row["train/accuracy"] < 0.97 for row in rows[:-1])


def test_the_log_tells_how_a_run_ended_and_what_was_found(tmp_path: Path) -> None:
    summary = run(tmp_path, {"initialization": {"kind": "zeros"}, "trainer": {"epochs": 6}})
    assert summary.findings
    told = (Path(summary.folder) / "train.log").read_text()
    assert "finished after 6 epochs" in told
    assert all(finding.text in told for finding in summary.findings)


def test_t11_a_loss_that_is_not_finite_stops_before_the_optimizer_moves(tmp_path: Path) -> None:
    changes = {"optimizer": {"kind": "sgd", "lr": 1e30}, "data": {"kind": "friedman", "rows": 200}, "activation": {"kind": "relu"}}
    with pytest.raises(DivergedError) as caught:
        run(tmp_path, changes)
    assert caught.value.exit_code == 4
    assert "at step 2 (epoch 1)" in caught.value.what
    assert "data rows" in caught.value.where
    folder = RunFolder(only_run(tmp_path))
    told = folder.read_run()
    assert (told["status"], told["steps"]) == ("diverged", 1)
    made = newest(folder.path)
    for tensors in (made.read_state(), made.read_best()):
        assert all(tensor.isfinite().all() for tensor in tensors.values())


@pytest.mark.parametrize("gradients", ["written", "autograd"])
def test_t13_a_gradient_beyond_its_limit_ends_a_run_before_the_step(gradients: str, tmp_path: Path) -> None:
    changes = {"data": {"kind": "friedman", "rows": 200}, "optimizer": {"kind": "sgd", "lr": 0.5}, "trainer.gradients": gradients}
    norms = [row["health/output/gradient_norm"] for row in RunFolder(Path(run(tmp_path / "free", changes).folder)).read_metrics()]
    with pytest.raises(DivergedError, match=r"the gradient's norm is .*, above trainer\.gradient_limit=0\.05") as caught:
        run(tmp_path, {**changes, "trainer.gradient_limit": 0.05})
    assert min(norms) > 0.05
    assert "at step 1 (epoch 1)" in caught.value.what
    assert newest(only_run(tmp_path)).step == 0


def test_t13_a_limit_that_is_never_reached_changes_no_bit(tmp_path: Path) -> None:
    free, limited = (run(tmp_path, {"trainer.gradient_limit": limit}) for limit in (None, 1e6))
    one, other = (Path(summary.folder, "metrics.jsonl").read_bytes() for summary in (free, limited))
    assert one == other


def test_t11_the_kept_state_is_that_of_the_last_good_step(tmp_path: Path) -> None:
    changes = {"optimizer": {"kind": "sgd", "lr": 1e30}, "data": {"kind": "friedman", "rows": 200}, "activation": {"kind": "relu"}}
    with pytest.raises(DivergedError):
        run(tmp_path, changes)
    tensors = last_state(only_run(tmp_path))
    by_hand = assemble(settings(changes))
    x, target = next(by_hand.trainer.batches(by_hand.trainer.order()))
    by_hand.learner.step(x, target, 0, 1e30, torch.zeros(()))
    assert torch.equal(by_hand.learner.flat.view("hidden1.linear.weight"), tensors["model.hidden1.linear.weight"])


def test_t12_a_metric_that_is_not_a_number_is_never_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dnnlab.assembly as assembly

    seen: list[float] = []

    def faulty(*args: Any) -> dict[str, float]:
        told = measure(*args)
        seen.append(told["valid/loss"])
        return told | {"valid/loss": math.nan} if len(seen) in (2, 3) else told

    measure = assembly._measure
    monkeypatch.setattr(assembly, "_measure", faulty)
    summary = run(tmp_path, {"trainer.epochs": 4, "optimizer": {"kind": "adam", "lr": 0.001}})
    assert summary.metrics["best/nans"] == 2
    assert summary.metrics["best/epoch"] in (1, 4)


@pytest.mark.slow
def test_t14_memory_that_runs_out_is_told_with_the_batch_size(tmp_path: Path) -> None:
    code = f"""
import resource, sys
from pathlib import Path
from tests.test_run import run
from dnnlab.errors import ResourceError
import torch, torchmetrics
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
try:
    trainer = {{"epochs": 1, "batch_size": "full"}}
    run(Path({str(tmp_path)!r}), {{"model.hidden": [4096, 64], "data": {{"kind": "moons", "rows": 400000}}, "trainer": trainer}})
except ResourceError as error:
    print(error.exit_code, error.where)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.stdout.strip() == "5 trainer.batch_size=full, model=mlp", done.stderr[-2000:]


def test_t25_runs_of_one_instant_have_folders_of_their_own(tmp_path: Path) -> None:
    assert len({run(tmp_path, {"trainer.epochs": 1}).folder for _ in range(3)}) == 3


def test_t26_a_folder_with_a_run_is_never_written_to(tmp_path: Path) -> None:
    run(tmp_path, folder=tmp_path / "mine")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "mine").rglob("*")}
    with pytest.raises(BusyError) as caught:
        run(tmp_path, folder=tmp_path / "mine")
    assert caught.value.exit_code == 8
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "mine").rglob("*")} == before


def test_c13_a_network_beyond_all_memory_is_refused_before_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="GiB to train") as caught:
        run(tmp_path, {"model": {"kind": "mlp", "hidden": [1_000_000, 1_000_000]}})
    assert "hidden2.linear.weight" in caught.value.what
    assert not list(tmp_path.iterdir())


def test_c17_no_run_is_written_into_the_data(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name, rows in (("train", 30), ("t10k", 10)):
        for part, array in (("images-idx3", np.zeros((rows, 2, 2))), ("labels-idx1", np.arange(rows) % 3)):
            (tmp_path / "data" / f"{name}-{part}-ubyte").write_bytes(idx_bytes(array))
    changes = {"data": {"kind": "idx", "root": str(tmp_path / "data"), "stratify": False}, "trainer.epochs": 1}
    with pytest.raises(ConfigError, match="outside the folder of the data"):
        run(tmp_path, changes, folder=tmp_path / "data" / "run")


def test_c18_an_absent_device_is_an_error() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(ConfigError, match="present: cpu"):
        parts({"device": "cuda"})


@pytest.mark.parametrize("loss", ["auto", "mse", "perceptron"])
def test_a_perceptron_answers_with_classes(loss: str) -> None:
    with pytest.raises(ConfigError, match="model=perceptron must stand with classes to tell apart, however: data=diabetes") as caught:
        parts({"model": {"kind": "perceptron"}, "data": {"kind": "diabetes"}, "loss": {"kind": loss}})
    assert caught.value.where == "model.kind, data.kind"


def test_a_run_that_is_interrupted_outside_of_training_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dnnlab.pictures.draw", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    folder = RunFolder.open(only_run(tmp_path))
    assert folder.read_run()["status"] == "interrupted"
    assert (folder.path / "metrics.csv").is_file()


def test_a_full_disk_is_told_by_its_first_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **words: object) -> None:
        raise ResourceError("must have room", where="first")

    monkeypatch.setattr(RunFolder, "append_metrics", full)
    monkeypatch.setattr(RunFolder, "status", lambda *arguments: full() if "failed" in arguments else None)
    with pytest.raises(ResourceError) as caught:
        run(tmp_path)
    assert caught.value.__context__ is None  # nothing hides it


def test_bce_on_a_reconstruction_names_the_scale() -> None:
    with pytest.raises(ConfigError, match="standardise"):
        parts({"model": {"kind": "autoencoder"}, "loss": {"kind": "bce"}})


def test_range_test_leaves_a_curve_and_a_suggestion(tmp_path: Path) -> None:
    summary = run(tmp_path, {"lr_find": True})
    assert 1e-6 < summary.metrics["lr_find/suggestion"] < 10
    assert (Path(summary.folder) / "plots" / "lr_find.png").read_bytes()[:4] == b"\x89PNG"
    assert "optimizer.lr=" in summary.findings[0].remedy


@pytest.mark.slow
def test_an_interrupted_run_keeps_its_state(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from tests.test_run import run
print(run(Path({str(tmp_path)!r}), {{"trainer.epochs": 1000000, "logger": {{"tensorboard": False, "progress": False, "every": 1}}}}).status)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    rows = tmp_path / "test"
    while process.poll() is None and not any(path.stat().st_size for path in rows.glob("*/metrics.jsonl")):
        pass  # until it trains
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert output.splitlines()[-1] == "interrupted"
    folder = RunFolder(only_run(tmp_path))
    assert folder.read_run()["status"] == "interrupted"
    assert newest(folder.path).step == folder.read_run()["steps"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, on importing its compiler
def test_compiled_networks_train_like_others(tmp_path: Path) -> None:
    plain, compiled = (run(tmp_path, {"compile": on, "trainer.epochs": 2, "precision": "float64"}) for on in (False, True))
    assert compiled.metrics["test/loss"] == pytest.approx(plain.metrics["test/loss"], rel=1e-6)


def test_memory_errors_of_python_are_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(request: Request) -> Summary:
        raise MemoryError

    monkeypatch.setattr("dnnlab.app.run", out_of_memory)
    with pytest.raises(ResourceError):
        run(tmp_path)


def test_two_classes_have_the_same_figures_under_bce_and_cross_entropy() -> None:
    from dnnlab import metrics
    from dnnlab.tasks import Answer, Task

    scores, codes = torch.randn(50, 2, dtype=torch.float64), torch.arange(50) % 2
    names = metrics.fitting(Task.BINARY)
    two = metrics.figures(Answer(Task.MULTICLASS, "softmax"), scores, codes, names)
    one = metrics.figures(Answer(Task.BINARY, "sigmoid"), scores[:, 1:] - scores[:, :1], codes.double().unsqueeze(1), names)
    assert two == pytest.approx(one)


@pytest.mark.parametrize("weights", [[1.0, 3.0], "balanced"])
def test_two_classes_take_two_weights(weights: Any) -> None:
    made = parts({"loss": {"kind": "bce", "class_weights": weights}})
    list(made.trainer)
    with pytest.raises(ConfigError, match="each of the 2 classes"):
        parts({"loss": {"kind": "bce", "class_weights": [1.0, 1.0, 1.0]}})


def test_class_weights_of_a_reconstruction_are_refused() -> None:
    changes = {"model": {"kind": "autoencoder"}, "data": {"kind": "moons", "rows": 50, "scale": "minmax"}}
    with pytest.raises(ConfigError, match="task that has classes"):
        parts(changes | {"loss": {"kind": "bce", "class_weights": "balanced"}})


def test_d24_batch_normalisation_never_sees_a_single_row() -> None:
    deep = {"model": {"kind": "deep", "depth": 2, "width": 4}}
    made = parts(deep | {"trainer": {"epochs": 1, "batch_size": 143}})  # 144 rows: the last would be alone
    assert [record.step for record in made.trainer] == [1]
    with pytest.raises(ConfigError, match="at least 2 rows"):
        parts(deep | {"trainer.batch_size": 1})
    sliced = parts(deep | {"trainer": {"epochs": 1, "batch_size": 11, "accumulate": 4}})
    assert len(list(sliced.trainer)) == 1


def test_sparsity_and_averaged_weights_do_not_stand_together() -> None:
    with pytest.raises(ConfigError, match="average of sparse weights"):
        parts({"regularization": {"sparsity": {"keep": 0.5}}, "trainer.ema": 0.9})
