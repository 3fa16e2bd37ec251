"""Which horizon, and one model or one for each? Every figure of `report.md` comes from here.

    python -m experiments.which_horizon.run
    python -m experiments.which_horizon.run --orders PATH --shop online_retail_ii

The first asks the CDNOW log that the lifetimes package carries, and takes a few minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from experiments.churn_alone import learn_churn_alone
from experiments.looks import Look, Vector, judge_looks, lay_out
from experiments.tables import Row, Tables
from experiments.trial import Log, answer, observe_churn, over
from features.errors import InsufficientHistoryError
from features.settings import Settings
from features.snapshot import Snapshot, to_date
from training.evaluation.ladder import OURS
from training.evaluation.slices import ALL, slice_all
from training.evaluation.verdicts import RECENCY_RULE
from training.horizon import suggest_horizon
from training.learn import Advance
from training.splits import build_fold, rolling_folds
from training.suggestion import HorizonSuggestion

HERE = Path(__file__).resolve().parent
BASE_RATE = "base_rate"
A_POINT = 0.01


@dataclass(frozen=True, slots=True)
class Heard:
    """What was said at one cutoff by all that learned over one horizon.

    Args:
        said: Base rate, recency rule and ours → P(no order within the horizon learned), (n,).
        carried: Days → P(no order within them) as our model carries it there, (n,).
        came: Days → 1 where no order came within them, (n,); those known by the end of the log.
        ids: Of the customers, length n.
    """

    said: Mapping[str, Vector]
    carried: Mapping[int, Vector]
    came: Mapping[int, npt.NDArray[np.int64]]
    ids: pl.Series

    def look(self, cutoff_day: int, days: int, said: Mapping[str, Vector]) -> Look:
        """Put answers beside what came."""
        return Look(cutoff_day, said, self.came[days], self.ids, slice_all(len(self.ids)))


# (cutoff day, horizon in days) → what was said; None where the history before the cutoff is too short.
Hear = Callable[[int, int], Heard | None]


def measure(log: Log, config: Mapping[str, Any], settings: Settings, advance: Advance) -> Tables:
    """Answer the question on one shop.

    Returns:
        `horizons`: a row per horizon that the history allows; `suggestion` and `reasons`: what the rhythm says;
        `carried`: a model of the horizon against those carried to it, at the same cutoffs; `carried_by_cutoff`;
        `contradictions`: how many customers are told that a longer silence is likelier than a shorter one.
    """
    wanted, step_days = config["carried_days"], config["carried_step_days"]
    cutoff_days = [log.end_day - step_days * step for step in range(1, settings.training.test_cutoffs + 1)]
    hear = _listen(log, wanted, settings, advance)
    horizons = [row for days in config["horizons_days"] for row in _judge_horizon(log, days, settings, hear)]
    found = suggest_horizon(log.records, first_day=log.first_day, end_day=log.end_day, settings=settings)
    carried = [
        (days, *judged) for days in wanted for judged in _judge_carried(days, cutoff_days, wanted, settings, hear)
    ]
    tables = {
        "horizons": pl.DataFrame(horizons),
        "suggestion": pl.DataFrame(list(_lay_out_suggestion(found))),
        "reasons": pl.DataFrame({"reason": found.reasons}),
        "carried": pl.concat([_lay_out_means(days, summary) for days, _, summary in carried], how="diagonal"),
        "carried_by_cutoff": pl.concat([_lay_out_cutoffs(days, frame) for days, frame, _ in carried]),
        "contradictions": pl.DataFrame(list(_count_contradictions(cutoff_days, wanted, hear))),
    }
    return {name: table for name, table in tables.items() if table.height}


def _listen(log: Log, wanted: Sequence[int], settings: Settings, advance: Advance) -> Hear:
    """Return a function that learns once for each pair of cutoff and horizon, and keeps what was said alone."""

    @cache
    def hear(cutoff_day: int, days: int) -> Heard | None:
        own = over(settings, horizon_days=days)
        try:
            fold = build_fold(cutoff_day, first_day=log.first_day, settings=own.training)
        except InsufficientHistoryError:
            return None
        advance(f"{to_date(cutoff_day)}: {days} days")
        alone = learn_churn_alone(log.records, fold, settings=own)
        known = [each for each in {days, *wanted} if cutoff_day + each <= log.end_day]
        came = {each: observe_churn(log, alone.past, Snapshot(cutoff_day, each)) for each in known}
        curve = alone.carry(np.array(wanted, dtype=np.float64), horizon_days=days)
        return Heard(
            said={BASE_RATE: alone.base_rate(), RECENCY_RULE: alone.recency_rule(), OURS: alone.p_churn},
            carried=dict(zip(wanted, np.ascontiguousarray(curve.T), strict=True)),
            came=came,
            ids=alone.ids,
        )

    return hear


def _judge_horizon(log: Log, days: int, settings: Settings, hear: Hear) -> Iterator[Row]:
    """Judge ours, the base rate and the recency rule over a horizon; nothing where the history has no room for it."""
    own = over(settings, horizon_days=days)
    try:
        folds = rolling_folds(first_day=log.first_day, end_day=log.end_day, settings=own.training)
    except InsufficientHistoryError:
        return
    found = [(fold.cutoff_day, heard) for fold in folds if (heard := hear(fold.cutoff_day, days)) is not None]
    _, summary = judge_looks((heard.look(cutoff_day, days, heard.said) for cutoff_day, heard in found), own)
    yield _lay_out_horizon(days, summary)


def _lay_out_horizon(days: int, summary: pl.DataFrame) -> Row:
    means = {(row["model"], row["metric"], row["against"]): row for row in summary.iter_rows(named=True)}
    losses = {name: means[name, "log_loss", ""]["value"] for name in (OURS, BASE_RATE, RECENCY_RULE)}
    gain = means[OURS, "log_loss", RECENCY_RULE]
    return {
        "days": days,
        "cutoffs": gain["n_cutoffs"],
        "base_rate": means[OURS, "base_rate", ""]["value"],
        "auc": means[OURS, "auc", ""]["value"],
        "auc_recency": means[RECENCY_RULE, "auc", ""]["value"],
        "log_loss": losses[OURS],
        "log_loss_base_rate": losses[BASE_RATE],
        "log_loss_recency": losses[RECENCY_RULE],
        "skill": 1.0 - losses[OURS] / losses[BASE_RATE],
        "skill_recency": 1.0 - losses[RECENCY_RULE] / losses[BASE_RATE],
        "against_recency": gain["value"],
        "low": gain["low"],
        "high": gain["high"],
    }


def _lay_out_suggestion(found: HorizonSuggestion) -> Iterator[Row]:
    for each in found.considered:
        yield {
            "days": each.days,
            "share_returned": each.share_returned,
            "base_rate": each.base_rate,
            "cutoffs": each.n_cutoffs,
            "is_suggested": each.days == found.horizon_days,
        }


def _judge_carried(
    days: int, cutoff_days: Sequence[int], wanted: Sequence[int], settings: Settings, hear: Hear
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Judge a model of the horizon, and those carried to it, at the cutoffs whose outcome is known."""
    looks = []
    for cutoff_day in cutoff_days:
        own = hear(cutoff_day, days)
        if own is not None and days in own.came:
            others = ((each, hear(cutoff_day, each)) for each in wanted if each != days)
            carried = {f"from_{each}": heard.carried[days] for each, heard in others if heard is not None}
            looks.append(own.look(cutoff_day, days, {OURS: own.said[OURS], **carried}))
    if looks:
        yield judge_looks(looks, settings)


