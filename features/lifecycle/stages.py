"""The stage rule: one customer, one instant, one stage.

Orders alone show six stages. Two silences, learned from the shop's gaps between order days, part the
active from `at_risk` and `lost`; a customer with enough gaps of their own is judged by their own rhythm.
Each limit depends only on orders up to the one it follows, so later facts never change a past stage, and a
stage can change only at an order or when a silence passes its limit, so noise of a day moves nobody back and forth.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

import narwhals as nw
import numpy as np
import polars as pl

from features.catalogue import Count, when
from features.settings import StageSettings
from features.windows import PARTITIONED, Frame, Windows

STAGES = ("first_time_buyer", "repeat", "loyal", "at_risk", "lost", "won_back")
NOT_OBSERVABLE = ("reached", "new_visitor", "returning_visitor", "prospect_cold", "prospect_hot", "ambassador")

_DAY = nw.col("day")

COUNTS = (
    Count("last_day", _DAY, "max"),
    Count("at_risk_after_days", when(nw.col("is_last"), nw.col("at_risk_limit")), "max"),
    Count("lost_after_days", when(nw.col("is_last"), nw.col("lost_limit")), "max"),
    Count("won_back_day", when(nw.col("from_lost"), _DAY), "max"),
    Count("regular_since_day", when(nw.col("enters_regular"), _DAY), "max"),
    Count("loyal_from_day", when(nw.col("is_loyal"), _DAY), "min"),
)
STATE_COLUMNS = tuple(count.name for count in COUNTS)


@dataclass(frozen=True, slots=True)
class StageRule:
    """Thresholds of the stage rule, learned once and frozen into the bundle.

    Args:
        at_risk_after_days: Silence, in days, after which a customer is `at_risk`.
        lost_after_days: Silence, in days, after which a customer is `lost`.
        mean_gap_days: The shop's mean gap between order days; own rhythms are measured against it.
        loyal_min_order_days: Order days from which a customer can be `loyal`.
        loyal_min_tenure_days: Least distance from first order day to the order that makes a customer `loyal`.
        own_rhythm_min_gaps: Own gaps from which the customer's rhythm scales both silences.
        own_rhythm_min_factor: Least scale.
        own_rhythm_max_factor: Greatest scale.
        is_fallback: Whether the shop had too few gaps, so that the documented bands apply.
    """

    at_risk_after_days: int
    lost_after_days: int
    mean_gap_days: float
    loyal_min_order_days: int
    loyal_min_tenure_days: int
    own_rhythm_min_gaps: int
    own_rhythm_min_factor: float
    own_rhythm_max_factor: float
    is_fallback: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the thresholds as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Rebuild a rule from `to_dict`."""
        return cls(**values)


def learn_stage_rule(order_days: nw.LazyFrame[Any], settings: StageSettings) -> StageRule:
    """Learn the thresholds from the order days known at a cutoff.

    Args:
        order_days: As `build_order_days` returns them.
        settings: Quantiles, floors and the bands that apply when the shop has too few gaps.
    """
    gaps, n_gaps = _histogram(order_days.filter(~nw.col("gap_days").is_null()), "gap_days")
    sizes, n_sizes = _histogram(
        order_days.group_by("customer_id").agg(nw.len().alias("n_days")).filter(nw.col("n_days") > 1), "n_days"
    )
    is_fallback = int(n_gaps.sum()) < settings.min_gaps
    if is_fallback:
        at_risk, lost = settings.fallback_at_risk_days, settings.fallback_lost_days
    else:
        at_risk = max(settings.min_at_risk_days, weighted_quantile(gaps, n_gaps, settings.at_risk_quantile))
        lost = max(
            weighted_quantile(gaps, n_gaps, settings.lost_quantile),
            int(np.ceil(at_risk * settings.lost_to_at_risk_min_ratio)),
        )
    loyal = weighted_quantile(sizes, n_sizes, settings.loyal_quantile) if sizes.size else 0
    return StageRule(
        at_risk_after_days=at_risk,
        lost_after_days=lost,
        mean_gap_days=float(np.average(gaps, weights=n_gaps)) if gaps.size else float(at_risk),
        loyal_min_order_days=max(loyal, settings.loyal_min_order_days),
        loyal_min_tenure_days=settings.loyal_min_tenure_days,
        own_rhythm_min_gaps=settings.own_rhythm_min_gaps,
        own_rhythm_min_factor=1.0 if is_fallback else settings.own_rhythm_min_factor,
        own_rhythm_max_factor=1.0 if is_fallback else settings.own_rhythm_max_factor,
        is_fallback=is_fallback,
    )


