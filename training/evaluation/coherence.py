"""Coherence: the identities that make churn, next stage and value one answer, measured on every row."""

import numpy as np
import numpy.typing as npt
import polars as pl

from training.models.horizons import HORIZONS_DAYS
from training.models.inputs import stage_codes
from training.models.lifecycle import Answer, LifecycleModel

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
COHERENCE = "coherence"  # the task whose metrics are the identities that every answer keeps
_NO_NUMBER = 1e9  # by how much an answer violates that is no number; infinity is no JSON value

IDENTITIES = {
    "next_stage_sums_to_one": "the probabilities of the next stage sum to 1",
    "silent_stage_holds_p_churn": "the stage that silence leads to holds all of p_churn",
    "p_alive_at_least_p_order": "who orders is alive: p_alive ≥ 1 − p_churn",
    "orders_given_order_at_least_one": "who orders orders once at least: expected_orders ≥ 1 − p_churn",
    "clv_is_sum_of_months": "the twelve months sum to clv_12m",
    "probabilities_in_range": "every probability lies between 0 and 1",
    "monotone_in_horizon": "the longer the horizon, the lower p_churn; equal horizons, equal p_churn",
}


def measure_incoherence(model: LifecycleModel, table: pl.DataFrame) -> dict[str, float]:
    """Measure by how much each of `IDENTITIES` fails at worst.

    Args:
        model: Any lifecycle model.
        table: Customer table built with its stage rule and horizon.

    Returns:
        Identity → largest violation over the rows: probabilities and orders in their own unit, money as a share of the
        amount; 0 where it holds, or where there is nobody, a billion where an answer is no number.
    """
    if table.is_empty():
        return dict.fromkeys(IDENTITIES, 0.0)
    answer = model.answer(table)
    silent = stage_codes(table["stage_if_silent"])
    held = answer.p_churn * (1.0 - model.next_stage.p_recommends_if_silent(silent))
    forecast, p_order = answer.forecast, 1.0 - answer.p_churn
    months = forecast.clv_by_month.sum(axis=1)
    return {
        "next_stage_sums_to_one": _worst(np.abs(answer.p_next_stage.sum(axis=1) - 1.0)),
        "silent_stage_holds_p_churn": _worst(held - answer.p_next_stage[np.arange(silent.size), silent]),
        "p_alive_at_least_p_order": _worst(p_order - forecast.p_alive),
        "orders_given_order_at_least_one": _worst(p_order - forecast.expected_orders),
        "clv_is_sum_of_months": _worst(np.abs(months - forecast.clv_12m) / np.maximum(np.abs(months), 1.0)),
        "probabilities_in_range": max(map(_outside, _probabilities(answer))),
        "monotone_in_horizon": _worst(_rises(answer, model.horizon_days)),
    }


def _probabilities(answer: Answer) -> tuple[Matrix, ...]:
    return answer.p_churn, answer.p_next_stage, answer.forecast.p_alive, answer.cells.p_leave_cell


def _outside(p: Matrix) -> float:
    return _worst(np.maximum(p - 1.0, -p))


def _rises(answer: Answer, horizon_days: int) -> Matrix:
    """Return the rise of p_churn from any shorter horizon to each; 0 where one is not known."""
    # On both sides of its equal, so that the two may not differ either way.
    days = np.array([horizon_days, *HORIZONS_DAYS, horizon_days])
    columns = [answer.p_churn, answer.p_churn_by_horizon, answer.p_churn]
    p = np.column_stack(columns)[:, np.argsort(days, kind="stable")]
    return np.where(np.isnan(p), 0.0, p - _least_before(p))


def _least_before(p: Matrix) -> Matrix:
    """Return the least known probability of the shorter horizons, shape of `p`; infinite before the first."""
    known = np.where(np.isnan(p), np.inf, p)
    shifted = np.column_stack([np.full(len(p), np.inf), known[:, :-1]])
    return np.asarray(np.minimum.accumulate(shifted, axis=1))


def _worst(violations: Matrix) -> float:
    """Return the largest violation, 0 where there is none; what is no number violates everything."""
    if violations.size == 0:
        return 0.0
    worst = float(violations.max())
    return max(worst, 0.0) if np.isfinite(worst) else _NO_NUMBER