def _lay_out_means(days: int, summary: pl.DataFrame) -> pl.DataFrame:
    """Lay out carried beside own, both at the cutoffs of the carried: a row per horizon learned."""
    plain = lay_out(summary.filter(slice=ALL, against=""), ["model", "n_cutoffs"]).select("model", "log_loss", "auc")
    versus = lay_out(_turn(summary), ["model", "n_cutoffs"], ("log_loss", "auc"))
    differences = {name: f"d_{name}" for name in versus.columns if name not in ("model", "n_cutoffs")}
    both = plain.join(versus.rename(differences), on="model", maintain_order="left")
    return both.select(
        days=pl.lit(days),
        learned_days=_learned_days(),
        cutoffs="n_cutoffs",
        log_loss_own=pl.col("log_loss") - pl.col("d_log_loss"),
        log_loss_carried="log_loss",
        difference="d_log_loss",
        low="d_log_loss_low",
        high="d_log_loss_high",
        auc_own=pl.col("auc") - pl.col("d_auc"),
        auc_carried="auc",
        auc_difference="d_auc",
        auc_low="d_auc_low",
        auc_high="d_auc_high",
    )


def _lay_out_cutoffs(days: int, frame: pl.DataFrame) -> pl.DataFrame:
    """Lay out carried minus own at each cutoff."""
    versus = lay_out(_turn(frame), ["cutoff", "model"], ("log_loss",))
    bounds = {"difference": "log_loss", "low": "log_loss_low", "high": "log_loss_high"}
    return versus.select("cutoff", days=pl.lit(days), learned_days=_learned_days(), **bounds)


def _learned_days() -> pl.Expr:
    return pl.col("model").str.strip_prefix("from_").cast(pl.Int64)


def _turn(findings: pl.DataFrame) -> pl.DataFrame:
    """Turn differences of own minus carried around."""
    low, high = pl.col("low"), pl.col("high")
    versus = findings.filter(pl.col("against") != "", slice=ALL)
    return versus.with_columns(model="against", value=-pl.col("value"), low=-high, high=-low)


def _count_contradictions(cutoff_days: Sequence[int], wanted: Sequence[int], hear: Hear) -> Iterator[Row]:
    """Yield, of each cutoff, the share of customers of whom separate models say that a longer silence is likelier."""
    for cutoff_day in cutoff_days:
        found = [heard.said[OURS] for days in sorted(wanted) if (heard := hear(cutoff_day, days)) is not None]
        if len(found) > 1:
            rises = np.diff(np.column_stack(found), axis=1).max(axis=1)
            yield {
                "cutoff": to_date(cutoff_day).isoformat(),
                "models": len(found),
                "customers": rises.size,
                "share_contradicted": float((rises > 0.0).mean()),
                "share_by_a_point": float((rises > A_POINT).mean()),
            }


if __name__ == "__main__":
    answer(HERE, measure)
