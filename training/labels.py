"""Labels: what came within the horizon, looked at only to learn and to judge."""

from collections.abc import Sequence
from typing import Any

import narwhals as nw
import polars as pl

from features.catalogue import MICROS
from features.lifecycle.prospects import ProspectRule, build_prospects
from features.lifecycle.stages import StageRule
from features.order_days import dated_values
from features.records import Records
from features.snapshot import Snapshot
from features.table import build_stage_tables


def build_labels(records: Records, snapshot: Snapshot, *, rule: StageRule) -> pl.DataFrame:
    """Build the outcomes of the customers known at the cutoff.

    Args:
        records: Validated records that reach at least to the end of the horizon.
        snapshot: The cutoff and horizon.
        rule: The stage rule; the same one that assigned the stages at the cutoff.

    Returns:
        One row per customer with an order before the cutoff, sorted by `customer_id`: `is_churned` (no order in the
        horizon), `n_order_days` and `value` within it (less the refunds that came within it too), and `next_stage` and
        `days_since_last_order` at its end.
    """
    return build_label_tables(records, [snapshot], rule=rule)[0]


def build_label_tables(records: Records, snapshots: Sequence[Snapshot], *, rule: StageRule) -> list[pl.DataFrame]:
    """Build the outcomes at several cutoffs; the stages in one pass over the data."""
    stages = build_stage_tables(records, [snapshot.at_horizon() for snapshot in snapshots], rule=rule)
    return [_join(records, snapshot, stage) for snapshot, stage in zip(snapshots, stages, strict=True)]


def _join(records: Records, snapshot: Snapshot, stage: pl.DataFrame) -> pl.DataFrame:
    came = _collected(_outcomes(records, snapshot))
    before = _collected(snapshot.known(records.orders).select("customer_id").unique())
    return (
        before.join(stage.rename({"stage": "next_stage"}), on="customer_id", how="left", validate="1:1")
        .join(came, on="customer_id", how="left", validate="1:1")
        .select(
            "customer_id",
            is_churned=pl.col("n_order_days").is_null(),
            n_order_days=pl.col("n_order_days").fill_null(0),
            value=pl.col("micros").fill_null(0).cast(pl.Float64) / MICROS,
            next_stage="next_stage",
            days_since_last_order="days_since_last_order",
        )
        .sort("customer_id")
    )


def _outcomes(records: Records, snapshot: Snapshot) -> nw.LazyFrame[Any]:
    known_then = snapshot.at_horizon().known(dated_values(records), column="known_day")
    return (
        snapshot.outcome(known_then)
        .group_by("customer_id")
        .agg(
            nw.col("day").n_unique().cast(nw.Int64).alias("n_order_days"),
            nw.col("micros").sum().cast(nw.Int64).alias("micros"),
        )
    )


def _collected(frame: nw.LazyFrame[Any]) -> pl.DataFrame:
    collected: pl.DataFrame = frame.collect("polars").to_native()
    return collected


def build_prospect_examples(records: Records, snapshot: Snapshot, *, rule: ProspectRule) -> pl.DataFrame:
    """Build the prospects at a cutoff with what came of them.

    Returns:
        As `build_prospects`, then `is_registration` (a visitor was linked to a customer within the horizon, whom nobody
        knew before the cutoff) and `is_first_purchase` (the first order came within it, of the customer or of one whom
        the visitor was linked to). Who is an old customer on a new browser does neither.
    """
    prospects = build_prospects(records, snapshot, rule=rule)
    if prospects.is_empty() or records.contacts is None:
        return prospects.with_columns(is_registration=pl.lit(value=False), is_first_purchase=pl.lit(value=False))
    known = snapshot.known_records(records)
    assert known.contacts is not None  # noqa: S101 - they are those of the records
    old_buyers = known.orders.select("customer_id").unique()
    came = (
        snapshot.outcome(records.orders).select("customer_id").unique().join(old_buyers, on="customer_id", how="anti")
    )
    buyers = _collected(came)["customer_id"]
    known_before = known.contacts.filter(~nw.col("customer_id").is_null()).select("customer_id").unique()
    named = snapshot.outcome(records.contacts).filter(
        ~nw.col("customer_id").is_null() & ~nw.col("visitor_id").is_null()
    )
    new = named.join(old_buyers, on="customer_id", how="anti")
    links = _collected(new.select("visitor_id", "customer_id").unique())
    newly_known = _collected(new.join(known_before, on="customer_id", how="anti").select("visitor_id").unique())
    linked_to_buyer = links.filter(pl.col("customer_id").is_in(buyers.implode()))["visitor_id"]
    person = pl.col("person_id")
    return prospects.with_columns(
        is_registration=pl.col("is_visitor") & person.is_in(newly_known["visitor_id"].implode()),
        is_first_purchase=pl.when("is_visitor")
        .then(person.is_in(linked_to_buyer.implode()))
        .otherwise(person.is_in(buyers.implode())),
    )
