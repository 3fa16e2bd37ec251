"""The ladder: simple rules that a model must beat, fitted on the same past and asked the same questions.

A rung answers what it can: churn as P(no order), the next stage as a distribution, the value of the horizon's orders.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from features.groups.frequency import WINDOWS_DAYS
from features.lifecycle.stages import STAGES
from training.fitters.lifecycle import Examples, count_transitions
from training.models.inputs import purchase_summary, stage_codes
from training.models.lifecycle import LifecycleModel
from training.models.next_stage import join_branches

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
_N_DECILES = 10

RUNGS = {
    "base_rate": "the average of the training cutoffs, the same for everyone",
    "recency_rule": "the average of the customer's decile of days since the last order (stages: and current stage)",
    "last_period": "what the customer did in the horizon before the cutoff (stages: Markov from the current stage)",
    "simple_clv": "orders per year × average order value × years, over a tenure of one horizon at least",
    "bg_nbd": "BG/NBD return probability, × Gamma-Gamma for value, × Markov for stages",
}
OURS = "lifestage"


@dataclass(frozen=True, slots=True)
class Predictions:
    """What one rung says of n customers; None where it has no answer.

    Args:
        p_churn: P(no order in the horizon), shape (n,).
        p_next_stage: P(stage at the horizon's end), shape (n, n_stages).
        value: Expected value of the orders in the horizon, shape (n,).
    """

    p_churn: Vector | None = None
    p_next_stage: Matrix | None = None
    value: Vector | None = None


def climb(examples: tuple[Examples, ...], present: pl.DataFrame, model: LifecycleModel) -> Mapping[str, Predictions]:
    """Let every rung, and the model, answer for the customers of `present`.

    Args:
        examples: The training cutoffs that the model learned from.
        present: Customer table at the test cutoff.
        model: Learned from `examples`; its stage rule built both.

    Returns:
        Rung name → predictions, the model last.
    """
    table, labels = pl.concat([e.table for e in examples]), pl.concat([e.labels for e in examples])
    return {
        "base_rate": _base_rate(labels, present),
        "recency_rule": _recency_rule(table, labels, present),
        "last_period": _last_period(table, labels, present, model.horizon_days),
        "simple_clv": _simple_clv(present, model.horizon_days),
        "bg_nbd": _bg_nbd(table, labels, present, model),
        OURS: predict(model, present),
    }


def predict(model: LifecycleModel, present: pl.DataFrame) -> Predictions:
    """Let a lifecycle model answer as a rung."""
    answer = model.answer(present)
    value = answer.forecast.expected_orders * answer.forecast.expected_order_value
    return Predictions(answer.p_churn, answer.p_next_stage, value)


def _base_rate(labels: pl.DataFrame, present: pl.DataFrame) -> Predictions:
    group, n = np.zeros(labels.height, dtype=np.int64), present.height
    at = np.zeros(n, dtype=np.int64)
    return Predictions(
        p_churn=_group_mean(_churned(labels), group, 1)[at],
        p_next_stage=_group_distribution(labels, group, 1)[at],
        value=_group_mean(labels["value"].to_numpy(), group, 1)[at],
    )


def _recency_rule(table: pl.DataFrame, labels: pl.DataFrame, present: pl.DataFrame) -> Predictions:
    silence = table["days_since_last_order"].to_numpy()
    edges = np.unique(np.quantile(silence, np.arange(1, _N_DECILES) / _N_DECILES))
    n_bins = edges.size + 1
    decile = np.searchsorted(edges, silence, "left")
    decile_now = np.searchsorted(edges, present["days_since_last_order"].to_numpy(), "left")
    cell = stage_codes(table["stage"]) * n_bins + decile
    cell_now = stage_codes(present["stage"]) * n_bins + decile_now
    return Predictions(
        p_churn=_group_mean(_churned(labels), decile, n_bins)[decile_now],
        p_next_stage=_group_distribution(labels, cell, n_bins * len(STAGES))[cell_now],
        value=_group_mean(labels["value"].to_numpy(), decile, n_bins)[decile_now],
    )


def _last_period(table: pl.DataFrame, labels: pl.DataFrame, present: pl.DataFrame, horizon_days: int) -> Predictions:
    def ordered(frame: pl.DataFrame) -> npt.NDArray[np.int64]:
        return (frame["days_since_last_order"].to_numpy() <= horizon_days).astype(np.int64)

    markov = _group_distribution(labels, stage_codes(table["stage"]), len(STAGES))
    return Predictions(
        p_churn=_group_mean(_churned(labels), ordered(table), 2)[ordered(present)],
        p_next_stage=markov[stage_codes(present["stage"])],
        value=_value_of_last_period(present, horizon_days),
    )


def _simple_clv(present: pl.DataFrame, horizon_days: int) -> Predictions:
    """Value per day of tenure × horizon; a tenure shorter than the horizon counts as one."""
    tenure_days = np.maximum(present["T_days"].to_numpy(), horizon_days)
    return Predictions(value=present["historic_value"].to_numpy() / tenure_days * horizon_days)


def _bg_nbd(table: pl.DataFrame, labels: pl.DataFrame, present: pl.DataFrame, model: LifecycleModel) -> Predictions:
    summary, timing = purchase_summary(present), model.process.bg_nbd
    p_churn = timing.p_no_order(summary, horizon_days=model.horizon_days)
    orders = timing.expected_orders(summary, horizon_days=model.horizon_days)
    given_order = count_transitions(table, labels)[stage_codes(present["stage"])]
    return Predictions(
        p_churn=p_churn,
        p_next_stage=join_branches(p_churn, stage_codes(present["stage_if_silent"]), given_order),
        value=orders * model.process.gamma_gamma.expected_order_value(summary),
    )


def _churned(labels: pl.DataFrame) -> Vector:
    return labels["is_churned"].to_numpy().astype(np.float64)


def _group_mean(values: Vector, group: npt.NDArray[np.int64], n_groups: int) -> Vector:
    """Return each group's mean, drawn to the overall mean by one observation of it."""
    count = np.bincount(group, minlength=n_groups)
    total = np.bincount(group, weights=values, minlength=n_groups)
    return np.asarray((total + values.mean()) / (count + 1.0))


def _group_distribution(labels: pl.DataFrame, group: npt.NDArray[np.int64], n_groups: int) -> Matrix:
    """Return each group's next-stage distribution, drawn to the overall one by one observation of it."""
    codes = stage_codes(labels["next_stage"])
    one_hot = np.eye(len(STAGES))
    return np.column_stack([_group_mean(one_hot[stage][codes], group, n_groups) for stage in range(len(STAGES))])


def _value_of_last_period(present: pl.DataFrame, horizon_days: int) -> Vector:
    """Return the value of the window nearest to the horizon, scaled to its length."""
    window = min(WINDOWS_DAYS, key=lambda days: abs(days - horizon_days))
    return present[f"value_within_{window}"].to_numpy() * (horizon_days / window)
