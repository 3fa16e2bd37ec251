"""Dated currency rates: read from a file, and applied exactly to amounts in millionths."""

# ruff: noqa: S608 - statements are composed of our own SQL; whatever comes from outside is quoted or escaped

from pathlib import Path

import duckdb

from features.errors import InputError
from features.intake.readers.columns import ColumnNames
from features.intake.readers.sources import RawRows, find_sources, open_source
from features.intake.values.dates import local_sql, stamp_text_sql, utc_sql
from features.intake.values.numbers import plain_number_sql
from features.intake.values.texts import literal_sql, text_sql
from features.intake.values.zones import MICROS_PER_DAY
from features.settings import Reading

PICOS = 10**12
MAX_RATE = 10**8  # of which the product with any amount that DECIMAL(18, 6) holds is exact in 128 bits

_LARGEST = 2**63 - 1
_FOREVER = -(2**31)  # a day before every other

_RATE_COLUMNS = ColumnNames(
    required=("date", "currency", "rate"),
    optional=(),
    section="",
    common={"date": ("date", "day"), "currency": ("currency", "currency_code"), "rate": ("rate", "exchange_rate")},
)
_READING = Reading(columns={}, timezone="UTC", date_format="", number_format="1234.50", encoding="", delimiter="")

_FAULTS = {
    "unreadable": "cannot be read as date, currency and rate",
    "date": "the date is not one of ISO 8601, such as 2024-03-31",
    "currency": "the currency is empty",
    "rate": f"the rate is not a plain decimal above zero, of at most {MAX_RATE:,}",
    "own": "the rate of the shop's own currency is not 1",
    "second": "the currency has another rate on that day, in a line above",
}


def load_rates(path: Path | str, connection: duckdb.DuckDBPyConnection, *, currency: str, name: str) -> str:
    """Load a file of dated rates: what one unit of a currency is worth in that of the shop, from a day on.

    Args:
        path: A CSV or Parquet file of date (ISO 8601), currency and rate (a plain decimal; twelve decimals count).
        connection: Where the table goes; temporary tables begin with `name`.
        currency: The shop's currency; one unit of it is worth 1 on every day.
        name: A name that nothing else on this connection has.

    Returns:
        The name of a table of currency (upper case), day (since 1970-01-01), rate_picos. One row per currency and day.

    Raises:
        InputError: If the file cannot be read, a row is no rate, or a currency has two rates on one day.
    """
    source, *others = find_sources([path], inherited=_READING)
    if others:
        raise InputError(f"{path} names more than one file of rates.", remedy="Give the rates in one file.")
    raw = open_source(source, connection, names=_RATE_COLUMNS, name=name)
    table, own = f"{name}_rates", literal_sql(currency.upper())
    _load_checked(raw, own, connection, into=f"{name}_read")
    connection.execute(f"""
        CREATE TEMP TABLE {table} AS
        SELECT DISTINCT currency, day, rate_picos FROM {name}_read WHERE currency <> {own}
        UNION ALL SELECT {own}, {_FOREVER}, {PICOS}""")
    return table


def with_rates_sql(rows_sql: str, rates_table: str) -> str:
    """Return a SELECT of rows with `converted_micros`, in the shop's currency. One row per row.

    The rate in force on a day is the latest on or before it; where there is none, `converted_micros` is NULL.

    Args:
        rows_sql: A SELECT with currency (upper case), day and micros.
        rates_table: A table that `load_rates` returned.
    """
    return f"""
        SELECT rows.*, {converted_micros_sql("rows.micros", "rates.rate_picos")} AS converted_micros
        FROM ({rows_sql}) AS rows
        ASOF LEFT JOIN {rates_table} AS rates ON rows.currency = rates.currency AND rows.day >= rates.day"""


def converted_micros_sql(micros: str, rate_picos: str) -> str:
    """Return the SQL of exact products, rounded half away from zero; what exceeds 64 bits stays at their end."""
    magnitude = f"(abs({micros})::HUGEINT * {rate_picos} + {PICOS // 2}) // {PICOS}"
    bounded = f"least({magnitude}, {_LARGEST})"  # least passes over NULL, so a missing rate is asked for first
    return f"CASE WHEN {rate_picos} IS NOT NULL THEN (sign({micros}) * {bounded})::BIGINT END"


def _load_checked(raw: RawRows, own: str, connection: duckdb.DuckDBPyConnection, *, into: str) -> None:
    try:
        connection.execute(f"CREATE TEMP TABLE {into} AS {_checked_sql(raw, own)}")
    except duckdb.Error:
        raise InputError(f"{raw.file} cannot be read to its end.", remedy="Write the file again.") from None
    refused = f"SELECT line, fault FROM {into} WHERE fault IS NOT NULL ORDER BY line LIMIT 1"
    for line, fault in connection.execute(refused).fetchall():
        raise InputError(f"{raw.file}, line {line}: {_FAULTS[fault]}.", remedy="Correct the line.")


def _checked_sql(raw: RawRows, own: str) -> str:
    date, rate = raw.types["date"], text_sql("rate", raw.types["rate"])
    texts = f"""
        SELECT line, fault, upper({text_sql("currency", raw.types["currency"])}) AS currency,
            {stamp_text_sql(date, column="date")} AS stamp, {plain_number_sql(rate, raw.reading.number_format)} AS rate
        FROM ({raw.sql})"""
    values = f"""
        SELECT line, fault, currency, {utc_sql(date, "")} AS utc,
            coalesce(utc, {local_sql(date, "")}) // {MICROS_PER_DAY} AS day,
            (try_cast(rate AS DECIMAL(21, 12)) * {PICOS}::DECIMAL(13, 0))::HUGEINT AS rate_picos
        FROM ({texts})"""
    return f"""
        SELECT line, currency, day, rate_picos, CASE
            WHEN fault IS NOT NULL THEN 'unreadable'
            WHEN day IS NULL THEN 'date'
            WHEN currency IS NULL THEN 'currency'
            WHEN rate_picos IS NULL OR rate_picos NOT BETWEEN 1 AND {MAX_RATE * PICOS} THEN 'rate'
            WHEN currency = {own} AND rate_picos <> {PICOS} THEN 'own'
            WHEN rate_picos <> first_value(rate_picos) OVER (PARTITION BY currency, day ORDER BY line) THEN 'second'
            END AS fault
        FROM ({values})"""
