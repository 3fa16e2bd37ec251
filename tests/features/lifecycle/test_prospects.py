"""Prospects: everybody before their first order, once, in the stage that living day by day would give them."""

import json
from collections.abc import Sequence
from random import Random

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.catalogue import MICROS
from features.lifecycle.prospects import (
    PROSPECT_SCHEMA,
    ProspectRule,
    build_prospects,
    learn_prospect_rule,
)
from features.lifecycle.stages import PROSPECT_STAGES
from features.records import CONTACT_SCHEMA, Records
from features.settings import load_settings
from features.snapshot import Snapshot
from features.table import build_stage_tables
from tests.histories import (
    CUTOFF_DAY,
    SHOP_RULE,
    Shop,
    build_orders,
    build_records,
    contact_rows,
    exact_bytes,
    later_shops,
    one_customer,
)

SNAPSHOT = Snapshot(CUTOFF_DAY)
RULE = ProspectRule(hot_within_days=30, hot_min_visit_days=3, observable=PROSPECT_STAGES)
RULES = st.builds(ProspectRule, st.integers(1, 40), st.integers(1, 4), st.just(PROSPECT_STAGES))

# customer, visitor, day, event type
Contact = tuple[str | None, str | None, int, str]
Person = tuple[str, bool]

# By RULE: hot for 30 days after a cart or a form, or while the third last visit day is at most 30 days ago. What one
# person did, by day from the first contact on; then the morning that asks, the stage and its entry day.
KNOWN: dict[str, tuple[Sequence[tuple[int, str]], int, str, int]] = {
    "registered": ([(0, "registration")], 1, "prospect_cold", 0),
    "known by anything": ([(0, "email_open")], 100, "prospect_cold", 0),
    "a later registration changes nothing": ([(0, "email_open"), (5, "registration")], 9, "prospect_cold", 0),
    "cart": ([(0, "registration"), (5, "cart")], 6, "prospect_hot", 5),
    "form": ([(0, "registration"), (5, "form")], 6, "prospect_hot", 5),
    "not before the morning after": ([(0, "registration"), (5, "cart")], 5, "prospect_cold", 0),
    "first known by a cart": ([(0, "cart")], 1, "prospect_hot", 0),
    "the last hot day": ([(0, "registration"), (5, "cart")], 35, "prospect_hot", 5),
    "cold again": ([(0, "registration"), (5, "cart")], 36, "prospect_cold", 36),
    "still cold": ([(0, "registration"), (5, "cart"), (60, "email_open")], 90, "prospect_cold", 36),
    "hot for longer": ([(0, "cart"), (20, "form")], 50, "prospect_hot", 0),
    "hot for longer, cold again": ([(0, "cart"), (20, "form")], 51, "prospect_cold", 51),
    "joined on the last hot day": ([(0, "cart"), (30, "cart")], 31, "prospect_hot", 0),
    "hot anew a day later": ([(0, "cart"), (31, "cart")], 32, "prospect_hot", 31),
    "cold between": ([(0, "cart"), (31, "cart")], 31, "prospect_cold", 31),
    "two visit days": ([(0, "visit"), (1, "visit"), (1, "visit")], 2, "prospect_cold", 0),
    "three visit days": ([(0, "visit"), (1, "visit"), (9, "visit")], 10, "prospect_hot", 9),
    "until the first of three is too old": ([(0, "visit"), (1, "visit"), (9, "visit")], 30, "prospect_hot", 9),
    "three visits grow cold": ([(0, "visit"), (1, "visit"), (9, "visit")], 31, "prospect_cold", 31),
    "visits too far apart": ([(0, "visit"), (15, "visit"), (30, "visit")], 31, "prospect_cold", 0),
    "visits just near enough": ([(0, "visit"), (15, "visit"), (29, "visit")], 30, "prospect_hot", 29),
    "visits that end sooner than the cart before": (
        [(0, "visit"), (10, "visit"), (15, "cart"), (25, "visit"), (40, "cart")],
        41,
        "prospect_hot",
        15,
    ),
    "a fourth visit prolongs": ([(0, "visit"), (1, "visit"), (9, "visit"), (20, "visit")], 31, "prospect_hot", 9),
}
VISITING: dict[str, tuple[Sequence[tuple[int, str]], int, str, int]] = {
    "reached": ([(0, "email_open")], 1, "reached", 0),
    "reached again": ([(0, "email_open"), (9, "email_open")], 20, "reached", 0),
    "a cart is filled on a visit": ([(0, "email_open"), (4, "cart")], 5, "new_visitor", 4),
    "so is a form": ([(0, "form")], 1, "new_visitor", 0),
    "came back to register": ([(0, "visit"), (9, "registration")], 10, "returning_visitor", 9),
    "first visit": ([(0, "email_open"), (4, "visit")], 5, "new_visitor", 4),
    "not before the morning after": ([(0, "email_open"), (4, "visit")], 4, "reached", 0),
    "twice on one day": ([(4, "visit"), (4, "visit")], 5, "new_visitor", 4),
    "came back": ([(0, "visit"), (90, "visit")], 91, "returning_visitor", 90),
    "came back often": ([(0, "visit"), (9, "visit"), (10, "visit"), (11, "cart")], 400, "returning_visitor", 9),
}


