"""One purchase process per customer, tied to the learned churn probability.

A timing model says how orders follow one another while a customer lives; `p_churn` says whether one comes at all
within the horizon H. With q(t) = P(an order within t | alive), the tied process is that of a living customer, taken
with weight kappa = (1 − p_churn) / q(H):

    expected_orders(t) = kappa · E[Y(t) | alive],   P(an order within t) = kappa · q(t),   t ≤ H.

Over H this gives P(no order) = p_churn and E[orders] = (1 − p_churn) · E[orders | at least one], exactly. It equals
the timing model scaled by (1 − p_churn) / P(at least one order in H): its own p_alive cancels. Without a learned
p_churn the timing model's own is taken, and kappa is its p_alive.

A kappa above 1 says that the horizon is a good season, not that a customer is more than alive: past H the living
process goes on with weight min(1, kappa), and who was silent until H orders as a living customer who was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from training.models.bg_nbd import BgNbd
from training.models.gamma_gamma import GammaGamma
from training.models.habits import Habits
from training.models.mbg_nbd import MbgNbd
from training.models.pareto_nbd import ParetoNbd
from training.models.regular_nbd import RegularNbd
from training.models.seasonal_nbd import SeasonalNbd
from training.models.spread import Spread
from training.models.summary import FloatArray, PurchaseSummary
from training.models.timing import AliveOrders, TimingModel, newcomers
from training.models.value_distribution import ValueDistribution
from training.models.value_terms import MONTH_ENDS_DAYS, MONTHS, YEAR_DAYS, ValueTerms

TIMING_MODELS: Mapping[str, type[TimingModel]] = {"mbg_nbd": MbgNbd, "bg_nbd": BgNbd, "pareto_nbd": ParetoNbd}
# With those that a shop's habits ask for.
_BY_KEY: Mapping[str, type[TimingModel]] = {**TIMING_MODELS, "seasonal_nbd": SeasonalNbd, "regular_nbd": RegularNbd}
_KEYS = {model: key for key, model in _BY_KEY.items()}
_NO_SPREAD = Spread()


@dataclass(frozen=True, slots=True)
class Wait:
    """Days from the cutoff to the next order, three arrays (n,).

    Attributes:
        median_days: NaN where it is likelier than not that none ever comes.
        low_days: Before it, the order comes with the lower tail's probability; NaN where it never is so likely.
        high_days: By it, the order has come but for the upper tail's probability; NaN: it may never come.
    """

    median_days: FloatArray
    low_days: FloatArray
    high_days: FloatArray


@dataclass(frozen=True, slots=True)
class Forecast:
    """What each customer is expected to order and to be worth. One row per customer.

    Attributes:
        p_alive: (n,) min(1, (1 − p_churn) / q(H)); never below 1 − p_churn.
        expected_orders: (n,) orders within the horizon.
        expected_order_value: (n,) mean value of an order, in currency units.
        next_order: When the next order comes; its median lies within the horizon exactly where p_churn is at most ½.
        orders_by_month: (n, 12) orders in each month of 365.25 / 12 days.
        clv_by_month: (n, 12) discounted margin, less the cost of service, in each of these months.
        clv_12m: (n,) row sum of `clv_by_month`.
        clv_12m_low: (n,) lower bound of the central interval of the value that the year will bring.
        clv_12m_high: (n,) upper bound. Where an order is unlikely both quantiles are 0 and the mean is not; the
            interval is then widened to hold the mean, because an estimate outside its own interval reads as a fault.
        clv_12m_sd: (n,) standard deviation of that value.
        residual_value: (n,) discounted value of all orders ever to come; NaN without a discount rate above 0, because
            its sum need not be finite.
    """

    p_alive: FloatArray
    expected_orders: FloatArray
    expected_order_value: FloatArray
    next_order: Wait
    orders_by_month: FloatArray
    clv_by_month: FloatArray
    clv_12m: FloatArray
    clv_12m_low: FloatArray
    clv_12m_high: FloatArray
    clv_12m_sd: FloatArray
    residual_value: FloatArray


@dataclass(frozen=True, slots=True)
class Tied:
    """The orders ahead of n customers, tied to their p_churn.

    Attributes:
        summary: What was known at the cutoff.
        horizon_days: Horizon of `p_churn`.
        p_order: (n,) 1 − p_churn.
        kappa: (n,) weight of the living customer's process.
        alive: That process, to the end of each month and, last, of the horizon.
    """

    summary: PurchaseSummary
    horizon_days: float
    p_order: FloatArray
    kappa: FloatArray
    alive: AliveOrders

    @property
    def orders_if_ordered(self) -> FloatArray:
        """E[orders within the horizon | at least one], (n,)."""
        return (self.alive.expected[:, -1] / self.alive.p_order[:, -1])[self.alive.inverse]

    @property
    def expected_orders(self) -> FloatArray:
        """Orders within the horizon, (n,)."""
        return self.p_order * self.orders_if_ordered

    @property
    def p_alive(self) -> FloatArray:
        """P(alive at the cutoff), (n,): min(1, kappa)."""
        return np.minimum(1.0, self.kappa)

    def orders_until(self, expected: FloatArray) -> FloatArray:
        """Return the orders expected to each of k ends, (n, k), from those of a living customer, (n_cells, k)."""
        within, beyond = self.split(expected)
        return self.weigh(within, beyond)

    def split(self, expected: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Part a living customer's orders to each end, (n_cells, k), into those within the horizon and beyond it."""
        within = np.minimum(expected, self.alive.expected[:, -1:])
        return within, expected - within

    def weigh(self, within: FloatArray, beyond: FloatArray) -> FloatArray:
        """Return each customer's share of what the living order per cell, (n_cells, …): kappa, then at most 1."""
        column = (-1, *(1,) * (within.ndim - 1))
        result: FloatArray = within[self.alive.inverse]
        result *= self.kappa.reshape(column)
        later = beyond[self.alive.inverse]
        later *= self.p_alive.reshape(column)
        result += later
        return result

    def p_order_until(self, p_order: FloatArray) -> FloatArray:
        """Return P(an order by each of k ends), (n, k), from those of a living customer, (n_cells, k)."""
        at_horizon = self.alive.p_order[:, -1:]
        result: FloatArray = p_order[self.alive.inverse] * self.kappa[:, None]
        (rows,) = np.nonzero(self.kappa > 1.0)
        cell = self.alive.inverse[rows]
        stays_silent = (1.0 - p_order[cell]) / np.maximum(1.0 - at_horizon[cell], np.finfo(np.float64).tiny)
        later = 1.0 - (1.0 - self.p_order[rows, None]) * np.minimum(stays_silent, 1.0)
        result[rows] = np.where(p_order[cell] > at_horizon[cell], later, result[rows])
        return np.minimum(result, 1.0)


