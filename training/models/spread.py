"""How far outcomes lie from expectations: for one customer, and for all of them together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincinv, ndtri

from training.models.summary import FloatArray
from training.models.value_terms import YEAR_DAYS

UNMEASURED_ERROR = 0.2  # relative, of a total, where no earlier window was looked at: seasons move totals by a fifth


@dataclass(frozen=True, slots=True)
class Spread:
    """What intervals take from earlier time, beyond what the purchase process says of itself.

    Attributes:
        dispersion: Factor of each customer's relative variance given an order; 1 leaves it.
        window_days: Length of the windows that it was measured on.
        common_error: Relative standard error that all customers' values share, because parameters are estimated and
            years differ. It does not average out in a total.
        history_days: Days of the shop's history that the process was fitted to; below a year, what a year brings is
            extrapolated, and no interval of it was ever checked.

    Raises:
        ValueError: A figure is not finite or out of range.
    """

    dispersion: float = 1.0
    window_days: float = YEAR_DAYS
    common_error: float = 0.0
    history_days: float = 0.0

    def __post_init__(self) -> None:
        is_sound = 0.0 < self.dispersion < np.inf and 0.0 <= self.common_error < np.inf
        if not (is_sound and 0.0 < self.window_days < np.inf and 0.0 <= self.history_days < np.inf):
            raise ValueError("a spread needs a dispersion and window above 0 and an error of at least 0, all finite.")

    def widen(self, relative_variance: FloatArray, *, days: float) -> FloatArray:
        """Return the relative variance of one customer's value, (n,): dispersed, and with the error all share.

        The further a window of `days` reaches beyond those that the dispersion was measured on, the less of it is
        believed: its logarithm falls with the root of their ratio.
        """
        dispersion = self.dispersion ** min(1.0, float(np.sqrt(self.window_days / days)))
        result: FloatArray = (1.0 + dispersion * relative_variance) * (1.0 + self.common_error**2) - 1.0
        return result

    def total_interval(
        self,
        mean: FloatArray,
        standard_deviation: FloatArray,
        *,
        coverage: float,
        n_customers: FloatArray | float = 1.0,
    ) -> tuple[float, float]:
        """Compute the interval of a list's total: customers vary on their own, and all with the common error.

        The total is taken as gamma distributed, which no short list leads below 0 and a long one to the normal
        distribution; as normal where costs leave less than nothing. Where an order of a short list is so unlikely
        that both quantiles lie on one side of the total, the interval is widened to hold it.

        Args:
            mean: (n,) expected values of the listed customers.
            standard_deviation: (n,) of their values.
            coverage: Share of outcomes that the interval should hold, in (0, 1).
            n_customers: (n,) customers of each row, who vary each on their own.
        """
        total = float(np.sum(n_customers * mean))
        squares = n_customers * np.square(standard_deviation), n_customers * np.square(mean)
        own = float(np.sum(squares[0]) - self.common_error**2 * np.sum(squares[1]))
        variance = max(own, 0.0) + (self.common_error * total) ** 2
        tail = 0.5 * (1.0 - coverage)
        if total <= 0.0 or variance == 0.0:
            half = float(ndtri(1.0 - tail)) * float(np.sqrt(variance))
            return total - half, total + half
        shape, scale = total**2 / variance, variance / total
        low, high = (scale * float(gammaincinv(shape, level)) for level in (tail, 1.0 - tail))
        return min(low, total), max(high, total)
