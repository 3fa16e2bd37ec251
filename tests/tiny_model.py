"""Train a small real model from any orders, as training does it, without backtest or tracking."""

from pathlib import Path

import narwhals as nw
import polars as pl

from features.lifecycle.stages import learn_stage_rule
from features.order_days import build_order_days
from features.settings import Settings
from features.snapshot import Snapshot, to_date
from features.table import build_customer_table
from training.bundle import write_bundle
from training.fitters.lifecycle import Examples, fit_lifecycle_model
from training.labels import build_labels
from training.models.lifecycle import LifecycleModel
from training.splits import build_fold


def train_model(orders: pl.DataFrame, *, cutoff_day: int, settings: Settings) -> LifecycleModel:
    """Train on the orders before the cutoff, with every stage threshold learned there."""
    frame = nw.from_native(orders.lazy())
    horizon = settings.training.horizon_days
    first_day = int(orders["day"].to_numpy().min())
    fold = build_fold(cutoff_day, first_day=first_day, settings=settings.training)
    rule = learn_stage_rule(build_order_days(frame, Snapshot(cutoff_day)), settings.stages)
    snapshots = [Snapshot(day, horizon) for day in fold.train_cutoff_days]
    examples = tuple(
        Examples(build_customer_table(frame, snapshot, rule=rule), build_labels(frame, snapshot, rule=rule))
        for snapshot in snapshots
    )
    present = build_customer_table(frame, Snapshot(cutoff_day, horizon), rule=rule)
    return fit_lifecycle_model(examples, present, rule=rule, settings=settings)


def write_model(folder: Path, model: LifecycleModel, *, cutoff_day: int) -> Path:
    """Write a bundle under `folder` and return its own folder."""
    as_of = to_date(cutoff_day).isoformat()
    return write_bundle(folder, model, timezone="UTC", trained_as_of=as_of, data={"n_orders": 1}, evaluation={})
