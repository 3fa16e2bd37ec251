"""Anyone's order files in, validated orders and a report on every row out."""

# ruff: noqa: S608 - statements are composed of our own SQL; whatever comes from outside is quoted or escaped

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import count
from pathlib import Path

import duckdb
import polars as pl

from features.errors import EmptySourceError, InputError, QuarantineShareError, SettingsError
from features.intake.checks import (
    CHECKED_COLUMNS,
    LAST_DAY_NUMBER,
    MAX_CUSTOMER_MICROS,
    checked_rows_sql,
    checked_table_sql,
)
from features.intake.quarantine import REASONS, count_by_reason, quarantine_frame
from features.intake.sources import RawRows, find_sources, open_source
from features.intake.zones import FIRST_DAY, load_clock
from features.settings import OrdersSettings
from features.snapshot import to_day

_numbers = count(1)
_SHOWN_CURRENCIES = 5
_TOLERATED_DAYS_AHEAD = 1  # somewhere it is tomorrow already
_CURRENCY_CODE = re.compile("[A-Z]{3}")


@dataclass(frozen=True, slots=True)
class IntakeReport:
    """What became of every input row.

    Attributes:
        n_input: Rows in the files, headers and blank lines aside.
        n_accepted: Rows that are valid.
        n_quarantined: Rows that were refused; with the accepted ones they make up the input exactly.
        n_orders: Orders, after lines of one order were added up; equal to `n_accepted` without order ids.
        first_day: Local date of the first order; None without any.
        last_day: Local date of the last order; None without any.
        digest: A hash of the orders that does not depend on their sequence, for lineage.
        by_reason: Reason code → refused rows.
        quarantine: One row per refused row: file, line, column, value_class, reason, remedy.
    """

    n_input: int
    n_accepted: int
    n_quarantined: int
    n_orders: int
    first_day: date | None
    last_day: date | None
    digest: str
    by_reason: Mapping[str, int]
    quarantine: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Intake:
    """Validated orders, with the report on how they came about.

    Attributes:
        orders: customer_id, ordered_at (naive, UTC), day (local, since 1970-01-01), amount_micros. One row per order.
        report: What became of every input row.
    """

    orders: duckdb.DuckDBPyRelation
    report: IntakeReport


def read_orders(
    paths: Sequence[Path | str],
    settings: OrdersSettings,
    *,
    connection: duckdb.DuckDBPyConnection,
    today: date | None = None,
) -> Intake:
    """Read order files into validated orders; set aside every row that is none, with its reason.

    Args:
        paths: CSV or Parquet files, or glob patterns.
        settings: How to read them.
        connection: The database in which the orders are materialised; the result lives as long as it does.
        today: Orders more than a day later are quarantined; None lets every date pass.

    Raises:
        InputError: If a file is missing, empty, not a table, or lacks a column, or if the orders are in more than one
            currency.
        SettingsError: If the column mapping or the date format is not valid.
    """
    _refuse_bad_date_format(settings.date_format, connection)
    name = f"intake_{next(_numbers)}"
    try:
        last_day = LAST_DAY_NUMBER if today is None else to_day(today) + _TOLERATED_DAYS_AHEAD
        return _read(find_sources(paths), settings, connection, name=name, last_day=last_day)
    finally:
        _drop_tables(connection, prefix=f"{name}_", keep=f"{name}_orders")


def refuse_above_tolerated_share(report: IntakeReport, settings: OrdersSettings) -> None:
    """Refuse input of which more rows were quarantined than the settings tolerate.

    Raises:
        QuarantineShareError: If the share is above `tolerated_quarantine_share`.
    """
    if report.n_quarantined <= settings.tolerated_quarantine_share * report.n_input:
        return
    code = max(report.by_reason, key=lambda code: report.by_reason[code])
    reason = next(reason for reason in REASONS if reason.code == code)
    raise QuarantineShareError(
        f"{report.n_quarantined:,} of {report.n_input:,} rows ({report.n_quarantined / report.n_input:.1%}) cannot be"
        f" used, more than the tolerated {settings.tolerated_quarantine_share:.1%};"
        f" most often (rows: {report.by_reason[code]:,}) {reason.meaning}.",
        remedy=f"{reason.remedy} Or raise tolerated_quarantine_share in lifestage.toml under [orders].",
    )


def _read(
    files: Sequence[Path], settings: OrdersSettings, connection: duckdb.DuckDBPyConnection, *, name: str, last_day: int
) -> Intake:
    checked, orders = f"{name}_checked", f"{name}_orders"
    connection.execute(checked_table_sql(checked))
    sources = [
        open_source(file, settings.columns, connection, name=f"{name}_{index}") for index, file in enumerate(files)
    ]
    _refuse_mixed_currencies(sources, connection)
    n_input = sum(
        _check(source, index, settings, connection, into=checked, last_day=last_day)
        for index, source in enumerate(sources)
    )
    quarantine = _load_quarantine(checked, [source.file for source in sources], connection)
    n_accepted = _scalar(connection, f"SELECT count(*) FROM {checked} WHERE reason IS NULL")
    if n_accepted + quarantine.height != n_input:
        raise AssertionError(f"{n_input} rows came in, {n_accepted} + {quarantine.height} came out")
    _refuse_endless_sums(checked, connection)
    has_order_ids = any("order_id" in source.types for source in sources)
    accepted = f"SELECT * FROM {checked} WHERE reason IS NULL"
    connection.execute(
        f"CREATE TEMP TABLE {orders} AS {group_lines_sql(accepted) if has_order_ids else _plain(accepted)}"
    )
    relation = connection.sql(f"SELECT customer_id, ordered_at, day, amount_micros FROM {orders}")
    first, last, n_orders, digest = summarise_orders(relation)
    report = IntakeReport(
        n_input=n_input,
        n_accepted=n_accepted,
        n_quarantined=quarantine.height,
        n_orders=n_orders,
        first_day=_date(first),
        last_day=_date(last),
        digest=digest,
        by_reason=count_by_reason(quarantine),
        quarantine=quarantine,
    )
    return Intake(orders=relation, report=report)


