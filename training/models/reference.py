"""The reference: what a customer is compared with where the model gives its reasons.

It is learned from the active customers, those who are not lost: in a shop where most are long gone, nearly everyone
who can still be kept would be better than the average.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from training.models.churn import PROCESS_INPUTS
from training.models.themes import SILENCE, THEMES, themes_of

Matrix = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Reference:
    """What customers are compared with, frozen by training.

    Args:
        inputs: Input of the churn model → median of the ordinary customers, the tenth of the active whose probability
            of churn lies closest to the base; None where most of them have none.
        usual: `shop_<figure>` → what is usual among the active (see `find_usual`).
        p_no_order: Their mean of the purchase process's P(no order).
        mean_parts: Input → what it adds to their probability of churn on average, which counts for nothing.
        mean_process_part: The same of the purchase process.
        process: What the process says of a customer with the median frequency, recency and T of the ordinary ones, as
            `PROCESS_INPUTS`.
    """

    inputs: Mapping[str, float | None]
    usual: Mapping[str, float]
    p_no_order: float
    mean_parts: Mapping[str, float]
    mean_process_part: float
    process: tuple[float, ...]

    def input(self, name: str) -> float:
        """Return the median of an input as the model matrix holds it: NaN for none."""
        value = self.inputs[name]
        return math.nan if value is None else value

    def means(self, names: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return the mean part of each input, and last that of the purchase process, shape (n_inputs + 1,)."""
        return np.array([*(self.mean_parts[name] for name in names), self.mean_process_part])

    def make_ordinary(
        self, inputs: Matrix, process: Matrix, names: tuple[str, ...], *, rows: IndexArray, themes: IndexArray
    ) -> tuple[Matrix, Matrix]:
        """Return customers who are as usual in one theme, and themselves in all else.

        Args:
            inputs: Of all customers, shape (n, n_inputs).
            process: What the process says of them, shape (n, 3).
            names: Of the inputs.
            rows: Of the customers to return, shape (n_asked,).
            themes: In which theme each is as usual, as its position in `THEMES`, shape (n_asked,).

        Returns:
            Their inputs, and what the process says of them.
        """
        usual = np.array([self.input(name) for name in names])
        is_silence = (themes == THEMES.index(SILENCE))[:, None]
        return (
            np.where(_is_of_theme(names)[themes], usual, inputs[rows]),
            np.where(is_silence, self.process, process[rows]),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the reference as JSON values."""
        return {
            "inputs": dict(self.inputs),
            "usual": dict(self.usual),
            "p_no_order": self.p_no_order,
            "mean_parts": dict(self.mean_parts),
            "mean_process_part": self.mean_process_part,
            "process": list(self.process),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any], names: Sequence[str]) -> Self:
        """Rebuild a reference from `to_dict`, for a model of these inputs.

        Raises:
            ValueError: If it lacks the median or the mean part of one of them, or one that the process says, or a mean
                part is not finite.
        """
        known = values["inputs"].keys() & values["mean_parts"].keys()
        if not known >= set(names) or len(values["process"]) != len(PROCESS_INPUTS):
            raise ValueError("the reference lacks the value of an input")
        inputs = {name: None if value is None else float(value) for name, value in values["inputs"].items()}
        usual = {name: float(value) for name, value in values["usual"].items()}
        parts = {name: float(value) for name, value in values["mean_parts"].items()}
        process = tuple(map(float, values["process"]))
        p_no_order, mean_process_part = float(values["p_no_order"]), float(values["mean_process_part"])
        if not all(map(math.isfinite, (p_no_order, mean_process_part, *parts.values()))):
            raise ValueError("the reference holds a number that is not finite")
        return cls(inputs, usual, p_no_order, parts, mean_process_part, process)


@lru_cache(maxsize=16)
def _is_of_theme(names: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    """Tell which inputs are of which theme, shape (n_themes, n_inputs)."""
    its = np.array(themes_of(names)[: len(names)])
    return np.asarray(its == np.array(THEMES)[:, None])
