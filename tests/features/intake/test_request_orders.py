"""A request's orders, refunds and items are those of the file path, to the bit."""

# ruff: noqa: DTZ001 - naive stamps are the subject of these tests

import csv
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import narwhals as nw
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.errors import InputError
from features.intake.orders import read_orders
from features.intake.request_orders import OrderRow, records_from_rows
from features.intake.values.zones import load_clock
from features.records import ITEM_SCHEMA, ORDER_OPTIONS, ORDER_SCHEMA, REFUND_SCHEMA
from tests.features.intake.conftest import orders_settings

ZONES = ["UTC", "Europe/Paris", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia"]
COLUMNS = OrderRow.__slots__
_CHANGES = [datetime(2024, 3, 31, 1), datetime(2024, 10, 27, 1), datetime(2018, 11, 4, 3), datetime(2011, 12, 30, 9)]
_NEAR = st.tuples(st.sampled_from(_CHANGES), st.integers(-2 * 86_400, 2 * 86_400)).map(
    lambda pair: pair[0] + timedelta(seconds=pair[1])
)
_NAIVE = _NEAR | st.datetimes(datetime(1970, 1, 3), datetime(2099, 12, 29))
_CLOSE = st.integers(0, 90).map(lambda hours: datetime(2024, 3, 30) + timedelta(hours=hours))
_STAMPS = _CLOSE | _NAIVE | _NAIVE.map(lambda stamp: stamp.replace(tzinfo=UTC))
_AMOUNTS = st.integers(-5, 9).map(float) | st.decimals(-(10**9), 10**9, places=8) | st.floats(-1e9, 1e9)
_ROWS = st.lists(
    st.builds(
        OrderRow,
        customer_id=st.sampled_from(["a", "007", " b "]),
        ordered_at=_STAMPS,
        amount=_AMOUNTS,
        order_id=st.sampled_from([None, "", "1", "2 "]),
        refund_of=st.sampled_from([None, None, "1", "9"]),
        channel=st.sampled_from([None, " ", "web", "shop"]),
        category=st.sampled_from([None, "tea", 'é, "pot"']),
        quantity=st.none() | st.integers(-3, 3).map(float) | st.decimals(-1000, 1000, places=7),
        cost=st.none() | st.decimals(-1000, 1000, places=7) | st.floats(-1e6, 1e6),
    ),
    min_size=1,
    max_size=25,
)


def rows_of(frame: nw.LazyFrame[Any] | None) -> list[str]:
    """List the rows of a relation of either engine, sorted."""
    return [] if frame is None else sorted(map(repr, frame.collect("polars").to_native().rows()))


def schema_of(frame: nw.LazyFrame[Any] | None) -> pl.Schema:
    """Return the schema of a relation of either engine."""
    assert frame is not None
    collected: pl.DataFrame = frame.collect("polars").to_native()
    return collected.schema


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=_ROWS, zone=st.sampled_from(ZONES))
def test_equals_files(tmp_path: Path, engine: duckdb.DuckDBPyConnection, rows: list[OrderRow], zone: str) -> None:
    """Rows of a request become the same records as the same lines of a file, on days of clock changes too."""
    file = tmp_path / "orders.csv"
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow([*COLUMNS, "number"])
        for number, row in enumerate(rows):
            values = (getattr(row, column) for column in COLUMNS)
            writer.writerow([*(v.isoformat() if isinstance(v, datetime) else v for v in values), number])
    from_rows = records_from_rows(rows, timezone=zone)
    read = read_orders([file], orders_settings(timezone=zone, rows="lines"), connection=engine)
    assert read.report.n_quarantined == read.report.n_repeats == 0
    for name in ("orders", "refunds", "items"):
        assert rows_of(getattr(from_rows, name)) == rows_of(getattr(read.records, name)), name
    assert schema_of(from_rows.orders) == schema_of(read.records.orders)
    assert schema_of(from_rows.items) == schema_of(read.records.items)


@settings(max_examples=200, deadline=None)
@given(stamp=_NEAR, zone=st.sampled_from(ZONES))
def test_clock_is_zoneinfo(stamp: datetime, zone: str) -> None:
    """The table of offsets says what the time zone database says."""
    clock = load_clock(zone)
    utc = clock.utc_micros(stamp)
    expected = stamp.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=utc) == expected
    assert clock.day(utc) == (expected.astimezone(ZoneInfo(zone)).date() - datetime(1970, 1, 1).date()).days


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (OrderRow(" ", datetime(2024, 1, 1), 1.0), "Order 2: customer_id is empty"),
        (OrderRow("a", datetime(1969, 1, 1), 1.0), "Order 2: ordered_at lies outside"),
        (OrderRow("a", datetime(2024, 1, 1), float("nan")), "Order 2: amount is not a finite"),
        (OrderRow("a", datetime(2024, 1, 1), Decimal("-1e400")), "Order 2: amount lies beyond"),
        (OrderRow("a", datetime(2024, 1, 1), 1.0, cost=float("inf")), "Order 2: cost is not a finite"),
        (OrderRow("a", datetime(2024, 1, 1), 1.0, quantity=1e10), "Order 2: quantity lies beyond"),
    ],
)
def test_bad_rows(row: OrderRow, message: str) -> None:
    """A row that is no order is refused by its number and column."""
    with pytest.raises(InputError, match=message):
        records_from_rows([OrderRow("a", datetime(2024, 1, 1), 1.0), row], timezone="UTC")


def test_no_rows() -> None:
    """No rows give empty relations of the same columns."""
    records = records_from_rows([], timezone="UTC")
    assert schema_of(records.orders) == pl.Schema({**ORDER_SCHEMA, **ORDER_OPTIONS})
    assert (schema_of(records.refunds), schema_of(records.items)) == (REFUND_SCHEMA, ITEM_SCHEMA)


def test_endless_sum() -> None:
    """A customer whose orders would not add up exactly in 64 bits is refused."""
    rows = [OrderRow("c", datetime(2026, 1, 1, tzinfo=UTC), Decimal(1_000_000_000))] * 9_001
    with pytest.raises(InputError, match="sum to more than"):
        records_from_rows(rows, timezone="UTC")
