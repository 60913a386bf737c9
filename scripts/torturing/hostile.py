"""Run folders as a stranger might send them: one change each, of many kinds; in half of them every hash is made to fit."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from torturing.forging import reseal

JSON = ("config.json", "schema.json", "run.json", "manifest.json", "checkpoints/encoder.json", "CHECKPOINT")
TENSORS = ("checkpoints/encoder.safetensors", "STATE", "BEST")
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 2**31, 2**63, 10**29, 1e308, "", "nan", "inf", "os.system", "builtins.exec", "../../../../etc/passwd", "/dev/zero",
    "${oc.env:HOME}", "${oc.env:PATH}", "${hydra:runtime.cwd}", {"_target_": "os.system", "_args_": ["touch executed"]}, [], {}, [[[[]]]],
    "x" * 100_000, [0] * 10_000, "evil.Net", "evil", "__import__('os').system('touch executed')", "\x00", "\x1b[2J", "{{7*7}}", "<script>",
    ["a", "a"], {"kind": "custom", "target": "evil.Net"}, {"kind": "custom", "target": "os.system", "args": {"command": "touch executed"}},
)  # fmt: skip
KEYS = ("_target_", "_partial_", "_args_", "defaults", "hydra", "__class__", "__reduce__", "searchpath", "trust", "x")
RAW = (
    b"", b"{", b"null", b"[]", b'{"a": NaN}', b'{"a": 1e999}', b'{"a": ' + b"9" * 100_000 + b"}", b"[" * 100_000, b'{"a":' * 5_000,
    b'{"a": "\\ud800"}', b'{"a": 1, "a": 2}', b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b"\x80\x04\x95", b"PK\x03\x04" + bytes(60),
    bytes(4096),
    b"!!python/object/apply:os.system ['touch executed']",
)  # fmt: skip
SHAPES: tuple[list[Any], ...] = ([2**40], [0, 2**62], [-1], [2**31, 2**31, 2**31], [], [1] * 2000, [1.5], ["8"], [None])


class Hostile:
    """What a pickle of this does when somebody opens it."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch executed",)


def mutate(folder: Path, random: Random) -> str:
    """Change a run folder in one way; -> the name of the way."""
    kind = random.choice(WAYS)
    kind(folder, random)
    fits = random.random() < 0.5
    if fits:
        reseal(folder)
    return kind.__name__.lstrip("_") + (", hashes fit" if fits else "")


def _file(folder: Path, name: str, random: Random) -> Path:
    """A file by its name, or by what it is in a random generation."""
    generation = random.choice(sorted((folder / "checkpoints").glob("step-*")))
    special = {"CHECKPOINT": "checkpoint.json", "STATE": "state.safetensors", "BEST": "best.safetensors"}
    return generation / special[name] if name in special else folder / name


def _json(folder: Path, random: Random, change: Callable[[Any], Any]) -> None:
    path = _file(folder, random.choice(JSON), random)
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(change(document)), encoding="utf-8")


def _walk(value: Any, random: Random) -> tuple[Any, Any] | None:
    """A random place in a document: a container, and a key in it."""
    places: list[tuple[Any, Any]] = []
    pending = [value]
    while pending:
        node = pending.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            places.append((node, key))
            pending.append(node[key])
    return random.choice(places) if places else None


def _value(folder: Path, random: Random) -> None:
    def change(document: Any) -> Any:
        if place := _walk(document, random):
            place[0][place[1]] = random.choice(VALUES)
        return document

    _json(folder, random, change)


def _key(folder: Path, random: Random) -> None:
    def change(document: Any) -> Any:
        node = (_walk(document, random) or (document, None))[0]
        (node if isinstance(node, dict) else document)[random.choice(KEYS)] = random.choice(VALUES)
        return document

    _json(folder, random, change)


def _without(folder: Path, random: Random) -> None:
    def change(document: Any) -> Any:
        if place := _walk(document, random):
            del place[0][place[1]]
        return document

    _json(folder, random, change)


def _raw(folder: Path, random: Random) -> None:
    _file(folder, random.choice((*JSON, *TENSORS)), random).write_bytes(random.choice(RAW))


def _pickle(folder: Path, random: Random) -> None:
    _file(folder, random.choice((*JSON, *TENSORS)), random).write_bytes(pickle.dumps(Hostile()))


def _custom(folder: Path, random: Random) -> None:
    path = folder / "config.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document[random.choice(("model", "model", "loss", "optimizer"))] = {
        "kind": "custom",
        "target": random.choice(("evil.Net", "os.system", "evil.evil")),
    }
    path.write_text(json.dumps(document), encoding="utf-8")


