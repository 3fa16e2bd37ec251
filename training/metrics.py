"""How good predictions are: pure functions on arrays, one element per customer.

`y` is the outcome (1 where it happened), `p` its predicted probability. A metric that is undefined on the data
(AUC with one class, a bias relative to nothing) is NaN, and the caller says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata
from sklearn.metrics import brier_score_loss, mean_absolute_error

FloatArray = npt.NDArray[np.float64]
Array = npt.NDArray[Any]

PROBABILITY_FLOOR = 1e-15
CALIBRATION_BINS = 10
VALUE_BINS = 10
TOP_SHARE = 0.10


class Interval(NamedTuple):
    """A bootstrap interval; both bounds are NaN where the metric was defined on no draw."""

    low: float
    high: float


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


class ValueBins(NamedTuple):
    """Equal parts of the customers by predicted value, lowest first.

    Attributes:
        observed: (n_bins,) sum of the observed values.
        predicted: (n_bins,) sum of the predicted values.
    """

    observed: FloatArray
    predicted: FloatArray


def auc(y: Array, score: Array) -> float:
    """Compute the area under the ROC curve as the Mann-Whitney statistic; NaN where only one class is present."""
    is_positive = np.asarray(y) > 0
    n_positive = int(is_positive.sum())
    n_negative = len(is_positive) - n_positive
    if n_positive == 0 or n_negative == 0:
        return float("nan")
    rank_sum = float(rankdata(score)[is_positive].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def log_losses_binary(y: Array, p: Array) -> FloatArray:
    """Compute each customer's negative log-likelihood of a yes-or-no outcome, (n,), probabilities clipped at 1e-15."""
    clipped = np.clip(np.asarray(p, dtype=np.float64), PROBABILITY_FLOOR, 1.0 - PROBABILITY_FLOOR)
    return -np.where(np.asarray(y) > 0, np.log(clipped), np.log1p(-clipped))


def log_losses_multiclass(y: Array, p: Array) -> FloatArray:
    """Compute each customer's negative log-likelihood, (n,), of class numbers `y` (n,) under `p` (n, k)."""
    classes = np.asarray(y, dtype=np.intp)
    chosen = np.asarray(p, dtype=np.float64)[np.arange(len(classes)), classes]
    return np.asarray(-np.log(np.clip(chosen, PROBABILITY_FLOOR, 1.0)))


def log_loss_binary(y: Array, p: Array) -> float:
    """Compute the mean of `log_losses_binary`."""
    return _mean(log_losses_binary(y, p))


def log_loss_multiclass(y: Array, p: Array) -> float:
    """Compute the mean of `log_losses_multiclass`."""
    return _mean(log_losses_multiclass(y, p))


def brier(y: Array, p: Array) -> float:
    """Compute the mean squared difference of probability and outcome."""
    return float(brier_score_loss(y, p, pos_label=1)) if len(y) else float("nan")


def bin_probabilities(y: Array, p: Array, *, n_bins: int = CALIBRATION_BINS) -> ReliabilityBins:
    """Sort customers into equal-width bins of `p`: [0, 1/n), …, [1 − 1/n, 1]. Empty bins are left out."""
    probabilities = np.asarray(p, dtype=np.float64)
    bins = np.clip((probabilities * n_bins).astype(np.intp), 0, n_bins - 1)
    count = np.bincount(bins, minlength=n_bins)
    used = count > 0
    mean_p = np.bincount(bins, weights=probabilities, minlength=n_bins)[used] / count[used]
    share = np.bincount(bins, weights=np.asarray(y, dtype=np.float64), minlength=n_bins)[used] / count[used]
    return ReliabilityBins(mean_p, share, count[used])


def expected_calibration_error(y: Array, p: Array) -> float:
    """Compute the mean gap of predicted and observed share over 10 equal-width bins, weighted by customers."""
    if len(y) == 0:
        return float("nan")
    bins = bin_probabilities(y, p)
    return float(np.average(np.abs(bins.mean_p - bins.share), weights=bins.n_customers))


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
    y, mean = np.asarray(observed, dtype=np.float64), _mean(observed)
    if not mean > 0:
        return np.full(len(y), np.nan)
    root = np.sqrt(np.maximum(np.asarray(predicted, dtype=np.float64), 0.01 * mean))
    return np.asarray(4.0 * np.square(np.sqrt(y) - root) / root)


def tweedie_deviance(observed: Array, predicted: Array) -> float:
    """Compute the mean of `tweedie_deviances`."""
    return _mean(tweedie_deviances(observed, predicted))


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
    return _mean(np.abs(bins.predicted[seen] - bins.observed[seen]) / bins.observed[seen])


