"""The Pareto/NBD model of order timing.

Schmittlein, Morrison and Colombo (1987), Counting Your Customers, Management Science 33(1), 1-24; the likelihood as in
Fader and Hardie (2005), A Note on Deriving the Pareto/NBD Model, brucehardie.com/notes/009. A customer orders as a
Poisson process of rate λ ~ Gamma(r, alpha) until they die, at rate μ ~ Gamma(s, beta), ordering or not.

    L = Γ(r+x)·α^r·β^s/Γ(r) · [(α+T)^−(r+x)·(β+T)^−s + s·∫_{t_x}^{T} (α+τ)^−(r+x)·(β+τ)^−(s+1) dτ]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import expit, exprel, gammaln

from training.models.death_quadrature import build_death_nodes, log_death_integral
from training.models.maximum_likelihood import CustomerCells, Likelihood
from training.models.pareto_likelihood import ParetoLikelihood
from training.models.summary import FloatArray, IndexArray, PurchaseSummary
from training.models.timing import (
    AliveOrders,
    TimingModel,
    cells_of_age,
    nbd,
    relative_horizon,
)

_LONGEST_WAIT_DAYS = 1e7
_MOST_STEPS = 50  # of Newton: a handful do for most customers, about twenty near a chance that death forestalls
_MOST_OF_THE_REST = 0.999  # that a step may take: where next to nothing is left, rounding would take more than all
_STEP_TOLERANCE, _P_TOLERANCE = 1e-7, 1e-9  # relative, of a wait and of its chance
_ROWS_AT_A_TIME = 10_000
_SPREAD_PER_PANEL = 12.0  # orders: more, and the sharp count needs more times of death than one panel has


@dataclass(frozen=True, slots=True)
class ParetoNbd(TimingModel):
    """Parameters of the Pareto/NBD model; times are in units of `time_unit_days`.

    Attributes:
        r: Shape of the gamma distribution of order rates.
        alpha: Rate of that distribution, in time units.
        s: Shape of the gamma distribution of death rates.
        beta: Rate of that distribution, in time units.

    Raises:
        ValueError: A parameter is not finite or not positive.
    """

    r: float
    alpha: float
    s: float
    beta: float

    name: ClassVar[str] = "Pareto/NBD"
    parameters: ClassVar[tuple[str, ...]] = ("r", "alpha", "s", "beta")
    scales: ClassVar[tuple[str, ...]] = ("alpha", "beta")
    starts: ClassVar[FloatArray] = np.array([[0.5, 0.5, 0.5, 0.5], [1.0, 0.3, 0.7, 2.0], [0.3, 0.2, 2.0, 5.0]])

    def __post_init__(self) -> None:
        self.require_positive()

    @classmethod
    def likelihood(cls, cells: CustomerCells, *, scale_days: float) -> Likelihood:
        """Return the log-likelihood of cells in log parameters; see `TimingModel.likelihood`."""
        return ParetoLikelihood(cells, scale_days=scale_days)

    def log_likelihood(self, summary: PurchaseSummary) -> FloatArray:
        """Compute each customer's log-likelihood, (n,), in time units (Fader and Hardie 2005, eq. 17)."""
        c, age = self.r + summary.frequency, self._units(summary.T_days)
        log_alive = -c * np.log(self.alpha + age) - self.s * np.log(self.beta + age)
        constant = gammaln(c) - gammaln(self.r) + self.r * np.log(self.alpha) + self.s * np.log(self.beta)
        result: FloatArray = constant + np.logaddexp(log_alive, self._log_died(summary))
        return result

    def p_alive(self, summary: PurchaseSummary) -> FloatArray:
        """Compute P(alive at the cutoff), (n,) (Schmittlein, Morrison and Colombo 1987, eqs. 11-13).

        A diagnostic, never a churn score.
        """
        c, age = self.r + summary.frequency, self._units(summary.T_days)
        log_alive = -c * np.log(self.alpha + age) - self.s * np.log(self.beta + age)
        result: FloatArray = expit(log_alive - self._log_died(summary))
        return result

    def p_order_if_alive(self, summary: PurchaseSummary, *, horizon_days: float | FloatArray) -> FloatArray:
        """Compute P(an order within the horizon | alive), (n,): that one comes at τ and death has not come before."""
        c, age = self.r + summary.frequency, self._units(summary.T_days)
        return self._p_order(c, age, relative_horizon(self.time_unit_days, horizon_days))

    def wait_days_if_alive(self, summary: PurchaseSummary, p: FloatArray) -> FloatArray:
        """Solve P(an order within t | alive) = p for t in days, (n,); infinite where it is never reached."""
        c, age = self.r + summary.frequency, self._units(summary.T_days)
        longest = _LONGEST_WAIT_DAYS / self.time_unit_days
        result = np.where(p > 0, np.inf, 0.0)
        (rows,) = np.nonzero((p > 0) & (p < self._p_order(c, age, np.full(len(summary), longest))))
        result[rows] = self._wait(c[rows], age[rows], p[rows]) * self.time_unit_days
        return result

    def orders_if_alive(self, summary: PurchaseSummary, *, ends_days: FloatArray) -> AliveOrders:
        """Compute the orders to come from a living customer to each of k ends, once per cell of (frequency, T).

        With v = ln(1 + t/(β+T)) and e(z) = (e^z − 1)/z: E[Y] = (r+x)/(α+T) · (β+T) · v · e((1−s)v), and
        E[Y(Y−1)] = (r+x)(r+x+1)/(α+T)² · 2(β+T)² · v · (e((2−s)v) − e((1−s)v)).
        """
        x, age_days, inverse = cells_of_age(summary)
        c, age = (self.r + x)[:, None], self._units(age_days)[:, None]
        t, v, ratio = self._paths(age, ends_days)
        first = exprel((1.0 - self.s) * v)
        expected = c * ratio * v * first
        factorial = 2.0 * c * (c + 1.0) * ratio**2 * v * np.maximum(exprel((2.0 - self.s) * v) - first, 0.0)
        p_order = self._p_order(*(np.broadcast_to(part, t.shape).ravel() for part in (c, age, t))).reshape(t.shape)
        return AliveOrders(inverse, expected, factorial, p_order, np.exp(-self.s * v))

    def expected_if_alive(self, summary: PurchaseSummary, *, ends_days: FloatArray) -> tuple[IndexArray, FloatArray]:
        """Compute the mean of the orders to come alone; see `TimingModel.expected_if_alive`."""
        x, age_days, inverse = cells_of_age(summary)
        _, v, ratio = self._paths(self._units(age_days)[:, None], ends_days)
        return inverse, (self.r + x)[:, None] * ratio * v * exprel((1.0 - self.s) * v)

    def p_orders_if_alive(self, summary: PurchaseSummary, *, horizon_days: float, max_orders: int) -> FloatArray:
        """Compute P(Y(t) = n | alive), (n, max_orders + 1): NBD orders until t, or until an earlier death."""
        x, age_days, inverse = cells_of_age(summary)
        c, age = self.r + x, self._units(age_days)
        t, n = float(relative_horizon(self.time_unit_days, horizon_days)), np.arange(max_orders + 1.0)
        result = nbd(c[:, None], (t / (self.alpha + age))[:, None], n[None, :])
        result *= np.exp(-self.s * np.log1p(t / (self.beta + age)))[:, None]
        n_panels = 1 + (np.sqrt(c * t / (self.alpha + age)) / _SPREAD_PER_PANEL).astype(np.intp)
        for count in np.unique(n_panels):
            (alike,) = np.nonzero(n_panels == count)
            for rows in np.array_split(alike, 1 + alike.size * count // _ROWS_AT_A_TIME):
                result[rows] += self._p_orders_of_dying(c[rows], age[rows], t, n, n_panels=int(count))
        return result[inverse]

    def _p_orders_of_dying(
        self, c: FloatArray, age: FloatArray, t: float, n: FloatArray, *, n_panels: int
    ) -> FloatArray:
        """Compute P(Y(t) = n, dead by T + t | alive at T), (rows, n): NBD orders until τ, over the times of death."""
        nodes = build_death_nodes(
            np.zeros_like(c), self.s, alpha=self.alpha, beta=self.beta, low=age, high=age + t, n_panels=n_panels
        )
        p_died = np.exp(np.log(self.s) + self.s * np.log(self.beta + age)[:, None] + nodes.log_term)
        w = (nodes.tau - age[:, None]) / (self.alpha + age)[:, None]
        return np.column_stack([np.sum(p_died * nbd(c[:, None], w, np.array(count)), axis=1) for count in n])

    def _paths(self, age: FloatArray, ends_days: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return t (c, k), v = ln(1 + t/(β+T)) (c, k), and (β+T)/(α+T) (c, 1), for ages (c, 1)."""
        t = np.broadcast_to(relative_horizon(self.time_unit_days, ends_days)[None, :], (len(age), len(ends_days)))
        return t, np.log1p(t / (self.beta + age)), (self.beta + age) / (self.alpha + age)

    def _log_died(self, summary: PurchaseSummary) -> FloatArray:
        """Compute ln(s · ∫ (α+τ)^−c (β+τ)^−(s+1) dτ) from the last order to the cutoff, (n,)."""
        log_integral = log_death_integral(
            self.r + summary.frequency,
            self.s,
            alpha=self.alpha,
            beta=self.beta,
            low=self._units(summary.recency_days),
            high=self._units(summary.T_days),
        )
        result: FloatArray = np.log(self.s) + log_integral
        return result

    def _p_order(self, c: FloatArray, age: FloatArray, t: FloatArray) -> FloatArray:
        """Compute ∫ c·(α+T)^c·(β+T)^s·(α+τ)^−(c+1)·(β+τ)^−s dτ from T to T + t: the first order comes at τ."""
        log_integral = log_death_integral(
            c + 1.0, self.s - 1.0, alpha=self.alpha, beta=self.beta, low=age, high=age + t
        )
        log_now = np.log(c) + c * np.log(self.alpha + age) + self.s * np.log(self.beta + age)
        result: FloatArray = np.minimum(1.0, np.exp(log_now + log_integral))
        return result

    def _wait(self, c: FloatArray, age: FloatArray, p: FloatArray) -> FloatArray:
        """Solve for a time t at which p is reached, (n,), by Newton's method from below.

        It starts where p is reached if nobody dies, (α+T)·((1−p)^(−1/c) − 1): death only delays. In the variable
        1 − (1 + t/m)^−(c+s), m = max(α, β) + T, which rises like the chance of an order at late times, that chance is
        concave; so no step goes too far.
        """
        t: FloatArray = (self.alpha + age) * np.expm1(-np.log1p(-p) / c)
        decay, offset = c + self.s, max(self.alpha, self.beta) + age
        rows = np.arange(len(t))
        for _ in range(_MOST_STEPS):
            gap = p[rows] - self._p_order(c[rows], age[rows], t[rows])
            log_slope = self._log_density(c[rows], age[rows], t[rows])
            share = np.minimum(gap * decay[rows] / (offset[rows] + t[rows]) * np.exp(-log_slope), _MOST_OF_THE_REST)
            step = (offset[rows] + t[rows]) * np.expm1(-np.log1p(-share) / decay[rows])
            t[rows] += step
            rows = rows[(np.abs(step) > _STEP_TOLERANCE * t[rows]) & (np.abs(gap) > _P_TOLERANCE * p[rows])]
            if not rows.size:
                break
        return t

    def _log_density(self, c: FloatArray, age: FloatArray, t: FloatArray) -> FloatArray:
        """Compute the logarithm of the density of the first order at T + t, of one alive at T, (n,)."""
        order = np.log(c) - c * np.log1p(t / (self.alpha + age)) - np.log(self.alpha + age + t)
        result: FloatArray = order - self.s * np.log1p(t / (self.beta + age))
        return result

    def _units(self, days: FloatArray) -> FloatArray:
        return days / self.time_unit_days
