"""Does the purchase process help as a feature, and as a partner? Every figure of `report.md` comes from here.

    python -m experiments.process_as_feature.run
    python -m experiments.process_as_feature.run --orders PATH --shop online_retail_ii

The first asks the CDNOW log that the lifetimes package carries, and takes a few minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from experiments.churn_alone import ChurnAlone, learn_churn_alone
from experiments.looks import Look, Vector, judge_looks, lay_out
from experiments.tables import Row, Tables
from experiments.trial import Log, answer, observe_churn
from features.settings import Settings
from features.snapshot import Snapshot, to_date
from training import metrics
from training.evaluation.ladder import OURS
from training.evaluation.slices import ALL, slice_all
from training.learn import Advance
from training.models.churn import ChurnModel, ProbabilityCalibrator
from training.splits import Fold, rolling_folds

HERE = Path(__file__).resolve().parent
FUNCTIONS = {"log_loss": metrics.log_loss_binary, "auc": metrics.auc, "ece": metrics.expected_calibration_error}
PROCESS = "process_alone"
# Name → whether the trees see the purchase process, and its weight beside them.
VARIANTS = {
    "trees_without": (False, 0.0),
    "trees_with": (True, 0.0),
    "average_without": (False, 0.5),
    "average_with": (True, 0.5),
}
# What the question is about: the process as a feature, of trees alone and in the average; and as a partner.
PAIRS = (
    ("trees_with", "trees_without"),
    ("average_with", "average_without"),
    ("average_without", "trees_without"),
    ("average_with", "trees_with"),
    ("average_without", PROCESS),
    ("average_with", PROCESS),
)


@dataclass(frozen=True, slots=True)
class Told:
    """What was said at one cutoff.

    Args:
        cutoff_day: Day number.
        shipped: The pool as it would be shipped.
        ids: Of the customers, length n.
        came: 1 where no order came, (n,).
        seeds: Of each seed: variant → P(no order), (n,); the shipped pool among them.
    """

    cutoff_day: int
    shipped: ChurnModel
    ids: pl.Series
    came: npt.NDArray[np.int64]
    seeds: tuple[Mapping[str, Vector], ...]

    @property
    def cutoff(self) -> str:
        """The cutoff as an ISO date."""
        return to_date(self.cutoff_day).isoformat()


def measure(log: Log, _config: Mapping[str, Any], settings: Settings, advance: Advance) -> Tables:
    """Answer the question on one shop.

    Returns:
        `variants`: a row per variant, means over the cutoffs, with the standard deviation over the seeds; `pairs`:
        their differences, paired by customer, and over the seeds; `cutoffs`: a row per cutoff and variant; `pools`:
        weight and slope of the shipped pool.
    """
    folds = rolling_folds(first_day=log.first_day, end_day=log.end_day, settings=settings.training)
    told = [ask_variants(log, fold, settings, advance) for fold in folds]
    pairs = (*PAIRS, *((OURS, name) for name in ("average_with", "average_without", "trees_with", PROCESS)))
    frame, summary = judge_looks(map(_look, told), settings, pairs=PAIRS)
    plain = summary.filter(against="")
    return {
        "variants": lay_out(plain, ["model"]).join(_spread(told), on="model", how="left", maintain_order="left"),
        "pairs": _lay_out_pairs(summary, pairs).join(
            pl.DataFrame([_vary(told, *pair) for pair in pairs]), on=["model", "against"], maintain_order="left"
        ),
        "cutoffs": lay_out(frame.filter(against=""), ["cutoff", "model"], with_bounds=False),
        "pools": pl.DataFrame([_pool(each) for each in told]),
    }


def ask_variants(log: Log, fold: Fold, settings: Settings, advance: Advance) -> Told:
    """Learn at one cutoff, and let every variant of every seed answer."""
    when = to_date(fold.cutoff_day)
    advance(f"{when}: churn")
    alone = learn_churn_alone(log.records, fold, settings=settings)
    advance(f"{when}: seeds")
    first, n_seeds = settings.training.seed, settings.training.seeds
    return Told(
        fold.cutoff_day,
        alone.learned.model,
        alone.ids,
        observe_churn(log, alone.past, Snapshot(fold.cutoff_day, settings.training.horizon_days)),
        tuple(_ask_all(alone, seed) for seed in range(first, first + n_seeds)),
    )


def _ask_all(alone: ChurnAlone, seed: int) -> dict[str, Vector]:
    """Return what each variant says with the trees of one seed; weight and slope of the shipped pool stay."""
    shipped = alone.learned.model
    grown = {sees: alone.regrow(replace(shipped, reads_process=sees), seed=seed) for sees in (False, True)}
    parts = {name: part(grown[sees], weight) for name, (sees, weight) in VARIANTS.items()}
    models = {PROCESS: ChurnModel(trees=None, process_weight=1.0), **parts, OURS: grown[shipped.reads_process]}
    return {name: alone.ask(each) for name, each in models.items()}


def part(churn: ChurnModel, process_weight: float) -> ChurnModel:
    """Return trees and purchase process at a stated weight, without calibration."""
    return replace(churn, process_weight=process_weight, calibrator=ProbabilityCalibrator())


def _look(told: Told) -> Look:
    return Look(told.cutoff_day, told.seeds[0], told.came, told.ids, slice_all(told.came.size))


def _lay_out_pairs(summary: pl.DataFrame, pairs: tuple[tuple[str, str], ...]) -> pl.DataFrame:
    """Lay out the differences in the order of the pairs."""
    asked = pl.DataFrame(pairs, schema=["model", "against"], orient="row")
    laid = lay_out(summary.filter(pl.col("against") != "", slice=ALL), ["model", "against"], ("log_loss", "auc"))
    return asked.join(laid, on=["model", "against"], maintain_order="left")


def _measure_seeds(told: list[Told], name: str, metric: str) -> Vector:
    """Return a metric of one variant for each seed, (n_seeds,), means over the cutoffs."""
    function = FUNCTIONS[metric]
    found = [[function(each.came, said[name]) for said in each.seeds] for each in told]
    return np.asarray(np.mean(found, axis=0))


def _spread(told: list[Told]) -> pl.DataFrame:
    """Lay out how far the seeds lie apart, a row per variant."""
    return pl.DataFrame(
        [
            {"model": name}
            | {f"{metric}_seed_sd": _deviation(_measure_seeds(told, name, metric)) for metric in FUNCTIONS}
            for name in told[0].seeds[0]
        ]
    )


def _vary(told: list[Told], model: str, against: str) -> Row:
    """Tell how one difference of log losses lies over the seeds."""
    found = _measure_seeds(told, model, "log_loss") - _measure_seeds(told, against, "log_loss")
    return {
        "model": model,
        "against": against,
        "seeds_mean": float(found.mean()),
        "seeds_least": float(found.min()),
        "seeds_most": float(found.max()),
    }


def _deviation(values: Vector) -> float | None:
    return float(values.std(ddof=1)) if values.size > 1 else None


def _pool(told: Told) -> Row:
    churn = told.shipped
    return {"cutoff": told.cutoff, "process_weight": churn.process_weight, "slope": churn.calibrator.slope}


if __name__ == "__main__":
    answer(HERE, measure)
