"""The customer table: one row per customer, the same expressions on every engine."""

from typing import Any

import narwhals as nw
import polars as pl

from features import behaviour, rfm
from features.catalogue import MICROS, MONEY_UNITS, Count, Feature
from features.lifecycle import stages
from features.lifecycle.stages import StageRule, assign_stage, with_stage_marks
from features.order_days import build_order_days
from features.snapshot import Snapshot

FEATURES: tuple[Feature, ...] = (*rfm.FEATURES, *behaviour.FEATURES)
FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
_COUNTS: tuple[Count, ...] = (*rfm.COUNTS, *behaviour.COUNTS)


def build_feature_table(orders: nw.LazyFrame[Any], snapshot: Snapshot) -> pl.DataFrame:
    """Build the features known at the cutoff.

    Args:
        orders: Validated orders (`customer_id, day, amount_micros`, …) on any engine narwhals speaks.
        snapshot: The cutoff; orders at or after it do not exist here.

    Returns:
        One row per customer with an order before the cutoff, sorted by `customer_id`; then one float64 column
        per feature of `FEATURES`, in its order, null where the feature's null rule says so.
    """
    return _in_units(_aggregate(build_order_days(orders, snapshot), _COUNTS, FEATURES))


def build_customer_table(orders: nw.LazyFrame[Any], snapshot: Snapshot, *, rule: StageRule) -> pl.DataFrame:
    """Build features and stages known at the cutoff.

    Returns:
        As `build_feature_table`, then the stage rule's state, `stage`, `stage_since_day`, and `stage_if_silent`:
        the stage at the end of the horizon should no order come.
    """
    marked = with_stage_marks(build_order_days(orders, snapshot), rule)
    table = _aggregate(marked, (*_COUNTS, *stages.COUNTS), FEATURES, keep=stages.STATE_COLUMNS)
    stage, since = assign_stage(at_day=snapshot.cutoff_day)
    if_silent, _ = assign_stage(at_day=snapshot.end_day)
    return _in_units(table).with_columns(stage=stage, stage_since_day=since, stage_if_silent=if_silent)


def build_stage_table(orders: nw.LazyFrame[Any], snapshot: Snapshot, *, rule: StageRule) -> pl.DataFrame:
    """Build the stage of every customer at the cutoff, and nothing else.

    Returns:
        One row per customer with an order before the cutoff, sorted by `customer_id`, and `stage`.
    """
    marked = with_stage_marks(build_order_days(orders, snapshot), rule)
    table = _aggregate(marked, (*rfm.COUNTS, *stages.COUNTS), (rfm.FEATURES[0],), keep=stages.STATE_COLUMNS)
    return table.select("customer_id", stage=assign_stage(at_day=snapshot.cutoff_day)[0])


def _aggregate(
    order_days: nw.LazyFrame[Any], counts: tuple[Count, ...], features: tuple[Feature, ...], keep: tuple[str, ...] = ()
) -> pl.DataFrame:
    """Aggregate order days to counts, and counts to features: one row per customer, money in micros."""
    rows = order_days.select("customer_id", *(count.row.alias(count.row_name) for count in counts))
    per_customer = rows.group_by("customer_id").agg(*(count.aggregate() for count in counts))
    filled = per_customer.with_columns(*(nw.col(c.name).fill_null(0) for c in counts if c.how == "sum"))
    table = filled.select("customer_id", *(f.value.cast(nw.Float64).alias(f.name) for f in features), *keep)
    collected: pl.DataFrame = table.collect("polars").to_native()
    return collected.sort("customer_id")


def _in_units(table: pl.DataFrame) -> pl.DataFrame:
    """Convert money from micros to currency units, correctly rounded."""
    money = [feature.name for feature in FEATURES if feature.unit in MONEY_UNITS]
    return table.with_columns(pl.Series(name, table[name].to_numpy() / MICROS, nan_to_null=True) for name in money)
