"""`dnnlab resume` and `--resume-if-exists`, as typed: what goes on, what is refused, and what is said."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dnnlab import api, exactness
from dnnlab.errors import DataError
from dnnlab.runfolder import RunFolder
from tests.pages import door
from tests.support import differing, dying, newest, reseal

pytestmark = pytest.mark.usefixtures("quick_runs")
QUICK = ("trainer.epochs=3", "threads=1", "model.hidden=[4]", "activation=tanh", "trainer.checkpoint_every=1steps", "logger.progress=false",
         "regularization.dropout=0.2")  # fmt: skip
TABLE = ("data=csv", "data.path=rows.csv", "data.target=label", "logger.tensorboard=false", *QUICK)
MIDDLE = 4  # a step inside the second epoch of three


@pytest.fixture(autouse=True)
def _rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    write_rows()


def write_rows(seed: int = 2, words: tuple[str, ...] = ("no", "yes")) -> None:
    draw = random.Random(seed)
    label = [draw.choice(words) for _ in range(130)]
    x = [draw.gauss(0, 1) + (word == words[-1]) for word in label]
    pl.DataFrame({"x": x, "town": [draw.choice(["Ulm", "Bonn"]) for _ in label], "label": label}).write_csv("rows.csv")


def train(folder: str, *words: str, code: int = 0, table: tuple[str, ...] = TABLE) -> str:
    left, said = door(["dnnlab", "train", *table, *words, f"hydra.run.dir={folder}"])
    assert left == code, said
    return said


def killed(folder: str, monkeypatch: pytest.MonkeyPatch, *words: str, step: int = MIDDLE, table: tuple[str, ...] = TABLE) -> str:
    """A run that died inside its second epoch."""
    with dying(step, monkeypatch):
        door(["dnnlab", "train", *table, *words, f"hydra.run.dir={folder}"])
    return folder


def go_on(folder: str, *words: str, code: int = 0) -> str:
    left, said = door(["dnnlab", "resume", folder, *words])
    assert left == code, said
    return said


def told(folder: str) -> dict[str, Any]:
    return RunFolder.open(Path(folder)).read_run()


def everything(folder: str) -> dict[str, tuple[bytes, int]]:
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(Path(folder).rglob("*")) if path.is_file()}


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_t01_a_run_that_died_goes_on_as_if_it_had_not(monkeypatch: pytest.MonkeyPatch) -> None:
    train("whole")
    killed("broken", monkeypatch)
    said = go_on("broken")
    assert "it goes on after step 4" in said
    assert differing("broken", "whole") == []
    for folder in ("whole", "broken"):
        assert door(["dnnlab", "predict", folder, "rows.csv", "--proba", "-o", f"{folder}.csv"])[0] == 0
    assert Path("whole.csv").read_bytes() == Path("broken.csv").read_bytes()
    assert told("broken")["resumed"] == [{"step": 4, "exact": True, "why_not": [], "changed": []}]
    assert not list(Path("broken").rglob("*.tmp"))


def test_t15_that_a_process_died_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    killed("broken", monkeypatch)
    assert "the process before died without a word" in go_on("broken")
    assert "died without a word" in (Path("broken") / "train.log").read_text(encoding="utf-8")
    assert "died" not in go_on("broken", "trainer.epochs=4")


@pytest.mark.parametrize("name", ["state.safetensors", "best.safetensors", "checkpoint.json"])
def test_t17_a_damaged_checkpoint_is_named_and_the_one_before_taken_when_asked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    train("whole")
    killed("broken", monkeypatch)
    damage(newest("broken").folder / name)
    assert f"step-000000000004/{name}" in go_on("broken", code=6)
    said = go_on("broken", "--fallback")
    assert "it goes on after step 3" in said
    assert "a damaged checkpoint was passed over" in said
    assert differing("broken", "whole") == []


def test_t17_damage_everywhere_is_never_a_fresh_start(monkeypatch: pytest.MonkeyPatch) -> None:
    killed("broken", monkeypatch)
    for generation in RunFolder.open(Path("broken")).generations():
        damage(generation.folder / "state.safetensors")
    before = everything("broken")
    assert "all 2 are damaged" in go_on("broken", "--fallback", code=6)
    assert everything("broken").keys() - before.keys() <= {"broken/lock"}
    shutil.rmtree("broken/checkpoints/step-000000000003")
    shutil.rmtree("broken/checkpoints/step-000000000004")
    assert "must hold the checkpoint that run.json tells of" in go_on("broken", "--fallback", code=6)


def test_t18_a_checkpoint_of_another_network_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    killed("broken", monkeypatch)
    killed("wider", monkeypatch, "model.hidden=[5]")
    shutil.rmtree(newest("broken").folder)
    shutil.copytree(newest("wider").folder, "broken/checkpoints/step-000000000004")
    said = go_on("broken", code=6)
    assert "its model.hidden is [5] and that of config.json [4]" in said


def test_t19_a_checkpoint_of_other_classes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    killed("broken", monkeypatch)
    write_rows(words=("never", "ever"))
    said = go_on("broken", "--allow-data-change", code=6)
    assert "the classes must be those of the checkpoint, however: number 1 is 'ever', in the checkpoint 'no'" in said


def test_t21_other_settings_would_be_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    killed("broken", monkeypatch)
    before = everything("broken")
    said = go_on("broken", "optimizer.lr=0.5", "trainer.batch_size=7", code=2)
    assert "optimizer.lr is 0.5 and was 0.001" in said
    assert "trainer.batch_size is 7 and was 'auto'" in said
    assert "Did you mean optimizer.lr" in go_on("broken", "optimizer.ler=0.5", code=2)
    assert "seed has several" in go_on("broken", "seed=1,2", code=2) or "one value for each setting" in go_on("broken", "seed=1,2", code=2)
    assert everything("broken") == before


def test_t21_with_override_they_make_a_child_that_names_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    killed("broken", monkeypatch)
    before = everything("broken")
    go_on("broken", "optimizer.lr=0.5", "trainer.epochs=5", "--override")
    assert {name: of for name, of in everything("broken").items() if name != "broken/lock"} == {
        name: of for name, of in before.items() if name != "broken/lock"
    }
    (child,) = Path("outputs/mlp_csv").iterdir()
    run = told(str(child))
    assert (run["status"], run["parent"]["folder"], run["parent"]["step"]) == ("finished", "broken", 4)
    assert run["steps"] == 5 * 3
    assert RunFolder.open(child).read_config()["optimizer"]["lr"] == 0.5
    assert [row["epoch"] for row in RunFolder.open(child).read_metrics()] == [2, 3, 4, 5]


def test_t21_a_child_may_have_another_optimizer_but_not_another_network(monkeypatch: pytest.MonkeyPatch) -> None:
    killed("broken", monkeypatch)
    go_on("broken", "optimizer=sgd", "--override")
    assert "must have the shape (9, 3) that the settings ask for" in go_on("broken", "model.hidden=[9]", "--override", code=6)


def test_t22_a_run_that_is_complete_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    train("whole")
    before = everything("whole")
    assert go_on("whole").startswith("already complete: whole")
    assert everything("whole") == before


def test_t22_with_more_epochs_it_goes_on() -> None:
    train("short", "trainer.restore_best=false")
    train("long", "trainer.restore_best=false", "trainer.epochs=5")
    go_on("short", "trainer.epochs=5")
    assert set(differing("short", "long")) <= {"config.yaml"}
    assert told("short")["resumed"][0]["changed"] == ["trainer.epochs=5"]
    assert told("short")["status"] == "finished"


def test_t23_without_a_checkpoint_it_begins_at_step_0_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    train("whole", "trainer.checkpoint_every=1000epochs")
    with monkeypatch.context() as patch:
        patch.setattr("dnnlab.run._train", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        train("broken", "trainer.checkpoint_every=1000epochs", code=130)
    assert newest_or_none("broken") is None
    assert "there was no checkpoint yet: it begins at step 0" in go_on("broken")
    assert differing("broken", "whole") == []


def newest_or_none(folder: str) -> Any:
    return RunFolder.open(Path(folder)).generation()


def test_t24_two_at_once_are_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    killed("broken", monkeypatch)
    other = RunFolder.open(Path("broken"))
    other.take()
    try:
        assert "another process trains here" in go_on("broken", code=8)
    finally:
        other.close()


def test_d27_data_that_changed_are_refused_or_told(monkeypatch: pytest.MonkeyPatch) -> None:
    killed("broken", monkeypatch)
    write_rows(seed=3)
    assert "SHA-256" in go_on("broken", code=3)
    said = go_on("broken", "--allow-data-change")
    assert "not bit-exact: the data may be others (--allow-data-change)" in said
    assert told("broken")["resumed"][0]["exact"] is False


def test_t27_a_folder_goes_on_wherever_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    train("whole")
    killed("broken", monkeypatch)
    (tmp_path / "else where").mkdir()
    shutil.move("broken", "else where/moved")
    shutil.move("rows.csv", "else where/data.csv")
    monkeypatch.chdir(tmp_path / "else where")
    go_on("moved", "data.path=data.csv")
    assert set(differing("moved", "../whole")) == {"config.json", "config.yaml"}


def test_t29_what_makes_bits_differ_is_told_and_refused_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    killed("broken", monkeypatch)
    real = exactness.environment
    monkeypatch.setattr("dnnlab.continuing.environment", lambda threads, device, stacked: {**real(threads, device), "torch": "9.9"})
    before = everything("broken")
    assert "--require-exact asks for the bits of a run that was never stopped, however: torch is 9.9, was " in go_on(
        "broken", "--require-exact", code=6
    )
    assert everything("broken") == before
    assert "not bit-exact: torch is 9.9, was " in go_on("broken")


def test_t29_the_number_of_threads_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    table = tuple(word for word in TABLE if word != "threads=1")
    train("whole", "threads=2", table=table)
    killed("broken", monkeypatch, "threads=2", table=table)
    assert "not bit-exact" not in go_on("broken", "--require-exact")
    assert differing("broken", "whole") == []
    killed("fewer", monkeypatch, "threads=2", table=table)
    assert "not bit-exact: threads is 1, was 2" in go_on("fewer", "threads=1")


@pytest.mark.parametrize("tail", ['{"epoch": 2, "st', '{"epoch": 9, "step": 99, "train/loss": 1}\n', "\x00" * 4096, "no JSON at all\n"])
def test_t30_rows_after_the_checkpoint_are_done_again(tail: str, monkeypatch: pytest.MonkeyPatch) -> None:
    train("whole")
    killed("broken", monkeypatch)
    with Path("broken/metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(tail)
    go_on("broken")
    assert differing("broken", "whole") == []


def test_t30_rows_before_the_checkpoint_that_are_others_are_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    killed("broken", monkeypatch)
    damage(Path("broken/metrics.jsonl"))
    assert "metrics.jsonl" in go_on("broken", code=6)


def test_t31_damaged_events_are_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    table = tuple(word for word in TABLE if "tensorboard" not in word)
    train("whole", table=table)
    killed("broken", monkeypatch, table=table)
    (events,) = Path("broken/tensorboard").iterdir()
    events.write_bytes(events.read_bytes()[:-9])
    go_on("broken")
    assert scalars("broken") == scalars("whole")


def scalars(folder: str) -> Mapping[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(f"{folder}/tensorboard", size_guidance={"scalars": 0}).Reload()
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_t32_what_nobody_knows_in_a_folder_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    train("whole")
    killed("broken", monkeypatch)
    Path("broken/notes.txt").write_text("mine", encoding="utf-8")
    Path("broken/checkpoints/step-000000000009").mkdir()
    go_on("broken")
    assert differing("broken", "whole") == []
    assert Path("broken/notes.txt").read_text(encoding="utf-8") == "mine"


# The same command begins and continues


def test_the_same_command_begins_goes_on_and_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    train("whole", "name=nightly")
    words = ["dnnlab", "train", *TABLE, "name=nightly", "--resume-if-exists"]
    with dying(MIDDLE, monkeypatch):
        door(words)
    code, said = door(words)
    assert code == 0
    assert "it goes on after step 4" in said
    assert differing("outputs/nightly/run", "whole") == []
    before = everything("outputs")
    code, said = door(words)
    assert (code, said.startswith("already complete: outputs/nightly/run")) == (0, True)
    assert everything("outputs") == before
    code, said = door([*words, "optimizer.lr=0.5"])
    assert code == 2
    assert "optimizer.lr is 0.5 and was 0.001" in said
    assert door([*words, "trainer.epochs=4"])[0] == 0


def test_the_same_command_needs_a_name() -> None:
    code, said = door(["dnnlab", "train", *TABLE, "--resume-if-exists"])
    assert code == 2
    assert "neither name nor hydra.run.dir is given" in said


# Folds, rows in memory, references


@pytest.mark.parametrize("command", ["resume", "train"])
def test_a_cross_validation_goes_on_in_the_fold_that_died(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    train("whole", "data.folds=3")
    real = RunFolder.finish
    left = [2]

    def die(self: RunFolder, *args: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "finish", die)
        train("broken", "data.folds=3", code=130)
    assert sorted(path.name for path in Path("broken/folds").iterdir()) == ["0", "1"]
    before = everything("broken/folds/0")
    if command == "train":
        train("broken", "data.folds=3", "--resume-if-exists")
    go_on("broken")
    assert everything("broken/folds/0") == before
    for fold in range(3):
        assert differing(f"broken/folds/{fold}", f"whole/folds/{fold}") == []
    assert told("broken")["metrics"] == told("whole")["metrics"]
    assert told("broken")["spread"] == told("whole")["spread"]
    assert go_on("broken").startswith("already complete: broken")


def test_rows_in_memory_are_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"x": [float(n % 11) for n in range(130)], "y": [n % 7 + 0.5 for n in range(130)]}
    quick = (*QUICK, "logger.tensorboard=false")
    api.train(rows, *quick, target="y", folder="whole")
    with dying(MIDDLE, monkeypatch):
        api.train(rows, *quick, target="y", folder="broken")
    assert "they were in memory only" in go_on("broken", code=2)
    again = api.resume("broken", table=rows)
    assert again.metrics == told("whole")["metrics"]
    assert differing("broken", "whole") == []
    with dying(MIDDLE, monkeypatch):
        api.train(rows, *quick, target="y", folder="other")
    with pytest.raises(DataError, match="checksum"):
        api.resume("other", table={**rows, "x": [5.0, *rows["x"][1:]]})


def test_u12_a_variable_is_read_only_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATE", "0.01")
    train("whole", "optimizer.lr=0.01")
    killed("broken", monkeypatch, 'optimizer.lr="${oc.decode:${oc.env:RATE}}"')
    assert "allow it with --env RATE" in go_on("broken", code=6)
    go_on("broken", "--env", "RATE")
    assert set(differing("broken", "whole")) == {"config.json", "config.yaml"}
    monkeypatch.delenv("RATE")
    assert "RATE" in go_on("broken", "--env", "RATE", code=2)


def test_u01_settings_that_name_code_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    killed("broken", monkeypatch)
    config = json.loads(Path("broken/config.json").read_text(encoding="utf-8"))
    config["optimizer"]["_target_"] = "os.system"
    Path("broken/config.json").write_text(json.dumps(config), encoding="utf-8")
    reseal(Path("broken"))
    assert "must name no code, however: 'optimizer._target_'" in go_on("broken", code=7)
