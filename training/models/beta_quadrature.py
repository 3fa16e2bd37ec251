"""Gauss-Jacobi quadrature: expectations over the beta-distributed dropout probability of the purchase models."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.linalg import eigh_tridiagonal

from training.models.summary import FloatArray

_SMALLEST_NODE = 1e-18


@dataclass(frozen=True, slots=True)
class BetaNodes:
    """Nodes in (0, 1] and weights that sum to 1; one row per beta distribution.

    Attributes:
        p: (k, n_nodes) nodes.
        weight: (k, n_nodes) weights: E[f(P)] ≈ Σ weight · f(p).
    """

    p: FloatArray
    weight: FloatArray


def build_beta_nodes(a: float, b: FloatArray, *, n_nodes: int) -> BetaNodes:
    """Build the nodes for P ~ Beta(a, b_i), one row per element of `b`."""
    rows = [_solve(float(a), float(second), n_nodes) for second in b]
    return BetaNodes(p=np.array([p for p, _ in rows]), weight=np.array([weight for _, weight in rows]))


@lru_cache(maxsize=4096)
def _solve(a: float, b: float, n_nodes: int) -> tuple[FloatArray, FloatArray]:
    """Find nodes and weights as Golub and Welsch (1969) do.

    The nodes are the eigenvalues of the Jacobi matrix of the orthogonal polynomials, the weights the squared first
    components of its eigenvectors: they sum to 1 by themselves, and no beta function is there to overflow.
    """
    diagonal, beside = _jacobi_matrix(a, b, n_nodes)
    p, vectors = eigh_tridiagonal(diagonal, beside, lapack_driver="stemr")
    weight = vectors[0] ** 2
    weight /= weight.sum()
    p = np.clip(p, _SMALLEST_NODE, 1.0)
    for shared in (p, weight):
        shared.setflags(write=False)
    return p, weight


def _jacobi_matrix(a: float, b: float, n_nodes: int) -> tuple[FloatArray, FloatArray]:
    """Compute the diagonal (n_nodes,) and its neighbour (n_nodes − 1,) for the weight p^(a−1) (1−p)^(b−1)."""
    k = np.arange(1, n_nodes, dtype=np.float64)
    step = 2.0 * (k - 1.0) + (a + b)
    diagonal = np.empty(n_nodes)
    diagonal[0] = a / (a + b)
    diagonal[1:] = 0.5 * (1.0 + (a - b) / step * ((a + b - 2.0) / (step + 2.0)))
    square = k / (step + 1.0) * ((k - 1.0 + a) / step) * ((k - 1.0 + b) / step)
    # The last factor is 1 for k = 1, where its two terms can vanish together.
    square[1:] *= (k[1:] - 2.0 + (a + b)) / (step[1:] - 1.0)
    return diagonal, np.sqrt(square)
