"""Churn: the probability that no order comes within the horizon."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from training.models.summary import PurchaseSummary
from training.models.timing import TimingModel
from training.models.trees import Trees

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
_EPSILON = 1e-6

# What the purchase process says of a customer, in the order of the columns of `process_view`.
PROCESS_INPUTS = ("process_p_no_order", "process_p_alive", "process_expected_orders")


def process_view(timing: TimingModel, summary: PurchaseSummary, *, horizon_days: float) -> Matrix:
    """Return what a timing model says of each customer, shape (n, 3), columns as `PROCESS_INPUTS`."""
    return np.column_stack(
        [
            timing.p_no_order(summary, horizon_days=horizon_days),
            timing.p_alive(summary),
            timing.expected_orders(summary, horizon_days=horizon_days),
        ]
    )


@dataclass(frozen=True, slots=True)
class ProbabilityCalibrator:
    """A straight line on log-odds: p ↦ σ(intercept + slope · logit p) (Platt 1999, Probabilistic outputs, eq. 1)."""

    slope: float = 1.0
    intercept: float = 0.0

    def calibrate(self, p: Vector) -> Vector:
        """Return calibrated probabilities, shape (n,)."""
        return np.asarray(1.0 / (1.0 + np.exp(-(self.intercept + self.slope * logit(p)))))


@dataclass(frozen=True, slots=True)
class ChurnModel:
    """A calibrated linear opinion pool of trees and the purchase process (Stone 1961, The opinion pool).

    Each forgives the other's fault: trees are miscalibrated when the season moves between cutoffs, the process knows
    no behaviour beyond timing. A pool of calibrated opinions is less sure than it could be (Ranjan and Gneiting 2010,
    Combining probability forecasts), so it is calibrated as a whole.

    Args:
        trees: Binary trees for churn, or None where the shop has too few of either class: the process then answers.
        process_weight: Weight of the purchase process in the pool, 0 to 1; 1 where there are no trees.
        calibrator: Applied to the pool; the identity where there are no trees.
        reads_process: Whether the trees see `PROCESS_INPUTS` as their last columns.
    """

    trees: Trees | None
    process_weight: float
    calibrator: ProbabilityCalibrator = ProbabilityCalibrator()
    reads_process: bool = False

    def p_churn(self, inputs: Matrix, process: Matrix) -> Vector:
        """Return the probability of no order within the horizon, shape (n,).

        Args:
            inputs: Model matrix (see `model_inputs`), shape (n, n_inputs).
            process: What the purchase process says (see `process_view`), shape (n, 3).
        """
        p_no_order: Vector = process[:, 0]
        if self.trees is None:
            return p_no_order
        learned = self.trees.predict(self.tree_inputs(inputs, process))
        return self.calibrator.calibrate(pool(learned, p_no_order, self.process_weight))

    def tree_inputs(self, inputs: Matrix, process: Matrix) -> Matrix:
        """Return what the trees see, shape (n, n_inputs + 3), or the inputs alone."""
        return tree_inputs(inputs, process, reads_process=self.reads_process)

    def to_dict(self) -> dict[str, Any]:
        """Return what is not trees as JSON values."""
        return {
            "calibrator": asdict(self.calibrator),
            "process_weight": self.process_weight,
            "reads_process": self.reads_process,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any], trees: Trees | None) -> Self:
        """Rebuild a model from `to_dict` and its trees.

        Raises:
            ValueError: If the trees are not binary, the weight is no share, or the calibrator does not keep the order.
        """
        calibrator, weight = ProbabilityCalibrator(**values["calibrator"]), values["process_weight"]
        is_binary = trees is None or (trees.n_outputs == 1 and not trees.is_regression)
        keeps_order = np.isfinite(calibrator.intercept) and calibrator.slope >= 0.0
        if not (is_binary and keeps_order and 0.0 <= weight <= 1.0):
            raise ValueError("the trees are not binary, the weight is no share, or the calibrator turns the order")
        return cls(trees, weight, calibrator, reads_process=bool(values["reads_process"]))


def tree_inputs(inputs: Matrix, process: Matrix, *, reads_process: bool) -> Matrix:
    """Return what churn trees see, in training and in answers alike: the inputs, and the process where they read it."""
    return np.column_stack([inputs, process]) if reads_process else inputs


def pool(learned: Vector, p_no_order: Vector, process_weight: float) -> Vector:
    """Return the weighted mean of two opinions, shape (n,)."""
    return np.asarray((1.0 - process_weight) * learned + process_weight * p_no_order)


def logit(p: Vector) -> Vector:
    """Return log-odds, with probabilities kept one millionth away from 0 and 1."""
    kept = np.clip(p, _EPSILON, 1.0 - _EPSILON)
    return np.asarray(np.log(kept) - np.log1p(-kept))
