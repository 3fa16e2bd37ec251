"""One purchase process per customer, tied to the learned churn probability.

BG/NBD says how orders follow one another while a customer lives; `p_churn` says whether one comes at all within the
horizon H. With q(t) = P(an order within t | alive), the tied process is the BG/NBD process of a living customer,
taken with weight kappa = (1 − p_churn) / q(H):

    expected_orders(t) = kappa · E[Y(t) | alive],   P(an order within t) = min(1, kappa · q(t)).

Over H this gives P(no order) = p_churn and E[orders] = (1 − p_churn) · E[orders | at least one], exactly. It equals
BG/NBD scaled by (1 − p_churn) / P_bg(at least one order in H): BG/NBD's own p_alive cancels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import gammaincinv

from training.models.bg_nbd import AliveOrders, BgNbd
from training.models.gamma_gamma import GammaGamma
from training.models.summary import FloatArray, IndexArray, PurchaseSummary

MONTHS = 12
YEAR_DAYS = 365.25
MONTH_ENDS_DAYS: FloatArray = np.arange(1, MONTHS + 1, dtype=np.float64) * (YEAR_DAYS / MONTHS)

_MAX_EXPONENT = 700.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """What each customer is expected to order and to be worth. One row per customer.

    Attributes:
        p_alive: (n,) min(1, (1 − p_churn) / q(H)); never below 1 − p_churn.
        expected_orders: (n,) orders within the horizon.
        expected_order_value: (n,) mean value of an order, in currency units.
        next_order_days: (n,) median days from the cutoff to the next order; NaN where it is likelier than not
            that none ever comes. Within the horizon exactly where p_churn is at most one half.
        orders_by_month: (n, 12) orders in each month of 365.25 / 12 days.
        clv_by_month: (n, 12) discounted margin in each of these months.
        clv_12m: (n,) row sum of `clv_by_month`.
        clv_12m_low: (n,) lower bound of the central interval of the value that the year will bring.
        clv_12m_high: (n,) upper bound. Where an order is unlikely both quantiles are 0 and the mean is not; the
            interval is then widened to hold the mean, because an estimate outside its own interval reads as a fault.
    """

    p_alive: FloatArray
    expected_orders: FloatArray
    expected_order_value: FloatArray
    next_order_days: FloatArray
    orders_by_month: FloatArray
    clv_by_month: FloatArray
    clv_12m: FloatArray
    clv_12m_low: FloatArray
    clv_12m_high: FloatArray


@dataclass(frozen=True, slots=True)
class PurchaseProcess:
    """Order timing and order value together.

    Attributes:
        bg_nbd: Model of order timing.
        gamma_gamma: Model of order value.
    """

    bg_nbd: BgNbd
    gamma_gamma: GammaGamma

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Return the parameters as JSON types."""
        return {"bg_nbd": self.bg_nbd.to_dict(), "gamma_gamma": self.gamma_gamma.to_dict()}

    @classmethod
    def from_dict(cls, parameters: Mapping[str, Mapping[str, float]]) -> Self:
        """Restore a process from `to_dict`."""
        return cls(BgNbd.from_dict(parameters["bg_nbd"]), GammaGamma.from_dict(parameters["gamma_gamma"]))

    def predict(
        self,
        summary: PurchaseSummary,
        p_churn: FloatArray,
        *,
        horizon_days: float,
        margin: float,
        annual_discount_rate: float,
        interval_coverage: float,
    ) -> Forecast:
        """Forecast orders and value over the horizon and over the next 12 months. One row per customer.

        Args:
            summary: What was known at the cutoff.
            p_churn: (n,) probability of no order within the horizon; used as it is, never altered.
            horizon_days: Horizon of `p_churn`, above 0.
            margin: Share of an order's value that counts, at least 0.
            annual_discount_rate: Yearly rate d; a month's value is discounted from the month's middle,
                (1 + d)^−years.
            interval_coverage: Share of outcomes that `clv_12m_low` to `clv_12m_high` should hold, in (0, 1).

        Raises:
            ValueError: An argument is out of range, or `p_churn` does not have one probability per customer.
        """
        _validate(
            summary,
            p_churn,
            horizon_days=horizon_days,
            margin=margin,
            annual_discount_rate=annual_discount_rate,
            interval_coverage=interval_coverage,
        )
        alive = self.bg_nbd.orders_if_alive(summary, ends_days=np.append(MONTH_ENDS_DAYS, horizon_days))
        p_order, p_order_alive = 1.0 - p_churn, alive.p_order[:, -1][alive.inverse]
        kappa = p_order / p_order_alive
        order_value = self.gamma_gamma.expected_order_value(summary)
        orders_by_month = np.diff(alive.expected[:, :MONTHS], axis=1, prepend=0.0)[alive.inverse]
        orders_by_month *= kappa[:, None]
        clv_by_month = orders_by_month * _month_discounts(annual_discount_rate)
        clv_by_month *= (order_value * margin)[:, None]
        clv_12m: FloatArray = clv_by_month.sum(axis=1)
        low, high = self._interval(summary, alive, kappa, clv_12m, coverage=interval_coverage)
        return Forecast(
            p_alive=np.minimum(1.0, kappa),
            expected_orders=p_order * (alive.expected[:, -1] / alive.p_order[:, -1])[alive.inverse],
            expected_order_value=order_value,
            next_order_days=self._median_wait_days(summary, kappa),
            orders_by_month=orders_by_month,
            clv_by_month=clv_by_month,
            clv_12m=clv_12m,
            clv_12m_low=low,
            clv_12m_high=high,
        )

    def _median_wait_days(self, summary: PurchaseSummary, kappa: FloatArray) -> FloatArray:
        """Solve kappa · q(t) = ½ for t: (alpha + T) · ((1 − ½/kappa)^(−1/(r+x)) − 1)."""
        result = np.full(len(summary), np.nan)
        ever = kappa > 0.5
        exponent = -np.log1p(-0.5 / kappa[ever]) / (self.bg_nbd.r + summary.frequency[ever])
        scale = self.bg_nbd.alpha * self.bg_nbd.time_unit_days + summary.T_days[ever]
        result[ever] = scale * np.expm1(np.minimum(exponent, _MAX_EXPONENT))
        return result

    def _interval(
        self, summary: PurchaseSummary, alive: AliveOrders, kappa: FloatArray, clv_12m: FloatArray, *, coverage: float
    ) -> tuple[FloatArray, FloatArray]:
        """Compute the central interval of the 12-month value, two arrays (n,).

        The value is 0 with probability p0 = 1 − min(1, kappa · q(12 months)); otherwise it is taken as gamma
        distributed with the process's own mean and variance. p0 ≥ ½(1 − coverage) puts the lower bound at 0,
        below which nothing can fall, so that such an interval holds about ½(1 + coverage) of the outcomes.
        """
        p_order, tail = np.minimum(1.0, kappa * alive.p_order[alive.inverse, MONTHS - 1]), 0.5 * (1.0 - coverage)
        low, high = np.zeros(len(summary)), np.zeros(len(summary))
        (rows,) = np.nonzero((p_order > tail) & (clv_12m > 0))
        shape = self._value_shape(summary.take(rows), alive, alive.inverse[rows], kappa[rows])
        scale = clv_12m[rows] / p_order[rows] / shape
        high[rows] = scale * gammaincinv(shape, 1.0 - tail / p_order[rows])
        has_low = p_order[rows] > 1.0 - tail
        low_level = 1.0 - (1.0 - tail) / p_order[rows][has_low]
        low[rows[has_low]] = scale[has_low] * gammaincinv(shape[has_low], low_level)
        return np.minimum(low, clv_12m), np.maximum(high, clv_12m)

    def _value_shape(
        self,
        summary: PurchaseSummary,
        alive: AliveOrders,
        cell: IndexArray,
        kappa: FloatArray,
    ) -> FloatArray:
        """Compute mean² / variance of the 12-month value given at least one order, (n,).

        For N orders with mean ζ and values Gamma(p, ν): E[V²] = E[ζ²] · (E[N²] + E[N] / p).
        """
        year = MONTHS - 1
        p_order = alive.p_order[cell, year]
        excess = np.maximum(1.0, kappa * p_order)
        mean = alive.expected[cell, year] / p_order * excess
        square = np.maximum(alive.factorial[cell, year] / p_order * excess**2 + mean, mean**2)
        value_square = 1.0 + self.gamma_gamma.relative_variance_of_mean(summary)
        relative = value_square * (square + mean / self.gamma_gamma.p) / mean**2 - 1.0
        result: FloatArray = 1.0 / relative
        return result