def _larger(folder: Path, random: Random) -> None:
    path = folder / "config.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["model"]["hidden"] = random.choice(([10**9], [10**6] * 900, [2**62], [1] * 1000, [10**12, 10**12]))
    path.write_text(json.dumps(document), encoding="utf-8")


def _header(folder: Path, random: Random) -> None:
    path = _file(folder, random.choice(TENSORS), random)
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    entry = header[random.choice(sorted(header))]
    match random.randrange(5):
        case 0:
            entry["shape"] = random.choice(SHAPES)
        case 1:
            entry["dtype"] = random.choice(("F8_E4M3", "U64", "object", "F64", 3))
        case 2:
            entry["data_offsets"] = random.choice(([0, 2**62], [-8, 0], [8, 4], [0], "0-8", [0, 4.0]))
        case 3:
            header |= {
                f"more{number}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(random.choice((1, 20_000)))
            }
        case 4:
            header["__metadata__"] = {"format": "pt", "x": "y" * random.choice((1, 100_000))}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])


def _length(folder: Path, random: Random) -> None:
    path = _file(folder, random.choice(TENSORS), random)
    path.write_bytes(struct.pack("<Q", random.choice((0, 1, 2**62, 2**64 - 1, 100 * 2**20))) + path.read_bytes()[8:])


def _flip(folder: Path, random: Random) -> None:
    path = _file(folder, random.choice((*JSON, *TENSORS)), random)
    content = bytearray(path.read_bytes())
    for _ in range(random.choice((1, 1, 8, 64))):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(bytes(content))


def _not_finite(folder: Path, random: Random) -> None:
    path = _file(folder, random.choice(TENSORS), random)
    content = bytearray(path.read_bytes())
    size = 8 + int.from_bytes(content[:8], "little")
    if len(content) >= size + 4:
        place = size + 4 * random.randrange((len(content) - size) // 4)
        content[place : place + 4] = struct.pack("<f", random.choice((float("nan"), float("inf"), 3e38)))
        path.write_bytes(bytes(content))


def _swap(folder: Path, random: Random) -> None:
    one, other = (_file(folder, random.choice((*JSON, *TENSORS)), random) for _ in range(2))
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def _link(folder: Path, random: Random) -> None:
    path = _file(folder, random.choice((*JSON, *TENSORS, "metrics.jsonl")), random)
    target = random.choice((Path("/etc/passwd"), Path("/dev/zero"), Path("/proc/self/mem"), folder.parent / "outside", path))
    if target == folder.parent / "outside":
        shutil.copy(path, target)
    path.unlink()
    path.symlink_to(target)


def _linked_folder(folder: Path, random: Random) -> None:
    place = random.choice((folder / "checkpoints", random.choice(sorted((folder / "checkpoints").glob("step-*")))))
    outside = folder.parent / "outside-folder"
    shutil.rmtree(outside, ignore_errors=True)
    shutil.move(place, outside)
    place.symlink_to(outside)


def _fifo(folder: Path, random: Random) -> None:
    path = _file(folder, random.choice((*JSON, *TENSORS, "metrics.jsonl")), random)
    path.unlink()
    os.mkfifo(path)


def _directory(folder: Path, random: Random) -> None:
    path = _file(folder, random.choice((*JSON, *TENSORS)), random)
    path.unlink()
    path.mkdir()


def _gone(folder: Path, random: Random) -> None:
    _file(folder, random.choice((*JSON, *TENSORS)), random).unlink()


def _endless(folder: Path, random: Random) -> None:
    """A file of a terabyte that takes no space."""
    os.truncate(_file(folder, random.choice((*JSON, *TENSORS, "metrics.jsonl")), random), 2**40)


def _rows(folder: Path, random: Random) -> None:
    (folder / "metrics.jsonl").write_bytes(random.choice(RAW) + b"\n" + random.choice(RAW) + b"\n")


def _plants(folder: Path, random: Random) -> None:
    """Code beside the run, under names that Python looks for."""
    for name in ("torch.py", "sitecustomize.py", "conftest.py", "evil.py", "polars.py", "checkpoints/__init__.py"):
        (folder / name).write_text("import os\nos.system('touch executed')\n", encoding="utf-8")


WAYS = (
    _value, _value, _value, _key, _without, _raw, _pickle, _custom, _custom, _larger, _header, _header, _length, _flip, _not_finite, _swap,
    _link, _linked_folder, _fifo, _directory, _gone, _endless, _rows, _plants,
)  # fmt: skip
