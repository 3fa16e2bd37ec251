"""The likelihood of Pareto/NBD over cells, with its first and second derivatives.

A cell's likelihood is a sum over times of death, "not yet" among them. With π the share of each in the sum and g, H the
derivatives of its logarithm, the derivatives of the whole are E_π[g] and E_π[H + g·gᵀ] − E_π[g]·E_π[g]ᵀ.
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln, polygamma, psi

from training.models.death_quadrature import N_NODES, build_death_nodes
from training.models.maximum_likelihood import CustomerCells, Derivatives
from training.models.summary import FloatArray

_CHUNK = 200_000 // N_NODES


class ParetoLikelihood:
    """The log-likelihood of cells in the logarithms of (r, alpha, s, beta).

    Args:
        cells: The data.
        scale_days: Days in one unit of alpha and beta.
    """

    def __init__(self, cells: CustomerCells, *, scale_days: float) -> None:
        self._x, self._n = cells.summary.frequency, cells.n_customers
        self._t_x = cells.summary.recency_days / scale_days
        self._age = cells.summary.T_days / scale_days
        self._levels, code = np.unique(self._x, return_inverse=True)
        self._n_by_level = np.bincount(code, weights=self._n)

    def __call__(self, theta: FloatArray) -> Derivatives:
        """Compute value, gradient and Hessian at log parameters (4,)."""
        natural = np.exp(theta)
        value, gradient, hessian = self._of_constants(*natural)
        for start in range(0, len(self._x), _CHUNK):
            part = self._of_deaths(slice(start, start + _CHUNK), *natural)
            value, gradient, hessian = value + part[0], gradient + part[1], hessian + part[2]
        slope = natural * gradient
        return Derivatives(value, slope, hessian * np.outer(natural, natural) + np.diag(slope))

    def _of_constants(self, r: float, alpha: float, s: float, beta: float) -> tuple[float, FloatArray, FloatArray]:
        x, n, total = self._levels, self._n_by_level, float(self._n.sum())
        value = float(n @ (gammaln(r + x) - gammaln(r))) + total * (r * np.log(alpha) + s * np.log(beta))
        slope_r = float(n @ (psi(r + x) - psi(r))) + total * np.log(alpha)
        gradient = np.array([slope_r, total * r / alpha, total * np.log(beta), total * s / beta])
        hessian = np.diag([0.0, -r / alpha**2, 0.0, -s / beta**2]) * total
        hessian[0, 0] = n @ (polygamma(1, r + x) - polygamma(1, r))
        hessian[0, 1] = hessian[1, 0] = total / alpha
        hessian[2, 3] = hessian[3, 2] = total / beta
        return value, gradient, hessian

    def _of_deaths(
        self, rows: slice, r: float, alpha: float, s: float, beta: float
    ) -> tuple[float, FloatArray, FloatArray]:
        n, age, c = self._n[rows], self._age[rows][:, None], r + self._x[rows]
        nodes = build_death_nodes(c, s, alpha=alpha, beta=beta, low=self._t_x[rows], high=self._age[rows])
        tau = np.hstack([age, nodes.tau])
        is_death = np.arange(N_NODES + 1) > 0
        log_alive = -c[:, None] * np.log(alpha + age) - s * np.log(beta + age)
        log_term = np.hstack([log_alive, np.log(s) + nodes.log_term])
        top = log_term.max(axis=1, keepdims=True)
        share = np.exp(log_term - top)
        total = share.sum(axis=1, keepdims=True)
        share /= total
        by_alpha, by_beta = 1.0 / (alpha + tau), 1.0 / (beta + tau)
        power = s + is_death
        slopes = np.stack(
            [-np.log(alpha + tau), -c[:, None] * by_alpha, is_death / s - np.log(beta + tau), -power * by_beta]
        )
        weighted = share * n[:, None]
        mean = np.einsum("jnk,nk->jn", slopes, share)
        hessian = np.einsum("ink,jnk,nk->ij", slopes, slopes, weighted, optimize=True) - (mean * n) @ mean.T
        bends = np.zeros((4, 4))
        bends[0, 1] = bends[1, 0] = -float((weighted * by_alpha).sum())
        bends[1, 1] = float((weighted * by_alpha**2 * c[:, None]).sum())
        bends[2, 2] = -float(weighted[:, 1:].sum()) / s**2
        bends[2, 3] = bends[3, 2] = -float((weighted * by_beta).sum())
        bends[3, 3] = float((weighted * by_beta**2 * power).sum())
        value = float(n @ (top + np.log(total))[:, 0])
        return value, mean @ n, hessian + bends
