"""The likelihood of Gamma-Gamma over cells, with its first and second derivatives."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln, polygamma, psi

from training.models.maximum_likelihood import CustomerCells, Derivatives
from training.models.summary import FloatArray


class GammaGammaLikelihood:
    """The log-likelihood of cells in the logarithms of (p, q, v).

    Args:
        cells: Customers whose repeat orders have a positive mean value.
        scale: Currency units in one unit of v.
    """

    def __init__(self, cells: CustomerCells, *, scale: float) -> None:
        self._n, self._x_of, m = cells.n_customers, cells.summary.frequency, cells.summary.monetary_value / scale
        self._x, code = np.unique(self._x_of, return_inverse=True)
        self._n_by_x = np.bincount(code, weights=self._n)
        self._spent = self._x_of * m
        self._log_m = float(self._n @ np.log(m))
        self._log_spent_x = float(self._n @ (self._x_of * np.log(self._spent)))

    def __call__(self, theta: FloatArray) -> Derivatives:
        """Compute value, gradient and Hessian at log parameters (3,)."""
        natural = np.exp(theta)
        of_counts, of_spending = self._of_counts(*natural), self._of_spending(*natural)
        slope = natural * (of_counts.gradient + of_spending.gradient)
        hessian = (of_counts.hessian + of_spending.hessian) * np.outer(natural, natural) + np.diag(slope)
        return Derivatives(of_counts.value + of_spending.value, slope, hessian)

    def _of_counts(self, p: float, q: float, v: float) -> Derivatives:
        """Compute Γ(px+q) / (Γ(px)·Γ(q)) · v^q · (xm)^(px) / m."""
        x, n, total = self._x, self._n_by_x, float(self._n_by_x.sum())
        value = n @ (gammaln(p * x + q) - gammaln(p * x) - gammaln(q)) + total * q * np.log(v)
        both, both_2 = psi(p * x + q), polygamma(1, p * x + q)
        gradient = np.array(
            [
                n @ (x * (both - psi(p * x))) + self._log_spent_x,
                n @ (both - psi(q)) + total * np.log(v),
                total * q / v,
            ]
        )
        hessian = np.zeros((3, 3))
        hessian[0, 0] = n @ (x**2 * (both_2 - polygamma(1, p * x)))
        hessian[0, 1] = hessian[1, 0] = n @ (x * both_2)
        hessian[1, 1] = n @ both_2 - total * polygamma(1, q)
        hessian[1, 2] = hessian[2, 1] = total / v
        hessian[2, 2] = -total * q / v**2
        return Derivatives(float(value) + p * self._log_spent_x - self._log_m, gradient, hessian)

    def _of_spending(self, p: float, q: float, v: float) -> Derivatives:
        """Compute (xm + v)^−(px+q)."""
        x, n, power = self._x_of, self._n, p * self._x_of + q
        log_sum, rate = np.log(self._spent + v), 1.0 / (self._spent + v)
        gradient = -np.array([n @ (x * log_sum), n @ log_sum, n @ (power * rate)])
        hessian = np.zeros((3, 3))
        hessian[0, 2] = hessian[2, 0] = -(n @ (x * rate))
        hessian[1, 2] = hessian[2, 1] = -(n @ rate)
        hessian[2, 2] = n @ (power * rate**2)
        return Derivatives(-float(n @ (power * log_sum)), gradient, hessian)