def _contacts(rows: Sequence[Contact]) -> pl.DataFrame:
    return pl.DataFrame([(*row, None) for row in rows], CONTACT_SCHEMA, orient="row")


def _shop(rows: Sequence[Contact], orders: pl.DataFrame | None = None) -> Shop:
    return {"orders": build_orders([]) if orders is None else orders, "contacts": _contacts(rows)}


def _prospects(shop: Shop, cutoff_day: int = CUTOFF_DAY, rule: ProspectRule = RULE) -> pl.DataFrame:
    return build_prospects(build_records(shop), Snapshot(cutoff_day), rule=rule)


def _people(prospects: pl.DataFrame) -> list[Person]:
    return list(prospects.select("person_id", "is_visitor").iter_rows())


@st.composite
def visited_shops(draw: st.DrawFn) -> Shop:
    """Draw what people did in the weeks about the cutoff; some of them order, some visitors are linked."""
    day = st.integers(CUTOFF_DAY - 70, CUTOFF_DAY + 5)
    rows = draw(st.lists(contact_rows(day, n_customers=3), max_size=20))
    contacts = pl.DataFrame(rows, CONTACT_SCHEMA, orient="row")
    customer_id = st.sampled_from([f"c{i}" for i in range(5)])
    orders = draw(st.lists(st.tuples(customer_id, day, st.just(MICROS)), max_size=3))
    return {"orders": build_orders(orders), "contacts": contacts}


def _live(shop: Shop, cutoff_day: int, rule: ProspectRule) -> list[tuple[str, bool, str, int, int]]:
    """Live everybody's days one morning at a time, in plain Python, as the rule is told in words."""
    rows = [row for row in shop["contacts"].iter_rows(named=True) if row["day"] < cutoff_day]
    buyers = {row["customer_id"] for row in shop["orders"].iter_rows(named=True) if row["day"] < cutoff_day}
    linked = {row["visitor_id"] for row in rows if row["customer_id"] is not None}
    did: dict[Person, list[tuple[int, str]]] = {}
    for row in rows:
        is_visitor = row["customer_id"] is None
        person_id = row["visitor_id"] if is_visitor else row["customer_id"]
        if person_id not in (linked if is_visitor else buyers):
            did.setdefault((person_id, is_visitor), []).append((row["day"], row["event_type"]))
    return sorted((*person, *_live_one(facts, person[1], cutoff_day, rule)) for person, facts in did.items())


def _live_one(
    facts: Sequence[tuple[int, str]], is_visitor: bool, cutoff_day: int, rule: ProspectRule
) -> tuple[str, int, int]:
    stage, since = "", 0
    for morning in range(min(facts)[0] + 1, cutoff_day + 1):
        known = [fact for fact in facts if fact[0] < morning]
        now = _as_visitor(known) if is_visitor else _as_known(known, morning, rule)
        if now != stage:
            # Only time turns the hot cold: that is entered on the morning itself, all else by what came the day before.
            stage, since = now, morning - (stage != "prospect_hot")
    return stage, since, cutoff_day - max(facts)[0]


def _as_visitor(known: Sequence[tuple[int, str]]) -> str:
    n_visit_days = len({day for day, event_type in known if event_type in {"visit", "cart", "form", "registration"}})
    return ("reached", "new_visitor", "returning_visitor")[min(n_visit_days, 2)]


def _as_known(known: Sequence[tuple[int, str]], morning: int, rule: ProspectRule) -> str:
    fresh = [(day, event_type) for day, event_type in known if morning - day <= rule.hot_within_days]
    has_interest = any(event_type in {"cart", "form"} for _, event_type in fresh)
    n_visit_days = len({day for day, event_type in fresh if event_type == "visit"})
    return "prospect_hot" if has_interest or n_visit_days >= rule.hot_min_visit_days else "prospect_cold"


@pytest.mark.parametrize("case", KNOWN)
def test_known(case: str) -> None:
    """Whoever has an id and no order is cold or hot as the rule says, since the day it says."""
    did, morning, stage, since = KNOWN[case]
    shop = _shop([("c", None, CUTOFF_DAY + day, event_type) for day, event_type in did])
    found = _prospects(shop, CUTOFF_DAY + morning)
    last = max(day for day, _ in did if day < morning)
    assert found.rows() == [("c", False, stage, CUTOFF_DAY + since, morning - last)]


