"""Log-losses and Brier score: against scikit-learn and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from sklearn.metrics import brier_score_loss, log_loss

from tests.training.metrics.cases import Rows, cases
from training import metrics


@given(cases)
def test_log_loss_and_brier(rows: Rows) -> None:
    """Log-loss and Brier score equal scikit-learn's, certain probabilities included."""
    y, p = np.array([int(outcome) for outcome, _ in rows]), np.array([value / 10 for _, value in rows])
    clipped = np.clip(p, 1e-15, 1 - 1e-15)
    assert metrics.log_loss_binary(y, p) == pytest.approx(log_loss(y, clipped, labels=[0, 1]), rel=1e-6)
    assert metrics.brier(y, p) == pytest.approx(brier_score_loss(y, p, pos_label=1), abs=1e-12)


def test_multiclass_log_loss() -> None:
    """The multiclass log-loss is the mean of −log of the true class's probability, and finite at 0."""
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [1.0, 0.0, 0.0]])
    expected = -(math.log(0.7) + math.log(0.1) + math.log(1e-15)) / 3
    assert metrics.log_loss_multiclass(np.array([0, 1, 2]), p) == pytest.approx(expected)


def test_nobody() -> None:
    """With no customers every mean is NaN, without a warning."""
    none = np.zeros(0)
    for metric in (metrics.log_loss_binary, metrics.brier):
        assert math.isnan(metric(none, none))
