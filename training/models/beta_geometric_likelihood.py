"""The likelihood of BG/NBD and MBG/NBD over cells, with its first and second derivatives.

With c = r + x, m chances to drop out, and the log-odds of having dropped out

    o = ln a − ln(b + m − 1) + c · (ln(α+T) − ln(α+t_x)),

a cell's log-likelihood is a part that depends on x alone, − c·ln(α+T), and ln(1 + e^o) where m > 0. The derivatives of
the last are π = σ(o) and π(1 − π) times those of o.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, polygamma, psi

from training.models.maximum_likelihood import CustomerCells, Derivatives
from training.models.summary import FloatArray, IndexArray, find_levels

_CHUNK = 2048  # rows: their columns stay in the cache, and sums are too short for BLAS to wake its threads


class BetaGeometricLikelihood:
    """The log-likelihood of cells in the logarithms of (r, alpha, a, b).

    Args:
        cells: The data.
        scale_days: Days in one unit of alpha.
        chances: To drop out at the first order: 0 for BG/NBD, 1 for MBG/NBD.
    """

    def __init__(self, cells: CustomerCells, *, scale_days: float, chances: int) -> None:
        summary, self._n = cells.summary, cells.n_customers
        self._x, self._x_code = find_levels(summary.frequency)
        self._age, self._age_code = find_levels(summary.T_days)
        self._last, self._last_code = find_levels(summary.recency_days)
        self._age, self._last = self._age / scale_days, self._last / scale_days
        self._m = self._x + chances
        self._n_by_x = np.bincount(self._x_code, weights=self._n, minlength=len(self._x))

    def __call__(self, theta: FloatArray) -> Derivatives:
        """Compute value, gradient and Hessian at log parameters (4,)."""
        natural = np.exp(theta)
        value, gradient, hessian = self._of_counts(*natural)
        timing = self._tabulate(*natural)
        for start in range(0, len(self._n), _CHUNK):
            part = _of_timing(timing, self._rows(slice(start, start + _CHUNK)))
            value, gradient, hessian = value + part[0], gradient + part[1], hessian + part[2]
        slope = natural * gradient
        return Derivatives(value, slope, hessian * np.outer(natural, natural) + np.diag(slope))

    def _of_counts(self, r: float, alpha: float, a: float, b: float) -> tuple[float, FloatArray, FloatArray]:
        """Compute what depends on x alone: Γ(r+x)·α^r/Γ(r) · B(a, b+m)/B(a, b)."""
        x, m, n, total = self._x, self._m, self._n_by_x, float(self._n_by_x.sum())
        value = gammaln(r + x) - gammaln(r) + gammaln(a + b) + gammaln(b + m) - gammaln(b) - gammaln(a + b + m)
        both, stayed = psi(a + b) - psi(a + b + m), psi(b + m) - psi(b)
        both_2 = polygamma(1, a + b) - polygamma(1, a + b + m)
        stayed_2 = polygamma(1, b + m) - polygamma(1, b)
        gradient = np.array([n @ (psi(r + x) - psi(r)), total * r / alpha, n @ both, n @ (both + stayed)])
        gradient[0] += total * np.log(alpha)
        hessian = np.zeros((4, 4))
        hessian[0, 0] = n @ (polygamma(1, r + x) - polygamma(1, r))
        hessian[0, 1] = hessian[1, 0] = total / alpha
        hessian[1, 1] = -total * r / alpha**2
        hessian[2:, 2:] = n @ both_2
        hessian[3, 3] += n @ stayed_2
        return float(n @ value) + total * r * np.log(alpha), gradient, hessian

    def _tabulate(self, r: float, alpha: float, a: float, b: float) -> _Tables:
        """Compute once per level what many cells share; nobody without a chance to drop out has."""
        k = 1.0 / (b + np.maximum(self._m, 1.0) - 1.0)
        return _Tables(
            inverse_a=1.0 / a,
            c=r + self._x,
            k=k,
            log_k=np.where(self._m > 0, np.log(a * k), -np.inf),
            log_age=np.log(alpha + self._age),
            log_last=np.log(alpha + self._last),
            per_age=1.0 / (alpha + self._age),
            per_last=1.0 / (alpha + self._last),
        )

    def _rows(self, rows: slice) -> tuple[FloatArray, IndexArray, IndexArray, IndexArray]:
        return self._n[rows], self._x_code[rows], self._age_code[rows], self._last_code[rows]


@dataclass(frozen=True, slots=True)
class _Tables:
    """Values per level of x (`c`, `k`, `log_k`), of T (`…_age`) and of t_x (`…_last`)."""

    inverse_a: float
    c: FloatArray
    k: FloatArray
    log_k: FloatArray
    log_age: FloatArray
    log_last: FloatArray
    per_age: FloatArray
    per_last: FloatArray


def _of_timing(
    table: _Tables, rows: tuple[FloatArray, IndexArray, IndexArray, IndexArray]
) -> tuple[float, FloatArray, FloatArray]:
    """Compute − c·ln(α+T) + ln(1 + e^o) of some cells."""
    n, x_code, age_code, last_code = rows
    c, k, log_age, rate = table.c[x_code], table.k[x_code], table.log_age[age_code], table.per_age[age_code]
    log_ratio, rate_ratio = log_age - table.log_last[last_code], rate - table.per_last[last_code]
    odds = table.log_k[x_code] + c * log_ratio
    tail = np.exp(-np.abs(odds))
    either = 1.0 / (1.0 + tail)
    gone = np.where(odds > 0, either, tail * either)
    p = n * gone
    slopes = np.stack([log_ratio, c * rate_ratio, np.full(len(n), table.inverse_a), -k])
    value = float(n @ (np.maximum(odds, 0.0) - np.log(either) - c * log_age))
    gradient = slopes @ p
    gradient[:2] -= n @ log_age, n @ (c * rate)
    hessian = (slopes * (p * (1.0 - gone))) @ slopes.T
    # The second derivative of o by alpha is c·(1/(α+t_x)² − 1/(α+T)²).
    cross = float(p @ rate_ratio - n @ rate)
    hessian[0, 1] += cross
    hessian[1, 0] += cross
    hessian[1, 1] += float((n * rate * rate - p * rate_ratio * (2.0 * rate - rate_ratio)) @ c)
    hessian[2, 2] -= float(p.sum()) * table.inverse_a**2
    hessian[3, 3] += float(p @ (k * k))
    return value, gradient, hessian
