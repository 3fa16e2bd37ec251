"""The events of one request: the definitions of the file path, for a few rows, without a database.

Customers are known here, so nobody has to be identified.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import TypeAlias

import polars as pl

from features.errors import InputError
from features.intake.rules.checks import FIRST_DAY_NUMBER, LAST_DAY_NUMBER, MAX_AMOUNT_MICROS, MAX_CUSTOMER_MICROS
from features.intake.rules.event_types import MARKETING_COST, ORDER_LIKE, build_type_names, plain_type, types_with_value
from features.intake.values.numbers import nearest_micros
from features.intake.values.texts import BLANKS
from features.intake.values.zones import Clock, load_clock
from features.records import EVENT_SCHEMA

_NO_TYPES: Mapping[str, str] = MappingProxyType({})

EventRow: TypeAlias = tuple[str, datetime, str, Decimal | float | None, str | None]
Event: TypeAlias = tuple[str, int, str, int | None, str | None]


def events_from_rows(rows: Sequence[EventRow], *, timezone: str, types: Mapping[str, str] = _NO_TYPES) -> pl.DataFrame:
    """Build validated events from the rows of a request. One row per event, in the order given.

    A row that repeats another counts once, and a purchase is left out, as in files.

    Args:
        rows: customer_id, occurred_at (naive: in the shop's zone; aware: converted), event_type, value, channel.
        timezone: The shop's IANA time zone.
        types: Their event types → ours, as in the settings.

    Returns:
        `EVENT_SCHEMA`.

    Raises:
        InputError: If a row is no valid event; it names the row and the column, never the value, and has the place
            among the rows as its field.
        SettingsError: If `types` names a type that is not ours.
    """
    return events_from_values(check_events(rows, timezone=timezone, types=types))


def check_events(rows: Sequence[EventRow], *, timezone: str, types: Mapping[str, str] = _NO_TYPES) -> list[Event]:
    """Check events of one request; those of several may then become one frame. Arguments as above.

    Raises:
        InputError: As above.
        SettingsError: Likewise.
    """
    if not rows:
        return []
    names, clock = build_type_names(types), load_clock(timezone)
    events = {_as_written(row): _event(row, number, names, clock) for number, row in enumerate(rows, start=1)}
    kept = [event for event in events.values() if event[2] not in ORDER_LIKE]
    _refuse_endless_sums(kept)
    return kept


def events_from_values(values: Sequence[Event]) -> pl.DataFrame:
    """Build the frame of checked events, in `EVENT_SCHEMA`."""
    return pl.DataFrame(values, schema=EVENT_SCHEMA, orient="row")


def _as_written(row: EventRow) -> tuple[str, ...]:
    """Return the row as a file would hold it: rows that are equal there are one event."""
    customer_id, occurred_at, event_type, value, channel = row
    return customer_id, occurred_at.isoformat(), event_type, "" if value is None else str(value), channel or ""


def _event(row: EventRow, number: int, names: Mapping[str, str], clock: Clock) -> Event:
    """Return the values of one event, in the order of `EVENT_SCHEMA`."""
    customer_id, occurred_at, event_type, value, channel = row
    customer, theirs = _text(customer_id, "customer_id", number), plain_type(_text(event_type, "event_type", number))
    ours = names.get(theirs, theirs)
    day = clock.day(clock.utc_micros(occurred_at))
    if not FIRST_DAY_NUMBER <= day <= LAST_DAY_NUMBER:
        raise _wrong(number, "occurred_at", "occurred_at lies outside 1970 to 2099", remedy="Correct the date.")
    return customer, day, ours, _value(value, ours, number), (channel or "").strip(BLANKS) or None


def _text(text: str, column: str, number: int) -> str:
    stripped = text.strip(BLANKS)
    if not stripped:
        raise _wrong(number, column, f"{column} is empty", remedy=f"Give the {column} of the event.")
    return stripped


def _value(value: Decimal | float | None, ours: str, number: int) -> int | None:
    """Return the value in micros. One that nothing reads is left out where it is no number within bounds."""
    if value is None and ours == MARKETING_COST:
        raise _wrong(number, "value", "a marketing cost has no value", remedy="Give what was spent as value.")
    micros = None if value is None else _micros(value)
    if value is not None and micros is None and ours in types_with_value():
        what = "value is not a number within 1,000,000,000"
        raise _wrong(number, "value", what, remedy="Give the value as a plain number.")
    return micros


def _wrong(number: int, column: str, what: str, *, remedy: str) -> InputError:
    return InputError(f"Event {number}: {what}.", remedy=remedy, field=f"events[{number - 1}].{column}")


def _micros(value: Decimal | float) -> int | None:
    micros = nearest_micros(value, limit=MAX_AMOUNT_MICROS)
    return None if micros is None or abs(micros) > MAX_AMOUNT_MICROS else micros


def _refuse_endless_sums(events: Sequence[Event]) -> None:
    totals: dict[str, int] = {}
    for customer, _, _, micros, _ in events:
        totals[customer] = totals.get(customer, 0) + abs(micros or 0)
    if max(totals.values(), default=0) > MAX_CUSTOMER_MICROS:
        raise InputError(
            f"The values of one customer's events sum to more than {MAX_CUSTOMER_MICROS // 1_000_000:,}.",
            remedy="Give values in a larger unit, such as thousands.",
            field="events",
        )
