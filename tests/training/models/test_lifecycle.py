"""The one answer: what it sees, and what it hands on."""

import json

import narwhals as nw
import numpy as np
import polars as pl
import pytest

from features.lifecycle.stages import STAGES
from features.snapshot import Snapshot
from features.table import build_customer_table
from training.models.churn import ChurnModel, ProbabilityCalibrator
from training.models.inputs import INPUT_NAMES, model_inputs, purchase_summary, stage_codes
from training.models.lifecycle import LifecycleModel


@pytest.fixture(scope="module")
def table(model: LifecycleModel, cdnow_orders: pl.DataFrame, end_day: int) -> pl.DataFrame:
    """The shared orders as a customer table."""
    snapshot = Snapshot(end_day, model.horizon_days)
    return build_customer_table(nw.from_native(cdnow_orders.lazy()), snapshot, rule=model.stage_rule)


def test_inputs(table: pl.DataFrame) -> None:
    """The models see the features and the stage, NaN where a feature is null, and no customer."""
    inputs = model_inputs(table)
    assert inputs.shape == (table.height, len(INPUT_NAMES))
    assert "customer_id" not in INPUT_NAMES
    gaps = inputs[:, INPUT_NAMES.index("mean_gap_days")]
    assert np.array_equal(np.isnan(gaps), table["frequency"].to_numpy() == 0)
    assert np.array_equal(inputs[:, INPUT_NAMES.index("stage_code")], stage_codes(table["stage"]))


def test_stage_codes() -> None:
    """A stage's code is its place in the canonical order."""
    assert stage_codes(pl.Series(STAGES)).tolist() == list(range(len(STAGES)))


def test_summary(table: pl.DataFrame) -> None:
    """The purchase summary has a value of 0 where no repeat order tells one."""
    summary = purchase_summary(table)
    assert (summary.monetary_value[summary.frequency == 0] == 0).all()
    assert len(summary) == table.height


def test_rows_are_alone(model: LifecycleModel, table: pl.DataFrame) -> None:
    """A customer's answer does not depend on who else is in the table, or in which order."""
    whole, part = model.answer(table), model.answer(table[::-7])
    assert np.array_equal(part.p_churn, whole.p_churn[::-7])
    assert np.array_equal(part.p_next_stage, whole.p_next_stage[::-7])
    assert np.array_equal(part.forecast.clv_by_month, whole.forecast.clv_by_month[::-7])


def test_without_trees(model: LifecycleModel, table: pl.DataFrame) -> None:
    """Without trees p_churn is the purchase process's probability of no order."""
    churn = ChurnModel(None, ProbabilityCalibrator(), 1.0)
    alone = LifecycleModel(
        model.horizon_days, model.stage_rule, model.segments, model.process, churn, model.next_stage, model.value
    )
    summary = purchase_summary(table)
    expected = model.process.bg_nbd.p_no_order(summary, horizon_days=model.horizon_days)
    answer = alone.answer(table)
    assert np.array_equal(answer.p_churn, expected)
    assert answer.forecast.expected_orders == pytest.approx(
        model.process.bg_nbd.expected_orders(summary, horizon_days=model.horizon_days)
    )


def test_plain_values(model: LifecycleModel) -> None:
    """All parameters are JSON values."""
    assert json.loads(json.dumps(model.to_dict(), allow_nan=False))["horizon_days"] == 90
