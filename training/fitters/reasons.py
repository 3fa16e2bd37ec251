"""Learn what reasons compare customers with: the active customers of the shop."""

import numpy as np
import numpy.typing as npt
import polars as pl

from training.models.contributions import draw, share_out_from, view_process
from training.models.inputs import input_names, model_inputs, purchase_summary
from training.models.lifecycle import LifecycleModel
from training.models.reference import Reference
from training.models.summary import PurchaseSummary
from training.models.tellings import find_usual

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
    inputs, process = model_inputs(active, model.features), view_process(model, active)
    p_no_order, names = float(process[:, 0].mean()), input_names(model.features)
    parts = share_out_from(p_no_order, model.churn, inputs, process)
    *means, process_mean = parts.values.mean(axis=0).tolist()
    rows = _find_ordinary(parts.p_churn)
    return Reference(
        inputs=dict(zip(names, pl.Series(_medians(inputs[rows]), nan_to_null=True).to_list(), strict=True)),
        usual=find_usual(active),
        p_no_order=p_no_order,
        mean_parts=dict(zip(names, means, strict=True)),
        mean_process_part=process_mean,
        process=_view_ordinary(model, active, rows),
    )


def _take_active(present: pl.DataFrame) -> pl.DataFrame:
    """Return the customers who are not lost; all of them where too few are left."""
    active = present.filter(pl.col("stage") != "lost")
    return active if active.height >= _MIN_ACTIVE else present


def _find_ordinary(p_churn: Vector) -> npt.NDArray[np.intp]:
    """Return the rows of the tenth whose probability of churn lies closest to the mean, and of a few at least."""
    distances = np.abs(p_churn - p_churn.mean())
    return np.argsort(distances, kind="stable")[: max(_MIN_ORDINARY, p_churn.size // 10)]


def _view_ordinary(model: LifecycleModel, active: pl.DataFrame, rows: npt.NDArray[np.intp]) -> tuple[float, ...]:
    """Return what the purchase process says of a customer with the median order timing of these rows."""
    summary = purchase_summary(active)
    timing = _medians(np.column_stack([summary.frequency, summary.recency_days, summary.T_days])[rows])
    ordinary = PurchaseSummary(*(np.array([value]) for value in (*timing.tolist(), 0.0)))
    return tuple(model.process_view(ordinary)[0].tolist())


def _medians(columns: Matrix) -> Vector:
    """Return the lower median of each column, a value that a customer has; NaN where most have none."""
    by_size = np.sort(columns, axis=0)  # NaN comes last
    return np.asarray(by_size[(columns.shape[0] - 1) // 2])
