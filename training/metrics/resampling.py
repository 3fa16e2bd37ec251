"""Resampling: intervals of figures that were computed on many draws of customers."""

from typing import NamedTuple

import numpy as np

from training.metrics.arrays import FloatArray


class Interval(NamedTuple):
    """A bootstrap interval; both bounds are NaN where the metric was defined on no draw."""

    low: float
    high: float


def percentile_interval(values: FloatArray, *, coverage: float = 0.90) -> Interval:
    """Compute the central interval of drawn values; draws on which the metric is undefined are left out."""
    defined = values[~np.isnan(values)]
    if len(defined) == 0:
        return Interval(float("nan"), float("nan"))
    tail = 0.5 * (1.0 - coverage)
    low, high = np.quantile(defined, [tail, 1.0 - tail])
    return Interval(float(low), float(high))
