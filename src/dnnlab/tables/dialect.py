"""How a delimited file is written."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from dnnlab.errors import ConfigError, shown

SEPARATORS = (",", ";", "\t", "|")  # those that are looked for where none is given


@dataclass(frozen=True)
class Dialect:
    """How a delimited file is written; the defaults are those of most CSV files."""

    separator: str | None = None  # None: found from the header line among , ; tab |
    decimal: str = "."  # or ","
    thousands: str | None = None
    quote: str | None = '"'  # None: quotes are plain letters
    encoding: str = "utf-8"
    header: bool = True
    names: tuple[str, ...] = ()  # column names, where there is no header
    na_values: tuple[str, ...] = ()  # texts that mean "missing" in every column; an empty cell always does
    skip_rows: int = 0  # lines before the header
    comment: str | None = None  # lines that begin with it are left out

    @property
    def plain_numbers(self) -> bool:
        """Whether numbers are written as polars itself reads them."""
        return self.decimal == "." and self.thousands is None

    @property
    def utf8(self) -> bool:
        """Whether the bytes can be read as they are (a mark of byte order at the beginning is accepted)."""
        return codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig", "ascii")


def check(dialect: Dialect) -> None:
    """Refuse, as ConfigError, a dialect that cannot be meant.

    >>> check(Dialect(separator=";;"))
    Traceback (most recent call last):
    ...
    dnnlab.errors.ConfigError: must be one ASCII letter, however: ';;' - data.separator - Try data.separator=;
    """
    for name, sign in (("separator", dialect.separator), ("quote", dialect.quote)):
        if sign is not None and (len(sign) != 1 or not sign.isascii() or sign in "\r\n\0"):
            raise ConfigError(
                f"must be one ASCII letter, however: {shown(sign)}", where=f"data.{name}", fix=f"Try data.{name}={sign.strip()[:1]}"
            )
    if dialect.separator is not None and dialect.separator == dialect.quote:
        raise ConfigError(
            f"must differ from data.quote, however: both are {shown(dialect.separator)}", where="data.separator", fix="Try data.quote=null"
        )
    if dialect.decimal not in (".", ","):
        raise ConfigError(f"must be . or , however: {shown(dialect.decimal)}", where="data.decimal", fix="Try data.decimal=,")
    if dialect.thousands is not None and (len(dialect.thousands) != 1 or dialect.thousands in dialect.decimal + "0123456789+-"):
        raise ConfigError(
            f"must be one letter, neither a digit nor data.decimal, however: {shown(dialect.thousands)}", where="data.thousands"
        )
    if dialect.comment is not None and not dialect.comment:
        raise ConfigError("must have a letter, however: it is empty", where="data.comment", fix="Try data.comment=null")
    if dialect.skip_rows < 0:
        raise ConfigError(f"must be 0 or more, however: {dialect.skip_rows}", where="data.skip_rows")
    if dialect.header and dialect.names:
        raise ConfigError("must be empty where the file has a header, however: it is not", where="data.names", fix="Try data.header=false")
    try:
        codecs.lookup(dialect.encoding)
        "".encode(dialect.encoding)
    except (LookupError, ValueError, TypeError) as error:
        raise ConfigError(
            f"must be an encoding that Python knows, however: {shown(dialect.encoding)}",
            where="data.encoding",
            fix="Try data.encoding=utf-8",
        ) from error
