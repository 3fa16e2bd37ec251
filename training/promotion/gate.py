"""The gate: a challenger serves only when it loses to nothing simpler, and says why either way."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from features.settings import GateSettings
from training.evaluation.findings import SUMMARY_SCHEMA
from training.evaluation.slices import ALL
from training.evaluation.verdicts import DECIDING, OURS, best_rung
from training.promotion import conditions, criteria
from training.promotion.conditions import Freshness
from training.promotion.evidence import Evidence, Reason


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate decided, and why."""

    reasons: tuple[Reason, ...]

    @property
    def is_promoted(self) -> bool:
        """Whether every reason holds."""
        return all(reason.holds for reason in self.reasons)

    @property
    def objections(self) -> tuple[str, ...]:
        """The reasons that do not hold, in words."""
        return tuple(reason.text for reason in self.reasons if not reason.holds)


def summarise(frame: pl.DataFrame, summary: pl.DataFrame | None = None) -> dict[str, Any]:
    """Condense a backtest to what travels in the bundle.

    Args:
        frame: Figures of each cutoff, as `Backtest.frame`.
        summary: Means over the cutoffs, as `Backtest.summary`; None takes those of the frame, without intervals.

    Returns:
        `cutoffs`; `deciding`: task → metric; `ladder`: each model's means over the cutoffs at which they could be
        measured; `slices`: the same on each slice, of ours and of the best rung; `differences`: ours minus each rival
        on the deciding metric, per cutoff; `summary_differences`: ours minus each rival on means, on slices minus the
        best rung. With 90 % intervals.
    """
    means = _average(frame) if summary is None else summary
    of_all, is_plain = pl.col("slice") == ALL, pl.col("against") == ""
    shown = means.filter(of_all | _is_best(means, "model") | (pl.col("model") == OURS)).rename({"value": "mean"})
    compared = means.filter(~is_plain, of_all | _is_best(means, "against"))
    deciding = pl.col("metric") == pl.col("task").replace_strict(dict(DECIDING), default=None)
    return {
        "cutoffs": frame["cutoff"].unique().sort().to_list(),
        "deciding": dict(DECIDING),
        "ladder": to_rows(shown.filter(is_plain, of_all).drop("slice", "against")),
        "slices": to_rows(shown.filter(is_plain, ~of_all).drop("against", "seed_sd")),
        "differences": to_rows(
            frame.filter(~is_plain, of_all, deciding).select("cutoff", "task", "against", "value", "low", "high")
        ),
        "summary_differences": to_rows(compared.drop("model", "seed_sd")),
    }


def decide(evaluation: dict[str, Any], gate: GateSettings, *, freshness: Freshness | None = None) -> Decision:
    """Judge a challenger by its own backtest, and by what its training checked of itself.

    Args:
        evaluation: As `summarise` returns it; with `leakage`, as `training.promotion.leakage` records it,
            and `champion_note`, why the standing champion was not compared with, where it was not.
        gate: Margins.
        freshness: How old its data are; None where that is not judged.
    """
    if not evaluation.get("ladder") or not evaluation.get("differences"):
        return Decision((Reason(holds=False, text="it carries no backtest"),))
    evidence = Evidence.read(evaluation)
    return Decision(
        (
            *conditions.check_completeness(evidence),
            *criteria.check_rivals(evidence, gate),
            *criteria.check_ranking(evidence, gate),
            *criteria.check_calibration(evidence, gate),
            *criteria.check_total(evidence, gate),
            *criteria.check_plausibility(evidence),
            *criteria.check_coherence(evidence),
            conditions.check_leaks(evaluation.get("leakage")),
            conditions.check_customers(evidence, gate),
            *(() if freshness is None else conditions.check_age(freshness, gate)),
            conditions.tell_of_champion(evidence, evaluation.get("champion_note")),
        )
    )


def to_record(decision: Decision) -> list[dict[str, Any]]:
    """Return the reasons as JSON values."""
    return [asdict(reason) for reason in decision.reasons]


def to_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return a frame's rows as JSON values; what is not a number becomes null."""
    numbers = pl.selectors.float()
    return frame.with_columns(pl.when(numbers.is_finite()).then(numbers)).to_dicts()


def _average(frame: pl.DataFrame) -> pl.DataFrame:
    """Average each model's figures over the cutoffs at which they could be measured; rows as `SUMMARY_SCHEMA`."""
    is_measured, about = pl.col("value").is_not_nan(), ("task", "slice", "model", "metric", "against")
    means = frame.filter(against="").group_by(about, maintain_order=True)
    counted = means.agg(
        pl.col("value").filter(is_measured).mean().fill_null(math.nan),
        n_cutoffs=is_measured.sum().cast(pl.Int64),
        n_customers=pl.col("n_customers").filter(is_measured).sum(),
    )
    unknown = {name: pl.lit(None, dtype=pl.Float64) for name in ("low", "high", "seed_sd")}
    return counted.with_columns(**unknown).select(list(SUMMARY_SCHEMA))


def _is_best(summary: pl.DataFrame, column: str) -> pl.Expr:
    """Tell the rows in which a column names the best rung of their task."""
    best = {task: best_rung(summary, task) for task in DECIDING}
    return pl.col(column) == pl.col("task").replace_strict(best, default=None, return_dtype=pl.String)
