"""The stage history: at any instant what the stage rule says, spells that abut, and a past that nothing changes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from random import Random

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import customer_rows
from features.catalogue import MICROS
from features.errors import CutoffError, SettingsError
from features.lifecycle import history as module
from features.lifecycle.history import (
    CAUSES,
    HISTORY_SCHEMA,
    build_history,
    changes_between,
    flows_between,
    stages_at,
    with_dates,
)
from features.lifecycle.stages import STAGES, StageRule
from features.records import EVENT_SCHEMA
from features.snapshot import Snapshot, to_day
from features.table import build_customer_tables, features_named
from tests.histories import (
    CUTOFF_DAY,
    SHOP_RULE,
    Shop,
    build_orders,
    build_records,
    dated,
    exact_bytes,
    later_shops,
    one_customer,
    order_logs,
    rules,
)

SNAPSHOT = Snapshot(CUTOFF_DAY)
FREQUENCY = features_named(["frequency"])
# Limits of no day at all: whoever orders is at risk, and soon lost, on the next morning.
HASTY = replace(SHOP_RULE, at_risk_after_days=1, lost_after_days=2, own_rhythm_min_gaps=1)
RULES = rules() | st.sampled_from([HASTY, replace(SHOP_RULE, recommending_min_rating=None)])
# Everyone is judged as the shop, whose limit is also the usual gap of the customers here.
NOISY = replace(SHOP_RULE, mean_gap_days=30.0, hysteresis_factor=1.25)

Spell = tuple[str, int, int | None, int, str]

# SHOP_RULE: at risk after 30 days of silence, lost after 60; loyal from 5 order days over 90 days; own rhythm from 3
# gaps on, measured against a mean of 20 days. Days count from the first order: order days, events, cutoff, spells.
_REFERRAL = "referral", None
CASES: dict[str, tuple[Sequence[int], Sequence[tuple[int, str, float | None]], int, Sequence[Spell]]] = {
    "known the morning after": ((0,), (), 1, [("first_time_buyer", 0, None, 1, "order")]),
    "first order, then silence": (
        (0,),
        (),
        100,
        [
            ("first_time_buyer", 0, 31, 31, "order"),
            ("at_risk", 31, 61, 30, "silence"),
            ("lost", 61, None, 39, "silence"),
        ],
    ),
    "silence passes its limit at the cutoff": (
        (0,),
        (),
        31,
        [("first_time_buyer", 0, 31, 31, "order"), ("at_risk", 31, None, 0, "silence")],
    ),
    "orders in rhythm are one spell": (
        (0, 10, 25, 40),
        (),
        41,
        [("first_time_buyer", 0, 10, 10, "order"), ("repeat", 10, None, 31, "order")],
    ),
    "loyal": (
        (0, 25, 50, 75, 100, 110),
        (),
        111,
        [
            ("first_time_buyer", 0, 25, 25, "order"),
            ("repeat", 25, 100, 75, "order"),
            ("loyal", 100, None, 11, "order"),
        ],
    ),
    "back from at risk": (
        (0, 10, 50),
        (),
        51,
        [
            ("first_time_buyer", 0, 10, 10, "order"),
            ("repeat", 10, 41, 31, "order"),
            ("at_risk", 41, 50, 9, "silence"),
            ("repeat", 50, None, 1, "order"),
        ],
    ),
    "won back, then regular": (
        (0, 70, 80),
        (),
        81,
        [
            ("first_time_buyer", 0, 31, 31, "order"),
            ("at_risk", 31, 61, 30, "silence"),
            ("lost", 61, 70, 9, "silence"),
            ("won_back", 70, 80, 10, "order"),
            ("repeat", 80, None, 1, "order"),
        ],
    ),
    "the limit passes on the morning of an order": (
        (0, 31),
        (),
        32,
        [
            ("first_time_buyer", 0, 31, 31, "order"),
            ("at_risk", 31, 31, 0, "silence"),
            ("repeat", 31, None, 1, "order"),
        ],
    ),
    "the lost limit passes on the morning of an order": (
        (0, 61),
        (),
        62,
        [
            ("first_time_buyer", 0, 31, 31, "order"),
            ("at_risk", 31, 61, 30, "silence"),
            ("lost", 61, 61, 0, "silence"),
            ("won_back", 61, None, 1, "order"),
        ],
    ),
    "a recommendation": (
        (0, 10),
        ((15, *_REFERRAL), (17, *_REFERRAL)),
        20,
        [
            ("first_time_buyer", 0, 10, 10, "order"),
            ("repeat", 10, 15, 5, "order"),
            ("ambassador", 15, None, 5, "recommendation"),
        ],
    ),
    "a review that is not good enough, then one that is": (
        (0,),
        ((3, "review", 3.5), (5, "review", 4.0)),
        20,
        [("first_time_buyer", 0, 5, 5, "order"), ("ambassador", 5, None, 15, "recommendation")],
    ),
    "recommended before the first order": (
        (0,),
        ((-5, *_REFERRAL),),
        20,
        [("ambassador", 0, None, 20, "order")],
    ),
    "recommended on the day of the second order": (
        (0, 10),
        ((10, *_REFERRAL),),
        20,
        [("first_time_buyer", 0, 10, 10, "order"), ("ambassador", 10, None, 10, "recommendation")],
    ),
    "recommended in silence, seen at the return": (
        (0, 10, 50),
        ((45, *_REFERRAL),),
        51,
        [
            ("first_time_buyer", 0, 10, 10, "order"),
            ("repeat", 10, 41, 31, "order"),
            ("at_risk", 41, 50, 9, "silence"),
            ("ambassador", 50, None, 1, "order"),
        ],
    ),
    "recommended on the last day within rhythm": (
        (0,),
        ((30, *_REFERRAL),),
        40,
        [("first_time_buyer", 0, 31, 31, "order"), ("at_risk", 31, None, 9, "silence")],
    ),
    "recommended when won back, seen at the second order": (
        (0, 70, 80),
        ((72, *_REFERRAL),),
        81,
        [
            ("first_time_buyer", 0, 31, 31, "order"),
            ("at_risk", 31, 61, 30, "silence"),
            ("lost", 61, 70, 9, "silence"),
            ("won_back", 70, 80, 10, "order"),
            ("ambassador", 80, None, 1, "order"),
        ],
    ),
}


@st.composite
def recommending_shops(draw: st.DrawFn) -> Shop:
    """Draw a shop whose customers, and one who may never order, recommend it, often on or about their order days."""
    orders = draw(order_logs(max_customers=2))
    about = st.tuples(st.sampled_from(orders["day"].to_list()), st.sampled_from([-1, 0, 0, 1, 29, 30, 31]))
    day = st.integers(CUTOFF_DAY - 900, CUTOFF_DAY + 200) | about.map(sum)
    kind = st.sampled_from(["referral", "advocacy", "review", "review", "visit"])
    rating = st.sampled_from([None, 3 * MICROS, 4 * MICROS - 1, 4 * MICROS, 5 * MICROS])
    event = st.tuples(st.sampled_from(["c0", "c1", "c2"]), day, kind, rating, st.none())
    events = pl.DataFrame(draw(st.lists(event, max_size=4)), EVENT_SCHEMA, orient="row")
    return {"orders": orders, "events": events}


def _history(shop: Shop | pl.DataFrame, rule: StageRule = SHOP_RULE, *, cutoff_day: int = CUTOFF_DAY) -> pl.DataFrame:
    return build_history(build_records(shop), Snapshot(cutoff_day), rule=rule)


def _one_shop(days: Sequence[int], events: Sequence[tuple[int, str, float | None]]) -> Shop:
    """Build the records of one customer who first orders on `CUTOFF_DAY`."""
    rows = [("c", CUTOFF_DAY + d, kind, None if r is None else round(r * MICROS), None) for d, kind, r in events]
    orders = one_customer(*(CUTOFF_DAY + day for day in days))
    return {"orders": orders, "events": pl.DataFrame(rows, EVENT_SCHEMA, orient="row")}


def _moments(history: pl.DataFrame) -> list[int]:
    """Return the cutoff and, of every spell, its entry day and those beside it."""
    about = {day + past for day in history["entered_day"].to_list() for past in (-1, 0, 1)}
    return sorted(day for day in about | {CUTOFF_DAY} if day <= CUTOFF_DAY)


def _cut(history: pl.DataFrame, at_day: int) -> list[tuple[str, Spell]]:
    """Return the spells that had been seen by the start of a day, as they stood then."""
    seen = [row for row in history.rows() if row[2] + (row[5] != "silence") <= at_day]
    kept = []
    for i, (customer_id, stage, entered, left, _, cause) in enumerate(seen):
        is_followed = i + 1 < len(seen) and seen[i + 1][0] == customer_id
        until = left if is_followed else None
        kept.append((customer_id, (stage, entered, until, (at_day if until is None else until) - entered, cause)))
    return kept


@contextmanager
def _read_otherwise(name: str, value: object, *, owner: object = module) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, value)
        yield


@pytest.mark.parametrize("case", CASES)
def test_spells(case: str) -> None:
    """Each stage and each cause gives the spells that were worked out by hand."""
    days, events, cutoff, spells = CASES[case]
    history = _history(_one_shop(days, events), cutoff_day=CUTOFF_DAY + cutoff)
    shifted = history.with_columns(pl.col("entered_day", "left_day") - CUTOFF_DAY)
    assert shifted.drop("customer_id").rows() == list(spells)


def test_every_case() -> None:
    """The cases show every stage that a customer can be in, and every cause."""
    spells = [spell for _, _, _, spells in CASES.values() for spell in spells]
    assert {stage for stage, *_ in spells} == set(STAGES)
    assert {cause for *_, cause in spells} == set(CAUSES)


@given(recommending_shops(), RULES, st.integers(CUTOFF_DAY - 900, CUTOFF_DAY), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_at_any_day(shop: Shop, rule: StageRule, day: int, rng: Random) -> None:
    """At any day the history says what the customer table of that day says: stage and entry day, of everyone."""
    history = _history(shop, rule)
    moments = _moments(history)
    days = [day, *rng.sample(moments, min(4, len(moments)))]
    snapshots = [Snapshot(day) for day in days]
    tables = build_customer_tables(build_records(shop), snapshots, rule=rule, features=FREQUENCY)
    for at, table in zip(days, tables, strict=True):
        expected = table.select("customer_id", "stage", "stage_since_day")
        assert exact_bytes(stages_at(history, at_day=at)) == exact_bytes(expected), at


@given(recommending_shops(), later_shops(), st.lists(st.integers(0, 400), max_size=3), RULES)
@settings(deadline=None)
def test_no_leakage(shop: Shop, later: Shop, recommended_after: list[int], rule: StageRule) -> None:
    """Orders, refunds and events at or after the cutoff leave the history byte-identical."""
    referrals = [(f"c{i}", CUTOFF_DAY + after, "referral", None, None) for i, after in enumerate(recommended_after)]
    grown = {
        "orders": pl.concat([shop["orders"], later["orders"].select(shop["orders"].columns)]),
        "refunds": later["refunds"],
        "events": pl.concat([shop["events"], later["events"], pl.DataFrame(referrals, EVENT_SCHEMA, orient="row")]),
    }
    known = {name: frame.filter(pl.col("day") < CUTOFF_DAY) for name, frame in shop.items()}
    assert exact_bytes(_history(grown, rule)) == exact_bytes(_history(known, rule))


@given(recommending_shops(), RULES, st.integers(0, 900))
@settings(deadline=None)
def test_past_is_fixed(shop: Shop, rule: StageRule, back_days: int) -> None:
    """The history at a cutoff is the history at a later one, cut at the former: closed spells stay as they are."""
    early = CUTOFF_DAY - back_days
    then, now = _history(shop, rule, cutoff_day=early), _history(shop, rule)
    assert [(row[0], row[1:]) for row in then.rows()] == _cut(now, early)


@given(recommending_shops(), RULES)
@settings(deadline=None)
def test_spells_abut(shop: Shop, rule: StageRule) -> None:
    """Each customer's spells follow each other without a gap or an overlap, from the first order to the cutoff."""
    history = _history(shop, rule)
    known = shop["orders"].filter(pl.col("day") < CUTOFF_DAY)
    firsts = dict(known.group_by("customer_id").agg(pl.col("day").min()).iter_rows())
    assert history.schema == HISTORY_SCHEMA
    assert history["customer_id"].unique(maintain_order=True).to_list() == sorted(firsts)
    for customer_id, first in firsts.items():
        spells = history.filter(pl.col("customer_id") == customer_id).rows(named=True)
        entered = [spell["entered_day"] for spell in spells]
        # With limits of no days a first order is behind a silence before the morning that would have seen it.
        assert entered[0] == first or (rule is HASTY and entered[0] == first + 1)
        assert [spell["left_day"] for spell in spells] == [*entered[1:], None]
        assert [spell["days"] for spell in spells] == np.diff([*entered, CUTOFF_DAY]).tolist()
        assert all(spell["days"] >= (spell["cause"] != "silence") for spell in spells)


