"""Anyone's orders in, validated orders, refunds and items and a report on every row out."""

# ruff: noqa: S608 - statements are composed of our own SQL; whatever comes from outside is quoted or escaped

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import count
from pathlib import Path

import duckdb

from features.errors import InputError
from features.intake.quarantine import REASONS, examples_sql, quarantine_sql, refuse_share
from features.intake.readers.columns import ORDER_COLUMNS
from features.intake.readers.sources import (
    RawRows,
    drop_tables,
    find_sources,
    insert_checked,
    open_source,
    source_notes,
)
from features.intake.report import Intake, IntakeReport, build_report, find_refund_effect
from features.intake.rules.checks import (
    ACCEPTED,
    MAX_CUSTOMER_MICROS,
    checked_columns,
    checked_rows_sql,
    find_last_day,
)
from features.intake.rules.currencies import settle_currencies
from features.intake.rules.entries import (
    Sharing,
    create_refunds,
    entries_sql,
    find_shared_orders,
    items_sql,
    mark_repeats,
    settle_whole_orders,
)
from features.intake.values.zones import load_clock
from features.records import ORDER_OPTIONS, REFUND_SCHEMA, Records
from features.settings import OrdersSettings

__all__ = ["Intake", "IntakeReport", "read_orders", "refuse_above_tolerated_share"]

_numbers = count(1)
_ROWS_NOTES = {
    "lines": "Rows of one order_id and day add up, for {share:.0%} of the orders stand on several rows;"
    ' if each row is a whole order, set orders.rows = "orders".',
    "orders": "Each row is a whole order, for {share:.0%} of the orders stand on several rows;"
    ' if rows of one order_id are its parts, set orders.rows = "lines".',
}


@dataclass(frozen=True, slots=True)
class _Work:
    """The tables of one intake, all of whose names begin with `name`, and what is known of them."""

    connection: duckdb.DuckDBPyConnection
    name: str
    sources: Sequence[RawRows]

    @property
    def checked(self) -> str:
        return f"{self.name}_checked"

    @property
    def files(self) -> list[str]:
        return [source.file for source in self.sources]

    @property
    def given(self) -> set[str]:
        return {column for source in self.sources for column in source.types}

    @property
    def columns(self) -> dict[str, str]:
        return checked_columns(self.given)

    def fetch(self, sql: str) -> list[tuple[int, ...]]:
        return self.connection.execute(sql).fetchall()

    def create(self, table: str, sql: str) -> str:
        self.connection.execute(f"CREATE TEMP TABLE {self.name}_{table} AS {sql}")
        return f"{self.name}_{table}"


def read_orders(
    paths: Sequence[Path | str],
    settings: OrdersSettings,
    *,
    connection: duckdb.DuckDBPyConnection,
    today: date | None = None,
) -> Intake:
    """Read anyone's orders into validated records; set aside every row that is none, with its reason.

    Args:
        paths: Files, glob patterns or folders; may be empty where the settings name sources.
        settings: Further sources, and how to read them.
        connection: The database in which the records are materialised; the result lives as long as it does.
        today: Orders more than a day later are quarantined; None lets every date pass.

    Raises:
        InputError: If a source is missing, empty, not a table, or lacks a column; if the orders are in more than one
            currency and there are no rates; or if no row names a customer.
        SettingsError: If the column mapping or a format is not valid.
    """
    name = f"intake_{next(_numbers)}"
    kept: tuple[str, ...] = ()
    try:
        sources = find_sources(paths, settings.sources, inherited=settings)
        opened = [open_source(s, connection, names=ORDER_COLUMNS, name=f"{name}_{i}") for i, s in enumerate(sources)]
        intake = _read(_Work(connection, name, opened), settings, today=today)
        kept = tuple(f"{name}_{table}" for table in ("entries", "refunds", "items", "quarantine"))
        return intake
    finally:
        drop_tables(connection, prefix=f"{name}_", keep=kept)


def refuse_above_tolerated_share(report: IntakeReport, settings: OrdersSettings) -> None:
    """Refuse input of which more rows were quarantined than the settings tolerate.

    Raises:
        QuarantineShareError: If the share is above `tolerated_quarantine_share`.
    """
    refuse_share(report, REASONS, tolerated=settings.tolerated_quarantine_share)


