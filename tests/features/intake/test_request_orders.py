"""A request's orders are those of the file path, to the bit."""

# ruff: noqa: DTZ001 - naive stamps are the subject of these tests

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.engine import connect
from features.errors import InputError
from features.intake.orders import read_orders
from features.intake.request_orders import ORDER_SCHEMA, orders_from_rows
from features.intake.zones import load_clock
from tests.features.intake.conftest import orders_settings

ZONES = ["UTC", "Europe/Paris", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia"]
_CHANGES = [datetime(2024, 3, 31, 1), datetime(2024, 10, 27, 1), datetime(2018, 11, 4, 3), datetime(2011, 12, 30, 9)]
_NEAR = st.tuples(st.sampled_from(_CHANGES), st.integers(-2 * 86_400, 2 * 86_400)).map(
    lambda pair: pair[0] + timedelta(seconds=pair[1])
)
_NAIVE = _NEAR | st.datetimes(datetime(1970, 1, 3), datetime(2099, 12, 29))
_STAMPS = _NAIVE | _NAIVE.map(lambda stamp: stamp.replace(tzinfo=UTC))
_AMOUNTS = st.decimals(0, 10**9, places=8) | st.floats(0, 1e9)
_ROWS = st.lists(st.tuples(st.sampled_from(["a", "007", " b "]), _STAMPS, _AMOUNTS), min_size=1, max_size=20)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=_ROWS, zone=st.sampled_from(ZONES))
def test_equals_files(tmp_path: Path, rows: list[tuple[str, datetime, Decimal | float]], zone: str) -> None:
    """Rows of a request become the same orders as the same rows in a file, on days of clock changes too."""
    file = tmp_path / "orders.csv"
    lines = [f"{customer},{stamp.isoformat()},{amount}\n" for customer, stamp, amount in rows]
    file.write_text("customer_id,ordered_at,amount\n" + "".join(lines), encoding="utf-8")
    with connect() as connection:
        intake = read_orders([file], orders_settings(timezone=zone), connection=connection)
        from_file = intake.orders.pl()
    from_rows = orders_from_rows(rows, timezone=zone)
    assert from_rows.schema == from_file.schema == ORDER_SCHEMA
    assert sorted(from_rows.rows()) == sorted(from_file.rows())


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
        ((" ", datetime(2024, 1, 1), 1.0), "Order 2: customer_id is empty"),
        (("a", datetime(1969, 1, 1), 1.0), "Order 2: ordered_at lies outside"),
        (("a", datetime(2024, 1, 1), float("nan")), "Order 2: amount is not a finite"),
        (("a", datetime(2024, 1, 1), Decimal("-0.01")), "Order 2: amount is below zero"),
        (("a", datetime(2024, 1, 1), Decimal("1e400")), "Order 2: amount exceeds"),
    ],
)
def test_bad_rows(row: tuple[str, datetime, Decimal | float], message: str) -> None:
    """A row that is no order is refused by its number and column."""
    with pytest.raises(InputError, match=message):
        orders_from_rows([("a", datetime(2024, 1, 1), 1.0), row], timezone="UTC")


def test_no_rows() -> None:
    """No rows give an empty frame of the same columns."""
    assert orders_from_rows([], timezone="UTC").schema == ORDER_SCHEMA


def test_endless_sum() -> None:
    """A customer whose orders would not add up exactly in 64 bits is refused."""
    rows = [("c", datetime(2026, 1, 1, tzinfo=UTC), Decimal(1_000_000_000))] * 9_001
    with pytest.raises(InputError, match="sum to more than"):
        orders_from_rows(rows, timezone="UTC")
