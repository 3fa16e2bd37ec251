"""The customer table: nothing from the future, the same on every engine, and what the definitions say."""

import statistics
import warnings
from math import nan
from typing import Any

import duckdb
import narwhals as nw
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.catalogue import MICROS
from features.snapshot import Snapshot, to_date
from features.table import FEATURE_NAMES, FEATURES, build_customer_table, build_feature_table, build_stage_table
from tests.histories import CUTOFF_DAY, SHOP_RULE, build_orders, later_orders, order_logs

SNAPSHOT = Snapshot(CUTOFF_DAY, 90)

# Written from the definitions, on purpose in another way than the code: a row per order day, then plain aggregates.
ORACLE = """
WITH day AS (
    SELECT customer_id, day, sum(amount_micros)::DOUBLE AS micros, count(*) AS n
    FROM orders WHERE day < {cutoff} GROUP BY ALL
), gap AS (
    SELECT *, day - lag(day) OVER (PARTITION BY customer_id ORDER BY day) AS gap,
        row_number() OVER (PARTITION BY customer_id ORDER BY day) AS i
    FROM day
)
SELECT customer_id,
    (count(*) - 1)::DOUBLE AS frequency,
    (max(day) - min(day))::DOUBLE AS recency_days,
    ({cutoff} - min(day))::DOUBLE AS T_days,
    ({cutoff} - max(day))::DOUBLE AS days_since_last_order,
    avg(micros) FILTER (i > 1) / 1e6 AS monetary_value,
    sum(micros) / 1e6 AS historic_value,
    avg(gap) AS mean_gap_days,
    median(gap)::DOUBLE AS median_gap_days,
    CASE WHEN count(gap) > 1 THEN stddev_samp(gap) END AS std_gap_days,
    max(gap)::DOUBLE AS max_gap_days,
    min(gap)::DOUBLE AS min_gap_days,
    arg_max(gap, day) FILTER (gap IS NOT NULL)::DOUBLE AS last_gap_days,
    sum(n)::DOUBLE AS n_orders,
    count(*) FILTER (day >= {cutoff} - 30)::DOUBLE AS order_days_within_30,
    count(*) FILTER (day >= {cutoff} - 365)::DOUBLE AS order_days_within_365,
    (count(*) FILTER (day >= {cutoff} - 90)
        - count(*) FILTER (day >= {cutoff} - 180 AND day < {cutoff} - 90))::DOUBLE AS order_days_trend_90,
    coalesce(sum(micros) FILTER (day >= {cutoff} - 60), 0) / 1e6 AS value_within_60,
    (coalesce(sum(micros) FILTER (day >= {cutoff} - 90), 0)
        - coalesce(sum(micros) FILTER (day >= {cutoff} - 180 AND day < {cutoff} - 90), 0)) / 1e6 AS value_trend_90,
    avg((isodow(DATE '1970-01-01' + day::INTEGER) >= 6)::INTEGER) AS weekend_share,
    arg_min(micros, day) / 1e6 AS first_order_day_value,
    arg_max(micros, day) / 1e6 AS last_order_day_value,
    count(*) * 365.25::DOUBLE / ({cutoff} - min(day)) AS order_days_per_year
FROM gap GROUP BY customer_id ORDER BY customer_id
"""


def _features(orders: Any, snapshot: Snapshot = SNAPSHOT) -> pl.DataFrame:
    return build_feature_table(nw.from_native(orders).lazy(), snapshot)


def _customers(orders: Any, snapshot: Snapshot = SNAPSHOT) -> pl.DataFrame:
    return build_customer_table(nw.from_native(orders).lazy(), snapshot, rule=SHOP_RULE)