@pytest.mark.parametrize("case", VISITING)
def test_visitors(case: str) -> None:
    """Whoever is a browser alone was reached, visited, or came back on another day."""
    did, morning, stage, since = VISITING[case]
    shop = _shop([(None, "v", CUTOFF_DAY + day, event_type) for day, event_type in did])
    found = _prospects(shop, CUTOFF_DAY + morning)
    last = max(day for day, _ in did if day < morning)
    assert found.rows() == [("v", True, stage, CUTOFF_DAY + since, morning - last)]


def test_every_stage() -> None:
    """The cases by hand show every stage before the first order."""
    assert {stage for _, _, stage, _ in (*KNOWN.values(), *VISITING.values())} == set(PROSPECT_STAGES)


@given(visited_shops(), RULES, st.integers(-60, 5))
@settings(deadline=None)
def test_day_by_day(engine: duckdb.DuckDBPyConnection, shop: Shop, rule: ProspectRule, shift: int) -> None:
    """Stage, entry day and last sight of everybody are what living day by day comes to, on Polars and DuckDB."""
    snapshot = Snapshot(CUTOFF_DAY + shift)
    lived = _live(shop, snapshot.cutoff_day, rule)
    for records in (build_records(shop), build_records(shop, engine)):
        found = build_prospects(records, snapshot, rule=rule)
        assert found.schema == PROSPECT_SCHEMA
        assert found.rows() == lived


@given(visited_shops(), RULES, st.integers(-60, 5))
@settings(deadline=None)
def test_everybody_once(shop: Shop, rule: ProspectRule, shift: int) -> None:
    """Whoever was seen is a prospect or a customer, never both, and once; a browser is one until it is linked."""
    snapshot = Snapshot(CUTOFF_DAY + shift)
    records = build_records(shop)
    people = _people(build_prospects(records, snapshot, rule=rule))
    [customers] = build_stage_tables(records, [snapshot], rule=SHOP_RULE)
    buyers = set(customers["customer_id"].to_list())
    seen = shop["contacts"].filter(pl.col("day") < snapshot.cutoff_day)
    named = seen.drop_nulls("customer_id")
    assert len(people) == len(set(people))
    assert {person for person, is_visitor in people if not is_visitor} == set(named["customer_id"]) - buyers
    browsers = set(seen["visitor_id"].drop_nulls()) - set(named["visitor_id"].drop_nulls())
    assert {person for person, is_visitor in people if is_visitor} == browsers
    assert set(build_prospects(records, snapshot, rule=rule)["stage"]) <= set(PROSPECT_STAGES)


