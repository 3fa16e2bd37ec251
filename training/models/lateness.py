"""Lateness: what a silence adds to the probability of churn of a customer who is past their own usual gap.

Someone who used to order every week and has been silent for three months is late, however good a customer they are. So
they are compared with themselves: the model is asked again, as if their last order were one usual gap ago.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from training.models.lifecycle import Seen
from training.models.summary import YEAR_DAYS, PurchaseSummary

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
_Columns = Mapping[str, Vector]

_SILENCE, _GAP = "days_since_last_order", "median_gap_days"
_ON_TIME: Mapping[str, Callable[[_Columns], Vector | float]] = {
    "T_days": lambda f: f["T_days"] - (f[_SILENCE] - f[_GAP]),
    _SILENCE: lambda f: f[_GAP],
    "silence_to_mean_gap": lambda f: f[_GAP] / f["mean_gap_days"],
    "silence_to_max_gap": lambda f: f[_GAP] / f["max_gap_days"],
    "silence_to_median_gap": lambda _: 1.0,
    "silence_score": lambda f: (f[_GAP] - f["mean_gap_days"]) / f["std_gap_days"],
    "overdue_days": lambda _: 0.0,
    "recency_share": lambda f: f["recency_days"] / (f["T_days"] - (f[_SILENCE] - f[_GAP])),
}


def put_on_time(late: Seen, names: tuple[str, ...]) -> tuple[Matrix, PurchaseSummary]:
    """Return customers as if their last order were one usual gap ago, what is not known left so.

    Stage and orders of the last months stay as they are, so that lateness is told rather too little than too much.

    Args:
        late: What is seen of those whose silence is longer than their usual gap.
        names: Of the columns of their inputs.

    Returns:
        Their inputs, shape (n, n_inputs), and their order timing.
    """
    columns = dict(zip(names, late.inputs.T, strict=True))
    moved = late.inputs.copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        for place, name in enumerate(names):
            if name in _ON_TIME:
                moved[:, place] = np.where(np.isnan(columns[name]), np.nan, _ON_TIME[name](columns))
    return moved, _shorten(late.summary, columns[_SILENCE] - columns[_GAP])


def _shorten(summary: PurchaseSummary, days: Vector) -> PurchaseSummary:
    """Return the order timing so many days earlier."""
    year_day = None if summary.year_day is None else np.mod(summary.year_day - days, YEAR_DAYS)
    return replace(summary, T_days=summary.T_days - days, year_day=year_day)
