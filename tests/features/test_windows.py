"""Looking along a customer's days: both ways see the same."""

from typing import Any

import narwhals as nw
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from features import expressions
from features.arrays import Arrays
from features.windows import PARTITIONED, SORTED, Windows

DAYS = st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=8, unique=True).map(sorted), min_size=1, max_size=6)
LONGEST = 47_481  # days from 1970 to 2099
SILENCES = st.lists(
    st.lists(st.none() | st.integers(0, 400) | st.just(LONGEST), min_size=1, max_size=8), min_size=1, max_size=6
)


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
    frame = pl.DataFrame(rows, schema=columns, orient="row").with_columns(
        _customer=pl.col("customer_id").rle_id().cast(pl.Int64)
    )
    along = pl.DataFrame(Arrays.of(frame.drop("customer_id")).select(**_looks(SORTED, expressions)).to_series())
    expected = [
        (days[i - 1] if i else None, days[i + 1] if i + 1 < len(days) else None, days[0], i + 1)
        for days in customers
        for i in range(len(days))
    ]
    assert along.rows() == expected
    any_order = nw.from_native(frame.reverse().lazy()).with_columns(**_looks(PARTITIONED, nw)).collect().to_native()
    assert any_order.sort("customer_id", "day").select(along.columns).equals(along)


@given(SILENCES)
@settings(deadline=None)
def test_longest(customers: list[list[int | None]]) -> None:
    """The longest number of days so far is the customer's own, a null counts as none, both ways; also of centuries."""
    rows = [(f"c{i}", i, day, days) for i, own in enumerate(customers) for day, days in enumerate(own)]
    columns = {"customer_id": pl.String, "_customer": pl.Int64, "day": pl.Int64, "days": pl.Int64}
    frame = pl.DataFrame(rows, schema=columns, orient="row")
    expected = [max(days or 0 for days in own[: at + 1]) for own in customers for at in range(len(own))]
    along = Arrays.of(frame.drop("customer_id")).select(longest=SORTED.longest(expressions.col("days")))
    assert along["longest"].values.tolist() == expected
    any_order = nw.from_native(frame.reverse().lazy()).with_columns(longest=PARTITIONED.longest(nw.col("days")))
    found = any_order.collect().to_native().sort("_customer", "day")
    assert found["longest"].to_list() == expected


def _looks(windows: Windows, xp: Any) -> dict[str, Any]:
    day = xp.col("day")
    return {
        "previous": windows.previous(day),
        "following": windows.following(day),
        "first": windows.first(day),
        "position": windows.position(),
    }
