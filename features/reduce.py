"""Reducing sorted rows to counts: the same aggregations as `Count.aggregate`, on neighbouring rows in memory.

Rows that are sorted by customer need no hash table: each customer is one slice of every column. Nulls travel as
numbers that no value takes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.arrays import Arrays, Column
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


def reduce_rows(rows: Arrays, starts: Ints, counts: Sequence[Count]) -> Arrays:
    """Reduce rows to one value per customer and count.

    Args:
        rows: The rows of the log of the counts, sorted by customer; at least one.
        starts: Where each customer begins.
        counts: What to aggregate; `n_unique` is not known here.
    """
    runs = _Runs(starts, np.append(starts[1:], rows.height) - 1, np.empty(rows.height, dtype=np.int64))
    values = rows.select(**{count.name: count.row for count in counts})
    return Arrays({count.name: _reduce(values[count.name], count.how, runs) for count in counts}, starts.size)


def _reduce(rows: Column, how: How, runs: _Runs) -> Column:
    """Reduce a column; what is missing is filled with a number that leaves the aggregate as it is."""
    reduced = _REDUCTIONS[how](rows.filled(_FILLERS[how]), runs)
    if how == "sum" or rows.missing is None:
        return Column(reduced)
    return Column(reduced, np.isnan(reduced) if how == "median" else reduced == _FILLERS[how])


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
