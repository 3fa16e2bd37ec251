"""Does machine learning beat the recency rule? Every figure of `report.md` comes from here.

    python -m experiments.ml_against_recency.run
    python -m experiments.ml_against_recency.run --orders PATH --shop online_retail_ii

The first asks the CDNOW log that the lifetimes package carries, and takes a few minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from experiments.looks import Look, ask_churn, judge_looks, lay_out
from experiments.tables import Tables
from experiments.trial import Log, answer, observe_churn
from features.settings import Settings
from features.snapshot import Snapshot, to_date
from training.evaluation.ladder import OURS, climb
from training.evaluation.slices import ALL, slice_customers
from training.evaluation.verdicts import RECENCY_RULE, best_rung, compare
from training.learn import Advance, Past, learn_at, relearn
from training.models.churn import ChurnModel, ProbabilityCalibrator
from training.models.lifecycle import LifecycleModel
from training.splits import Fold, rolling_folds

HERE = Path(__file__).resolve().parent
# Name → weight of the purchase process beside the trees, without calibration.
BLENDS = {"trees_alone": 0.0, "process_alone": 1.0, "plain_average": 0.5}
SLICES = (ALL, "one_time", "repeat", "new")


def measure(log: Log, _config: Mapping[str, Any], settings: Settings, advance: Advance) -> Tables:
    """Answer the question on one shop.

    Returns:
        `answer`: verdicts in words; `ladder`: a row per model, means over the cutoffs; `gains`: ours minus each;
        `cutoffs`: a row per cutoff and model; `slices`: ours minus recency, the best rung and the plain average.
    """
    folds = rolling_folds(first_day=log.first_day, end_day=log.end_day, settings=settings.training)
    frame, summary = judge_looks((look_at(log, fold, settings, advance) for fold in folds), settings)
    best = best_rung(summary.filter(~pl.col("against").is_in(list(BLENDS))), "churn") or RECENCY_RULE
    rivals = [*dict.fromkeys((RECENCY_RULE, best, "plain_average"))]
    plain, versus = summary.filter(slice=ALL, against=""), summary.filter(slice=ALL).filter(pl.col("against") != "")
    return {
        "answer": _tell(summary, rivals),
        "ladder": lay_out(plain, ["model"]).join(_seeds(plain), on="model", how="left", maintain_order="left"),
        "gains": lay_out(versus, ["against"]),
        "cutoffs": lay_out(frame.filter(slice=ALL, against=""), ["cutoff", "model"], with_bounds=False),
        "by_cutoff": lay_out(frame.filter(pl.col("against").is_in(rivals), slice=ALL), ["cutoff", "against"]),
        "slices": _slices(summary, rivals),
    }


def look_at(log: Log, fold: Fold, settings: Settings, advance: Advance) -> Look:
    """Learn at one cutoff, and ask every rung, ours, and its parts."""
    when = to_date(fold.cutoff_day)
    past, model = learn_at(log.records, fold, settings=settings, advance=lambda step: advance(f"{when}: {step}"))
    advance(f"{when}: ladder and seeds")
    said = {name: p for name, each in climb(past, model).items() if (p := each.p_churn) is not None}
    parts = {name: ask_churn(model, blend(model.churn, weight), past.present) for name, weight in BLENDS.items()}
    return Look(
        fold.cutoff_day,
        {**said, **parts},
        observe_churn(log, past, Snapshot(fold.cutoff_day, model.horizon_days)),
        past.present["customer_id"],
        slice_customers(past.present, segments=model.segments, horizon_days=model.horizon_days),
        reruns=[ask_churn(again, again.churn, past.present) for again in _learn_again(past, model, settings)],
    )


def blend(churn: ChurnModel, process_weight: float) -> ChurnModel:
    """Return trees and purchase process at a stated weight, without calibration."""
    if churn.trees is None:
        return churn
    return replace(churn, process_weight=process_weight, calibrator=ProbabilityCalibrator())


def _learn_again(past: Past, model: LifecycleModel, settings: Settings) -> Iterator[LifecycleModel]:
    """Return the model with the trees of other seeds, `training.seeds` with its own."""
    first, n_seeds = settings.training.seed, settings.training.seeds
    return relearn(past, model, seeds=range(first + 1, first + n_seeds), settings=settings)


def _tell(summary: pl.DataFrame, rivals: list[str]) -> pl.DataFrame:
    """Say in words how ours does against each rival, by log loss and by AUC."""
    found = (compare(summary, "churn", rival, metric) for rival in rivals for metric in ("log_loss", "auc"))
    return pl.DataFrame({"verdict": [each.text for each in found if each is not None]}, schema={"verdict": pl.String})


def _seeds(plain: pl.DataFrame) -> pl.DataFrame:
    return plain.filter(model=OURS, metric="log_loss").select("model", log_loss_seed_sd="seed_sd")


def _slices(summary: pl.DataFrame, rivals: list[str]) -> pl.DataFrame:
    """Lay out each slice: customers, share that left, ours and the rival's log loss and AUC, and what ours gains."""
    told, index = summary.filter(pl.col("slice").is_in(SLICES)), ["slice", "against"]
    plain = told.filter(against="")
    rates = plain.filter(model=OURS, metric="base_rate").select(
        "slice", customers=pl.col("n_customers"), base_rate="value"
    )
    ours, theirs = (
        lay_out(plain.filter(condition), ["slice", "model"])
        .select("slice", pl.col("model").alias("against"), "log_loss", "auc")
        .rename({"log_loss": f"log_loss_{whose}", "auc": f"auc_{whose}"})
        for whose, condition in (("ours", pl.col("model") == OURS), ("theirs", pl.col("model").is_in(rivals)))
    )
    gains = lay_out(told.filter(pl.col("against").is_in(rivals), model=OURS), index, ["log_loss"])
    return (
        gains.rename({"log_loss": "difference", "log_loss_low": "low", "log_loss_high": "high"})
        .join(rates, on="slice")
        .join(ours.drop("against"), on="slice")
        .join(theirs, on=index)
        .sort(pl.col("slice").cast(pl.Enum(SLICES)), pl.col("against").cast(pl.Enum(rivals)))
        .select(
            *(*index, "customers", "base_rate", "log_loss_ours", "log_loss_theirs", "difference", "low", "high"),
            *("auc_ours", "auc_theirs"),
        )
    )


if __name__ == "__main__":
    answer(HERE, measure)
