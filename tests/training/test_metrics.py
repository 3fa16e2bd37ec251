"""Metrics: against scikit-learn, against hand computation, and where they are undefined."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, rankdata, spearmanr
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


def test_value_bins() -> None:
    """Tenths by hand: two customers each, lowest predictions first."""
    observed, predicted = np.arange(20.0)[::-1], np.arange(20.0)
    bins = metrics.bin_values(observed, predicted)
    assert bins.observed.tolist() == pytest.approx([37 - 4 * tenth for tenth in range(10)])
    assert bins.predicted.tolist() == pytest.approx([1 + 4 * tenth for tenth in range(10)])


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), min_size=1, max_size=60), st.randoms())
def test_value_bins_of_ties(rows: list[tuple[int, int]], random: Random) -> None:
    """Bins lose nothing, the top tenth is that of the top-decile share, and the order of rows does not matter."""
    observed, predicted = np.array(rows, dtype=np.float64).T
    bins = metrics.bin_values(observed, predicted)
    assert bins.observed.sum() == pytest.approx(observed.sum())
    assert bins.predicted.sum() == pytest.approx(predicted.sum())
    if observed.sum() > 0:
        share = metrics.top_decile_share(observed, predicted)
        assert bins.observed[-1] / observed.sum() == pytest.approx(share, abs=1e-12)
    shuffled = random.sample(rows, len(rows))
    again = metrics.bin_values(*np.array(shuffled, dtype=np.float64).T)
    assert again.observed == pytest.approx(bins.observed, abs=1e-9)


def test_decile_mape() -> None:
    """The error by hand over two halves, tenths without value left out; nothing observed is NaN."""
    observed, predicted = np.array([0.0, 2.0, 10.0, 10.0]), np.array([1.0, 2.0, 4.0, 6.0])
    assert metrics.decile_mape(observed, predicted, n_bins=2) == pytest.approx((1 / 2 + 10 / 20) / 2)
    assert metrics.decile_mape(np.array([0.0, 0.0, 10.0, 10.0]), predicted, n_bins=2) == pytest.approx(10 / 20)
    assert metrics.decile_mape(observed, observed) == 0.0
    assert math.isnan(metrics.decile_mape(np.zeros(4), predicted))


@given(cases)
def test_normalised_gini_of_yes_or_no(rows: list[tuple[bool, int]]) -> None:
    """For an outcome of 0 and 1 the normalised Gini is 2 · AUC − 1, ties included, and NaN where the AUC is."""
    y, score = np.array([int(outcome) for outcome, _ in rows]), np.array([value for _, value in rows])
    expected = 2.0 * metrics.auc(y, score) - 1.0
    assert metrics.normalised_gini(y, score) == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_normalised_gini() -> None:
    """The Gini by its covariance with ranks (Lerman and Yitzhaki 1984): 1 in the right order, −1 reversed, 0 tied."""
    rng = np.random.default_rng(3)
    value, score = rng.lognormal(2.0, 1.5, 200), rng.random(200)
    covariances = [np.cov(value, rankdata(order), bias=True)[0, 1] for order in (score, value)]
    assert metrics.normalised_gini(value, score) == pytest.approx(covariances[0] / covariances[1])
    assert metrics.normalised_gini(value, value**3) == pytest.approx(1.0)
    assert metrics.normalised_gini(value, -value) == pytest.approx(-1.0)
    assert metrics.normalised_gini(value, np.ones(200)) == pytest.approx(0.0)
    assert math.isnan(metrics.normalised_gini(np.zeros(3), np.arange(3)))
    assert math.isnan(metrics.normalised_gini(np.full(3, 5.0), np.arange(3)))


@given(st.tuples(st.floats(0, 1), st.floats(0, 1)), st.integers(1, 6), st.floats(0.05, 0.95))
def test_fractional_coverage_of_the_right_model(levels: tuple[float, float], n: int, p: float) -> None:
    """Under the right distribution of a count the coverage is high − low exactly, wherever the levels fall."""
    low, high = sorted(levels)
    count = np.arange(n + 1)
    chance = binom.pmf(count, n, p)
    covered = [
        metrics.fractional_coverage(low, high, np.array([below]), np.array([at]))
        for below, at in zip(binom.cdf(count - 1, n, p), binom.cdf(count, n, p), strict=True)
    ]
    assert chance @ np.array(covered) == pytest.approx(high - low, abs=1e-9)


def test_fractional_coverage() -> None:
    """By hand: an atom of .6 at nothing is two thirds above .2; where there is no atom an outcome is in or out."""
    below, at = np.array([0.0, 0.6, 0.8, 0.95]), np.array([0.6, 0.6, 0.8, 0.95])
    assert metrics.fractional_coverage(0.2, 0.8, below, at) == pytest.approx((2 / 3 + 1 + 1 + 0) / 4)
    assert metrics.fractional_coverage(0.0, 1.0, below, at) == 1.0
    assert math.isnan(metrics.fractional_coverage(0.05, 0.95, np.zeros(0), np.zeros(0)))


def test_nobody() -> None:
    """With no customers every mean is NaN, without a warning."""
    none = np.zeros(0)
    for metric in (metrics.auc, metrics.log_loss_binary, metrics.brier, metrics.mae, metrics.relative_bias):
        assert math.isnan(metric(none, none))
    for metric in (metrics.expected_calibration_error, metrics.normalised_gini, metrics.decile_mape):
        assert math.isnan(metric(none, none))


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