def _refuse_mixed_currencies(sources: Sequence[RawRows], connection: duckdb.DuckDBPyConnection) -> None:
    selects = [f"SELECT currency::VARCHAR AS currency FROM ({s.sql})" for s in sources if "currency" in s.types]
    if not selects:
        return
    codes = connection.execute(f"""
        SELECT DISTINCT upper(trim(currency)) FROM ({" UNION ALL ".join(selects)})
        WHERE trim(currency) <> '' ORDER BY 1 LIMIT {_SHOWN_CURRENCIES + 1}""").fetchall()
    if len(codes) > 1:
        shown = ", ".join(code for (code,) in codes[:_SHOWN_CURRENCIES] if _CURRENCY_CODE.fullmatch(code))
        raise InputError(
            f"The orders are in more than one currency ({shown}, …); such amounts do not add up.",
            remedy="Convert them to one currency, or give the orders of one currency.",
        )


def _refuse_endless_sums(checked: str, connection: duckdb.DuckDBPyConnection) -> None:
    greatest = connection.execute(f"""
        SELECT max(total) FROM (
            SELECT sum(amount_micros) AS total FROM {checked} WHERE reason IS NULL GROUP BY customer_id
        )""").fetchall()[0][0]
    if greatest is not None and greatest > MAX_CUSTOMER_MICROS:
        raise InputError(
            f"The orders of one customer sum to more than {MAX_CUSTOMER_MICROS // 1_000_000:,}.",
            remedy="Give amounts in a larger unit, such as thousands; or see whether guests share one customer_id.",
        )


def group_lines_sql(accepted: str) -> str:
    """Add up the lines of one customer's order. One row per order; lines without an id stay as they are."""
    return f"""
        SELECT customer_id, min(ordered_at) AS ordered_at, min(day) AS day, sum(amount_micros)::BIGINT AS amount_micros
        FROM ({accepted}) WHERE order_id IS NOT NULL GROUP BY customer_id, order_id
        UNION ALL {_plain(accepted)} AND order_id IS NULL"""


def _plain(accepted: str) -> str:
    return f"SELECT customer_id, ordered_at, day, amount_micros FROM ({accepted}) WHERE true"


def _check(
    source: RawRows,
    index: int,
    settings: OrdersSettings,
    connection: duckdb.DuckDBPyConnection,
    *,
    into: str,
    last_day: int,
) -> int:
    """Append the checked rows of a source to a table and return how many there are."""
    rows = checked_rows_sql(
        source.sql,
        source.types,
        clock=load_clock(settings.timezone),
        date_format=settings.date_format,
        file=index,
        last_day=last_day,
    )
    try:
        n_rows = _scalar(connection, f"INSERT INTO {into} ({CHECKED_COLUMNS}) {rows}")
    except duckdb.Error as error:  # its text may quote customer data
        raise InputError(
            f"{source.file} cannot be read to its end ({type(error).__name__}).",
            remedy="Write the file again, as CSV in UTF-8 or as Parquet.",
        ) from None
    if n_rows == 0:
        raise EmptySourceError(f"{source.file} has column names but no rows.", remedy="Give a file that holds orders.")
    return n_rows


def _load_quarantine(checked: str, files: Sequence[str], connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    refused = connection.sql(f"""
        SELECT file::INTEGER AS file, line, value_class::VARCHAR AS value_class, reason::VARCHAR AS reason
        FROM {checked} WHERE reason IS NOT NULL ORDER BY ALL""").pl()
    return quarantine_frame(
        refused.with_columns(pl.col("file").replace_strict(dict(enumerate(files)), return_dtype=pl.String))
    )


def summarise_orders(orders: duckdb.DuckDBPyRelation) -> tuple[int | None, int | None, int, str]:
    """Return first and last day, the number of orders, and their digest.

    The digest adds up one hash per order, so it does not depend on their sequence.
    """
    row = orders.aggregate("""
        min(day), max(day), count(*), coalesce(sum(md5_number_lower(concat_ws(
            chr(31), customer_id, epoch_us(ordered_at), day, amount_micros))::HUGEINT), 0)""").fetchall()[0]
    first, last, n_orders, total = row
    return first, last, int(n_orders), hashlib.sha256(f"{n_orders}:{int(total)}".encode()).hexdigest()


def _date(day: int | None) -> date | None:
    return None if day is None else FIRST_DAY + timedelta(days=day)


def _refuse_bad_date_format(date_format: str, connection: duckdb.DuckDBPyConnection) -> None:
    if not date_format:
        return
    try:
        connection.execute("SELECT strftime(TIMESTAMP '2024-03-31', ?)", [date_format]).fetchall()
    except duckdb.Error:
        raise SettingsError(
            f"Setting orders.date_format is {date_format!r}, which is not a strptime format.",
            remedy="Write it with codes such as %d/%m/%Y or %Y%m%d %H:%M.",
        ) from None


def _drop_tables(connection: duckdb.DuckDBPyConnection, *, prefix: str, keep: str) -> None:
    tables = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE starts_with(table_name, ?) AND table_name <> ?", [prefix, keep]
    ).fetchall()
    for (table,) in tables:
        connection.execute(f'DROP TABLE "{table}"')


def _scalar(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    return int(connection.execute(sql).fetchall()[0][0])