@given(order_logs(), later_orders(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_no_leakage(orders: pl.DataFrame, later: pl.DataFrame, rng: Any) -> None:
    """Orders at or after the cutoff, in any number and any row order, leave both tables byte-identical."""
    history, grown = orders.filter(pl.col("day") < CUTOFF_DAY), pl.concat([orders, later])
    shuffled = grown[rng.sample(range(grown.height), grown.height)]
    before = _customers(history)
    assert _bytes(_customers(shuffled)) == _bytes(before)
    assert _bytes(_features(shuffled)) == _bytes(before.select("customer_id", *FEATURE_NAMES))


def test_at_the_cutoff() -> None:
    """An order on the day before the cutoff counts; one on the cutoff's own day does not exist yet."""
    assert _features(build_orders([("c", CUTOFF_DAY, MICROS)])).is_empty()
    table = _features(build_orders([("c", CUTOFF_DAY - 1, MICROS), ("c", CUTOFF_DAY, MICROS)]))
    assert table.select("frequency", "T_days", "days_since_last_order", "n_orders").row(0) == (0.0, 1.0, 1.0, 1.0)


@given(order_logs())
@settings(max_examples=25, deadline=None)
def test_engines(engine: duckdb.DuckDBPyConnection, orders: pl.DataFrame) -> None:
    """DuckDB and Polars give the same bytes for any history."""
    relation = engine.from_arrow(orders.to_arrow())
    assert _bytes(_customers(relation)) == _bytes(_customers(orders))


@pytest.mark.parametrize("back_days", [0, 200])
def test_engines_cdnow(
    engine: duckdb.DuckDBPyConnection, cdnow_orders: pl.DataFrame, end_day: int, back_days: int
) -> None:
    """DuckDB, also when the rows come from two files in another order, and Polars give the same bytes for CDNOW."""
    snapshot = Snapshot(end_day - back_days, 90)
    halves = [cdnow_orders[1::2].reverse(), cdnow_orders[::2]]
    relations = [engine.from_arrow(half.to_arrow()) for half in halves]
    expected = _customers(cdnow_orders, snapshot)
    assert _bytes(_customers(relations[0].union(relations[1]), snapshot)) == _bytes(expected)
    assert _bytes(_customers(pl.concat(halves), snapshot)) == _bytes(expected)


@given(order_logs(max_customers=8))
@settings(max_examples=40, deadline=None)
def test_oracle(engine: duckdb.DuckDBPyConnection, orders: pl.DataFrame) -> None:
    """Twenty-two features equal plain SQL written from their definitions."""
    _agree(_features(orders), _oracle(engine, orders, CUTOFF_DAY))


def test_huge_value(engine: duckdb.DuckDBPyConnection) -> None:
    """The greatest sum of one customer that intake lets pass adds up, on both engines."""
    orders = build_orders([("c", CUTOFF_DAY - 1, 1_000_000_000 * MICROS)] * 9_000)
    for frame in (orders, engine.from_arrow(orders.to_arrow())):
        assert _features(frame)["historic_value"].to_list() == [9e12]


def test_oracle_cdnow(engine: duckdb.DuckDBPyConnection, cdnow_orders: pl.DataFrame, end_day: int) -> None:
    """Twenty-two features of CDNOW equal plain SQL written from their definitions."""
    cutoff_day = end_day - 180
    _agree(_features(cdnow_orders, Snapshot(cutoff_day)), _oracle(engine, cdnow_orders, cutoff_day))


def test_rfm_lifetimes(cdnow_orders: pl.DataFrame, end_day: int) -> None:
    """Frequency, recency, T and monetary value equal lifetimes' own summary of the orders before the cutoff."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lifetimes.utils
    cutoff_day = end_day - 180
    known = cdnow_orders.filter(pl.col("day") < cutoff_day, pl.col("amount_micros") > 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        summary = lifetimes.utils.summary_data_from_transaction_data(
            known.with_columns(value=pl.col("amount_micros") / MICROS).to_pandas(),
            "customer_id",
            "ordered_at",
            monetary_value_col="value",
            observation_period_end=to_date(cutoff_day),
        )
    columns = ("frequency", "recency_days", "T_days", "monetary_value")
    theirs = pl.DataFrame(
        {
            "customer_id": summary.index.to_list(),
            **{ours: summary[name].to_list() for ours, name in zip(columns, summary.columns, strict=True)},
        }
    )
    _agree(_features(known, Snapshot(cutoff_day)).with_columns(pl.col("monetary_value").fill_null(0.0)), theirs)


def test_by_hand() -> None:
    """The features that no oracle covers are what their one-line meanings say."""
    ages = {400: 2, 300: 4, 100: 6, 40: 8}
    orders = build_orders([("c", CUTOFF_DAY - age, value * MICROS) for age, value in ages.items()])
    row = _features(orders).row(0, named=True)
    expected = {
        "gap_variation": statistics.stdev([100, 200, 60]) / 120,
        "last_gap_to_mean": 60 / 120,
        "silence_to_mean_gap": 40 / 120,
        "silence_to_max_gap": 40 / 200,
        "silence_to_median_gap": 40 / 100,
        "recency_share": 360 / 400,
        "orders_per_order_day": 1.0,
        "order_days_first_90": 1.0,
        "order_days_same_season": 1.0,
        "mean_order_day_value": 5.0,
        "max_order_day_value": 8.0,
        "min_order_day_value": 2.0,
        "last_value_to_mean": 8 / 5,
        "value_per_year": 20 * 365.25 / 400,
        "value_within_90": 8.0,
        "value_within_180": 14.0,
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    decayed = sum(30 / (30 + age) for age in ages)
    assert row["decayed_order_days"] == pytest.approx(decayed, abs=1e-5)


@given(order_logs())
@settings(max_examples=40, deadline=None)
def test_nulls(orders: pl.DataFrame) -> None:
    """A feature is null only where its null rule says so, and a number that is finite everywhere else."""
    table = _features(orders)
    rules = {
        "": pl.lit(value=False),
        "no repeat order day": pl.col("frequency") == 0,
        "fewer than two gaps": pl.col("frequency") < 2,
        "no value so far": pl.col("historic_value") == 0,
    }
    for feature in FEATURES:
        column = table[feature.name]
        assert column.is_null().equals(table.select(feature.name, null=rules[feature.null_rule])["null"]), feature.name
        assert column.drop_nulls().is_finite().all(), feature.name


def test_shape(cdnow_orders: pl.DataFrame, end_day: int) -> None:
    """One row per customer with history, sorted by id, and one float64 column per declared feature, in order."""
    table = _features(cdnow_orders, Snapshot(end_day))
    assert table.columns == ["customer_id", *FEATURE_NAMES]
    assert set(table.dtypes[1:]) == {pl.Float64}
    assert table["customer_id"].to_list() == sorted(set(cdnow_orders["customer_id"].to_list()))


def test_empty(engine: duckdb.DuckDBPyConnection) -> None:
    """No history gives an empty table of the same columns on both engines."""
    orders = build_orders([("c", CUTOFF_DAY + 5, MICROS)])
    for frame in (orders, engine.from_arrow(orders.to_arrow())):
        table = _customers(frame)
        assert table.is_empty()
        assert table.columns[: len(FEATURE_NAMES) + 1] == ["customer_id", *FEATURE_NAMES]


@given(order_logs())
@settings(max_examples=20, deadline=None)
def test_stage_table(orders: pl.DataFrame) -> None:
    """The stage table alone names the same stages as the customer table."""
    alone = build_stage_table(nw.from_native(orders.lazy()), SNAPSHOT, rule=SHOP_RULE)
    assert alone.equals(_customers(orders).select("customer_id", "stage"))


def _bytes(table: pl.DataFrame) -> bytes:
    """Write every type and value, down to the last digit and the sign of zero."""
    return repr((table.schema, table.rows())).encode()


def _oracle(engine: duckdb.DuckDBPyConnection, orders: pl.DataFrame, cutoff_day: int) -> pl.DataFrame:
    engine.register("orders", orders.to_arrow())
    found: pl.DataFrame = engine.sql(ORACLE.format(cutoff=cutoff_day)).pl()
    return found


def _agree(table: pl.DataFrame, oracle: pl.DataFrame) -> None:
    assert table["customer_id"].to_list() == oracle["customer_id"].to_list()
    for name in oracle.columns[1:]:
        ours, theirs = (frame[name].fill_null(nan).to_numpy() for frame in (table, oracle))
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9, err_msg=name)