def _read(work: _Work, settings: OrdersSettings, *, today: date | None) -> Intake:
    n_rows = _check(work, settings, today=today)
    settle_currencies(
        work.checked,
        work.columns,
        settings,
        work.connection,
        silent=_without_currency(work),
        name=f"{work.name}_currency",
    )
    _refuse_guests_alone(work)
    mark_repeats(work.checked, work.columns, work.connection)
    rows_are, note = _settle_order_ids(work, settings)
    _refuse_endless_sums(work)
    fates = _count_fates(work, n_rows)
    notes = (*source_notes(work.sources), *note, *_repeat_notes(fates), *_bad_value_notes(work))
    records, refunds = _materialise(work, rows_are)
    quarantine = f"{work.name}_quarantine"
    report = build_report(
        records,
        fates=fates,
        sources=work.sources,
        effect=find_refund_effect(records.orders.to_native(), refunds),
        examples=work.connection.sql(quarantine_sql(examples_sql(quarantine), work.files)).pl(),
        rows_are=rows_are,
        notes=notes,
    )
    return Intake(
        records=records,
        orders=records.orders.to_native(),
        quarantine=work.connection.sql(quarantine_sql(quarantine, work.files)),
        report=report,
    )


def _check(work: _Work, settings: OrdersSettings, *, today: date | None) -> list[int]:
    """Fill the table of checked rows and return how many there are of each source."""
    columns, clock = work.columns, load_clock(settings.timezone)
    types = ", ".join(f"{column} {kind}" for column, kind in columns.items())
    work.connection.execute(f"CREATE TEMP TABLE {work.checked} ({types})")
    check = partial(checked_rows_sql, columns=columns, clock=clock, last_day=find_last_day(today))
    return insert_checked(work.checked, columns, work.sources, check, work.connection)


def _without_currency(work: _Work) -> list[int]:
    """Return the numbers of the sources that say no currency."""
    return [number for number, source in enumerate(work.sources) if "currency" not in source.types]


def _refuse_guests_alone(work: _Work) -> None:
    [(n_orders, n_guests)] = work.fetch(
        f"SELECT count(*) FILTER (fate = 'order'), count(*) FILTER (fate = 'guest') FROM {work.checked}"
    )
    if n_guests and not n_orders:
        raise InputError(
            f"No row of {work.sources[0].file} names a customer.",
            remedy="Give the customer of each order, or map the column that names them to customer_id.",
        )


def _settle_order_ids(work: _Work, settings: OrdersSettings) -> tuple[str, tuple[str, ...]]:
    """Decide what rows of one order id are, settle those that are whole orders, and say how it was decided."""
    if "order_id" not in work.given:
        return "", ()
    if settings.rows == "lines":
        return "lines", ()
    shared = f"{work.name}_shared"
    sharing = find_shared_orders(work.checked, work.columns, work.connection, name=shared)
    rows_are, note = _decide(sharing, settings)
    if rows_are == "orders":
        settle_whole_orders(work.checked, shared, work.columns, work.connection)
    return rows_are, note


def _decide(sharing: Sharing, settings: OrdersSettings) -> tuple[str, tuple[str, ...]]:
    share, least = sharing.share_varied, settings.lines_min_repeat_share
    if settings.rows == "orders":
        return "orders", ()
    if share >= least:
        return "lines", (_ROWS_NOTES["lines"].format(share=share),)
    if sharing.share_alike >= least:
        raise InputError(
            f"{sharing.share_alike:.0%} of the orders stand on several rows that differ only in columns that are not"
            " read: they are lines of an order, or the same order again.",
            remedy='Say which: set orders.rows = "lines" or "orders" in lifestage.toml.',
        )
    return "orders", (_ROWS_NOTES["orders"].format(share=share),) if share else ()


