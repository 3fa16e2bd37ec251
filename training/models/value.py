"""Value: what those who order within the horizon are worth, as a correction of the purchase process by trees."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from training.models.trees import Trees

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ValueModel:
    """How much those who order are worth over the horizon: the purchase process, trees, or both.

    The trees answer the logarithm of a ratio, the value that came over what the process had expected, so that a
    customer who buys for a hundred times the usual is still compared with themselves:

        learned = min(cap, scale · process_value · exp(trees(inputs, process_value))),
        value_if_ordered = (1 − process_weight) · learned + process_weight · process_value.

    Times 1 − p_churn this is the value over the horizon: the second stage of a two-stage model (Mullahy 1986,
    Specification and testing of some modified count data models), whose first stage is the churn model's own.

    Args:
        trees: One output, over the model matrix and `process_value` as the last column; None where the shop has too
            few who ordered, or the process alone was better: the process then answers.
        scale: Makes the totals of held-out customers agree, as the mean of a logarithm does not (Duan 1983, Smearing
            estimate); 1 without trees.
        process_weight: Weight of the process in the blend, 0 to 1; 1 without trees.
        cap: The highest value that a customer brought in training, in currency units: what is learned does not go
            beyond it; None without trees.

    Raises:
        ValueError: If the trees answer no numbers, a parameter is out of range, or trees and cap do not come together.
    """

    trees: Trees | None
    scale: float
    process_weight: float
    cap: float | None

    def __post_init__(self) -> None:
        if self.trees is not None and not self.trees.is_regression:
            raise ValueError("the trees of the value model answer no numbers")
        if (self.trees is None) != (self.cap is None):
            raise ValueError("trees and cap of the value model do not come together")
        positive = (self.scale, *(() if self.cap is None else (self.cap,)))
        if not (all(np.isfinite(x) and x > 0.0 for x in positive) and 0.0 <= self.process_weight <= 1.0):
            raise ValueError("the scale or cap of the value model is not above 0, or its weight is no share")

    @classmethod
    def of_process(cls) -> Self:
        """Return the model that leaves every answer to the purchase process."""
        return cls(trees=None, scale=1.0, process_weight=1.0, cap=None)

    def value_if_ordered(self, inputs: Matrix, process_value: Vector) -> Vector:
        """Return the expected value within the horizon given at least one order in it, in currency units, shape (n,).

        Args:
            inputs: Model matrix (see `model_inputs`), shape (n, n_inputs).
            process_value: The purchase process's own answer to the same question, above 0, shape (n,).
        """
        if self.trees is None or self.cap is None:
            return process_value
        correction = np.exp(self.trees.predict(value_inputs(inputs, process_value)))
        learned = np.minimum(self.cap, self.scale * process_value * correction)
        return np.asarray((1.0 - self.process_weight) * learned + self.process_weight * process_value)

    def to_dict(self) -> dict[str, Any]:
        """Return what is not trees as JSON values."""
        return {"scale": self.scale, "process_weight": self.process_weight, "cap": self.cap}

    @classmethod
    def from_dict(cls, values: dict[str, Any], trees: Trees | None) -> Self:
        """Rebuild a model from `to_dict` and its trees.

        Raises:
            ValueError: If they do not make a model.
        """
        return cls(trees, values["scale"], values["process_weight"], values["cap"])


def value_inputs(inputs: Matrix, process_value: Vector) -> Matrix:
    """Return what the value trees see: the model matrix and what the process says, shape (n, n_inputs + 1)."""
    return np.column_stack([inputs, process_value])
