"""Sets of openml.org become tables with their words and gaps; names, networks and caches that fail are answered. Nothing is fetched."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import socket
from collections.abc import Callable
from email.message import Message
from http.client import RemoteDisconnected
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError, URLError

import polars as pl
import pytest
from sklearn.datasets import _openml as remote

from dnnlab.errors import ConfigError, DataError, DnnlabError, ResourceError
from dnnlab.tables.openml import OpenMl, fetch

RECORDS = resources.files("sklearn") / "datasets" / "tests" / "data" / "openml"
SHORT = {"-json-data-list": "-jdl", "-json-data-features": "-jdf", "-json-data-qualities": "-jdq", "-json-data": "-jd", "-data_name": "-dn",
         "-download": "-dl", "-limit": "-l", "-data_version": "-dv", "-status": "-s", "-deactivated": "-dact",
         "-active": "-act"}  # fmt: skip
pytestmark = pytest.mark.skipif(not RECORDS.is_dir(), reason="this build of scikit-learn does not bring its recorded answers of OpenML")
Edit = Callable[[str, bytes], bytes]


def recorded(number: int, address: str) -> bytes:
    """What openml.org once answered, by the file's name that scikit-learn gives it."""
    path = address.removeprefix("https://www.openml.org/")
    path = path.rpartition("/")[0] if path.startswith("data/") else path
    name = re.sub(r"\W", "-", path)
    for long, short in SHORT.items():
        name = name.replace(long, short)
    file = RECORDS / f"id_{number}" / f"{name}.{'arff' if path.startswith('data/') else 'json'}.gz"
    if not file.is_file():
        raise HTTPError(address, 412, "no such set", Message(), io.BytesIO())
    content = gzip.decompress(file.read_bytes())
    if b'"error"' in content[:20]:
        raise HTTPError(address, 412, "no such set", Message(), io.BytesIO())
    return content


class Answer(io.BytesIO):
    """Bytes with the headers of an answer, of which there are none."""

    def info(self) -> dict[str, str]:
        return {}


