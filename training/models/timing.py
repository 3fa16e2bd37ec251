"""What every model of order timing answers, and how it follows from what a living customer does.

A timing model says how likely a customer is still alive, and what somebody who is alive orders within a time t:
the mean, the second factorial moment, the chance of an order, the chance of exactly n. All else is derived here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import betainc, gammaln, xlog1py, xlogy

from training.models.maximum_likelihood import (
    CustomerCells,
    Fit,
    Likelihood,
    count_cells,
    maximise,
    require_informative,
)
from training.models.summary import FloatArray, IndexArray, PurchaseSummary

DEFAULT_TIME_UNIT_DAYS = 7.0
STATISTICS = ("frequency", "recency_days", "T_days")


@dataclass(frozen=True, slots=True)
class AliveOrders:
    """Orders still to come from customers who are alive at the cutoff, per cell of equal (frequency, T).

    Attributes:
        inverse: (n,) the cell of each customer; `expected[inverse]` spreads over customers.
        expected: (n_cells, k) E[Y(t) | alive] to each of k ends.
        factorial: (n_cells, k) E[Y(t)·(Y(t) − 1) | alive].
        p_order: (n_cells, k) P(Y(t) ≥ 1 | alive).
        survival: (n_cells, k) P(still alive at t | alive).
    """

    inverse: IndexArray
    expected: FloatArray
    factorial: FloatArray
    p_order: FloatArray
    survival: FloatArray

    @property
    def first(self) -> IndexArray:
        """A row number that represents each cell, (n_cells,)."""
        first = np.empty(len(self.p_order), dtype=np.intp)
        first[self.inverse[::-1]] = np.arange(len(self.inverse) - 1, -1, -1)
        return first


@dataclass(frozen=True, slots=True)
class TimingModel(ABC):
    """Parameters of a model of order timing.

    Attributes:
        time_unit_days: Days in one time unit of the parameters; 7 makes it weeks.
    """

    time_unit_days: float = field(default=DEFAULT_TIME_UNIT_DAYS, kw_only=True)

    name: ClassVar[str]
    parameters: ClassVar[tuple[str, ...]]
    scales: ClassVar[tuple[str, ...]]  # of the parameters, those in units of time
    starts: ClassVar[FloatArray]  # (n_starts, n_parameters), in units of the mean age

    @classmethod
    @abstractmethod
    def likelihood(cls, cells: CustomerCells, *, scale_days: float) -> Likelihood:
        """Return the log-likelihood of cells in log parameters, with `scale_days` days in a unit of time."""

    @classmethod
    def fit(
        cls,
        summary: PurchaseSummary,
        *,
        n_customers: FloatArray | None = None,
        time_unit_days: float = DEFAULT_TIME_UNIT_DAYS,
        penalizer: float = 0.0,
    ) -> Fit[Self]:
        """Fit by maximum likelihood.

        Args:
            summary: One element per customer, or per cell of equal statistics where `n_customers` is given.
            n_customers: (n,) customers in each cell, as a cluster's group-by counts them.
            time_unit_days: Unit of the parameters; the fit is the same in any.
            penalizer: Weight of a prior that draws the parameters to `starts[0]` (see `maximise`).

        Raises:
            ConvergenceError: `too_few` repeat customers, or a `ridge`.
        """
        cells = count_cells(summary, n_customers, by=STATISTICS)
        scale_days = cls.scale_of(cells)
        peak, covariance, log_likelihood = maximise(
            partial(cls.likelihood, scale_days=scale_days),
            cells,
            np.log(cls.starts),
            name=cls.name,
            names=cls.parameters,
            penalizer=penalizer,
        )
        estimates = cls.in_units(np.exp(peak), scale_days / time_unit_days)
        return Fit(
            model=cls.of(estimates, time_unit_days),
            names=cls.parameters,
            estimates=estimates,
            covariance=covariance * np.outer(estimates, estimates),
            log_likelihood=log_likelihood + log_unit_change(cells, scale_days / time_unit_days),
            n_customers=cells.total,
            penalizer=penalizer,
        )

    @classmethod
    def of(cls, estimates: FloatArray, time_unit_days: float) -> Self:
        """Return a model of parameters in the order of `parameters`."""
        return cls.from_dict({**dict(zip(cls.parameters, estimates, strict=True)), "time_unit_days": time_unit_days})

    @classmethod
    def scale_of(cls, cells: CustomerCells) -> float:
        """Return the mean age in days, the unit of the search.

        Raises:
            ConvergenceError: `too_few` customers ordered again.
        """
        n_repeaters = float(cells.n_customers @ (cells.summary.frequency > 0))
        require_informative(n_repeaters, cls.name, what="with a repeat order")
        return float(np.average(cells.summary.T_days, weights=cells.n_customers))

    @classmethod
    def in_units(cls, parameters: FloatArray, unit: float) -> FloatArray:
        """Return parameters with the scales among them multiplied by `unit`."""
        return parameters * np.where(np.isin(cls.parameters, cls.scales), unit, 1.0)

    @abstractmethod
    def log_likelihood(self, summary: PurchaseSummary) -> FloatArray:
        """Compute each customer's log-likelihood, (n,), in time units."""

    @abstractmethod
    def p_alive(self, summary: PurchaseSummary) -> FloatArray:
        """Compute P(alive at the cutoff), (n,). A diagnostic, never a churn score."""

    @abstractmethod
    def p_order_if_alive(self, summary: PurchaseSummary, *, horizon_days: float | FloatArray) -> FloatArray:
        """Compute P(an order within the horizon | alive), (n,)."""

    @abstractmethod
    def orders_if_alive(self, summary: PurchaseSummary, *, ends_days: FloatArray) -> AliveOrders:
        """Compute the orders to come from a living customer to each of k ends, once per cell of (frequency, T)."""

    @abstractmethod
    def expected_if_alive(self, summary: PurchaseSummary, *, ends_days: FloatArray) -> tuple[IndexArray, FloatArray]:
        """Compute `inverse` and `expected` of `orders_if_alive` and nothing else, which takes less time."""

    @abstractmethod
    def p_orders_if_alive(self, summary: PurchaseSummary, *, horizon_days: float, max_orders: int) -> FloatArray:
        """Compute P(Y(t) = n | alive) for n = 0 … max_orders. Shape (n_customers, max_orders + 1)."""

    @abstractmethod
    def wait_days_if_alive(self, summary: PurchaseSummary, p: FloatArray) -> FloatArray:
        """Compute the days t at which P(an order within t | alive) reaches `p` (n,); infinite where it never does."""

    def p_no_order(self, summary: PurchaseSummary, *, horizon_days: float | FloatArray) -> FloatArray:
        """Compute P(no order within the horizon), (n,): 1 − p_alive · P(an order | alive)."""
        return 1.0 - self.p_alive(summary) * self.p_order_if_alive(summary, horizon_days=horizon_days)

    def p_orders(self, summary: PurchaseSummary, *, horizon_days: float, max_orders: int) -> FloatArray:
        """Compute P(Y(t) = n | x, t_x, T) for n = 0 … max_orders. Shape (n_customers, max_orders + 1).

        Raises:
            ValueError: `max_orders` is no number of orders, or the horizon no horizon.
        """
        require_count(max_orders)
        alive = self.p_alive(summary)[:, None]
        result = alive * self.p_orders_if_alive(summary, horizon_days=horizon_days, max_orders=max_orders)
        result[:, :1] += 1.0 - alive
        return result

    def expected_orders(self, summary: PurchaseSummary, *, horizon_days: float, after_days: float = 0.0) -> FloatArray:
        """Compute the orders expected from `after_days` to `horizon_days` after the cutoff, (n,).

        Raises:
            ValueError: `after_days` lies after the horizon, or either is negative or not finite.
        """
        if after_days > horizon_days:
            raise ValueError(f"after_days must not be above horizon_days, got {after_days} and {horizon_days}.")
        path = self.expected_orders_path(summary, ends_days=np.array([after_days, horizon_days]))
        return np.maximum(path[:, 1] - path[:, 0], 0.0)

    def expected_orders_path(self, summary: PurchaseSummary, *, ends_days: FloatArray) -> FloatArray:
        """Compute E[Y(t) | x, t_x, T] to each of k ends after the cutoff. Shape (n, k)."""
        inverse, expected = self.expected_if_alive(summary, ends_days=ends_days)
        result: FloatArray = expected[inverse]
        result *= self.p_alive(summary)[:, None]
        return result

    def expected_orders_new(self, t_days: FloatArray) -> FloatArray:
        """Compute E[X(t)] of a new customer: repeat orders within t of the first. Shape of `t_days`."""
        t = np.atleast_1d(np.asarray(t_days, dtype=np.float64))
        path: FloatArray = self.expected_orders_path(newcomers(1), ends_days=t.ravel())[0]
        return path.reshape(np.shape(t_days))

    def p_orders_new(self, t_days: float, *, max_orders: int) -> FloatArray:
        """Compute P(X(t) = n) of a new customer for n = 0 … max_orders. Shape (max_orders + 1,)."""
        p: FloatArray = self.p_orders(newcomers(1), horizon_days=t_days, max_orders=max_orders)[0]
        return p

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters as JSON types."""
        return {name: getattr(self, name) for name in (*self.parameters, "time_unit_days")}

    @classmethod
    def from_dict(cls, parameters: Mapping[str, float]) -> Self:
        """Restore a model from `to_dict`."""
        return cls(**{name: float(value) for name, value in parameters.items()})

    def require_positive(self) -> None:
        """Refuse parameters that no customer could have.

        Raises:
            ValueError: One is not finite and above 0.
        """
        for name, value in self.to_dict().items():
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{self.name} parameter {name} must be finite and above 0, got {value}.")


def require_count(max_orders: int) -> None:
    """Refuse a greatest number of orders that is none.

    Raises:
        ValueError: It is below 0 or not whole.
    """
    if not (max_orders >= 0 and max_orders == int(max_orders)):
        raise ValueError(f"max_orders must be a whole number from 0, got {max_orders}.")


def log_unit_change(cells: CustomerCells, unit: float) -> float:
    """Return what a log-likelihood gains when time is counted in units 1/`unit` as long: a density of x order times."""
    return -float(cells.n_customers @ cells.summary.frequency) * float(np.log(unit))


def newcomers(n: int) -> PurchaseSummary:
    """Return n customers at the instant of their first order."""
    none = np.zeros(n)
    return PurchaseSummary(none, none, none, none)


def relative_horizon(scale: float | FloatArray, horizon: float | FloatArray) -> FloatArray:
    """Return horizon ÷ scale; both in the same unit.

    Raises:
        ValueError: A horizon is negative or not finite.
    """
    if not np.all(np.isfinite(horizon)) or np.any(np.less(horizon, 0)):
        raise ValueError("A horizon must be finite and not negative, in days.")
    result: FloatArray = np.asarray(horizon) / scale
    return result


def p_order_of_rate(c: FloatArray, w: FloatArray) -> FloatArray:
    """Compute 1 − (1 + w)^−c: P(an order) where the rate is Gamma(c) and the horizon w in units of its scale."""
    result: FloatArray = -np.expm1(-c * np.log1p(w))
    return result


def nbd(c: FloatArray, w: FloatArray, n: FloatArray) -> FloatArray:
    """Compute P(N = n) of the negative binomial with shape c and mean c·w (Ehrenberg 1959), in log space."""
    log_p = gammaln(c + n) - gammaln(c) - gammaln(n + 1.0) + xlogy(n, w) - xlog1py(c + n, w)
    result: FloatArray = np.exp(log_p)
    return result


def nbd_at_least(c: FloatArray, w: FloatArray, n: FloatArray) -> FloatArray:
    """Compute P(N ≥ n), n ≥ 1, as the regularised incomplete beta function I_{w/(1+w)}(n, c)."""
    result: FloatArray = betainc(n, c, w / (1.0 + w))
    return result


def cells_of_age(summary: PurchaseSummary) -> tuple[FloatArray, FloatArray, IndexArray]:
    """Return frequency and age in days of each cell of (frequency, T), and the cell of each customer."""
    cells = summary.cells_of_age()
    return summary.frequency[cells.first], summary.T_days[cells.first], cells.inverse