def _month_discounts(annual_discount_rate: float) -> FloatArray:
    middle_years = (np.arange(MONTHS, dtype=np.float64) + 0.5) / MONTHS
    result: FloatArray = (1.0 + annual_discount_rate) ** -middle_years
    return result


def _validate(
    summary: PurchaseSummary,
    p_churn: FloatArray,
    *,
    horizon_days: float,
    margin: float,
    annual_discount_rate: float,
    interval_coverage: float,
) -> None:
    if p_churn.shape != (len(summary),):
        raise ValueError(f"p_churn has shape {p_churn.shape}; it needs one probability for each of {len(summary)}.")
    if not bool(((p_churn >= 0.0) & (p_churn <= 1.0)).all()):
        raise ValueError("p_churn must lie in [0, 1] for every customer.")
    if not (np.isfinite(horizon_days) and horizon_days > 0):
        raise ValueError(f"horizon_days must be above 0, got {horizon_days}.")
    if not (np.isfinite(margin) and margin >= 0):
        raise ValueError(f"margin must be at least 0, got {margin}.")
    if not (np.isfinite(annual_discount_rate) and annual_discount_rate > -1):
        raise ValueError(f"annual_discount_rate must be above -1, got {annual_discount_rate}.")
    if not 0.0 < interval_coverage < 1.0:
        raise ValueError(f"interval_coverage must lie between 0 and 1, got {interval_coverage}.")
