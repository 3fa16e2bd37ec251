"""Values: how far from what customers spent, each and in all."""

from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import mean_absolute_error

from training.metrics.arrays import Array, FloatArray, mean

VALUE_BINS = 10


class ValueBins(NamedTuple):
    """Equal parts of the customers by predicted value, lowest first.

    Attributes:
        observed: (n_bins,) sum of the observed values.
        predicted: (n_bins,) sum of the predicted values.
    """

    observed: FloatArray
    predicted: FloatArray


def mae(observed: Array, predicted: Array) -> float:
    """Compute the mean absolute error per customer."""
    return float(mean_absolute_error(observed, predicted)) if len(observed) else float("nan")


def tweedie_deviances(observed: Array, predicted: Array) -> FloatArray:
    """Compute each customer's Tweedie deviance of power 1.5, (n,): 4 · (√y − √μ)² / √μ.

    A proper score for the mean of values that are often 0: the absolute error is least at the median, which is 0 where
    most customers order nothing; this one is least at the mean (Jørgensen 1987, Exponential dispersion models).
    Predictions are kept at a hundredth of the mean outcome at least, because a prediction of exactly 0 would cost
    infinity. NaN where nothing was observed.
    """
    y, mean_y = np.asarray(observed, dtype=np.float64), mean(observed)
    if not mean_y > 0:
        return np.full(len(y), np.nan)
    root = np.sqrt(np.maximum(np.asarray(predicted, dtype=np.float64), 0.01 * mean_y))
    return np.asarray(4.0 * np.square(np.sqrt(y) - root) / root)


def tweedie_deviance(observed: Array, predicted: Array) -> float:
    """Compute the mean of `tweedie_deviances`."""
    return mean(tweedie_deviances(observed, predicted))


def r_squared(observed: Array, predicted: Array) -> float:
    """Compute 1 − squared error ÷ variance of the outcome; NaN where the outcome does not vary."""
    y = np.asarray(observed, dtype=np.float64)
    total = float(np.sum((y - y.mean()) ** 2)) if len(y) else 0.0
    return 1.0 - float(np.sum((y - predicted) ** 2)) / total if total > 0 else float("nan")


def relative_bias(observed: Array, predicted: Array) -> float:
    """Compute (Σ predicted − Σ observed) / Σ observed; NaN where nothing was observed."""
    total = float(np.sum(observed))
    return (float(np.sum(predicted)) - total) / total if total != 0 else float("nan")


def spearman(observed: Array, predicted: Array) -> float:
    """Compute the rank correlation, ties averaged; NaN where either side is constant."""
    ranks = [rankdata(values) - (len(values) + 1) / 2 for values in (observed, predicted)]
    norm = float(np.sqrt((ranks[0] @ ranks[0]) * (ranks[1] @ ranks[1])))
    return float(ranks[0] @ ranks[1]) / norm if norm > 0 else float("nan")


def bin_values(observed: Array, predicted: Array, *, n_bins: int = VALUE_BINS) -> ValueBins:
    """Cut the customers into equal parts by predicted value.

    A part holds n / n_bins customers, which may be a fraction; customers with tied predictions share their values
    evenly, so that the order of rows does not matter.
    """
    levels, level = np.unique(predicted, return_inverse=True)
    taken = np.append(0, np.cumsum(np.bincount(level, minlength=len(levels))))
    edges = np.arange(n_bins + 1) * taken[-1] / n_bins
    sums = [
        np.append(0.0, np.cumsum(np.bincount(level, weights=np.asarray(values, dtype=np.float64))))
        for values in (observed, predicted)
    ]
    return ValueBins(*(np.diff(np.interp(edges, taken, total)) for total in sums))


def decile_mape(observed: Array, predicted: Array, *, n_bins: int = VALUE_BINS) -> float:
    """Compute the mean of |Σ predicted − Σ observed| / Σ observed over tenths of the customers by prediction.

    Of `bin_values`, as Wang, Liu and Miao (2019), A deep probabilistic model for customer lifetime value prediction.
    Tenths without an observed value above 0 are left out; NaN where there is no other.
    """
    bins = bin_values(observed, predicted, n_bins=n_bins)
    seen = bins.observed > 0
    return mean(np.abs(bins.predicted[seen] - bins.observed[seen]) / bins.observed[seen])
