"""Lateness: what a silence adds to the probability of churn of a customer who is past their own usual gap.

Someone who used to order every week and has been silent for three months is late, however good a customer they are. So
they are compared with themselves: the model is asked again, as if their last order were one usual gap ago.
"""

import numpy as np
import numpy.typing as npt
import polars as pl

from training.models.contributions import view_process
from training.models.inputs import model_inputs
from training.models.lifecycle import LifecycleModel

Vector = npt.NDArray[np.float64]

_SILENCE, _GAP = pl.col("days_since_last_order"), pl.col("median_gap_days")
_TENURE = pl.col("T_days") - (_SILENCE - _GAP)
_ON_TIME = {
    "T_days": _TENURE,
    "days_since_last_order": _GAP,
    "silence_to_mean_gap": _GAP / pl.col("mean_gap_days"),
    "silence_to_max_gap": _GAP / pl.col("max_gap_days"),
    "silence_to_median_gap": pl.lit(1.0),
    "silence_score": (_GAP - pl.col("mean_gap_days")) / pl.col("std_gap_days"),
    "overdue_days": pl.lit(0.0),
    "recency_share": pl.col("recency_days") / _TENURE,
}


def find_lateness(model: LifecycleModel, late: pl.DataFrame, p_churn: Vector) -> Vector:
    """Return what lateness adds to the probability of churn, (n,).

    Stage and orders of the last months stay as they are, so that it is rather too little than too much.

    Args:
        model: Which.
        late: Customer table of those whose silence is longer than their usual gap.
        p_churn: What the model says of them, (n,).
    """
    if late.height == 0:
        return np.zeros(0)
    on_time = put_on_time(late)
    return p_churn - model.churn.p_churn(model_inputs(on_time, model.features), view_process(model, on_time))


def put_on_time(table: pl.DataFrame) -> pl.DataFrame:
    """Return the customers as if their last order were one usual gap ago, what is not known left so."""
    moved = {name: pl.when(pl.col(name).is_not_null()).then(value) for name, value in _ON_TIME.items()}
    return table.with_columns(**{name: value for name, value in moved.items() if name in table.columns})
