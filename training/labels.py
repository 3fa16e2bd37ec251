"""Labels: what came within the horizon, looked at only to learn and to judge."""

from typing import Any

import narwhals as nw
import polars as pl

from features.catalogue import MICROS
from features.lifecycle.stages import StageRule
from features.snapshot import Snapshot
from features.table import build_stage_table


def build_labels(orders: nw.LazyFrame[Any], snapshot: Snapshot, *, rule: StageRule) -> pl.DataFrame:
    """Build the outcomes of the customers known at the cutoff.

    Args:
        orders: Validated orders that reach at least to the end of the horizon.
        snapshot: The cutoff and horizon.
        rule: The stage rule; the same one that assigned the stages at the cutoff.

    Returns:
        One row per customer with an order before the cutoff, sorted by `customer_id`: `is_churned` (no order in the
        horizon), `n_order_days` and `value` within it, and `next_stage` at its end.
    """
    known = build_stage_table(orders, snapshot.at_horizon(), rule=rule).rename({"stage": "next_stage"})
    came: pl.DataFrame = (
        snapshot.outcome(orders)
        .group_by("customer_id")
        .agg(
            nw.col("day").n_unique().cast(nw.Int64).alias("n_order_days"),
            nw.col("amount_micros").sum().cast(nw.Int64).alias("micros"),
        )
        .collect("polars")
        .to_native()
    )
    before: pl.DataFrame = snapshot.history(orders).select("customer_id").unique().collect("polars").to_native()
    return (
        before.join(known, on="customer_id", how="left", validate="1:1")
        .join(came, on="customer_id", how="left", validate="1:1")
        .select(
            "customer_id",
            is_churned=pl.col("n_order_days").is_null(),
            n_order_days=pl.col("n_order_days").fill_null(0),
            value=pl.col("micros").fill_null(0).cast(pl.Float64) / MICROS,
            next_stage="next_stage",
        )
        .sort("customer_id")
    )
