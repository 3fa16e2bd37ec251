"""The pictures that a training logs: what was judged on later time, and how the purchase process fits the shop."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from features.errors import ConvergenceError
from features.order_days import build_order_days
from features.records import Records
from features.settings import Settings
from features.snapshot import Snapshot
from training.evaluate import Backtest
from training.fitters.btyd import fit_timing
from training.models.lifecycle import LifecycleModel
from training.models.summary import FloatArray, PurchaseSummary
from training.plots import plot_decile_value, plot_gain, plot_reliability
from training.purchase_plots import (
    expected_frequency,
    expected_repeat_orders,
    observed_frequency,
    plot_frequency_fit,
    plot_p_alive_matrix,
    plot_tracking,
)

MAX_CUSTOMERS = 50_000  # whom the pictures of the purchase process are drawn from
MAX_ORDERS = 7
MAX_FREQUENCY = 20
_DAYS_PER_WEEK = 7


def draw_figures(
    records: Records, *, judged: Backtest, model: LifecycleModel, end_day: int, settings: Settings
) -> dict[str, Figure]:
    """Draw all pictures of one training: file name → picture.

    Args:
        records: Validated records.
        judged: The backtest; its youngest cutoff is drawn.
        model: The final model.
        end_day: First day number whose orders training did not see.
        settings: Horizon, and how the purchase process is fitted.
    """
    days = _order_days(records, end_day, seed=settings.training.seed)
    return {
        **_of_the_backtest(judged),
        **_of_tracking(days, end_day=end_day, settings=settings),
        **_of_the_fit(summarise(days, end_day), model),
    }


def summarise(days: pl.DataFrame, cutoff_day: int) -> PurchaseSummary:
    """Summarise order days (`customer_id`, `day`) before a cutoff, without values. One element per customer."""
    before = days.filter(pl.col("day") < cutoff_day)
    first, last = pl.col("day").min(), pl.col("day").max()
    of = before.group_by("customer_id").agg(n=pl.len(), first=first, last=last).sort("customer_id")
    frequency = of["n"].to_numpy() - 1.0
    return PurchaseSummary(
        frequency=frequency,
        recency_days=(of["last"] - of["first"]).to_numpy().astype(np.float64),
        T_days=(cutoff_day - of["first"]).to_numpy().astype(np.float64),
        monetary_value=np.zeros_like(frequency),
    )


def _order_days(records: Records, end_day: int, *, seed: int) -> pl.DataFrame:
    known = Snapshot(end_day).known_records(records)
    days: pl.DataFrame = (
        build_order_days(known, Snapshot(end_day)).select("customer_id", "day").collect("polars").to_native()
    )
    ids = days["customer_id"].unique().sort()
    return days if len(ids) <= MAX_CUSTOMERS else days.filter(pl.col("customer_id").is_in(_draw(ids, seed).implode()))


def _draw(ids: pl.Series, seed: int) -> pl.Series:
    return ids.gather(np.sort(np.random.default_rng(seed).choice(len(ids), size=MAX_CUSTOMERS, replace=False)))


def _of_the_backtest(judged: Backtest) -> dict[str, Figure]:
    churned, p_churn = judged.outcomes["churn"], judged.predictions["churn"]
    value, expected = judged.outcomes["value"], judged.predictions["value"]
    return {
        "churn_reliability.png": plot_reliability(p_churn, churned),
        "churn_gain.png": plot_gain(p_churn, churned),
        "value_gain.png": plot_gain(expected, value, title="Value caught, best expected value first"),
        "value_deciles.png": plot_decile_value(value, expected),
    }


def _of_tracking(days: pl.DataFrame, *, end_day: int, settings: Settings) -> dict[str, Figure]:
    """Draw the repeat orders of customers known a horizon ago, and what was expected then; none where nothing fits."""
    cutoff_day = end_day - settings.training.horizon_days
    summary = summarise(days, cutoff_day)
    try:
        fitted = fit_timing(summary, model=settings.value.timing_model, fitter=settings.value.fitter).model
    except ConvergenceError:
        return {}
    births = cutoff_day - summary.T_days
    ends = np.arange(births.min() + _DAYS_PER_WEEK, end_day + 1, _DAYS_PER_WEEK)
    weeks: FloatArray = (ends - births.min()) / _DAYS_PER_WEEK
    return {
        "repeat_orders.png": plot_tracking(
            weeks,
            _count_repeat_orders(days, cutoff_day, ends),
            {fitted.name: expected_repeat_orders(fitted, births, ends)},
            calibration_end=float((cutoff_day - births.min()) / _DAYS_PER_WEEK),
            n_customers=len(summary),
        )
    }


def _count_repeat_orders(days: pl.DataFrame, cutoff_day: int, ends: FloatArray) -> FloatArray:
    """Count the repeat orders before each end of the customers known at the cutoff, (k,)."""
    first = pl.col("day").min().over("customer_id")
    repeats = days.filter(first < cutoff_day, pl.col("day") > first)["day"].sort().to_numpy()
    return np.searchsorted(repeats, ends, side="left").astype(np.float64)


def _of_the_fit(summary: PurchaseSummary, model: LifecycleModel) -> Mapping[str, Figure]:
    timing = model.process.timing
    observed = observed_frequency(summary.frequency, max_orders=MAX_ORDERS)
    expected = {timing.name: expected_frequency(timing, summary.T_days, max_orders=MAX_ORDERS)}
    oldest = float(np.max(summary.T_days))
    return {
        "order_frequency.png": plot_frequency_fit(observed, expected),
        "p_alive.png": plot_p_alive_matrix(timing, max_frequency=MAX_FREQUENCY, T_days=oldest),
    }