@given(visited_shops(), later_shops(), RULES, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_no_leakage(
    engine: duckdb.DuckDBPyConnection, shop: Shop, later: Shop, rule: ProspectRule, rng: Random
) -> None:
    """Orders and contacts at or after the cutoff, in any row order, leave the prospects byte-identical."""
    known = {name: rows.filter(pl.col("day") < CUTOFF_DAY) for name, rows in shop.items()}
    grown = {name: pl.concat([rows, later[name].select(rows.columns)]) for name, rows in shop.items()}
    mixed = {name: rows[rng.sample(range(rows.height), rows.height)] for name, rows in grown.items()}
    expected = exact_bytes(_prospects(known, rule=rule))
    assert exact_bytes(_prospects(mixed, rule=rule)) == expected
    assert exact_bytes(build_prospects(build_records(mixed, engine), SNAPSHOT, rule=rule)) == expected


@given(visited_shops(), RULES)
@settings(deadline=None)
def test_linking(shop: Shop, rule: ProspectRule) -> None:
    """A browser that is linked leaves the table, its new owner enters it, and nobody else changes."""
    before = _prospects(shop, rule=rule)
    browsers = [person for person, is_visitor in _people(before) if is_visitor]
    for day, is_known in ((CUTOFF_DAY - 1, True), (CUTOFF_DAY, False)):
        links = _contacts([("new", browser, day, "registration") for browser in browsers[:1]])
        after = _prospects({**shop, "contacts": pl.concat([shop["contacts"], links])}, rule=rule)
        if not is_known or not browsers:
            assert after.equals(before)
            continue
        owner = after.filter(person_id="new")
        assert owner.rows() == [("new", False, "prospect_cold", day, 1)]
        stays = ~(pl.col("is_visitor") & (pl.col("person_id") == browsers[0]))
        assert after.filter(pl.col("person_id") != "new").equals(before.filter(stays))


@given(visited_shops(), RULES)
@settings(deadline=None)
def test_ordering(shop: Shop, rule: ProspectRule) -> None:
    """Whoever orders leaves the table, for good, and nobody else changes."""
    before = _prospects(shop, rule=rule)
    known = [person for person, is_visitor in _people(before) if not is_visitor]
    for day, is_known in ((CUTOFF_DAY - 1, True), (CUTOFF_DAY, False)):
        orders = build_orders([(person, day, MICROS) for person in known[:1]])
        after = _prospects({**shop, "orders": pl.concat([shop["orders"], orders])}, rule=rule)
        buys = ~pl.col("is_visitor") & pl.col("person_id").is_in(known[:1] if is_known else [])
        assert after.equals(before.filter(~buys))


def test_same_name() -> None:
    """A browser and a person who happen to be named alike are two."""
    shop = _shop([("x", None, CUTOFF_DAY - 5, "cart"), (None, "x", CUTOFF_DAY - 3, "visit")])
    assert _prospects(shop).rows() == [
        ("x", False, "prospect_hot", CUTOFF_DAY - 5, 5),
        ("x", True, "new_visitor", CUTOFF_DAY - 3, 3),
    ]


def test_before_the_link() -> None:
    """What a browser did before it was linked is not its owner's: nobody knew then, and it stays so."""
    shop = _shop([(None, "v", CUTOFF_DAY - 9, "cart"), ("c", "v", CUTOFF_DAY - 2, "registration")])
    assert _prospects(shop).rows() == [("c", False, "prospect_cold", CUTOFF_DAY - 2, 2)]


def test_shared_browser() -> None:
    """A browser that two people named is nobody's prospect, and both of them stand here."""
    shop = _shop(
        [(owner, "v", CUTOFF_DAY - 5, "visit") for owner in ("a", "b")] + [(None, "v", CUTOFF_DAY - 1, "visit")]
    )
    assert _people(_prospects(shop)) == [("a", False), ("b", False)]


def test_nobody(engine: duckdb.DuckDBPyConnection) -> None:
    """Without contacts, and with none before the cutoff, there is nobody, in a table of the same columns."""
    empty, later = _shop([]), _shop([(None, "v", CUTOFF_DAY, "visit"), ("c", None, CUTOFF_DAY, "cart")])
    for records in (Records.wrap(one_customer(0)), *map(build_records, (empty, later)), build_records(empty, engine)):
        found = build_prospects(records, SNAPSHOT, rule=RULE)
        assert (found.schema, found.height) == (PROSPECT_SCHEMA, 0)


OBSERVED: dict[str, tuple[Sequence[Contact], Sequence[str]]] = {
    "nothing": ([], []),
    "visits of browsers": ([(None, "v", -1, "visit")], ["new_visitor", "returning_visitor"]),
    "carts of browsers": ([(None, "v", -1, "cart")], ["new_visitor", "returning_visitor"]),
    "what reaches browsers": ([(None, "v", -1, "impression")], ["reached"]),
    "registrations": ([("c", None, -1, "registration")], ["prospect_cold"]),
    "interest": ([("c", None, -1, "form")], ["prospect_cold", "prospect_hot"]),
    "visits of the known": ([("c", "v", -1, "visit")], ["prospect_cold", "prospect_hot"]),
    "everything": ([(None, "v", -2, "visit"), (None, "v", -2, "impression"), ("c", "v", -1, "cart")], PROSPECT_STAGES),
    "too late": ([(None, "v", 0, "visit"), ("c", None, 0, "cart")], []),
}


@pytest.mark.parametrize("case", OBSERVED)
def test_rule(engine: duckdb.DuckDBPyConnection, case: str) -> None:
    """The rule takes its thresholds from the settings, and observes what contacts before the cutoff can show."""
    rows, stages = OBSERVED[case]
    shop = _shop([(customer, visitor, CUTOFF_DAY + day, kind) for customer, visitor, day, kind in rows])
    stage_settings = load_settings(overrides={"stages": {"hot_within_days": 7, "hot_min_visit_days": 2}}).stages
    for records in (build_records(shop), build_records(shop, engine)):
        learned = learn_prospect_rule(records, SNAPSHOT, stage_settings)
        assert learned == ProspectRule(7, 2, tuple(stages))
    assert set(_prospects(shop)["stage"]) <= set(stages)


@given(visited_shops(), RULES)
@settings(deadline=None)
def test_only_observable(shop: Shop, rule: ProspectRule) -> None:
    """Nobody is in a stage that the rule says cannot be observed."""
    learned = learn_prospect_rule(build_records(shop), SNAPSHOT, load_settings().stages)
    assert set(_prospects(shop, rule=rule)["stage"]) <= set(learned.observable)


def test_no_contacts() -> None:
    """A shop without contacts observes nothing before the first order."""
    assert learn_prospect_rule(Records.wrap(one_customer(0)), SNAPSHOT, load_settings().stages).observable == ()


def test_round_trip() -> None:
    """A rule survives its own JSON values."""
    assert ProspectRule.from_dict(json.loads(json.dumps(RULE.to_dict()))) == RULE
