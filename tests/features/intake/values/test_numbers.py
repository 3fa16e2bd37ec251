"""How amounts are written: what each format reads, and that nothing is guessed."""

from decimal import ROUND_HALF_UP, Decimal

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.intake.values.numbers import AMBIGUOUS, NUMBER_FORMATS, find_number_format, micros_sql, plain_number_sql


def micros(text: str, number_format: str, connection: duckdb.DuckDBPyConnection) -> int | None:
    """Read one amount."""
    sql = f"SELECT {micros_sql(plain_number_sql('text', number_format))} FROM (SELECT ? AS text)"
    value = connection.execute(sql, [text]).fetchall()[0][0]
    return None if value is None else int(value)


def found(texts: list[str | None], connection: duckdb.DuckDBPyConnection) -> str:
    """Find the format of some amounts."""
    connection.execute("CREATE OR REPLACE TEMP TABLE texts (text VARCHAR)")
    connection.executemany("INSERT INTO texts VALUES (?)", [(text,) for text in texts])
    return find_number_format("SELECT text FROM texts", connection)


@pytest.mark.parametrize("number_format", sorted(NUMBER_FORMATS.keys() - {AMBIGUOUS}))
def test_keys(connection: duckdb.DuckDBPyConnection, number_format: str) -> None:
    """Each format is named by how it writes 1234.50, and reads it so."""
    assert micros(number_format, number_format, connection) == 1_234_500_000
    assert micros("-" + number_format, number_format, connection) == -1_234_500_000
    assert micros("7", number_format, connection) == 7_000_000


@pytest.mark.parametrize(
    ("text", "number_format", "expected"),
    [
        *[("1e3", "1234.50", 10**9), (".5", "1234.50", 500_000), ("+3.", "1234.50", 3_000_000)],
        *[("1234567", "1,234.50", 1_234_567 * 10**6), ("1,234,567.5", "1,234.50", 1_234_567_500_000)],
        *[("1,5e-1", "1234,50", 150_000), (",5", "1234,50", 500_000), ("-12,", "1.234,50", -12_000_000)],
        *[("1\u00a0234,5", "1 234,50", 1_234_500_000), ("1\u202f234", "1 234,50", 1_234_000_000)],
        *[("1\u2019234.5", "1'234.50", 1_234_500_000), ("1.234", "1.234,50", 1_234_000_000)],
    ],
)
def test_readings(connection: duckdb.DuckDBPyConnection, text: str, number_format: str, expected: int) -> None:
    """Groups, signs, exponents and bare marks are read as the format says."""
    assert micros(text, number_format, connection) == expected


@pytest.mark.parametrize(
    ("text", "number_format"),
    [
        *[("1,234", "1234.50"), ("12,5", "1234.50"), ("1.234,50", "1234,50"), ("1.5", "1234,50")],
        *[("1,23", "1,234.50"), ("1,2345", "1,234.50"), ("0,500", "1,234.50"), ("1234,567", "1,234.50")],
        *[("1 23", "1 234,50"), ("1..234", "1.234,50"), ("1.234.50", "1.234,50")],
        *[("$3", "1234.50"), ("3 EUR", "1 234,50"), ("1_000", "1234.50"), ("NaN", "1234.50"), ("inf", "1234,50")],
        *[("", "1234.50"), (".", "1234.50"), (",", "1234,50"), ("0x1F", "1234.50"), ("--1", "1234.50")],
        *[("1e400", "1234.50"), ("9" * 13, "1234.50"), ("١٢", "1234.50"), ("\u22125", "1234.50"), ("(5)", "1234.50")],
    ],
)
def test_no_reading(connection: duckdb.DuckDBPyConnection, text: str, number_format: str) -> None:
    """Whatever is not written in the format, or is beyond all bounds, gives no amount rather than another one."""
    assert micros(text, number_format, connection) is None


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        *[([None], "1234.50"), (["1", "20", None], "1234.50"), (["12.5"], "1234.50"), ([" 12,5 "], "1234,50")],
        *[(["12,5", "7.5"], "1234.50"), (["1.234,50"], "1234,50"), (["1,234.50"], "1234.50")],
        *[
            (["1,234"], "1234.50"),
            (["1.234"], AMBIGUOUS),
            (["1.234", "12.5"], "1234.50"),
            (["12,5", "1.234"], "1234,50"),
        ],
        *[(["12,5", "1,234"], "1234,50"), (["12,5", "0.500"], "1234.50"), (["1,234,567"], "1234.50")],
        *[(["1 234,5"], "1234,50"), (["1,5 EUR"], "1234.50")],
    ],
)
def test_found_format(connection: duckdb.DuckDBPyConnection, texts: list[str | None], expected: str) -> None:
    """A decimal comma is found where some amount can have nothing else and none must have a point."""
    assert found(texts, connection) == expected


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    value=st.decimals(min_value=-(10**9), max_value=10**9, places=8, allow_nan=False, allow_infinity=False),
    number_format=st.sampled_from(sorted(NUMBER_FORMATS.keys() - {AMBIGUOUS})),
    is_grouped=st.booleans(),
)
def test_round_trip(
    connection: duckdb.DuckDBPyConnection, value: Decimal, number_format: str, *, is_grouped: bool
) -> None:
    """Any amount written in a format comes back to the last millionth, halves away from zero."""
    form = NUMBER_FORMATS[number_format]
    group = form.groups[:1] if is_grouped else ""
    text = f"{value:,f}".replace(",", "G").replace(".", form.decimal).replace("G", group)
    expected = int(value.quantize(Decimal("0.000001"), rounding=ROUND_HALF_UP).scaleb(6))
    assert micros(text, number_format, connection) == expected
