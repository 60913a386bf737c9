"""Which rows learn, which steer and which judge: a function of the seed and the classes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dnnlab.errors import ConfigError, DataError
from dnnlab.seeding import generator


@dataclass(frozen=True)
class Plan:
    """Another way to split than each row by itself."""

    kind: Literal["random", "group", "time"] = "random"  # group: rows of one group stay together; time: the latest rows judge
    folds: int | None = None  # cross-validation: every row judges once
    fold: int = 0  # which of the folds judges, from 0


def divide(
    rows: int,
    shares: Mapping[str, float],
    seed: int,
    codes: Tensor | None = None,
    names: Sequence[str] = (),
    *,
    given: Mapping[str, Tensor] | None = None,
    by: Tensor | None = None,
    plan: Plan | None = None,
) -> dict[str, Tensor]:
    """The row numbers of each part: those that are given, and a split of the others by a plan.

    by: (rows,) group codes or times, as the plan goes by; of the others, see `split`. A fold is the test, or the validation rows where the
    test is given.
    """
    given, plan = given or {}, plan or Plan()
    free = torch.ones(rows, dtype=torch.bool)
    for index in given.values():
        free[index] = False
    left = free.nonzero().squeeze(1)
    wanted = {name: share for name, share in shares.items() if name not in given}
    parts = dict(given)
    if plan.folds is not None:
        judge = "valid" if "test" in given else "test"
        fold = _fold(left, plan.folds, plan.fold, seed, codes, by if plan.kind == "group" else None, names)
        parts[judge] = fold
        free[fold] = False
        left = free.nonzero().squeeze(1)
        wanted.pop(judge, None)
    local = None if codes is None else codes[left]
    match plan.kind:
        case "group":
            found = split_groups(_by(by)[left], wanted, seed)
        case "time":
            found = split_time(_by(by)[left], wanted)
        case _:
            found = split(len(left), wanted, seed, local, names)
    return {
        name: parts[name] if name in parts else left[found[name]] for name in ("train", "valid", "test") if name in parts or name in found
    }


def _by(by: Tensor | None) -> Tensor:
    if by is None:
        raise ConfigError(
            "data.split must stand with a column to split by, however: none is named", where="data.split_by", fix="Try data.split_by=NAME"
        )
    return by


def split_groups(groups: Tensor, shares: Mapping[str, float], seed: int) -> dict[str, Tensor]:
    """As `split`, but the rows of one group are all in one part: groups are drawn until a part has its share of the rows.

    groups: (rows,) of int64 codes. Sizes are as near to the shares as whole groups allow.
    """
    sizes = _sizes(len(groups), shares)
    codes, counts = torch.unique(groups, return_counts=True)
    if len(codes) < len(sizes):
        raise DataError(
            f"a split by groups must find a group for each of {len(sizes)} parts, however: there are {len(codes)}",
            where="data.split_by",
            fix="Try data.split=random, or another data.split_by",
        )
    order = torch.randperm(len(codes), generator=generator(seed, "split"))
    part_of = torch.zeros(len(codes), dtype=torch.int64)
    names = list(sizes)
    waiting = order.tolist()
    for place, name in enumerate(names[1:], start=1):
        held = 0
        while waiting and (held == 0 or abs(held + int(counts[waiting[-1]]) - sizes[name]) <= abs(held - sizes[name])):
            if len(waiting) <= len(names) - place:  # the other parts want a group each
                break
            group = waiting.pop()
            part_of[group] = place
            held += int(counts[group])
    rows = part_of[torch.searchsorted(codes, groups)]
    return {name: (rows == place).nonzero().squeeze(1) for place, name in enumerate(names)}


def split_time(times: Tensor, shares: Mapping[str, float]) -> dict[str, Tensor]:
    """The earliest rows train, later ones validate, the latest test; rows of one time keep their order. times: (rows,)."""
    sizes = _sizes(len(times), shares)
    order = torch.argsort(times, stable=True)
    return {name: index.sort().values for name, index in zip(sizes, torch.split(order, list(sizes.values())), strict=True)}


def _fold(left: Tensor, folds: int, fold: int, seed: int, codes: Tensor | None, groups: Tensor | None, names: Sequence[str]) -> Tensor:
    """The rows of one of `folds` equal parts, whose classes are shared alike, or whose groups stay whole."""
    if folds > len(left):
        raise DataError(
            f"data.folds must be at most the number of rows, {len(left)}, however: {folds}", where="data.folds", fix="Try data.folds=5"
        )
    if groups is not None:
        codes_of, place = torch.unique(groups[left], return_inverse=True)
        if len(codes_of) < folds:
            raise DataError(
                f"data.folds must be at most the number of groups, {len(codes_of)}, however: {folds}",
                where="data.folds, data.split_by",
                fix=f"Try data.folds={max(2, len(codes_of))}",
            )
        turn = torch.empty(len(codes_of), dtype=torch.int64)
        turn[torch.randperm(len(codes_of), generator=generator(seed, "folds"))] = torch.arange(len(codes_of)) % folds
        return left[turn[place] == fold]
    if codes is None:
        pools = [torch.randperm(len(left), generator=generator(seed, "folds"))]
    else:
        pools = list(_pools(codes[left], seed, folds, names, f"{folds} folds").values())
    dealt = torch.cat(pools)  # class by class, so that every fold gets its share of each
    return left[dealt[torch.arange(len(left)) % folds == fold].sort().values]


def split(rows: int, shares: Mapping[str, float], seed: int, codes: Tensor | None = None, names: Sequence[str] = ()) -> dict[str, Tensor]:
    """The row numbers of each part, in the order of the rows; "train" gets what the other parts leave.

    shares: part -> share of the rows, 0 for no such part; codes: (rows,) of class codes, whose shares every part is to keep
    (None: rows are drawn whatever their class); names: of the classes, for what goes wrong.

    >>> {name: len(index) for name, index in split(10, {"valid": 0.25, "test": 0.2}, seed=0).items()}
    {'train': 6, 'valid': 2, 'test': 2}
    """
    sizes = _sizes(rows, shares)
    if codes is None:
        order = torch.randperm(rows, generator=generator(seed, "split"))
        return {name: index.sort().values for name, index in zip(sizes, torch.split(order, list(sizes.values())), strict=True)}
    pools = _pools(codes, seed, len(sizes), names, f"{len(sizes)} parts")
    chosen: dict[str, Tensor] = {}
    for name, size in reversed(sizes.items()):  # train comes last and takes the rest
        counts = largest_remainder([len(pool) for pool in pools.values()], size)
        drawn = [pool[:count] for pool, count in zip(pools.values(), counts, strict=True)]
        pools = {code: pool[count:] for (code, pool), count in zip(pools.items(), counts, strict=True)}
        chosen[name] = torch.cat(drawn).sort().values
    return {name: chosen[name] for name in sizes}


def largest_remainder(weights: list[int] | list[float], seats: int) -> list[int]:
    """Whole numbers that are proportional to the weights and sum to `seats` exactly (Hamilton's method).

    >>> largest_remainder([50, 30, 20], 7)
    [4, 2, 1]
    """
    total = sum(weights)
    quotas = [weight * seats / total for weight in weights]
    floors = [int(quota + 1e-9) for quota in quotas]  # 2.9999999996 is a 3 that was rounded
    order = sorted(range(len(weights)), key=lambda place: floors[place] - quotas[place])
    for place in order[: seats - sum(floors)]:
        floors[place] += 1
    return floors


def _sizes(rows: int, shares: Mapping[str, float]) -> dict[str, int]:
    """How many rows each part gets, training first; parts whose share is zero are left out."""
    wanted = {name: share for name, share in shares.items() if share > 0}
    left = 1 - sum(wanted.values())
    if left <= 1e-9:
        names = " + ".join(f"data.{name}" for name in shares)
        raise ConfigError(
            f"{names} must be less than 1, however: {sum(wanted.values()):g}",
            where=", ".join(f"data.{name}" for name in shares),
            fix=" ".join(["Try", *(f"data.{name}=0.2" for name in shares)]),
        )
    wanted = {"train": left, **wanted}
    sizes = dict(zip(wanted, largest_remainder(list(wanted.values()), rows), strict=True))
    for name, size in sizes.items():
        if size == 0:
            raise DataError(
                f"each part must get a row, however: {name} gets {wanted[name]:g} of {rows} rows, which is none",
                where=f"data.{name}" if name != "train" else ", ".join(f"data.{part}" for part in shares),
                fix=f"Try data.{name}=0" if name != "train" else "Try smaller shares",
            )
    return sizes


def _pools(codes: Tensor, seed: int, parts: int, names: Sequence[str], told: str) -> dict[int, Tensor]:
    """The rows of each class that has any, in the order in which they are drawn; refuses a class with fewer rows than parts (`told`)."""
    classes, counts = torch.unique(codes, return_counts=True)
    few = [(code, count) for code, count in zip(classes.tolist(), counts.tolist(), strict=True) if count < parts]
    if few:
        shown = ", ".join(f"{names[code] if names else f'class {code}'} has {count}" for code, count in few[:10])
        raise DataError(
            f"a stratified split into {told} must find {parts} rows of every class, however {shown}",
            where="data.stratify",
            fix="Try data.stratify=false, or more rows of that class",
        )
    pools = {}
    for code in classes.tolist():
        members = (codes == code).nonzero().squeeze(1)
        pools[code] = members[torch.randperm(len(members), generator=generator(seed, "split", code))]
    return pools
