"""What the metric sheet is made of: orders, customers, costs and contacts, collected from before the cutoff."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import polars as pl

from features.catalogue import MICROS, within
from features.errors import InputError
from features.lifecycle.metric_contacts import Contacts, count_contacts
from features.lifecycle.metric_slices import ALL, Slice, cohort_days, cohort_of
from features.records import Records
from features.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the rows are made of.

    Args:
        snapshot: Its cutoff ends the period.
        period_days: Length of the period.
        customers: One row per customer: what `_build_customers` builds.
        orders: One row per customer and channel of orders in the period.
        costs: One row per day and channel of marketing costs in the period.
        contacts: Visits, e-mails and engagements of the period.
        followers: Channel → followers.
        years: The life that simple CLV counts on.
        margin: The share of value so far that counts.
    """

    snapshot: Snapshot
    period_days: int
    customers: pl.DataFrame
    orders: pl.DataFrame
    costs: pl.DataFrame
    contacts: Contacts
    followers: Mapping[str, int]
    years: float
    margin: float

    @property
    def whole(self) -> Slice:
        """Return the whole shop in the whole period."""
        return self.slice_of("all", ALL)

    def slice_of(self, kind: str, name: str) -> Slice:
        """Return a part of the shop in the whole period."""
        end_day = self.snapshot.cutoff_day
        return Slice(kind, name, end_day - self.period_days, end_day)

    def acquisitions(self, kind: str, name: str) -> Slice:
        """Return a part of the shop in its days of acquisition: of a cohort, those of its quarter."""
        whole = self.whole
        if kind != "cohort":
            return self.slice_of(kind, name)
        begin, end = cohort_days(name, self.snapshot, first_day=whole.first_day)
        return Slice(kind, name, max(begin, whole.first_day), min(end, whole.end_day))

    def lives(self, kind: str, name: str) -> Slice:
        """Return a part of the shop from its first order on."""
        first_day = int(self.customers["first_day"].to_numpy().min()) if self.customers.height else self.whole.first_day
        begin = cohort_days(name, self.snapshot, first_day=first_day)[0] if kind == "cohort" else first_day
        return Slice(kind, name, begin, self.snapshot.cutoff_day)


def collect_evidence(
    records: Records,
    snapshot: Snapshot,
    *,
    period_days: int,
    costs: pl.DataFrame | None,
    customers: pl.DataFrame,
    followers: Mapping[str, int],
    years: float,
    margin: float,
) -> Evidence:
    """Collect what the rows are made of; arguments as for `build_metric_sheet`, and in range.

    Raises:
        InputError: If `customers` is not one row with stage and CLV for each customer who ordered.
    """
    orders = _collect_orders(records, snapshot, period_days)
    return Evidence(
        snapshot=snapshot,
        period_days=period_days,
        customers=_build_customers(records, snapshot, period_days, customers=customers, orders=orders),
        orders=orders,
        costs=_build_costs(costs, snapshot, period_days),
        contacts=count_contacts(records, snapshot, period_days),
        followers=followers,
        years=years,
        margin=margin,
    )


def _collect_orders(records: Records, snapshot: Snapshot, period_days: int) -> pl.DataFrame:
    """Collect the orders of the period. One row per customer and channel: `first_at, n_orders, revenue_micros`."""
    ordered = snapshot.history(records.orders).filter(within(period_days).on(nw))
    if "channel" not in ordered.collect_schema().names():
        ordered = ordered.with_columns(channel=nw.lit(None, nw.String))
    return _collected(
        ordered.group_by("customer_id", "channel").agg(
            nw.col("ordered_at").min().alias("first_at"),
            nw.len().cast(nw.Int64).alias("n_orders"),
            nw.col("amount_micros").sum().cast(nw.Int64).alias("revenue_micros"),
        )
    ).with_columns(_wide("revenue_micros"))


