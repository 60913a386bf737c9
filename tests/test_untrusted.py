"""Folders of strangers: JSON, files and tensors are looked at before they are believed (FAULTS U1 to U18)."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from dnnlab.config.saved import read_saved
from dnnlab.errors import ArtifactError, ConfigError, DnnlabError, UntrustedError
from dnnlab.predictor import load
from dnnlab.runfolder import RunFolder
from dnnlab.runfolder.inside import is_inside, open_inside, read_inside
from dnnlab.runfolder.strict import parse
from dnnlab.runfolder.tensorfile import Form, dump, forms
from dnnlab.runfolder.tensorfile import load as load_tensors
from tests.pages import door
from tests.support import reseal, settings

GOLDEN = Path(__file__).parent / "golden_runs" / "format_1"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a run, with its rows beside it."""
    shutil.copytree(GOLDEN, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def changed(run: Path, name: str, **values: Any) -> None:
    """Change a JSON file by dotted keys (a double underscore is a dot), and make every hash fit."""
    document = json.loads((run / name).read_text(encoding="utf-8"))
    for key, value in values.items():
        *path, last = key.split("__")
        place = document
        for part in path:
            place = place[part]
        place[last] = value
    (run / name).write_text(json.dumps(document), encoding="utf-8")
    reseal(run)


# JSON


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"3", b'{"a": 1, "a": 2}', b'{"a": {"b": 1, "b": 2}}', b'{"a": NaN}', b'{"a": -Infinity}', b'{"a": 1e999}',
        b'{"a": ' + b"9" * 31 + b"}", b'{"a": "\\ud800"}', b'{"a": "\xff"}', b"\xef\xbb\xbf{}", b"{} {}", b"{'a': 1}", b'{"a": 1,}',
        b'{"a": ' + b"[" * 51 + b"]" * 51 + b"}", b"[" * 1_000_000, b'{"a":' * 1_000_000, b'{"a": ' + b"9" * 1_000_000 + b"}",
    ],
)  # fmt: skip
def test_u10_u11_json_that_says_a_thing_in_two_ways_or_too_much_is_refused(content: bytes) -> None:
    with pytest.raises(ArtifactError, match="must") as caught:
        parse(content, "here.json")
    assert caught.value.where == "here.json"
    assert caught.value.exit_code == 6


def test_json_that_is_fine_is_read() -> None:
    document = {"a": [1, -2.5, True, None, "größe \U0001f600 [{"], "deep": json.loads("[" * 48 + "]" * 48)}
    for text in (json.dumps(document), json.dumps(document, ensure_ascii=False)):
        assert parse(text.encode(), "here.json") == document


# Files


@pytest.mark.parametrize("name", ["../rows.csv", "/etc/passwd", "checkpoints/../../rows.csv", "", "a//b", ".", "a\\b", "a\0b"])
def test_u07_names_that_lead_elsewhere_are_refused(run: Path, name: str) -> None:
    with pytest.raises(UntrustedError):
        open_inside(run, name)
    assert not is_inside(run, name)


@pytest.mark.parametrize("name", ["config.json", "run.json", "manifest.json", "schema.json", "checkpoints/encoder.safetensors"])
@pytest.mark.parametrize("what", ["link", "device", "fifo", "folder"])
def test_u06_what_is_no_regular_file_is_refused(run: Path, name: str, what: str) -> None:
    path = run / name
    shutil.copy(path, run.parent / "outside")
    path.unlink()
    match what:
        case "link":
            path.symlink_to(run.parent / "outside")
        case "device":
            path.symlink_to("/dev/zero")
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
    code, said = door(["dnnlab", "predict", "run", "rows.csv"])
    assert code == 7, said
    assert path.name in said


def test_u06_a_folder_that_is_a_link_is_refused(run: Path) -> None:
    shutil.move(run / "checkpoints", run.parent / "elsewhere")
    (run / "checkpoints").symlink_to(run.parent / "elsewhere")
    code, said = door(["dnnlab", "predict", "run", "rows.csv"])
    assert code == 7, said