@given(recommending_shops(), RULES)
@settings(deadline=None)
def test_every_spell_was_seen(shop: Shop, rule: StageRule) -> None:
    """Every spell is the answer on at least one morning: nothing is in the history that was never said."""
    history = _history(shop, rule)
    answers = [stages_at(history, at_day=day).rows() for day in _moments(history)]
    said = {row for answer in answers for row in answer}
    assert said == set(history.select("customer_id", "stage", "entered_day").rows())


@given(recommending_shops(), RULES, st.integers(0, 500), st.integers(0, 40))
@settings(deadline=None)
def test_changes(shop: Shop, rule: StageRule, back_days: int, n_days: int) -> None:
    """The change feed is what comparing the stages of every morning with those of the morning before comes to."""
    history = _history(shop, rule)
    to_day = CUTOFF_DAY - back_days
    then, *mornings = (stages_at(history, at_day=day) for day in range(to_day - n_days, to_day + 1))
    stages: dict[str, str] = dict(then.select("customer_id", "stage").iter_rows())
    first, n_changes = stages, dict.fromkeys(history["customer_id"], 0)
    for morning in mornings:
        now = dict(morning.select("customer_id", "stage").iter_rows())
        for customer_id, stage in now.items():
            n_changes[customer_id] += stage != stages.get(customer_id)
        stages = now
    since = dict(stages_at(history, at_day=to_day).select("customer_id", "stage_since_day").iter_rows())
    found = changes_between(history, from_day=to_day - n_days, to_day=to_day)
    assert found.rows() == [
        (customer_id, first.get(customer_id), stages[customer_id], since[customer_id], n)
        for customer_id, n in n_changes.items()
        if n
    ]


