"""What a backtest measures: which metrics of which task, on whom, and which of them are drawn and compared."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from features.lifecycle.stages import STAGES
from features.settings import RetentionSettings
from training import metrics
from training.evaluation.verdicts import DECIDING
from training.metrics import Array, FloatArray
from training.models.value_distribution import ValueDistribution

Metric = Callable[..., float]

# From who left to who gains others: the further apart two stages, the more active one is than the other.
STAGES_BY_ACTIVITY = ("lost", "at_risk", "won_back", "first_time_buyer", "repeat", "loyal", "ambassador")
_COLUMNS = [STAGES.index(stage) for stage in STAGES_BY_ACTIVITY]
_RANKS = np.argsort(_COLUMNS)


def stage_rps(y: Array, p: FloatArray) -> float:
    """Compute the ranked probability score of stage codes `y` (n,) under `p` (n, n_stages), stages by activity."""
    return metrics.ranked_probability_score(_RANKS[y], p[:, _COLUMNS])


_OF_PROSPECTS: Mapping[str, Metric] = {
    "log_loss": metrics.log_loss_binary,
    "auc": metrics.auc,
    "ece": metrics.expected_calibration_error,
}
# Task → metric → function(outcome, prediction); the first of each task is the deciding one.
METRICS: Mapping[str, Mapping[str, Metric]] = {
    "churn": {
        "log_loss": metrics.log_loss_binary,
        "auc": metrics.auc,
        "pr_auc": metrics.pr_auc,
        "base_rate": metrics.base_rate,
        "brier": metrics.brier,
        "brier_reliability": metrics.brier_reliability,
        "brier_resolution": metrics.brier_resolution,
        "brier_uncertainty": metrics.brier_uncertainty,
        "brier_within_bins": metrics.brier_within_bins,
        "ece": metrics.expected_calibration_error,
        "calibration_in_the_large": metrics.calibration_in_the_large,
        "top_decile_lift": metrics.top_decile_lift,
    },
    "next_stage": {"log_loss": metrics.log_loss_multiclass, "rps": stage_rps},
    "value": {
        "deviance": metrics.tweedie_deviance,
        "mae": metrics.mae,
        "r_squared": metrics.r_squared,
        "relative_bias": metrics.relative_bias,
        "spearman": metrics.spearman,
        "top_decile_share": metrics.top_decile_share,
        "normalised_gini": metrics.normalised_gini,
        "decile_mape": metrics.decile_mape,
    },
    "first_purchase": _OF_PROSPECTS,
    "registration": _OF_PROSPECTS,
}
# Task → which of them are told of each slice too.
ON_SLICES: Mapping[str, tuple[str, ...]] = {
    "churn": ("log_loss", "auc", "base_rate", "ece", "calibration_in_the_large"),
    "next_stage": ("log_loss",),
    "value": ("deviance", "relative_bias"),
}
# Task → function(outcome, prediction) → loss per customer, whose mean is the deciding metric.
LOSSES: Mapping[str, Callable[..., FloatArray]] = {
    "churn": metrics.log_losses_binary,
    "next_stage": metrics.log_losses_multiclass,
    "value": metrics.tweedie_deviances,
    "first_purchase": metrics.log_losses_binary,
    "registration": metrics.log_losses_binary,
}
# Task → what is drawn besides: the AUC, and how far the sum of what is said lies from the sum of what came.
RANKED = ("churn",)
TOTALS: Mapping[str, str] = {"churn": "calibration_in_the_large", "value": "relative_bias"}
# What each rival is compared by: the deciding metric of every task, and the AUC where it is drawn.
COMPARED = {*DECIDING.values(), "auc"}
# Of each class of the next stage, for our model alone, as metric `<name>_<stage>`.
RELIABILITY: Mapping[str, Metric] = {
    "mean_p": lambda _, p: float(p.mean()),
    "share": lambda y, _: float(y.mean()),
    "ece": metrics.expected_calibration_error,
}
# Of value, for our model alone: the share of outcomes within the central interval, as metric `<name>_<percent>`.
COVERAGES = (0.80, 0.90)


def measures_of(task: str, retention: RetentionSettings, *, customer_value: float) -> Mapping[str, Metric]:
    """Return metric → function(outcome, prediction) of a task; of churn, what a campaign would find and earn too.

    Args:
        task: One of `METRICS`.
        retention: Whom the team can contact, and what that costs.
        customer_value: Of a customer kept, in currency units, where `retention` names none.
    """
    if task != "churn":
        return METRICS[task]
    costs = retention.model_dump(include={"contact_cost", "offer_cost", "response_alpha", "response_beta"})
    worth = retention.customer_value or customer_value
    return {
        **METRICS[task],
        "recall_at_capacity": partial(metrics.recall_at, share=retention.contact_share),
        "expected_maximum_profit": partial(metrics.expected_maximum_profit, customer_value=worth, **costs),
    }


def measure_coverage(y: Array, outcome: ValueDistribution) -> dict[float, tuple[float, float]]:
    """Measure how many outcomes lie between the levels of each of `COVERAGES`: of all, and of those who ordered.

    Of all, an outcome of 0 counts by the share of its chance that the levels hold; of those who ordered, the
    distribution given an order is asked.
    """
    of_all, (_, if_ordered) = outcome.pit(y), outcome.if_ordered.pit(y)
    given_order = if_ordered[y > 0]
    return {
        coverage: (
            metrics.fractional_coverage(0.5 - 0.5 * coverage, 0.5 + 0.5 * coverage, *of_all),
            metrics.fractional_coverage(0.5 - 0.5 * coverage, 0.5 + 0.5 * coverage, given_order, given_order),
        )
        for coverage in COVERAGES
    }
