"""Dated rates: read or refused by line, and applied exactly."""

from datetime import date
from decimal import ROUND_HALF_UP, Decimal, localcontext
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import InputError, MissingColumnError, SourceNotFoundError
from features.intake.values.rates import MAX_RATE, converted_micros_sql, load_rates, with_rates_sql
from features.snapshot import to_day

HEADER = "date,currency,rate\n"


def load(text: str, connection: duckdb.DuckDBPyConnection, folder: Path) -> str:
    """Load the text of a file of rates for a shop in euros."""
    file = folder / "rates.csv"
    file.write_text(text, encoding="utf-8")
    return load_rates(file, connection, currency="EUR", name="fx")


def listed(table: str, connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """List the rates of currencies other than the shop's."""
    return connection.execute(f"SELECT * FROM {table} WHERE currency <> 'EUR' ORDER BY ALL").fetchall()


def test_rates(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """Each rate is kept once with its day, to twelve decimals, under the upper case of its currency."""
    text = "2024-01-01, usd ,0.9\n2024-01-01,USD,0.90\n2024-02-01,USD,9e-1\n2024-01-01,IDR,0.0000584567894\n"
    table = load(HEADER + text + "2024-01-01,EUR,1.0\n", connection, tmp_path)
    january, february = to_day(date(2024, 1, 1)), to_day(date(2024, 2, 1))
    assert listed(table, connection) == [
        ("IDR", january, 58_456_789),
        ("USD", january, 900_000_000_000),
        ("USD", february, 900_000_000_000),
    ]


@pytest.mark.parametrize("rate", [pl.Float64, pl.Decimal(12, 6), pl.String])
@pytest.mark.parametrize("day", [pl.Date, pl.Datetime("us"), pl.Datetime("us", "UTC"), pl.String])
def test_parquet(tmp_path: Path, connection: duckdb.DuckDBPyConnection, day: Any, rate: Any) -> None:
    """Native days and numbers of Parquet are read like their texts."""
    frame = pl.DataFrame({"date": [date(2024, 1, 1)], "currency": ["USD"], "rate": [0.0001]})
    frame.with_columns(pl.col("date").cast(day), pl.col("rate").cast(rate)).write_parquet(tmp_path / "rates.parquet")
    table = load_rates(tmp_path / "rates.parquet", connection, currency="eur", name="fx")
    assert listed(table, connection) == [("USD", to_day(date(2024, 1, 1)), 100_000_000)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("31/01/2024,USD,0.9", "the date is not one of ISO 8601"),
        (",USD,0.9", "the date is not"),
        ("2024-01-31,,0.9", "the currency is empty"),
        ('2024-01-31,USD,"0,9"', "the rate is not a plain decimal"),
        ("2024-01-31,USD,", "the rate is not"),
        ("2024-01-31,USD,0", "the rate is not"),
        ("2024-01-31,USD,-0.9", "the rate is not"),
        ("2024-01-31,USD,nan", "the rate is not"),
        ("2024-01-31,USD,100000000.1", "the rate is not.*at most 100,000,000"),
        ("2024-01-31,USD,1e40", "the rate is not"),
        ("2024-01-31,EUR,1.01", "the rate of the shop's own currency is not 1"),
        ("2024-01-01,usd,0.91", "the currency has another rate on that day"),
        ("2024-01-31,USD", "cannot be read as date, currency and rate"),
    ],
)
def test_bad_rows(tmp_path: Path, connection: duckdb.DuckDBPyConnection, line: str, message: str) -> None:
    """A row that is no rate, or contradicts one above, is refused by file and line, without its value."""
    with pytest.raises(InputError, match=rf"rates\.csv, line 3: {message}") as refused:
        load(f"{HEADER}2024-01-01,USD,0.9\n{line}\n", connection, tmp_path)
    assert all(value not in str(refused.value) for value in ("0.91", "31/01", "1e40"))


def test_unusable_files(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """A file that is absent, more than one, or without a column is refused with what to do."""
    with pytest.raises(SourceNotFoundError, match=r"absent\.csv"):
        load_rates(tmp_path / "absent.csv", connection, currency="EUR", name="a")
    with pytest.raises(MissingColumnError, match=r"as rate; .* Name the columns date, currency, rate\."):
        load("date,currency,value\n2024-01-01,USD,1\n", connection, tmp_path)
    (tmp_path / "more.csv").write_text(HEADER, encoding="utf-8")
    with pytest.raises(InputError, match="names more than one file"):
        load_rates(tmp_path, connection, currency="EUR", name="b")


def test_rate_in_force(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """The latest rate on or before the day applies; where there is none, nothing is converted and no row is lost."""
    table = load(HEADER + "2024-01-10,USD,0.9\n2024-01-20,USD,0.8\n2024-01-15,GBP,1.2\n", connection, tmp_path)
    tenth = to_day(date(2024, 1, 10))
    cases: list[tuple[str | None, int | None, int | None, int | None]] = [
        *[("USD", tenth - 1, 1_000_000, None), ("USD", tenth, 1_000_000, 900_000), ("USD", tenth + 9, 10, 9)],
        *[("USD", tenth + 10, 1_000_000, 800_000), ("USD", 40_000, -1_000_000, -800_000)],
        *[("GBP", tenth + 4, 1, None), ("GBP", tenth + 5, 10, 12), ("JPY", tenth, 1, None)],
        *[("EUR", 0, 7, 7), ("EUR", tenth, -7, -7), ("USD", tenth, 0, 0)],
        *[(None, tenth, 1, None), ("USD", None, 1, None), ("USD", tenth, None, None)],
    ]
    connection.execute("CREATE TABLE amounts (n INT, currency VARCHAR, day USMALLINT, micros BIGINT)")
    connection.executemany("INSERT INTO amounts VALUES (?, ?, ?, ?)", [(n, *case[:3]) for n, case in enumerate(cases)])
    sql = with_rates_sql("SELECT * FROM amounts", table)
    found = connection.execute(f"SELECT currency, day, micros, converted_micros FROM ({sql}) ORDER BY n").fetchall()
    assert found == cases
    assert connection.sql(sql).columns == ["n", "currency", "day", "micros", "converted_micros"]


MICROS = st.integers(-(10**18), 10**18)
RATES = st.decimals(Decimal("1e-12"), MAX_RATE, places=12) | st.decimals(Decimal("1e-12"), 2, places=12)


@settings(max_examples=100, deadline=None)
@given(pairs=st.lists(st.tuples(MICROS | st.integers(-1000, 1000), RATES), min_size=1, max_size=50))
def test_exact_products(engine: duckdb.DuckDBPyConnection, pairs: list[tuple[int, Decimal]]) -> None:
    """Every product is that of exact arithmetic, rounded half away from zero; 64 bits bound it."""
    rows = ", ".join(
        f"({n}, {micros}::BIGINT, {int(rate.scaleb(12))}::HUGEINT)" for n, (micros, rate) in enumerate(pairs)
    )
    sql = f"SELECT {converted_micros_sql('m', 'r')} FROM (VALUES {rows}) AS t(n, m, r) ORDER BY n"
    with localcontext(prec=60):
        exact = [int((micros * rate).to_integral_value(ROUND_HALF_UP)) for micros, rate in pairs]
    limit = 2**63 - 1
    assert [found for (found,) in engine.execute(sql).fetchall()] == [max(-limit, min(limit, n)) for n in exact]
