"""The stage rule: one customer, one instant, one stage, and a past that later facts never change."""

from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.lifecycle.stages import STAGES, StageRule, learn_stage_rule, reachable_by_order, weighted_quantile
from features.order_days import build_order_days
from features.settings import StageSettings, load_settings
from features.snapshot import Snapshot
from features.table import build_customer_table, build_stage_tables
from tests.histories import (
    CUTOFF_DAY,
    SHOP_RULE,
    build_orders,
    build_records,
    customer_rows,
    later_orders,
    one_customer,
    order_logs,
    rules,
)

# SHOP_RULE: at risk after 30 days of silence, lost after 60; loyal from 5 order days over 90 days; own rhythm from 3
# gaps on, measured against a mean of 20 days. Days count from the first order.
CASES = {
    "first order": ((0,), 1, "first_time_buyer", 0),
    "first order, last day within rhythm": ((0,), 30, "first_time_buyer", 0),
    "one order, at risk the day after": ((0,), 31, "at_risk", 31),
    "one order, last day at risk": ((0,), 60, "at_risk", 31),
    "one order, lost the day after": ((0,), 61, "lost", 61),
    "two orders on one day are one order day": ((0, 0), 5, "first_time_buyer", 0),
    "second order day": ((0, 10), 11, "repeat", 10),
    "third order day changes nothing": ((0, 10, 25), 30, "repeat", 10),
    "repeat, silent": ((0, 10), 41, "at_risk", 41),
    "back from at risk": ((0, 10, 50), 51, "repeat", 50),
    "second order from at risk": ((0, 40), 41, "repeat", 40),
    "order on the last day within rhythm": ((0, 30), 31, "repeat", 30),
    "loyal": ((0, 25, 50, 75, 100), 101, "loyal", 100),
    "enough order days, too short a tenure": ((0, 20, 40, 60, 89), 90, "repeat", 20),
    "loyal once the tenure is there": ((0, 20, 40, 60, 80, 91), 92, "loyal", 91),
    "long tenure, too few order days": ((0, 30, 60, 90), 91, "repeat", 30),
    "loyal, back from at risk": ((0, 25, 50, 75, 100, 145), 146, "loyal", 145),
    "return on the last day before lost": ((0, 60), 61, "repeat", 60),
    "won back": ((0, 61), 62, "won_back", 61),
    "won back, still before the second order": ((0, 61), 91, "won_back", 61),
    "second order after the return": ((0, 61, 70), 71, "repeat", 70),
    "won back, silent": ((0, 61), 92, "at_risk", 92),
    "won back, silent, ordered again": ((0, 61, 95), 96, "repeat", 95),
    "won back, lost again": ((0, 61), 122, "lost", 122),
    "won back twice": ((0, 61, 122), 123, "won_back", 122),
    "won back although loyal before": ((0, 25, 50, 75, 100, 200), 201, "won_back", 200),
    "loyal again at the second order after the return": ((0, 25, 50, 75, 100, 200, 220), 221, "loyal", 220),
    # Gaps of 10 days against a mean of 20: judged twice as strictly.
    "at risk by own rhythm": ((0, 10, 20, 30), 46, "at_risk", 46),
    "within own rhythm": ((0, 10, 20, 30), 45, "repeat", 10),
    "lost by own rhythm": ((0, 10, 20, 30), 61, "lost", 61),
    "gaps too few for an own rhythm": ((0, 10, 20), 46, "repeat", 10),
    # Gaps of 30 days: judged by one and a half times the shop's silences.
    "slow by own rhythm": ((0, 30, 60, 90), 135, "repeat", 30),
    "slow, at risk in the end": ((0, 30, 60, 90), 136, "at_risk", 136),
    # Gaps of 2 days: never more than twice as strict.
    "fast, bounded": ((0, 2, 4, 6), 21, "repeat", 2),
    "fast, bounded, at risk": ((0, 2, 4, 6), 22, "at_risk", 22),
}


def _stages(
    orders: pl.DataFrame, cutoff_day: int, *, rule: StageRule = SHOP_RULE, horizon_days: int = 0
) -> pl.DataFrame:
    snapshot = Snapshot(cutoff_day, horizon_days)
    return build_customer_table(build_records(orders), snapshot, rule=rule)


def _stage(orders: pl.DataFrame, cutoff_day: int, *, rule: StageRule) -> str:
    return str(_stages(orders, cutoff_day, rule=rule)["stage"][0])


def _stage_on_days(rows: list[tuple[str, int, int]], days: range, rule: StageRule) -> list[str | None]:
    """Return the stage on each of these days, all by one table: a copy of the customer is moved for each day."""
    copies = [(f"{on_day}", day + CUTOFF_DAY - on_day, micros) for on_day in days for _, day, micros in rows]
    [table] = build_stage_tables(build_records(build_orders(copies)), [Snapshot(CUTOFF_DAY)], rule=rule)
    stages = dict(table.iter_rows())
    return [stages.get(f"{on_day}") for on_day in days]


