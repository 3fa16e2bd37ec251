"""The cutoff: half-open everywhere."""

from datetime import date, timedelta

import narwhals as nw
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.snapshot import Snapshot, to_date, to_day
from tests.histories import CUTOFF_DAY, one_customer

SNAPSHOT = Snapshot(CUTOFF_DAY, 90)


@pytest.mark.parametrize(
    ("day", "part"),
    [
        (CUTOFF_DAY - 1, "history"),
        (CUTOFF_DAY, "outcome"),
        (CUTOFF_DAY + 89, "outcome"),
        (CUTOFF_DAY + 90, "neither"),
    ],
)
def test_half_open(day: int, part: str) -> None:
    """The day before the cutoff is history, the cutoff's day is outcome, the end of the horizon is neither."""
    orders = nw.from_native(one_customer(day).lazy())
    parts = {"history": SNAPSHOT.history(orders), "outcome": SNAPSHOT.outcome(orders)}
    assert [name for name, frame in parts.items() if len(frame.collect())] == [part] * (part != "neither")


def test_age() -> None:
    """The youngest order that history can hold is one day old."""
    orders = nw.from_native(one_customer(CUTOFF_DAY - 1, CUTOFF_DAY - 30).lazy())
    aged: pl.DataFrame = SNAPSHOT.history(orders).collect("polars").to_native()
    assert sorted(aged["age_days"].to_list()) == [1, 30]


def test_at_horizon() -> None:
    """The snapshot at the horizon's end knows the outcome and asks for none."""
    assert SNAPSHOT.at_horizon() == Snapshot(CUTOFF_DAY + 90, 0)
    assert SNAPSHOT.end_day == CUTOFF_DAY + 90


@given(st.dates())
def test_day_numbers(when: date) -> None:
    """Dates and day numbers are the same thing, counted from 1970-01-01."""
    assert to_date(to_day(when)) == when
    assert date(1970, 1, 1) + timedelta(days=to_day(when)) == when
