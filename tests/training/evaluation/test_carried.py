"""Carried horizons: judged where what came is known, and nowhere else."""

import math

import polars as pl
import pytest

from features.records import Records
from features.settings import load_settings
from features.snapshot import Snapshot
from features.table import build_customer_table, features_named
from tests.tiny_model import train_model
from training import metrics
from training.evaluation.carried import CARRIED, judge_carried
from training.models.lifecycle import LifecycleModel

HORIZON = 60
Judged = dict[str, float]


@pytest.fixture(scope="module")
def few_orders(cdnow_orders: pl.DataFrame) -> pl.DataFrame:
    """The orders of the first 300 customers."""
    return cdnow_orders.filter(pl.col("customer_id") <= "cdnow-0300")


@pytest.fixture(scope="module")
def cutoff_day(end_day: int) -> int:
    """A cutoff with 100 days after it."""
    return end_day - 100


@pytest.fixture(scope="module")
def learned(few_orders: pl.DataFrame, cutoff_day: int) -> LifecycleModel:
    """What was learned for the cutoff, over 60 days."""
    few = {"horizon_days": HORIZON, "max_train_cutoffs": 1, "min_class_customers": 10_000, "search_trials": 0}
    settings = load_settings(overrides={"training": few})
    return train_model(Records.wrap(few_orders), cutoff_day=cutoff_day, settings=settings)


def _judge(orders: pl.DataFrame, model: LifecycleModel, *, cutoff_day: int, end_day: int) -> Judged:
    records, features = Records.wrap(orders), features_named(model.features)
    snapshot = Snapshot(cutoff_day, HORIZON)
    present = build_customer_table(records, snapshot, rule=model.stage_rule, features=features)
    found = judge_carried(records, model, present, cutoff_day=cutoff_day, end_day=end_day)
    return {finding.key.metric: finding.value for finding in found}


def test_known_horizons(few_orders: pl.DataFrame, learned: LifecycleModel, cutoff_day: int, end_day: int) -> None:
    """Thirty and ninety days are judged where a hundred are known; 180 are not, and of ten days nothing is."""
    judged = _judge(few_orders, learned, cutoff_day=cutoff_day, end_day=end_day)
    assert judged.keys() == {f"{metric}_{days}d" for metric in CARRIED for days in (30, 90)}
    assert _judge(few_orders, learned, cutoff_day=cutoff_day, end_day=cutoff_day + 10) == {}


def test_outcome(few_orders: pl.DataFrame, learned: LifecycleModel, cutoff_day: int, end_day: int) -> None:
    """The base rate is the share of customers without an order in those days, counted by hand."""
    judged = _judge(few_orders, learned, cutoff_day=cutoff_day, end_day=end_day)
    known = set(few_orders.filter(pl.col("day") < cutoff_day)["customer_id"])
    for days in (30, 90):
        is_within = pl.col("day").is_between(cutoff_day, cutoff_day + days, closed="left")
        came = set(few_orders.filter(is_within)["customer_id"]) & known
        assert judged[f"base_rate_{days}d"] == pytest.approx(1 - len(came) / len(known))
        assert 0.5 < judged[f"auc_{days}d"] < 1.0
        assert math.isfinite(judged[f"log_loss_{days}d"])


def test_level(few_orders: pl.DataFrame, learned: LifecycleModel, cutoff_day: int, end_day: int) -> None:
    """The metrics are those of the backtest, on the probabilities that scores carry."""
    snapshot, features = Snapshot(cutoff_day, HORIZON), features_named(learned.features)
    table = build_customer_table(Records.wrap(few_orders), snapshot, rule=learned.stage_rule, features=features)
    after = few_orders.filter(pl.col("day").is_between(cutoff_day, cutoff_day + 30, closed="left"))["customer_id"]
    churned = (~table["customer_id"].is_in(after.implode())).to_numpy()
    expected = metrics.log_loss_binary(churned, learned.answer(table).p_churn_by_horizon[:, 0])
    judged = _judge(few_orders, learned, cutoff_day=cutoff_day, end_day=end_day)
    assert judged["log_loss_30d"] == pytest.approx(expected)