@pytest.mark.parametrize("case", CASES)
def test_rule(case: str) -> None:
    """Each rule of the lifecycle gives its stage and its entry date."""
    days, cutoff, stage, since = CASES[case]
    table = _stages(one_customer(*(CUTOFF_DAY + day for day in days)), CUTOFF_DAY + cutoff)
    assert (table["stage"][0], table["stage_since_day"][0] - CUTOFF_DAY) == (stage, since)


@pytest.mark.parametrize(("silence", "stage"), [(90, "first_time_buyer"), (91, "at_risk"), (181, "lost")])
def test_fallback_bands(silence: int, stage: str) -> None:
    """A shop with too few gaps is judged by the published 90 and 180 days."""
    rule = _learn(one_customer(0, 10, 20))
    assert (rule.at_risk_after_days, rule.lost_after_days, rule.is_fallback) == (90, 180, True)
    assert _stage(one_customer(CUTOFF_DAY), CUTOFF_DAY + silence, rule=rule) == stage


@given(order_logs(), rules(), st.integers(-400, 400))
@settings(deadline=None)
def test_one_stage(orders: pl.DataFrame, rule: StageRule, shift: int) -> None:
    """Every customer with history has exactly one of six stages, entered after the first order and by the cutoff."""
    cutoff_day = CUTOFF_DAY + shift
    known = orders.filter(pl.col("day") < cutoff_day)
    table = _stages(orders, cutoff_day, rule=rule, horizon_days=90)
    assert table["customer_id"].to_list() == sorted(set(known["customer_id"].to_list()))
    assert set(table["stage"].to_list()) | set(table["stage_if_silent"].to_list()) <= set(STAGES)
    firsts = table["T_days"].to_numpy() * -1 + cutoff_day
    since = table["stage_since_day"].to_numpy()
    assert (since >= firsts).all()
    assert (since <= cutoff_day).all()


@given(customer_rows("c", max_orders=10), rules(), st.integers(-100, 600))
@settings(deadline=None)
def test_simulation(rows: list[tuple[str, int, int]], rule: StageRule, shift: int) -> None:
    """Stage and entry date are what a walk through the customer's life, day by day, comes to."""
    cutoff_day = CUTOFF_DAY + shift
    table = _stages(build_orders(rows), cutoff_day, rule=rule)
    walked = _walk(sorted({day for _, day, _ in rows if day < cutoff_day}), cutoff_day, rule)
    found = None if table.is_empty() else (table["stage"][0], table["stage_since_day"][0])
    assert found == walked


@given(order_logs(), later_orders(), rules(), st.integers(0, 300))
@settings(deadline=None)
def test_past_is_fixed(orders: pl.DataFrame, later: pl.DataFrame, rule: StageRule, back_days: int) -> None:
    """Facts added later never change the stage at a past instant, nor since when it was held."""
    cutoff_day = CUTOFF_DAY - back_days
    then = orders.filter(pl.col("day") < cutoff_day)
    assert _stages(then, cutoff_day, rule=rule).equals(_stages(pl.concat([orders, later]), cutoff_day, rule=rule))


@given(order_logs(), rules(), st.integers(1, 400))
@settings(deadline=None)
def test_if_silent(orders: pl.DataFrame, rule: StageRule, horizon_days: int) -> None:
    """The stage if silent is the stage at the end of the horizon when no order comes."""
    known = orders.filter(pl.col("day") < CUTOFF_DAY)
    now = _stages(known, CUTOFF_DAY, rule=rule, horizon_days=horizon_days)
    then = _stages(known, CUTOFF_DAY + horizon_days, rule=rule)
    assert now["stage_if_silent"].to_list() == then["stage"].to_list()


@given(customer_rows("c"), rules(), st.integers(0, 600))
@settings(deadline=None)
def test_since(rows: list[tuple[str, int, int]], rule: StageRule, shift: int) -> None:
    """The stage holds on every day since its entry, and another one, or none, held before."""
    cutoff_day = CUTOFF_DAY + shift
    table = _stages(build_orders(rows), cutoff_day, rule=rule)
    if table.is_empty():
        return
    stage, since = table["stage"][0], table["stage_since_day"][0]
    # An order is known from the morning after it; a silence passes its limit in the morning itself.
    entered = since if stage in {"at_risk", "lost"} else since + 1
    before, *held = _stage_on_days(rows, range(entered - 1, cutoff_day + 1), rule)
    assert set(held) == {stage}
    assert before != stage


def test_learned() -> None:
    """The silences are quantiles of the shop's gaps, and loyal order days a quantile over repeat customers."""
    gaps = [*range(1, 101)] * 3
    orders = pl.concat([one_customer(0, gap, customer_id=f"c{i}") for i, gap in enumerate(gaps)])
    rule = _learn(orders)
    assert (rule.at_risk_after_days, rule.lost_after_days, rule.mean_gap_days) == (80, 120, 50.5)
    assert (rule.loyal_min_order_days, rule.is_fallback) == (4, False)


