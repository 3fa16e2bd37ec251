"""Next segment: in which cell of RFM group × size a customer stands at the end of the horizon.

If no order comes, the cell is known: silence grows by the horizon, frequency and value stay. If one comes, recency,
frequency and value at the end are drawn from three learned tables. Given that an order comes, the three are taken to
be independent of each other, and of how likely the order was:

    P(cell') = p_churn · 1[cell' if silent] + (1 − p_churn) · Σ P(R' | F) · P(F' | F) · P(V' | V)

summed over the (R', F', V') of the cell. R and F are scores; V is a bin of historic value by the edges of both score M
and size, which are two readings of one number and so move together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from features.lifecycle.segments import SIZES, IntArray, Segments, Vector, rfm_codes

Matrix = npt.NDArray[np.float64]
_TOLERANCE = 1e-9


class ValueBins(NamedTuple):
    """Bins of historic value that each lie within one score M and one size.

    Attributes:
        cuts: (n_bins − 1,) ascending; a value on a cut belongs to the bin below it.
        score: (n_bins,) score M of each bin.
        size: (n_bins,) position in `SIZES` of each bin.
    """

    cuts: Vector
    score: IntArray
    size: IntArray

    def locate(self, value: Vector) -> IntArray:
        """Return the bin of each historic value, shape (n,)."""
        return np.searchsorted(self.cuts, value, "left").astype(np.int64, copy=False)


def value_bins(segments: Segments) -> ValueBins:
    """Unite the edges of score M with the least values of the sizes."""
    # A size begins on its least value, a score above its edge: the last number before the least value unites them.
    sizes = np.nextafter([segments.medium_min_value, segments.large_min_value], -np.inf)
    cuts = np.union1d(segments.value_edges, sizes)
    passed = np.concatenate([[-np.inf], cuts])
    return ValueBins(
        cuts=cuts,
        score=1 + np.searchsorted(segments.value_edges, passed, "right").astype(np.int64),
        size=np.searchsorted(sizes, passed, "right").astype(np.int64),
    )


@dataclass(frozen=True, slots=True)
class CellForecast:
    """Where n customers stand today, and where they may stand at the end of the horizon, in the order of the table.

    Args:
        cell: Cell today, shape (n,).
        silent_cell: Cell at the end should no order come, shape (n,).
        state: Row of `given_order` that holds for the customer, shape (n,).
        p_churn: P(no order in the horizon), shape (n,).
        given_order: P(cell at the end | an order comes), shape (n_states, n_cells); rows sum to 1.
    """

    cell: IntArray
    silent_cell: IntArray
    state: IntArray
    p_churn: Vector
    given_order: Matrix

    @property
    def p_leave_cell(self) -> Vector:
        """Return the probability of standing in another cell at the end, shape (n,)."""
        p_leave_given_order = np.clip(1.0 - self.given_order[self.state, self.cell], 0.0, 1.0)
        leaves_if_silent = self.silent_cell != self.cell
        return np.asarray(self.p_churn * leaves_if_silent + (1.0 - self.p_churn) * p_leave_given_order)

    def flows(self, weights: Vector | None = None) -> Matrix:
        """Return the expected sum of weights that goes from cell to cell, shape (n_cells, n_cells).

        Row = cell today, column = cell at the end, so each row sums to what the cell holds today.

        Args:
            weights: What to count of each customer, such as historic value, shape (n,); None counts heads.
        """
        n_states, n_cells = self.given_order.shape
        whole = np.ones(self.p_churn.size) if weights is None else weights
        silent = _sum_pairs(self.cell, self.silent_cell, whole * self.p_churn, shape=(n_cells, n_cells))
        ordering = _sum_pairs(self.cell, self.state, whole * (1.0 - self.p_churn), shape=(n_cells, n_states))
        return np.asarray(silent + ordering @ self.given_order)

    def distribution(self) -> Matrix:
        """Return P(cell at the end) of each customer, shape (n, n_cells); for a whole base, `flows` is the way."""
        joined = (1.0 - self.p_churn)[:, None] * self.given_order[self.state]
        joined[np.arange(self.p_churn.size), self.silent_cell] += self.p_churn
        return joined


@dataclass(frozen=True, slots=True)
class NextSegmentModel:
    """RFM groups, and how recency, frequency and value move when an order comes; parameters only.

    Cells are numbered `group * len(SIZES) + size`.

    Args:
        groups: Codes of the RFM groups.
        group_of_code: Position in `groups` of each of `rfm_codes(bins)`, shape (bins³,).
        recency: P(R' | an order comes, F), shape (bins, bins): row = frequency score − 1, column = recency score − 1.
        frequency: P(F' | an order comes, F), shape (bins, bins).
        value: P(V' | an order comes, V), shape (n_value_bins, n_value_bins), bins as `value_bins`.

    Raises:
        ValueError: A table's row is no distribution, shapes disagree, or a code has no group.
    """

    groups: tuple[str, ...]
    group_of_code: IntArray
    recency: Matrix
    frequency: Matrix
    value: Matrix

    def __post_init__(self) -> None:
        for table in (self.recency, self.frequency, self.value):
            _check_moves(table)
        if self.recency.shape != self.frequency.shape:
            raise ValueError("recency and frequency must have the same number of scores")
        _check_groups(self.groups, self.group_of_code, n_codes=len(self.recency) ** 3)

    @property
    def n_cells(self) -> int:
        """Return the number of cells, those that hold nobody included."""
        return len(self.groups) * len(SIZES)

    def codes_by_group(self) -> dict[str, tuple[str, ...]]:
        """Return the RFM codes of each group, best first; the groups in their order."""
        codes = np.array(rfm_codes(len(self.recency)))
        return {group: tuple(codes[self.group_of_code == i][::-1].tolist()) for i, group in enumerate(self.groups)}

    def cells(self, table: pl.DataFrame, segments: Segments, *, silent_days: int = 0) -> IntArray:
        """Return the cell of each customer, shape (n,).

        Args:
            table: Customer table.
            segments: The frozen segments that the model was fitted with.
            silent_days: Look this many days later, should no order come until then.

        Raises:
            ValueError: If the segments have other bins than the model.
        """
        self._require_same_bins(segments, value_bins(segments))
        scores = segments.scores(table, silent_days=silent_days)
        return self._number_cells(scores, segments.size_numbers(table))

    def predict(self, table: pl.DataFrame, p_churn: Vector, *, segments: Segments, horizon_days: int) -> CellForecast:
        """Forecast the cells at the end of the horizon.

        Args:
            table: Customer table at the cutoff.
            p_churn: P(no order in the horizon), shape (n,).
            segments: The frozen segments that the model was fitted with.
            horizon_days: The horizon that `p_churn` speaks of, and that the model was fitted with.

        Raises:
            ValueError: If the segments have other bins than the model.
        """
        bins = value_bins(segments)
        self._require_same_bins(segments, bins)
        scores, sizes = segments.scores(table), segments.size_numbers(table)
        silent = scores.copy()
        silent[:, 0] = segments.recency_scores(table["days_since_last_order"].to_numpy() + horizon_days)
        return CellForecast(
            cell=self._number_cells(scores, sizes),
            silent_cell=self._number_cells(silent, sizes),
            state=(scores[:, 1] - 1) * bins.score.size + bins.locate(table["historic_value"].to_numpy()),
            p_churn=p_churn,
            given_order=self._given_order(bins),
        )

    def _require_same_bins(self, segments: Segments, bins: ValueBins) -> None:
        if (segments.bins, bins.score.size) != (len(self.recency), len(self.value)):
            raise ValueError("the segments have other bins than the model was fitted with")

    def _number_cells(self, scores: IntArray, sizes: IntArray) -> IntArray:
        n_scores = len(self.recency)
        groups = self.group_of_code[(scores - 1) @ [n_scores**2, n_scores, 1]]
        return np.asarray(groups * len(SIZES) + sizes)

    def _given_order(self, bins: ValueBins) -> Matrix:
        """Return P(cell at the end | an order comes) per (F, V), shape (n_scores · n_value_bins, n_cells)."""
        n_scores = len(self.recency)
        moves = np.einsum("fr,fg,vw->fvrgw", self.recency, self.frequency, self.value)
        group = self.group_of_code.reshape(n_scores, n_scores, n_scores)[:, :, bins.score - 1]
        lands_in = np.eye(self.n_cells)[(group * len(SIZES) + bins.size).ravel()]
        return np.asarray(moves.reshape(-1, lands_in.shape[0]) @ lands_in)

    def to_dict(self) -> dict[str, Any]:
        """Return every parameter as JSON values."""
        return {
            "groups": list(self.groups),
            "group_of_code": self.group_of_code.tolist(),
            "recency": self.recency.tolist(),
            "frequency": self.frequency.tolist(),
            "value": self.value.tolist(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild a model from `to_dict`.

        Raises:
            ValueError: If the values are not those of a model.
        """
        try:
            groups = tuple(str(group) for group in values["groups"])
            group_of_code = _whole_numbers(values["group_of_code"])
            tables = {name: np.array(values[name], dtype=np.float64) for name in ("recency", "frequency", "value")}
        except (KeyError, TypeError) as error:
            raise ValueError(f"these are not the values of a next-segment model: {type(error).__name__}") from None
        return cls(groups, group_of_code, **tables)


def number_groups(groups: Mapping[str, str], bins: int) -> tuple[tuple[str, ...], IntArray]:
    """Number the groups in the order in which they are met from the best code down.

    Args:
        groups: RFM code → group, for every code.
        bins: Number of scores.

    Returns:
        The groups, and the position in them of each of `rfm_codes(bins)`.

    Raises:
        ValueError: If the codes are not exactly those of so many bins.
    """
    codes = rfm_codes(bins)
    if groups.keys() != set(codes):
        raise ValueError(f"groups must name one group for each of the {len(codes)} RFM codes of {bins} bins")
    names = tuple(dict.fromkeys(groups[code] for code in reversed(codes)))
    numbers = {name: number for number, name in enumerate(names)}
    return names, np.array([numbers[groups[code]] for code in codes], dtype=np.int64)


def _check_moves(table: Matrix) -> None:
    if table.ndim != 2 or table.shape[0] != table.shape[1] or table.shape[0] < 2 or not np.all(table >= 0.0):
        raise ValueError("each table of moves must be square, of numbers of 0 or more")
    if not np.allclose(table.sum(axis=1), 1.0, rtol=0.0, atol=_TOLERANCE):
        raise ValueError("each row of a table of moves must sum to 1")


def _check_groups(groups: tuple[str, ...], group_of_code: IntArray, *, n_codes: int) -> None:
    if len(set(groups)) != len(groups) or not all(groups):
        raise ValueError("RFM groups must be different texts, and none may be empty")
    if group_of_code.shape != (n_codes,) or set(group_of_code.tolist()) != set(range(len(groups))):
        raise ValueError("each RFM code must have a group, and each group a code")


def _whole_numbers(values: list[Any]) -> IntArray:
    if not all(type(value) is int for value in values):
        raise ValueError("positions of groups must be whole numbers")
    return np.array(values, dtype=np.int64)


def _sum_pairs(rows: IntArray, columns: IntArray, weights: Vector, *, shape: tuple[int, int]) -> Matrix:
    sums = np.bincount(rows * shape[1] + columns, weights=weights, minlength=shape[0] * shape[1])
    return np.asarray(sums.reshape(shape), dtype=np.float64)
