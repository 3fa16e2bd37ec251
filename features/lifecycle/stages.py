"""The stage rule: one customer, one instant, one stage.

Orders alone show six stages. Two silences, learned from the shop's gaps between order days, part the
active from `at_risk` and `lost`; a customer with enough gaps of their own is judged by their own rhythm.
A seventh, `ambassador`, takes events in which a customer recommends the shop.

Each limit depends only on orders up to the one it follows, so later facts never change a past stage. A stage changes
only at an order, at a first recommendation, or when a silence passes its limit; and a silence that a customer has come
back from before is usual for them, up to a bound, so that gaps about the limit move nobody back and forth (hysteresis).
"""

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Self

import narwhals as nw
import numpy as np
import numpy.typing as npt
import polars as pl

from features.arrays import Arrays
from features.catalogue import MICROS, Count, only_if
from features.dialect import Frame, dialect_of
from features.expressions import Expr, Int64, col, lit, max_horizontal, when
from features.settings import StageSettings
from features.snapshot import Snapshot
from features.windows import Windows

PROSPECT_STAGES = ("reached", "new_visitor", "returning_visitor", "prospect_cold", "prospect_hot")
STAGES = ("first_time_buyer", "repeat", "loyal", "at_risk", "lost", "won_back", "ambassador")
SCALE = ("unaware", *PROSPECT_STAGES, *STAGES)

Mask = npt.NDArray[np.bool_]

_DAY = col("day")

_COUNTS = (
    Count("last_day", _DAY, "max"),
    Count("at_risk_after_days", only_if(col("is_last"), col("at_risk_limit")), "max"),
    Count("lost_after_days", only_if(col("is_last"), col("lost_limit")), "max"),
    Count("won_back_day", only_if(col("from_lost"), _DAY), "max"),
    Count("active_since_day", only_if(col("enters_active"), _DAY), "max"),
    Count("regular_since_day", only_if(col("enters_regular"), _DAY), "max"),
    Count("loyal_from_day", only_if(col("is_loyal"), _DAY), "min"),
)
RECOMMENDING = ("referral", "advocacy", "review")
_RECOMMENDATIONS = frozenset(f"event:{event_type}" for event_type in RECOMMENDING)
_NEVER = Count("recommended_day", only_if(_DAY < 0, _DAY), "min")
STATE_COLUMNS = (*(count.name for count in _COUNTS), _NEVER.name)


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
        hysteresis_factor: Up to this many times the limit, a silence that the customer has come back from is usual.
        recommending_min_rating: Rating from which a review recommends, in the shop's own points; None where the shop
            recorded nothing by which a customer recommends, so that `ambassador` is not observable.
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
    hysteresis_factor: float
    recommending_min_rating: float | None
    is_fallback: bool

    @property
    def observable(self) -> tuple[str, ...]:
        """Return the stages of customers that the shop's data can show."""
        return STAGES if self.recommending_min_rating is not None else STAGES[: STAGES.index("ambassador")]

    def to_dict(self) -> dict[str, Any]:
        """Return the thresholds as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Rebuild a rule from `to_dict`."""
        return cls(**values)


def learn_stage_rule(
    order_days: nw.LazyFrame[Any], settings: StageSettings, *, offers: frozenset[str] = frozenset()
) -> StageRule:
    """Learn the thresholds from the order days known at a cutoff.

    Args:
        order_days: As `build_order_days` returns them.
        settings: Quantiles, floors and the bands that apply when the shop has too few gaps.
        offers: What else was on record by then (see `find_offers`).
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
        hysteresis_factor=settings.hysteresis_factor,
        recommending_min_rating=settings.recommending_min_rating if _RECOMMENDATIONS & offers else None,
        is_fallback=is_fallback,
    )


def counts_of(rule: StageRule) -> tuple[Count, ...]:
    """Return what is counted of a customer's marked order days and events: `STATE_COLUMNS`."""
    return (*_COUNTS, _NEVER if rule.recommending_min_rating is None else _recommended(rule.recommending_min_rating))