def test_learned_from_the_past_only() -> None:
    """Gaps that close at or after the cutoff teach nothing."""
    orders = pl.concat([one_customer(0, 10 + i, 300, customer_id=f"c{i}") for i in range(250)])
    assert _learn(orders, cutoff_day=300) == _learn(orders.filter(pl.col("day") < 300), cutoff_day=300)


def test_loyal_tier() -> None:
    """The loyal tier begins at the order days that 80 % of repeat customers do not pass."""
    orders = pl.concat([one_customer(*range(2 + i), customer_id=f"c{i}") for i in range(10)])
    assert _learn(orders).loyal_min_order_days == 9


def test_one_time_shop() -> None:
    """A shop where nobody came back has a rule all the same."""
    rule = _learn(one_customer(0))
    assert rule.is_fallback
    assert _stage(one_customer(CUTOFF_DAY), CUTOFF_DAY + 1, rule=rule) == "first_time_buyer"


def test_round_trip() -> None:
    """A rule survives its own JSON values."""
    assert StageRule.from_dict(SHOP_RULE.to_dict()) == SHOP_RULE
    assert StageRule.from_dict(replace(SHOP_RULE, is_fallback=True).to_dict()) != SHOP_RULE


@given(st.lists(st.integers(0, 20), min_size=1, max_size=30), st.floats(0.01, 1.0))
def test_weighted_quantile(values: list[int], share: float) -> None:
    """The quantile is the smallest value with at least that share of the weight at or below it."""
    counts = pl.Series("v", values).value_counts().sort("v")
    found = weighted_quantile(counts["v"].to_numpy(), counts["count"].to_numpy(), share)
    enough = [v for v in sorted(set(values)) if sum(other <= v for other in values) >= share * len(values)]
    assert found == enough[0]


def _learn(orders: pl.DataFrame, *, cutoff_day: int = CUTOFF_DAY) -> StageRule:
    return learn_stage_rule(build_order_days(build_records(orders), Snapshot(cutoff_day)), _settings())


def _settings() -> StageSettings:
    return load_settings().stages


def _walk(days: list[int], cutoff_day: int, rule: StageRule) -> tuple[str, int] | None:
    """Live the customer's life forward, one morning and one order at a time."""
    state: tuple[str, int] | None = None
    n_days, first, last = 0, 0, 0
    is_loyal = False
    for today in range(days[0], cutoff_day) if days else ():
        if state is not None:
            state = _morning(state, today, today - last, _limits(n_days, last - first, rule))
        if today in days:
            n_days, first, last = n_days + 1, first if n_days else today, today
            is_loyal = is_loyal or (n_days >= rule.loyal_min_order_days and today - first >= rule.loyal_min_tenure_days)
            stage = _after_order(state, n_days=n_days, is_loyal=is_loyal)
            state = state if state is not None and state[0] == stage != "won_back" else (stage, today)
    if state is None:
        return None
    return _morning(state, cutoff_day, cutoff_day - last, _limits(n_days, last - first, rule))


def _limits(n_days: int, tenure_days: int, rule: StageRule) -> tuple[int, int]:
    n_gaps, factor = n_days - 1, 1.0
    if n_gaps >= rule.own_rhythm_min_gaps:
        own = tenure_days / (n_gaps * rule.mean_gap_days)
        factor = min(max(own, rule.own_rhythm_min_factor), rule.own_rhythm_max_factor)
    return int(factor * rule.at_risk_after_days), int(factor * rule.lost_after_days)


def _morning(state: tuple[str, int], today: int, silence_days: int, limits: tuple[int, int]) -> tuple[str, int]:
    at_risk, lost = limits
    if silence_days > lost:
        return state if state[0] == "lost" else ("lost", today)
    if silence_days > at_risk:
        return state if state[0] == "at_risk" else ("at_risk", today)
    return state


def _after_order(state: tuple[str, int] | None, *, n_days: int, is_loyal: bool) -> str:
    if n_days == 1:
        return "first_time_buyer"
    if state is not None and state[0] == "lost":
        return "won_back"
    return "loyal" if is_loyal else "repeat"


@given(order_logs(), rules(), st.integers(1, 200), st.integers(1, 400))
@settings(deadline=None)
def test_reached_where_possible(orders: pl.DataFrame, rule: StageRule, shift: int, horizon_days: int) -> None:
    """Whoever orders within the horizon is at its end in a stage that the rule lets an order reach."""
    cutoff_day = CUTOFF_DAY - shift
    table = _stages(orders, cutoff_day, rule=rule, horizon_days=horizon_days)
    [then] = build_stage_tables(build_records(orders), [Snapshot(cutoff_day + horizon_days)], rule=rule)
    came = orders.filter(pl.col("day").is_between(cutoff_day, cutoff_day + horizon_days - 1))["customer_id"]
    reached = then.filter(pl.col("customer_id").is_in(came.implode()))
    for stage, is_reachable in reachable_by_order(rule, horizon_days=horizon_days).items():
        excluded = table.filter(~is_reachable)["customer_id"]
        assert not set(reached.filter(pl.col("stage") == stage)["customer_id"]) & set(excluded), stage