def _build_customers(
    records: Records, snapshot: Snapshot, period_days: int, *, customers: pl.DataFrame, orders: pl.DataFrame
) -> pl.DataFrame:
    """Build what the sheet knows of each customer.

    One row per customer: `first_day, last_day, is_acquired, all, stage, cohort, clv_micros`; and of the period
    `channel` (of its first order), `n_orders, revenue_micros, taken_micros`.
    """
    lives = _collected(
        snapshot.known(records.orders)
        .group_by("customer_id")
        .agg(nw.col("day").min().alias("first_day"), nw.col("day").max().alias("last_day"))
    )
    _refuse_other_customers(customers, lives)
    in_period = orders.group_by("customer_id").agg(pl.col("n_orders", "revenue_micros").sum())
    firsts = orders.sort("first_at", "channel", nulls_last=True).group_by("customer_id").agg(pl.col("channel").first())
    joined = lives.join(customers.select("customer_id", "stage", "clv_12m"), on="customer_id")
    for other in (in_period, firsts, _collect_refunds(records, snapshot, period_days)):
        joined = joined.join(other, on="customer_id", how="left")
    return joined.with_columns(
        pl.col("n_orders", "revenue_micros", "taken_micros").fill_null(0),
        is_acquired=pl.col("first_day") >= snapshot.cutoff_day - period_days,
        all=pl.lit(ALL),
        stage=pl.col("stage").cast(pl.String),
        cohort=cohort_of("first_day", snapshot),
        clv_micros=(pl.col("clv_12m").cast(pl.Float64) * MICROS).round().cast(pl.Int128),
    )


def _refuse_other_customers(customers: pl.DataFrame, lives: pl.DataFrame) -> None:
    """Refuse a frame that is not one row with stage and CLV for each customer who ordered."""
    remedy = "Give one row per customer with an order before the cutoff: customer_id, stage, clv_12m."
    lacking = [name for name in ("customer_id", "stage", "clv_12m") if name not in customers.columns]
    if lacking:
        raise InputError(f"The customers of a metric sheet lack {', '.join(lacking)}.", remedy=remedy)
    if not customers.height == customers["customer_id"].n_unique() == lives.height == _n_shared(customers, lives):
        n_shared = _n_shared(customers, lives)
        raise InputError(
            f"A metric sheet was given {customers.height:,} rows of customers, of which {n_shared:,} match the"
            f" {lives.height:,} customers with an order before the cutoff.",
            remedy=remedy,
        )
    value = pl.col("clv_12m").cast(pl.Float64)
    is_good = pl.col("stage").is_not_null() & value.is_finite() & (value >= 0)
    n_bad = customers.height - customers.filter(is_good).height
    if n_bad:
        raise InputError(f"{n_bad:,} customers have no stage, or no clv_12m that is a number from 0 on.", remedy=remedy)


def _n_shared(customers: pl.DataFrame, lives: pl.DataFrame) -> int:
    return customers.join(lives, on="customer_id", how="semi").height


def _collect_refunds(records: Records, snapshot: Snapshot, period_days: int) -> pl.DataFrame:
    """Collect what refunds known at the cutoff took from orders of the period. One row per customer."""
    if records.refunds is None:
        return pl.DataFrame(schema={"customer_id": pl.String, "taken_micros": pl.Int128})
    of_period = nw.col("order_day") >= snapshot.cutoff_day - period_days
    taken = snapshot.known(records.refunds).filter(of_period, nw.col("taken_micros") > 0)
    summed = taken.group_by("customer_id").agg(nw.col("taken_micros").sum().cast(nw.Int64))
    return _collected(summed).with_columns(_wide("taken_micros"))


def _build_costs(costs: pl.DataFrame | None, snapshot: Snapshot, period_days: int) -> pl.DataFrame:
    """Build the marketing costs of the period. One row per row given: `all, cohort, channel, cost_micros`."""
    schema = pl.Schema({"day": pl.Int64(), "channel": pl.String(), "value_micros": pl.Int64()})
    given = pl.DataFrame(schema=schema) if costs is None else costs.select(*schema)
    spent: pl.DataFrame = snapshot.history(nw.from_native(given)).filter(within(period_days).on(nw)).to_native()
    return spent.select(
        "channel",
        all=pl.lit(ALL),
        cohort=cohort_of("day", snapshot),
        cost_micros=pl.col("value_micros").cast(pl.Int128),
    )


def _wide(column: str) -> pl.Expr:
    """Return a column of 64 bits in 128: customers add up to 64 bits each, a shop to more."""
    return pl.col(column).cast(pl.Int128)


def _collected(frame: nw.LazyFrame[Any]) -> pl.DataFrame:
    collected: pl.DataFrame = frame.collect("polars").to_native()
    return collected
