"""How errors are told: one line on stderr each."""

from __future__ import annotations

import sys

from dnnlab.errors import DnnlabError
from dnnlab.files import printable


def tell(error: DnnlabError, prefix: str = "") -> None:
    """`dnnlab: error[KIND]: what - where - how to fix`; another line for each error found beside it, and a picture where one was drawn."""
    for said in (str(error), *getattr(error, "__notes__", ())):
        line = "\n".join(printable(part) for part in said.split("\n"))  # names from data may hold what a terminal obeys (U15)
        head = "" if line.startswith(" ") else f"dnnlab: error[{error.kind}]: {prefix}"
        print(head + line, file=sys.stderr, flush=True)