@given(recommending_shops(), RULES, st.integers(0, 500), st.integers(0, 500))
@settings(deadline=None)
def test_flows(shop: Shop, rule: StageRule, back_days: int, n_days: int) -> None:
    """Flows lead from the stages of one day to those of another, and count everyone of the latter once."""
    history = _history(shop, rule)
    to_day = CUTOFF_DAY - back_days
    flows = flows_between(history, from_day=to_day - n_days, to_day=to_day)
    then, now = (stages_at(history, at_day=day) for day in (to_day - n_days, to_day))
    assert flows["customers"].sum() == now.height
    assert _totals(flows.drop_nulls(), "from_stage") == _counts(then)
    assert _totals(flows, "to_stage") == _counts(now)
    assert flows.rows() == sorted(flows.rows(), key=lambda row: [-1 if s is None else STAGES.index(s) for s in row[:2]])


def _totals(flows: pl.DataFrame, side: str) -> dict[str, int]:
    return dict(flows.group_by(side).agg(pl.col("customers").sum()).iter_rows())


def _counts(stages: pl.DataFrame) -> dict[str, int]:
    return dict(stages.group_by("stage").agg(pl.len()).iter_rows())


def test_feed_by_hand() -> None:
    """A new customer, one who slipped, one who came back and one who stayed give the feed that they should."""
    lives = {"back": (0, 10, 60), "new": (50,), "slipped": (0, 20), "stayed": (0, 10, 38)}
    history = _history(pl.concat([one_customer(*days, customer_id=name) for name, days in lives.items()]))
    assert changes_between(history, from_day=30, to_day=61).rows() == [
        ("back", "repeat", "repeat", 60, 2),
        ("new", None, "first_time_buyer", 50, 1),
        ("slipped", "repeat", "at_risk", 51, 1),
    ]
    assert flows_between(history, from_day=30, to_day=61).rows() == [
        (None, "first_time_buyer", 1),
        ("repeat", "repeat", 2),
        ("repeat", "at_risk", 1),
    ]


