"""A made-up shop that records all that Lifestage reads: lines of orders, refunds, goods, costs, channels and events.

Its rows are written as a shop would export them and as a client would send them, so that both ways can be compared.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl

from features.intake.rules.event_types import ORDER_LIKE, load_event_types, types_with_value
from features.intake.shop import Shop, read_shop
from features.settings import Settings, load_settings

TIMEZONE = "Europe/Paris"
FIRST_DAY = date(2023, 1, 2)
AS_OF = date(2024, 4, 1)
_LAST_DAY = date(2024, 5, 31)  # what comes at or after AS_OF is there to be ignored
_SPAN_DAYS = (_LAST_DAY - FIRST_DAY).days
_CATEGORIES = ("books", "music", "garden", None)
_CHANNELS = ("web", "shop", "phone", None)

ORDER_SCHEMA = pl.Schema(
    {
        "customer_id": pl.String(),
        "ordered_at": pl.String(),
        "amount": pl.Float64(),
        "order_id": pl.String(),
        "refund_of": pl.String(),
        "channel": pl.String(),
        "category": pl.String(),
        "quantity": pl.Int64(),
        "cost": pl.Float64(),
    }
)
EVENT_SCHEMA = pl.Schema(
    {
        "customer_id": pl.String(),
        "occurred_at": pl.String(),
        "event_type": pl.String(),
        "value": pl.Float64(),
        "channel": pl.String(),
    }
)


@dataclass(frozen=True, slots=True)
class WholeShop:
    """The rows of a shop as they are written down.

    Args:
        orders: One row per line of an order, order without a number, or refund: `ORDER_SCHEMA`.
        events: One row per event: `EVENT_SCHEMA`.
    """

    orders: pl.DataFrame
    events: pl.DataFrame

    def read(self, folder: Path, *, connection: duckdb.DuckDBPyConnection) -> Shop:
        """Write both as CSV files into a folder, and read them as anyone's."""
        self.orders.write_csv(folder / "orders.csv")
        self.events.write_csv(folder / "events.csv")
        return read_shop(
            [folder / "orders.csv"], [folder / "events.csv"], whole_settings(), connection=connection, today=_LAST_DAY
        )

    def before(self, when: date) -> "WholeShop":
        """Return what is dated before a day."""
        at = when.isoformat()
        return WholeShop(self.orders.filter(pl.col("ordered_at") < at), self.events.filter(pl.col("occurred_at") < at))

    def after(self, when: date) -> "WholeShop":
        """Return what is dated on a day or after it."""
        at = when.isoformat()
        return WholeShop(
            self.orders.filter(pl.col("ordered_at") >= at), self.events.filter(pl.col("occurred_at") >= at)
        )

    def customer(self, customer_id: str) -> dict[str, Any]:
        """Return one customer as a request names them, with all orders and events."""
        orders, events = (
            [
                {name: value for name, value in row.items() if value is not None}
                for row in rows.filter(customer_id=customer_id).drop("customer_id").iter_rows(named=True)
            ]
            for rows in (self.orders, self.events)
        )
        return {"customer_id": customer_id, "orders": orders, "events": events}


def whole_settings() -> Settings:
    """Settings of this shop, with few training cutoffs and few examples asked of a class."""
    training = {"max_train_cutoffs": 2, "min_class_customers": 10}
    return load_settings(overrides={"training": training, "orders": {"timezone": TIMEZONE, "rows": "lines"}})


def make_up_shop(n_customers: int = 220, *, seed: int = 11) -> WholeShop:
    """Make up a shop, the same for the same seed."""
    rng = np.random.default_rng(seed)
    orders: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for number in range(n_customers):
        customer_id = f"shopper-{number:03}"
        orders += _orders_of(rng, customer_id)
        if rng.random() < 0.8:
            events += _events_of(rng, customer_id)
    return WholeShop(pl.DataFrame(orders, schema=ORDER_SCHEMA), pl.DataFrame(events, schema=EVENT_SCHEMA))


def _orders_of(rng: np.random.Generator, customer_id: str) -> list[dict[str, Any]]:
    mean_gap_days = rng.choice([8.0, 25.0, 60.0])
    day = rng.uniform(0.0, 0.8 * _SPAN_DAYS)
    leaves_on = day + rng.exponential(250.0)
    rows: list[dict[str, Any]] = []
    while day < min(leaves_on, _SPAN_DAYS):
        order_id = f"{customer_id}/{len(rows)}" if rng.random() < 0.9 else None
        lines = _lines_of(rng, customer_id, day, order_id)
        rows += lines
        if rng.random() < 0.15:
            rows.append(_refund_of(rng, lines[0], day))
        day += rng.exponential(mean_gap_days)
    return rows


def _lines_of(rng: np.random.Generator, customer_id: str, day: float, order_id: str | None) -> list[dict[str, Any]]:
    """Make up the lines of an order; now and then the last is a discount. An order without a number is one line."""
    categories = rng.permutation(len(_CATEGORIES))[: 1 if order_id is None else rng.integers(1, 4)]
    lines: list[dict[str, Any]] = [
        {
            "customer_id": customer_id,
            "ordered_at": _stamp(day),
            "amount": round(float(rng.lognormal(3.0, 0.6)), 2),
            "order_id": order_id,
            "channel": _CHANNELS[rng.integers(len(_CHANNELS))],
            "category": _CATEGORIES[category],
            "quantity": int(rng.integers(1, 5)) if rng.random() < 0.9 else None,
            "cost": round(float(rng.lognormal(2.0, 0.4)), 2) if rng.random() < 0.9 else None,
        }
        for category in categories
    ]
    if order_id is not None and rng.random() < 0.1:
        discount = -round(lines[0]["amount"] / 10, 2)
        lines.append({**lines[0], "amount": discount, "category": None, "quantity": None, "cost": None})
    return lines


def _refund_of(rng: np.random.Generator, line: dict[str, Any], day: float) -> dict[str, Any]:
    """Make up a later refund of a line: whole, half, or more than was ever paid; named, in its name, or silent."""
    refund = {
        "customer_id": line["customer_id"],
        "ordered_at": _stamp(min(day + rng.uniform(1.0, 40.0), _SPAN_DAYS)),
        "amount": -round(line["amount"] / float(rng.choice([1.0, 1.0, 2.0, 0.02])), 2),
    }
    named: tuple[dict[str, str | None], ...] = ({"refund_of": line["order_id"]}, {"order_id": line["order_id"]}, {})
    return {**refund, **named[rng.integers(len(named))]}


def _events_of(rng: np.random.Generator, customer_id: str) -> list[dict[str, Any]]:
    """Make up events of all types, purchases among them, which are read with the orders; a few stand there twice."""
    types = [*load_event_types(), "a type of their own"]
    events = [_event_of(rng, customer_id, types[kind]) for kind in rng.integers(len(types), size=rng.integers(1, 25))]
    return events + events[: int(rng.random() < 0.1)]


def _event_of(rng: np.random.Generator, customer_id: str, event_type: str) -> dict[str, Any]:
    has_value = event_type in types_with_value() or event_type in ORDER_LIKE
    return {
        "customer_id": customer_id,
        "occurred_at": _stamp(rng.uniform(0.0, _SPAN_DAYS)),
        "event_type": event_type,
        "value": round(float(rng.uniform(0.0, 10.0)), 1) if has_value else None,
        "channel": _CHANNELS[rng.integers(len(_CHANNELS))],
    }


def _stamp(day: float) -> str:
    at = datetime.combine(FIRST_DAY, datetime.min.time()) + timedelta(seconds=round(day * 86_400))
    return at.isoformat()
