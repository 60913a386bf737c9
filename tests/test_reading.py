"""Tables are read cell for cell, whatever their dialect; each fault of a file is answered with its row and column."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnnlab.errors import ConfigError, DataError, DnnlabError, ResourceError
from dnnlab.tables import paths, sources
from dnnlab.tables.dialect import Dialect
from dnnlab.tables.reading import Reading, read
from dnnlab.tables.stream import stream

Write = Callable[..., str]
PLAIN = Dialect()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Put bytes (or text in UTF-8) into a file and name it."""

    def put(content: str | bytes, name: str = "a.csv") -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return put


def refused(path: str | list[str], dialect: Dialect = PLAIN, kind: type[DnnlabError] = DataError, **asked: Any) -> DnnlabError:
    """The error of reading; a stream of a single file must answer alike."""
    with pytest.raises(kind) as caught:
        read(path, dialect=dialect, **asked)
    if isinstance(path, str) and not asked:
        with pytest.raises(kind) as streamed:
            list(stream(path, dialect=dialect, key="data.path"))
        assert (streamed.value.what, streamed.value.where, streamed.value.fix) == (caught.value.what, caught.value.where, caught.value.fix)
    return caught.value


def where(error: DnnlabError) -> str:
    """The place of an error without the folder."""
    return error.where.rpartition("/")[2]


def cells(reading: Reading) -> list[tuple[object, ...]]:
    return reading.frame.rows()


# --- faults of the file's bytes


@pytest.mark.parametrize("content", ["", "a,b\n", "a,b", "\n\n", "a,b\n\n\r\n", "\ufeff", "\ufeffa,b\n"])
def test_d01_no_rows(write: Write, content: str) -> None:
    error = refused(write(content))
    assert "0 data rows" in error.what
    assert where(error) == "a.csv"


def test_d02_mark_of_byte_order_is_no_part_of_the_first_name(write: Write) -> None:
    for content in ("\ufeffa,b\n1,2\n", '\ufeff"a",b\n1,2\n'):
        path = write(content)
        assert read(path).frame.columns == ["a", "b"]
        assert [frame.columns for frame in stream(path)] == [["a", "b"]]
    bare = read(write("\ufeff1,2\n3,4\n"), dialect=Dialect(header=False))
    assert cells(bare) == [(1, 2), (3, 4)]


