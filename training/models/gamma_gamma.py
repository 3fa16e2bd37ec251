"""The Gamma-Gamma model of order value.

Fader and Hardie (2013), The Gamma-Gamma Model of Monetary Value, brucehardie.com/notes/025.
A customer's order values are Gamma(p, ν) with ν ~ Gamma(q, v) over customers; ζ = p/ν is the customer's true mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
from scipy.special import gammaln

from training.models.summary import FloatArray, PurchaseSummary

MAX_RELATIVE_VARIANCE = 1.0


@dataclass(frozen=True, slots=True)
class GammaGamma:
    """Parameters of the Gamma-Gamma model; `v` is in currency units.

    Attributes:
        p: Shape of a customer's order values.
        q: Shape of the gamma distribution of the customers' scale ν; above 1, or the mean value is infinite.
        v: Rate of that distribution.

    Raises:
        ValueError: A parameter is not finite, p or v is not positive, or q is not above 1.
    """

    p: float
    q: float
    v: float

    def __post_init__(self) -> None:
        for name, low in (("p", 0.0), ("q", 1.0), ("v", 0.0)):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > low):
                raise ValueError(f"Gamma-Gamma parameter {name} must be finite and above {low:g}, got {value}.")

    def to_dict(self) -> dict[str, float]:
        """Return the parameters as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, parameters: Mapping[str, float]) -> Self:
        """Restore a model from `to_dict`."""
        return cls(**{name: float(value) for name, value in parameters.items()})

    @property
    def population_mean(self) -> float:
        """Mean order value over all customers: p·v / (q − 1)."""
        return self.p * self.v / (self.q - 1.0)

    def log_likelihood(self, summary: PurchaseSummary) -> FloatArray:
        """Compute log f(m | x), (n,), 0 where the value is not known (Fader and Hardie 2013, eq. 1a)."""
        is_known = summary.monetary_is_known()
        x, m = summary.frequency[is_known], summary.monetary_value[is_known]
        result = np.zeros(len(summary))
        constant = gammaln(self.p * x + self.q) - gammaln(self.p * x) - gammaln(self.q) + self.q * np.log(self.v)
        value = (self.p * x - 1.0) * np.log(m) + self.p * x * np.log(x)
        result[is_known] = constant + value - (self.p * x + self.q) * np.log(x * m + self.v)
        return result

    def expected_order_value(self, summary: PurchaseSummary) -> FloatArray:
        """Compute E[ζ | m, x], (n,) (Fader and Hardie 2013, eq. 5); the population mean where no value is known."""
        x = self._informative_orders(summary)
        return self.p * (self.v + x * summary.monetary_value) / (self.p * x + self.q - 1.0)

    def relative_variance_of_mean(self, summary: PurchaseSummary) -> FloatArray:
        """Compute Var(ζ | m, x) / E[ζ | m, x]², (n,): 1 / (q + p·x − 2), from ν | m, x ~ Gamma(q + p·x, v + x·m).

        Note:
            At q + p·x ≤ 3 the ratio would pass 1, and it is infinite from 2 down; it is held at 1 there.
        """
        x = self._informative_orders(summary)
        return 1.0 / np.maximum(self.q + self.p * x - 2.0, 1.0 / MAX_RELATIVE_VARIANCE)

    def relative_variance_of_order(self, summary: PurchaseSummary) -> FloatArray:
        """Compute the relative variance of a single order's value given the history, (n,)."""
        return (1.0 + self.relative_variance_of_mean(summary)) * (1.0 + 1.0 / self.p) - 1.0

    def _informative_orders(self, summary: PurchaseSummary) -> FloatArray:
        return np.where(summary.monetary_is_known(), summary.frequency, 0.0)
