"""What makes a row an event, as SQL over the raw rows of a source.

Each row comes out with its parsed values and, where it is refused, with the first reason that applies.
"""

# ruff: noqa: S608 - statements are composed of our own SQL; whatever comes from outside is quoted or escaped

from collections.abc import Mapping

from features.intake.quarantine import LINE_REASONS, Reason
from features.intake.readers.sources import RawRows
from features.intake.rules.checks import FIRST_DAY_NUMBER, LAST_DAY_NUMBER, MAX_AMOUNT_MICROS, bad_value_class_sql
from features.intake.rules.event_types import (
    MARKETING_COST,
    ORDER_LIKE,
    is_in_sql,
    list_sql,
    plain_type_sql,
    types_with_value,
)
from features.intake.values.dates import local_sql, stamp_text_sql, utc_sql
from features.intake.values.numbers import micros_sql, plain_number_sql
from features.intake.values.texts import text_sql
from features.intake.values.zones import MICROS_PER_DAY, load_clock

_DATE_REMEDY = "Write dates as 2024-03-31 or 2024-03-31T14:05:00, or set date_format, such as %d/%m/%Y."
_NUMBER_REMEDY = "Write it as 1234.50, or set number_format in lifestage.toml under [events]."

# In the order in which they are tried: a row gets the first that applies.
EVENT_REASONS: tuple[Reason, ...] = (
    *LINE_REASONS,
    Reason("missing_occurred_at", "occurred_at", "the date is empty", "Give the date of the event."),
    Reason("bad_date", "occurred_at", "the date cannot be read, or lies outside 1970 to 2099", _DATE_REMEDY),
    Reason(
        "future_date",
        "occurred_at",
        "the date lies more than a day ahead of today",
        "Correct the date; a mistyped year is the usual cause.",
    ),
    Reason("missing_event_type", "event_type", "the type of the event is empty", "Say what happened, such as visit."),
    Reason(
        "missing_identity",
        "customer_id",
        "the event names neither a customer nor a visitor",
        "Give customer_id or visitor_id; only a marketing_cost needs neither.",
    ),
    Reason(
        "missing_value",
        "value",
        "a marketing cost has no value",
        "Give what was spent as value, in the shop's currency.",
    ),
    Reason("not_a_number", "value", "the value of a survey, review or cost is not a plain number", _NUMBER_REMEDY),
    Reason(
        "amount_out_of_range",
        "value",
        "the value of a survey, review or cost lies beyond 1,000,000,000",
        "Check the unit: a cost is in currency units, not in cents.",
    ),
)

COLUMNS = (
    *("file", "line", "row_hash", "customer_id", "visitor_id", "occurred_at", "day", "event_type", "plain_type"),
    *("value_micros", "channel", "is_value_left_out", "reason", "value_class"),
)


def event_table_sql(name: str) -> str:
    """Return the statement that creates the table of checked rows."""
    reasons = ", ".join(f"'{reason.code}'" for reason in EVENT_REASONS)
    return f"""
        CREATE TEMP TABLE {name} (file USMALLINT, line BIGINT, row_hash UBIGINT, customer_id VARCHAR,
            visitor_id VARCHAR, occurred_at TIMESTAMP, day BIGINT, event_type VARCHAR, plain_type VARCHAR,
            value_micros BIGINT, channel VARCHAR, is_value_left_out BOOLEAN, reason ENUM ({reasons}),
            value_class VARCHAR)"""


