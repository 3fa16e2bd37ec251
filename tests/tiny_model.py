"""Train a small real model from any records, as training does it, without backtest or tracking."""

from pathlib import Path

import narwhals as nw

from features.records import Records
from features.settings import Settings
from features.snapshot import to_date
from training.bundle import write_bundle
from training.learn import learn_at
from training.models.lifecycle import LifecycleModel
from training.splits import build_fold


def train_model(records: Records, *, cutoff_day: int, settings: Settings) -> LifecycleModel:
    """Train on what was recorded before the cutoff."""
    first_day = int(records.orders.select(nw.col("day").min()).collect("polars").item())
    fold = build_fold(cutoff_day, first_day=first_day, settings=settings.training)
    return learn_at(records, fold, settings=settings)[1]


def write_model(folder: Path, model: LifecycleModel, *, cutoff_day: int, timezone: str = "UTC") -> Path:
    """Write a bundle under `folder` and return its own folder."""
    as_of = to_date(cutoff_day).isoformat()
    return write_bundle(folder, model, timezone=timezone, trained_as_of=as_of, data={"n_orders": 1}, evaluation={})