def with_stage_marks(order_days: Frame, *, rule: StageRule, windows: Windows = PARTITIONED) -> Frame:
    """Mark, on each order day, the silences that would follow it and the stage changes that it made.

    One row per customer and order day, with the columns that `COUNTS` aggregates.
    """
    marked = order_days.with_columns(rhythm=_own_rhythm(rule)).with_columns(
        at_risk_limit=(nw.col("rhythm") * rule.at_risk_after_days).floor().cast(nw.Int64),
        lost_limit=(nw.col("rhythm") * rule.lost_after_days).floor().cast(nw.Int64),
        is_loyal=(nw.col("order_index") >= rule.loyal_min_order_days)
        & (nw.col("tenure_days") >= rule.loyal_min_tenure_days),
    )
    returned = marked.with_columns(
        from_risk=_exceeds("gap_days", windows.previous(nw.col("at_risk_limit"))),
        from_lost=_exceeds("gap_days", windows.previous(nw.col("lost_limit"))),
    )
    previous_was_won_back = windows.previous(nw.col("from_lost").cast(nw.Int64)).fill_null(0)
    return returned.with_columns(
        enters_regular=(nw.col("order_index") > 1)
        & ~nw.col("from_lost")
        & (nw.col("from_risk") | (nw.col("order_index") == 2) | (previous_was_won_back == 1))
    )


def assign_stage(*, at_day: int) -> tuple[pl.Expr, pl.Expr]:
    """Return the stage at the start of a day, and the day on which it was entered.

    Args:
        at_day: Day number; it must not lie before the last order day of the table's history.

    Returns:
        Two expressions over `STATE_COLUMNS` and `frequency`: stage name and entry day number. A stage made by an order
        is entered on its day, and seen from the start of the next; one made by silence is seen on its entry day.
    """
    last, at_risk, lost = pl.col("last_day"), pl.col("at_risk_after_days"), pl.col("lost_after_days")
    silence = pl.lit(at_day, pl.Int64) - last
    branches: tuple[tuple[pl.Expr, str, pl.Expr], ...] = (
        (silence > lost, "lost", last + lost + 1),
        (silence > at_risk, "at_risk", last + at_risk + 1),
        (pl.col("frequency") == 0, "first_time_buyer", last),
        (pl.col("won_back_day").fill_null(-1) == last, "won_back", last),
        (pl.col("loyal_from_day").is_not_null(), "loyal", pl.max_horizontal("loyal_from_day", "regular_since_day")),
        (pl.lit(value=True), "repeat", pl.col("regular_since_day")),
    )
    stage: Any = pl.lit(None, pl.String)
    since: Any = pl.lit(None, pl.Int64)
    for condition, name, entered in reversed(branches):
        stage = pl.when(condition).then(pl.lit(name)).otherwise(stage)
        since = pl.when(condition).then(entered).otherwise(since)
    return stage, since


def reachable_by_order(rule: StageRule, *, horizon_days: int) -> dict[str, pl.Expr]:
    """Tell which stages the rule allows at the horizon's end to a customer who orders within it.

    - `first_time_buyer`: none, two order days are behind whoever orders again.
    - `repeat`: whoever was not loyal before; loyalty, once reached, is not unlearned.
    - `loyal`: whoever was, or can gather the order days and the tenure by the horizon's last day.
    - `won_back`: it takes a gap longer than the limit of the order before: the present silence, prolonged to the
      horizon's last day, or a gap within the horizon against the shortest limit that the rule ever sets.
    - `at_risk`, `lost`: left to the model.

    Args:
        rule: The stage rule that built the table.
        horizon_days: Length of the horizon.

    Returns:
        Stage → a boolean expression over a customer table, for each stage that the rule can exclude.
    """
    longest_within = horizon_days - 1
    was_loyal = pl.col("loyal_from_day").is_not_null()
    has_days = pl.col("frequency") + 1 + horizon_days >= rule.loyal_min_order_days
    has_tenure = pl.col("T_days") + longest_within >= rule.loyal_min_tenure_days
    by_silence = pl.col("days_since_last_order") + longest_within > pl.col("lost_after_days")
    within = longest_within > math.floor(rule.lost_after_days * rule.own_rhythm_min_factor)
    return {
        "first_time_buyer": pl.lit(value=False),
        "repeat": ~was_loyal,
        "loyal": was_loyal | (has_days & has_tenure),
        "won_back": by_silence | pl.lit(value=within),
    }


def weighted_quantile(values: np.ndarray, weights: np.ndarray, share: float) -> int:
    """Return the smallest value below or at which at least `share` of the weight lies; values ascend."""
    cumulative = np.cumsum(weights)
    position = int(np.searchsorted(cumulative, share * cumulative[-1]))
    return int(values[min(position, values.size - 1)])


def _own_rhythm(rule: StageRule) -> nw.Expr:
    n_gaps = nw.col("order_index") - 1
    relative = nw.col("tenure_days").cast(nw.Float64) / (n_gaps.cast(nw.Float64) * rule.mean_gap_days)
    clipped = relative.clip(rule.own_rhythm_min_factor, rule.own_rhythm_max_factor)
    return nw.when(n_gaps >= rule.own_rhythm_min_gaps).then(clipped).otherwise(nw.lit(1.0))


def _exceeds(column: str, limit: nw.Expr) -> nw.Expr:
    return (nw.col(column) > limit).fill_null(value=False)


def _histogram(rows: nw.LazyFrame[Any], column: str) -> tuple[np.ndarray, np.ndarray]:
    counted: pl.DataFrame = rows.group_by(column).agg(nw.len().alias("n")).collect("polars").to_native()
    ordered = counted.sort(column)
    return ordered[column].to_numpy().astype(np.int64), ordered["n"].to_numpy().astype(np.int64)