class Network:
    """openml.org as scikit-learn recorded it for one set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.number = 0
        self.failure: Exception | None = None
        self.edit: Edit = lambda address, content: content
        monkeypatch.setattr(remote, "urlopen", self.open)
        monkeypatch.setattr(remote, "time", SimpleNamespace(sleep=lambda seconds: None))  # between two tries

    def change(self, old: bytes, new: bytes) -> None:
        """Change the file of the rows, and the checksum that its description gives."""

        def edit(address: str, content: bytes) -> bytes:
            if address.endswith(f"/data/{self.number}"):
                told = json.loads(content)
                changed = recorded(self.number, told["data_set_description"]["url"]).replace(old, new, 1)
                told["data_set_description"]["md5_checksum"] = hashlib.md5(changed).hexdigest()
                return json.dumps(told).encode()
            return content.replace(old, new, 1) if "/download/" in address else content

        self.edit = edit

    def open(self, request: Any) -> Any:
        address = request.full_url
        self.asked.append(address)
        if self.failure is not None:
            raise self.failure
        return Answer(self.edit(address, recorded(self.number, address)))


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return Network(monkeypatch)


def refused(kind: type[DnnlabError], name: str | int, cache: Path, **asked: Any) -> DnnlabError:
    with pytest.raises(kind) as caught:
        fetch(name, cache=str(cache), **asked)
    return caught.value


# --- tables


def test_words_and_gaps_of_a_classification_set_are_kept(network: Network, tmp_path: Path) -> None:
    network.number = 2
    got = fetch("anneal", version=1, cache=str(tmp_path))
    assert (got.name, got.version, got.target, got.frame.shape) == ("anneal", 1, ("class",), (11, 39))
    assert got.facts == {
        "id": 2, "url": "https://www.openml.org/d/2", "licence": "Public", "md5": "802164e5ebc96efc9ae42521bf425491", "notes": [],
    }  # fmt: skip
    assert got.frame["class"].to_list() == ["3"] * 11
    assert got.frame["temper_rolling"].to_list() == [None, None, None, "T", "T", None, None, None, None, None, None]
    assert got.frame["shape"].to_list() == ["COIL", "COIL", "SHEET", "COIL", "SHEET", "COIL", "SHEET", "COIL", "COIL", "SHEET", "COIL"]
    assert got.frame["thick"].to_list() == [0.7, 3.2, 0.7, 2.801, 0.801, 1.6, 0.699, 3.3, 0.699, 1.0, 1.2]
    assert got.frame["family"].dtype == pl.String
    assert got.frame["family"].null_count() == 11
    assert set(got.frame.dtypes) == {pl.String, pl.Float64}


def test_numbers_of_a_regression_set_and_their_gaps(network: Network, tmp_path: Path) -> None:
    network.number = 561
    network.change(b"\nadviser,125,", b"\n?,?,")
    got = fetch(561, cache=str(tmp_path))
    assert (got.name, got.version, got.target, got.frame.shape) == ("cpu", 1, ("class",), (209, 8))
    assert got.frame.dtypes == [pl.String, *[pl.Float64] * 7]
    assert got.frame.row(0) == (None, None, 256.0, 6000.0, 256.0, 16.0, 128.0, 199.0)
    assert got.frame.row(1) == ("amdahl", 29.0, 8000.0, 32000.0, 32.0, 8.0, 32.0, 253.0)
    assert not got.frame["MYCT"].is_nan().any()


def test_row_numbers_are_left_out_and_several_targets_come_last(network: Network, tmp_path: Path) -> None:
    network.number = 1119
    adult = fetch("Adult-Census", cache=str(tmp_path / "a"))  # openml.org takes no notice of capitals
    assert adult.frame.columns[-1] == "class"
    assert adult.frame.shape == (10, 15)  # 16 columns are in the file, of which one counts the rows
    assert adult.frame["class"].to_list() == ["<=50K"] * 7 + [">50K"] * 3
    network.number = 40589
    emotions = fetch(40589, cache=str(tmp_path / "b"))
    assert len(emotions.target) == 6
    assert emotions.frame.columns[72:] == list(emotions.target)
    assert emotions.frame.select(emotions.target).to_series(0).unique().sort().to_list() == ["FALSE", "TRUE"]


def test_a_second_call_reads_the_cache(network: Network, tmp_path: Path) -> None:
    network.number = 2
    first = fetch("anneal", version=1, cache=str(tmp_path))
    count = len(network.asked)
    assert count > 0
    network.failure = URLError("no network")
    second = fetch("anneal", version=1, cache=str(tmp_path))
    assert len(network.asked) == count
    assert second.frame.equals(first.frame)
    assert (second.target, second.facts) == (first.target, first.facts)


def test_several_versions_are_a_note_and_no_warning(network: Network, tmp_path: Path) -> None:
    network.number = 61
    got = fetch("iris", cache=str(tmp_path))
    assert got.version == 1
    assert got.facts["notes"] == ["several versions of iris are in use, and this is version 1; data.version=1 pins it"]
    assert fetch("iris", version=1, cache=str(tmp_path)).facts["notes"] == []


def test_what_openml_remarks_is_a_note_on_one_line(network: Network, tmp_path: Path) -> None:
    network.number = 61
    said = b'"status":"active", "warning": "odd\\n \\u001b[31mrows"'
    network.edit = lambda address, content: content.replace(b'"status":"active"', said) if address.endswith("/data/61") else content
    notes = fetch(61, cache=str(tmp_path)).facts["notes"]
    assert notes == ["OpenML raised a warning on the dataset. It might be unusable. Warning: odd \\x1b[31mrows"]


# --- what is no set


@pytest.mark.parametrize("name", ["", "a b", "../..", "..", "a/b", "adult?x", "adult\n", "größe", "a%2fb", "a\x1b[31m"])
def test_a_name_that_can_be_none_is_asked_nowhere(network: Network, tmp_path: Path, name: str) -> None:
    error = refused(ConfigError, name, tmp_path)
    assert "data.name=1590" in error.fix
    assert str(error).isprintable()
    assert network.asked == []


def test_a_number_is_a_version_already(network: Network, tmp_path: Path) -> None:
    error = refused(ConfigError, 2, tmp_path, version=1)
    assert error.where == "data.name=2, data.version=1"
    assert network.asked == []


@pytest.mark.parametrize(("name", "asked"), [("nowhere", {}), ("anneal", {"version": 7}), (999, {})])
def test_an_unknown_set(network: Network, tmp_path: Path, name: str | int, asked: dict[str, int]) -> None:
    network.number = 2
    error = refused(DataError, name, tmp_path, **asked)
    assert "openml.org must have the set" in error.what
    assert str(name) in error.what
    assert error.where == f"data.name={name}"


def test_sparse_rows_are_refused(network: Network, tmp_path: Path) -> None:
    network.number = 292
    error = refused(DataError, "Australian", tmp_path, version=1)
    assert "sparsely" in error.what
    assert "data=csv" in error.fix


def test_free_text_is_refused(network: Network, tmp_path: Path) -> None:
    network.number = 40945
    assert "free text" in refused(DataError, 40945, tmp_path).what


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"@data", b"@rows"),  # nothing that begins the rows
        (b"\nadviser,125,256", b"\nadviser,125"),  # a cell is lacking
        (b"\nadviser,125,256", b"\nadviser,many,256"),  # no number
        (b"\nadviser,125,256", b"\nnobody,125,256"),  # no such word
        (b"@attribute MYCT real", b"@attribute MYCT \xff"),  # no UTF-8
    ],
)
def test_rows_that_are_damaged_are_refused(network: Network, tmp_path: Path, old: bytes, new: bytes) -> None:
    network.number = 561
    network.change(old, new)
    error = refused(DataError, 561, tmp_path)
    assert error.what.startswith("the set must be a whole table")
    assert error.where == "data.name=561"


def test_rows_that_are_not_those_described_are_refused(network: Network, tmp_path: Path) -> None:
    network.number = 561
    network.edit = lambda address, content: content.replace(b"adviser,125", b"adviser,126") if "/download/" in address else content
    assert "md5" in refused(DataError, 561, tmp_path).what


def test_a_target_with_gaps_is_refused(network: Network, tmp_path: Path) -> None:
    network.number = 561
    features = b'"number_of_missing_values":"0"'
    network.edit = lambda address, content: (
        re.sub(rb'"number_of_missing_values": ?"0"', features.replace(b"0", b"3"), content) if "/features/" in address else content
    )
    assert "3 missing" in refused(DataError, 561, tmp_path).what


# --- network and cache


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (URLError(socket.gaierror(-2, "Name or service not known")), "Name or service not known"),
        (TimeoutError("timed out"), "timed out"),
        (RemoteDisconnected("closed without response"), "closed without response"),
        (ConnectionResetError(104, "reset by peer"), "reset by peer"),
    ],
)
def test_without_a_network_the_cache_is_named(network: Network, tmp_path: Path, failure: Exception, told: str) -> None:
    network.failure = failure
    error = refused(ResourceError, "anneal", tmp_path, version=1)
    assert told in error.what
    assert str(tmp_path) in error.where
    assert "data.cache" in error.fix


def test_a_failing_server_is_no_unknown_set(network: Network, tmp_path: Path) -> None:
    network.failure = HTTPError("address", 503, "busy", Message(), io.BytesIO())
    assert "busy" in refused(ResourceError, 2, tmp_path).what


def test_a_silent_network_is_not_waited_for_for_ever(network: Network, tmp_path: Path) -> None:
    seen: list[float | None] = []
    network.number = 2

    def look(address: str, content: bytes) -> bytes:
        seen.append(socket.getdefaulttimeout())
        return content

    network.edit = look
    fetch(2, cache=str(tmp_path))
    assert set(seen) == {60.0}
    assert socket.getdefaulttimeout() is None


def test_a_cache_that_cannot_be_one_is_named(network: Network, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    error = refused(ResourceError, 2, tmp_path / "file")
    assert error.where == f"data.cache: {tmp_path / 'file'}"
    (tmp_path / "openml").write_text("")  # where scikit-learn wants its own folder
    assert "data.cache" in refused(ResourceError, 2, tmp_path).fix
    assert refused(ResourceError, 2, Path("with\0nul")).where == "data.cache: with\\x00nul"
    assert network.asked == []


def test_a_damaged_cache_is_fetched_again(network: Network, tmp_path: Path) -> None:
    network.number = 561
    first = fetch(561, cache=str(tmp_path))
    (file,) = tmp_path.rglob("cpu.arff.gz")
    file.write_bytes(file.read_bytes()[:100])
    again = fetch(561, cache=str(tmp_path))
    assert isinstance(again, OpenMl)
    assert again.frame.equals(first.frame)
    assert "redownloading" in again.facts["notes"][0]
