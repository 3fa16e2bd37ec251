"""Learning the moves between segments: counts by hand, distributions with no data, and a real log."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.lifecycle.segments import Segments, learn_segments, rfm_codes
from features.records import Records
from features.settings import SegmentSettings, load_settings
from features.snapshot import Snapshot
from features.table import build_feature_tables, features_named
from training.fitters.next_segment import Pair, fit_next_segment
from training.models.next_segment import NextSegmentModel, value_bins

COLUMNS = ("days_since_last_order", "frequency", "historic_value")
HORIZON_DAYS = 90
# Silences of 30 and 60 days part recency; 1 and 3 order days after the first, frequency; 50, 100 and 200 all of value.
SEGMENTS = Segments((30.0, 60.0), (0.0, 2.0), (50.0, 100.0), medium_min_value=100.0, large_min_value=200.0)


def build_groups(bins: int) -> dict[str, str]:
    """Name a group for each code by recency and frequency."""
    return {code: f"R{code[0]}F{code[1]}" for code in rfm_codes(bins)}


def build_pair(*rows: tuple[float, float, float, float, int, float]) -> Pair:
    """Build an example of (days, frequency, value) at the cutoff, then (days at the end, order days, value)."""
    wide = pl.DataFrame(rows, schema=[*COLUMNS, "days_at_end", "n_order_days", "value"], orient="row")
    table = wide.select(pl.col(COLUMNS).cast(pl.Float64))
    labels = wide.select(
        "n_order_days", "value", is_churned=pl.col("n_order_days") == 0, days_since_last_order="days_at_end"
    )
    return table, labels


def fit(*pairs: Pair, segments: Segments = SEGMENTS) -> NextSegmentModel:
    """Fit over 90 days."""
    return fit_next_segment(pairs, segments=segments, groups=build_groups(segments.bins), horizon_days=HORIZON_DAYS)


def test_by_hand() -> None:
    """Rows are the counts of those who ordered, and one observation spread as the moves within reach and the least."""
    orderers = [(40.0, 0.0, 20.0, 10.0, 1, 50.0)] * 3 + [(40.0, 0.0, 20.0, 50.0, 3, 10.0)]
    silent = [(40.0, 0.0, 20.0, 130.0, 0, 0.0)] * 50
    model = fit(build_pair(*orderers), build_pair(*silent))
    # Recency: 3 to the best, 1 to the middle; with nothing seen, a third of 90 days to each.
    prior = (np.array([0.0, 1.0, 3.0]) + 1 / 3) / 5
    assert model.recency[0] == pytest.approx((np.array([0.0, 1.0, 3.0]) + prior) / 5)
    assert model.recency[2] == pytest.approx(prior)
    # Frequency: from 0 to 1 is score 2, from 0 to 3 is score 3; whoever scores 3 stays there.
    assert model.frequency[0] == pytest.approx((np.array([0.0, 3.0, 1.0]) + np.array([0.0, 4.0, 1.0]) / 5) / 5)
    assert model.frequency[2].tolist() == [0.0, 0.0, 1.0]
    # Value: 20 + 50 passes 50, 20 + 10 does not; from the second bin on, nobody was seen.
    assert value_bins(SEGMENTS).score.tolist() == [1, 2, 2, 3, 3]
    assert model.value[0] == pytest.approx((np.array([1.0, 3, 0, 0, 0]) + np.array([2.0, 3, 0, 0, 0]) / 5) / 5)
    assert model.value[1].tolist() == [0.0, 1.0, 0.0, 0.0, 0.0]


def test_no_data() -> None:
    """With nobody to learn from, an order is likely on any day, and moves frequency and value no more than it must."""
    model = fit()
    assert model.recency == pytest.approx(np.full((3, 3), 1 / 3))
    assert model.frequency.tolist() == [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    assert model.value.tolist() == np.eye(5).tolist()


def test_out_of_reach() -> None:
    """Whoever ordered is not longer silent than the horizon, and has not less frequency or value than before."""
    rows = [(5.0, float(f), 30.0 * f, 20.0, 2, 40.0) for f in range(8)]
    segments = Segments((30.0, 120.0), (0.0, 2.0), (50.0, 100.0), medium_min_value=100.0, large_min_value=200.0)
    model = fit(build_pair(*rows), segments=segments)
    assert (model.recency[:, 0] == 0).all()
    assert (np.tril(model.frequency, -1) == 0).all()
    assert (np.tril(model.value, -1) == 0).all()


@given(
    st.lists(
        st.tuples(*(st.integers(0, 100).map(float) for _ in range(3)), st.integers(1, 90), st.integers(0, 9)),
        max_size=30,
    ),
    st.integers(2, 9),
)
@settings(deadline=None)
def test_distributions(rows: list[tuple[float, float, float, int, int]], bins: int) -> None:
    """Whatever was seen, and however many bins, each row of each table is a distribution."""
    pair = build_pair(*((d, f, v, float(end), n, 3.0 * n) for d, f, v, end, n in rows))
    wanted = SegmentSettings(rfm_bins=bins, large_value_share=0.5, medium_value_share=0.3)
    known = pl.concat([pair[0], pl.DataFrame([(7.0, 0.0, 9.0)], schema=pair[0].schema, orient="row")])
    model = fit(pair, segments=learn_segments(known, wanted))
    for table in (model.recency, model.frequency, model.value):
        assert table.sum(axis=1) == pytest.approx(np.ones(len(table)))
        assert (table >= 0).all()


def test_code_without_group() -> None:
    """Groups of other codes than the segments' are refused."""
    with pytest.raises(ValueError, match="each of the 27 RFM codes"):
        fit_next_segment([], segments=SEGMENTS, groups=build_groups(2), horizon_days=HORIZON_DAYS)


