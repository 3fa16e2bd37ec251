"""Visits, e-mails and engagements of a period, counted by channel where the records are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import narwhals as nw
import polars as pl

from features.catalogue import within
from features.lifecycle.metric_slices import Slice
from features.records import Records
from features.snapshot import Snapshot

_CONTACT_TYPES = ("visit", "email_sent", "email_bounced", "email_open", "engagement")
_KNOWN_ONLY = ", known customers only"


@dataclass(frozen=True, slots=True)
class Contacts:
    """What happened in the period, counted by channel (None where none is given).

    Args:
        events: Event type → channel → events.
        visitors: Channel → daily visitors, added up.
        n_visitors: The same over all channels; a browser of two channels counts once a day.
        of_whom: What to add to a name if only known customers are counted.
    """

    events: Mapping[str, Mapping[str | None, int]] = field(default_factory=dict)
    visitors: Mapping[str | None, int] = field(default_factory=dict)
    n_visitors: int = 0
    of_whom: str = _KNOWN_ONLY

    def count(self, event_type: str, at: Slice) -> int:
        """Count the events of a type, in all or of a channel."""
        by_channel = self.events.get(event_type, {})
        return sum(by_channel.values()) if at.kind == "all" else by_channel.get(at.name, 0)

    def channels(self, event_type: str) -> list[str]:
        """List the channels that have events of a type."""
        return [channel for channel in self.events.get(event_type, {}) if channel is not None]


def count_contacts(records: Records, snapshot: Snapshot, period_days: int) -> Contacts:
    """Count what happened in the period, of everybody; of known customers where records have no contacts."""
    rows, of_whom = records.contacts, ""
    if rows is None:
        if records.events is None:
            return Contacts()
        rows, of_whom = records.events.with_columns(visitor_id=nw.lit(None, nw.String)), _KNOWN_ONLY
    seen = snapshot.history(rows).filter(within(period_days).on(nw), nw.col("event_type").is_in(_CONTACT_TYPES))
    counted = _count(seen, "event_type", "channel")
    events = {
        event_type: dict(counted.filter(event_type=event_type).select("channel", "n").iter_rows())
        for event_type in _CONTACT_TYPES
    }
    owner = nw.when(nw.col("visitor_id").is_null()).then(nw.col("customer_id"))
    visits = seen.filter(nw.col("event_type") == "visit").with_columns(owner=owner)
    return Contacts(
        events,
        visitors=dict(_count_visitors(visits, "channel").iter_rows()),
        n_visitors=sum(_count_visitors(visits, "day")["n"].to_list()),
        of_whom=of_whom,
    )


def _count_visitors(visits: nw.LazyFrame[Any], key: str) -> pl.DataFrame:
    """Count the visitors of each day, added up. One row per value of the key: it, and `n`.

    A visitor is a browser on a day, or a customer where no browser is named.
    """
    browsers = visits.select(*dict.fromkeys(("day", "visitor_id", "owner", key))).unique()
    return _count(browsers, key)


def _count(rows: nw.LazyFrame[Any], *keys: str) -> pl.DataFrame:
    """Count rows. One row per value of the keys: they, and `n`."""
    counted: pl.DataFrame = rows.group_by(*keys).agg(nw.len().cast(nw.Int64).alias("n")).collect("polars").to_native()
    return counted
