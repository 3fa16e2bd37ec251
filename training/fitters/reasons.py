"""Learn what reasons compare customers with: the active customers of the shop."""

import numpy as np
import numpy.typing as npt
import polars as pl

from training.models.contributions import draw, share_out_from
from training.models.figures import find_usual
from training.models.lifecycle import LifecycleModel
from training.models.reference import Reference
from training.models.summary import PurchaseSummary

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]

_MIN_ACTIVE = 30
_MIN_ORDINARY = 30


def learn_reference(model: LifecycleModel, present: pl.DataFrame) -> Reference:
    """Learn what is usual among the active customers at the cutoff.

    Args:
        model: What was trained for that cutoff.
        present: Its customer table; of a large one, active customers drawn at random stand for all.
    """
    active = draw(_take_active(present))
    seen, names = model.see(active), model.inputs
    p_no_order = float(seen.process[:, 0].mean())
    parts = share_out_from(p_no_order, model.churn, seen)
    *means, process_mean = parts.values.mean(axis=0).tolist()
    ordinary = seen.take(_find_ordinary(seen.p_churn))
    return Reference(
        inputs=dict(zip(names, pl.Series(_medians(ordinary.inputs), nan_to_null=True).to_list(), strict=True)),
        usual=find_usual(dict(zip(names, seen.inputs.T, strict=True))),
        p_no_order=p_no_order,
        mean_parts=dict(zip(names, means, strict=True)),
        mean_process_part=process_mean,
        process=_view_ordinary(model, ordinary.summary),
    )


def _take_active(present: pl.DataFrame) -> pl.DataFrame:
    """Return the customers who are not lost; all of them where too few are left."""
    active = present.filter(pl.col("stage") != "lost")
    return active if active.height >= _MIN_ACTIVE else present


def _find_ordinary(p_churn: Vector) -> npt.NDArray[np.intp]:
    """Return the rows of the tenth whose probability of churn lies closest to the mean, and of a few at least."""
    distances = np.abs(p_churn - p_churn.mean())
    return np.argsort(distances, kind="stable")[: max(_MIN_ORDINARY, p_churn.size // 10)]


def _view_ordinary(model: LifecycleModel, summary: PurchaseSummary) -> tuple[float, ...]:
    """Return what the purchase process says of a customer with the median order timing of these."""
    timing = _medians(np.column_stack([summary.frequency, summary.recency_days, summary.T_days]))
    ordinary = PurchaseSummary(*(np.array([value]) for value in (*timing.tolist(), 0.0)))
    return tuple(model.process_view(ordinary)[0].tolist())


def _medians(columns: Matrix) -> Vector:
    """Return the lower median of each column, a value that a customer has; NaN where most have none."""
    by_size = np.sort(columns, axis=0)  # NaN comes last
    return np.asarray(by_size[(columns.shape[0] - 1) // 2])
