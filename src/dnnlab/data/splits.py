"""Which rows learn, which steer and which judge: a function of the seed and the classes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dnnlab.errors import ConfigError, DataError
from dnnlab.seeding import generator


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
    pools = _pools(codes, seed, len(sizes), names)
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


def _pools(codes: Tensor, seed: int, parts: int, names: Sequence[str]) -> dict[int, Tensor]:
    """The rows of each class that has any, in the order in which they are drawn; refuses a class with fewer rows than parts."""
    classes, counts = torch.unique(codes, return_counts=True)
    few = [(code, count) for code, count in zip(classes.tolist(), counts.tolist(), strict=True) if count < parts]
    if few:
        shown = ", ".join(f"{names[code] if names else f'class {code}'} has {count}" for code, count in few[:10])
        raise DataError(
            f"a stratified split into {parts} parts must find {parts} rows of every class, however {shown}",
            where="data.stratify",
            fix="Try data.stratify=false, or more rows of that class",
        )
    pools = {}
    for code in classes.tolist():
        members = (codes == code).nonzero().squeeze(1)
        pools[code] = members[torch.randperm(len(members), generator=generator(seed, "split", code))]
    return pools
