"""Verdicts: who wins on a task and by how much, in plain words that say when it may be chance."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

OURS, CHAMPION = "lifestage", "champion"
RECENCY_RULE = "recency_rule"
# Task → the metric that decides; the lower, the better.
DECIDING: Mapping[str, str] = {
    "churn": "log_loss",
    "next_stage": "log_loss",
    "value": "deviance",
    "first_purchase": "log_loss",
    "registration": "log_loss",
}
TASK_NAMES: Mapping[str, str] = {
    "churn": "churn",
    "next_stage": "next stage",
    "value": "value",
    "first_purchase": "first purchase",
    "registration": "registration",
}
_METRIC_NAMES = {"log_loss": "log loss", "auc": "AUC"}
_HIGHER_IS_BETTER = ("auc",)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ours minus a rival's, on a mean over cutoffs.

    Args:
        task: What both were asked.
        rival: With whom ours is compared.
        metric: By which.
        difference: Ours minus theirs.
        low: Of the paired 90 % interval.
        high: Of it.
    """

    task: str
    rival: str
    metric: str
    difference: float
    low: float
    high: float

    @property
    def gain(self) -> int:
        """1 where ours is better beyond chance, −1 where it is worse, 0 where the interval holds 0."""
        sign = (self.low > 0) - (self.high < 0)
        return sign if self.metric in _HIGHER_IS_BETTER else -sign

    @property
    def text(self) -> str:
        """The comparison in words, with its figures."""
        verdict = {1: "beats", 0: "is level with", -1: "loses to"}[self.gain]
        digits = 2 if self.metric == "deviance" else 4
        figures = [f"{each:+,.{digits}f}".replace("-", "−") for each in (self.difference, self.low, self.high)]
        metric = _METRIC_NAMES.get(self.metric, self.metric)
        return (
            f"{TASK_NAMES[self.task]}: {OURS} {verdict} {self.rival}: "
            f"{metric} {figures[0]} [{figures[1]}, {figures[2]}]"
        )


def best_rung(summary: pl.DataFrame, task: str) -> str | None:
    """Return the rung that is best on the deciding metric, the champion not among them; None where there is none.

    By what ours loses or gains against it where both were measured: a rung that has no answer at a cutoff is not
    favoured for having been spared a hard one.

    Args:
        summary: As `training.evaluation.findings.pool` returns it.
        task: One of `DECIDING`.
    """
    versus = summary.filter(task=task, slice="all", model=OURS, metric=DECIDING[task])
    rungs = versus.filter(~pl.col("against").is_in(["", CHAMPION]), pl.col("value").is_not_nan())
    return None if rungs.is_empty() else str(rungs.sort("value", descending=True)["against"][0])


def compare(summary: pl.DataFrame, task: str, rival: str, metric: str, *, of: str = "all") -> Comparison | None:
    """Return ours against a rival on a slice; None where that was not measured."""
    rows = summary.filter(task=task, slice=of, model=OURS, metric=metric, against=rival)
    if rows.is_empty():
        return None
    value, low, high = rows.select("value", "low", "high").row(0)
    is_known = all(figure is not None and figure == figure for figure in (value, low, high))  # noqa: PLR0124 - NaN
    return Comparison(task, rival, metric, value, low, high) if is_known else None


def compare_all(summary: pl.DataFrame) -> Iterator[Comparison]:
    """Yield, task by task, ours against the best rung; and for churn against the recency rule's AUC."""
    for task, metric in DECIDING.items():
        best = best_rung(summary, task)
        asked = [(best, metric)] if best is not None else []
        asked += [(RECENCY_RULE, "auc")] if task == "churn" else []
        yield from filter(None, (compare(summary, task, rival, by) for rival, by in asked))
