"""Integrals over the unknown time of death, as every formula of Pareto/NBD has them.

    ∫ (alpha + τ)^−c · (beta + τ)^−(s+1) dτ.

The papers write them with 2F1, which overflows for heavy buyers and loses digits where alpha = beta. The integrand is
positive and smooth in u = ln((m + τ)/(m + lo)), m = min(alpha, beta), where it falls at least like e^(−ku): Gauss's
rule on the part above e^−40 gives about 13 digits, in logarithms throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from training.models.summary import FloatArray

N_NODES = 48
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(N_NODES)
_CHUNK = 10_000  # integrals at a time
_NEGLIGIBLE = 40.0  # exponents: e^−40 of the largest


@dataclass(frozen=True, slots=True)
class DeathNodes:
    """Times of death to sum over.

    Attributes:
        tau: (n, n_panels · N_NODES) times.
        log_term: (n, n_panels · N_NODES) logarithm of each time's share of the integral.
    """

    tau: FloatArray
    log_term: FloatArray


def log_death_integral(
    c: FloatArray, s: float, *, alpha: float, beta: float, low: FloatArray, high: FloatArray
) -> FloatArray:
    """Compute the logarithm of the integral, (n,); −∞ over an empty interval. Arguments as `build_death_nodes`."""
    result = np.empty(len(c))
    for start in range(0, len(c), _CHUNK):
        part = slice(start, start + _CHUNK)
        nodes = build_death_nodes(c[part], s, alpha=alpha, beta=beta, low=low[part], high=high[part])
        result[part] = logsumexp(nodes.log_term, axis=1)
    return result


def build_death_nodes(
    c: FloatArray, s: float, *, alpha: float, beta: float, low: FloatArray, high: FloatArray, n_panels: int = 1
) -> DeathNodes:
    """Build the nodes for exponents c (n,) and s + 1 ≥ 0, over [low, high] (n,), in panels of equal length of u."""
    offset = min(alpha, beta)
    start = offset + low
    falls = c * start / (alpha + low) + (s + 1.0) * start / (beta + low) - 1.0
    span = np.log1p((high - low) / start)
    with np.errstate(divide="ignore"):
        span = np.where(falls > 0, np.minimum(span, _NEGLIGIBLE / falls), span)
    positions = (np.arange(n_panels)[:, None] + 0.5 * (1.0 + _NODES)).ravel() / n_panels
    u = span[:, None] * positions
    tau = low[:, None] + start[:, None] * np.expm1(u)
    with np.errstate(divide="ignore"):
        log_weight = np.log(span[:, None] * np.tile(0.5 * _WEIGHTS / n_panels, n_panels))
    log_term = log_weight + np.log(start)[:, None] + u
    log_term -= c[:, None] * np.log(alpha + tau) + (s + 1.0) * np.log(beta + tau)
    return DeathNodes(tau, log_term)
