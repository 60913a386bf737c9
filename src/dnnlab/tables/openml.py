"""Data sets of openml.org: fetched by scikit-learn, which keeps them in its cache, and made into a table."""

from __future__ import annotations

import re
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dnnlab.errors import ConfigError, DataError, DnnlabError, ResourceError, shown
from dnnlab.files import printable

NAME = re.compile(r"(?!\.+$)[A-Za-z0-9_.,()+=:~@!'&-]+")  # what goes into an address, and into a path of the cache, as it is
PATIENCE = 60.0  # seconds without an answer
ELSEWHERE = "Fetch its file from openml.org/d/…, save it as CSV, and try data=csv"


@dataclass(frozen=True, eq=False)
class OpenMl:
    """A table of openml.org: columns of text and of numbers (Float64), null where missing."""

    frame: pl.DataFrame  # the inputs, then the targets
    target: tuple[str, ...]  # what the set itself means to be predicted; empty where it does not say
    name: str
    version: int
    facts: dict[str, Any]  # id, url, licence, md5: texts and a number; notes: a list of what is to be known of the set


def fetch(name: str | int, *, version: int | str = "active", cache: str | None = None, key: str = "data.name") -> OpenMl:
    """The set with a name ("adult") or a number (1590); without a network, where the cache has it.

    version: of a set that is named ("active": the oldest one in use); cache: its folder (None: scikit-learn's own). ConfigError for what
    names no set, DataError for a set that there is not or that is no table, ResourceError where the network or the cache fails.
    """
    where = f"{key}={printable(name)}"
    _check_asked(name, version, where)
    home = _home(cache)
    with warnings.catch_warnings(record=True) as heard, _patience():
        warnings.simplefilter("always")
        bunch = _bunch(name, version, home, where)
    found, released = str(bunch.details["name"]), int(bunch.details["version"])
    notes = [_note(str(said.message), found, released) for said in heard if issubclass(said.category, UserWarning | RuntimeWarning)]
    facts = {
        "id": int(bunch.details["id"]),
        "url": str(bunch.url),
        "licence": str(bunch.details.get("licence", "")),
        "md5": str(bunch.details.get("md5_checksum", "")),
        "notes": notes,
    }
    return OpenMl(_frame(bunch, where), tuple(bunch.target_names), found, released, facts)


def _check_asked(name: str | int, version: int | str, where: str) -> None:
    if isinstance(name, str) and not NAME.fullmatch(name):
        raise ConfigError(
            f"a set's name must be letters, digits and the like, however: {shown(name)}", where=where, fix="Try its number: data.name=1590"
        )
    if isinstance(name, int) and version != "active":
        raise ConfigError(
            f"data.version must stand with a name, however: number {name} is a version already",
            where=f"{where}, data.version={printable(version)}",
            fix="Try data.version=active",
        )


def _home(cache: str | None) -> str:
    """The folder of the cache, which scikit-learn makes."""
    from sklearn.datasets import get_data_home  # takes half a second to import

    try:
        return str(get_data_home(data_home=cache))
    except (OSError, ValueError) as error:  # a file in its place, no permission; a NUL byte
        raise _no_cache(error, "the default" if cache is None else cache) from error


def _no_cache(error: Exception, folder: str) -> ResourceError:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return ResourceError(
        f"the cache must be a folder that can be written, however: {printable(reason)}",
        where=f"data.cache: {printable(folder)}",
        fix="Try data.cache=path/to/a/folder",
    )


@contextmanager
def _patience() -> Iterator[None]:
    """Wait for a silent network for a while, not for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE if before is None else before)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _bunch(name: str | int, version: int | str, home: str, where: str) -> Any:
    from sklearn.datasets import fetch_openml

    which = {"data_id": name} if isinstance(name, int) else {"name": name, "version": version}
    try:
        return fetch_openml(**which, data_home=home, as_frame=False, parser="liac-arff")  # this way, pandas is not needed
    except Exception as error:  # the parser has exceptions of its own, which scikit-learn does not publish
        raise _said(error, home, where) from error


def _said(error: Exception, home: str, where: str) -> DnnlabError:
    """What an error of scikit-learn, of the network or of the system means."""
    if isinstance(error, HTTPError):
        error.close()
    unknown = (isinstance(error, HTTPError) and error.code in (404, 412)) or type(error).__name__ == "OpenMLError"
    if unknown:
        return DataError(
            f"openml.org must have the set, however: {printable(error)}",
            where=where,
            fix="Look for its name and version at openml.org; a number stands for both: data.name=1590",
        )
    if isinstance(error, URLError | HTTPException | TimeoutError | ConnectionError):
        reason = error.reason if isinstance(error, URLError) else error
        return ResourceError(
            f"openml.org must answer where the cache lacks the set, however: {printable(reason) or type(error).__name__}",
            where=f"{where}, cache {printable(home)}",
            fix="Check the network, or try data.cache=FOLDER with the cache of a machine that has fetched it",
        )
    if isinstance(error, OSError):
        return _no_cache(error, home)
    if isinstance(error, MemoryError):
        return ResourceError("the set must fit into memory, however: it does not", where=where, fix=ELSEWHERE)
    if "STRING attributes" in str(error):
        return DataError("a set must have columns of numbers and categories, however: one is free text", where=where, fix=ELSEWHERE)
    return DataError(f"the set must be a whole table, however: {printable(error) or type(error).__name__}", where=where, fix=ELSEWHERE)


def _note(text: str, name: str, version: int) -> str:
    """A warning as a sentence on one line."""
    if text.startswith("Multiple active versions"):
        return f"several versions of {printable(name)} are in use, and this is version {version}; data.version={version} pins it"
    return printable(" ".join(text.split()))[:300]


def _frame(bunch: Any, where: str) -> pl.DataFrame:
    """The inputs, nominal ones as text, and the targets."""
    names = [*bunch.feature_names, *bunch.target_names]
    if hasattr(bunch.data, "toarray"):
        raise DataError("a set must be dense, however: its rows are written sparsely", where=where, fix=ELSEWHERE)
    if len(set(names)) < len(names) or not len(bunch.data):
        fact = f"{len(set(names))} names for {len(names)} columns" if len(bunch.data) else "there are no rows"
        raise DataError(f"the set must have rows, and a name for each column, however: {fact}", where=where, fix=ELSEWHERE)
    columns = [_column(name, values, bunch.categories.get(name)) for name, values in zip(bunch.feature_names, bunch.data.T, strict=True)]
    if bunch.target_names:
        columns += map(_column, bunch.target_names, np.reshape(bunch.target, (len(bunch.data), -1)).T)
    return pl.DataFrame(columns)


def _column(name: str, values: NDArray[Any], words: list[str] | None = None) -> pl.Series:
    """words: what the numbers of a nominal column stand for."""
    if words is not None:
        return pl.Series(name, [None if np.isnan(value) else words[int(value)] for value in values], dtype=pl.String)
    if values.dtype == object:
        return pl.Series(name, values.tolist(), dtype=pl.String)
    return pl.Series(name, np.ascontiguousarray(values, np.float64), nan_to_null=True)
