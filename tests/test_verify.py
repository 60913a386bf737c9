"""`dnnlab verify`: a sound folder has no fault; whatever is damaged, gone or claimed wrongly is found and named."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dnnlab.errors import ArtifactError, DnnlabError, ResourceError, UntrustedError
from dnnlab.files import write_atomic
from dnnlab.loggers.events import fault, framed
from dnnlab.runfolder import RunFolder
from dnnlab.verify import verify
from tests.pages import door
from tests.support import dying, newest, reseal

pytestmark = pytest.mark.usefixtures("quick_runs")
QUICK = ("trainer.epochs=2", "threads=1", "model.hidden=[4]", "activation=tanh", "trainer.checkpoint_every=1epoch", "logger.progress=false",
         "optimizer.lr=0.05")  # fmt: skip
TABLE = ("data=csv", "data.path=rows.csv", "data.target=label", *QUICK)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run and its rows."""
    place = tmp_path_factory.mktemp("verify")
    draw = random.Random(2)
    label = [draw.choice(["no", "yes"]) for _ in range(90)]
    pl.DataFrame({"x": [draw.gauss(0, 1) + (word == "yes") for word in label], "label": label}).write_csv(place / "rows.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert door(["dnnlab", "train", *TABLE, "hydra.run.dir=run"])[0] == 0
        assert door(["dnnlab", "train", *TABLE, "data.folds=2", "logger.tensorboard=false", "hydra.run.dir=folds"])[0] == 0
    return place


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of both to do things to."""
    shutil.copytree(trained, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return Path("run")


def integrity() -> list[str]:
    """Every file whose bytes count."""
    return [
        "config.json", "config.yaml", "schema.json", "run.json", "manifest.json", "metrics.jsonl", "metrics.csv", "train.log",
        "plots/picture.png", "checkpoints/encoder.json", "checkpoints/encoder.safetensors", "checkpoints/step-000000000004/checkpoint.json",
        "checkpoints/step-000000000004/state.safetensors", "checkpoints/step-000000000004/best.safetensors",
        "checkpoints/step-000000000002/state.safetensors",
    ]  # fmt: skip


def test_a_sound_folder_has_no_fault(run: Path) -> None:
    found = verify(run)
    assert (found.faults, found.notes) == ((), ())
    assert found.files > 15
    assert found.figures >= 10
    assert {*RunFolder.open(run).files(), "manifest.json"} >= set(integrity())


@pytest.mark.parametrize("name", integrity())
def test_a_bit_a_byte_and_a_file_that_are_missing_are_found(run: Path, name: str) -> None:
    whole = (run / name).read_bytes()
    for place in (0, len(whole) // 3, len(whole) - 1):
        (run / name).write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        assert any(name in said for said in verify(run, files_only=True).faults), place
    (run / name).write_bytes(whole[:-1])
    assert any(name in said for said in verify(run, files_only=True).faults)
    (run / name).unlink()
    if name == "config.json":
        with pytest.raises(DnnlabError, match=r"config\.json"):
            load_or_verify(run)
        return
    assert any(name in said for said in verify(run, files_only=True).faults)


def load_or_verify(run: Path) -> None:
    found = verify(run, files_only=True)
    if found.faults:
        raise ArtifactError(found.faults[0])


def forge(run: Path, name: str, change: Callable[[Any], None]) -> None:
    """Change a JSON file, and make all hashes fit."""
    document = json.loads((run / name).read_text(encoding="utf-8"))
    change(document)
    (run / name).write_text(json.dumps(document), encoding="utf-8")
    reseal(run)


def test_u19_a_figure_that_is_claimed_is_measured_again(run: Path) -> None:
    """Hashes that were made to fit do not help: the network is asked."""
    forge(run, "run.json", lambda document: document["metrics"].update({"test/accuracy": 0.999}))
    (said,) = verify(run).faults
    assert "test/accuracy must be 0.999, as run.json says" in said
    assert verify(run, files_only=True).faults == ()


def test_u19_a_digest_told_by_another_way_shows_a_forgery(run: Path) -> None:
    digest = verify(run, files_only=True).digest
    assert door(["dnnlab", "verify", "run", "--digest", digest])[0] == 0
    forge(run, "run.json", lambda document: document.update({"seed": 7}))
    code, said = door(["dnnlab", "verify", "run", "--files-only", "--digest", digest])
    assert code == 6
    assert f"the folder's digest must be '{digest}', however: " in said


def test_t17_a_damaged_checkpoint_is_a_note_where_the_one_before_is_asked_for(run: Path) -> None:
    path = newest(run).folder / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    assert verify(run, files_only=True).faults
    found = verify(run, files_only=True, fallback=True)
    assert found.faults == ()
    assert any("passed over" in note for note in found.notes)


def test_t31_events_and_unknown_files_are_noted(run: Path) -> None:
    (events,) = (run / "tensorboard").iterdir()
    events.write_bytes(events.read_bytes()[:-3])
    (run / "mine.txt").write_text("notes", encoding="utf-8")
    found = verify(run, files_only=True)
    assert found.faults == ()
    assert any("tfevents" in note and "damaged" in note for note in found.notes)
    assert any("'mine.txt' is no file of a run" in note for note in found.notes)


def test_rows_that_are_gone_or_others_are_a_note(run: Path) -> None:
    Path("rows.csv").write_text("x,label\n1,no\n", encoding="utf-8")
    found = verify(run)
    assert (found.faults, found.figures) == ((), 0)
    assert "nothing was measured again" in found.notes[0]


def test_folds_are_looked_at_one_by_one(run: Path) -> None:
    assert verify(Path("folds")).faults == ()
    path = newest("folds/folds/1").folder / "best.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    assert any("folds/1/" in said for said in verify(Path("folds"), files_only=True).faults)


@pytest.mark.parametrize("data", ["digits", "iris", "moons", "diabetes", "xor"])
def test_runs_on_every_kind_of_rows_are_sound(data: str, run: Path) -> None:
    """Rows of pictures are encoded in float32, those of tables in float64."""
    model = ["model=autoencoder"] if data == "digits" else ["activation=tanh"]
    words = [f"data={data}", *model, "model.hidden=[4]", "trainer.epochs=2", "threads=1", "logger.progress=false"]
    assert door(["dnnlab", "train", *words, "logger.tensorboard=false", "hydra.run.dir=other"])[0] == 0
    found = verify(Path("other"))
    assert (found.faults, found.notes) == ((), ())
    assert found.figures >= (0 if data == "xor" else 4)


def test_a_run_that_was_killed_is_sound_as_far_as_it_goes(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with dying(2, monkeypatch):
        door(["dnnlab", "train", *TABLE, "hydra.run.dir=broken"])
    found = verify(Path("broken"))
    assert found.faults == ()
    assert "the run has not ended" in found.notes[0]
    assert door(["dnnlab", "resume", "broken"])[0] == 0
    assert (verify(Path("broken")).faults, verify(Path("broken")).notes) == ((), ())


def test_a_run_that_died_before_it_told_what_its_rows_are_is_sound(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("dnnlab.runfolder.folder.write_atomic", _until("schema.json"))
        assert door(["dnnlab", "train", *TABLE, "hydra.run.dir=broken"])[0] == 5
    found = verify(Path("broken"))
    assert found.faults == ()
    assert not Path("broken/schema.json").exists()
    assert door(["dnnlab", "resume", "broken"])[0] == 0


def _until(name: str) -> Callable[[Path, bytes], None]:
    def write(path: Path, content: bytes) -> None:
        if path.name == name:
            raise ResourceError("must be writable, however: the disk is full", where=str(path))
        write_atomic(path, content)

    return write


def test_u06_a_link_ends_the_look(run: Path) -> None:
    shutil.move(run / "schema.json", "elsewhere.json")
    (run / "schema.json").symlink_to(Path("elsewhere.json").resolve())
    with pytest.raises(UntrustedError, match=r"schema\.json"):
        verify(run)
    assert door(["dnnlab", "verify", "run"])[0] == 7


def test_the_verdict_as_json_and_in_words(run: Path) -> None:
    code, said = door(["dnnlab", "verify", "run", "--json"])
    assert code == 0
    assert json.loads(said)["faults"] == []
    code, said = door(["dnnlab", "verify", "run"])
    assert said.splitlines()[-1] == f"digest {verify(run, files_only=True).digest}"
    (run / "metrics.csv").write_text("epoch\n", encoding="utf-8")
    code, said = door(["dnnlab", "verify", "run", "--files-only"])
    assert code == 6
    assert "fault: must have" in said
    assert "dnnlab: error[artifact]: a run folder must be what it says, however: 2 faults were found - run" in said


def test_an_event_file_is_checked_record_by_record(tmp_path: Path) -> None:
    path = tmp_path / "events"
    content = framed(b"one") + framed(b"two")
    path.write_bytes(content)
    assert fault(path) == ""
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert "damaged" in fault(path) or "torn" in fault(path), place
        path.write_bytes(content[:place])
        assert (fault(path) == "") == (place in (0, len(content) // 2))
