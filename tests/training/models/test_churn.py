"""Churn: a pool of trees and purchase process, and the process alone where there are no trees."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.models.churn import ChurnModel, ProbabilityCalibrator, logit
from training.models.inputs import input_names
from training.models.lifecycle import LifecycleModel

probabilities = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20).map(np.array)


@given(probabilities)
def test_without_trees(p: np.ndarray) -> None:
    """Without trees the purchase process answers, unchanged."""
    churn = ChurnModel(None, ProbabilityCalibrator(), 1.0)
    assert np.array_equal(churn.p_churn(np.zeros((p.size, 4)), p), p)


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_pool(model: LifecycleModel, weight: float) -> None:
    """The pool is the weighted mean of the calibrated trees and the process."""
    rows, p = np.full((3, len(input_names(model.features))), np.nan), np.array([0.0, 0.4, 1.0])
    churn = ChurnModel(model.churn.trees, model.churn.calibrator, weight)
    assert churn.trees is not None
    learned = churn.calibrator.calibrate(churn.trees.predict(rows))
    assert churn.p_churn(rows, p) == pytest.approx((1 - weight) * learned + weight * p)


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
