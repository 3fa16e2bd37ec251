"""Order timing of a shop whose customers order at regular intervals, as subscribers do: MBG/CNBD-k.

Reutterer, Platzer and Schröder (2021), Leveraging purchase regularity for predicting customer behavior the easy way,
International Journal of Research in Marketing 38(1), 194-215. As MBG/NBD, but an order is every k-th event of the
customer's Poisson process, so that gaps are Erlang-k and silence beyond the usual gap says much. After x orders at t_x
the rate is Gamma(r + kx, alpha + t_x), and no order follows within s with

    S(s) = P(N < k) = 1 − I_{w/(1+w)}(k, r + kx),   w = s / (alpha + t_x),   N negative binomial (Ehrenberg 1959).

So the next order is told, P(an order) = p. What follows it is told by the orders E that the MBG/NBD of the same shop
expects, with q = P(an order) of its own:

    E[Y(t) | alive] = p · max(1, min(E / q, E / p)):

E, a length of time over the mean gap, where the order is due sooner than by chance, and at least p; where it is due
later, as many as MBG/NBD expects of those to whom one comes. Given an order, Y is 1 or has the law of MBG/NBD given an
order, mixed so that the mean is that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import betaincc, betainccinv, expit, gammaln, xlogy

from training.models.mbg_nbd import MbgNbd
from training.models.summary import FloatArray, IndexArray, PurchaseSummary, find_cells
from training.models.timing import AliveOrders, p_order_of_rate

_LEAST_SURVIVAL = 1e-200
_LEAST = 1e-12  # a chance that no customer is below


@dataclass(frozen=True, slots=True)
class RegularNbd(MbgNbd):
    """Parameters of the model; the orders after the next are counted by the MBG/NBD of the same shop.

    Attributes:
        k: Events to an order, a whole number.
        rate_shape: r of the rate of events.
        rate_scale: alpha of the rate of events, in time units.

    Raises:
        ValueError: A parameter is not finite or not positive.
    """

    k: float
    rate_shape: float
    rate_scale: float

    name: ClassVar[str] = "MBG/CNBD-k"
    parameters: ClassVar[tuple[str, ...]] = ("r", "alpha", "a", "b", "k", "rate_shape", "rate_scale")
    scales: ClassVar[tuple[str, ...]] = ("alpha", "rate_scale")

    def p_alive(self, summary: PurchaseSummary) -> FloatArray:
        """Compute P(alive at the cutoff), (n,): the odds to be gone are a / (b + x) / S(T − t_x).

        A diagnostic, never a churn score.
        """
        silence = summary.T_days - summary.recency_days
        log_survival = self._log_survival(summary, silence[:, None])[:, 0]
        result: FloatArray = expit(log_survival - np.log(self.a / (self.b + summary.frequency)))
        return result

    def p_order_if_alive(self, summary: PurchaseSummary, *, horizon_days: float | FloatArray) -> FloatArray:
        """Compute 1 − S(T − t_x + t) / S(T − t_x), (n,): P(an order within the horizon | alive)."""
        days = np.broadcast_to(np.asarray(horizon_days, dtype=np.float64), len(summary))
        return self._p_order(summary, days[:, None])[:, 0]

    def wait_days_if_alive(self, summary: PurchaseSummary, p: FloatArray) -> FloatArray:
        """Solve S(T − t_x + t) = (1 − p) · S(T − t_x) for t, (n,); infinite at p = 1."""
        silence = summary.T_days - summary.recency_days
        left = np.exp(self._log_survival(summary, silence[:, None])[:, 0]) * (1.0 - p)
        shape = self.rate_shape + self.k * summary.frequency
        passed = betainccinv(self.k, shape, left)
        with np.errstate(divide="ignore"):
            result: FloatArray = passed / (1.0 - passed) * self._scale_of_silence(summary) - silence
        return np.maximum(result, 0.0)

    def orders_if_alive(self, summary: PurchaseSummary, *, ends_days: FloatArray) -> AliveOrders:
        """Compute the orders to come from a living customer to each of k ends, once per cell of equal timing."""
        one, inverse = _find_cells(summary)
        counted = MbgNbd.orders_if_alive(self, one, ends_days=ends_days)
        by = counted.inverse
        known = self._tie(one, ends_days, counted.expected[by], counted.p_order[by])
        factorial = known.p_order * known.p_as_counted * counted.factorial[by] / _positive(counted.p_order[by])
        return AliveOrders(inverse, known.expected, factorial, known.p_order, counted.survival[by])

    def expected_if_alive(self, summary: PurchaseSummary, *, ends_days: FloatArray) -> tuple[IndexArray, FloatArray]:
        """Compute the mean of the orders to come alone; see `TimingModel.expected_if_alive`."""
        one, inverse = _find_cells(summary)
        by, counted = MbgNbd.expected_if_alive(self, one, ends_days=ends_days)
        return inverse, self._tie(one, ends_days, counted[by], self._counted_p_order(one, ends_days)).expected

    def p_orders_if_alive(self, summary: PurchaseSummary, *, horizon_days: float, max_orders: int) -> FloatArray:
        """Compute P(Y(t) = n | alive) for n = 0 … max_orders, (n, max_orders + 1)."""
        end = np.array([horizon_days], dtype=np.float64)
        result = MbgNbd.p_orders_if_alive(self, summary, horizon_days=horizon_days, max_orders=max_orders)
        by, counted = MbgNbd.expected_if_alive(self, summary, ends_days=end)
        p_counted = self._counted_p_order(summary, end)
        known = self._tie(summary, end, counted[by], p_counted)
        result *= known.p_order * known.p_as_counted / _positive(p_counted)
        result[:, :1] = 1.0 - known.p_order
        result[:, 1:2] += known.p_order * (1.0 - known.p_as_counted)
        return result

    def _tie(self, summary: PurchaseSummary, ends_days: FloatArray, counted: FloatArray, q: FloatArray) -> _Known:
        """Tie the orders that MBG/NBD counts, (n, k), and its P(an order), to the regular P(an order)."""
        p = self._p_order(summary, ends_days[None, :])
        if_ordered = counted / _positive(q)
        each = np.maximum(np.minimum(if_ordered, counted / _positive(p)), 1.0)
        more = np.divide(each - 1.0, if_ordered - 1.0, out=np.zeros_like(each), where=if_ordered > 1.0 + 1e-12)
        return _Known(p, p * each, np.clip(more, 0.0, 1.0))

    def _counted_p_order(self, summary: PurchaseSummary, ends_days: FloatArray) -> FloatArray:
        w = self._relative(summary.T_days[:, None], ends_days[None, :])
        return p_order_of_rate((self.r + summary.frequency)[:, None], w)

    def _p_order(self, summary: PurchaseSummary, days: FloatArray) -> FloatArray:
        """Compute P(an order within `days` | alive), (n, k), of days (n, k) or (1, k): above 0 within any time."""
        silence = (summary.T_days - summary.recency_days)[:, None]
        fall = self._log_survival(summary, silence + days) - self._log_survival(summary, silence)
        return np.maximum(-np.expm1(np.minimum(fall, 0.0)), np.where(days > 0.0, _LEAST, 0.0))

    def _log_survival(self, summary: PurchaseSummary, days: FloatArray) -> FloatArray:
        """Compute log S, (n, k), of silences (n, k); its leading term, N = k − 1, where S has no more digits."""
        w = days / self._scale_of_silence(summary)[:, None]
        shape = (self.rate_shape + self.k * summary.frequency)[:, None]
        survival = betaincc(self.k, shape, w / (1.0 + w))
        leading = gammaln(shape + self.k - 1.0) - gammaln(shape) - gammaln(self.k)
        leading = leading + xlogy(self.k - 1.0, w) - (shape + self.k - 1.0) * np.log1p(w)
        result: FloatArray = np.where(
            survival > _LEAST_SURVIVAL, np.log(np.maximum(survival, _LEAST_SURVIVAL)), leading
        )
        return result

    def _scale_of_silence(self, summary: PurchaseSummary) -> FloatArray:
        return self.rate_scale * self.time_unit_days + summary.recency_days


@dataclass(frozen=True, slots=True)
class _Known:
    """What a regular shop's living customers do, three arrays (n, k).

    Attributes:
        p_order: P(an order).
        expected: Orders.
        p_as_counted: Weight of the law of MBG/NBD, given an order; the rest is one order.
    """

    p_order: FloatArray
    expected: FloatArray
    p_as_counted: FloatArray


def _positive(values: FloatArray) -> FloatArray:
    return np.maximum(values, np.finfo(np.float64).tiny)


def _find_cells(summary: PurchaseSummary) -> tuple[PurchaseSummary, IndexArray]:
    """Return one customer of each cell of equal (frequency, T, t_x), and the cell of each customer."""
    cells = find_cells(summary.frequency, summary.T_days, summary.recency_days)
    return summary.take(cells.first), cells.inverse
