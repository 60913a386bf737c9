"""How errors are told: one line on stderr each."""

from __future__ import annotations

import sys

from dnnlab.errors import DnnlabError


def tell(error: DnnlabError, prefix: str = "") -> None:
    """`dnnlab: error[KIND]: what - where - how to fix`; another line for each error found beside it, and a picture where one was drawn."""
    for line in (str(error), *getattr(error, "__notes__", ())):
        head = "" if line.startswith(" ") else f"dnnlab: error[{error.kind}]: {prefix}"
        print(head + line, file=sys.stderr, flush=True)
