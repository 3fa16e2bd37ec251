"""The Gamma-Gamma model of order value.

Fader and Hardie (2013), The Gamma-Gamma Model of Monetary Value, brucehardie.com/notes/025.
A customer's order values are Gamma(p, ν) with ν ~ Gamma(q, v) over customers; ζ = p/ν is the customer's true mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import ClassVar, Self

import numpy as np
from scipy.special import gammaln

from training.models.gamma_gamma_likelihood import GammaGammaLikelihood
from training.models.maximum_likelihood import Fit, count_cells, maximise, refuse, require_informative
from training.models.summary import FloatArray, PurchaseSummary

MAX_RELATIVE_VARIANCE = 1.0
MIN_RELATIVE_SPREAD = 1e-6
_STATISTICS = ("frequency", "monetary_value")
_STARTS = np.log([[2.0, 3.0, 1.0], [1.0, 1.5, 0.5], [8.0, 6.0, 0.6]])


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

    name: ClassVar[str] = "Gamma-Gamma"
    parameters: ClassVar[tuple[str, ...]] = ("p", "q", "v")

    def __post_init__(self) -> None:
        for name, low in (("p", 0.0), ("q", 1.0), ("v", 0.0)):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > low):
                raise ValueError(f"Gamma-Gamma parameter {name} must be finite and above {low:g}, got {value}.")

    @classmethod
    def fit(
        cls, summary: PurchaseSummary, *, n_customers: FloatArray | None = None, penalizer: float = 0.0
    ) -> Fit[Self]:
        """Fit by maximum likelihood to the customers whose repeat orders have a positive mean value.

        Repeat orders of value 0 say nothing of what a paid order is worth: such customers stay in the timing data only.

        Args:
            summary: One element per customer, or per cell of equal (frequency, monetary value).
            n_customers: (n,) customers in each cell; None where each row is one customer.
            penalizer: Weight of a prior that draws the parameters to `_STARTS[0]` (see `maximise`).

        Raises:
            ConvergenceError: `too_few` such customers, `no_spread` in what they spend, a `ridge`, or an
                `infinite_mean`: the best fit has q ≤ 1.
        """
        is_known = summary.monetary_is_known()
        known = summary.take(is_known)
        cells = count_cells(known, None if n_customers is None else n_customers[is_known], by=_STATISTICS)
        require_informative(cells.total, cls.name, what="with a repeat order of positive value")
        value, weights = cells.summary.monetary_value, cells.n_customers
        scale = float(np.average(value, weights=weights))
        if float(np.average((value / scale - 1.0) ** 2, weights=weights)) < MIN_RELATIVE_SPREAD**2:
            raise refuse(cls.name, "no_spread", "the mean order value of all customers is the same")
        build = partial(GammaGammaLikelihood, scale=scale)
        peak, covariance, log_likelihood = maximise(
            build, cells, _STARTS, name=cls.name, names=cls.parameters, penalizer=penalizer
        )
        estimates = np.exp(peak) * np.array([1.0, 1.0, scale])
        if not estimates[1] > 1.0:
            raise refuse(cls.name, "infinite_mean", f"q = {estimates[1]:.3g} is not above 1, so no mean value exists")
        return Fit(
            model=cls(*estimates.tolist()),
            names=cls.parameters,
            estimates=estimates,
            covariance=covariance * np.outer(estimates, estimates),
            log_likelihood=log_likelihood - cells.total * float(np.log(scale)),
            n_customers=cells.total,
            penalizer=penalizer,
        )

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