def top_decile_share(outcome: Array, score: Array) -> float:
    """Compute the share of all outcome caught in the tenth of customers with the highest scores.

    Customers with tied scores share their outcome evenly, so that the order of rows does not matter.
    A tenth of n is fractional where n is not a multiple of 10. NaN where nothing was observed.
    """
    total = float(np.sum(outcome))
    if total == 0:
        return float("nan")
    customers, caught = gain_curve(outcome, score)
    return float(np.interp(TOP_SHARE, customers, caught))


def top_decile_lift(outcome: Array, score: Array) -> float:
    """Compute how much more outcome the top tenth by score holds than a tenth drawn at random."""
    return top_decile_share(outcome, score) / TOP_SHARE


def gain_curve(outcome: Array, score: Array) -> tuple[FloatArray, FloatArray]:
    """Compute the share of outcome caught against the share of customers taken, best scores first.

    Returns:
        Two arrays from 0 to 1, one point per distinct score after the origin; nothing observed is NaN caught.
    """
    distinct, inverse = np.unique(-np.asarray(score, dtype=np.float64), return_inverse=True)
    taken = np.cumsum(np.bincount(inverse, minlength=len(distinct)))
    caught = np.cumsum(np.bincount(inverse, weights=np.asarray(outcome, dtype=np.float64), minlength=len(distinct)))
    share_caught = caught / caught[-1] if caught[-1] > 0 else np.full(len(caught), np.nan)
    return np.append(0.0, taken / taken[-1]), np.append(0.0, share_caught)


def normalised_gini(observed: Array, predicted: Array) -> float:
    """Compute the Gini coefficient of the gain curve ÷ that of the perfect order: 1 is perfect, 0 is chance.

    For an outcome of 0 and 1 it is 2 · AUC − 1. NaN where nothing was observed, or the same of everyone.
    """
    if not np.sum(observed) > 0:
        return float("nan")
    perfect = _gini(observed, observed)
    return _gini(observed, predicted) / perfect if perfect > 0 else float("nan")


def interval_coverage(observed: Array, low: Array, high: Array) -> float:
    """Compute the share of outcomes inside their intervals, bounds included."""
    return _mean((np.asarray(observed) >= low) & (np.asarray(observed) <= high))


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
    return _mean(np.divide(inside, width, out=is_in.astype(np.float64), where=width > 0))


def bootstrap_means(losses: FloatArray, *, n_samples: int, seed: int) -> FloatArray:
    """Draw customers whole, and compute every model's mean loss on each draw.

    Each draw takes the same customers for all models, so that in a difference what makes a draw hard cancels.

    Args:
        losses: Shape (n, n_models), one row per customer.
        n_samples: Draws.
        seed: Of the draws.

    Returns:
        Shape (n_samples, n_models).
    """
    n = len(losses)
    return np.array([weights @ losses / n for weights in _draw_weights(n, n_samples, seed)])


def bootstrap_auc(y: Array, score: Array, *, n_samples: int, seed: int) -> FloatArray:
    """Draw customers whole, and compute the AUC on each draw, (n_samples,); NaN where a draw has one class only."""
    levels, level = np.unique(score, return_inverse=True)
    is_positive = np.asarray(y) > 0
    found = []
    for weights in _draw_weights(len(is_positive), n_samples, seed):
        positive = np.bincount(level, weights=weights * is_positive, minlength=len(levels))
        negative = np.bincount(level, weights=weights * ~is_positive, minlength=len(levels))
        pairs = positive.sum() * negative.sum()
        below = np.cumsum(negative) - negative / 2
        found.append(float(positive @ below) / pairs if pairs > 0 else np.nan)
    return np.array(found)


def percentile_interval(values: FloatArray, *, coverage: float = 0.90) -> Interval:
    """Compute the central interval of drawn values; draws on which the metric is undefined are left out."""
    defined = values[~np.isnan(values)]
    if len(defined) == 0:
        return Interval(float("nan"), float("nan"))
    tail = 0.5 * (1.0 - coverage)
    low, high = np.quantile(defined, [tail, 1.0 - tail])
    return Interval(float(low), float(high))


def _gini(outcome: Array, score: Array) -> float:
    customers, caught = gain_curve(outcome, score)
    return 2.0 * float(np.trapezoid(caught, customers)) - 1.0


def _draw_weights(n: int, n_samples: int, seed: int) -> Iterator[FloatArray]:
    """Yield how often each of n customers is in a draw of n, one draw at a time."""
    rng = np.random.default_rng(seed)
    for _ in range(n_samples if n else 0):
        yield np.bincount(rng.integers(0, n, size=n), minlength=n).astype(np.float64)


def _mean(values: Array) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