@given(recommending_shops(), RULES, st.sampled_from([1, 2, 3, 250_000]), st.sampled_from([0, 2**24]))
@settings(deadline=None)
def test_engines(
    engine: duckdb.DuckDBPyConnection, shop: Shop, rule: StageRule, chunk_rows: int, max_grouped_rows: int
) -> None:
    """DuckDB in chunks of any size, Polars, and the way for any engine give the same bytes."""
    expected = exact_bytes(_history(shop, rule))
    with (
        _read_otherwise("CHUNK_ROWS", chunk_rows, owner=customer_rows),
        _read_otherwise("MAX_ROWS", max_grouped_rows, owner=customer_rows),
    ):
        assert exact_bytes(build_history(build_records(shop, engine), SNAPSHOT, rule=rule)) == expected
    with _read_otherwise("is_local", lambda _: False):
        assert exact_bytes(_history(shop, rule)) == expected


def test_cdnow(engine: duckdb.DuckDBPyConnection, cdnow_orders: pl.DataFrame, end_day: int) -> None:
    """On CDNOW the history agrees with the customer tables of a year and a half, in small chunks from a database."""
    rule = replace(SHOP_RULE, hysteresis_factor=1.25)
    records = build_records({"orders": cdnow_orders}, engine)
    with _read_otherwise("CHUNK_ROWS", 500, owner=customer_rows):
        history = build_history(records, Snapshot(end_day), rule=rule)
    days = [end_day - back_days for back_days in range(0, 540, 45)]
    tables = build_customer_tables(records, [Snapshot(day) for day in days], rule=rule, features=FREQUENCY)
    for day, table in zip(days, tables, strict=True):
        assert stages_at(history, at_day=day).equals(table.select("customer_id", "stage", "stage_since_day"))
    flows = flows_between(history, from_day=days[-1], to_day=end_day)
    assert flows["customers"].sum() == history["customer_id"].n_unique()


