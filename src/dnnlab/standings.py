"""The best so far of each member of a stack: what `Best` and a kept state are to one run, by one comparison and one copy for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dnnlab.flat import FlatParameters
from dnnlab.population import FLAT, Population
from dnnlab.population.trainer import Border
from dnnlab.stopping import Best

NEVER = torch.iinfo(torch.int64).max


@final
class Standings:
    """K bests with the states that reached them; members are called by their numbers."""

    def __init__(self, known: Mapping[int, Best], patience: Sequence[int | None]) -> None:
        """known: the bests so far, of one metric, in the order of the stack; patience: validations that each member waits for a better
        one, None for ever."""
        bests = list(known.values())
        self._columns = {member: column for column, member in enumerate(known)}
        self._monitor, self._mode = bests[0].monitor, bests[0].mode
        self._delta = np.array([best.min_delta for best in bests])
        self._value = np.array([best.value for best in bests])
        self._epoch = np.array([best.epoch for best in bests])
        self._waited = np.array([best.waited for best in bests])
        self._nans = np.array([best.nans for best in bests])
        self._patience = np.array([np.inf if own is None else own for own in patience])
        self._step = np.full(len(bests), -1)  # of the best, where it was seen here
        self._borders: dict[int, Border] = {}  # those of the bests, by their step
        self._states: dict[str, Tensor] = {}  # (K, …) each

    @property
    def count(self) -> int:
        """How many members there are."""
        return len(self._columns)

    def see(self, border: Border, population: Population) -> None:
        """Judge a border that tells the monitored metric, and keep the states that are better than before."""
        value = np.array(border.metrics[self._monitor])
        lost = np.isnan(value)
        with np.errstate(invalid="ignore"):
            gain = self._value - value if self._mode == "min" else value - self._value
        better = (gain > self._delta) | ((self._epoch == 0) & ~lost)
        self._value[better], self._epoch[better], self._step[better] = value[better], border.epoch, border.step
        self._waited += 1
        self._waited[better] = 0
        self._nans += lost
        columns = np.flatnonzero(better)
        if columns.size:
            self._keep_states(population, columns)
            self._keep_border(border)

    def _keep_states(self, population: Population, columns: NDArray[np.intp]) -> None:
        rows = torch.from_numpy(columns).to(population.flat.data.device)
        for name, source in population.weights().items():
            kept = self._states.get(name)
            if kept is None:
                kept = self._states[name] = torch.empty_like(source)
            if columns.size == len(self._step):
                kept.copy_(source)
            else:
                kept.index_copy_(0, rows, source.index_select(0, rows))

    def _keep_border(self, border: Border) -> None:
        self._borders[border.step] = border
        if len(self._borders) > 2 * len(self._step):
            there = set(self._step.tolist())
            self._borders = {step: kept for step, kept in self._borders.items() if step in there}

    def over(self) -> list[int]:
        """The members whose patience is over."""
        over = self._waited >= self._patience
        return [member for member, column in self._columns.items() if over[column]] if over.any() else []

    def best(self, member: int) -> Best:
        """What one run would have counted."""
        column = self._columns[member]
        return Best(
            self._monitor,
            self._mode,
            float(self._delta[column]),
            float(self._value[column]),
            int(self._epoch[column]),
            int(self._waited[column]),
            int(self._nans[column]),
        )

    def border(self, member: int) -> Border | None:
        """Where the best was seen; None where it was not seen here."""
        return self._borders.get(int(self._step[self._columns[member]]))

    def state(self, member: int, flat: FlatParameters) -> dict[str, Tensor]:
        """The best state of a member with these parameters, by name, live."""
        column = self._columns[member]
        row = self._states[FLAT][column, : len(flat.data)]
        kept = {name: rows[column] for name, rows in self._states.items() if name != FLAT}
        return {name: flat.view(name, row) for name in flat.shapes} | kept

    def keep(self, members: Sequence[int]) -> None:
        """Go on with these only."""
        there = np.array([self._columns[member] for member in members])
        self._delta, self._value, self._patience = self._delta[there], self._value[there], self._patience[there]
        self._epoch, self._step, self._waited, self._nans = self._epoch[there], self._step[there], self._waited[there], self._nans[there]
        self._states = {name: kept[torch.from_numpy(there).to(kept.device)] for name, kept in self._states.items()}
        self._columns = {member: column for column, member in enumerate(members)}
