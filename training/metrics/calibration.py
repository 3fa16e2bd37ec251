"""Calibration: does what was given 20 % come in 20 of 100 cases?

Bins are 10 of equal width, [0, .1), …, [.9, 1], in every figure here. With n_k customers in bin k, their mean
probability p̄_k, their share of outcomes ȳ_k, and ȳ of all N (Murphy 1973, A new vector partition of the probability
score; within bins Stephenson, Coelho and Jolliffe 2008, Two extra components in the Brier score decomposition):

    brier = reliability − resolution + uncertainty + within bins
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from training.metrics.arrays import Array, FloatArray, mean

CALIBRATION_BINS = 10


class ReliabilityBins(NamedTuple):
    """Equal-width probability bins that hold customers.

    Attributes:
        mean_p: (n_bins,) mean predicted probability.
        share: (n_bins,) observed share of outcomes.
        n_customers: (n_bins,) customers.
    """

    mean_p: FloatArray
    share: FloatArray
    n_customers: npt.NDArray[np.intp]


def bin_probabilities(y: Array, p: Array, *, n_bins: int = CALIBRATION_BINS) -> ReliabilityBins:
    """Sort customers into equal-width bins of `p`: [0, 1/n), …, [1 − 1/n, 1]. Empty bins are left out."""
    bins = _bin_numbers(p, n_bins)
    count = np.bincount(bins, minlength=n_bins)
    used = count > 0
    mean_p = np.bincount(bins, weights=np.asarray(p, dtype=np.float64), minlength=n_bins)[used] / count[used]
    share = np.bincount(bins, weights=np.asarray(y, dtype=np.float64), minlength=n_bins)[used] / count[used]
    return ReliabilityBins(mean_p, share, count[used])


def expected_calibration_error(y: Array, p: Array) -> float:
    """Compute the mean gap of predicted and observed share over 10 equal-width bins, weighted by customers."""
    if len(y) == 0:
        return float("nan")
    bins = bin_probabilities(y, p)
    return float(np.average(np.abs(bins.mean_p - bins.share), weights=bins.n_customers))


def calibration_in_the_large(y: Array, p: Array) -> float:
    """Compute mean(p) − mean(y): above 0, the outcome is predicted more often than it comes."""
    return mean(p) - mean(y)


def brier_reliability(y: Array, p: Array) -> float:
    """Compute Σ n_k/N · (p̄_k − ȳ_k)²: what miscalibration costs, 0 at best."""
    if len(y) == 0:
        return float("nan")
    bins = bin_probabilities(y, p)
    return float(np.average(np.square(bins.mean_p - bins.share), weights=bins.n_customers))


def brier_resolution(y: Array, p: Array) -> float:
    """Compute Σ n_k/N · (ȳ_k − ȳ)²: what telling customers apart gains, `brier_uncertainty` at best."""
    if len(y) == 0:
        return float("nan")
    bins = bin_probabilities(y, p)
    return float(np.average(np.square(bins.share - mean(y)), weights=bins.n_customers))


def brier_uncertainty(y: Array, _p: Array) -> float:
    """Compute ȳ · (1 − ȳ): the Brier score of giving everyone the base rate."""
    share = mean(y)
    return share * (1.0 - share)


def brier_within_bins(y: Array, p: Array) -> float:
    """Compute 1/N · Σ_k Σ_j [(p_kj − p̄_k)² − 2 (p_kj − p̄_k)(y_kj − ȳ_k)]: what the bins hide.

    The variance of the probabilities within their bins, less twice their covariance with the outcome: below 0 where
    probabilities tell customers of the same bin apart.
    """
    if len(y) == 0:
        return float("nan")
    bins = _bin_numbers(p, CALIBRATION_BINS)
    p_off, y_off = _from_bin_mean(p, bins), _from_bin_mean(y, bins)
    return float(np.mean(p_off * (p_off - 2.0 * y_off)))


def _bin_numbers(p: Array, n_bins: int) -> npt.NDArray[np.intp]:
    return np.clip((np.asarray(p, dtype=np.float64) * n_bins).astype(np.intp), 0, n_bins - 1)


def _from_bin_mean(values: Array, bins: npt.NDArray[np.intp]) -> FloatArray:
    value = np.asarray(values, dtype=np.float64)
    return np.asarray(value - (np.bincount(bins, weights=value) / np.maximum(np.bincount(bins), 1))[bins])
