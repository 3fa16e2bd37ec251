"""Order days: all orders of a customer on one day count once, and days carry their rhythm.

Every number that leaves this module is an exact integer (days, counts, micros), so sums do not depend
on row order or engine; features are then quotients and square roots of the same integers everywhere.
"""

from typing import Any

import narwhals as nw

from features.snapshot import Snapshot

_WEEKDAY_OF_DAY_ZERO = 3  # 1970-01-01 was a Thursday; Monday is 0
_SATURDAY = 5


def build_order_days(orders: nw.LazyFrame[Any], snapshot: Snapshot) -> nw.LazyFrame[Any]:
    """Build the order days known at the cutoff.

    One row per customer and order day: `customer_id, day, age_days, value_micros, n_orders, order_index` (1 for
    the first), `gap_days` (null for the first), `tenure_days` (since the first), `is_last`, `is_weekend` (0 or 1).
    """
    days = (
        snapshot.history(orders)
        .group_by("customer_id", "day", "age_days")
        .agg(
            nw.col("amount_micros").sum().cast(nw.Int64).alias("value_micros"),
            nw.len().cast(nw.Int64).alias("n_orders"),
        )
    )
    by_customer = {"order_by": "day"}
    weekday = (nw.col("day") + _WEEKDAY_OF_DAY_ZERO) % 7
    return days.with_columns(
        order_index=nw.col("day").cum_count().over("customer_id", **by_customer).cast(nw.Int64),
        gap_days=nw.col("day") - nw.col("day").shift(1).over("customer_id", **by_customer),
        tenure_days=nw.col("day") - nw.col("day").min().over("customer_id"),
        is_last=(nw.col("day") == nw.col("day").max().over("customer_id")),
        is_weekend=nw.when(weekday >= _SATURDAY).then(nw.lit(1, nw.Int64)).otherwise(nw.lit(0, nw.Int64)),
    )
