"""The one answer: what it sees, and what it hands on."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from features.lifecycle.stages import STAGES
from features.records import Records
from features.snapshot import Snapshot
from features.table import build_customer_table
from training.models.churn import ChurnModel
from training.models.inputs import features_of, input_names, model_inputs, purchase_summary, stage_codes
from training.models.lifecycle import LifecycleModel


@pytest.fixture(scope="module")
def table(model: LifecycleModel, cdnow_orders: pl.DataFrame, end_day: int) -> pl.DataFrame:
    """The shared orders as a customer table."""
    snapshot = Snapshot(end_day, model.horizon_days)
    return build_customer_table(Records.wrap(cdnow_orders), snapshot, rule=model.stage_rule)


def test_inputs(table: pl.DataFrame) -> None:
    """The models see the features and the stage, NaN where a feature is null, and no customer."""
    features = features_of(table)
    names, inputs = input_names(features), model_inputs(table, features)
    assert inputs.shape == (table.height, len(names))
    assert "customer_id" not in names
    gaps = inputs[:, names.index("mean_gap_days")]
    assert np.array_equal(np.isnan(gaps), table["frequency"].to_numpy() == 0)
    assert np.array_equal(inputs[:, names.index("stage_code")], stage_codes(table["stage"]))


def test_features(table: pl.DataFrame, model: LifecycleModel) -> None:
    """A table's features stand in the order of the catalogue, whatever the order of its columns."""
    assert features_of(table) == features_of(table.select(reversed(table.columns))) == model.features


def test_absent_feature(table: pl.DataFrame, model: LifecycleModel) -> None:
    """A feature that the table lacks is unknown of everybody, and the other inputs stay as they are."""
    names = input_names(model.features)
    absent = names.index("order_days_within_30")
    whole, part = (model_inputs(rows, model.features) for rows in (table, table.drop("order_days_within_30")))
    assert not np.isnan(whole[:, absent]).any()
    assert np.isnan(part[:, absent]).all()
    assert np.array_equal(np.delete(part, absent, axis=1), np.delete(whole, absent, axis=1), equal_nan=True)
    assert np.isfinite(model.answer(table.drop("order_days_within_30")).p_churn).all()


def test_stage_codes() -> None:
    """A stage's code is its place in the canonical order."""
    assert stage_codes(pl.Series(STAGES)).tolist() == list(range(len(STAGES)))
    with pytest.raises(ValueError, match="stages that are none"):
        stage_codes(pl.Series(["loyal", "unheard_of"]))


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
    assert np.array_equal(part.cells.cell, whole.cells.cell[::-7])
    assert np.array_equal(part.cells.p_leave_cell, whole.cells.p_leave_cell[::-7])


def test_without_trees(model: LifecycleModel, table: pl.DataFrame) -> None:
    """Without trees p_churn is the purchase process's probability of no order."""
    churn = ChurnModel(None, 1.0)
    alone = replace(model, churn=churn)
    summary = purchase_summary(table)
    expected = model.process.timing.p_no_order(summary, horizon_days=model.horizon_days)
    answer = alone.answer(table)
    assert np.array_equal(answer.p_churn, expected)
    assert answer.forecast.expected_orders == pytest.approx(
        model.process.timing.expected_orders(summary, horizon_days=model.horizon_days)
    )


def test_plain_values(model: LifecycleModel) -> None:
    """All parameters are JSON values."""
    assert json.loads(json.dumps(model.to_dict(), allow_nan=False))["horizon_days"] == 90
