"""What every metric takes: arrays of one element per customer."""

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Array = npt.NDArray[Any]


def mean(values: Array) -> float:
    """Compute the mean; NaN of nobody, without a warning."""
    return float(np.mean(values)) if len(values) else float("nan")
