"""Churn: the probability that no order comes within the horizon."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from training.models.trees import Trees

Vector = npt.NDArray[np.float64]
_EPSILON = 1e-6


@dataclass(frozen=True, slots=True)
class ProbabilityCalibrator:
    """Platt scaling: p ↦ σ(intercept + slope · logit p) (Platt 1999, Probabilistic outputs for SVMs, eq. 1)."""

    slope: float = 1.0
    intercept: float = 0.0

    def calibrate(self, p: Vector) -> Vector:
        """Return calibrated probabilities, shape (n,)."""
        return np.asarray(1.0 / (1.0 + np.exp(-(self.intercept + self.slope * logit(p)))))


@dataclass(frozen=True, slots=True)
class ChurnModel:
    """The plain opinion pool of calibrated trees and the purchase process (Stone 1961, linear pool).

    Each forgives the other's fault: trees are miscalibrated when the season moves between cutoffs, the process
    knows no behaviour beyond timing. The weight is a setting, not fitted, because a weight fitted on one season's
    move is wrong on the next.

    Args:
        trees: Binary trees for churn, or None where the shop has too few of either class: the process then answers.
        calibrator: Applied to the trees' probability.
        process_weight: Weight of the purchase process in the pool, 0 to 1; 1 where there are no trees.
    """

    trees: Trees | None
    calibrator: ProbabilityCalibrator
    process_weight: float

    def p_churn(self, inputs: npt.NDArray[np.float64], p_no_order: Vector) -> Vector:
        """Return the probability of no order within the horizon, shape (n,).

        Args:
            inputs: Model matrix (see `model_inputs`).
            p_no_order: The purchase process's own probability of no order, shape (n,).
        """
        if self.trees is None:
            return p_no_order
        learned = self.calibrator.calibrate(self.trees.predict(inputs))
        return (1.0 - self.process_weight) * learned + self.process_weight * p_no_order

    def to_dict(self) -> dict[str, Any]:
        """Return what is not trees as JSON values."""
        return {"calibrator": asdict(self.calibrator), "process_weight": self.process_weight}

    @classmethod
    def from_dict(cls, values: dict[str, Any], trees: Trees | None) -> Self:
        """Rebuild a model from `to_dict` and its trees.

        Raises:
            ValueError: If the trees are not binary, or the weight is no share.
        """
        is_binary = trees is None or (trees.n_outputs == 1 and not trees.is_regression)
        if not (is_binary and 0.0 <= values["process_weight"] <= 1.0):
            raise ValueError("the trees are not binary, or the weight is no share")
        return cls(trees, ProbabilityCalibrator(**values["calibrator"]), values["process_weight"])


def logit(p: Vector) -> Vector:
    """Return log-odds, with probabilities kept one millionth away from 0 and 1."""
    kept = np.clip(p, _EPSILON, 1.0 - _EPSILON)
    return np.asarray(np.log(kept) - np.log1p(-kept))
