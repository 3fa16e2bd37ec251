"""Order days: all orders of a customer on one day count once, and days carry their rhythm.

Every number that leaves this module is an exact integer (days, counts, micros), so sums do not depend
on row order or engine; features are then quotients and square roots of the same integers everywhere.
"""

from typing import Any

import narwhals as nw

from features.dialect import Frame, dialect_of
from features.records import Records
from features.snapshot import Snapshot
from features.windows import PARTITIONED, Windows


def build_order_days(records: Records, snapshot: Snapshot) -> nw.LazyFrame[Any]:
    """Build the order days known at the cutoff, on any engine.

    One row per customer and order day: `customer_id, day, value_micros` (net of the refunds known at the cutoff),
    `n_orders`, the columns of `mark_days`, `age_days` and `is_last`.
    """
    known = snapshot.known(dated_values(records), column="known_day")
    days = known.group_by("customer_id", "day").agg(
        nw.col("micros").sum().cast(nw.Int64).alias("value_micros"),
        nw.col("n_orders").sum().cast(nw.Int64).alias("n_orders"),
    )
    return snapshot.last_seen(mark_days(days, PARTITIONED))


def dated_values(records: Records) -> nw.LazyFrame[Any]:
    """Build what was ordered on each day, and what refunds later took from it.

    One row per order or matched refund: `customer_id, day` (of the order), `known_day` (of the order, or of the
    refund), `micros` (below 0 for a refund), `n_orders` (1 or 0).
    """
    return date_values(records.orders, records.refunds)


def date_values(orders: Frame, refunds: Frame | None) -> Frame:
    """Build `dated_values` of frames."""
    xp = dialect_of(orders)
    ordered = orders.select(
        "customer_id", "day", known_day=xp.col("day"), micros=xp.col("amount_micros"), n_orders=xp.lit(1, xp.Int64)
    )
    if refunds is None:
        return ordered
    taken = refunds.filter(xp.col("taken_micros") > 0).select(
        "customer_id",
        day=xp.col("order_day"),
        known_day=xp.col("day"),
        micros=0 - xp.col("taken_micros"),
        n_orders=xp.lit(0, xp.Int64),
    )
    dated: Frame = xp.concat([ordered, taken])
    return dated


def mark_days(days: Frame, windows: Windows) -> Frame:
    """Add what depends on a customer's earlier days alone, and the day that follows.

    Adds `order_index` (1 for the first), `gap_days` (null for the first), `next_day` (null for the last),
    `tenure_days` (since the first). Of a longer history, only `next_day` would differ.
    """
    day = dialect_of(days).col("day")
    return days.with_columns(
        order_index=windows.position(),
        gap_days=day - windows.previous(day),
        next_day=windows.following(day),
        tenure_days=day - windows.first(day),
    )