def test_alike() -> None:
    """Neighbours who live the same life have the same spells, each their own, in one chunk or in several."""
    lives = {"a": (70, 5), "b": (70, 5), "x": (5,), "y": (5,), "z": (5,)}
    orders = [one_customer(*(CUTOFF_DAY - ago for ago in life), customer_id=name) for name, life in lives.items()]
    expected = pl.concat([_history(one) for one in orders])
    for chunk_rows in (1, 250_000):
        with _read_otherwise("CHUNK_ROWS", chunk_rows, owner=customer_rows):
            assert _history(pl.concat(orders)).equals(expected)


def test_events_alone() -> None:
    """Whoever recommends the shop and never orders has no history."""
    shop = _one_shop((), ((0, *_REFERRAL),))
    assert _history(shop, cutoff_day=CUTOFF_DAY + 9).is_empty()


@pytest.mark.parametrize("is_local", [True, False])
def test_empty(engine: duckdb.DuckDBPyConnection, is_local: bool) -> None:
    """No customers give empty tables of the same columns and types as any others."""
    full = _history(one_customer(CUTOFF_DAY - 5, CUTOFF_DAY - 2))
    for records in (build_records(one_customer(CUTOFF_DAY)), build_records(one_customer(CUTOFF_DAY), engine)):
        with _read_otherwise("is_local", lambda _: is_local):
            empty = build_history(records, SNAPSHOT, rule=SHOP_RULE)
        assert (empty.height, full.height) == (0, 2)
        assert empty.schema == full.schema
        assert stages_at(empty, at_day=CUTOFF_DAY).schema == stages_at(full, at_day=CUTOFF_DAY).schema
        for build in (changes_between, flows_between):
            found, expected = (build(each, from_day=0, to_day=CUTOFF_DAY) for each in (empty, full))
            assert (found.height, found.schema) == (0, expected.schema)
    nobody = flows_between(full, from_day=CUTOFF_DAY - 9, to_day=CUTOFF_DAY - 5)
    assert nobody.is_empty()


def test_beyond_the_history() -> None:
    """A day after the cutoff is refused, because silences may have passed their limits by then."""
    history = _history(one_customer(0), cutoff_day=10)
    assert stages_at(history, at_day=10).height == 1
    with pytest.raises(CutoffError, match=r"ends on 1970-01-11, before 1970-01-12"):
        stages_at(history, at_day=11)
    with pytest.raises(CutoffError):
        flows_between(history, from_day=5, to_day=11)


