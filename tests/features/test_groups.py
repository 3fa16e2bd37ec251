"""The groups of features: by hand where no oracle looks, and what refunds can never do."""

from typing import Any

import pytest
from hypothesis import given, settings

from features.catalogue import MICROS
from features.groups.frequency import WINDOWS_DAYS
from features.lifecycle.stages import STATE_COLUMNS
from features.snapshot import Snapshot
from features.table import FEATURES, build_customer_table, build_feature_table
from tests.histories import CUTOFF_DAY, SHOP_RULE, Rows, Shop, build_records, build_shop, dated, shops

SNAPSHOT = Snapshot(CUTOFF_DAY, 90)
UNMOVED = [
    "customer_id",
    "stage",
    "stage_since_day",
    "stage_if_silent",
    *STATE_COLUMNS,
    *(f.name for f in FEATURES if f.unit in {"days", "orders"} and not f.needs),
]
UNMOVED += ["frequency", *(f"order_days_within_{days}" for days in WINDOWS_DAYS), "decayed_order_days"]
NEVER_RAISED = (
    "frequency",
    "recency_days",
    "historic_value",
    "monetary_value",
    "n_orders",
    "value_first_90",
    *(f"value_within_{days}" for days in WINDOWS_DAYS),
)


def _order(age: int, units: int, channel: str | None = None, cost: int | None = None) -> tuple[Any, ...]:
    return "c", CUTOFF_DAY - age, units * MICROS, channel, None if cost is None else cost * MICROS


def _row(rows: Rows) -> dict[str, Any]:
    """Return the features of one customer."""
    return build_feature_table(build_records(build_shop(rows)), SNAPSHOT, features=FEATURES).row(0, named=True)


def _expect(row: dict[str, Any], expected: dict[str, float | None]) -> None:
    assert {name: row[name] for name in expected} == pytest.approx(expected)


def test_refunds() -> None:
    """A refund lowers the value of its order's day, counts on the day it came, and may exceed what it took."""
    refunds = [("c", CUTOFF_DAY - 50, CUTOFF_DAY - 200, 6, 4), ("c", CUTOFF_DAY - 100, None, 5, 0)]
    in_micros = [(*refund[:3], *(units * MICROS for units in refund[3:])) for refund in refunds]
    row = _row({"orders": [_order(200, 10), _order(30, 30)], "refunds": in_micros})
    _expect(
        row,
        {
            "historic_value": 36.0,
            "first_order_day_value": 6.0,
            "value_within_90": 30.0,
            "value_within_365": 36.0,
            "n_refunds": 2.0,
            "refunds_within_90": 1.0,
            "refunds_per_order": 1.0,
            "refunded_value": 11.0,
            "refunded_share": 4 / 40,
            "days_since_last_refund": 50.0,
        },
    )


@given(shops())
@settings(deadline=None)
def test_refunds_take_only(shop: Shop) -> None:
    """A refund raises no count of days and no sum or mean of value, and moves no stage."""
    without = {**shop, "refunds": shop["refunds"].clear()}
    before, after = (
        build_customer_table(build_records(known), SNAPSHOT, rule=SHOP_RULE, features=FEATURES)
        for known in (without, shop)
    )
    assert after.select(UNMOVED).equals(before.select(UNMOVED))
    for name in NEVER_RAISED:
        assert (after[name] <= before[name]).all(), name
        assert after[name].null_count() == before[name].null_count(), name


def test_weekend() -> None:
    """Saturday and Sunday are the weekend, Friday and Monday are not."""
    for days, share in (("2024-01-05", 0.0), ("2024-01-06", 1.0), ("2024-01-07", 1.0), ("2024-01-08", 0.0)):
        table = build_feature_table(build_records(dated(days)), Snapshot(20_000))
        assert table.select("weekend_share", "weekend_value_share").row(0) == (share, share)


def test_basket() -> None:
    """Categories count once each, days of a category once each, and a category that is not known counts nowhere."""
    rows = [(300, "books", 1, 2), (300, None, 2, 3), (20, "books", 0, None), (20, "music", 3, 6)]
    items = [("c", CUTOFF_DAY - age, kind, n, q if q is None else q * MICROS) for age, kind, n, q in rows]
    row = _row({"orders": [_order(300, 1), _order(20, 1)], "items": items})
    _expect(
        row,
        {
            "categories_so_far": 2.0,
            "categories_within_90": 2.0,
            "new_categories_90": 1.0,
            "categories_per_order_day": 3 / 2,
            "category_loyalty": 3 / 2,
            "items_so_far": 11.0,
            "items_within_90": 6.0,
            "items_per_order_day": 11 / 2,
            "items_per_line": 11 / 6,
        },
    )


def test_channel_and_margin() -> None:
    """Channels and costs are counted of the orders that have one."""
    row = _row(
        {"orders": [_order(400, 9, "shop", 6), _order(10, 5, "web"), _order(10, 1, None, 2), _order(5, 5, "web")]}
    )
    _expect(
        row,
        {
            "channels_so_far": 2.0,
            "channels_within_365": 1.0,
            "new_channels_90": 1.0,
            "orders_per_channel": 3 / 2,
            "margin_so_far": 2.0,
            "margin_share": 2 / 10,
        },
    )


def test_answers() -> None:
    """The last answer is the highest of the last day that has one in range; ratings are averaged over those given."""
    values = {
        "survey": [(9, 10.0), (3, -2.5), (3, -7.0), (2, None), (1, 1_000_001.0)],
        "review": [(9, 4.0), (8, None), (7, 5.0)],
    }
    events = [
        ("c", CUTOFF_DAY - age, kind, None if value is None else round(value * MICROS), None)
        for kind, answers in values.items()
        for age, value in answers
    ]
    row = _row({"orders": [_order(20, 1)], "events": events})
    _expect(row, {"last_survey_answer": -2.5, "mean_review_rating": 4.5, "reviews": 3.0})


@pytest.mark.parametrize("answer", [-1_000_000, 0, 1_000_000])
@pytest.mark.parametrize("age", [1, CUTOFF_DAY])
def test_extreme_answer(answer: int, age: int) -> None:
    """The least and the greatest answer are read back as they were given, however long ago."""
    row = _row({"orders": [_order(1, 1)], "events": [("c", CUTOFF_DAY - age, "survey", answer * MICROS, None)]})
    assert row["last_survey_answer"] == answer


def test_events_of_others() -> None:
    """Events of one customer are no features of another, and who never ordered has no row."""
    rows: Rows = {"orders": [_order(1, 1)], "events": [("other", CUTOFF_DAY - 1, "visit", None, None)]}
    table = build_feature_table(build_records(build_shop(rows)), SNAPSHOT, features=FEATURES)
    assert table.select("customer_id", "visits_within_30", "days_since_last_visit").rows() == [("c", 0.0, None)]
