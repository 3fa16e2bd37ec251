"""Resampling: intervals of what was drawn."""

import math

import numpy as np
import pytest

from training import metrics


def test_interval() -> None:
    """The central nine tenths of the draws lie between the bounds; a draw that defines nothing is left out."""
    drawn = np.array([*np.arange(101.0), math.nan])
    assert metrics.percentile_interval(drawn) == pytest.approx((5.0, 95.0))
    assert metrics.percentile_interval(drawn, coverage=0.5) == pytest.approx((25.0, 75.0))


def test_interval_of_undefined() -> None:
    """A metric that no draw defines has a NaN interval instead of a failure."""
    interval = metrics.percentile_interval(np.full(5, np.nan))
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
