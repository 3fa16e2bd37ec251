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
from training.evaluation.backtest import Backtest
from training.fitters.btyd import fit_timing
from training.models.lifecycle import LifecycleModel
from training.models.summary import PurchaseSummary
from training.models.timing import TimingModel
from training.pictures.plots import plot_decile_value, plot_gain, plot_reliability
from training.pictures.purchase_plots import (
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
    days = _drawn_order_days(records, end_day, seed=settings.training.seed)
    return {
        **_of_the_backtest(judged),
        **_of_tracking(days, end_day=end_day, settings=settings),
        **_of_the_fit(summarise(days, end_day), model.process.timing),
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


def read_order_days(records: Records, end_day: int) -> pl.DataFrame:
    """Read the order days before a day. One row per customer and order day: `customer_id`, `day`."""
    end = Snapshot(end_day)
    days: pl.DataFrame = (
        build_order_days(end.known_records(records), end).select("customer_id", "day").collect("polars").to_native()
    )
    return days


def draw_repeat_orders(
    days: pl.DataFrame, models: Mapping[str, TimingModel], *, cutoff_day: int, end_day: int
) -> Figure:
    """Draw the repeat orders of the customers known at a cutoff, week by week, and what models expected by then.

    Args:
        days: As `read_order_days` returns them.
        models: Name → model, fitted to what was known at the cutoff.
        cutoff_day: Day number.
        end_day: First day number that is not drawn.
    """
    births = cutoff_day - summarise(days, cutoff_day).T_days
    start = float(births.min())
    ends = np.arange(start + _DAYS_PER_WEEK, end_day + 1, _DAYS_PER_WEEK)
    first = pl.col("day").min().over("customer_id")
    repeats = days.filter(first < cutoff_day, pl.col("day") > first)["day"].sort().to_numpy()
    return plot_tracking(
        (ends - start) / _DAYS_PER_WEEK,
        np.searchsorted(repeats, ends, side="left").astype(np.float64),
        {name: expected_repeat_orders(model, births, ends) for name, model in models.items()},
        calibration_end=(cutoff_day - start) / _DAYS_PER_WEEK,
        n_customers=len(births),
    )


def draw_frequency(summary: PurchaseSummary, models: Mapping[str, TimingModel]) -> Figure:
    """Draw how many customers ordered again how often, and how many models expect to."""
    return plot_frequency_fit(
        observed_frequency(summary.frequency, max_orders=MAX_ORDERS),
        {name: expected_frequency(each, summary.T_days, max_orders=MAX_ORDERS) for name, each in models.items()},
    )


def draw_p_alive(summary: PurchaseSummary, model: TimingModel) -> Figure:
    """Draw who is still alive among customers of the greatest age."""
    return plot_p_alive_matrix(model, max_frequency=MAX_FREQUENCY, T_days=float(np.max(summary.T_days)))


def _drawn_order_days(records: Records, end_day: int, *, seed: int) -> pl.DataFrame:
    days = read_order_days(records, end_day)
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
    try:
        fitted = fit_timing(
            summarise(days, cutoff_day), model=settings.value.timing_model, fitter=settings.value.fitter
        ).model
    except ConvergenceError:
        return {}
    models = {fitted.name: fitted}
    return {"repeat_orders.png": draw_repeat_orders(days, models, cutoff_day=cutoff_day, end_day=end_day)}


def _of_the_fit(summary: PurchaseSummary, timing: TimingModel) -> dict[str, Figure]:
    return {
        "order_frequency.png": draw_frequency(summary, {timing.name: timing}),
        "p_alive.png": draw_p_alive(summary, timing),
    }
