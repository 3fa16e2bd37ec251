"""Reducing sorted rows to counts: the same aggregations as `Count.aggregate`, on neighbouring rows in memory.

A frame that is sorted by customer needs no hash table: each customer is one slice of every column. Nulls travel as
numbers that no value takes, because columns without nulls are numpy arrays at no cost.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import narwhals as nw
import numpy as np
import numpy.typing as npt
import polars as pl

from features.catalogue import Count, How

Ints = npt.NDArray[np.int64]
Values = npt.NDArray[np.int64] | npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Runs:
    """Where the runs of equal customers start and end, and room for running totals, which every sum uses anew."""

    starts: Ints
    ends: Ints
    scratch: Ints


_LEAST, _GREATEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


def starts_of(codes: Ints) -> Ints:
    """Return where each run of equal codes begins."""
    return np.flatnonzero(np.diff(codes, prepend=codes[:1] - 1))


def filled_row(count: Count) -> nw.Expr:
    """Return the row expression of a count, nulls filled with a number that leaves the aggregate as it is."""
    return count.row.cast(nw.Int64).fill_null(_FILLERS[count.how]).alias(count.row_name)


def reduce_rows(rows: pl.DataFrame, starts: Ints, counts: Sequence[Count]) -> dict[str, Values]:
    """Reduce rows to one value per customer and count.

    Args:
        rows: The filled rows of the counts (see `filled_row`), sorted by customer; at least one row.
        starts: Where each customer begins.
        counts: What to aggregate; `n_unique` is not known here.
    """
    runs = _Runs(starts, np.append(starts[1:], rows.height) - 1, np.empty(rows.height, dtype=np.int64))
    return {count.name: _REDUCTIONS[count.how](rows[count.row_name].to_numpy(), runs) for count in counts}


def restored(count: Count) -> nw.Expr:
    """Return the expression of a reduced count with its nulls, where a customer had no value."""
    column = nw.col(count.name)
    if count.how == "sum":
        return column
    missing = column.is_nan() if count.how == "median" else column == _FILLERS[count.how]
    return nw.when(~missing).then(column).alias(count.name)


def _sum(values: Ints, runs: _Runs) -> Ints:
    """Subtract running totals where the runs end; integers wrap and unwrap, so the difference is exact."""
    totals = np.cumsum(values, out=runs.scratch)[runs.ends]
    totals[1:] -= totals[:-1].copy()
    return totals


def _max(values: Ints, runs: _Runs) -> Ints:
    return np.maximum.reduceat(values, runs.starts)


def _min(values: Ints, runs: _Runs) -> Ints:
    return np.minimum.reduceat(values, runs.starts)


def _median(values: Ints, runs: _Runs) -> npt.NDArray[np.float64]:
    """Sort each customer's values, leaving out nulls, and take the middle."""
    is_present = values != _LEAST
    n_present = _sum(is_present.astype(np.int64), runs)
    ends = np.cumsum(n_present)
    starts = ends - n_present
    if ends[-1] == 0:
        return np.full(starts.size, np.nan)
    ordered = _sorted_within(np.repeat(np.arange(starts.size), n_present), values[is_present])
    low, high = (np.minimum(starts + i, ordered.size - 1) for i in (np.maximum(n_present - 1, 0) // 2, n_present // 2))
    return np.where(n_present > 0, (ordered[low] + ordered[high]) / 2.0, np.nan)


def _sorted_within(owner: Ints, values: Ints) -> Ints:
    """Sort values within each owner; by one sort of numbers that hold both, where they fit into 63 bits."""
    least, width = int(values.min()), int(values.max()) - int(values.min()) + 1
    if (int(owner[-1]) + 1) * width >= 2**62:
        return values[np.lexsort((values, owner))]
    offsets = owner * width - least
    return np.asarray(np.sort(offsets + values) - offsets, dtype=np.int64)


_FILLERS: Mapping[How, int] = {"sum": 0, "max": _LEAST, "min": _GREATEST, "median": _LEAST}
_REDUCTIONS: Mapping[How, Callable[[Ints, _Runs], Values]] = {"sum": _sum, "max": _max, "min": _min, "median": _median}
