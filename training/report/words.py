"""What the report calls tasks, slices and metrics, how it writes their figures, and what each metric means."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Write = Callable[[float], str]
Better = Literal["low", "high", "zero"]
MISSING = "–"


def fixed(digits: int, *, sign: str = "") -> Write:
    """Write a number with so many decimals, thousands grouped, and a minus sign that is one; "+" signs all."""
    return lambda value: f"{round(value, digits) + 0.0:{sign},.{digits}f}".replace("-", "−")


def percent(digits: int = 1, *, sign: str = "") -> Write:
    """Write a share as per cent."""
    return lambda value: f"{round(value, digits + 2) + 0.0:{sign}.{digits}%}".replace("-", "−")


@dataclass(frozen=True, slots=True)
class TaskWords:
    """What a task is called.

    Args:
        title: At the head of a sentence.
        question: What is asked of every customer.
        answer: What a model answers with, and so what a rung without one lacks.
    """

    title: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class MetricWords:
    """What a metric is called and how it is written.

    Args:
        name: At the head of a column.
        meaning: One line.
        better: Which way is better; None where no way is, as for a base rate.
        write: Writes a value.
        write_difference: Writes a difference, with its sign.
        undefined: Why it may have no value.
    """

    name: str
    meaning: str
    better: Better | None
    write: Write
    write_difference: Write
    undefined: str = "nobody could be judged"


_ONE_CLASS = "everyone had the same outcome, or nobody could be judged"
_SAME_FOR_ALL = "everyone gets the same prediction, or had the same outcome"
_NOTHING_ORDERED = "nothing was ordered in the horizon"

TASKS: Mapping[str, TaskWords] = {
    "churn": TaskWords("Churn", "Churn: will no order come within the horizon?", "probability of churn"),
    "next_stage": TaskWords("Next stage", "Next stage: where will each stand at the horizon's end?", "next stage"),
    "value": TaskWords("Value", "Value: what will the orders of the horizon bring?", "value"),
    "first_purchase": TaskWords(
        "First purchase", "Prospects: will a first order come?", "probability of a first order"
    ),
    "registration": TaskWords("Registration", "Visitors: will they register?", "probability of registering"),
}
METRICS: Mapping[str, MetricWords] = {
    "log_loss": MetricWords(
        "Log loss",
        "mean −log of the probability given to what came; a certain wrong answer costs most. Proper: a model does best "
        "by saying what it believes",
        "low",
        fixed(4),
        fixed(4, sign="+"),
    ),
    "auc": MetricWords(
        "AUC",
        "chance that of one to whom it happened and one to whom it did not, the first has the higher score; "
        "0.5 is chance",
        "high",
        fixed(3),
        fixed(4, sign="+"),
        _ONE_CLASS,
    ),
    "pr_auc": MetricWords(
        "PR-AUC",
        "average precision over all thresholds; its floor is the base rate, not 0",
        "high",
        fixed(3),
        fixed(4, sign="+"),
        "it happened to nobody",
    ),
    "base_rate": MetricWords(
        "Base rate",
        "share to whom it happened: the same for every model, and the floor of PR-AUC",
        None,
        percent(),
        percent(sign="+"),
    ),
    "brier": MetricWords(
        "Brier", "mean squared difference of probability and outcome", "low", fixed(4), fixed(4, sign="+")
    ),
    "brier_reliability": MetricWords(
        "Reliability",
        "of the Brier score: what probabilities lose that do not fit their bins (10 of equal width)",
        "low",
        fixed(4),
        fixed(4, sign="+"),
    ),
    "brier_resolution": MetricWords(
        "Resolution",
        "of the Brier score: what telling bins of customers apart gains; it is taken off",
        "high",
        fixed(4),
        fixed(4, sign="+"),
    ),
    "brier_uncertainty": MetricWords(
        "Uncertainty",
        "of the Brier score: what giving everyone the base rate would score",
        None,
        fixed(4),
        fixed(4, sign="+"),
    ),
    "brier_within_bins": MetricWords(
        "Within bins",
        "of the Brier score: what the bins hide; below 0 where probabilities tell customers of one bin apart",
        None,
        fixed(4),
        fixed(4, sign="+"),
    ),
    "ece": MetricWords(
        "ECE",
        "expected calibration error: mean gap of predicted and observed share over 10 bins of equal width, [0, 0.1) to "
        "[0.9, 1], weighted by customers",
        "low",
        fixed(3),
        fixed(4, sign="+"),
    ),
    "calibration_in_the_large": MetricWords(
        "In the large",
        "mean prediction less the share that came; above 0 it is predicted too often",
        "zero",
        fixed(3, sign="+"),
        fixed(3, sign="+"),
    ),
    "top_decile_lift": MetricWords(
        "Top-decile lift",
        "how many times as many churners the tenth with the highest scores holds as a tenth drawn at random",
        "high",
        fixed(2),
        fixed(2, sign="+"),
        "nobody churned",
    ),
    "recall_at_capacity": MetricWords(
        "Recall at capacity",
        "share of all churners among those the team can contact, highest scores first",
        "high",
        percent(),
        percent(sign="+"),
        "nobody churned",
    ),
    "expected_maximum_profit": MetricWords(
        "EMP",
        "expected maximum profit per customer of a campaign with the costs stated, at the best threshold "
        "(Verbraken, Verbeke and Baesens 2013)",
        "high",
        fixed(3),
        fixed(3, sign="+"),
        "nobody could be judged",
    ),
    "rps": MetricWords(
        "RPS",
        "ranked probability score, 0 to 1, of the stages in the order of activity: a near miss costs less than a far "
        "one",
        "low",
        fixed(4),
        fixed(4, sign="+"),
    ),
    "deviance": MetricWords(
        "Deviance",
        "Tweedie deviance of power 1.5 per customer: a proper score of a mean whose outcome is often 0",
        "low",
        fixed(3),
        fixed(3, sign="+"),
        _NOTHING_ORDERED,
    ),
    "mae": MetricWords("MAE", "mean absolute error; it rewards saying too little", "low", fixed(2), fixed(2, sign="+")),
    "r_squared": MetricWords(
        "R²",
        "1 less squared error ÷ variance of the outcome",
        "high",
        fixed(3),
        fixed(3, sign="+"),
        "everyone brought the same",
    ),
    "relative_bias": MetricWords(
        "Bias",
        "predicted less observed total, ÷ observed total",
        "zero",
        percent(sign="+"),
        percent(sign="+"),
        _NOTHING_ORDERED,
    ),
    "spearman": MetricWords(
        "Rank correlation",
        "Spearman's, of predicted and observed values",
        "high",
        fixed(3),
        fixed(3, sign="+"),
        _SAME_FOR_ALL,
    ),
    "top_decile_share": MetricWords(
        "Top-decile share",
        "share of all value that the tenth with the highest predictions brought",
        "high",
        percent(),
        percent(sign="+"),
        _NOTHING_ORDERED,
    ),
    "normalised_gini": MetricWords(
        "Normalised Gini",
        "how near the order by prediction is to the perfect order: 1 is perfect, 0 is chance",
        "high",
        fixed(3),
        fixed(3, sign="+"),
        "nothing was ordered in the horizon, or by all the same",
    ),
    "decile_mape": MetricWords(
        "Error of tenths",
        "mean relative error of the totals of ten parts by predicted value",
        "low",
        percent(),
        percent(sign="+"),
        _NOTHING_ORDERED,
    ),
}


def describe_metric(metric: str) -> MetricWords:
    """Return the words of a metric; of one that has none here, its own name."""
    return METRICS.get(metric) or MetricWords(metric.replace("_", " "), "", None, fixed(4), fixed(4, sign="+"))
