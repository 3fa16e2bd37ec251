"""Classes that have an order, as stages of activity have: a near miss costs less than a far one."""

import numpy as np

from training.metrics.arrays import Array, FloatArray, mean


def ranked_probability_scores(y: Array, p: Array) -> FloatArray:
    """Compute each customer's Σ_j (P(Y ≤ j) − 1[y ≤ j])² / (k − 1), (n,), j over the first k − 1 classes.

    A proper score from 0 to 1 (Epstein 1969, A scoring system for probability forecasts of ranked categories; divided
    as Murphy 1971). For two classes it is the Brier score. NaN where there is one class only.

    Args:
        y: (n,) class numbers.
        p: (n, k) probabilities, whose columns stand in the order of the classes.
    """
    p_at_most = np.cumsum(np.asarray(p, dtype=np.float64), axis=1)[:, :-1]
    n_thresholds = p_at_most.shape[1]
    if n_thresholds == 0:
        return np.full(len(p_at_most), np.nan)
    came = np.asarray(y, dtype=np.intp)[:, None] <= np.arange(n_thresholds)
    return np.asarray(np.square(p_at_most - came).sum(axis=1) / n_thresholds)


def ranked_probability_score(y: Array, p: Array) -> float:
    """Compute the mean of `ranked_probability_scores`."""
    return mean(ranked_probability_scores(y, p))
