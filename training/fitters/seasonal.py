"""Fit order timing where customers come in one season and are silent for the rest of the year."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln

from training.fitters.plain_customers import add_plain_customers
from training.models.habits import Season
from training.models.seasonal_nbd import NO_DROPOUT, SeasonalNbd
from training.models.summary import FloatArray, PurchaseSummary
from training.models.timing import DEFAULT_TIME_UNIT_DAYS

_BOUNDS = np.log([(0.05, 50.0), (1e-3, 1e3)])  # r, and alpha in mean ages


def fit_seasonal(summary: PurchaseSummary, season: Season) -> SeasonalNbd:
    """Fit the negative binomial by maximum likelihood to the customers and ten plain ones, without dropout.

    With T in mean ages of the season's time:

        log L = log Γ(r+x) − log Γ(r) + r·log(α/(α+T)) + x·log(T/(α+T))   (Ehrenberg 1959).

    The plain customers keep the likelihood from running off where all customers are alike.
    """
    joined = add_plain_customers(season.warp(summary))
    scale_days = float(joined.T_days.mean())
    x, age = joined.frequency, joined.T_days / scale_days

    def loss(theta: FloatArray) -> float:
        r, alpha = np.exp(theta)
        log_likelihood = (
            gammaln(r + x) - gammaln(r) + r * np.log(alpha / (alpha + age)) + x * np.log(age / (alpha + age))
        )
        return -float(log_likelihood.mean())

    found = minimize(loss, np.log([0.5, 0.5]), method="L-BFGS-B", bounds=_BOUNDS)
    r, alpha = np.exp(found.x).tolist()
    unit = scale_days / DEFAULT_TIME_UNIT_DAYS
    return SeasonalNbd(r, alpha * unit, *NO_DROPOUT, season.start, season.days, season.share)
