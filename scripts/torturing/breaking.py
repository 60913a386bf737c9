"""Builds that are broken on purpose: a torture that cannot see them is worth nothing."""

from __future__ import annotations

from torturing.common import Break


def sampler() -> None:
    """The order of the rows is drawn, not keyed."""
    import torch

    import dnnlab.trainer

    dnnlab.trainer.permutation = lambda seed, epoch, count: torch.randperm(count)  # type: ignore[assignment]


def fsync() -> None:
    """Files get their names before the disk has their bytes."""
    from pathlib import Path

    import dnnlab.files

    def write_new(path: Path, content: bytes) -> None:
        with path.open("xb") as file:
            file.write(content)

    dnnlab.files.write_new = write_new


def rename() -> None:
    """Temporary files lie in the system's folder for them, which may be another file system."""
    import shutil
    import tempfile
    from pathlib import Path

    import dnnlab.files
    import dnnlab.runfolder.folder
    import dnnlab.runfolder.generations

    def write_atomic(path: Path, content: bytes | str) -> None:
        with tempfile.NamedTemporaryFile(delete=False) as file:
            file.write(content.encode() if isinstance(content, str) else content)
        shutil.move(file.name, path)

    for module in (dnnlab.files, dnnlab.runfolder.folder, dnnlab.runfolder.generations):
        module.write_atomic = write_atomic  # type: ignore[attr-defined]


def table() -> None:
    """Names in a folder are imported instead of looked up."""
    from importlib import import_module

    import dnnlab.custom

    def load(target: str, trusted: object, where: str) -> object:
        module, _, name = target.rpartition(".")
        return getattr(import_module(module), name)

    dnnlab.custom.load = load


BREAKS: dict[str, Break] = {"sampler": sampler, "fsync": fsync, "rename": rename, "table": table}
