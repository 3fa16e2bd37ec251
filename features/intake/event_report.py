"""What became of every row of events, counted; and what people should know about how they were read."""

# ruff: noqa: S608 - statements are composed of our own SQL

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import duckdb

from features.intake.quarantine import refuse_share
from features.intake.readers.sources import RawRows, source_notes
from features.intake.report import SourceReport
from features.intake.rules.event_checks import EVENT_REASONS
from features.intake.rules.event_types import MARKETING_COST, ORDER_LIKE, is_in_sql, load_event_types
from features.snapshot import to_date

_SHOWN_TYPES = 10
_TYPE_NAME = "[a-z][a-z0-9_ .:-]{0,39}"  # a name, rather than a value in the wrong column


@dataclass(frozen=True, slots=True)
class EventReport:
    """What became of every input row of events.

    Each accepted row is exactly one of: an event of a known customer, a repeat, a purchase, a cost of the shop, an
    event of a visitor whom nobody knew at that time.

    Attributes:
        n_input: Rows in the sources, headers and blank lines aside.
        n_accepted: Rows that are valid.
        n_quarantined: Rows that were refused; with the accepted ones they make up the input exactly.
        n_events: Events of known customers.
        n_repeats: Rows that repeat another one in every column.
        n_purchases: Orders, lines of orders and refunds, set apart here and read with the orders.
        n_shop_costs: Marketing costs of no known customer.
        n_visitor_events: Events of visitors who were not known as a customer at that time.
        n_ambiguous: Those of them whose visitor was linked to more than one customer at one instant.
        n_unknown_types: Types that are neither ours nor mapped; their events are kept under their own names.
        first_day: Local date of the first event of a known customer; None without any.
        last_day: Local date of the last; None without any.
        digest: A hash of the events of known customers that does not depend on their sequence, for lineage.
        by_reason: Reason code → refused rows.
        by_source: What became of the rows of each source; its guests are rows that name no customer.
        by_type: Our type → events of known customers; absent ones are left out.
        notes: What was found out, for people.
    """

    n_input: int
    n_accepted: int
    n_quarantined: int
    n_events: int
    n_repeats: int
    n_purchases: int
    n_shop_costs: int
    n_visitor_events: int
    n_ambiguous: int
    n_unknown_types: int
    first_day: date | None
    last_day: date | None
    digest: str
    by_reason: Mapping[str, int]
    by_source: tuple[SourceReport, ...]
    by_type: Mapping[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EventTables:
    """The tables into which checked events were parted.

    Attributes:
        checked: One row per input row.
        refused: file, line, reason, value_class. One row per refused row.
        facts: One row per accepted row that repeats no other.
        identified: Facts that are no purchases, with the customer whose they are.
        events: The events of known customers.
    """

    checked: str
    refused: str
    facts: str
    identified: str
    events: str


@dataclass(frozen=True, slots=True)
class _Unknown:
    """Types that are not ours: how many, in how many rows, and names to show."""

    n_types: int
    n_rows: int
    shown: tuple[str, ...]


def build_event_report(
    tables: EventTables, sources: Sequence[RawRows], connection: duckdb.DuckDBPyConnection
) -> EventReport:
    """Build the report on events that were checked and parted.

    Args:
        tables: Where they are.
        sources: The sources they came from.
        connection: The database of the tables.
    """
    by_source = _by_source(tables.checked, sources, connection)
    by_reason = _counts(connection, tables.refused, "reason::VARCHAR", [reason.code for reason in EVENT_REASONS])
    n_input, n_quarantined = sum(source.n_input for source in by_source), sum(by_reason.values())
    n_accepted = sum(source.n_accepted for source in by_source)
    n_facts, n_purchases, n_left_out = _fact_counts(tables.facts, connection)
    n_shop_costs, n_visitor_events, n_ambiguous = _nobodys_counts(tables.identified, connection)
    unknown = _unknown_types(tables.facts, connection)
    first, last, n_events, digest = _summary(tables.events, connection)
    notes = (
        *source_notes(sources),
        *_notes_on_types(tables.facts, connection),
        *_note_on_unknown(unknown),
        *_note(n_accepted - n_facts, "Rows that repeat another in every column, and count once"),
        *_note(n_purchases, "Orders and refunds, set apart here; give their source to --orders too"),
        *_note(n_left_out, "Values that are no numbers, left out, for nothing reads the value of such a type"),
        *_note(n_visitor_events, "Events of visitors who were not known as a customer at that time"),
        *_note(n_ambiguous, "Of these, those whose visitor named several customers at one instant"),
    )
    return EventReport(
        n_input=n_input,
        n_accepted=n_accepted,
        n_quarantined=n_quarantined,
        n_events=n_events,
        n_repeats=n_accepted - n_facts,
        n_purchases=n_purchases,
        n_shop_costs=n_shop_costs,
        n_visitor_events=n_visitor_events,
        n_ambiguous=n_ambiguous,
        n_unknown_types=unknown.n_types,
        first_day=first,
        last_day=last,
        digest=digest,
        by_reason=by_reason,
        by_source=by_source,
        by_type=_counts(connection, tables.events, "event_type", load_event_types()),
        notes=notes,
    )


def refuse_bad_events(report: EventReport, *, tolerated_share: float) -> None:
    """Refuse events of which more rows were quarantined than is tolerated.

    Raises:
        QuarantineShareError: If the share is above the tolerated one.
    """
    refuse_share(report, EVENT_REASONS, tolerated=tolerated_share, rows="rows of events")


def _by_source(
    checked: str, sources: Sequence[RawRows], connection: duckdb.DuckDBPyConnection
) -> tuple[SourceReport, ...]:
    rows = connection.execute(f"""
        SELECT file, count(*), count(*) FILTER (reason IS NULL), count(*) FILTER (reason IS NOT NULL),
            count(*) FILTER (reason IS NULL AND customer_id IS NULL)
        FROM {checked} GROUP BY file ORDER BY file""").fetchall()
    return tuple(
        SourceReport(sources[file].file, n_input, n_accepted, n_quarantined, n_guests, sources[file].reads)
        for file, n_input, n_accepted, n_quarantined, n_guests in rows
    )


def _summary(events: str, connection: duckdb.DuckDBPyConnection) -> tuple[date | None, date | None, int, str]:
    """Return first and last day, the number of events, and their digest: the sum of one hash per event."""
    first, last, n_events, total = connection.execute(f"""
        SELECT min(day), max(day), count(*), coalesce(sum(md5_number_lower(concat_ws(chr(31), customer_id, day,
            event_type, coalesce(value_micros::VARCHAR, ''), coalesce(channel, '')))::HUGEINT), 0)
        FROM {events}""").fetchall()[0]
    digest = hashlib.sha256(f"{n_events}:{int(total)}".encode()).hexdigest()
    return _date(first), _date(last), int(n_events), digest


def _date(day: int | None) -> date | None:
    return None if day is None else to_date(day)


def _fact_counts(facts: str, connection: duckdb.DuckDBPyConnection) -> tuple[int, ...]:
    """Count all facts, those that are orders, and the values that were left out."""
    return _row(
        connection,
        f"""SELECT count(*), count(*) FILTER (is_order), count(*) FILTER (is_value_left_out AND NOT is_order)
        FROM (SELECT *, {is_in_sql("event_type", ORDER_LIKE)} AS is_order FROM {facts})""",
    )


def _nobodys_counts(identified: str, connection: duckdb.DuckDBPyConnection) -> tuple[int, ...]:
    """Count what belongs to no known customer: costs, other events, and those of the latter that are ambiguous."""
    return _row(
        connection,
        f"""SELECT count(*) FILTER (is_cost), count(*) FILTER (NOT is_cost),
            count(*) FILTER (NOT is_cost AND is_ambiguous)
        FROM (
            SELECT event_type = '{MARKETING_COST}' AS is_cost, is_ambiguous
            FROM {identified} WHERE customer_id IS NULL
        )""",
    )


def _unknown_types(facts: str, connection: duckdb.DuckDBPyConnection) -> _Unknown:
    """Count the types that are not ours; show the most frequent of those that look like names."""
    grouped = f"""
        SELECT event_type, count(*) AS n, regexp_full_match(event_type, '{_TYPE_NAME}') AS is_name
        FROM {facts} WHERE NOT {is_in_sql("event_type", load_event_types())} GROUP BY event_type"""
    n_types, n_rows, n_names = _row(
        connection, f"SELECT count(*), coalesce(sum(n), 0), count(*) FILTER (is_name) FROM ({grouped})"
    )
    shown = connection.execute(
        f"SELECT event_type FROM ({grouped}) WHERE is_name ORDER BY n DESC, event_type LIMIT {_SHOWN_TYPES}"
    ).fetchall()
    more = ("…",) if n_names > _SHOWN_TYPES else ()
    return _Unknown(n_types, n_rows, (*(name for (name,) in shown), *more))


def _notes_on_types(facts: str, connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """Yield which names were read as which type of ours: names that we know, or that the user mapped."""
    read_as = connection.execute(f"""
        SELECT event_type, list(DISTINCT plain_type ORDER BY plain_type) FROM {facts}
        WHERE plain_type <> event_type GROUP BY event_type""").fetchall()
    theirs = dict(read_as)
    for ours in load_event_types():
        if ours in theirs:
            yield f"Read as {ours}: {', '.join(theirs[ours])}."


def _note_on_unknown(unknown: _Unknown) -> Iterator[str]:
    if unknown.n_types:
        shown = f" ({', '.join(unknown.shown)})" if unknown.shown else ""
        yield (
            f"Types that are not known, and read by no feature: {unknown.n_types:,}, in {unknown.n_rows:,} rows{shown}."
            " Map them to ours in lifestage.toml under [events] types."
        )


def _note(n: int, text: str) -> Iterator[str]:
    if n:
        yield f"{text}: {n:,}."


def _counts(connection: duckdb.DuckDBPyConnection, table: str, expression: str, order: Iterable[str]) -> dict[str, int]:
    found = dict(connection.execute(f"SELECT {expression}, count(*) FROM {table} GROUP BY ALL").fetchall())
    return {key: found[key] for key in order if key in found}


def _row(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[int, ...]:
    return tuple(int(value) for value in connection.execute(sql).fetchall()[0])
