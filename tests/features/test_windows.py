"""Looking along a customer's days: both ways see the same."""

import narwhals as nw
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from features.windows import PARTITIONED, SORTED, Windows

DAYS = st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=8, unique=True).map(sorted), min_size=1, max_size=6)


@given(DAYS)
@settings(deadline=None)
def test_both_ways(customers: list[list[int]]) -> None:
    """Previous, following and first value, and position, are the same by partition and along sorted rows."""
    rows = [
        (f"c{i}", day, day == days[0], day == days[-1], position)
        for i, days in enumerate(customers)
        for position, day in enumerate(days, 1)
    ]
    columns = {"customer_id": pl.String, "day": pl.Int64, "_begins": bool, "_ends": bool, "_position": pl.Int64}
    frame = pl.DataFrame(rows, schema=columns, orient="row")
    along = nw.from_native(frame, eager_only=True).select(*_looks(SORTED)).to_native()
    expected = [
        (days[i - 1] if i else None, days[i + 1] if i + 1 < len(days) else None, days[0], i + 1)
        for days in customers
        for i in range(len(days))
    ]
    assert along.rows() == expected
    any_order = nw.from_native(frame.reverse().lazy()).with_columns(*_looks(PARTITIONED)).collect().to_native()
    assert any_order.sort("customer_id", "day").select(along.columns).equals(along)


def _looks(windows: Windows) -> list[nw.Expr]:
    day = nw.col("day")
    return [
        windows.previous(day).alias("previous"),
        windows.following(day).alias("following"),
        windows.first(day).alias("first"),
        windows.position().alias("position"),
    ]