def checked_events_sql(
    raw: RawRows, names: Mapping[str, str], *, timezone: str, last_day: int = LAST_DAY_NUMBER
) -> str:
    """Return the SELECT that checks raw rows. One row per raw row, in `COLUMNS`.

    Args:
        raw: The rows of united sources.
        names: Plain names of event types → ours, from `build_type_names`.
        timezone: The shop's: its midnights part the days. Naive stamps are read in that of the source.
        last_day: The last day number on which an event can have happened.
    """
    wall, shop = load_clock(raw.reading.timezone), load_clock(timezone)
    kind, date_format = raw.types["occurred_at"], raw.reading.date_format
    prepared = f"""
        SELECT file, line, fault, row_hash, {stamp_text_sql(kind, column="occurred_at")} AS stamp,
            {_text(raw, "customer_id")} AS customer_id, {_text(raw, "visitor_id")} AS visitor_id,
            {plain_type_sql(_text(raw, "event_type"))} AS plain_type, {_text(raw, "value")} AS value,
            {_text(raw, "channel")} AS channel
        FROM ({raw.sql})"""
    parsed = f"""
        SELECT rows.*, {utc_sql(kind, date_format)} AS utc, {local_sql(kind, date_format)} AS local,
            coalesce(ours, plain_type) AS event_type, {plain_number_sql("value", raw.reading.number_format)} AS number
        FROM ({prepared}) AS rows LEFT JOIN ({_names_sql(names)}) AS names ON names.theirs = rows.plain_type"""
    measured = f"""
        SELECT *, {is_in_sql("event_type", types_with_value())} AS is_value_read, {micros_sql("number")} AS unbounded
        FROM ({parsed})"""
    bounded = f"""
        SELECT *, CASE WHEN abs(unbounded) <= {MAX_AMOUNT_MICROS} THEN unbounded END AS micros FROM ({measured})"""
    timed = f"SELECT *, coalesce(utc, local - ({wall.from_local.sql('local')})) AS us FROM ({bounded})"
    dated = f"SELECT *, (us + {shop.from_utc.sql('us')}) // {MICROS_PER_DAY} AS day FROM ({timed})"
    judged = f"SELECT *, {_reason_sql(last_day)} AS reason FROM ({dated})"
    return f"""
        SELECT file, line, row_hash, customer_id, visitor_id,
            CASE WHEN reason IS NULL THEN make_timestamp(us) END AS occurred_at, day, event_type, plain_type,
            micros AS value_micros, channel,
            reason IS NULL AND value IS NOT NULL AND micros IS NULL AS is_value_left_out,
            reason, {_VALUE_CLASS} AS value_class
        FROM ({judged})"""


def _text(raw: RawRows, column: str) -> str:
    return text_sql(column, raw.types[column]) if column in raw.types else "NULL::VARCHAR"


def _names_sql(names: Mapping[str, str]) -> str:
    """Return the SELECT of plain names of types and ours: a join plans ten times faster than a case per name."""
    return f"SELECT unnest({list_sql(names)}) AS theirs, unnest({list_sql(names.values())}) AS ours"


def _reason_sql(last_day: int) -> str:
    return f"""CASE
        WHEN fault IN ('too few values', 'too many values') THEN 'wrong_number_of_columns'
        WHEN fault IS NOT NULL THEN 'unreadable_row'
        WHEN stamp IS NULL THEN 'missing_occurred_at'
        WHEN us IS NULL OR day NOT BETWEEN {FIRST_DAY_NUMBER} AND {LAST_DAY_NUMBER} THEN 'bad_date'
        WHEN day > {last_day} THEN 'future_date'
        WHEN plain_type IS NULL THEN 'missing_event_type'
        WHEN customer_id IS NULL AND visitor_id IS NULL AND NOT {is_in_sql("event_type", [*ORDER_LIKE, MARKETING_COST])}
            THEN 'missing_identity'
        WHEN value IS NULL AND event_type = '{MARKETING_COST}' THEN 'missing_value'
        WHEN is_value_read AND value IS NOT NULL AND number IS NULL THEN 'not_a_number'
        WHEN is_value_read AND value IS NOT NULL AND micros IS NULL THEN 'amount_out_of_range'
        END"""


_VALUE_CLASS = f"""CASE
        WHEN reason IS NULL THEN NULL
        WHEN fault IS NOT NULL THEN fault
        ELSE {bad_value_class_sql("reason", "value")} END"""
