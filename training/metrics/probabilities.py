"""Proper scores of probabilities: a model does best on them by saying what it believes."""

import numpy as np
from sklearn.metrics import brier_score_loss

from training.metrics.arrays import Array, FloatArray, mean

PROBABILITY_FLOOR = 1e-15


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
    return mean(log_losses_binary(y, p))


def log_loss_multiclass(y: Array, p: Array) -> float:
    """Compute the mean of `log_losses_multiclass`."""
    return mean(log_losses_multiclass(y, p))


def brier(y: Array, p: Array) -> float:
    """Compute the mean squared difference of probability and outcome."""
    return float(brier_score_loss(y, p, pos_label=1)) if len(y) else float("nan")
