"""Fit order timing where customers order at regular intervals."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import betaincc, betaln, gammaln

from training.models.mbg_nbd import MbgNbd
from training.models.regular_nbd import RegularNbd
from training.models.summary import FloatArray, PurchaseSummary, find_cells

MIN_K = 4  # below it silence says hardly more than the models of random timing hear in it
_PRIOR = 0.1  # weight of the squared distance from the start: far less than a customer's, against ridges
_STARTS = np.log([0.5, 0.5, 0.5, 1.5])


def fit_regular(summary: PurchaseSummary, timing: MbgNbd, *, k: int) -> RegularNbd:
    """Fit MBG/CNBD-k by maximum likelihood, of a given k; the orders of the living are counted as `timing` does.

    With λ ~ Gamma(r + kx, α + t_x) after the last order, m = x + 1 chances to drop out and S as in `RegularNbd`:

        log L = log Γ(r+kx) − log Γ(r) + r·log α − (r+kx)·log(α+t_x)
                + log[B(a, b+m)·S(T−t_x) + B(a+1, b+m−1)] − log B(a, b)   (Reutterer, Platzer and Schröder 2021).
    """
    cells = find_cells(summary.frequency, summary.recency_days, summary.T_days)
    one, weight = summary.take(cells.first), cells.counts / len(summary)
    scale_days = float(summary.T_days.mean())
    x, t_x, age = one.frequency, one.recency_days / scale_days, one.T_days / scale_days

    def loss(theta: FloatArray) -> float:
        r, alpha, a, b = np.exp(np.clip(theta, -12.0, 12.0))
        c, w = r + k * x, (age - t_x) / (alpha + t_x)
        silent = np.maximum(betaincc(k, c, w / (1.0 + w)), 1e-12)
        dropout = np.logaddexp(betaln(a, b + x + 1.0) + np.log(silent), betaln(a + 1.0, b + x)) - betaln(a, b)
        rate = gammaln(c) - gammaln(r) + r * np.log(alpha) - c * np.log(alpha + t_x)
        return -float(weight @ (rate + dropout)) + _PRIOR / len(summary) * float(np.sum((theta - _STARTS) ** 2))

    found = minimize(loss, _STARTS, method="Nelder-Mead", options={"maxiter": 1500, "xatol": 1e-3, "fatol": 1e-7})
    r, alpha, a, b = np.exp(np.clip(found.x, -12.0, 12.0)).tolist()
    unit = scale_days / timing.time_unit_days
    return RegularNbd(timing.r, timing.alpha, a, b, float(k), r, alpha * unit, time_unit_days=timing.time_unit_days)
