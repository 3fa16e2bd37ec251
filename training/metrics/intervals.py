"""Intervals and predictive distributions: how many outcomes lie where they were said to lie."""

import numpy as np

from training.metrics.arrays import Array, mean


def interval_coverage(observed: Array, low: Array, high: Array) -> float:
    """Compute the share of outcomes inside their intervals, bounds included."""
    return mean((np.asarray(observed) >= low) & (np.asarray(observed) <= high))


def fractional_coverage(low_level: float, high_level: float, cdf_below: Array, cdf_at: Array) -> float:
    """Compute the share of outcomes between two quantiles of their predictive distributions, atoms split.

    Where a distribution puts weight on single values, as on ordering nothing, no interval holds exactly a stated
    share. The probability integral transform of an outcome y is then spread evenly over [F(y−), F(y)], and the part of
    it within the levels counts: the nonrandomised transform of Czado, Gneiting and Held (2009), Predictive model
    assessment for count data, Biometrics 65. Right distributions give high_level − low_level on average.

    Args:
        low_level: Lower level, from 0.
        high_level: Upper level, to 1.
        cdf_below: (n,) P(Y < y) of each observed y.
        cdf_at: (n,) P(Y ≤ y); where it equals `cdf_below`, the outcome is in or out, bounds included.
    """
    below, at = np.asarray(cdf_below, dtype=np.float64), np.asarray(cdf_at, dtype=np.float64)
    is_in = (below >= low_level) & (below <= high_level)
    inside = np.maximum(np.minimum(at, high_level) - np.maximum(below, low_level), 0.0)
    width = at - below
    return mean(np.divide(inside, width, out=is_in.astype(np.float64), where=width > 0))
