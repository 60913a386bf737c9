"""The run folder: one run each, whole files, strict JSON, pairs that belong together."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
import torch

from dnnlab import provenance
from dnnlab.errors import ArtifactError, BusyError, ConfigError, DivergedError, ResourceError, UntrustedError
from dnnlab.files import to_json, write_atomic
from dnnlab.records import Finding, Summary
from dnnlab.runfolder import RunFolder, record_failure
from dnnlab.runfolder.sealed import sealed, unsealed
from dnnlab.runlog import logged

INSTANT = datetime(2026, 1, 2, 3, 4, 5, 678)


def fresh(root: Path) -> RunFolder:
    return RunFolder.create(root, "mlp", {})


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_t25_a_hundred_runs_of_the_same_instant_get_a_hundred_folders(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: RunFolder.create(tmp_path, "mlp", {}, now=INSTANT), range(100)))
    assert len({folder.path for folder in folders}) == 100
    assert min(folder.path for folder in folders) == tmp_path / "mlp" / "2026-01-02_03-04-05_000678"
    assert all(folder.read_run()["status"] == "running" for folder in folders)


def test_t26_a_folder_that_holds_a_run_is_busy_and_stays_as_it_is(tmp_path: Path) -> None:
    first = RunFolder.create(tmp_path, "mlp", {}, exact=tmp_path / "here")
    first.append_metrics({"epoch": 1})
    first.close()
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    with pytest.raises(BusyError, match=r"config\.json.*hydra\.run\.dir") as caught:
        RunFolder.create(tmp_path, "mlp", {}, exact=tmp_path / "here")
    assert caught.value.exit_code == 8
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


def test_of_many_that_want_one_folder_exactly_one_gets_it(tmp_path: Path) -> None:
    def claim(_: int) -> bool:
        try:
            RunFolder.create(tmp_path, "mlp", {}, exact=tmp_path / "here")
        except BusyError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(32))) == 1


def test_an_existing_folder_without_a_run_is_fine(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "notes.txt").write_text("mine")
    assert RunFolder.create(tmp_path, "mlp", {}, exact=tmp_path / "here").path == tmp_path / "here"
    assert (tmp_path / "here" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("relic", ["metrics.jsonl", "config.json"])
def test_relics_of_a_run_are_never_added_to(tmp_path: Path, relic: str) -> None:
    (tmp_path / relic).write_text("{}")
    with pytest.raises(BusyError, match=relic):
        RunFolder.create(tmp_path, "mlp", {}, exact=tmp_path)


@pytest.mark.parametrize("place", ["/", str(Path.home()), "/."])
def test_c17_the_root_and_the_home_itself_are_refused(place: str) -> None:
    with pytest.raises(ConfigError, match=r"folder of its own"):
        RunFolder.create(Path("outputs"), "mlp", {}, exact=Path(place))


def test_c17_a_folder_inside_the_data_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for exact in (data, data / "runs" / "a", data / ".." / "data" / "b"):
        with pytest.raises(ConfigError, match=r"outside the folder of the data"):
            RunFolder.create(tmp_path, "mlp", {}, exact=exact, forbid=data)
    with pytest.raises(ConfigError):
        RunFolder.create(data, "mlp", {}, forbid=data)
    assert list(data.iterdir()) == []
    RunFolder.create(tmp_path, "mlp", {}, exact=tmp_path / "data2", forbid=data)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a\nb", "a\x00b", "a\\b", "💥" * 100])
def test_c20_a_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="name"):
        RunFolder.create(tmp_path, name, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["-rf", "größe 2", 'it\'s "quoted"', "💥", "a.b", "=1"])
def test_c20_unusual_names_make_sound_folders(tmp_path: Path, name: str) -> None:
    assert RunFolder.create(tmp_path, name, {}).path.parent == tmp_path / name


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        RunFolder.create(tmp_path, "mlp", {}, exact=tmp_path / "file")
    with pytest.raises(ResourceError, match="file"):
        RunFolder.create(tmp_path, "mlp", {}, exact=tmp_path / "file" / "run")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the administrator may write everywhere")
def test_t10_no_permission_names_the_path(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ResourceError, match=str(tmp_path)):
        RunFolder.create(tmp_path, "mlp", {})


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that refuses folders")
def test_t10_a_place_that_cannot_be_written_names_the_path() -> None:
    with pytest.raises(ResourceError, match=r"/proc/self/runs") as caught:
        RunFolder.create(Path("/proc/self/runs"), "mlp", {})
    assert caught.value.exit_code == 5


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_t8_a_full_disk_names_the_path_and_the_bytes(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    (folder.path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(ResourceError, match=r"No space left on device \(13 bytes needed\).*metrics\.jsonl"):
        folder.append_metrics({"epoch": 1})
    folder.close()


def test_t10_a_folder_that_vanished_is_never_reported_as_saved(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    folder.path.rename(tmp_path / "gone")
    with pytest.raises(ResourceError, match=r"run\.json"):
        folder.finish(Summary("finished", str(folder.path), {}, epochs=1, steps=1, seconds=0.0))


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    write_atomic(path, "old")

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ResourceError, match=r"3 bytes needed"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert files(tmp_path) == {"run.json"}


def test_run_json_tells_the_whole_story(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "mlp", {"seed": 3, "hidden": (4, 4)}, written="model: mlp\n")
    command = ["train.py", "model=mlp"]
    folder.begin(seed=3, device="cpu", threads=1, command=command)
    folder.append_metrics({"epoch": 1, "step": 9, "train/loss": 0.5})
    finding = Finding("warning", "layer1 is dead", "activation=leaky_relu")
    folder.finish(Summary("finished", str(folder.path), {"test/accuracy": 0.97}, epochs=1, steps=9, seconds=1.5, findings=(finding,)))

    run = RunFolder.open(folder.path).read_run()
    assert (run["status"], run["seed"], run["device"], run["threads"], run["command"]) == ("finished", 3, "cpu", 1, command)
    assert (run["metrics"], run["epochs"], run["steps"], run["seconds"]) == ({"test/accuracy": 0.97}, 1, 9, 1.5)
    assert run["findings"] == [{"level": "warning", "text": "layer1 is dead", "remedy": "activation=leaky_relu"}]
    assert {"python", "torch", "numpy", "hydra-core"} <= run["versions"].keys()
    assert datetime.fromisoformat(run["started"]) <= datetime.fromisoformat(run["ended"])
    assert folder.read_config() == {"seed": 3, "hidden": [4, 4]}
    assert folder.config_yaml.read_text() == "model: mlp\n"
    assert files(folder.path) == {"run.json", "config.yaml", "config.json", "manifest.json", "lock", "metrics.jsonl", "metrics.csv"}


def test_a_run_that_diverged_keeps_the_reason(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    error = DivergedError("loss must be finite, however: nan", where="step 7", fix="Try optimizer.lr=0.01")
    folder.finish(Summary("diverged", str(folder.path), {}, epochs=1, steps=7, seconds=0.1), error)
    said = folder.read_run()["error"]
    assert (said["kind"], said["exit_code"], said["where"]) == ("diverged", 4, "step 7")


def test_metrics_are_strict_json_and_come_back_as_numbers(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    folder.append_metrics({"epoch": 1, "train/loss": float("nan")})
    folder.append_metrics({"epoch": 2, "train/loss": float("-inf"), "valid/loss": 0.1 + 0.2})

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    lines = (folder.path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0], parse_constant=refuse) == {"epoch": 1, "train/loss": "nan"}
    rows = folder.read_metrics()
    assert math.isnan(rows[0]["train/loss"])
    assert rows[1] == {"epoch": 2, "train/loss": float("-inf"), "valid/loss": 0.1 + 0.2}
    folder.finish(Summary("finished", "", {}, epochs=2, steps=2, seconds=0.0))
    assert (folder.path / "metrics.csv").read_text().splitlines() == [
        "epoch,step,train/loss,valid/loss", "1,,nan,", f"2,,-inf,{0.1 + 0.2!r}",
    ]  # fmt: skip


def test_a_row_can_be_read_while_the_run_goes_on(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    for epoch in range(3):
        folder.append_metrics({"epoch": epoch})
        assert len(RunFolder.open(folder.path).read_metrics()) == epoch + 1
    folder.close()


def test_t30_a_torn_last_line_is_dropped_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    path = folder.path / "metrics.jsonl"
    path.write_text('{"epoch": 1}\n{"epoch": 2, "trai')
    assert folder.read_metrics() == [{"epoch": 1}]
    path.write_text('{"epoch": 1\n{"epoch": 2}\n')
    with pytest.raises(ArtifactError, match=r"metrics\.jsonl"):
        folder.read_metrics()


def tensors(value: float) -> dict[str, torch.Tensor]:
    flat = torch.full((10,), value)  # as in training: the tensors are views of one buffer
    return {"weight": flat[:6].view(2, 3), "transposed": flat[:6].view(2, 3).T, "bias": flat[6:], "step": torch.tensor(7)}


DOCUMENT = {"epoch": 1, "settings": {"seed": 0}, "schema": {"columns": [], "classes": []}, "environment": {}, "facts": {}}


def keep(folder: RunFolder, step: int, value: float, best: float | None = None) -> None:
    """Write a generation whose tensors tell the value."""
    folder.write_checkpoint(step, tensors(value), None if best is None else tensors(best), {**DOCUMENT, "facts": {"value": value}})


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    assert folder.generation() is None
    folder.write_checkpoint(3, tensors(0.1), tensors(0.2), {**DOCUMENT, "facts": {"loss": float("inf")}})
    made = RunFolder.open(folder.path).generation()
    assert made is not None
    assert (made.step, made.document["facts"], made.has_best) == (3, {"loss": "inf"}, True)
    read = made.read_state()
    assert read.keys() == tensors(0.1).keys()
    assert all(torch.equal(read[name], tensor) and read[name].dtype == tensor.dtype for name, tensor in tensors(0.1).items())
    assert made.read_best()["bias"][0] == tensors(0.2)["bias"][0]
    assert files(folder.path / "checkpoints" / made.name) == {"best.safetensors", "checkpoint.json", "state.safetensors"}


def test_the_two_newest_checkpoints_are_kept_and_ordered_by_step(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    for step in (2, 9, 10, 100):
        keep(folder, step, float(step))
    assert [made.step for made in folder.generations()] == [100, 10]
    assert [made.read_state()["bias"][0] for made in folder.generations()] == [100, 10]


def test_a_checkpoint_tells_the_rows_that_it_saw(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    folder.append_metrics({"epoch": 1})
    keep(folder, 1, 1.0)
    folder.append_metrics({"epoch": 2})
    made = folder.generation()
    assert made is not None
    folder.close()
    with (folder.path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "tra')  # torn: its process was killed
    again = RunFolder.open(folder.path)
    again.go_on(made.document["metrics"], {})
    assert (folder.path / "metrics.jsonl").read_text() == '{"epoch": 1}\n'
    again.append_metrics({"epoch": 2})
    again.close()
    assert again.read_metrics() == [{"epoch": 1}, {"epoch": 2}]
    (folder.path / "metrics.jsonl").write_text('{"epoch": 7}\n')
    with pytest.raises(ArtifactError, match=r"metrics\.jsonl"):
        RunFolder.open(folder.path).go_on(made.document["metrics"], {})


@pytest.mark.parametrize("calls", range(40))
def test_t1_a_process_killed_at_any_instant_leaves_the_old_checkpoint_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    folder = fresh(tmp_path)
    keep(folder, 1, 1.0, best=1.0)
    keep(folder, 2, 2.0, best=2.0)
    left = [calls]

    class Killed(BaseException):
        """Stands for the kill: no handler of ours may catch it."""

    def counted(function):  # type: ignore[no-untyped-def]
        def call(*args, **kwargs):  # type: ignore[no-untyped-def]
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return function(*args, **kwargs)

        return call

    for place, name in ((os, "fsync"), (Path, "replace"), (Path, "open"), (Path, "mkdir"), (Path, "unlink"), (os, "rmdir")):
        monkeypatch.setattr(place, name, counted(getattr(place, name)))
    finished = True
    try:
        keep(folder, 3, 3.0, best=3.0)
    except Killed:
        finished = False
    monkeypatch.undo()
    folder.close()
    again = RunFolder.open(folder.path)
    made = again.generation()
    assert made is not None
    assert made.step == made.document["facts"]["value"] == made.read_state()["bias"][0] == made.read_best()["bias"][0]
    assert made.step == 3 if finished else made.step in (2, 3)
    assert len(again.generations()) >= 2  # T34: one more is always there
    again.go_on(made.document["metrics"], {})
    assert not [path for path in folder.path.rglob("*") if path.name.endswith(".tmp")]
    assert {path.name for path in (folder.path / "checkpoints").iterdir()} == {made.name for made in again.generations()}
    keep(again, 4, 4.0)  # what was left over is no obstacle
    assert next(made.step for made in again.generations()) == 4


def test_t17_t32_damaged_swapped_and_missing_files_are_told_and_passed_over_when_asked(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    keep(folder, 1, 1.0, best=1.0)
    keep(folder, 2, 2.0, best=2.0)
    newest, older = (folder.path / "checkpoints" / made.name for made in folder.generations())
    state = newest / "state.safetensors"
    sound = state.read_bytes()
    damaged = bytearray(sound)
    damaged[-1] ^= 1
    for content in (bytes(damaged), sound[:-5], b"", (older / "state.safetensors").read_bytes(), None):
        state.unlink() if content is None else state.write_bytes(content)
        made = folder.generation()
        assert made is not None
        with pytest.raises(ArtifactError, match=r"state\.safetensors") as caught:
            made.read_state()
        assert caught.value.exit_code == 6
        passed = folder.generation(fallback=True)
        assert passed is not None
        assert (passed.step, "state.safetensors" in passed.instead_of) == (1, True)
    (older / "checkpoint.json").write_text("{")
    with pytest.raises(ArtifactError, match="all 2 are damaged"):
        folder.generation(fallback=True)


def test_t32_checkpoints_that_are_gone_are_not_taken_for_a_run_without_any(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    keep(folder, 1, 1.0)
    shutil.rmtree(folder.path / "checkpoints")
    with pytest.raises(ArtifactError, match="checkpoint"):
        RunFolder.open(folder.path).generation()


def test_t08_a_full_disk_leaves_the_checkpoint_before_and_takes_the_torn_one_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fresh(tmp_path)
    keep(folder, 1, 1.0)
    left = [3]

    def full(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match=r"bytes needed") as caught:
        keep(folder, 2, 2.0)
    monkeypatch.undo()
    assert caught.value.exit_code == 5
    assert [made.step for made in folder.generations()] == [1]
    assert len(list((folder.path / "checkpoints").iterdir())) == 1


def test_t10_rows_whose_file_was_taken_away_are_not_reported_as_kept(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    folder.append_metrics({"epoch": 1})
    (folder.path / "metrics.jsonl").unlink()
    with pytest.raises(ResourceError, match=r"metrics\.jsonl"):
        keep(folder, 1, 1.0)
    folder.close()


def test_every_byte_of_a_sealed_file_counts(tmp_path: Path) -> None:
    content = sealed({"step": 3, "name": "größe", "loss": float("nan")})
    assert unsealed(content, "a.json") == {"step": 3, "name": "größe", "loss": "nan"}
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 4
        with pytest.raises(ArtifactError):
            unsealed(bytes(changed), "a.json")
        with pytest.raises(ArtifactError):
            unsealed(content[:place], "a.json")


def test_the_manifest_notices_a_file_that_is_another(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "mlp", {"seed": 1})
    other = RunFolder.create(tmp_path, "mlp", {"seed": 2})
    (folder.path / "config.json").write_bytes((other.path / "config.json").read_bytes())
    with pytest.raises(ArtifactError, match=r"hash.*config\.json"):
        RunFolder.open(folder.path).read_config()


def test_settings_are_exchanged_without_an_instant_in_which_they_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder.create(tmp_path, "mlp", {"seed": 1}, written="seed: 1")
    seen: list[object] = []
    replace = Path.replace

    def replacing(self: Path, target: Path) -> Path:
        done = replace(self, target)
        seen.append(RunFolder.open(folder.path).read_config()["seed"])
        return done

    monkeypatch.setattr(Path, "replace", replacing)
    folder.change_settings({"seed": 2}, "seed: 2")
    assert (seen[0], seen[-1]) == (1, 2)
    assert len(RunFolder.open(folder.path).read_manifest().files["config.json"]) == 1


def test_t20_a_folder_of_a_later_format_names_the_version_that_wrote_it(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    (folder.path / "manifest.json").write_bytes(sealed({"format": 2, "dnnlab": "9.0", "complete": True, "files": {}}))
    with pytest.raises(ArtifactError, match=r"format 1.*however: 2.*'9\.0'"):
        RunFolder.open(folder.path).read_config()


def test_t24_a_folder_in_which_another_process_trains_is_busy_and_free_once_it_is_dead(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code = (
        "import sys, pathlib; from dnnlab.runfolder import RunFolder; "
        f"RunFolder.create(pathlib.Path('.'), 'mlp', {{}}, exact=pathlib.Path({str(folder)!r})); print('ready', flush=True); "
        "sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        with pytest.raises(BusyError, match=f"process {child.pid} on ") as caught:
            RunFolder.open(folder).take()
        assert caught.value.exit_code == 8
        child.kill()
    again = RunFolder.open(folder)
    again.take()
    again.close()
    assert (folder / "lock").read_text() == ""


def test_u06_a_link_in_the_folder_keeps_a_run_from_going_on(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    folder.close()
    (tmp_path / "victim").write_text("mine")
    (folder.path / "train.log").symlink_to(tmp_path / "victim")
    with pytest.raises(UntrustedError, match=r"train\.log"):
        RunFolder.open(folder.path).go_on(None, {})
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_folder_without_a_run_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"config\.json"):
        RunFolder.open(tmp_path)
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(ArtifactError, match=r"seal"):
        RunFolder.open(tmp_path).read_run()


def test_a_job_that_failed_before_it_began_leaves_word(tmp_path: Path) -> None:
    error = ConfigError("must be at least 1, however: 0", where="trainer.epochs", fix="Try trainer.epochs=10")
    record_failure(tmp_path / "3", {"trainer": {"epochs": 0}}, ["trainer.epochs=0"], error)
    run = RunFolder.open(tmp_path / "3").read_run()
    assert (run["status"], run["overrides"], run["error"]["where"]) == ("failed", ["trainer.epochs=0"], "trainer.epochs")
    assert RunFolder.open(tmp_path / "3").read_config() == {"trainer": {"epochs": 0}}


def test_a_job_that_failed_after_it_began_keeps_its_facts(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "mlp", {"seed": 1}, exact=tmp_path / "0")
    folder.begin(seed=1, device="cpu", threads=1, command=[])
    folder.fail(None)
    record_failure(folder.path, None, ["seed=1"], ResourceError("out of memory"))
    run = folder.read_run()
    assert (run["status"], run["seed"], run["error"]["what"]) == ("failed", 1, "out of memory")
    assert folder.read_config() == {"seed": 1}


def test_a_job_that_diverged_is_not_told_as_another_failure(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "mlp", {}, exact=tmp_path / "0")
    error = DivergedError("training must stay finite, however: the loss is not")
    folder.finish(Summary("diverged", str(folder.path), {}, 1, 2, 0.5), error)
    record_failure(folder.path, None, ["seed=1"], error)
    run = folder.read_run()
    assert (run["status"], run["steps"], run["error"]["kind"]) == ("diverged", 2, "diverged")


def test_the_log_keeps_warnings_and_findings_and_escapes_what_data_brings(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    shown = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda *args: shown.append(str(args[0]))
        with logged(path):
            logging.getLogger("dnnlab.run").info("layer1 is dead\x1b[31m")
            logging.getLogger("elsewhere").info("chatter")
            warnings.warn("an old setting", DeprecationWarning, stacklevel=1)
        logging.getLogger("dnnlab.run").info("afterwards")
    lines = path.read_text().splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("INFO    layer1 is dead\\x1b[31m")
    assert lines[1].endswith("WARNING DeprecationWarning: an old setting")
    assert shown == ["an old setting"]


def test_the_commit_is_told_with_whether_files_differ(tmp_path: Path) -> None:
    assert provenance.commit(tmp_path / "nowhere") is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    try:
        subprocess.run([*git, "init", "-q"], check=True)
    except FileNotFoundError:
        pytest.skip("needs git")
    (tmp_path / "a.py").write_text("1")
    subprocess.run([*git, "add", "a.py"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "One"], check=True)
    clean = provenance.commit(tmp_path)
    assert clean is not None
    assert (len(str(clean["commit"])), clean["dirty"]) == (40, False)
    (tmp_path / "a.py").write_text("2")
    assert provenance.commit(tmp_path) == {**clean, "dirty": True}


def test_json_is_strict_whatever_comes() -> None:
    assert json.loads(to_json({"a": [float("inf"), None, True, Path("b")], "ü": 1})) == {"a": ["inf", None, True, "b"], "ü": 1}


def test_the_run_folder_needs_no_torch() -> None:
    code = "import sys, dnnlab.runfolder, dnnlab.runlog; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
