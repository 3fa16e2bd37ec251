"""Drawing people whole: one draw serves every model, slice and cutoff, so that all differences are paired.

A person drawn is drawn at every cutoff at which they are known. What they do at one cutoff tells of what they do at
the next, and an interval of a mean over cutoffs that drew them apart would be too narrow (cluster bootstrap: Davison
and Hinkley 1997, Bootstrap methods and their application, section 3.8).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from training.metrics import FloatArray

IntArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]

PANEL = 50_000  # whom the draws of figures that are no means, such as the AUC, are taken from
_CHUNK = 8_000_000  # weights held at once


@dataclass(frozen=True, slots=True)
class Roster:
    """Everyone who may be drawn: first those of the youngest cutoff, then whom each older one adds.

    Customers of an older cutoff are all known at a younger one. Prospects are not: they have become customers since.
    Each block is drawn from on its own, so that the weights of those before it stay as they are.

    Args:
        blocks: Ids, each person's once.
    """

    blocks: tuple[pl.Series, ...] = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        """People in each block."""
        return tuple(map(len, self.blocks))

    def enlist(self, ids: pl.Series) -> Self:
        """Return the roster with those added whom it lacks."""
        new = ids.filter(~ids.is_in(self._ids.implode())) if self.blocks else ids
        return self if new.is_empty() else type(self)((*self.blocks, new))

    def find(self, ids: pl.Series) -> IntArray:
        """Return the position of each of these people, (n,); all of them are on the roster."""
        places = self._ids.to_frame("id").with_row_index("place")
        found = ids.to_frame("id").join(places, on="id", how="left", maintain_order="left")
        return found["place"].to_numpy().astype(np.intp)

    @property
    def _ids(self) -> pl.Series:
        return pl.concat([block.alias("id") for block in self.blocks])


@dataclass(frozen=True, slots=True)
class People:
    """Those who are judged together at one cutoff.

    Args:
        sizes: Of the blocks of their roster.
        positions: On the roster, (n,).
        slices: Name → who is in it, (n,).
    """

    sizes: tuple[int, ...]
    positions: IntArray
    slices: Mapping[str, BoolArray]

    @classmethod
    def among(cls, roster: Roster, ids: pl.Series, slices: Mapping[str, BoolArray]) -> Self:
        """Return people of a roster."""
        return cls(roster.sizes, roster.find(ids), slices)

    @classmethod
    def alone(cls, n: int, slices: Mapping[str, BoolArray]) -> Self:
        """Return n people who are judged at this cutoff only."""
        return cls((n,), np.arange(n), slices)


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the draws gave.

    Attributes:
        means: (n_draws, n_slices, n_columns) mean of each column over the people of each slice.
        panel: (n_panel,) rows of those whose weights are kept.
        weights: (n_panel, n_draws) how often each of them was drawn.
    """

    means: FloatArray
    panel: IntArray
    weights: FloatArray


def draw(columns: Sequence[FloatArray], people: People, *, n_draws: int, seed: int) -> Drawn:
    """Draw people whole, and compute the mean of each column on each draw, over each slice.

    Args:
        columns: (n,) each, one element per person.
        people: Who they are.
        n_draws: Draws.
        seed: Of the draws.
    """
    members, cell = _find_cells(people.slices)
    order = np.argsort(cell, kind="stable")
    bounds = np.searchsorted(cell[order], np.arange(members.shape[1] + 1))
    counted = np.ones((len(columns) + 1, order.size))  # filled in place: a million people fill gigabytes
    for number, column in enumerate(columns):
        counted[number] = column[order]
    places, is_panel = people.positions[order], _choose_panel(people.sizes, seed)[people.positions[order]]
    sums, kept = [], []
    for weights in _chunks(people.sizes, n_draws=n_draws, seed=seed):
        mine = np.take(weights, places, axis=1)
        by_cell = np.stack([counted[:, start:stop] @ mine[:, start:stop].T for start, stop in pairwise(bounds)])
        sums.append(np.tensordot(members, by_cell, axes=1))
        kept.append(mine[:, is_panel].T)
    total = np.concatenate(sums, axis=2)
    with np.errstate(invalid="ignore"):
        means = total[:, :-1] / total[:, -1:]
    return Drawn(np.moveaxis(means, 2, 0), order[is_panel], np.concatenate(kept, axis=1))