def with_stage_marks(order_days: Frame, *, rule: StageRule, windows: Windows) -> Frame:
    """Mark, on each order day, the silences that would follow it and the stage changes that it made.

    One row per customer and order day, with the columns that `counts_of` aggregates.
    """
    xp = dialect_of(order_days)
    marked = order_days.with_columns(rhythm=_own_rhythm(rule, xp)).with_columns(
        at_risk_limit=_floored(xp.col("rhythm") * rule.at_risk_after_days, xp),
        at_risk_bound=_floored(xp.col("rhythm") * (rule.at_risk_after_days * rule.hysteresis_factor), xp),
        lost_limit=_floored(xp.col("rhythm") * rule.lost_after_days, xp),
        is_loyal=(xp.col("order_index") >= rule.loyal_min_order_days)
        & (xp.col("tenure_days") >= rule.loyal_min_tenure_days),
    )
    returned = marked.with_columns(from_lost=_exceeds(xp.col("gap_days"), windows.previous(xp.col("lost_limit"))))
    usual = windows.longest(xp.when(~xp.col("from_lost")).then(xp.col("gap_days")))
    raised = xp.max_horizontal("at_risk_limit", xp.min_horizontal(usual, "at_risk_bound"))
    before_lost = xp.col("lost_limit") - 1  # nobody is lost who was not at risk the day before
    lenient = returned.with_columns(at_risk_limit=xp.min_horizontal(raised, before_lost))
    judged = lenient.with_columns(from_risk=_exceeds(xp.col("gap_days"), windows.previous(xp.col("at_risk_limit"))))
    previous_was_won_back = windows.previous(xp.col("from_lost").cast(xp.Int64)).fill_null(0)
    comes_back = ~xp.col("from_lost") & (xp.col("from_risk") | (previous_was_won_back == 1))
    return judged.with_columns(
        enters_active=(xp.col("order_index") == 1) | comes_back,
        enters_regular=comes_back | ((xp.col("order_index") == 2) & ~xp.col("from_lost")),
    )


@lru_cache(maxsize=64)
def assign_stage(*, at_day: int | Expr) -> tuple[Expr, Expr]:
    """Return the stage at the start of a day, and the day on which it was entered.

    Args:
        at_day: Day number, or a column of them; none may lie before the last order day of the history known then.

    Returns:
        Two expressions over `STATE_COLUMNS` and `frequency`: number of the stage in `STAGES`, and entry day number. A
        stage made by an order is entered on its day, and seen from the start of the next; one made by silence is seen
        on its entry day.
    """
    last, at_risk, lost = col("last_day"), col("at_risk_after_days"), col("lost_after_days")
    silence = at_day - last
    recommended = col("recommended_day")
    branches: tuple[tuple[Expr, str, Expr], ...] = (
        (silence > lost, "lost", last + lost + 1),
        (silence > at_risk, "at_risk", last + at_risk + 1),
        (col("won_back_day").fill_null(-1) == last, "won_back", last),
        (~recommended.is_null(), "ambassador", max_horizontal(recommended, "active_since_day")),
        (col("frequency") == 0, "first_time_buyer", last),
        (~col("loyal_from_day").is_null(), "loyal", max_horizontal("loyal_from_day", "regular_since_day")),
    )
    stage, since = lit(STAGES.index("repeat"), Int64), col("regular_since_day")
    for condition, name, entered in reversed(branches):
        stage = when(condition).then(lit(STAGES.index(name), Int64)).otherwise(stage)
        since = when(condition).then(entered).otherwise(since)
    return stage, since


def find_stages(states: Arrays, snapshot: Snapshot) -> list[pl.Series]:
    """Find the stages of customers from `STATE_COLUMNS` and `frequency`.

    Returns:
        `stage` at the cutoff, `stage_since_day`, and `stage_if_silent` at the end of the horizon.
    """
    stage, since = assign_stage(at_day=snapshot.cutoff_day)
    if_silent, _ = assign_stage(at_day=snapshot.end_day)
    found = states.select(stage=stage, since=since, if_silent=if_silent)
    return [
        stage_names(found["stage"].values, "stage"),
        found["since"].to_series("stage_since_day"),
        stage_names(found["if_silent"].values, "stage_if_silent"),
    ]


