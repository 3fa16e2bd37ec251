"""What a customer may turn out to be worth: nothing at all, or a gamma-distributed sum.

The distribution has an atom at 0, so that no interval can hold exactly 80 % of the outcomes of a customer who orders
with probability 15 %. `interval` is the central one, whose lower bound is 0 as soon as 0 is likelier than its tail.
`if_ordered` conditions on an order, and `pit` says where an outcome fell, for measuring coverage fairly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammainc, gammaincinv

from training.models.summary import FloatArray


@dataclass(frozen=True, slots=True)
class ValueDistribution:
    """The predictive distributions of n customers' value over one window.

    Attributes:
        p_order: (n,) P(at least one order).
        mean: (n,) expected value, 0 where no order comes included.
        relative_variance: (n,) variance ÷ mean² of the value given an order.
    """

    p_order: FloatArray
    mean: FloatArray
    relative_variance: FloatArray

    @property
    def standard_deviation(self) -> FloatArray:
        """Standard deviation of the value, (n,): what comes of the order and whether one comes."""
        with np.errstate(divide="ignore", invalid="ignore"):
            square = self.mean**2 * (self.relative_variance + 1.0) / self.p_order
        result: FloatArray = np.sqrt(np.maximum(np.where(self.mean > 0, square, 0.0) - self.mean**2, 0.0))
        return result

    @property
    def if_ordered(self) -> ValueDistribution:
        """The distributions given at least one order."""
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(self.p_order > 0, self.mean / self.p_order, 0.0)
        return replace(self, p_order=np.ones_like(self.p_order), mean=mean)

    def interval(self, coverage: float) -> tuple[FloatArray, FloatArray]:
        """Compute the central interval, two arrays (n,).

        The value is 0 with probability 1 − p_order. That at least ½(1 − coverage) puts the lower bound at 0, below
        which nothing can fall, so that such an interval holds about ½(1 + coverage) of the outcomes.
        """
        tail = 0.5 * (1.0 - coverage)
        return self.quantile(tail), self.quantile(1.0 - tail)

    def quantile(self, level: float) -> FloatArray:
        """Compute the value that a share `level` of outcomes does not exceed, (n,)."""
        result = np.zeros_like(self.mean)
        (rows,) = np.nonzero((self.p_order > 1.0 - level) & (self.mean > 0))
        p, shape = self.p_order[rows], 1.0 / self.relative_variance[rows]
        result[rows] = self.mean[rows] / p / shape * gammaincinv(shape, 1.0 - (1.0 - level) / p)
        return result

    def pit(self, observed: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Compute F(y−) and F(y) of each outcome, two arrays (n,) (Czado, Gneiting and Held 2009, Biometrics 65).

        They differ at an outcome of 0: the atom.
        """
        atom = 1.0 - self.p_order
        shape = 1.0 / self.relative_variance
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.where(self.mean > 0, np.maximum(observed, 0.0) * shape * self.p_order / self.mean, np.inf)
        at = np.where(observed > 0, atom + self.p_order * gammainc(shape, scaled), atom)
        return np.where(observed > 0, at, 0.0), at
