"""Ranking: are the customers to whom it happened at the top? Tied scores share evenly; the order of rows is nothing."""

import numpy as np
from scipy.stats import rankdata

from training.metrics.arrays import Array, FloatArray, mean

TOP_SHARE = 0.10


def auc(y: Array, score: Array) -> float:
    """Compute the area under the ROC curve as the Mann-Whitney statistic; NaN where only one class is present."""
    is_positive = np.asarray(y) > 0
    n_positive = int(is_positive.sum())
    n_negative = len(is_positive) - n_positive
    if n_positive == 0 or n_negative == 0:
        return float("nan")
    rank_sum = float(rankdata(score)[is_positive].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def pr_auc(y: Array, score: Array) -> float:
    """Compute the average precision Σ (R_i − R_{i−1}) · P_i over distinct scores, best first; NaN without a positive.

    Its floor is `base_rate`, not 0: what scores drawn at random reach.
    """
    taken, caught = _count_by_score(np.asarray(y) > 0, score)
    if not len(caught) or caught[-1] == 0:
        return float("nan")
    return float(np.diff(caught, prepend=0.0) @ (caught / taken)) / float(caught[-1])


def base_rate(y: Array, _score: Array) -> float:
    """Compute the share of customers to whom it happened: the floor of `pr_auc`, to print beside it."""
    return mean(np.asarray(y) > 0)


def recall_at(outcome: Array, score: Array, *, share: float) -> float:
    """Compute the share of all outcome among the top `share` of customers by score; NaN where nothing was observed.

    Customers with tied scores share their outcome evenly, so that the order of rows does not matter.
    A share of n is fractional where it is not a whole number.
    """
    if not len(outcome):
        return float("nan")
    return float(np.interp(share, *gain_curve(outcome, score)))


def precision_at(y: Array, score: Array, *, share: float) -> float:
    """Compute the share of positives among the top `share` of customers by score, ties shared evenly; NaN of nobody."""
    positive = np.asarray(y) > 0
    if not positive.any():
        return mean(positive)
    return recall_at(positive, score, share=share) * mean(positive) / share


def top_decile_share(outcome: Array, score: Array) -> float:
    """Compute `recall_at` a tenth of the customers; NaN where nothing was observed."""
    return recall_at(outcome, score, share=TOP_SHARE)


def top_decile_lift(outcome: Array, score: Array) -> float:
    """Compute how much more outcome the top tenth by score holds than a tenth drawn at random."""
    return top_decile_share(outcome, score) / TOP_SHARE


def gain_curve(outcome: Array, score: Array) -> tuple[FloatArray, FloatArray]:
    """Compute the share of outcome caught against the share of customers taken, best scores first.

    Returns:
        Two arrays from 0 to 1, one point per distinct score after the origin; nothing observed is NaN caught.
    """
    taken, caught = _count_by_score(outcome, score)
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


def _gini(outcome: Array, score: Array) -> float:
    customers, caught = gain_curve(outcome, score)
    return 2.0 * float(np.trapezoid(caught, customers)) - 1.0


def _count_by_score(outcome: Array, score: Array) -> tuple[FloatArray, FloatArray]:
    """Return the customers taken, and the outcome caught, down to each distinct score, best first."""
    distinct, level = np.unique(-np.asarray(score, dtype=np.float64), return_inverse=True)
    taken = np.bincount(level, minlength=len(distinct)).astype(np.float64)
    caught = np.bincount(level, weights=np.asarray(outcome, dtype=np.float64), minlength=len(distinct))
    return np.cumsum(taken), np.cumsum(caught)
