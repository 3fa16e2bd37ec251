"""The BG/NBD model of order timing.

Fader, Hardie and Lee (2005), "Counting Your Customers" the Easy Way, Marketing Science 24(2), 275-284.
While alive, a customer orders as a Poisson process of rate λ ~ Gamma(r, alpha); after each order the customer
drops out with probability p ~ Beta(a, b). The symbols are the paper's: x frequency, t_x recency, T age.

The conditional expectation (their eq. 10) is evaluated before its last integration, over p given that the
customer is alive at T, where λ ~ Gamma(r + x, alpha + T) and p ~ Beta(a, b + x):

    E[Y(t) | alive] = E_p[(1 − (1 + p·w)^−(r+x)) / p],   w = t / (alpha + T).

Every term is positive, so that neither a = 1, nor a + b + x = 1, nor a large x loses digits as the 2F1 form does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
from scipy.special import expit, gammaln

from training.models.beta_quadrature import BetaNodes, build_beta_nodes
from training.models.summary import FloatArray, IndexArray, PurchaseSummary, find_cells

_NODE_COUNTS = (8, 16, 32, 64, 128, 256)
_CHUNK_ELEMENTS = 1_000_000


@dataclass(frozen=True, slots=True)
class AliveOrders:
    """Orders still to come from customers who are alive at the cutoff, per cell of equal (frequency, T).

    Attributes:
        inverse: (n,) the cell of each customer; `expected[inverse]` spreads over customers.
        expected: (n_cells, k) E[Y(t) | alive] to each of k ends.
        factorial: (n_cells, k) E[Y(t)·(Y(t) − 1) | alive].
        p_order: (n_cells, k) P(Y(t) ≥ 1 | alive).
    """

    inverse: IndexArray
    expected: FloatArray
    factorial: FloatArray
    p_order: FloatArray


@dataclass(frozen=True, slots=True)
class BgNbd:
    """Parameters of the BG/NBD model, in time units of `time_unit_days`.

    Attributes:
        r: Shape of the gamma distribution of order rates.
        alpha: Rate of that distribution, in time units.
        a: First parameter of the beta distribution of dropout probabilities.
        b: Second parameter of that distribution.
        time_unit_days: Days in one time unit; 7 makes it weeks.

    Raises:
        ValueError: A parameter is not finite or not positive.
    """

    r: float
    alpha: float
    a: float
    b: float
    time_unit_days: float = 7.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"BG/NBD parameter {name} must be finite and above 0, got {value}.")

    def to_dict(self) -> dict[str, float]:
        """Return the parameters as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, parameters: Mapping[str, float]) -> Self:
        """Restore a model from `to_dict`."""
        return cls(**{name: float(value) for name, value in parameters.items()})

    def log_likelihood(self, summary: PurchaseSummary) -> FloatArray:
        """Compute each customer's log-likelihood, (n,), in time units (Fader, Hardie and Lee 2005, eq. 6)."""
        x, t_x, age = summary.frequency, self._units(summary.recency_days), self._units(summary.T_days)
        rate = gammaln(self.r + x) - gammaln(self.r) + self.r * np.log(self.alpha)
        dropout = gammaln(self.a + self.b) + gammaln(self.b + x) - gammaln(self.b) - gammaln(self.a + self.b + x)
        alive = -(self.r + x) * np.log(self.alpha + age)
        b_then = self.b + np.maximum(x, 1.0) - 1.0
        gone = np.log(self.a) - np.log(b_then) - (self.r + x) * np.log(self.alpha + t_x)
        result: FloatArray = rate + dropout + np.where(x > 0, np.logaddexp(alive, gone), alive)
        return result

    def p_alive(self, summary: PurchaseSummary) -> FloatArray:
        """Compute P(alive at the cutoff), (n,); 1 where frequency is 0 (Fader, Hardie and Lee 2008, note 021).

        A diagnostic, never a churn score: a customer with one order has had no chance to drop out in this model.
        """
        x, t_x, age = summary.frequency, self._units(summary.recency_days), self._units(summary.T_days)
        b_then = self.b + np.maximum(x, 1.0) - 1.0
        log_odds_gone = np.log(self.a / b_then) + (self.r + x) * np.log1p((age - t_x) / (self.alpha + t_x))
        return np.where(x > 0, expit(-log_odds_gone), 1.0)

    def p_order_if_alive(self, summary: PurchaseSummary, *, horizon_days: float | FloatArray) -> FloatArray:
        """Compute q(t) = 1 − ((alpha+T)/(alpha+T+t))^(r+x), (n,): P(an order within the horizon | alive)."""
        return _p_order(self.r + summary.frequency, self._relative_horizon(summary.T_days, horizon_days))

    def p_no_order(self, summary: PurchaseSummary, *, horizon_days: float | FloatArray) -> FloatArray:
        """Compute P(no order within the horizon), (n,): 1 − p_alive · q(t)."""
        return 1.0 - self.p_alive(summary) * self.p_order_if_alive(summary, horizon_days=horizon_days)

    def expected_orders(self, summary: PurchaseSummary, *, horizon_days: float | FloatArray) -> FloatArray:
        """Compute E[Y(t) | x, t_x, T], (n,): orders within the horizon (Fader, Hardie and Lee 2005, eq. 10)."""
        if np.ndim(horizon_days) == 0:
            return self.expected_orders_path(summary, ends_days=np.array([horizon_days]))[:, 0]
        w = self._relative_horizon(summary.T_days, horizon_days)
        cells = find_cells(summary.frequency, w)
        moments = self._alive_moments(summary.frequency[cells.first], w[cells.first, None])
        result: FloatArray = self.p_alive(summary) * moments[0][cells.inverse, 0]
        return result

    def expected_orders_path(self, summary: PurchaseSummary, *, ends_days: FloatArray) -> FloatArray:
        """Compute E[Y(t) | x, t_x, T] to each of k ends after the cutoff. Shape (n, k)."""
        orders = self.orders_if_alive(summary, ends_days=ends_days)
        result: FloatArray = orders.expected[orders.inverse]
        result *= self.p_alive(summary)[:, None]
        return result

    def expected_orders_new(self, t_days: FloatArray) -> FloatArray:
        """Compute E[X(t)] of a new customer, shape of `t_days` (Fader, Hardie and Lee 2005, eq. 9)."""
        t = np.atleast_1d(np.asarray(t_days, dtype=np.float64))
        distinct, inverse = np.unique(t, return_inverse=True)
        w = (self._units(distinct) / self.alpha)[:, None]
        expected = self._alive_moments(np.zeros(len(distinct)), w)[0][:, 0]
        return expected[inverse].reshape(np.shape(t_days))

    def orders_if_alive(self, summary: PurchaseSummary, *, ends_days: FloatArray) -> AliveOrders:
        """Compute the orders to come from a living customer to each of k ends, once per cell of (frequency, T)."""
        cells = find_cells(summary.frequency, summary.T_days)
        x, age_days = summary.frequency[cells.first], summary.T_days[cells.first]
        w = self._relative_horizon(age_days[:, None], ends_days[None, :])
        expected, factorial = self._alive_moments(x, w)
        return AliveOrders(cells.inverse, expected, factorial, _p_order((self.r + x)[:, None], w))

    def _units(self, days: FloatArray) -> FloatArray:
        return days / self.time_unit_days

    def _relative_horizon(self, age_days: FloatArray, horizon_days: float | FloatArray) -> FloatArray:
        if not np.all(np.isfinite(horizon_days)) or np.any(np.less(horizon_days, 0)):
            raise ValueError("A horizon must be finite and not negative, in days.")
        result: FloatArray = np.asarray(horizon_days) / (self.alpha * self.time_unit_days + age_days)
        return result

    def _alive_moments(self, x: FloatArray, w: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Compute E[Y] and E[Y(Y − 1)] given alive, for frequencies (c,) and relative horizons (c, k)."""
        expected, factorial = np.zeros_like(w), np.zeros_like(w)
        n_nodes = _required_nodes(self.r + x, w.max(axis=1, initial=0.0))
        for count in np.unique(n_nodes):
            (rows,) = np.nonzero(n_nodes == count)
            distinct, inverse = np.unique(x[rows], return_inverse=True)
            nodes = build_beta_nodes(self.a, self.b + distinct, n_nodes=int(count))
            size = max(1, _CHUNK_ELEMENTS // (int(count) * w.shape[1]))
            for start in range(0, len(rows), size):
                part, row_nodes = rows[start : start + size], inverse[start : start + size]
                chosen = BetaNodes(nodes.p[row_nodes, None, :], nodes.weight[row_nodes, None, :])
                expected[part], factorial[part] = _integrate(self.r + x[part], w[part], chosen)
        return expected, factorial


def _p_order(c: FloatArray, w: FloatArray) -> FloatArray:
    result: FloatArray = -np.expm1(-c * np.log1p(w))
    return result


def _integrate(c: FloatArray, w: FloatArray, nodes: BetaNodes) -> tuple[FloatArray, FloatArray]:
    """Average the moments of Y given (p, alive) over the nodes of p.

    For given λ and p, E[Y] = (1 − e^(−λpt)) / p and E[Y(Y−1)] = 2(1−p)/p² · (1 − e^(−λpt)(1 + λpt)); λ is gamma.
    """
    u = nodes.p * w[:, :, None]
    exponent = -c[:, None, None] * np.log1p(u)
    p_stop = -np.expm1(exponent)
    expected = np.einsum("ckn,ckn->ck", p_stop, np.broadcast_to(nodes.weight / nodes.p, u.shape))
    product = c[:, None, None] * u
    small = 0.5 * product * (product + u) * (1.0 - (2.0 / 3.0) * (product + 2.0 * u))
    second = np.where(product < 1e-3, small, p_stop - (1.0 - p_stop) * product / (1.0 + u))
    scale = 2.0 * nodes.weight * (1.0 - nodes.p) / nodes.p**2
    return expected, np.einsum("ckn,ckn->ck", second, np.broadcast_to(scale, u.shape))


def _required_nodes(c: FloatArray, w: FloatArray) -> IndexArray:
    """Choose enough nodes for about 14 digits, from the distance of the singularity p = −1/w and the decay c·w."""
    with np.errstate(divide="ignore"):
        by_singularity = 9.0 / np.arcsinh(1.0 / np.sqrt(w))
    needed = np.maximum(by_singularity, 6.0 + 3.0 * np.sqrt(np.minimum(c * w, 4000.0)))
    counts = np.array(_NODE_COUNTS)
    return counts[np.minimum(np.searchsorted(counts, needed), len(counts) - 1)]
