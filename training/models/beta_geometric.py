"""What BG/NBD and MBG/NBD share: a living customer orders at rate λ, and may drop out at each chance to.

The two differ in one thing: at how many chances a customer with x repeat orders has not dropped out. BG/NBD gives a
chance after each repeat order, x of them; MBG/NBD one after the first order too, x + 1. With m chances, λ ~
Gamma(r, alpha), p ~ Beta(a, b), and the papers' symbols x, t_x, T:

    L = Γ(r+x)·α^r/Γ(r) · [B(a, b+m)/B(a, b)·(α+T)^−(r+x) + 1[m>0]·B(a+1, b+m−1)/B(a, b)·(α+t_x)^−(r+x)].

The conditional expectation (Fader, Hardie and Lee 2005, eq. 10) is evaluated before its last integration, over p given
that the customer is alive at T, where λ ~ Gamma(r + x, alpha + T) and p ~ Beta(a, b + m):

    E[Y(t) | alive] = E_p[(1 − (1 + p·w)^−(r+x)) / p],   w = t / (alpha + T).

Every term is positive, so that neither a = 1, nor a + b + x = 1, nor a large x loses digits as the 2F1 form does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import betaln, expit, gammaln

from training.models.beta_geometric_likelihood import BetaGeometricLikelihood
from training.models.beta_quadrature import BetaNodes, build_beta_nodes
from training.models.maximum_likelihood import CustomerCells, Likelihood
from training.models.summary import FloatArray, IndexArray, PurchaseSummary
from training.models.timing import (
    AliveOrders,
    TimingModel,
    cells_of_age,
    nbd,
    nbd_at_least,
    p_order_of_rate,
    relative_horizon,
)

_NODE_COUNTS = (8, 16, 32, 64, 128, 256)
_CHUNK_ELEMENTS = 100_000  # of nodes at a time: they stay in the processor's cache

_Integrate = Callable[[FloatArray, FloatArray, BetaNodes], tuple[FloatArray, ...]]


@dataclass(frozen=True, slots=True)
class BetaGeometricNbd(TimingModel):
    """Parameters of a beta-geometric/NBD model; times are in units of `time_unit_days`.

    Attributes:
        r: Shape of the gamma distribution of order rates.
        alpha: Rate of that distribution, in time units.
        a: First parameter of the beta distribution of dropout probabilities.
        b: Second parameter of that distribution.

    Raises:
        ValueError: A parameter is not finite or not positive.
    """

    r: float
    alpha: float
    a: float
    b: float

    parameters: ClassVar[tuple[str, ...]] = ("r", "alpha", "a", "b")
    scales: ClassVar[tuple[str, ...]] = ("alpha",)
    starts: ClassVar[FloatArray] = np.array([[0.5, 0.5, 0.5, 1.5], [0.2, 0.2, 0.8, 2.5], [1.5, 1.0, 0.1, 1.0]])
    chances_at_first_order: ClassVar[int]

    def __post_init__(self) -> None:
        self.require_positive()

    @classmethod
    def likelihood(cls, cells: CustomerCells, *, scale_days: float) -> Likelihood:
        """Return the log-likelihood of cells in log parameters; see `TimingModel.likelihood`."""
        return BetaGeometricLikelihood(cells, scale_days=scale_days, chances=cls.chances_at_first_order)

    def log_likelihood(self, summary: PurchaseSummary) -> FloatArray:
        """Compute each customer's log-likelihood, (n,), in time units (Fader, Hardie and Lee 2005, eq. 6)."""
        x, t_x, age = summary.frequency, self._units(summary.recency_days), self._units(summary.T_days)
        m = x + self.chances_at_first_order
        rate = gammaln(self.r + x) - gammaln(self.r) + self.r * np.log(self.alpha)
        dropout = gammaln(self.a + self.b) + gammaln(self.b + m) - gammaln(self.b) - gammaln(self.a + self.b + m)
        alive = -(self.r + x) * np.log(self.alpha + age)
        gone = np.log(self.a / self._b_at_last_chance(x)) - (self.r + x) * np.log(self.alpha + t_x)
        result: FloatArray = rate + dropout + np.where(m > 0, np.logaddexp(alive, gone), alive)
        return result

    def p_alive(self, summary: PurchaseSummary) -> FloatArray:
        """Compute P(alive at the cutoff), (n,); 1 without a chance to drop out (Fader, Hardie and Lee 2008, note 021).

        A diagnostic, never a churn score.
        """
        x, t_x, age = summary.frequency, self._units(summary.recency_days), self._units(summary.T_days)
        log_odds_gone = np.log(self.a / self._b_at_last_chance(x)) + (self.r + x) * np.log1p(
            (age - t_x) / (self.alpha + t_x)
        )
        return np.where(x + self.chances_at_first_order > 0, expit(-log_odds_gone), 1.0)

    def p_order_if_alive(self, summary: PurchaseSummary, *, horizon_days: float | FloatArray) -> FloatArray:
        """Compute q(t) = 1 − ((alpha+T)/(alpha+T+t))^(r+x), (n,): P(an order within the horizon | alive)."""
        return p_order_of_rate(self.r + summary.frequency, self._relative(summary.T_days, horizon_days))

    def wait_days_if_alive(self, summary: PurchaseSummary, p: FloatArray) -> FloatArray:
        """Solve q(t) = p for t, (n,): (alpha + T) · ((1 − p)^(−1/(r+x)) − 1) days; infinite at p = 1."""
        with np.errstate(divide="ignore", over="ignore"):
            exponent = -np.log1p(-p) / (self.r + summary.frequency)
            result: FloatArray = self._scale_days(summary.T_days) * np.expm1(exponent)
        return result

    def orders_if_alive(self, summary: PurchaseSummary, *, ends_days: FloatArray) -> AliveOrders:
        """Compute the orders to come from a living customer to each of k ends, once per cell of (frequency, T)."""
        x, w, inverse = self._cells_ahead(summary, ends_days)
        expected, factorial, survival = self._over_dropout(x, w, _integrate, n_integrals=3)
        return AliveOrders(inverse, expected, factorial, p_order_of_rate((self.r + x)[:, None], w), survival)

    def expected_if_alive(self, summary: PurchaseSummary, *, ends_days: FloatArray) -> tuple[IndexArray, FloatArray]:
        """Compute the mean of the orders to come alone; see `TimingModel.expected_if_alive`."""
        x, w, inverse = self._cells_ahead(summary, ends_days)
        return inverse, self._over_dropout(x, w, _integrate_mean, n_integrals=1)[0]

    def p_orders_if_alive(self, summary: PurchaseSummary, *, horizon_days: float, max_orders: int) -> FloatArray:
        """Compute P(Y(t) = n | alive), (n, max_orders + 1).

        Either n orders come and none of the n chances is taken, or the n-th is and no more count:
        B(a, b+m+n)/B(a, b+m) · P(N = n) + B(a+1, b+m+n−1)/B(a, b+m) · P(N ≥ n), with N the NBD orders of one who stays
        (Fader, Hardie and Lee 2005, eq. 8, given the history).
        """
        x, w, inverse = self._cells_ahead(summary, np.array([horizon_days], dtype=np.float64))
        c = (self.r + x)[:, None]
        n, b = np.arange(max_orders + 1.0)[None, :], (self.b + x + self.chances_at_first_order)[:, None]
        stays = np.exp(betaln(self.a, b + n) - betaln(self.a, b)) * nbd(c, w, n)
        leaves = np.exp(betaln(self.a + 1.0, b + n[:, 1:] - 1.0) - betaln(self.a, b)) * nbd_at_least(c, w, n[:, 1:])
        stays[:, 1:] += leaves
        result: FloatArray = stays[inverse]
        return result

    def _cells_ahead(
        self, summary: PurchaseSummary, ends_days: FloatArray
    ) -> tuple[FloatArray, FloatArray, IndexArray]:
        """Return the frequency (c,) and the time ahead ÷ scale (c, k) of each cell, and each customer's cell, (n,)."""
        x, age_days, inverse = cells_of_age(summary)
        return x, self._relative(age_days[:, None], ends_days[None, :]), inverse

    def _b_at_last_chance(self, x: FloatArray) -> FloatArray:
        result: FloatArray = self.b + np.maximum(x + self.chances_at_first_order, 1.0) - 1.0
        return result

    def _units(self, days: FloatArray) -> FloatArray:
        return days / self.time_unit_days

    def _scale_days(self, age_days: FloatArray) -> FloatArray:
        return self.alpha * self.time_unit_days + age_days

    def _relative(self, age_days: FloatArray, horizon_days: float | FloatArray) -> FloatArray:
        return relative_horizon(self._scale_days(age_days), horizon_days)

    def _over_dropout(self, x: FloatArray, w: FloatArray, integrate: _Integrate, *, n_integrals: int) -> FloatArray:
        """Integrate over p given alive, for frequencies (c,) and horizons (c, k). Shape (n_integrals, c, k)."""
        result = np.zeros((n_integrals, *w.shape))
        n_nodes = _required_nodes(self.r + x, w.max(axis=1, initial=0.0))
        for count in np.unique(n_nodes):
            (rows,) = np.nonzero(n_nodes == count)
            distinct, inverse = np.unique(x[rows], return_inverse=True)
            nodes = build_beta_nodes(self.a, self.b + distinct + self.chances_at_first_order, n_nodes=int(count))
            size = max(1, _CHUNK_ELEMENTS // (int(count) * w.shape[1]))
            for start in range(0, len(rows), size):
                part, row_nodes = rows[start : start + size], inverse[start : start + size]
                chosen = BetaNodes(nodes.p[row_nodes, None, :], nodes.weight[row_nodes, None, :])
                result[:, part] = integrate(self.r + x[part], w[part], chosen)
        return result


def _integrate_mean(c: FloatArray, w: FloatArray, nodes: BetaNodes) -> tuple[FloatArray, ...]:
    """Average E[Y] alone; see `_integrate`."""
    p_stop = nodes.p * w[:, :, None]
    np.log1p(p_stop, out=p_stop)
    p_stop *= -c[:, None, None]
    np.expm1(p_stop, out=p_stop)
    return (-np.einsum("ckn,cn->ck", p_stop, (nodes.weight / nodes.p)[:, 0, :]),)


def _integrate(c: FloatArray, w: FloatArray, nodes: BetaNodes) -> tuple[FloatArray, ...]:
    """Average the moments of Y given (p, alive) over the nodes of p.

    For given λ and p, E[Y] = (1 − e^(−λpt)) / p, E[Y(Y−1)] = 2(1−p)/p² · (1 − e^(−λpt)(1 + λpt)), and the customer is
    alive at t with probability e^(−λpt); λ is gamma.
    """
    u = nodes.p * w[:, :, None]
    exponent = -c[:, None, None] * np.log1p(u)
    p_stop = -np.expm1(exponent)
    expected = np.einsum("ckn,ckn->ck", p_stop, np.broadcast_to(nodes.weight / nodes.p, u.shape))
    product = c[:, None, None] * u
    small = 0.5 * product * (product + u) * (1.0 - (2.0 / 3.0) * (product + 2.0 * u))
    second = np.where(product + u < 1e-5, small, p_stop - (1.0 - p_stop) * product / (1.0 + u))
    scale = 2.0 * nodes.weight * (1.0 - nodes.p) / nodes.p**2
    factorial = np.einsum("ckn,ckn->ck", second, np.broadcast_to(scale, u.shape))
    survival = np.einsum("ckn,ckn->ck", 1.0 - p_stop, np.broadcast_to(nodes.weight, u.shape))
    return expected, factorial, survival


def _required_nodes(c: FloatArray, w: FloatArray) -> IndexArray:
    """Choose enough nodes for about 14 digits, from the distance of the singularity p = −1/w and the decay c·w."""
    with np.errstate(divide="ignore"):
        by_singularity = 9.0 / np.arcsinh(1.0 / np.sqrt(w))
    needed = np.maximum(by_singularity, 6.0 + 3.0 * np.sqrt(np.minimum(c * w, 4000.0)))
    counts = np.array(_NODE_COUNTS)
    return counts[np.minimum(np.searchsorted(counts, needed), len(counts) - 1)]
