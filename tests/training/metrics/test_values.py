"""Value metrics: against scikit-learn and SciPy, by hand, and where they are undefined."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import mean_tweedie_deviance

from training import metrics


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


def test_deviance() -> None:
    """The mean Tweedie deviance is scikit-learn's, with predictions kept above a hundredth of the mean outcome."""
    observed, predicted = np.array([0.0, 3.0, 40.0, 0.0]), np.array([1.0, 2.0, 30.0, 0.0])
    kept = np.maximum(predicted, 0.01 * observed.mean())
    assert metrics.tweedie_deviance(observed, predicted) == pytest.approx(
        mean_tweedie_deviance(observed, kept, power=1.5)
    )
    assert math.isnan(metrics.tweedie_deviance(np.zeros(2), predicted[:2]))


def test_nobody() -> None:
    """With no customers every mean is NaN, without a warning."""
    none = np.zeros(0)
    for metric in (metrics.mae, metrics.relative_bias, metrics.decile_mape):
        assert math.isnan(metric(none, none))
