"""Order days: one row per customer and day, with its rhythm, the same whichever way they are built."""

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import customer_rows
from features.catalogue import MICROS
from features.customer_rows import read_customers
from features.order_days import build_order_days
from features.records import Records
from features.snapshot import Snapshot
from features.sorted_days import build_chunk
from tests.histories import CUTOFF_DAY, Shop, build_orders, build_records, build_shop, shops


def _order_days(records: Records, cutoff_day: int = CUTOFF_DAY) -> pl.DataFrame:
    days: pl.DataFrame = build_order_days(records, Snapshot(cutoff_day)).collect("polars").to_native()
    return days.sort("customer_id", "day")


def test_by_hand() -> None:
    """Orders of a day count once, and each day carries its position, gap, tenure and value."""
    orders = build_orders([("a", 107, 2 * MICROS), ("a", 100, 5), ("a", 107, 3 * MICROS), ("a", 110, 0), ("b", 107, 1)])
    days = _order_days(build_records(orders), cutoff_day=120)
    assert days.to_dicts() == [
        _row("a", 100, value_micros=5, order_index=1, gap_days=None, next_day=107, tenure_days=0),
        _row("a", 107, value_micros=5 * MICROS, order_index=2, gap_days=7, next_day=110, tenure_days=7, n_orders=2),
        _row("a", 110, value_micros=0, order_index=3, gap_days=3, next_day=None, tenure_days=10, is_last=True),
        _row("b", 107, value_micros=1, order_index=1, gap_days=None, next_day=None, tenure_days=0, is_last=True),
    ]


@pytest.mark.parametrize(("cutoff_day", "value"), [(103, 10), (105, 10), (106, 7), (120, 7)])
def test_refund(cutoff_day: int, value: int) -> None:
    """A refund lowers the value of its order's day from the day after it came; unmatched ones lower nothing."""
    refunds = [("a", 105, 100, 9, 3), ("a", 104, None, 2, 0)]
    shop = build_shop({"orders": [("a", 100, 10, None, None)], "refunds": refunds})
    assert _order_days(build_records(shop), cutoff_day)["value_micros"].to_list() == [value]


@given(shops())
@settings(deadline=None)
def test_refunds_lower_values_alone(shop: Shop) -> None:
    """Refunds change no order day but its value, which they never raise, nor take below 0."""
    without = _order_days(build_records(shop["orders"]))
    days = _order_days(build_records(shop))
    assert days.drop("value_micros").equals(without.drop("value_micros"))
    assert (days["value_micros"] <= without["value_micros"]).all()
    assert (days["value_micros"] >= 0).all()


@given(shops(), st.integers(-500, 200), st.integers(0, 400), st.sampled_from([(1, 9), (2, 0), (250_000, 2**24)]))
@settings(deadline=None)
def test_chunks(
    engine: duckdb.DuckDBPyConnection, shop: Shop, shift: int, later_days: int, chunks: tuple[int, int]
) -> None:
    """Order days read along sorted rows, up to a later day, are at the cutoff those that any engine builds."""
    snapshot = Snapshot(CUTOFF_DAY + shift)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(customer_rows, "CHUNK_ROWS", chunks[0])
        patch.setattr(customer_rows, "MAX_ROWS", chunks[1])
        read = read_customers(build_records(shop, engine), end_day=snapshot.cutoff_day + later_days)
        built = [build_chunk(rows) for rows in read]
    expected = _order_days(build_records(shop, engine), snapshot.cutoff_day).drop("next_day")
    found = [
        pl.DataFrame(days.to_series()).with_columns(customer_id=chunk.customer_ids.gather(days["_customer"].values))
        for chunk in built
        for days in [chunk.at(snapshot)]
    ]
    rows = [row for days in found for row in days.select(expected.columns).iter_rows()]
    assert rows == expected.rows()


def _row(customer_id: str, day: int, **values: int | bool | None) -> dict[str, object]:
    return {"customer_id": customer_id, "day": day, "age_days": 120 - day, "n_orders": 1, "is_last": False} | values
