"""All that a shop gives in one run: orders, and events where it has them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import duckdb
import narwhals as nw

from features.intake.event_report import refuse_bad_events
from features.intake.events import EventIntake, read_events
from features.intake.orders import read_orders, refuse_above_tolerated_share
from features.intake.report import Intake, IntakeReport
from features.records import Records
from features.settings import Settings


@dataclass(frozen=True, slots=True)
class Shop:
    """A shop's records, with what became of every row that was read.

    Args:
        orders: The intake of orders.
        events: The intake of events; None where none were given.
    """

    orders: Intake
    events: EventIntake | None = None

    @property
    def records(self) -> Records:
        """Return orders, refunds, items, events and contacts."""
        if self.events is None:
            return self.orders.records
        events, contacts = (nw.from_native(part).lazy() for part in (self.events.events, self.events.contacts))
        return replace(self.orders.records, events=events, contacts=contacts)

    @property
    def report(self) -> IntakeReport:
        """Return the report on the orders."""
        return self.orders.report


def read_shop(
    orders: Sequence[Path | str],
    events: Sequence[Path | str],
    settings: Settings,
    *,
    connection: duckdb.DuckDBPyConnection,
    today: date | None = None,
) -> Shop:
    """Read orders, and events where there are any, from files and from the sources of the settings.

    Raises:
        InputError: If a source cannot be read.
        SettingsError: If a mapping or a format is not valid.
    """
    read = read_orders(orders, settings.orders, connection=connection, today=today)
    if not events and not settings.events.sources:
        return Shop(read)
    timezone = settings.orders.timezone
    return Shop(read, read_events(events, settings.events, timezone=timezone, connection=connection, today=today))


def refuse_bad_rows(shop: Shop, settings: Settings) -> None:
    """Refuse a shop of which more rows were quarantined than the settings tolerate, in orders or in events.

    Raises:
        QuarantineShareError: If either share is above `tolerated_quarantine_share`.
    """
    refuse_above_tolerated_share(shop.report, settings.orders)
    if shop.events is not None:
        refuse_bad_events(shop.events.report, tolerated_share=settings.orders.tolerated_quarantine_share)