def stage_names(codes: npt.NDArray[np.int64], name: str = "") -> pl.Series:
    """Return the names of stages by their numbers in `STAGES`."""
    return pl.Series(name, STAGES)[codes]


def reachable_by_order(table: pl.DataFrame, rule: StageRule, *, horizon_days: int) -> dict[str, Mask]:
    """Tell which stages the rule allows at the horizon's end to a customer who orders within it.

    - `first_time_buyer`: none, two order days are behind whoever orders again.
    - `repeat`: whoever was not loyal before; loyalty, once reached, is not unlearned.
    - `loyal`: whoever was, or can gather the order days and the tenure by the horizon's last day.
    - `ambassador`: left to the model too, save that whoever has recommended is never again merely `repeat` or `loyal`.
    - `won_back`: it takes a gap longer than the limit of the order before: the present silence, prolonged to the
      horizon's last day, or a gap within the horizon against the shortest limit that the rule ever sets.
    - `at_risk`, `lost`: left to the model.

    Args:
        table: A customer table.
        rule: The stage rule that built it.
        horizon_days: Length of the horizon.

    Returns:
        Stage → whether each customer can reach it, shape (n,), for each stage that the rule can exclude.
    """
    longest_within = horizon_days - 1
    was_loyal = ~np.isnan(table["loyal_from_day"].to_numpy())
    has_recommended = ~np.isnan(table["recommended_day"].to_numpy())
    has_days = table["frequency"].to_numpy() + 1 + horizon_days >= rule.loyal_min_order_days
    has_tenure = table["T_days"].to_numpy() + longest_within >= rule.loyal_min_tenure_days
    by_silence = table["days_since_last_order"].to_numpy() + longest_within > table["lost_after_days"].to_numpy()
    within = longest_within > math.floor(rule.lost_after_days * rule.own_rhythm_min_factor)
    return {
        "first_time_buyer": np.zeros(table.height, dtype=np.bool_),
        "repeat": ~was_loyal & ~has_recommended,
        "loyal": (was_loyal | (has_days & has_tenure)) & ~has_recommended,
        "won_back": by_silence | within,
    }


def weighted_quantile(values: np.ndarray, weights: np.ndarray, share: float) -> int:
    """Return the smallest value below or at which at least `share` of the weight lies; values ascend."""
    cumulative = np.cumsum(weights)
    position = int(np.searchsorted(cumulative, share * cumulative[-1]))
    return int(values[min(position, values.size - 1)])


def _own_rhythm(rule: StageRule, xp: Any) -> Any:
    n_gaps = xp.col("order_index") - 1
    relative = xp.col("tenure_days").cast(xp.Float64) / (n_gaps.cast(xp.Float64) * rule.mean_gap_days)
    clipped = relative.clip(rule.own_rhythm_min_factor, rule.own_rhythm_max_factor)
    return xp.when(n_gaps >= rule.own_rhythm_min_gaps).then(clipped).otherwise(xp.lit(1.0))


def _recommended(min_rating: float) -> Count:
    """Count the day of the first recommendation; a review without a rating is one."""
    is_good = col("value_micros").is_null() | (col("value_micros") >= round(min_rating * MICROS))
    recommends = col("event_type").is_in(RECOMMENDING) & ((col("event_type") != "review") | is_good)
    return Count("recommended_day", only_if(recommends, _DAY), "min", log="events", needs=tuple(_RECOMMENDATIONS))


def _floored(days: Any, xp: Any) -> Any:
    return days.floor().cast(xp.Int64)


def _exceeds(days: Any, limit: Any) -> Any:
    return (days > limit).fill_null(value=False)


def _histogram(rows: nw.LazyFrame[Any], column: str) -> tuple[np.ndarray, np.ndarray]:
    counted: pl.DataFrame = rows.group_by(column).agg(nw.len().alias("n")).collect("polars").to_native()
    ordered = counted.sort(column)
    return ordered[column].to_numpy().astype(np.int64), ordered["n"].to_numpy().astype(np.int64)