def test_a_run_folder_may_itself_be_reached_by_a_link(run: Path) -> None:
    Path("short").symlink_to(run)
    assert door(["dnnlab", "predict", "short", "rows.csv", "-o", "a.csv"])[0] == 0


def test_sizes_are_known_before_anything_is_read(run: Path) -> None:
    """Files of a terabyte that take no space."""
    os.truncate(run / "config.json", 2**40)
    with pytest.raises(ArtifactError, match="at most"):
        read_inside(run, "config.json")
    state = RunFolder.open(run).generations()[0].folder / "best.safetensors"
    os.truncate(state, 2**40)
    with pytest.raises(ArtifactError, match="must have 508 bytes, however: 1,099,511,627,776"):
        load_tensors(run, state.relative_to(run).as_posix(), sha256="0" * 64, size=508)


# Tensors


def write(folder: Path, header: bytes | dict[str, Any], data: bytes = b"", *, length: int | None = None) -> dict[str, Any]:
    """A file of tensors as its header claims it; -> what its manifest would say."""
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    content = struct.pack("<Q", len(text) if length is None else length) + text + data
    (folder / "x.safetensors").write_bytes(content)
    return {"sha256": sha256(content).hexdigest(), "size": len(content)}


def entry(shape: Any, start: Any = 0, end: Any = 8, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    "header",
    [
        {"a": entry([2**40])}, {"a": entry([0, 2**62])}, {"a": entry([-2])}, {"a": entry([2**31, 2**31, 2**31])}, {"a": entry([1.0, 2])},
        {"a": entry(["2"])}, {"a": entry(2)}, {"a": entry([2], dtype="F8_E4M3")}, {"a": entry([2], dtype="object")},
        {"a": entry([2], -8, 0)},
        {"a": entry([2], 0, 2**62)}, {"a": entry([2], 8, 16)}, {"a": entry([1], 0, 4)}, {"a": entry([1], 0, 4), "b": entry([1], 0, 4)},
        {"a": {**entry([2]), "more": 1}}, {"__metadata__": {"format": "pt"}, "a": entry([2])}, {"a": entry([True, 2])},
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}',
        b"\x80\x04\x95pickle", b"[]", b"",
    ],
)  # fmt: skip
def test_u08_a_header_that_claims_what_cannot_be_is_refused(tmp_path: Path, header: bytes | dict[str, Any]) -> None:
    with pytest.raises(ArtifactError):
        load_tensors(tmp_path, "x.safetensors", **write(tmp_path, header, bytes(8)))


@pytest.mark.parametrize("length", [0, 2**24 + 1, 2**62, 2**64 - 1])
def test_u08_a_header_as_long_as_no_header_is_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(ArtifactError):
        load_tensors(tmp_path, "x.safetensors", **write(tmp_path, {"a": entry([2])}, bytes(8), length=length))


def test_u08_names_shapes_and_types_must_be_the_expected_ones(tmp_path: Path) -> None:
    tensors = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
    content = dump(tensors)
    (tmp_path / "x.safetensors").write_bytes(content)
    known = {"sha256": sha256(content).hexdigest(), "size": len(content)}
    assert load_tensors(tmp_path, "x.safetensors", **known, expected=forms(tensors)).keys() == tensors.keys()
    for expected in (
        {"weight": Form(torch.float32, (3, 2)), "bias": Form(torch.float32, (2,))},
        {"weight": Form(torch.float64, (2, 3)), "bias": Form(torch.float32, (2,))},
        {"weight": Form(torch.float32, (2, 3))},
        {**forms(tensors), "more": Form(torch.float32, (1,))},
    ):
        with pytest.raises(ArtifactError, match=r"must have the shape .*, however: .* in the checkpoint") as caught:
            load_tensors(tmp_path, "x.safetensors", **known, expected=expected, key="model.hidden")
        assert caught.value.where.endswith("model.hidden")
    assert len(load_tensors(tmp_path, "x.safetensors", **known, expected={"bias": Form(torch.float32, (2,))}, beside=("wei",))) == 2


