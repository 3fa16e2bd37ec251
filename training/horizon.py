"""A horizon suggested from the shop's own rhythm, with its reasons in words.

Too short a horizon takes for gone who has only not come yet; too long a one is known late, and tested on little. So: of
the customers who are going to return, most should have returned within it, not nearly all customers should share one
outcome, and the history should have room to test it. Of the horizons of which all that holds, the shortest is best.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt

from features.errors import InsufficientHistoryError
from features.order_days import build_order_days
from features.records import Records
from features.settings import Settings, TrainingSettings
from features.snapshot import Snapshot
from training.splits import rolling_folds
from training.suggestion import WANTED_SHARE, Considered, HorizonSuggestion

CANDIDATES_DAYS = (14, 30, 60, 90, 120, 180, 365)
MIN_GAPS = 30  # between order days, below which there is no rhythm to speak of
_MOST_OF_A_CUSTOMER = 10  # order days, the first ones: no one customer sets the pace
_MIN_AT_RISK = 10  # order days still waited for: beyond, the curve follows single customers

Days = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ReturnCurve:
    """How soon those return who return.

    Args:
        days: Days after an order day on which a next one came, ascending.
        share: Of those who return, the share who have returned by then; ends in 1.
    """

    days: Days
    share: npt.NDArray[np.float64]

    def share_within(self, days: int) -> float:
        """Return the share who have returned within so many days."""
        n_before = int(np.searchsorted(self.days, days, "right"))
        return float(self.share[n_before - 1]) if n_before else 0.0

    def days_until(self, share: float) -> int:
        """Return the days within which so large a share has returned."""
        return int(self.days[min(int(np.searchsorted(self.share, share)), self.days.size - 1)])


def suggest_horizon(records: Records, *, first_day: int, end_day: int, settings: Settings) -> HorizonSuggestion:
    """Suggest how far to look ahead, from how soon the shop's customers return.

    Never refuses: where there is too little to learn from, the horizon of the settings is kept, and a reason says so.

    Args:
        records: Validated records.
        first_day: Day number of the first order.
        end_day: First day number whose orders are not used.
        settings: Of the whole run; its horizon is the fallback.
    """
    order_days = build_order_days(Records(records.orders), Snapshot(end_day))
    curve = learn_return_curve(order_days)
    spans = _collect_spans(order_days)
    considered = tuple(
        Considered(
            days=days,
            share_returned=curve.share_within(days) if curve else None,
            base_rate=_base_rate(spans, Snapshot(end_day - days)),
            n_cutoffs=_count_cutoffs(first_day, end_day, days, settings.training),
        )
        for days in CANDIDATES_DAYS
    )
    chosen = _choose(considered, n_wanted=settings.training.test_cutoffs)
    if curve is None or chosen is None:
        return _keep(considered, first_day=first_day, end_day=end_day, settings=settings.training)
    return HorizonSuggestion(chosen.days, tuple(_reasons(curve, chosen, considered, settings.training)), considered)


def learn_return_curve(order_days: nw.LazyFrame[Any]) -> ReturnCurve | None:
    """Estimate how soon the next order day follows, as Kaplan and Meier (1958, JASA 53) do, of those who return.

    An order day that nothing has followed yet has waited at least until the cutoff, and counts for so long. The level
    that the curve comes to rest at is the share who ever return (Maller and Zhou 1992, Biometrika 79), by which it is
    divided; it is read where 10 order days or more are still waited for. No customer counts with more than ten.

    Args:
        order_days: As `build_order_days` returns them.

    Returns:
        None where fewer than `MIN_GAPS` gaps were seen whole.
    """
    wait = nw.when(nw.col("is_last")).then(nw.col("age_days")).otherwise(nw.col("next_day") - nw.col("day"))
    counted = (
        order_days.filter(nw.col("order_index") <= _MOST_OF_A_CUSTOMER)
        .select("is_last", wait_days=wait)
        .group_by("wait_days")
        .agg(n=nw.len(), n_waiting=nw.col("is_last").cast(nw.Int64).sum())
        .sort("wait_days")
        .collect("polars")
    )
    days, n, n_waiting = (counted[name].to_numpy().astype(np.int64) for name in ("wait_days", "n", "n_waiting"))
    n_returned = n - n_waiting
    at_risk = n[::-1].cumsum()[::-1]
    is_step = (n_returned > 0) & (at_risk >= _MIN_AT_RISK)
    if n_returned[is_step].sum() < MIN_GAPS:
        return None
    returned = 1.0 - np.cumprod(1.0 - n_returned[is_step] / at_risk[is_step])
    return ReturnCurve(days[is_step], returned / returned[-1])


def _collect_spans(order_days: nw.LazyFrame[Any]) -> tuple[Days, Days]:
    """Return each customer's first and last order day."""
    found = order_days.group_by("customer_id").agg(first=nw.col("day").min(), last=nw.col("day").max())
    spans = found.select("first", "last").collect("polars")
    return spans["first"].to_numpy(), spans["last"].to_numpy()


