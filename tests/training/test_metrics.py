"""Metrics: against scikit-learn, against hand computation, and where they are undefined."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import brier_score_loss, log_loss, mean_tweedie_deviance, roc_auc_score

from training import metrics

cases = st.lists(st.tuples(st.booleans(), st.integers(0, 10)), min_size=1, max_size=60)


@given(cases)
def test_auc(rows: list[tuple[bool, int]]) -> None:
    """AUC equals scikit-learn's, ties included, and is NaN where only one class is present."""
    y, score = np.array([int(outcome) for outcome, _ in rows]), np.array([value for _, value in rows])
    if len(set(y.tolist())) == 1:
        assert math.isnan(metrics.auc(y, score))
    else:
        assert metrics.auc(y, score) == pytest.approx(roc_auc_score(y, score), abs=1e-12)


@given(cases)
def test_log_loss_and_brier(rows: list[tuple[bool, int]]) -> None:
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


def test_calibration_error() -> None:
    """Ten equal-width bins, upper end included: two bins off by .05 and .25, weighted by customers."""
    p, y = np.array([0.05, 0.05, 0.05, 1.0]), np.array([0, 0, 0, 1])
    assert metrics.expected_calibration_error(y, p) == pytest.approx(0.75 * 0.05)
    p, y = np.array([0.25, 0.25, 0.75, 0.75]), np.array([0, 1, 1, 1])
    assert metrics.expected_calibration_error(y, p) == pytest.approx(0.25)


def test_errors_and_bias() -> None:
    """MAE and relative bias by hand; a bias relative to nothing is NaN."""
    observed, predicted = np.array([0.0, 2.0, 2.0]), np.array([1.0, 2.0, 3.0])
    assert metrics.mae(observed, predicted) == pytest.approx(2 / 3)
    assert metrics.relative_bias(observed, predicted) == pytest.approx(0.5)
    assert math.isnan(metrics.relative_bias(np.zeros(3), predicted))


def test_spearman() -> None:
    """The rank correlation equals SciPy's with ties, and is NaN against a constant."""
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 5, 50), rng.integers(0, 5, 50)
    assert metrics.spearman(one, other) == pytest.approx(float(spearmanr(one, other).statistic))
    assert math.isnan(metrics.spearman(one, np.ones(50)))


def test_top_decile() -> None:
    """The top tenth's share by hand; ties share evenly, so a constant score has a lift of exactly 1."""
    value, score = np.arange(20.0), np.arange(20)
    assert metrics.top_decile_share(value, score) == pytest.approx((19 + 18) / 190)
    assert metrics.top_decile_lift(value, score) == pytest.approx(10 * 37 / 190)
    assert metrics.top_decile_lift(value, np.ones(20)) == pytest.approx(1.0)
    assert math.isnan(metrics.top_decile_share(np.zeros(20), score))


def test_gain_curve_ends() -> None:
    """A gain curve starts at nothing and ends at everything."""
    customers, caught = metrics.gain_curve(np.array([0, 1, 1]), np.array([0.1, 0.9, 0.5]))
    assert customers.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert caught.tolist() == pytest.approx([0, 0.5, 1, 1])


def test_interval_coverage() -> None:
    """Bounds belong to their interval."""
    observed, low, high = np.array([0.0, 1.0, 2.0, 5.0]), np.zeros(4), np.array([0.0, 1.0, 1.5, 9.0])
    assert metrics.interval_coverage(observed, low, high) == 0.75


def test_nobody() -> None:
    """With no customers every mean is NaN, without a warning."""
    none = np.zeros(0)
    for metric in (metrics.auc, metrics.log_loss_binary, metrics.brier, metrics.mae, metrics.relative_bias):
        assert math.isnan(metric(none, none))
    assert math.isnan(metrics.expected_calibration_error(none, none))


def test_bootstrap_means() -> None:
    """The interval of a mean agrees with the normal one, and the seed fixes it."""
    values = np.random.default_rng(1).normal(10, 2, (2000, 1))
    low, high = metrics.percentile_interval(metrics.bootstrap_means(values, n_samples=500, seed=4)[:, 0])
    half_width = 1.645 * 2 / math.sqrt(2000)
    assert (low, high) == pytest.approx((values.mean() - half_width, values.mean() + half_width), abs=0.02)
    again = metrics.bootstrap_means(values, n_samples=500, seed=4)
    assert np.array_equal(again, metrics.bootstrap_means(values, n_samples=500, seed=4))


def test_bootstrap_auc() -> None:
    """Each draw's AUC is that of the customers drawn, ties and all."""
    rng = np.random.default_rng(5)
    y, score = rng.integers(0, 2, 300), rng.integers(0, 20, 300)
    drawn = metrics.bootstrap_auc(y, score, n_samples=7, seed=6)
    draws = np.random.default_rng(6)
    rows = [draws.integers(0, 300, size=300) for _ in range(7)]
    assert drawn == pytest.approx([metrics.auc(y[drawn_rows], score[drawn_rows]) for drawn_rows in rows])


def test_bootstrap_of_undefined() -> None:
    """A metric that no draw defines has a NaN interval instead of a failure."""
    interval = metrics.percentile_interval(metrics.bootstrap_auc(np.ones(9), np.arange(9), n_samples=5, seed=0))
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_deviance() -> None:
    """The mean Tweedie deviance is scikit-learn's, with predictions kept above a hundredth of the mean outcome."""
    observed, predicted = np.array([0.0, 3.0, 40.0, 0.0]), np.array([1.0, 2.0, 30.0, 0.0])
    kept = np.maximum(predicted, 0.01 * observed.mean())
    assert metrics.tweedie_deviance(observed, predicted) == pytest.approx(
        mean_tweedie_deviance(observed, kept, power=1.5)
    )
    assert math.isnan(metrics.tweedie_deviance(np.zeros(2), predicted[:2]))