@dataclass(frozen=True, slots=True)
class PurchaseProcess:
    """Order timing and order value together.

    Attributes:
        timing: Model of order timing.
        gamma_gamma: Model of order value.
        spread: How far outcomes lie from expectations, as measured on earlier time.
        is_small: Whether so few customers were there to learn from that nothing of it is sure.
        is_fallback: Whether so few of them had come back that a stated prior says much of it.
    """

    timing: TimingModel
    gamma_gamma: GammaGamma
    spread: Spread = _NO_SPREAD
    is_small: bool = False
    is_fallback: bool = False

    @property
    def habits(self) -> Habits:
        """What of the shop's rhythm the timing model was chosen for."""
        k = int(self.timing.k) if isinstance(self.timing, RegularNbd) else 1
        return Habits(season=self.timing.season if isinstance(self.timing, SeasonalNbd) else None, k=k)

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters as JSON types."""
        return {
            "timing": {"model": _KEYS[type(self.timing)], **self.timing.to_dict()},
            "gamma_gamma": self.gamma_gamma.to_dict(),
            "spread": asdict(self.spread),
            "is_small": self.is_small,
            "is_fallback": self.is_fallback,
        }

    @classmethod
    def from_dict(cls, parameters: Mapping[str, Any]) -> Self:
        """Restore a process from `to_dict`.

        Raises:
            KeyError: A part of it is not there.
            ValueError: A parameter cannot be one.
        """
        timing = dict(parameters["timing"])
        model = _BY_KEY[timing.pop("model")]
        spread = Spread(**{name: float(value) for name, value in parameters["spread"].items()})
        return cls(
            model.from_dict(timing),
            GammaGamma.from_dict(parameters["gamma_gamma"]),
            spread,
            is_small=bool(parameters["is_small"]),
            is_fallback=bool(parameters["is_fallback"]),
        )

    def tie(self, summary: PurchaseSummary, p_churn: FloatArray | None = None, *, horizon_days: float) -> Tied:
        """Tie the orders ahead to p_churn.

        Args:
            summary: What was known at the cutoff.
            p_churn: (n,) probability of no order within the horizon, used as it is, never altered; None takes the
                timing model's own.
            horizon_days: Horizon of `p_churn`, above 0.

        Raises:
            ValueError: An argument is out of range, or `p_churn` does not have one probability per customer.
        """
        if not (np.isfinite(horizon_days) and horizon_days > 0):
            raise ValueError(f"horizon_days must be above 0, got {horizon_days}.")
        alive = self.timing.orders_if_alive(summary, ends_days=np.append(MONTH_ENDS_DAYS, horizon_days))
        p_order_alive = alive.p_order[:, -1][alive.inverse]
        if p_churn is None:
            kappa = self.timing.p_alive(summary)
            return Tied(summary, horizon_days, kappa * p_order_alive, kappa, alive)
        _validate_churn(p_churn, len(summary))
        return Tied(summary, horizon_days, 1.0 - p_churn, (1.0 - p_churn) / p_order_alive, alive)

    def predict(
        self,
        summary: PurchaseSummary,
        p_churn: FloatArray | None = None,
        *,
        horizon_days: float,
        terms: ValueTerms | None = None,
        interval_coverage: float = 0.80,
    ) -> Forecast:
        """Forecast orders and value over the horizon and over the next 12 months. One row per customer.

        Args:
            summary: What was known at the cutoff.
            p_churn: As in `tie`.
            horizon_days: As in `tie`.
            terms: How orders become money; None is revenue, discounted at 10 % a year.
            interval_coverage: Share of outcomes that an interval should hold, in (0, 1).
        """
        tied = self.tie(summary, p_churn, horizon_days=horizon_days)
        order_value = self.gamma_gamma.expected_order_value(summary)
        return self.forecast(tied, order_value, terms=terms or ValueTerms(), interval_coverage=interval_coverage)

    def forecast(self, tied: Tied, order_value: FloatArray, *, terms: ValueTerms, interval_coverage: float) -> Forecast:
        """Turn tied orders into money; `order_value` (n,) is the mean value of an order. See `predict`."""
        if not 0.0 < interval_coverage < 1.0:
            raise ValueError(f"interval_coverage must lie between 0 and 1, got {interval_coverage}.")
        orders = tied.orders_until(tied.alive.expected[:, :MONTHS])
        # Where no more orders come, rounding may take one away.
        orders_by_month = np.maximum(np.diff(orders, axis=1, prepend=0.0), 0.0)
        clv_by_month = orders_by_month * terms.month_discounts
        clv_by_month *= (order_value * terms.margin)[:, None]
        gross: FloatArray = clv_by_month.sum(axis=1)
        clv_by_month -= self._service_by_month(tied, terms)
        clv_12m: FloatArray = clv_by_month.sum(axis=1)
        outcome = self.value_distribution(tied, gross)
        low, high = outcome.interval(interval_coverage)
        return Forecast(
            p_alive=tied.p_alive,
            expected_orders=tied.expected_orders,
            expected_order_value=order_value,
            next_order=self._next_order(tied, interval_coverage),
            orders_by_month=orders_by_month,
            clv_by_month=clv_by_month,
            clv_12m=clv_12m,
            clv_12m_low=np.minimum(low - (gross - clv_12m), clv_12m),
            clv_12m_high=np.maximum(high - (gross - clv_12m), clv_12m),
            clv_12m_sd=outcome.standard_deviation,
            residual_value=self._residual_value(tied, order_value, terms),
        )

    def expected_value(self, tied: Tied) -> FloatArray:
        """Compute the value expected within the horizon, (n,), before any margin, discount or learned correction."""
        return tied.expected_orders * self.gamma_gamma.expected_order_value(tied.summary)

    def clv_12m(self, summary: PurchaseSummary, *, terms: ValueTerms) -> FloatArray:
        """Compute the 12-month value by the timing model alone, (n,), and nothing else: the quick way."""
        if terms.annual_service_cost:
            raise ValueError("clv_12m knows no cost of service; use predict.")
        inverse, expected = self.timing.expected_if_alive(summary, ends_days=MONTH_ENDS_DAYS)
        discounted = np.diff(expected, axis=1, prepend=0.0) @ terms.month_discounts
        value = self.gamma_gamma.expected_order_value(summary) * terms.margin
        result: FloatArray = discounted[inverse] * self.timing.p_alive(summary) * value
        return result

    def new_customer_value(self, *, horizon_days: float, terms: ValueTerms) -> float:
        """Compute what a prospect is worth once they order: the first order and the 12 months that follow it."""
        first = newcomers(1)
        later = self.predict(first, horizon_days=horizon_days, terms=terms)
        return terms.margin * self.gamma_gamma.population_mean + float(later.clv_12m[0])

    def p_no_order_curve(self, tied: Tied, *, ends_days: FloatArray) -> FloatArray:
        """Compute P(no order by each of k ends), (n, k); p_churn at the horizon."""
        one = tied.summary.take(tied.alive.first)
        curve = [self.timing.p_order_if_alive(one, horizon_days=end) for end in ends_days.tolist()]
        return 1.0 - tied.p_order_until(np.column_stack(curve))

    def p_orders(self, tied: Tied, *, max_orders: int) -> FloatArray:
        """Compute P(n orders within the horizon), (n_customers, max_orders + 1), with P(0) = p_churn exactly."""
        p = self.timing.p_orders_if_alive(tied.summary, horizon_days=tied.horizon_days, max_orders=max_orders)
        p *= tied.kappa[:, None]
        p[:, 0] = 1.0 - tied.p_order
        return p

    def value_distribution(self, tied: Tied, mean: FloatArray, *, end: int = MONTHS - 1) -> ValueDistribution:
        """Describe the value of a window, whose expectation is `mean` (n,).

        For N orders with mean ζ and values Gamma(p, ν): E[V²] = E[ζ²] · (E[N²] + E[N] / p), given an order.

        Args:
            tied: The orders ahead.
            mean: (n,) expected value.
            end: Which end of `tied.alive` the window has; 11 is the year, −1 the horizon.
        """
        cell, alive = tied.alive.inverse, tied.alive
        days = float(np.append(MONTH_ENDS_DAYS, tied.horizon_days)[end])
        orders = (alive.expected[:, end] / alive.p_order[:, end])[cell]
        factorial = (alive.factorial[:, end] / alive.p_order[:, end])[cell]
        square = np.maximum(factorial + orders, orders**2)
        known_mean = 1.0 + self.gamma_gamma.relative_variance_of_mean(tied.summary)
        relative = known_mean * (square + orders / self.gamma_gamma.p) / orders**2
        return ValueDistribution(
            p_order=tied.p_order_until(alive.p_order[:, [end]])[:, 0],
            mean=mean,
            relative_variance=self.spread.widen(relative - 1.0, days=days),
        )

    def _service_by_month(self, tied: Tied, terms: ValueTerms) -> FloatArray | float:
        """Compute the discounted cost of serving who is still alive in the middle of each month, (n, 12)."""
        if not terms.annual_service_cost:
            return 0.0
        ends = np.insert(tied.alive.survival[:, :MONTHS], 0, 1.0, axis=1)
        middle = 0.5 * (ends[:, 1:] + ends[:, :-1])
        alive = middle[tied.alive.inverse] * tied.p_alive[:, None]
        result: FloatArray = alive * terms.month_discounts * (terms.annual_service_cost / MONTHS)
        return result

    def _residual_value(self, tied: Tied, order_value: FloatArray, terms: ValueTerms) -> FloatArray:
        """Sum the discounted orders of the months of the first year and of ever longer spans, (n,).

        No product of matrices: its last digit would depend on how many customers are asked about.
        """
        if terms.annual_discount_rate <= 0:
            return np.full(len(tied.summary), np.nan)
        later_days = terms.later_years * YEAR_DAYS
        _, later = self.timing.expected_if_alive(tied.summary, ends_days=later_days)
        expected = np.hstack([tied.alive.expected[:, :MONTHS], later])
        ends_years = np.append(MONTH_ENDS_DAYS / YEAR_DAYS, terms.later_years)
        discounts = terms.span_discounts(ends_years)
        parts = [np.sum(np.diff(part, axis=1, prepend=0.0) * discounts, axis=1) for part in tied.split(expected)]
        value: FloatArray = tied.weigh(*parts) * order_value * terms.margin
        if terms.annual_service_cost:
            survives = self.timing.orders_if_alive(tied.summary, ends_days=later_days).survival
            survival = np.hstack([np.ones((len(expected), 1)), tied.alive.survival[:, :MONTHS], survives])
            years = 0.5 * (survival[:, 1:] + survival[:, :-1]) * np.diff(ends_years, prepend=0.0)
            years_alive = np.sum(years * discounts, axis=1)
            value -= years_alive[tied.alive.inverse] * tied.p_alive * terms.annual_service_cost
        return value

    def _next_order(self, tied: Tied, coverage: float) -> Wait:
        tail = 0.5 * (1.0 - coverage)
        return Wait(*self._wait_days(tied, np.array([0.5, tail, 1.0 - tail])))

    def _wait_days(self, tied: Tied, levels: FloatArray) -> FloatArray:
        """Solve P(an order within t) = level for t, (n_levels, n); NaN where an order never is so likely."""
        needed = levels[:, None] / np.maximum(tied.kappa, np.finfo(np.float64).tiny)
        which, late = np.nonzero((tied.kappa > 1.0) & (levels[:, None] > tied.p_order))
        silent = 1.0 - tied.alive.p_order[tied.alive.inverse[late], -1]
        needed[which, late] = 1.0 - (1.0 - levels[which]) * silent / (1.0 - tied.p_order[late])
        which, rows = np.nonzero(needed < 1.0)
        wait = self.timing.wait_days_if_alive(tied.summary.take(rows), needed[which, rows])
        result = np.full_like(needed, np.nan)
        result[which, rows] = np.where(np.isfinite(wait), wait, np.nan)
        return result


def _validate_churn(p_churn: FloatArray, n: int) -> None:
    if p_churn.shape != (n,):
        raise ValueError(f"p_churn has shape {p_churn.shape}; it needs one probability for each of {n}.")
    if not bool(((p_churn >= 0.0) & (p_churn <= 1.0)).all()):
        raise ValueError("p_churn must lie in [0, 1] for every customer.")
