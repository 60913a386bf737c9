"""Tensors as safetensors files: what a file claims is compared with what is expected before its tensors are read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256 as hashed
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save
from torch import Tensor

from dnnlab.errors import ArtifactError, ResourceError, shown
from dnnlab.limits import free_memory
from dnnlab.runfolder.inside import open_inside
from dnnlab.runfolder.strict import parse

HEADER_LIMIT = 16 * 2**20  # bytes
TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64, "I32": torch.int32,
    "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
OTHERS = {b"PK\x03\x04": "a zip file, as torch.save writes", b"\x80": "a pickle"}


@dataclass(frozen=True)
class Form:
    """What a tensor is, without its numbers."""

    dtype: torch.dtype
    shape: tuple[int, ...]


def forms(tensors: Mapping[str, Tensor]) -> dict[str, Form]:
    """The forms of tensors, by name."""
    return {name: Form(tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}


def dump(tensors: Mapping[str, Tensor]) -> bytes:
    """The bytes of a file with these tensors; they depend on nothing else."""
    return save({name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()})


def load(
    folder: Path,
    name: str,
    *,
    sha256: str,
    size: int,
    expected: Mapping[str, Form] | None = None,
    key: str = "",
    beside: tuple[str, ...] = (),
) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU.

    ArtifactError where size, hash or header are others than they should be, or a tensor is not of its expected form: that is seen before
    memory is taken. key: the setting to blame for other forms; beside: how names begin that may be there unexpected.
    """
    where = str(folder / name)
    with open_inside(folder, name) as file:
        found = os.fstat(file.fileno()).st_size
        head = file.read(8)
        other = next((what for start, what in OTHERS.items() if head.startswith(start) and found != size), "")
        if found != size or len(head) < 8:
            raise ArtifactError(
                f"must have {size:,} bytes, however: {found:,}" + (f" (it begins as {other})" if other else ""), where=where
            )
        length = int.from_bytes(head, "little")
        if length > min(HEADER_LIMIT, size - 8):
            raise ArtifactError("must be a safetensors file, however its header would be longer than it may be", where=where)
        header = file.read(length)
        found_forms = _forms(parse(header, where), size - 8 - length, where)
        if expected is not None:
            known = {of: form for of, form in found_forms.items() if of in expected or not of.startswith(beside)}
            _check(known, expected, where, key)
        if 2 * size > free_memory():
            raise ResourceError(f"memory must suffice for {2 * size:,} bytes, however less is free", where=where)
        content = head + header + file.read(size - 8 - length)
    digest = hashed(content).hexdigest()
    if digest != sha256:
        raise ArtifactError(
            f"must have the hash {sha256[:12]}…, however: {digest[:12]}…", where=where, fix="Try --fallback, or a sound copy"
        )
    try:
        return load_tensors(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ArtifactError(f"must be a safetensors file, however: {shown(str(error))}", where=where) from error


def _forms(header: dict[str, Any], size: int, where: str) -> dict[str, Form]:
    """What a header claims, which must fill the file without gaps."""
    found: dict[str, Form] = {}
    spans: list[tuple[int, int]] = []
    for name, entry in header.items():
        match entry:
            case {"dtype": str(kind), "shape": list(shape), "data_offsets": [int(start), int(end)], **rest} if not rest and kind in TYPES:
                if not all(type(length) is int and 0 <= length <= 2**48 for length in shape):
                    raise ArtifactError(f"{shown(name)} must have a shape, however: {shown(shape)}", where=where)
                found[name] = Form(TYPES[kind], tuple(shape))
                if prod(shape) * TYPES[kind].itemsize != end - start:
                    raise ArtifactError(f"{shown(name)} must have as many bytes as its shape asks for, however it has not", where=where)
                spans.append((start, end))
            case _:
                raise ArtifactError(f"{shown(name)} must be a tensor of a known type, however: {shown(entry)}", where=where)
    place = 0
    for start, end in sorted(spans):
        if start != place:
            raise ArtifactError("its tensors must follow one another, however they overlap or leave gaps", where=where)
        place = end
    if place != size:
        raise ArtifactError("its tensors must fill the file, however they do not", where=where)
    return found


def _check(found: Mapping[str, Form], expected: Mapping[str, Form], where: str, key: str) -> None:
    """T18: the first tensor that is another one."""
    for name in dict.fromkeys((*expected, *found)):
        own, other = expected.get(name), found.get(name)
        if own != other:
            wanted, there = ("none" if form is None else f"{form.shape} {form.dtype}" for form in (own, other))
            raise ArtifactError(
                f"{shown(name)} must have the shape {wanted}, however: {there} in the checkpoint", where=f"{where}{', ' * bool(key)}{key}"
            )
