"""The customer table: the same bytes whichever way it is computed, and what the definitions say."""

import statistics
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import nan
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import customer_rows, plan
from features.catalogue import MICROS, supported
from features.lifecycle.stages import StageRule
from features.offers import find_offers
from features.records import Records
from features.snapshot import Snapshot, to_date
from features.table import (
    FEATURE_NAMES,
    FEATURES,
    build_customer_table,
    build_customer_tables,
    build_feature_table,
    build_feature_tables,
    build_stage_tables,
    features_named,
)
from tests.histories import (
    CUTOFF_DAY,
    SCHEMAS,
    SHOP_RULE,
    Shop,
    build_orders,
    build_records,
    exact_bytes,
    order_logs,
    rules,
    shops,
)

SNAPSHOT = Snapshot(CUTOFF_DAY, 90)
CHUNKS = st.tuples(st.sampled_from([1, 2, 3, 7, 250_000]), st.sampled_from([0, 2**24]))
CUTOFF_DAYS = st.lists(st.integers(CUTOFF_DAY - 600, CUTOFF_DAY + 300), min_size=1, max_size=3)


def _features(orders: Any, snapshot: Snapshot = SNAPSHOT) -> pl.DataFrame:
    return build_feature_table(Records.wrap(orders), snapshot)


def _customers(records: Records, rule: StageRule = SHOP_RULE) -> bytes:
    return exact_bytes(build_customer_table(records, SNAPSHOT, rule=rule, features=FEATURES))