def _look_back(records: Records, *cutoff_days: int) -> list[Pair]:
    """Build an example per cutoff from the customer tables at both ends of its horizon."""
    days = [day for cutoff in cutoff_days for day in (cutoff, cutoff + HORIZON_DAYS)]
    tables = build_feature_tables(records, [Snapshot(day) for day in days], features=features_named(COLUMNS))
    return [_compare(before, after) for before, after in zip(tables[::2], tables[1::2], strict=True)]


def _compare(before: pl.DataFrame, after: pl.DataFrame) -> Pair:
    both = before.join(after, on="customer_id", how="left", suffix="_later", maintain_order="left")
    n_order_days = pl.col("frequency_later") - pl.col("frequency")
    return before, both.select(
        "customer_id",
        is_churned=n_order_days == 0,
        n_order_days=n_order_days,
        value=pl.col("historic_value_later") - pl.col("historic_value"),
        days_since_last_order="days_since_last_order_later",
    )


@pytest.mark.parametrize("days_before_end", [90, 180])
def test_cdnow(cdnow_orders: pl.DataFrame, end_day: int, days_before_end: int) -> None:
    """Learned on earlier cutoffs of the CDNOW log, told who orders, the forecast finds the cells of a later one.

    Of 100 customers, fewer than 3 stand in another cell than expected, over all cells together; were the orderers
    expected to stay where they are, it would be three times as many.
    """
    cutoff = end_day - days_before_end
    *past, (table, labels) = _look_back(Records.wrap(cdnow_orders), cutoff - 150, cutoff - 120, cutoff - 90, cutoff)
    segments = learn_segments(table, load_settings().segments)
    model = fit(*past, segments=segments)
    p_churn = labels["is_churned"].cast(pl.Float64).to_numpy()
    forecast = model.predict(table, p_churn, segments=segments, horizon_days=HORIZON_DAYS)
    later = table.with_columns(
        labels["days_since_last_order"],
        pl.col("frequency") + labels["n_order_days"],
        pl.col("historic_value") + labels["value"],
    )
    cells = (forecast.cell, forecast.silent_cell, model.cells(later, segments))
    today, silent, observed = (np.bincount(cell, minlength=model.n_cells) for cell in cells)
    stay = np.bincount(np.where(p_churn > 0, forecast.silent_cell, forecast.cell), minlength=model.n_cells)

    def misplaced(expected: np.ndarray) -> float:
        return float(np.abs(expected - observed).sum()) / 2 / table.height

    assert today.sum() == silent.sum() == observed.sum() == table.height
    assert misplaced(forecast.flows().sum(axis=0)) < 0.03
    assert misplaced(stay) > 3 * misplaced(forecast.flows().sum(axis=0))