def test_d03_latin_1_bytes(write: Write) -> None:
    error = refused(write(b"name,n\nanna,1\nm\xfcller,2\n"))
    assert (where(error), error.fix) == ("a.csv: byte 15, row 3", "Try data.encoding=latin-1")
    assert refused(write(b"n\xe4me,n\nanna,1\n")).where.endswith("a.csv: byte 1, row 1")
    euro = refused(write(b"name,n\n\x80,1\n"))
    assert euro.fix == "Try data.encoding=cp1252"
    assert cells(read(write(b"name,n\nm\xfcller,2\n"), dialect=Dialect(encoding="latin-1"))) == [("müller", 2)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_d03_utf_16(write: Write, encoding: str) -> None:
    path = write("name,n\nmüller,2\nanna,3\n".encode(encoding))
    error = refused(path)
    assert (error.fix, error.where.endswith(", row 1"), ": byte " in error.where) == (f"Try data.encoding={encoding}", True, True)
    assert cells(read(path, dialect=Dialect(encoding=encoding))) == [("müller", 2), ("anna", 3)]
    assert [frame.rows() for frame in stream(path, dialect=Dialect(encoding=encoding))] == [[("müller", "2"), ("anna", "3")]]


def test_d03_wrong_encoding_given(write: Write) -> None:
    path = write(b"a,b\n1,2\n3,\x81\n")
    error = refused(path, Dialect(encoding="cp1252"))
    assert (where(error), error.fix) == ("a.csv: byte 10, row 3", "Try data.encoding=utf-8, or another one")
    assert refused(path, Dialect(encoding="klingon"), ConfigError).where == "data.encoding"


def test_d04_two_columns_of_one_name(write: Write) -> None:
    error = refused(write("x,y, x\n1,2,3\n"))
    assert "columns 1 and 3 are both 'x'" in error.what
    assert where(error) == "a.csv: row 1, column x"


def test_d05_column_without_a_name(write: Write) -> None:
    for header in ("x,,z", "x, ,z", 'x,"",z'):
        error = refused(write(f"{header}\n1,2,3\n"))
        assert "column 2 of 3 has none" in error.what
        assert "data.header=false" in error.fix


def test_d05_padded_names_are_stripped_and_said_so(write: Write) -> None:
    reading = read(write("x, y ,z\r\n1,2,3\r\n"))
    assert reading.frame.columns == ["x", "y", "z"]
    assert len(reading.notes) == 1
    assert "' y '" in reading.notes[0]
    assert not read(write("x,y,z\r\n1,2,3\r\n")).notes


@pytest.mark.parametrize("tail", ["3", ""])
def test_d06_every_row_has_one_field_more(write: Write, tail: str) -> None:
    error = refused(write("a,b\n" + f"1,2,{tail}\n" * 5))
    assert "every row has one more (3, not 2)" in error.what
    assert where(error) == "a.csv: row 2"


@pytest.mark.parametrize(("row", "count"), [("1", 1), ("1,2,3", 3), ("1,2,3,4", 4), ('"a,b"', 1), ('"a\nb",2,3', 3), ("  ", 1)])
@pytest.mark.parametrize("cell", ["7", "x", ""])
def test_d07_row_too_long_or_too_short(write: Write, row: str, count: int, cell: str) -> None:
    path = write(f'a,b\n"1\n1",{cell}\n' + f"1,{cell}\n" * 3000 + f"{row}\n1,{cell}\n1\n")
    error = refused(path)
    assert error.what == f"every row must have 2 cells, as the first line has, however: {count}"
    assert where(error) == "a.csv: row 3003"


def test_d07_no_row_is_called_short_for_cells_that_are_missing(write: Write) -> None:
    reading = read(write('a,b\n1,\n"x,y",\n\'",\n'), dialect=Dialect())
    assert cells(reading) == [("1", None), ("x,y", None), ("'\"", None)]


@pytest.mark.parametrize("rows", ['"n,a",\n"1,2",x\nn', '1,n,a\n2\n"3,4",5'])
def test_d07_separators_in_cells_do_not_hide_a_short_row(write: Write, rows: str) -> None:
    error = refused(write(f"a,b\n{rows}\n"), Dialect(na_values=("n,a",)))
    assert where(error) == ("a.csv: row 4" if rows.endswith("n") else "a.csv: row 2")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("width", [1, 2])
def test_d07_blank_lines_are_skipped_and_rows_keep_their_numbers(write: Write, end: str, width: int) -> None:
    lines = [
        "name,n"[: width * 4 + 2 * (width == 2)] if width == 2 else "name",
        "",
        *(["x,1", "", "", "y,"] if width == 2 else ["x", "", "", "y"]),
        "",
        "",
    ]
    reading = read(write(end.join(lines) + end))
    assert cells(reading) == ([("x", 1), ("y", None)] if width == 2 else [("x",), ("y",)])
    assert [where(DataError("", where=reading.place(row))) for row in (0, 1)] == ["a.csv: row 3", "a.csv: row 6"]


def test_d08_quote_left_open(write: Write) -> None:
    error = refused(write('a,b\n1,x\n2,"y\n3,z\n'))
    assert where(error) == "a.csv: row 3, column b"
    assert "data.quote=null" in error.fix
    assert where(refused(write('a,"b\n1,x\n'))) == "a.csv: row 1, column 2"
    assert cells(read(write('a,b\n1,x\n2,"y\n3,z\n'), dialect=Dialect(quote=None))) == [(1, "x"), (2, '"y'), (3, "z")]


def test_d08_text_behind_a_closing_quote(write: Write) -> None:
    error = refused(write('a,b\n"1\n","x"y\n2,z\n'))
    assert where(error) == "a.csv: row 2, column b"
    assert '"x"y' in error.what


def test_d08_nul_byte(write: Write) -> None:
    error = refused(write("a,b\n1,x\n2,y\0\n3,z\n"))
    assert where(error) == "a.csv: row 3, column b"
    assert "byte 11" in error.what
    assert where(refused(write("a,b\0c\n1,x\n"))) == "a.csv: row 1, column 2"


def test_d08_bare_cr(write: Write) -> None:
    assert where(refused(write("a,b\r1,2\r3,4\r"))) == "a.csv: row 1, column 2"
    error = refused(write("a,b\r\n1,2\r\n3,x\ry\r\n"))
    assert (where(error), "bare CR" in error.what) == ("a.csv: row 3, column b", True)
    assert cells(read(write('a,b\r\n1,"x\ry"\r\n'))) == [(1, "x\ry")]


@pytest.mark.parametrize("long", ["x" * 1_000_001, '"' + "x\n" * 500_001 + '"'])
def test_d09_cell_over_a_megabyte(write: Write, long: str) -> None:
    error = refused(write(f"a,b\n1,x\n\n2,{long}\n3,z\n"))
    assert where(error) == "a.csv: row 4, column b"
    assert "at most 1,000,000 bytes" in error.what
    assert read(write(f"a,b\n1,{'x' * 1_000_000}\n")).frame.height == 1


def test_d09_too_many_columns(write: Write) -> None:
    for count, fine in ((10_000, True), (10_001, False)):
        path = write(",".join(f"c{number}" for number in range(count)) + "\n" + ",".join("1" * count) + "\n")
        if fine:
            assert read(path).frame.width == count
        else:
            assert "at most 10,000 columns, however: 10,001" in refused(path).what


def test_d09_file_larger_than_memory(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("a,b\n" + "1,2\n" * 1000)
    monkeypatch.setattr(paths, "free_memory", lambda: 16_015)
    with pytest.raises(ResourceError, match=r"about 16,016 bytes and 16,015 are free") as caught:
        read(path)
    assert "data.rows=" in caught.value.fix
    assert "Parquet" in caught.value.fix
    assert read(path, rows=7).frame.height == 7
    assert sum(frame.height for frame in stream(path)) == 1000


def test_d17_leading_zeros(write: Write) -> None:
    path = write("zip,id,n\n00123,007,1\n4,8,20\n")
    reading = read(path, text=["zip"])
    assert cells(reading) == [("00123", 7, 1), ("4", 8, 20)]
    assert reading.padded == ("id",)
    assert "'id'" in reading.notes[0]
    assert read(write("n,m,k\n0,0.5,-0\n10,0.25,-1\n")).padded == ()


def test_d28_the_hash_is_of_the_bytes_that_were_read(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"a,b\n" + b"1,2\n" * 3
    path = write(content)
    opened: list[str] = []
    monkeypatch.setattr(sources, "open_regular", lambda found, key: (opened.append(found.path), paths.open_regular(found, key))[1])
    reading = read(path)
    Path(path).write_bytes(b"x,y\n9,9\n")
    assert opened == [path]
    assert cells(reading) == [(1, 2)] * 3
    fact = reading.files[0]
    assert (fact.path, fact.bytes, fact.sha256, fact.rows) == (path, len(content), hashlib.sha256(content).hexdigest(), 3)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl"])
def test_d28_the_first_rows_alone_still_hash_the_whole_file(write: Write, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(sources, "CHUNK", 64)
    plain = b'{"a": 1}\n' * 999 if "json" in name else b"a,b\n" + b"1,2\n" * 500 + b"broken\n" * 500
    content = gzip.compress(plain) if name.endswith("gz") else plain
    reading = read(write(content, name), rows=100)
    fact = reading.files[0]
    assert (fact.rows, fact.bytes, fact.sha256) == (100, len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "jsonl"])
def test_d28_a_file_that_changes_its_length_while_it_is_read(write: Write, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    content = b'{"a": 1}\n' * 40 if suffix == "jsonl" else b"a\n" + b"1\n" * 40
    content = gzip.compress(content) if suffix.endswith("gz") else content
    path = write(content, f"a.{suffix}")
    for size in (1, len(content) - 1, len(content), len(content) + 1000):  # as it was when its size was asked
        monkeypatch.setattr(sources, "_size", lambda _, size=size: size)
        reading = read(path)
        assert reading.frame["a"].to_list() == [1] * 40
        assert (reading.files[0].bytes, reading.files[0].sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_d09_a_line_without_end_does_not_fill_memory(write: Write) -> None:
    path = write(gzip.compress(b"a,b\n1,2\n3," + b"x" * 20_000_000, 1), "a.csv.gz")
    with pytest.raises(DataError, match="at most 1,000,000 bytes") as caught:
        list(stream(path))
    assert where(caught.value) == "a.csv.gz: row 3, column b"


# --- faults of the path


def test_d32_what_is_no_regular_file_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "fifo.csv")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    (tmp_path / "null.csv").symlink_to("/dev/null")
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("must not be opened"))
    for name, fact in (("fifo", "is a FIFO"), ("folder", "is a folder"), ("null", "is a device"), ("loop", "symbolic links")):
        assert fact in refused(str(tmp_path / f"{name}.csv")).what
    assert "there is none" in refused(str(tmp_path / "missing.csv")).what
    assert "null byte" in refused("a\0.csv").what
    assert refused(str(tmp_path / "missing.csv"), key="data.test_path").where.startswith("data.test_path: ")


@pytest.mark.parametrize("path", ["s3://bucket/a.csv", "http://host/a.csv", "file:///etc/a.csv"])
def test_d32_addresses(path: str) -> None:
    assert "on this machine" in refused(path).what


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_d32_no_permission(write: Write) -> None:
    path = write("a\n1\n")
    Path(path).chmod(0)
    assert "Permission denied" in refused(path).what


def test_names_of_files_and_columns_are_shown_escaped(write: Write) -> None:
    path = write("a,b\n1,2\n3\n", "x\x1b[31m\n.csv")
    error = refused(path)
    assert "\x1b" not in str(error)
    assert where(error) == r"x\x1b[31m\n.csv: row 3"
    error = refused(write('"a\x1b",b\n1,"x\n'))
    assert "\x1b" not in str(error)
    column = refused(write('b,"a\x1b"\n1,"x\n'))
    assert where(column) == r"a.csv: row 2, column a\x1b"


def test_glob_without_a_match_and_an_empty_list(tmp_path: Path) -> None:
    assert "matches none" in refused(str(tmp_path / "*.csv")).what
    assert "the list is empty" in refused([]).what
    assert "it is empty" in refused("").what


def test_unknown_suffix_lists_what_can_be_read(write: Write) -> None:
    assert ".parquet" in refused(write("x", "a.xlsx")).fix
    assert ".jsonl" in refused(write("[1]", "a.json")).fix
    assert "Unpack" in refused(write("x", "a.parquet.gz")).fix
    assert refused(write("x"), kind=ConfigError, form="excel").where == "data.form"
    assert cells(read(write("a\n1\n", "table"), form="csv")) == [(1,)]


def test_a_row_that_was_taken_for_the_header_is_told(write: Write) -> None:
    assert refused(write("1,1,x\n2,2,y\n")).fix == "Try data.header=false: the first line looks like a row"
    assert "data.header=false" in read(write("1,0.5,x\n2,2,y\n")).notes[0]


# --- several files


def test_files_are_joined_by_name(write: Write, tmp_path: Path) -> None:
    write("x,y\n1,a\n2,b\n", "p1.csv")
    write("y,x\nc,3.5\n\nd,4\n", "p2.csv")
    reading = read("p*.csv", root=str(tmp_path))
    assert cells(reading) == [(1.0, "a"), (2.0, "b"), (3.5, "c"), (4.0, "d")]
    assert [(fact.path, fact.rows) for fact in reading.files] == [("p1.csv", 2), ("p2.csv", 2)]
    assert [reading.place(row) for row in range(4)] == ["p1.csv: row 2", "p1.csv: row 3", "p2.csv: row 2", "p2.csv: row 4"]
    assert cells(read(["p2.csv", "p1.csv"], root=str(tmp_path), rows=3)) == [("c", 3.5), ("d", 4.0), ("a", 1.0)]
    with pytest.raises(IndexError):
        reading.place(4)


def test_a_column_that_one_file_has_as_text_is_text_as_it_was_written(write: Write) -> None:
    reading = read([write("x,y,z\n007,1,\n", "a.csv"), write("x,y,z\nA12,2,3\n", "b.csv")])
    assert cells(reading) == [("007", 1, None), ("A12", 2, 3)]
    assert reading.padded == ()


def test_files_with_other_columns_are_refused(write: Write) -> None:
    a, b = write("x,y\n1,2\n", "a.csv"), write("x,z\n1,2\n", "b.csv")
    c = write("x,y,z\n1,2,3\n", "c.csv")
    for first, second in ((a, b), (a, c), (c, a)):
        error = refused([first, second])
        assert first in error.what
        assert second in error.what


def test_parquet_files_of_two_types(tmp_path: Path) -> None:
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"x": ["1"]}).write_parquet(tmp_path / "b.parquet")
    assert "one type in all files" in refused([str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")]).what


# --- dialects

DIALECTS = {
    "semicolon, decimal comma": ("name;x;n\na;1,5;1\nb;-2;2\n", Dialect(decimal=",")),
    "tab": ("name\tx\tn\na\t1.5\t1\nb\t-2.0\t2\n", Dialect()),
    "pipe": ("name|x|n\na|1.5|1\nb|-2.0|2\n", Dialect()),
    "crlf": ("name,x,n\r\na,1.5,1\r\nb,-2.0,2\r\n", Dialect()),
    "no line end at the end": ("name,x,n\na,1.5,1\nb,-2.0,2", Dialect()),
    "blanks": ("name, x ,n\n a , 1.5,1\nb\t,-2.0 , 2 \n", Dialect(separator=",")),
    "everything quoted": ('"name","x","n"\n"a","1.5","1"\n"b","-2.0","2"\n', Dialect()),
    "other quotes": ("name,x,n\n'a','1.5',1\n'b',-2.0,2\n", Dialect(quote="'")),
    "no header": ("a,1.5,1\nb,-2.0,2\n", Dialect(header=False, names=("name", "x", "n"))),
    "no header, decimal comma": ("a;1,5;1\nb;-2,0;2\n", Dialect(header=False, names=("name", "x", "n"), decimal=",")),
    "skipped rows": ('made "by, hand\n\nname,x,n\na,1.5,1\nb,-2.0,2\n', Dialect(skip_rows=2)),
    "comments": ("# one\nname,x,n\n#,\"two\na,1.5,1\n# three\nb,-2.0,2\n#\n", Dialect(comment="#")),
    "latin-1": ("name,x,n\na,1.5,1\nb,-2.0,2\n", Dialect(encoding="latin-1")),
    "utf-16": ("name,x,n\na,1.5,1\nb,-2.0,2\n", Dialect(encoding="utf-16")),
    "missing values": ("name,x,n\na,1.5,1\nb,-2.0,2\n", Dialect(na_values=("?",))),
    "separator given": ("name;,x,n\na,1.5,1\nb,-2.0,2\n".replace(";", ""), Dialect(separator=",")),
}  # fmt: skip


@pytest.mark.parametrize("packer", ["", ".gz", ".zst"])
@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect(write: Write, name: str, packer: str) -> None:
    content, dialect = DIALECTS[name]
    data = content.encode(dialect.encoding)
    path = write({"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[packer](data), f"a.csv{packer}")
    reading = read(path, dialect=dialect)
    assert reading.frame.schema == {"name": pl.String, "x": pl.Float64, "n": pl.Int64}
    assert cells(reading) == [("a", 1.5, 1), ("b", -2.0, 2)]
    pieces = pl.concat(list(stream(path, dialect=dialect, rows=1)))
    assert [row[0] for row in pieces.rows()] == ["a", "b"]
    assert [float(row[1].replace(",", ".")) for row in pieces.rows()] == [1.5, -2.0]


def test_row_numbers_count_skipped_rows_and_comments(write: Write) -> None:
    dialect = Dialect(skip_rows=1, comment="#")
    reading = read(write("title\n# c\nx,y\n1,2\n# c\n3,4\n"), dialect=dialect)
    assert [where(DataError("", where=reading.place(row))) for row in (0, 1)] == ["a.csv: row 4", "a.csv: row 6"]
    assert where(refused(write("title\n# c\nx,y\n1,2\n# c\n3,4\n5\n"), dialect)) == "a.csv: row 7"
    assert read(write("1,2\n3,4\n"), dialect=Dialect(header=False)).place(1).endswith("a.csv: row 2")


def test_thousands(write: Write) -> None:
    reading = read(write('x;y;z\n1,234;7;1,23\n"1,234,567.5";12;4\n;0;5\n'), dialect=Dialect(separator=";", thousands=","))
    assert reading.frame.schema == {"x": pl.Float64, "y": pl.Int64, "z": pl.String}
    assert cells(reading) == [(1234.0, 7, "1,23"), (1234567.5, 12, "4"), (None, 0, "5")]
    whole = read(write("x;y\n1,234;1\n7;2\n"), dialect=Dialect(thousands=","))
    assert (whole.frame.schema, cells(whole)) == ({"x": pl.Float64, "y": pl.Int64}, [(1234.0, 1), (7.0, 2)])
    swiss = read(write("x;y\n1.234,5;1.5\n-7,25e2;2\n"), dialect=Dialect(decimal=",", thousands="."))
    assert cells(swiss) == [(1234.5, "1.5"), (-725.0, "2")]


def test_names_must_be_as_many_as_columns(write: Write) -> None:
    assert "2 names and 3 columns" in refused(write("1,2,3\n"), Dialect(header=False, names=("a", "b"))).what
    assert read(write("1,2\n"), dialect=Dialect(header=False)).frame.columns == ["column_1", "column_2"]
    assert refused(write("a\n1\n"), Dialect(names=("a",)), ConfigError).where == "data.names"


@pytest.mark.parametrize(
    ("dialect", "key"),
    [
        (Dialect(separator="--"), "separator"),
        (Dialect(separator='"'), "separator"),
        (Dialect(quote="«"), "quote"),
        (Dialect(decimal="x"), "decimal"),
        (Dialect(decimal=",", thousands=","), "thousands"),
        (Dialect(comment=""), "comment"),
        (Dialect(skip_rows=-1), "skip_rows"),
    ],
)
def test_dialects_that_cannot_be_meant(write: Write, dialect: Dialect, key: str) -> None:
    assert refused(write("a\n1\n"), dialect, ConfigError).where == f"data.{key}"


def test_only_na_values_and_empty_cells_are_missing(write: Write) -> None:
    content = "n,f,t\n1,1.5,NA\n-9,NA,None\n ,,null\nNA,2,\n3,-9, -9 \n"
    reading = read(write(content), dialect=Dialect(na_values=("NA", "-9")))
    assert cells(reading) == [(1, 1.5, None), (None, None, "None"), (None, None, "null"), (None, 2.0, None), (3, None, None)]
    as_is = read(write(content))
    assert as_is.frame["t"].to_list() == ["NA", "None", "null", None, "-9"]
    assert as_is.frame["n"].to_list() == ["1", "-9", None, "NA", "3"]


# --- types

LATE = 5000  # behind every sample


@pytest.mark.parametrize(
    ("early", "late", "dtype", "value"),
    [
        ("1", "abc", pl.String, "abc"),
        ("1", "2.5", pl.Float64, 2.5),
        ("1", "99999999999999999999", pl.String, "99999999999999999999"),
        ("1", "", pl.Int64, None),
        ("", "7", pl.Int64, 7),
        ("", "x", pl.String, "x"),
        ("1.5", "nan?", pl.String, "nan?"),
        ("1.5", "1e999", pl.Float64, float("inf")),
        ("true", "False", pl.Boolean, False),
        ("true", "1", pl.String, "1"),
        ("2024-02-29", "2023-01-31", pl.String, "2023-01-31"),
        ("2024-02-29 12:00", "2023-01-31 01:02", pl.String, "2023-01-31 01:02"),
        ("1", " 2 ", pl.Int64, 2),
        ("1", '"2"', pl.Int64, 2),
        ("5", '6"', pl.String, '6"'),
    ],
)
def test_a_type_fits_every_cell_of_its_column(write: Write, early: str, late: str, dtype: pl.DataType, value: object) -> None:
    reading = read(write("x,y\n" + f"{early},1\n" * LATE + f"{late},1\n"))
    assert reading.frame.schema["x"] == dtype
    assert reading.frame["x"][LATE] == value
    assert reading.frame["y"].dtype == pl.Int64
    first = reading.frame["x"][0]
    assert (first is None) if early == "" else str(first).lower().startswith(early[:10])


def test_stray_quotes_are_letters(write: Write) -> None:
    content = 'size,name\n5",a\n3,"b ""c""\nd"\n6"" x,"e,f"\n4,g"h"i\n'
    path = write(content)
    expected = [('5"', "a"), ("3", 'b "c"\nd'), ('6"" x', "e,f"), ("4", 'g"h"i')]
    assert cells(read(path)) == expected
    assert pl.concat(list(stream(path, rows=2))).rows() == expected


def test_columns_whose_names_are_patterns(write: Write) -> None:
    reading = read(write("*,^a.*$,ab\n1, x,NA\n,y,7\n"), dialect=Dialect(na_values=("NA",)), text=["ab"])
    assert (reading.frame.columns, cells(reading)) == (["*", "^a.*$", "ab"], [(1, "x", None), (None, "y", "7")])


REAL = Path(os.environ.get("DNNLAB_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the shared data sets")
@pytest.mark.parametrize(
    ("file", "dialect", "rows", "column", "dtype", "missing"),
    [
        ("adult/adult-train.csv.gz", Dialect(header=False, na_values=("?",)), 32_561, "column_7", pl.String, 1843),
        ("bank_marketing/bank-additional-full.csv.gz", PLAIN, 41_188, "euribor3m", pl.Float64, 0),
        ("telco_churn/telco-customer-churn-by-IBM.csv.gz", PLAIN, 7043, "TotalCharges", pl.Float64, 11),
        ("titanic/train.csv", PLAIN, 891, "Age", pl.Float64, 177),
        ("bike_sharing/day.csv", PLAIN, 731, "dteday", pl.String, 0),
    ],
)
def test_real_tables(file: str, dialect: Dialect, rows: int, column: str, dtype: pl.DataType, missing: int) -> None:
    frame = read(str(REAL / file), dialect=dialect).frame
    assert (frame.height, frame[column].dtype, frame[column].null_count()) == (rows, dtype, missing)
    assert sum(piece.height for piece in stream(str(REAL / file), dialect=dialect)) == rows


# --- packed files and other formats


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_damaged_packed_files(write: Write, suffix: str) -> None:
    data = ("a,b\n" + "".join(f"{number},{number * 7}\n" for number in range(3000))).encode()
    packed = gzip.compress(data) if suffix == ".gz" else zstandard.compress(data)
    for content in (packed[:-3], packed[: len(packed) // 2], b"a,b\n1,2\n", b"", packed + b"rubbish"):
        error = refused(write(content, f"a.csv{suffix}"))
        assert where(error) == f"a.csv{suffix}"
        assert "must be a whole" in error.what
    assert read(write(packed + packed[:0], f"a.csv{suffix}")).frame.height == 3000


def test_packed_members_are_joined(write: Write) -> None:
    head, tail = b"a,b\n1,2\n", b"3,4\n"
    assert read(write(gzip.compress(head) + gzip.compress(tail), "a.csv.gz")).frame.height == 2
    assert read(write(zstandard.compress(head) + zstandard.compress(tail), "a.csv.zst")).frame.height == 2


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_bomb_is_stopped(write: Write, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    data = b"a\n" + b"1\n" * 30_000_000
    packed = gzip.compress(data, 1) if suffix == ".gz" else zstandard.compress(data)
    path = write(packed, f"a.csv{suffix}")
    monkeypatch.setattr(sources, "free_memory", lambda: 4_000_000)
    with pytest.raises(ResourceError, match="at most 1,000,000"):
        read(path)
    assert read(path, rows=5).frame.height == 5


FRAME = pl.DataFrame(
    {"n": [1, None, 3], "x": [0.5, 1.5, None], "t": [" a", "", "b"], "b": [True, False, None], "d": [date(2024, 1, 1), None, None]}
)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather"])
def test_columnar_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    FRAME.with_columns(c=pl.Series(["u", "v", "u"], dtype=pl.Categorical)).write_parquet(path) if suffix == ".parquet" else (
        FRAME.with_columns(c=pl.Series(["u", "v", "u"], dtype=pl.Categorical)).write_ipc(path)
    )
    reading = read(str(path), text=["n"])
    assert reading.frame.schema == {"n": pl.String, "x": pl.Float64, "t": pl.String, "b": pl.Boolean, "d": pl.Date, "c": pl.String}
    assert reading.frame["t"].to_list() == ["a", None, "b"]
    assert (reading.typed, reading.place(1)) == (True, f"{path}: row 2")
    pieces = list(stream(str(path), rows=2))
    assert [piece.height for piece in pieces] == [2, 1]
    assert pl.concat(pieces).equals(read(str(path)).frame)
    data = path.read_bytes()
    for content in (data[: len(data) // 2], data[:-4], b"PAR1", b"ARROW1", b"", bytes(len(data))):
        path.write_bytes(content)
        for run in (lambda: read(str(path)), lambda: list(stream(str(path)))):
            with pytest.raises(DataError) as caught:
                run()
            assert where(caught.value) == f"a{suffix}"
            assert "must be a whole" in caught.value.what


def test_arrow_streams(tmp_path: Path) -> None:
    FRAME.write_ipc_stream(tmp_path / "a.arrow")
    assert read(str(tmp_path / "a.arrow")).frame["n"].to_list() == [1, None, 3]
    assert [piece.height for piece in stream(str(tmp_path / "a.arrow"), rows=2)] == [2, 1]


@pytest.mark.parametrize("packer", ["", ".gz"])
def test_json_lines(write: Write, packer: str) -> None:
    content = b'\xef\xbb\xbf{"n": 1, "t": " a "}\n\n{"n": 2.5, "t": "NA", "z": true}\n{"n": null, "t": ""}'
    path = write(gzip.compress(content) if packer else content, f"a.jsonl{packer}")
    reading = read(path, dialect=Dialect(na_values=("NA",)))
    assert cells(reading) == [(1.0, "a", None), (2.5, None, True), (None, None, None)]
    assert [where(DataError("", where=reading.place(row))) for row in (0, 1)] == [f"a.jsonl{packer}: row 1", f"a.jsonl{packer}: row 3"]
    assert [piece.height for piece in stream(path, rows=2)] == [2, 1]


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ('{"a": 1', "row 3"),
        ("[1]", "row 3"),
        ("3", "row 3"),
        ('{"a": NaN}', "row 3"),
        ('{"a": 1e999}', "row 3"),
        ('{"a": true}', "row 3, column a"),
        ('{"a": [1]}', "row 3, column a"),
        ('{"a": "\udce9"}', "byte 17, row 3"),
    ],
)
def test_json_lines_that_are_no_objects(write: Write, line: str, place: str) -> None:
    error = refused(write(b'{"a": 1}\n\n' + line.encode("utf-8", "surrogateescape") + b'\n{"a": 2}\n', "a.jsonl"))
    assert where(error) == f"a.jsonl: {place}"


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"a,b\n1,x\n2,y\n"
    for run in (lambda: read("-").frame.rows(), lambda: [(int(a), b) for f in stream("-") for a, b in f.rows()]):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        assert run() == [(1, "x"), (2, "y")]
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    reading = read("-", rows=1)
    assert (reading.files[0].path, reading.place(0)) == ("-", "standard input: row 2")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"a,b\n1\n")))
    with pytest.raises(DataError) as caught:
        read("-")
    assert caught.value.where == "standard input: row 2"
    monkeypatch.setattr(sys, "stdin", None)
    assert "it is closed" in refused("-").what


# --- pieces


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_faults_keep_their_rows_in_any_pieces(write: Write, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(sources, "CHUNK", chunk)
    body = '\ufeffa,b\n1,x\n\n\n\n"2\n2",y\n' + "3,z\n" * 40
    for fault, row, column in (("4\n", 47, ""), ("4,5,6\n", 47, ""), ('4,"q\n', 47, ", column b"), ("4,x\0\n", 47, ", column b")):
        error = refused(write(body + fault + "5,w\n"))
        assert where(error) == f"a.csv: row {row}{column}"
    error = refused(write(body.encode() + b"4,\xfc\n5,w\n"))
    assert where(error) == f"a.csv: byte {len(body.encode()) + 2}, row 47"


@pytest.mark.parametrize("chunk", [1, 5])
def test_a_header_longer_than_a_chunk(write: Write, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(sources, "CHUNK", chunk)
    path = write('\n"a\n,;;;;b",c\n1,2\n')
    assert [(frame.columns, frame.rows()) for frame in stream(path)] == [(["a\n,;;;;b", "c"], [("1", "2")])]


NAMES = st.lists(
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=6).filter(lambda name: name.strip()),
    min_size=2, max_size=4, unique_by=lambda name: name.strip(),
)  # fmt: skip
CELLS = st.text(st.characters(exclude_characters="\0", codec="utf-8") | st.sampled_from('",\n\r ;01'), max_size=6)


def stripped(cell: str) -> str | None:
    """What a cell comes to: polars takes the same blanks away as Unicode's White_Space names, Python four more."""
    blanks = "".join(chr(code) for code in range(0x3001) if chr(code).isspace() and code not in (0x1C, 0x1D, 0x1E, 0x1F))
    return cell.strip(blanks) or None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), names=NAMES, quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]), end=st.sampled_from(["\n", "\r\n"]))
def test_whatever_python_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, names: list[str], quoting: Any, end: str
) -> None:
    rows = data.draw(st.lists(st.lists(CELLS, min_size=len(names), max_size=len(names)), min_size=1, max_size=8))
    if quoting == csv.QUOTE_MINIMAL and end == "\n":  # the csv module leaves a bare CR without quotes then
        names, *rows = ([cell.replace("\r", "") for cell in row] for row in (names, *rows))
    text = io.StringIO()
    writer = csv.writer(text, quoting=quoting, lineterminator=end)
    writer.writerows([names, *rows])
    path = tmp_path_factory.mktemp("table") / "a.csv"
    path.write_bytes(text.getvalue().encode())
    wanted = [tuple(stripped(cell) for cell in row) for row in rows]
    dialect = Dialect(separator=",")
    clean = [name.strip() for name in names]
    reading = read(str(path), dialect=dialect, text=clean)
    assert (reading.frame.columns, cells(reading)) == (clean, wanted)
    assert reading.place(len(rows) - 1) == f"{path}: row {len(rows) + 1}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "CHUNK", data.draw(st.integers(1, 40)))
        pieces = list(stream(str(path), dialect=dialect, rows=2))
    assert max(piece.height for piece in pieces) <= 2
    assert [row for piece in pieces for row in piece.rows()] == wanted
