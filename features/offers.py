"""What a shop's data offers, by the names that features say they need."""

from collections.abc import Iterable
from typing import Any

import narwhals as nw

from features.catalogue import Feature, supported
from features.records import Records
from features.snapshot import Snapshot

EVENT = "event:"

# The feature that is null exactly when nothing of a column is known of a customer.
TOLD_BY = {
    "channel": "channels_so_far",
    "cost": "margin_so_far",
    "category": "categories_so_far",
    "quantity": "items_so_far",
}


def find_offers(records: Records, snapshot: Snapshot) -> frozenset[str]:
    """Find what was on record at a cutoff: a training learns from that, and from nothing that came later.

    Returns:
        `channel`, `cost`, `category`, `quantity`, `refunds`, and `event:<type>` for each type of event, where at
        least one known row has it.
    """
    known = snapshot.known_records(records)
    columns = {"channel": ("orders", "channel"), "cost": ("orders", "cost_micros"), "refunds": ("refunds", "day")}
    columns |= {"category": ("items", "category"), "quantity": ("items", "quantity_micros")}
    offered = {need for need, (relation, column) in columns.items() if _has(getattr(known, relation), column)}
    if known.events is None:
        return frozenset(offered)
    types = known.events.select("event_type").unique().collect("polars")["event_type"].to_list()
    return frozenset(offered | {f"{EVENT}{event_type}" for event_type in types})


def readable(features: Iterable[Feature], records: Records) -> tuple[Feature, ...]:
    """Return the features, of those that a model asks for, that records of this shape can fill.

    A base and a request must agree customer by customer, whoever else is in them: without a refund row, there was no
    refund, whereas without a channel column nothing is known of channels.
    """
    columns = records.orders.collect_schema().names()
    has = {
        "channel": "channel" in columns,
        "cost": "cost_micros" in columns,
        "category": records.items is not None,
        "quantity": records.items is not None,
        "refunds": True,
    }
    wanted = tuple(features)
    needs = {need for feature in wanted for need in feature.needs}
    has_events = records.events is not None
    return supported(wanted, frozenset(need for need in needs if has.get(need, has_events)))


def _has(relation: nw.LazyFrame[Any] | None, column: str) -> bool:
    if relation is None or column not in relation.collect_schema().names():
        return False
    return len(relation.filter(~nw.col(column).is_null()).head(1).collect("polars")) > 0
