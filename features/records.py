"""A shop's records: the validated relations that intake makes and features read, on any engine narwhals speaks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import narwhals as nw
import polars as pl

ORDER_SCHEMA = pl.Schema(
    {
        "customer_id": pl.String(),
        "ordered_at": pl.Datetime("us"),
        "day": pl.Int64(),
        "amount_micros": pl.Int64(),
    }
)
# Further columns that orders have where the source has them.
ORDER_OPTIONS = pl.Schema({"channel": pl.String(), "cost_micros": pl.Int64()})

REFUND_SCHEMA = pl.Schema(
    {
        "customer_id": pl.String(),
        "day": pl.Int64(),
        "order_day": pl.Int64(),
        "amount_micros": pl.Int64(),
        "taken_micros": pl.Int64(),
    }
)

ITEM_SCHEMA = pl.Schema(
    {
        "customer_id": pl.String(),
        "day": pl.Int64(),
        "category": pl.String(),
        "n_lines": pl.Int64(),
        "quantity_micros": pl.Int64(),
    }
)

EVENT_SCHEMA = pl.Schema(
    {
        "customer_id": pl.String(),
        "day": pl.Int64(),
        "event_type": pl.String(),
        "value_micros": pl.Int64(),
        "channel": pl.String(),
    }
)

CONTACT_SCHEMA = pl.Schema(
    {
        "customer_id": pl.String(),
        "visitor_id": pl.String(),
        "day": pl.Int64(),
        "event_type": pl.String(),
        "channel": pl.String(),
    }
)


@dataclass(frozen=True, slots=True)
class Records:
    """What is recorded of a shop's customers. Days are local, since 1970-01-01; money and quantities are micros.

    Args:
        orders: One row per order: `ORDER_SCHEMA`, and those of `ORDER_OPTIONS` that the source has.
            `amount_micros` is what was ordered, before any refund; it is never below 0.
        refunds: One row per refund: `REFUND_SCHEMA`. `day` is when it came, `order_day` that of the order it was
            matched to (null if none), `amount_micros` what was given back, `taken_micros` how much of it the order
            still held (0 if none). None where the shop records none.
        items: One row per customer, day and category: `ITEM_SCHEMA`. `n_lines` counts the order lines that say a
            quantity, `quantity_micros` adds them up (null without any); `category` may be null. None where the source
            has neither column.
        events: One row per event of a known customer: `EVENT_SCHEMA`; `value_micros` and `channel` may be null.
            None where no events were read.
        contacts: One row per event of anybody, known or not: `CONTACT_SCHEMA`. `customer_id` is null where nobody knew
            then who it was; such an event has a `visitor_id`. None where no events were read.
    """

    orders: nw.LazyFrame[Any]
    refunds: nw.LazyFrame[Any] | None = None
    items: nw.LazyFrame[Any] | None = None
    events: nw.LazyFrame[Any] | None = None
    contacts: nw.LazyFrame[Any] | None = None

    @classmethod
    def wrap(
        cls, orders: Any, *, refunds: Any = None, items: Any = None, events: Any = None, contacts: Any = None
    ) -> Self:
        """Wrap native frames: DuckDB relations, Polars frames, Spark frames."""
        others = (refunds, items, events, contacts)
        return cls(nw.from_native(orders).lazy(), *map(_wrapped, others))

    def map(self, change: Callable[[nw.LazyFrame[Any]], nw.LazyFrame[Any]]) -> "Records":
        """Apply one change to each relation that is there."""
        parts = (self.refunds, self.items, self.events, self.contacts)
        return Records(change(self.orders), *(None if part is None else change(part) for part in parts))


def _wrapped(frame: Any) -> nw.LazyFrame[Any] | None:
    return None if frame is None else nw.from_native(frame).lazy()
