"""Learn how recency, frequency and value move when an order comes."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from features.lifecycle.segments import IntArray, Segments
from training.models.next_segment import Matrix, NextSegmentModel, ValueBins, number_groups, value_bins

_PRIOR_CUSTOMERS = 1.0

Pair = tuple[pl.DataFrame, pl.DataFrame]


def fit_next_segment(
    tables: Sequence[Pair], *, segments: Segments, groups: Mapping[str, str], horizon_days: int
) -> NextSegmentModel:
    """Count the moves of those who ordered, each table drawn towards what is possible where it has few.

    Args:
        tables: Per training cutoff, the customer table and, row for row, what came: `is_churned`, `n_order_days` and
            `value` within the horizon, and `days_since_last_order` at its end.
        segments: Frozen segments; the same for all cutoffs, and for the answers.
        groups: RFM code → group, for each of the bins³ codes.
        horizon_days: Length of the horizon behind the outcomes.

    Raises:
        ValueError: If a code lacks a group, or another has one.
    """
    bins = value_bins(segments)
    names, group_of_code = number_groups(groups, segments.bins)
    before = _joined([_standing(table, labels, segments, bins, is_later=False) for table, labels in tables])
    after = _joined([_standing(table, labels, segments, bins, is_later=True) for table, labels in tables])
    scores, values = (segments.bins, segments.bins), (bins.score.size, bins.score.size)
    return NextSegmentModel(
        groups=names,
        group_of_code=group_of_code,
        recency=_shrink(_count(before[1], after[0], scores), _spread_recency(segments, horizon_days)),
        frequency=_shrink(_count(before[1], after[1], scores), _least_frequency(segments)),
        value=_shrink(_count(before[2], after[2], values), np.eye(bins.score.size)),
    )


def _standing(
    table: pl.DataFrame, labels: pl.DataFrame, segments: Segments, bins: ValueBins, *, is_later: bool
) -> IntArray:
    """Return recency and frequency score − 1 and value bin of those who ordered, shape (3, n), before or after."""
    rows = table.with_columns(_later(labels)) if is_later else table
    ordered = rows.filter(~labels["is_churned"])
    scores = segments.scores(ordered) - 1
    return np.stack([scores[:, 0], scores[:, 1], bins.locate(ordered["historic_value"].to_numpy())])


def _later(labels: pl.DataFrame) -> list[pl.Expr]:
    """Return the columns as they stand at the end of the horizon."""
    return [
        pl.lit(labels["days_since_last_order"].cast(pl.Float64)).alias("days_since_last_order"),
        pl.col("frequency") + labels["n_order_days"],
        pl.col("historic_value") + labels["value"],
    ]


def _joined(parts: list[IntArray]) -> IntArray:
    return np.concatenate([np.empty((3, 0), dtype=np.int64), *parts], axis=1)


def _count(before: IntArray, after: IntArray, shape: tuple[int, int]) -> npt.NDArray[np.int64]:
    return np.bincount(before * shape[1] + after, minlength=shape[0] * shape[1]).reshape(shape)


def _shrink(counts: npt.NDArray[np.int64], least: Matrix) -> Matrix:
    """Return rows that sum to 1: counts, and one observation more, spread as all rows' moves that lie within reach.

    Args:
        counts: Moves, row = before.
        least: What to expect where nothing was seen, rows sum to 1. No column before its first above 0 is within reach.
    """
    is_reachable = np.cumsum(least, axis=1) > 0.0
    prior = np.where(is_reachable, counts.sum(axis=0), 0.0) + least
    drawn = counts + _PRIOR_CUSTOMERS * prior / prior.sum(axis=1, keepdims=True)
    return np.asarray(drawn / drawn.sum(axis=1, keepdims=True))


def _spread_recency(segments: Segments, horizon_days: int) -> Matrix:
    """Return the recency scores of a last order on any day of the horizon alike, the same for each frequency."""
    days = np.arange(1.0, horizon_days + 1)
    spread = np.bincount(segments.recency_scores(days) - 1, minlength=segments.bins) / horizon_days
    return np.tile(spread, (segments.bins, 1))


def _least_frequency(segments: Segments) -> Matrix:
    """Return the frequency score that one order day more takes whoever stands lowest in each score."""
    lowest = np.array([0.0, *np.floor(segments.frequency_edges) + 1.0])
    return np.eye(segments.bins)[np.searchsorted(segments.frequency_edges, lowest + 1.0, "left")]
