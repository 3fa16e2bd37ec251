"""Engagement: what the features of events say, by hand, and the same on every engine."""

from collections.abc import Sequence
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.catalogue import MICROS
from features.groups.events import COUNTS, FEATURES
from features.intake.rules.event_types import load_event_types
from features.records import EVENT_SCHEMA, Records
from features.snapshot import Snapshot
from features.table import build_feature_table
from tests.histories import CUTOFF_DAY, build_orders

SNAPSHOT = Snapshot(CUTOFF_DAY)
NAMES = [feature.name for feature in FEATURES]

EventRow = tuple[str, int, str, int | None]

# Type of event → value in micros, if it has one, by age in days.
HISTORY: dict[str, dict[int, int | None]] = {
    "visit": {1: None, 30: None, 31: None, 60: None, 61: None, 90: None, 91: None},
    "cart": {30: None, 31: None},
    "form": {90: None, 91: None},
    "registration": {10: None, 500: None},
    "email_sent": {1: None, 2: None, 90: None, 50: None, 91: None},
    "email_open": {3: None, 90: None, 91: None},
    "email_click": {4: None},
    "unsubscribe": {200: None},
    "campaign_sent": {180: None, 181: None, 365: None, 366: None},
    "coupon_redeemed": {7: None, 365: None, 366: None},
    "ticket": {90: None, 91: None, 366: None},
    "survey": {5: -1_500_000, 6: 9_000_000, 4: None, 3: 2 * 10**12},
    "review": {8: 4_000_000, 9: 5_000_000, 700: None},
    "referral": {900: None},
    "marketing_cost": {365: 2_500_000, 1: 1_000_000, 366: 7_000_000},
}
BY_HAND = {
    "visits_within_30": 2,
    "visits_within_90": 6,
    "visits_trend_30": 0,
    "days_since_last_visit": 1,
    "carts_within_30": 1,
    "days_since_last_cart": 30,
    "forms_within_90": 1,
    "days_since_registration": 500,
    "emails_sent_within_90": 4,
    "email_open_rate_90": 0.5,
    "email_click_rate_90": 0.25,
    "days_since_last_email_open": 3,
    "unsubscribes": 1,
    "campaigns_within_180": 1,
    "coupons_within_365": 2,
    "coupons_per_campaign_365": 2 / 3,
    "days_since_last_coupon": 7,
    "marketing_cost_within_365": 3.5,
    "tickets_within_90": 1,
    "tickets_within_365": 2,
    "days_since_last_ticket": 90,
    "last_survey_answer": -1.5,
    "reviews": 3,
    "mean_review_rating": 4.5,
    "referrals": 1,
}


def _build_events(rows: Sequence[EventRow]) -> pl.DataFrame:
    """Build validated events from (customer id, day number, type, micros). One row per event."""
    return pl.DataFrame([(*row, None) for row in rows], schema=EVENT_SCHEMA, orient="row")


def _features(events: Any, *, orders: Any = None) -> pl.DataFrame:
    """Build the event features of the customers `c` and `d`, who each ordered once."""
    ordered = build_orders([("c", CUTOFF_DAY - 9, MICROS), ("d", CUTOFF_DAY - 9, MICROS)])
    records = Records.wrap(ordered if orders is None else orders, events=events)
    return build_feature_table(records, SNAPSHOT, features=FEATURES)


def _on_duckdb(engine: duckdb.DuckDBPyConnection, events: pl.DataFrame) -> pl.DataFrame:
    ordered = build_orders([("c", CUTOFF_DAY - 9, MICROS), ("d", CUTOFF_DAY - 9, MICROS)])
    return _features(engine.from_arrow(events.to_arrow()), orders=engine.from_arrow(ordered.to_arrow()))


def _bytes(table: pl.DataFrame) -> bytes:
    return repr((table.schema, table.rows())).encode()


def _by_hand() -> pl.DataFrame:
    rows = [
        ("c", CUTOFF_DAY - age, event_type, value)
        for event_type, values in HISTORY.items()
        for age, value in values.items()
    ]
    return _build_events(rows)


def test_by_hand() -> None:
    """Every feature is what its one-line meaning says, on and about the edge of its window."""
    assert list(BY_HAND) == NAMES
    assert _features(_by_hand()).row(0, named=True) == {"customer_id": "c", **BY_HAND}


def test_none() -> None:
    """A customer without events counts 0, and null exactly where a null rule says so."""
    row = _features(_by_hand()).row(1, named=True)
    assert {name: row[name] for name in NAMES} == {
        feature.name: None if feature.null_rule else 0.0 for feature in FEATURES
    }


def test_declared() -> None:
    """Each feature belongs to events and needs types that we know; each count reads the log of events."""
    needs = {need for feature in FEATURES for need in feature.needs}
    assert {feature.group for feature in FEATURES} == {"events"}
    assert needs <= {f"event:{name}" for name in load_event_types()}
    assert {count.log for count in COUNTS} == {"events"}
    assert all(feature.needs for feature in FEATURES)


@pytest.mark.parametrize(
    ("answers", "last"),
    [
        ([(3, 8), (1, 2)], 2.0),
        ([(1, 2), (1, 9)], 9.0),
        ([(1, -1), (2, 10)], -1.0),
        ([(CUTOFF_DAY, -1_000_000), (CUTOFF_DAY, -999_999)], -999_999.0),
        ([(2, 1_000_000), (1, 1_000_001)], 1_000_000.0),
    ],
    ids=["youngest", "highest of the day", "below zero", "oldest", "out of range"],
)
def test_last_answer(answers: list[tuple[int, int]], last: float) -> None:
    """The last answer is that of the youngest day, to the last digit; the highest, if there are several."""
    rows = [("c", CUTOFF_DAY - age, "survey", value * MICROS) for age, value in answers]
    assert _features(_build_events(rows))["last_survey_answer"].to_list() == [last, None]


_EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["c", "d", "never ordered"]),
        st.integers(0, 800).map(lambda age: CUTOFF_DAY + 20 - age),
        st.sampled_from([*HISTORY, "other"]),
        st.none() | st.integers(-(10**15), 10**15) | st.integers(0, 10).map(lambda answer: answer * MICROS),
    ),
    max_size=30,
).map(_build_events)


@given(events=_EVENTS)
@settings(max_examples=60, deadline=None)
def test_engines(engine: duckdb.DuckDBPyConnection, events: pl.DataFrame) -> None:
    """DuckDB and Polars give the same bytes for any events."""
    assert _bytes(_on_duckdb(engine, events)) == _bytes(_features(events))


@given(events=_EVENTS, rng=st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_no_leakage(events: pl.DataFrame, rng: Any) -> None:
    """Events at or after the cutoff, in any number and any row order, leave the features byte-identical."""
    shuffled = events[rng.sample(range(events.height), events.height)]
    known = events.filter(pl.col("day") < CUTOFF_DAY)
    assert _bytes(_features(shuffled)) == _bytes(_features(known))
