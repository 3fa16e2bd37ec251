"""Churn: a calibrated pool of trees and purchase process, and the process alone where there are no trees."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.models.churn import PROCESS_INPUTS, ChurnModel, ProbabilityCalibrator, logit
from training.models.inputs import input_names
from training.models.lifecycle import LifecycleModel
from training.models.summary import PurchaseSummary

probabilities = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20).map(np.array)


def _view(p_no_order: np.ndarray) -> np.ndarray:
    """Return a purchase process's view in which only the first column counts."""
    return np.column_stack([p_no_order, np.ones_like(p_no_order), 1.0 - p_no_order])


@given(probabilities)
def test_without_trees(p: np.ndarray) -> None:
    """Without trees the purchase process answers, unchanged."""
    churn = ChurnModel(None, 1.0)
    assert np.array_equal(churn.p_churn(np.zeros((p.size, 4)), _view(p)), p)


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_pool(model: LifecycleModel, weight: float) -> None:
    """The pool is the weighted mean of the trees and the process; the calibrator comes after it."""
    rows, p = np.full((3, len(input_names(model.features))), np.nan), np.array([0.0, 0.4, 1.0])
    churn = replace(model.churn, process_weight=weight, calibrator=ProbabilityCalibrator(1.2, -0.1))
    assert churn.trees is not None
    learned = churn.trees.predict(churn.tree_inputs(rows, _view(p)))
    pooled = (1 - weight) * learned + weight * p
    assert churn.p_churn(rows, _view(p)) == pytest.approx(churn.calibrator.calibrate(pooled))


def test_process_view(model: LifecycleModel) -> None:
    """The view is what the timing model says of no order, of being alive and of orders to come."""
    frequency, recency, age = np.array([[0.0, 0.0, 9.0], [3.0, 90.0, 100.0], [1.0, 5.0, 400.0]]).T
    summary = PurchaseSummary(frequency, recency, age, np.zeros(3))
    view, timing = model.process_view(summary), model.process.timing
    assert view.shape == (len(summary), len(PROCESS_INPUTS))
    assert np.array_equal(view[:, 0], timing.p_no_order(summary, horizon_days=model.horizon_days))
    assert np.array_equal(view[:, 1], timing.p_alive(summary))
    assert np.array_equal(view[:, 2], timing.expected_orders(summary, horizon_days=model.horizon_days))


@given(probabilities, st.floats(0.1, 3.0), st.floats(-3.0, 3.0))
def test_calibrator(p: np.ndarray, slope: float, intercept: float) -> None:
    """Calibration keeps probabilities probabilities and their order; slope 1 and intercept 0 change nothing."""
    calibrated = ProbabilityCalibrator(slope, intercept).calibrate(np.sort(p))
    assert ((calibrated >= 0) & (calibrated <= 1)).all()
    assert (np.diff(calibrated) >= 0).all()
    assert ProbabilityCalibrator().calibrate(p) == pytest.approx(np.clip(p, 1e-6, 1 - 1e-6))


def test_logit() -> None:
    """Log-odds are finite at certainty."""
    assert logit(np.array([0.0, 0.5, 1.0])) == pytest.approx([-13.8155, 0.0, 13.8155], abs=1e-3)


def test_round_trip(model: LifecycleModel) -> None:
    """A churn model survives its own JSON values."""
    assert ChurnModel.from_dict(model.churn.to_dict(), model.churn.trees) == model.churn
