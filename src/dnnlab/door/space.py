"""The jobs that a command line asks for: every combination of its values, zipped ones, or the rows of a file. Nothing is composed."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import ceil, prod
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, RangeSweep
from hydra.errors import HydraException

from dnnlab.door.arguments import Arguments
from dnnlab.door.choices import override_key
from dnnlab.errors import ConfigError, shown

MOST = 100_000  # jobs of one sweep
SWEEPS = "outputs/sweeps"
STUDY = "study.db"  # of Optuna, in the folder of a sweep
WIDTH = 1000  # columns of a file of jobs


def spread(arguments: Arguments) -> tuple[Arguments, bool]:
    """Turn `seeds=8` into eight values of seed, and `sweep.name` into a folder: -> what Hydra is to see, and whether it is a sweep."""
    words = list(arguments.hydra)
    swept = False
    if (seeds := _last(arguments, "seeds")) is not None:
        words = _with_seeds(words, arguments, seeds)
        swept = _number(seeds, 0) is not None
    name = _last(arguments, "sweep.name")
    if name not in (None, "null", ""):
        folder = f"{SWEEPS}/{str(name).strip(chr(39) + chr(34))}"
        if Path(folder).parent != Path(SWEEPS):
            raise ConfigError(f"sweep.name must be one name, without a slash, however: {shown(name)}", where="sweep.name")
        if _last(arguments, "hydra.sweep.dir") is None:
            words.append(f"hydra.sweep.dir='{folder}'")
        if _last(arguments, "hydra/sweeper") == "optuna":
            words += _study(arguments, Path(folder))
        swept = True
    swept = swept or _last(arguments, "sweep.jobs") not in (None, "null")
    overrides = tuple(word for word in words if not word.startswith("-") and "=" in word)
    return replace(arguments, hydra=tuple(words), overrides=overrides), swept


def _study(arguments: Arguments, folder: Path) -> list[str]:
    """Optuna in a named sweep: what it proposes follows from its seed and the results before, and the ledger knows these. So a study that
    was killed is told again from its beginning, in no time, and goes on with the very trials that it would have gone on with; the file
    beside the runs is a view of it for others, made anew each time."""
    words = []
    if _last(arguments, "hydra.sweeper.sampler.seed") is None and _last(arguments, "hydra/sweeper/sampler") != "grid":
        words.append(f"hydra.sweeper.sampler.seed={_last(arguments, 'seed') or 0}")
    if _last(arguments, "hydra.sweeper.storage") is None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / STUDY).unlink(missing_ok=True)
        words += [f"hydra.sweeper.storage='sqlite:///{folder / STUDY}'", f"hydra.sweeper.study_name='{folder.name}'"]
    return words


def _with_seeds(words: list[str], arguments: Arguments, seeds: str) -> list[str]:
    count, first = _number(seeds, 1), _number(_last(arguments, "seed") or "0", 0)
    if seeds == "null":
        return words
    if count is None:
        raise ConfigError(f"seeds must be a whole number above 0, however: {shown(seeds)}", where="seeds", fix="Try seeds=8")
    if first is None:
        raise ConfigError(
            f"seeds={seeds} must stand with one number as seed, however: seed={_last(arguments, 'seed')}",
            where="seeds, seed",
            fix=f"Try seed=0 seeds={seeds}, which takes the seeds from 0 on",
        )
    kept = [word for word in words if override_key(word) not in ("seed", "seeds")]
    return [*kept, f"seed=range({first},{first + count})"]


def _number(text: str, least: int) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and int(text) >= least else None


def _last(arguments: Arguments, key: str) -> str | None:
    return next((word.partition("=")[2] for word in reversed(arguments.overrides) if override_key(word) == key), None)


def jobs_of(overrides: Sequence[str], loader: ConfigLoader | None = None) -> list[list[str]]:
    """The overrides of every job; ConfigError where there are none, or more than a machine can hold. loader: knows what glob() may choose.

    >>> jobs_of(["optimizer.lr=0.1,0.2", "trainer.epochs=5,9", "sweep.zip=[optimizer.lr,trainer.epochs]"])[1]
    ['sweep.zip=[optimizer.lr,trainer.epochs]', 'optimizer.lr=0.2', 'trainer.epochs=9']
    """
    try:
        parsed = {
            override.get_key_element(): override
            for override in OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
        }
    except HydraException as error:
        raise ConfigError(f"an override must be readable, however: {error}", where="command line") from error
    for override in parsed.values():
        if override.is_sweep_override() and not override.is_discrete_sweep():
            raise ConfigError(
                f"a grid must have values that can be counted, however: {shown(override.input_line)}",
                where="command line",
                fix="Try hydra/sweeper=optuna, which draws from intervals, or a list: optimizer.lr=1e-4,1e-3,1e-2",
            )
    zipped = _list(parsed.get("sweep.zip"))
    file = parsed.get("sweep.jobs")
    rows = _rows(str(file.value())) if file is not None and file.value() is not None else [[]]
    free = [override for key, override in parsed.items() if key.lstrip("+~") not in zipped]
    together = _together(zipped, parsed)
    count = prod(_length(override) for override in free) * len(together) * len(rows)
    if not 0 < count <= MOST:
        fact = "there is none" if count == 0 else f"{count:,} jobs"
        raise ConfigError(
            f"a sweep must have 1 to {MOST:,} jobs, however: {fact}",
            where="command line",
            fix="Give fewer values, or draw from them: hydra/sweeper=optuna" if count else "Give values: seed=range(8)",
        )
    combinations = product(*(list(_values(override)) for override in free))
    found = [[*words, *more, *row] for words in combinations for more in together for row in rows]
    return [list(words) for words in dict.fromkeys(map(tuple, found))]  # each point once


def _length(override: Override) -> int:
    value = override.value()
    if isinstance(value, RangeSweep) and value.start is not None and value.stop is not None:
        return max(0, ceil((float(value.stop) - float(value.start)) / float(value.step)))
    return sum(1 for _ in _values(override))


def _values(override: Override) -> Iterator[str]:
    key = override.get_key_element()
    if override.is_sweep_override():
        yield from (f"{key}={value}" for value in override.sweep_string_iterator())
    else:
        yield str(override.input_line)


def _list(override: Override | None) -> list[str]:
    value = None if override is None else override.value()
    return [str(key) for key in value] if isinstance(value, list) else []


def _together(zipped: Sequence[str], parsed: Mapping[str, Override]) -> list[list[str]]:
    """The values of zipped settings, job by job."""
    if not zipped:
        return [[]]
    columns: dict[str, list[str]] = {}
    for key in zipped:
        override = parsed.get(key)
        if override is None:
            raise ConfigError(f"sweep.zip must name settings that are given, however: {shown(key)} is not", where="sweep.zip")
        columns[key] = list(_values(override))
    lengths = {key: len(values) for key, values in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        raise ConfigError(f"sweep.zip must have equally many values of each setting, however: {told}", where="sweep.zip")
    return [list(row) for row in zip(*columns.values(), strict=True)]


def _rows(path: str) -> list[list[str]]:
    """The jobs of a CSV file: each row's overrides; an empty cell leaves a setting as it is."""
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigError(f"sweep.jobs must be a CSV file that can be read, however: {said}", where=shown(path)) from error
    if not rows or not all(header) or len(set(header)) < len(header) or len(header) > WIDTH:
        raise ConfigError(
            "sweep.jobs must have a first line with the names of settings, each once, and a row for each job, however: it has not",
            where=shown(path),
            fix="Try: optimizer.lr,seed on the first line, 0.01,0 on the next",
        )
    for line, row in rows:
        if len(row) != len(header):
            raise ConfigError(
                f"a row must have {len(header)} cells like the first line, however: {len(row)}", where=f"{shown(path)}:{line}"
            )
    return [[f"{name}={cell.strip()}" for name, cell in zip(header, row, strict=True) if cell.strip()] for _, row in rows]