def test_backwards() -> None:
    """Days in the wrong sequence are refused."""
    history = _history(one_customer(0), cutoff_day=10)
    for build in (changes_between, flows_between):
        with pytest.raises(SettingsError, match=r"1970-01-06, lies after the last, 1970-01-05"):
            build(history, from_day=5, to_day=4)


def test_dates() -> None:
    """People read dates: every day number becomes one, an open end stays open."""
    history = _history(one_customer(0, 40), cutoff_day=41)
    dates = with_dates(history)
    assert dates.columns == ["customer_id", "stage", "entered_on", "left_on", "days", "cause"]
    assert dates["entered_on"].to_list() == [date(1970, 1, 1), date(1970, 2, 1), date(1970, 2, 10)]
    assert dates["left_on"].to_list() == [date(1970, 2, 1), date(1970, 2, 10), None]
    changes = with_dates(changes_between(history, from_day=1, to_day=41))
    assert changes["changed_on"].to_list() == [date(1970, 2, 10)]


def _n_changes(lives: Sequence[Sequence[int]], rule: StageRule) -> list[int]:
    """Return how often the stage of each of these lives changed; all lie within two years before the cutoff."""
    first = CUTOFF_DAY - 730
    rows = [(f"{i:04}", first + day, MICROS) for i, days in enumerate(lives) for day in days]
    counted = _history(build_orders(rows), rule).group_by("customer_id").len().sort("customer_id")
    return [int(n) - 1 for n in counted["len"]]


def _days_from(gaps: Sequence[int]) -> list[int]:
    days = np.cumsum([1, *gaps])
    return [int(day) for day in days if day < 729]


def _jittered(days: Sequence[int]) -> list[list[int]]:
    """Return the life once for each order moved by one day, either way."""
    return [[day + by * (i == moved) for i, day in enumerate(days)] for moved in range(len(days)) for by in (-1, 1)]


def test_noise_is_calmed() -> None:
    """Gaps that scatter by 20 to 30 % about the limit change the stage far less often with hysteresis than without."""
    rng = np.random.default_rng(7)
    lives = [
        _days_from(rng.integers(round(30 * (1 - share)), round(30 * (1 + share)), 40, endpoint=True).tolist())
        for share in (0.2, 0.25, 0.3)
        for _ in range(100)
    ]
    restless, calm = (np.array(_n_changes(lives, replace(NOISY, hysteresis_factor=f))) for f in (1.0, 1.25))
    assert (round(restless.mean()), round(calm.mean())) == (24, 8)  # two of them are the way to repeat and to loyal
    assert (calm <= restless).mean() > 0.99


def test_one_short_gap() -> None:
    """Who comes every 30 days, but once a day sooner, never slips; without hysteresis, they do at every order since."""
    days = _days_from([30] * 40)
    once_shorter = [days[0] + 1, *days[1:]]  # it lowers the mean gap, and so the own limit, ever after
    restless, calm = (
        _n_changes([days, once_shorter], replace(NOISY, hysteresis_factor=factor)) for factor in (1.0, 1.25)
    )
    assert calm[1] == calm[0]
    assert restless[1] - restless[0] > 20


@given(st.lists(st.integers(21, 39) | st.sampled_from([29, 30, 31]), min_size=20, max_size=35))
@settings(deadline=None)
def test_jitter(gaps: list[int]) -> None:
    """A day's jitter of any one order never adds more than four slips and returns to two noisy years."""
    days = _days_from(gaps)
    [steady, *jittered] = _n_changes([days, *_jittered(days)], NOISY)
    assert max(jittered) - steady <= 8


def test_page() -> None:
    """The example of the page on the history is what the code says."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "history.md").read_text(encoding="utf-8")
    example = page.split("| stage | entered_on |")[1].split("\n\n")[0].splitlines()[2:]
    orders = dated("2025-01-10", "2025-02-01", "2025-05-10", "2025-05-25")
    referral = pl.DataFrame([("c", to_day(date(2025, 6, 3)), *_REFERRAL, None)], EVENT_SCHEMA, orient="row")
    history = _history({"orders": orders, "events": referral}, cutoff_day=to_day(date(2025, 6, 30)))
    rows = with_dates(history).drop("customer_id").rows()
    shown = [[cell.strip() for cell in line.strip("|").split("|")] for line in example]
    assert shown == [["" if cell is None else str(cell) for cell in row] for row in rows]
