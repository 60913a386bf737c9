"""Ends that a run did not choose: what its folder tells of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dnnlab.errors import DnnlabError
from dnnlab.files import naming
from dnnlab.runfolder.folder import RunFolder, now_as_text, said
from dnnlab.runfolder.inside import is_inside
from dnnlab.runfolder.names import CONFIG_JSON, MANIFEST, RUN


@contextmanager
def telling(folder: RunFolder) -> Iterator[None]:
    """Whatever ends a run early stands in its folder, too."""
    try:
        yield
    except (KeyboardInterrupt, Exception) as error:
        tell_end(folder, error)
        raise


def tell_end(folder: RunFolder, error: BaseException) -> None:
    """Let a folder say what ended its run early: an error, or an interrupt outside of training."""
    if isinstance(error, DnnlabError):
        folder.fail(error)
    elif isinstance(error, Exception):
        folder.fail(DnnlabError(f"{type(error).__name__}: {error}"))
    else:
        folder.fail(None)


def record_failure(
    path: Path, document: Mapping[str, Any] | None, overrides: Sequence[str], error: DnnlabError, *, failures: int = 1
) -> None:
    """Leave word of a sweep's job that failed before it began: what was asked, and why it could not be. failures: how often by now."""
    with naming(path):
        path.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(path)
    folder.take()
    run: dict[str, Any] = {"started": now_as_text(), "status": "failed"}
    if is_inside(path, RUN):  # the job failed after it had begun
        run = folder.read_run()
    if document is not None and not is_inside(path, CONFIG_JSON):
        folder.change_settings(document, "")
    status = run["status"] if run.get("status") == "diverged" else "failed"  # it says more
    run["failures"] = max(failures, int(run.get("failures", 0)))
    folder.status(status, {**run, "status": status, "ended": now_as_text(), "overrides": list(overrides), **said(error)})
    if is_inside(path, MANIFEST) and folder.has_ended:
        folder.vouch()
    folder.close()