def draw_weights(sizes: tuple[int, ...], *, n_draws: int, seed: int) -> Iterator[FloatArray]:
    """Yield how often each person is in a draw, (n_roster,), one draw at a time; as many as a block holds, of each."""
    blocks = [(np.random.default_rng([seed, number]), size) for number, size in enumerate(sizes)]
    for _ in range(n_draws):
        drawn = [np.bincount(rng.integers(0, size, size, dtype=np.uint32), minlength=size) for rng, size in blocks]
        yield np.concatenate(drawn).astype(np.float64)


def weighted_aucs(y: npt.NDArray[Any], score: FloatArray, weights: FloatArray) -> FloatArray:
    """Compute the AUC under each of many weightings, (n_draws,); NaN where one class has no weight.

    Args:
        y: (n,) 1 or 0.
        score: (n,) tied scores count half.
        weights: (n, n_draws).
    """
    is_positive = np.asarray(y) > 0
    (negatives,) = np.nonzero(~is_positive)
    negatives = negatives[np.argsort(score[negatives], kind="stable")]
    below, up_to = (np.searchsorted(score[negatives], score[is_positive], side) for side in ("left", "right"))
    step = max(1, _CHUNK // max(len(weights), 1))
    found = [
        _aucs(part[is_positive], part[negatives], below, up_to)
        for part in (weights[:, start : start + step] for start in range(0, weights.shape[1], step))
    ]
    return np.concatenate(found)


def _aucs(positive: FloatArray, negative: FloatArray, below: IntArray, up_to: IntArray) -> FloatArray:
    """Compute the share of pairs in the right order; `negative` stands in the order of the scores."""
    passed = np.concatenate([np.zeros((1, negative.shape[1])), np.cumsum(negative, axis=0)])
    won = np.einsum("ik,ik->k", positive, passed[below] + passed[up_to]) / 2
    with np.errstate(invalid="ignore"):
        return np.asarray(won / (positive.sum(axis=0) * passed[-1]))


def _chunks(sizes: tuple[int, ...], *, n_draws: int, seed: int) -> Iterator[FloatArray]:
    """Yield the weights of as many draws as fit in memory, (n_drawn, n_roster), until all were drawn."""
    weights, step = draw_weights(sizes, n_draws=n_draws, seed=seed), max(1, _CHUNK // max(sum(sizes), 1))
    while held := list(islice(weights, step)):
        yield np.stack(held)


def _find_cells(slices: Mapping[str, BoolArray]) -> tuple[FloatArray, IntArray]:
    """Part people into those who are in the same slices, so that sums over a slice are sums of a few cells.

    Returns:
        Which cells make each slice, (n_slices, n_cells) of 0 and 1, and the cell of each person, (n,).
    """
    bits = np.column_stack(list(slices.values())) @ (1 << np.arange(len(slices)))
    cells, cell = np.unique(bits, return_inverse=True)
    members = (cells >> np.arange(len(slices))[:, None]) & 1
    return members.astype(np.float64), cell


def _choose_panel(sizes: tuple[int, ...], seed: int) -> BoolArray:
    """Tell of everyone on a roster whether they are of the panel, (n_roster,): everyone, where there are few."""
    share = PANEL / sizes[0]
    if share >= 1.0:
        return np.ones(sum(sizes), dtype=np.bool_)
    chosen = [np.random.default_rng([seed, number, 1]).random(size) < share for number, size in enumerate(sizes)]
    return np.concatenate(chosen)
