"""Anyone's event files in; the events of known customers, what marketing cost, and a report on every row out."""

# ruff: noqa: S608 - statements are composed of our own SQL; whatever comes from outside is quoted or escaped

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import count
from pathlib import Path

import duckdb

from features.errors import InputError
from features.intake.event_report import EventReport, EventTables, build_event_report
from features.intake.quarantine import quarantine_sql
from features.intake.readers.columns import EVENT_COLUMNS
from features.intake.readers.sources import RawRows, drop_tables, find_sources, insert_checked, open_source
from features.intake.rules.checks import MAX_CUSTOMER_MICROS, find_last_day
from features.intake.rules.event_checks import COLUMNS, EVENT_REASONS, checked_events_sql, event_table_sql
from features.intake.rules.event_types import MARKETING_COST, ORDER_LIKE, build_type_names, is_in_sql
from features.intake.rules.identity import identified_sql
from features.records import CONTACT_SCHEMA, EVENT_SCHEMA
from features.settings import EventsSettings

_numbers = count(1)
_EVENT = ", ".join(EVENT_SCHEMA)
_CONTACT = ", ".join(CONTACT_SCHEMA)
_FACT = (
    "row_hash, customer_id, visitor_id, occurred_at, day, event_type, plain_type, value_micros, channel,"
    " is_value_left_out"
)
_KEPT = ("events", "contacts", "costs", "refused")


@dataclass(frozen=True, slots=True)
class EventIntake:
    """Validated events, with the report on how they came about. The relations live as long as their connection.

    Attributes:
        events: `EVENT_SCHEMA`. One row per event of a known customer, in no particular order.
        contacts: `CONTACT_SCHEMA`. One row per event of anybody, customer or visitor, in no particular order.
        marketing_costs: day, channel, value_micros. One row per day and channel (null where none is given), of all
            marketing costs, with or without a customer; sorted.
        quarantine: file, line, column, value_class, reason, remedy. One row per refused row, by source and line.
        report: What became of every input row.
    """

    events: duckdb.DuckDBPyRelation
    contacts: duckdb.DuckDBPyRelation
    marketing_costs: duckdb.DuckDBPyRelation
    quarantine: duckdb.DuckDBPyRelation
    report: EventReport


def read_events(
    paths: Sequence[Path | str],
    settings: EventsSettings,
    *,
    timezone: str,
    connection: duckdb.DuckDBPyConnection,
    today: date | None = None,
) -> EventIntake:
    """Read event sources into the events of known customers; set aside every row that is none, with its reason.

    A visitor belongs to a customer from the event on that names both, so a later row never changes an earlier event.

    Args:
        paths: Files, folders or glob patterns, besides the sources that the settings name.
        settings: How to read them.
        timezone: The shop's: its midnights part the days.
        connection: The database in which the events are materialised; the result lives as long as it does.
        today: Events more than a day later are quarantined; None lets every date pass.

    Raises:
        InputError: If a source is missing, empty, not a table, or lacks a column, or if values add up beyond 64 bits.
        SettingsError: If the column mapping, the type mapping or a format is not valid.
    """
    types = build_type_names(settings.types)
    found = find_sources(paths, settings.sources, inherited=settings.reading(timezone=timezone))
    name = f"event_intake_{next(_numbers)}"
    try:
        sources = [
            open_source(source, connection, names=EVENT_COLUMNS, name=f"{name}_{index}")
            for index, source in enumerate(found)
        ]
        connection.execute(event_table_sql(f"{name}_checked"))
        check = partial(checked_events_sql, names=types, timezone=timezone, last_day=find_last_day(today))
        insert_checked(f"{name}_checked", COLUMNS, sources, check, connection)
        return _part(name, sources, connection)
    finally:
        drop_tables(connection, prefix=f"{name}_", keep=[f"{name}_{part}" for part in _KEPT])


def _part(name: str, sources: Sequence[RawRows], connection: duckdb.DuckDBPyConnection) -> EventIntake:
    """Part the checked rows: what was refused, what happened (each once) and to whom, and what marketing cost."""
    tables = EventTables(*(f"{name}_{part}" for part in ("checked", "refused", "facts", "identified", "events")))
    connection.execute(f"""
        CREATE TEMP TABLE {tables.refused} AS
            SELECT file, line, reason, value_class FROM {tables.checked} WHERE reason IS NOT NULL;
        CREATE TEMP TABLE {tables.facts} AS SELECT DISTINCT {_FACT} FROM {tables.checked} WHERE reason IS NULL;
        CREATE TEMP TABLE {tables.identified} AS
            SELECT * FROM ({identified_sql(f"FROM {tables.facts}")}) WHERE NOT {is_in_sql("event_type", ORDER_LIKE)};
        CREATE TEMP TABLE {tables.events} AS SELECT {_EVENT} FROM {tables.identified} WHERE customer_id IS NOT NULL;
        CREATE TEMP TABLE {name}_contacts AS
            SELECT {_CONTACT} FROM {tables.identified} WHERE coalesce(customer_id, visitor_id) IS NOT NULL
                AND event_type <> '{MARKETING_COST}';
        CREATE TEMP TABLE {name}_costs AS
            SELECT day, channel, sum(value_micros) AS total, sum(abs(value_micros)) AS size
            FROM {tables.identified} WHERE event_type = '{MARKETING_COST}' GROUP BY day, channel""")
    _refuse_endless_sums(tables.events, f"{name}_costs", connection)
    refused = quarantine_sql(tables.refused, [source.file for source in sources], EVENT_REASONS)
    costs = f"SELECT day, channel, total::BIGINT AS value_micros FROM {name}_costs ORDER BY day, channel"
    return EventIntake(
        events=connection.sql(f"SELECT {_EVENT} FROM {tables.events}"),
        contacts=connection.sql(f"SELECT {_CONTACT} FROM {name}_contacts"),
        marketing_costs=connection.sql(costs),
        quarantine=connection.sql(f"{refused} ORDER BY refused.file, line"),
        report=build_event_report(tables, sources, connection),
    )


def _refuse_endless_sums(events: str, costs: str, connection: duckdb.DuckDBPyConnection) -> None:
    greatest = f"""
        SELECT coalesce(max(size), 0) FROM (
            SELECT sum(abs(value_micros)) AS size FROM {events} GROUP BY customer_id UNION ALL SELECT size FROM {costs}
        )"""
    if _scalar(connection, greatest) > MAX_CUSTOMER_MICROS:
        raise InputError(
            "The values of one customer's events, or the marketing costs of one day, sum to more than"
            f" {MAX_CUSTOMER_MICROS // 1_000_000:,}.",
            remedy="Give values in a larger unit, such as thousands.",
        )


def _scalar(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    return int(connection.execute(sql).fetchall()[0][0])
