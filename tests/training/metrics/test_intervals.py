"""Coverage: bounds belong to their interval, atoms count by their share."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from training import metrics


def test_interval_coverage() -> None:
    """Bounds belong to their interval."""
    observed, low, high = np.array([0.0, 1.0, 2.0, 5.0]), np.zeros(4), np.array([0.0, 1.0, 1.5, 9.0])
    assert metrics.interval_coverage(observed, low, high) == 0.75


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
