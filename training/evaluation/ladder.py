"""The ladder: simple rules that a model must beat, fitted on the same past and asked the same questions.

A rung answers what it can: churn as P(no order), the next stage as a distribution, the value of the horizon's orders.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.errors import ConvergenceError
from features.groups.frequency import WINDOWS_DAYS
from features.lifecycle.stages import PROSPECT_STAGES, STAGES
from training.fitters.btyd import fit_alone
from training.fitters.lifecycle import Examples, count_transitions
from training.learn import Past, Prospects
from training.models.inputs import purchase_summary, stage_codes
from training.models.lifecycle import LifecycleModel
from training.models.next_stage import join_branches
from training.models.prospects import N_BANDS, prospect_cells
from training.models.purchase_process import TIMING_MODELS
from training.models.summary import PurchaseSummary
from training.models.value_distribution import ValueDistribution

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
_N_DECILES = 10
_MAX_CUSTOMERS = 50_000  # whom a rung's purchase model is fitted to
_SEED = 20240101

RUNGS = {
    "base_rate": "the average of the training cutoffs, the same for everyone",
    "recency_rule": "the average of the customer's decile of days since the last order (stages: and current stage)",
    "last_period": "what the customer did in the horizon before the cutoff (stages: Markov from the current stage)",
    "simple_clv": "orders per year × average order value × years, over a tenure of one horizon at least",
    "bg_nbd": "BG/NBD return probability, × Gamma-Gamma for value, × Markov for stages",
    "mbg_nbd": "the same by MBG/NBD",
    "pareto_nbd": "the same by Pareto/NBD",
}
OURS = "lifestage"


@dataclass(frozen=True, slots=True)
class Predictions:
    """What one rung says of n customers; None where it has no answer.

    Args:
        p_churn: P(no order in the horizon), shape (n,).
        p_next_stage: P(stage at the horizon's end), shape (n, n_stages).
        value: Expected value of the orders in the horizon, shape (n,).
        p_first_purchase: P(an order in the horizon) of prospects, shape (n_prospects,).
        p_registration: P(linked to a customer in the horizon) of the visitors among them, shape (n_visitors,).
        outcome: How the value may turn out.
    """

    p_churn: Vector | None = None
    p_next_stage: Matrix | None = None
    value: Vector | None = None
    p_first_purchase: Vector | None = None
    p_registration: Vector | None = None
    outcome: ValueDistribution | None = None


def climb(past: Past, model: LifecycleModel) -> Mapping[str, Predictions]:
    """Let every rung, and the model, answer for the customers, and prospects, at the test cutoff.

    Args:
        past: What the model learned from, and who is to be judged.
        model: Learned from it; its stage rule built both.

    Returns:
        Rung name → predictions, the model last.
    """
    of_customers = _climb_customers(past.examples, past.present, model)
    of_prospects = {} if past.prospects is None else _climb_prospects(past.prospects, model)
    return {name: replace(said, **of_prospects.get(name, {})) for name, said in of_customers.items()}


def _climb_customers(
    examples: tuple[Examples, ...], present: pl.DataFrame, model: LifecycleModel
) -> dict[str, Predictions]:
    table, labels = pl.concat([e.table for e in examples]), pl.concat([e.labels for e in examples])
    return {
        "base_rate": _base_rate(labels, present),
        "recency_rule": _recency_rule(table, labels, present),
        "last_period": _last_period(table, labels, present, model.horizon_days),
        "simple_clv": _simple_clv(present, model.horizon_days),
        **{name: _btyd(name, table, labels, present, model) for name in RUNGS if name in TIMING_MODELS},
        OURS: predict(model, present),
    }


def _climb_prospects(prospects: Prospects, model: LifecycleModel) -> dict[str, dict[str, Any]]:
    """Let the rungs that know anything of prospects answer: overall, by days since last seen, by stage; then ours."""
    table, present = pl.concat(prospects.examples), prospects.present
    if model.prospects is None or present.is_empty():
        return {}
    n_cells = len(PROSPECT_STAGES) * N_BANDS
    whole = np.zeros(n_cells, dtype=np.int64)
    stage, band = np.divmod(np.arange(n_cells), N_BANDS)
    rungs = {
        name: _prospect_rates(table, present, group)
        for name, group in (("base_rate", whole), ("recency_rule", band), ("last_period", stage))
    }
    ours = model.prospects.predict(present)
    of_visitors = ours.filter("is_visitor")["p_registration"]
    said = {"p_first_purchase": ours["p_first_purchase"].to_numpy(), "p_registration": of_visitors.to_numpy()}
    return {**rungs, OURS: said}


def _prospect_rates(table: pl.DataFrame, present: pl.DataFrame, group: npt.NDArray[np.int64]) -> dict[str, Vector]:
    """Return the mean outcome of each prospect's group; groups join cells of stage and days since last seen."""
    n_groups, visitors = int(group.max()) + 1, table.filter("is_visitor")
    asked = (
        ("p_first_purchase", "is_first_purchase", table, present),
        ("p_registration", "is_registration", visitors, present.filter("is_visitor")),
    )
    return {
        name: _group_mean(seen[outcome].to_numpy().astype(np.float64), group[prospect_cells(seen)], n_groups)[
            group[prospect_cells(now)]
        ]
        for name, outcome, seen, now in asked
        if seen.height
    }


def predict(model: LifecycleModel, present: pl.DataFrame) -> Predictions:
    """Let a lifecycle model answer as a rung."""
    answer = model.answer(present)
    value = answer.forecast.expected_orders * answer.forecast.expected_order_value
    outcome = model.process.value_distribution(answer.tied, value, end=-1)
    return Predictions(answer.p_churn, answer.p_next_stage, value, outcome=outcome)


def churn_by_base_rate(labels: pl.DataFrame, present: pl.DataFrame) -> Vector:
    """Return the share that left at the training cutoffs, the same for everyone, (n,).

    Args:
        labels: Outcomes at the training cutoffs.
        present: Who is asked about.
    """
    return np.full(present.height, _churned(labels).mean())


def churn_by_recency(table: pl.DataFrame, labels: pl.DataFrame, present: pl.DataFrame) -> Vector:
    """Return the share that left of each customer's decile of days since the last order, (n,).

    Args:
        table: Features at the training cutoffs.
        labels: Outcomes there, in the same order.
        present: Features of who is asked about.
    """
    decile, decile_now, n_bins = _recency_deciles(table, present)
    return _group_mean(_churned(labels), decile, n_bins)[decile_now]


def _recency_deciles(
    table: pl.DataFrame, present: pl.DataFrame
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    """Return the decile of silence of each row of both, by the edges of the first, and how many there are."""
    silence, silence_now = (frame["days_since_last_order"].to_numpy() for frame in (table, present))
    edges = np.unique(np.quantile(silence, np.arange(1, _N_DECILES) / _N_DECILES))
    return np.searchsorted(edges, silence, "left"), np.searchsorted(edges, silence_now, "left"), edges.size + 1


def _base_rate(labels: pl.DataFrame, present: pl.DataFrame) -> Predictions:
    group, n = np.zeros(labels.height, dtype=np.int64), present.height
    at = np.zeros(n, dtype=np.int64)
    return Predictions(
        p_churn=churn_by_base_rate(labels, present),
        p_next_stage=_group_distribution(labels, group, 1)[at],
        value=_group_mean(labels["value"].to_numpy(), group, 1)[at],
    )


def _recency_rule(table: pl.DataFrame, labels: pl.DataFrame, present: pl.DataFrame) -> Predictions:
    decile, decile_now, n_bins = _recency_deciles(table, present)
    cell = stage_codes(table["stage"]) * n_bins + decile
    cell_now = stage_codes(present["stage"]) * n_bins + decile_now
    return Predictions(
        p_churn=churn_by_recency(table, labels, present),
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


def _btyd(
    name: str, table: pl.DataFrame, labels: pl.DataFrame, present: pl.DataFrame, model: LifecycleModel
) -> Predictions:
    """Ask a timing model alone, fitted to what is known at the cutoff; no answer where it has no usable fit."""
    summary = purchase_summary(present)
    try:
        timing = fit_alone(_drawn(summary), name)
    except ConvergenceError:
        return Predictions()
    p_churn = timing.p_no_order(summary, horizon_days=model.horizon_days)
    orders = timing.expected_orders(summary, horizon_days=model.horizon_days)
    given_order = count_transitions(table, labels)[stage_codes(present["stage"])]
    silent_code = stage_codes(present["stage_if_silent"])
    return Predictions(
        p_churn=p_churn,
        p_next_stage=join_branches(
            p_churn, silent_code, given_order, model.next_stage.p_recommends_if_silent(silent_code)
        ),
        value=orders * model.process.gamma_gamma.expected_order_value(summary),
    )


def _drawn(summary: PurchaseSummary) -> PurchaseSummary:
    """Return at most so many customers as a rung's four parameters need."""
    if len(summary) <= _MAX_CUSTOMERS:
        return summary
    return summary.take(np.random.default_rng(_SEED).choice(len(summary), size=_MAX_CUSTOMERS, replace=False))


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