@contextmanager
def _chunks_of(n_rows: int, max_grouped_rows: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(customer_rows, "CHUNK_ROWS", n_rows)
        patch.setattr(customer_rows, "MAX_ROWS", max_grouped_rows)
        yield


@contextmanager
def _computed_anywhere() -> Iterator[None]:
    """Compute as on an engine that is not in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "is_local", lambda _: False)
        yield


@given(shops(), CHUNKS)
@settings(deadline=None)
def test_chunks(engine: duckdb.DuckDBPyConnection, shop: Shop, chunks: tuple[int, int]) -> None:
    """DuckDB, grouped in memory or sorted, in chunks of one row or of all, and Polars give the same bytes."""
    expected = _customers(build_records(shop))
    with _chunks_of(*chunks):
        assert _customers(build_records(shop, engine)) == expected


@given(shops(), rules())
@settings(deadline=None)
def test_anywhere(shop: Shop, rule: StageRule) -> None:
    """The way for any engine gives the same bytes as the way in memory, stages included, by any rule."""
    expected = _customers(build_records(shop), rule)
    with _computed_anywhere():
        assert _customers(build_records(shop), rule) == expected


@pytest.mark.slow
@given(shops())
@settings(deadline=None, max_examples=10)
def test_anywhere_in_database(engine: duckdb.DuckDBPyConnection, shop: Shop) -> None:
    """The way for any engine gives the same bytes in DuckDB, too."""
    expected = _customers(build_records(shop, engine))
    with _computed_anywhere():
        assert _customers(build_records(shop, engine)) == expected


@pytest.mark.slow
@given(shops(), CUTOFF_DAYS, CHUNKS)
@settings(deadline=None)
def test_many_cutoffs(engine: duckdb.DuckDBPyConnection, shop: Shop, days: list[int], chunks: tuple[int, int]) -> None:
    """Many cutoffs in one pass give what each gives alone: customers, whatever the sequence, repeated or not."""
    snapshots = [Snapshot(day, 30) for day in days]
    with _chunks_of(*chunks):
        together = build_customer_tables(build_records(shop, engine), snapshots, rule=SHOP_RULE, features=FEATURES)
    alone = [build_customer_table(build_records(shop), at, rule=SHOP_RULE, features=FEATURES) for at in snapshots]
    assert [*map(exact_bytes, together)] == [*map(exact_bytes, alone)]


@given(shops(), CUTOFF_DAYS)
@settings(deadline=None)
def test_stage_tables(shop: Shop, days: list[int]) -> None:
    """The stages of many cutoffs alone are those of the customer tables, both ways of computing."""
    snapshots = [Snapshot(day) for day in days]
    records = build_records(shop)
    tables = build_customer_tables(records, snapshots, rule=SHOP_RULE, features=FEATURES)
    silence = pl.col("days_since_last_order").cast(pl.Int64)
    expected = [exact_bytes(one.select("customer_id", "stage", silence)) for one in tables]
    assert [*map(exact_bytes, build_stage_tables(records, snapshots, rule=SHOP_RULE))] == expected
    with _computed_anywhere():
        assert [*map(exact_bytes, build_stage_tables(records, snapshots, rule=SHOP_RULE))] == expected


@given(shops(), st.lists(st.sampled_from(FEATURE_NAMES), min_size=1, max_size=5, unique=True))
@settings(deadline=None)
def test_chosen_features(shop: Shop, names: list[str]) -> None:
    """A feature is the same whichever others are asked for, and stages stand beside features as they are."""
    chosen = build_feature_table(build_records(shop), SNAPSHOT, features=features_named(names))
    everything = build_customer_table(build_records(shop), SNAPSHOT, rule=SHOP_RULE, features=FEATURES)
    assert exact_bytes(chosen) == exact_bytes(everything.select("customer_id", *names))


@given(shops(), CUTOFF_DAYS)
@settings(deadline=None)
def test_features_on_record(shop: Shop, days: list[int]) -> None:
    """If none are asked for, there are those whose needs were on record at the latest cutoff, and no others."""
    records, snapshots = build_records(shop), [Snapshot(day) for day in days]
    offered = supported(FEATURES, find_offers(records, Snapshot(max(days))))
    for found in build_feature_tables(records, snapshots):
        assert found.columns == ["customer_id", *(feature.name for feature in offered)]


def test_no_such_feature() -> None:
    """A feature that the catalogue does not have is refused by its name."""
    with pytest.raises(KeyError, match="shoe_size"):
        features_named(["frequency", "shoe_size"])


@pytest.mark.parametrize("back_days", [0, 200])
def test_cdnow(engine: duckdb.DuckDBPyConnection, cdnow_orders: pl.DataFrame, end_day: int, back_days: int) -> None:
    """DuckDB in small chunks, from two files in another order, Polars, and the way for any engine agree on CDNOW."""
    snapshot = Snapshot(end_day - back_days, 90)
    halves = [cdnow_orders[1::2].reverse(), cdnow_orders[::2]]
    relations = [engine.from_arrow(half.to_arrow()) for half in halves]
    expected = exact_bytes(build_customer_table(build_records(cdnow_orders), snapshot, rule=SHOP_RULE))
    united = Records.wrap(relations[0].union(relations[1]))
    for max_grouped_rows in (0, 2**24):
        with _chunks_of(1_000, max_grouped_rows):
            assert exact_bytes(build_customer_table(united, snapshot, rule=SHOP_RULE)) == expected
    with _computed_anywhere():
        assert exact_bytes(build_customer_table(united, snapshot, rule=SHOP_RULE)) == expected


def test_at_the_cutoff() -> None:
    """An order on the day before the cutoff counts; one on the cutoff's own day does not exist yet."""
    assert _features(build_orders([("c", CUTOFF_DAY, MICROS)])).is_empty()
    found = _features(build_orders([("c", CUTOFF_DAY - 1, MICROS), ("c", CUTOFF_DAY, MICROS)]))
    assert found.select("frequency", "T_days", "days_since_last_order", "n_orders").row(0) == (0.0, 1.0, 1.0, 1.0)


def test_huge_value(engine: duckdb.DuckDBPyConnection) -> None:
    """The greatest sum of one customer that intake lets pass adds up, on both engines."""
    orders = build_orders([("c", CUTOFF_DAY - 1, 1_000_000_000 * MICROS)] * 9_000)
    for frame in (orders, engine.from_arrow(orders.to_arrow())):
        assert _features(frame)["historic_value"].to_list() == [9e12]


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
    ours = _features(known, Snapshot(cutoff_day)).with_columns(pl.col("monetary_value").fill_null(0.0))
    assert ours["customer_id"].to_list() == summary.index.to_list()
    columns = ("frequency", "recency_days", "T_days", "monetary_value")
    for name, theirs in zip(columns, summary.columns, strict=True):
        np.testing.assert_allclose(ours[name].to_numpy(), summary[theirs].to_numpy(), rtol=1e-9, err_msg=name)


def test_by_hand() -> None:
    """The features of order days that no oracle covers are what their one-line meanings say."""
    ages = {400: 2, 300: 4, 100: 6, 40: 8}
    orders = build_orders([("c", CUTOFF_DAY - age, value * MICROS) for age, value in ages.items()])
    row = _features(orders).row(0, named=True)
    gaps = [100, 200, 60]
    expected = {
        "gap_variation": statistics.stdev(gaps) / 120,
        "last_gap_to_mean": 60 / 120,
        "silence_to_mean_gap": 40 / 120,
        "silence_to_max_gap": 40 / 200,
        "silence_to_median_gap": 40 / 100,
        "silence_score": (40 - 120) / statistics.stdev(gaps),
        "overdue_days": 40 - 100,
        "recency_share": 360 / 400,
        "orders_per_order_day": 1.0,
        "order_days_first_90": 1.0,
        "order_days_same_season": 1.0,
        "coming_season_share": 1 / 4,
        "coming_season_value_share": 4 / 20,
        "mean_order_day_value": 5.0,
        "max_order_day_value": 8.0,
        "min_order_day_value": 2.0,
        "last_value_to_mean": 8 / 5,
        "max_value_share": 8 / 20,
        "value_per_year": 20 * 365.25 / 400,
        "value_within_90": 8.0,
        "value_within_180": 14.0,
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert row["decayed_order_days"] == pytest.approx(sum(30 / (30 + age) for age in ages), abs=1e-5)


def test_shape(cdnow_orders: pl.DataFrame, end_day: int) -> None:
    """One row per customer with history, sorted by id, and one float64 column per feature that orders can fill."""
    found = _features(cdnow_orders, Snapshot(end_day))
    assert found.columns == ["customer_id", *(f.name for f in features_named(FEATURE_NAMES) if not f.needs)]
    assert set(found.dtypes[1:]) == {pl.Float64}
    assert found["customer_id"].to_list() == sorted(set(cdnow_orders["customer_id"].to_list()))


@given(shops())
@settings(deadline=None)
def test_sorted(shop: Shop) -> None:
    """Customers with an order before the cutoff stand once each, sorted; those with events alone do not."""
    known = shop["orders"].filter(pl.col("day") < CUTOFF_DAY)["customer_id"].to_list()
    table = build_feature_table(build_records(shop), SNAPSHOT, features=FEATURES)
    assert table["customer_id"].to_list() == sorted(set(known))


def test_ids(engine: duckdb.DuckDBPyConnection) -> None:
    """Ids that sort in their own ways, that are empty or long, or begin alike stay apart and in one sequence."""
    ids = ["", " ", "A", "Z", "a", "aa", "a\u0000", "ä", "z", "é", "e\u0301", "名", "😀", "x" * 300]
    orders = build_orders([(customer_id, CUTOFF_DAY - 1, MICROS) for customer_id in reversed(ids)])
    found = _features(orders)
    assert found["customer_id"].to_list() == sorted(ids)
    assert _features(engine.from_arrow(orders.to_arrow())).equals(found)


@pytest.mark.parametrize("build", [build_feature_tables, lambda *given: build_customer_tables(*given, rule=SHOP_RULE)])
def test_empty(engine: duckdb.DuckDBPyConnection, build: Callable[..., list[pl.DataFrame]]) -> None:
    """No history gives an empty table of the same columns and types as any other, both ways and on both engines."""
    later = build_orders([("c", CUTOFF_DAY + 5, MICROS)])
    for records in (build_records(later), build_records(later, engine)):
        empty, full = build(records, [SNAPSHOT, Snapshot(CUTOFF_DAY + 6)])
        assert (empty.height, full.height) == (0, 1)
        assert empty.schema == full.schema
        with _computed_anywhere():
            assert build(records, [SNAPSHOT])[0].schema == full.schema


@given(order_logs())
@settings(deadline=None)
def test_no_other_relations(orders: pl.DataFrame) -> None:
    """Relations that are there and empty change no feature of orders; counts in them are 0, the rest is null."""
    alone = build_feature_table(build_records(orders), SNAPSHOT)
    empty = {name: pl.DataFrame(schema=SCHEMAS[name]) for name in SCHEMAS if name != "orders"}
    beside = build_feature_table(build_records({"orders": orders, **empty}), SNAPSHOT, features=FEATURES)
    assert exact_bytes(beside.select(alone.columns)) == exact_bytes(alone)
    others = beside.drop(alone.columns)
    assert set(others.fill_null(nan).unpivot()["value"].fill_nan(0.0).to_list()) <= {0.0}
