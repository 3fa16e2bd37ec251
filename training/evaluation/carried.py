"""Judging p_churn over the horizons to which it is carried: 30, 90 and 180 days, wherever what came is known."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import polars as pl

from features.records import Records
from features.snapshot import Snapshot
from training import metrics
from training.evaluation.findings import Finding, Key
from training.evaluation.ladder import OURS
from training.evaluation.slices import ALL
from training.models.horizons import HORIZONS_DAYS
from training.models.lifecycle import LifecycleModel

# Metric → function; told of each horizon as `<metric>_<days>d`, beside the base rate that it is measured against.
CARRIED: Mapping[str, Callable[..., float]] = {
    "log_loss": metrics.log_loss_binary,
    "auc": metrics.auc,
    "ece": metrics.expected_calibration_error,
    "calibration_in_the_large": metrics.calibration_in_the_large,
    "base_rate": metrics.base_rate,
}


def judge_carried(
    records: Records, model: LifecycleModel, present: pl.DataFrame, *, cutoff_day: int, end_day: int
) -> Iterator[Finding]:
    """Yield how well the carried probabilities fit.

    Args:
        records: Validated records.
        model: Learned for the cutoff.
        present: Its customer table.
        cutoff_day: Day number.
        end_day: First day number whose orders are not used: what lies beyond it did not come, it is not known.
    """
    p_churn = model.answer(present).p_churn_by_horizon
    for column, days in enumerate(HORIZONS_DAYS):
        if days == model.horizon_days or cutoff_day + days > end_day:
            continue
        came = Snapshot(cutoff_day, days).outcome(records.orders).select("customer_id").unique().collect("polars")
        ordered = pl.Series(came["customer_id"].to_native())
        churned = (~present["customer_id"].is_in(ordered.implode())).to_numpy().astype(np.int64)
        for metric, function in CARRIED.items():
            value = function(churned, p_churn[:, column])
            yield Finding(Key("churn", ALL, OURS, f"{metric}_{days}d"), value, present.height)