def _base_rate(spans: tuple[Days, Days], snapshot: Snapshot) -> float | None:
    """Return the share of customers known at a cutoff who have not ordered since."""
    first, last = spans
    is_customer = snapshot.is_known(first)
    return float(snapshot.is_known(last[is_customer]).mean()) if is_customer.any() else None


def _count_cutoffs(first_day: int, end_day: int, days: int, settings: TrainingSettings) -> int:
    wanted = settings.model_copy(update={"horizon_days": days})
    try:
        return len(rolling_folds(first_day=first_day, end_day=end_day, settings=wanted))
    except InsufficientHistoryError:
        return 0


def _choose(considered: tuple[Considered, ...], *, n_wanted: int) -> Considered | None:
    """Choose the shortest that is long enough, the longest where none is; room comes first, both outcomes last."""
    most = min(n_wanted, max(each.n_cutoffs for each in considered))
    if most == 0:
        return None
    with_room = [each for each in considered if each.n_cutoffs >= most]
    preferred = [each for each in with_room if each.is_long_enough] or with_room[::-1]
    return next((each for each in preferred if each.is_telling), preferred[0])


def _keep(
    considered: tuple[Considered, ...], *, first_day: int, end_day: int, settings: TrainingSettings
) -> HorizonSuggestion:
    """Keep the horizon of the settings; where it leaves no room for a test, the longest that does."""
    days, possible = settings.horizon_days, [each.days for each in considered if each.n_cutoffs]
    if not possible:
        why = f"The history is too short to train and test on any horizon, even of {considered[0].days} days."
        return HorizonSuggestion(days, (why, f"The {days} days of the settings are kept."), considered)
    why = f"Customers came back fewer than {MIN_GAPS} times: that tells no rhythm."
    if _count_cutoffs(first_day, end_day, days, settings):
        return HorizonSuggestion(days, (why, f"The {days} days of the settings are kept."), considered)
    longest = f"The {days} days of the settings leave no room for a test; {possible[-1]} days are the longest that do."
    return HorizonSuggestion(possible[-1], (why, longest), considered)


def _reasons(
    curve: ReturnCurve, chosen: Considered, considered: tuple[Considered, ...], settings: TrainingSettings
) -> Iterator[str]:
    usual = f"{WANTED_SHARE:.0%} do so within {curve.days_until(WANTED_SHARE)} days"
    yield f"Of those who order again, {usual}; {chosen.days} days hold {chosen.share_returned:.0%}."
    if chosen.base_rate is not None:
        yield f"Lately {chosen.base_rate:.0%} of the customers ordered nothing in {chosen.days} days."
    yield f"The history has room for {_tests(chosen.n_cutoffs)} of {chosen.days} days."
    if chosen.n_cutoffs < settings.test_cutoffs:
        yield f"That is fewer than the {settings.test_cutoffs} asked for: take the figures of the backtest with care."
    if not chosen.is_long_enough:
        longer = next((each for each in considered if each.is_long_enough), considered[-1])
        yield f"That is short: {longer.days} days would hold more, but leave room for {_tests(longer.n_cutoffs)}."
    if not chosen.is_telling:
        yield "Nearly all customers share one outcome, so that there is little to tell apart."


def _tests(n: int) -> str:
    return "one test" if n == 1 else f"{n or 'no'} tests"
