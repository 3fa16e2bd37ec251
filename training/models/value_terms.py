"""How orders become money: the year and its months, margin, cost of service, discount."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import exp1

from training.models.summary import FloatArray

MONTHS = 12
YEAR_DAYS = 365.25
_LATER_YEARS: FloatArray = np.array([2.0, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987])  # each the sum of two
MONTH_ENDS_DAYS: FloatArray = np.arange(1, MONTHS + 1, dtype=np.float64) * (YEAR_DAYS / MONTHS)


@dataclass(frozen=True, slots=True)
class ValueTerms:
    """What a shop counts as value.

    Attributes:
        margin: Share of an order's value that counts, at least 0; 1 makes the value a revenue.
        annual_discount_rate: Yearly rate d; a month's value is discounted from the month's middle, (1 + d)^−years.
        annual_service_cost: What serving a customer who is still alive costs a year, in currency units.

    Raises:
        ValueError: A term is out of range.
    """

    margin: float = 1.0
    annual_discount_rate: float = 0.10
    annual_service_cost: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.margin) and self.margin >= 0):
            raise ValueError(f"margin must be at least 0, got {self.margin}.")
        if not (np.isfinite(self.annual_discount_rate) and self.annual_discount_rate > -1):
            raise ValueError(f"annual_discount_rate must be above -1, got {self.annual_discount_rate}.")
        if not (np.isfinite(self.annual_service_cost) and self.annual_service_cost >= 0):
            raise ValueError(f"annual_service_cost must be at least 0, got {self.annual_service_cost}.")

    @property
    def month_discounts(self) -> FloatArray:
        """Discount factor of each month, (12,)."""
        middle_years = (np.arange(MONTHS, dtype=np.float64) + 0.5) / MONTHS
        result: FloatArray = (1.0 + self.annual_discount_rate) ** -middle_years
        return result

    @property
    def later_years(self) -> FloatArray:
        """Ends in years of the spans that follow the first year, (k,), until a ten-thousandth of a value is left."""
        last = -np.log(1e-4) / np.log1p(self.annual_discount_rate)
        return _LATER_YEARS[: int(np.searchsorted(_LATER_YEARS, last)) + 1]

    def span_discounts(self, ends_years: FloatArray) -> FloatArray:
        """Return the mean discount of the spans between 0 and each of k ends, (k,).

        Orders come ever more slowly: the mean of a rate that is constant within a span, and of one that falls as 1/t,
        is within about 0.4 % for a whole life in 20 spans. The rate must be above 0.
        """
        delta, starts = float(np.log1p(self.annual_discount_rate)), np.append(0.0, ends_years[:-1])
        lengths = delta * (ends_years - starts)
        result: FloatArray = np.exp(-delta * starts) * -np.expm1(-lengths) / lengths
        falling = exp1(delta * starts[1:]) - exp1(delta * ends_years[1:])
        result[1:] = 0.5 * (result[1:] + falling / np.log(ends_years[1:] / starts[1:]))
        return result