def _refuse_endless_sums(work: _Work) -> None:
    """Refuse customers whose sums would not fit; only where the sum of all would not either, each is summed."""
    measures = [column for column in work.columns if column.endswith("_micros")]
    sums = ", ".join(f"sum(abs({column}))" for column in measures)
    greatest = ", ".join(f"max({column})" for column in measures)
    of_all = f"SELECT {sums} FROM {work.checked} WHERE fate = 'order'"
    if not _exceeds(work.fetch(of_all)[0]):
        return
    named = ", ".join(f"sum(abs({column})) AS {column}" for column in measures)
    each = f"SELECT {named} FROM {work.checked} WHERE fate = 'order' GROUP BY customer_id"
    if _exceeds(work.fetch(f"SELECT {greatest} FROM ({each})")[0]):
        raise InputError(
            f"The orders of one customer sum to more than {MAX_CUSTOMER_MICROS // 1_000_000:,}.",
            remedy="Give amounts in a larger unit, such as thousands; or see whether guests share one customer_id.",
        )


def _exceeds(sums: Sequence[int | None]) -> bool:
    return any(total is not None and total > MAX_CUSTOMER_MICROS for total in sums)


def _count_fates(work: _Work, n_rows: Sequence[int]) -> list[Counter[str]]:
    """Count the rows of each source by what became of them; none is lost, none is told twice."""
    fates: list[Counter[str]] = [Counter() for _ in work.sources]
    for file, fate, n in work.connection.execute(
        f"SELECT file, fate::VARCHAR, count(*) FROM {work.checked} GROUP BY ALL"
    ).fetchall():
        fates[file][fate] = n
    if [source.total() for source in fates] != list(n_rows):
        raise AssertionError(f"{n_rows} rows came in, {[source.total() for source in fates]} came out")
    return fates


def _repeat_notes(fates: Sequence[Counter[str]]) -> Iterator[str]:
    if n_repeats := sum(fate["repeat"] for fate in fates):
        yield (
            f"Rows that repeat another one count once ({n_repeats:,}); what was ordered twice needs something"
            " that tells the rows apart, such as an order_id."
        )


def _bad_value_notes(work: _Work) -> Iterator[str]:
    for name in ("quantity", "cost"):
        if name not in work.given:
            continue
        n_bad = work.fetch(f"SELECT count(*) FROM {work.checked} WHERE fate = 'order' AND is_bad_{name}")[0][0]
        if n_bad:
            yield f"{name} counts as unknown where it is not a plain number up to 1,000,000,000 (rows: {n_bad:,})."


def _materialise(work: _Work, rows_are: str) -> tuple[Records, duckdb.DuckDBPyRelation | None]:
    """Turn the checked rows into the tables that stay. Returns the records, and the refunds with what they empty."""
    columns, connection = work.columns, work.connection
    refused = f"fate NOT IN {ACCEPTED}"
    work.create("quarantine", f"SELECT file, line, value_class, fate AS reason FROM {work.checked} WHERE {refused}")
    entries = work.create("entries", entries_sql(work.checked, columns, add_up=rows_are == "lines"))
    items = work.create("items", items_sql(work.checked, columns)) if work.given & {"category", "quantity"} else None
    connection.execute(f"DROP TABLE {work.checked}")
    refunds = _match_refunds(work, entries)
    for column in columns.keys() & {"order_id", "refund_of"}:
        connection.execute(f"ALTER TABLE {entries} DROP COLUMN {column}")
    kept = ["customer_id", "ordered_at", "day::BIGINT AS day", "amount_micros"]
    kept += [column for column in ORDER_OPTIONS if column in columns]
    records = Records.wrap(
        connection.sql(f"SELECT {', '.join(kept)} FROM {entries} WHERE amount_micros >= 0"),
        refunds=refunds and refunds.select(*REFUND_SCHEMA),
        items=items and connection.sql(f"SELECT * REPLACE (day::BIGINT AS day) FROM {items}"),
    )
    return records, refunds


def _match_refunds(work: _Work, entries: str) -> duckdb.DuckDBPyRelation | None:
    if not work.fetch(f"SELECT 1 FROM {entries} WHERE amount_micros < 0 LIMIT 1"):
        return None
    refunds = f"{work.name}_refunds"
    create_refunds(entries, work.columns, work.connection, name=refunds)
    return work.connection.table(refunds)