def test_u03_a_pickle_and_a_zip_are_called_what_they_are(tmp_path: Path) -> None:
    for content, what in ((b"\x80\x04\x95" + bytes(40), "a pickle"), (b"PK\x03\x04" + bytes(40), "a zip file")):
        (tmp_path / "x.safetensors").write_bytes(content)
        with pytest.raises(ArtifactError, match=what):
            load_tensors(tmp_path, "x.safetensors", sha256="0" * 64, size=100)


@pytest.mark.parametrize("name", ["kept", "flagged", "fill"])
def test_u08_an_encoder_with_numbers_of_another_type_is_refused(run: Path, name: str) -> None:
    tensors, _ = RunFolder.open(run).read_encoder()
    tensors[name] = tensors[name].to(torch.float64 if name != "fill" else torch.int64)
    (run / "checkpoints" / "encoder.safetensors").write_bytes(dump(tensors))
    reseal(run)
    with pytest.raises(ArtifactError, match=f"{name} must be of torch"):
        load(run)


# Settings


@pytest.mark.parametrize("key", ["_target_", "_partial_", "_args_", "_recursive_", "_convert_", "defaults", "hydra"])
@pytest.mark.parametrize("place", ["{}", "optimizer__{}", "data__columns__{}", "trainer__early_stopping__{}"])
def test_u01_u02_settings_that_name_code_are_refused(run: Path, key: str, place: str) -> None:
    changed(run, "config.json", **{place.format(key): "os.system"})
    for verb in ("predict", "evaluate"):
        code, said = door(["dnnlab", verb, "run", "rows.csv"])
        assert (code, "must name no code" in said) == (7, True), said


@pytest.mark.parametrize("target", ["os.system", "builtins.open", "torch.load", "logging.os.system", "golden.Net"])
def test_u01_a_custom_network_of_a_package_that_nobody_named_is_not_imported(run: Path, target: str) -> None:
    changed(run, "config.json", model={"kind": "custom", "target": target, "args": {}})
    code, said = door(["dnnlab", "predict", "run", "rows.csv"])
    assert code == 7, said
    assert "model.target must name a class of a trusted package" in said


@pytest.mark.parametrize("hidden", [[10**9], [10**6] * 900, [2**62], [10**12, 10**12], [1] * 1000])
def test_u08_a_network_beyond_all_memory_is_refused_before_it_is_made(run: Path, hidden: list[int]) -> None:
    changed(run, "config.json", model__hidden=hidden)
    with pytest.raises(DnnlabError) as caught:
        load(run)
    assert caught.value.exit_code == 6


def test_u12_the_environment_is_read_where_it_is_named_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "0.25")
    document = settings().model_dump(mode="json")
    document["optimizer"]["lr"] = "${oc.decode:${oc.env:SECRET}}"
    document["name"] = "${oc.env:SECRET}"
    with pytest.raises(ArtifactError, match=r"optimizer\.lr") as caught:
        read_saved(document)
    assert caught.value.fix == "It comes from the environment: allow it with --env SECRET"
    made = read_saved(document, env=["SECRET"])
    assert (made.optimizer.model_dump()["lr"], made.name) == (0.25, "0.25")
    document["optimizer"]["lr"] = 0.1
    assert read_saved(document).name == "${oc.env:SECRET}"
    monkeypatch.delenv("SECRET")
    with pytest.raises(ConfigError, match="SECRET"):
        read_saved(document, env=["SECRET"])


@pytest.mark.slow
def test_u18_code_beside_the_run_is_not_found_by_python(run: Path) -> None:
    program = Path(sys.executable).with_name("dnnlab")
    if not program.exists():
        pytest.skip("dnnlab is not installed here")
    for name in ("torch.py", "polars.py", "sitecustomize.py", "usercustomize.py", "conftest.py", "json.py"):
        (run / name).write_text("open('executed', 'w')\nraise SystemExit(66)\n", encoding="utf-8")
    done = subprocess.run([str(program), "predict", ".", "../rows.csv", "-o", "../answers.csv"], cwd=run, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (run / "executed").exists()
