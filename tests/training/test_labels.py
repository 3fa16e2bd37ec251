"""Labels: what came within the horizon, by hand."""

import duckdb
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from features.catalogue import MICROS
from features.lifecycle.prospects import ProspectRule, build_prospects
from features.lifecycle.stages import PROSPECT_STAGES
from features.records import CONTACT_SCHEMA, Records
from features.snapshot import Snapshot
from features.table import build_customer_table
from tests.histories import (
    CUTOFF_DAY,
    SHOP_RULE,
    Shop,
    build_orders,
    build_records,
    build_shop,
    contact_rows,
    later_orders,
    later_shops,
    order_logs,
    shops,
)
from training.labels import build_labels, build_prospect_examples

SNAPSHOT = Snapshot(CUTOFF_DAY, 90)
PROSPECT_RULE = ProspectRule(hot_within_days=30, hot_min_visit_days=3, observable=PROSPECT_STAGES)


def _labels(shop: Shop | pl.DataFrame) -> pl.DataFrame:
    return build_labels(build_records(shop), SNAPSHOT, rule=SHOP_RULE)


def test_by_hand() -> None:
    """Order days, value and next stage come from the half-open window; who is new in it is no example."""
    orders = [
        ("edges", -1, 5),
        ("edges", 0, 1),
        ("edges", 0, 2),
        ("edges", 89, 4),
        ("edges", 90, 8),
        ("free", -5, 5),
        ("free", 70, 0),
        ("late", -5, 5),
        ("late", 90, 5),
        ("new", 0, 5),
    ]
    labels = _labels(build_orders([(name, CUTOFF_DAY + day, value * MICROS) for name, day, value in orders]))
    assert labels.rows() == [
        ("edges", False, 2, 7.0, "won_back", 1),
        ("free", False, 1, 0.0, "won_back", 20),
        ("late", True, 0, 0.0, "lost", 95),
    ]


def test_refunds() -> None:
    """The value is net of what was refunded, within the horizon, of what was ordered within it; an order stays one."""
    orders = [
        *(("part", -10, 30), ("part", 5, 20)),
        *(("whole", -10, 30), ("whole", 5, 20), ("whole", 40, 7)),
        *(("earlier", -10, 30), ("earlier", 5, 20)),
        *(("too late", -10, 30), ("too late", 5, 20)),
        *(("unmatched", -10, 30), ("unmatched", 5, 20)),
        ("silent", -10, 30),
    ]
    refunds = [
        ("part", 89, 5, 4),
        ("whole", 6, 5, 20),
        ("earlier", 6, -10, 30),
        ("too late", 90, 5, 20),
        ("unmatched", 6, None, 20),
        ("silent", 6, -10, 30),
    ]
    shop = build_shop(
        {
            "orders": [(name, CUTOFF_DAY + day, value * MICROS, None, None) for name, day, value in orders],
            "refunds": [
                (
                    name,
                    CUTOFF_DAY + day,
                    None if order_day is None else CUTOFF_DAY + order_day,
                    value * MICROS,
                    0 if order_day is None else value * MICROS,
                )
                for name, day, order_day, value in refunds
            ],
        }
    )
    told = {
        name: rest for name, *rest in _labels(shop).select("customer_id", "is_churned", "n_order_days", "value").rows()
    }
    assert told == {
        "earlier": [False, 1, 20.0],
        "part": [False, 1, 16.0],
        "silent": [True, 0, 0.0],
        "too late": [False, 1, 20.0],
        "unmatched": [False, 1, 20.0],
        "whole": [False, 2, 7.0],
    }


@given(shops(), later_shops(from_day=CUTOFF_DAY + 90))
@settings(deadline=None)
def test_horizon_ends_for_all(shop: Shop, later: Shop) -> None:
    """Orders, refunds, items and events at or after the end of the horizon change no label."""
    known = {name: rows.filter(pl.col("day") < SNAPSHOT.end_day) for name, rows in shop.items()}
    grown = {name: pl.concat([later[name], rows]) for name, rows in shop.items()}
    assert _labels(grown).equals(_labels(known))


@given(shops())
@settings(deadline=None)
def test_only_value_is_net(shop: Shop) -> None:
    """Refunds lower values, never below nothing, and change no other label."""
    gross, net = _labels({name: rows for name, rows in shop.items() if name != "refunds"}), _labels(shop)
    assert net.drop("value").equals(gross.drop("value"))
    assert net.select((pl.col("value") >= 0) & (pl.col("value") <= gross["value"])).to_series().all()


@given(order_logs(), later_orders(from_day=CUTOFF_DAY + 90))
@settings(max_examples=30, deadline=None)
def test_horizon_ends(orders: pl.DataFrame, later: pl.DataFrame) -> None:
    """Orders at or after the end of the horizon change no label."""
    known = orders.filter(pl.col("day") < SNAPSHOT.end_day)
    assert _labels(pl.concat([known, later])).equals(_labels(known))


@given(order_logs())
@settings(max_examples=30, deadline=None)
def test_rows(orders: pl.DataFrame) -> None:
    """Labels stand row for row beside the customer table, and churners end where silence leads, after all of it."""
    table = build_customer_table(build_records(orders), SNAPSHOT, rule=SHOP_RULE)
    labels = _labels(orders)
    assert labels["customer_id"].equals(table["customer_id"])
    silent = labels["is_churned"]
    assert labels["next_stage"].filter(silent).to_list() == table["stage_if_silent"].filter(silent).to_list()
    assert (labels["n_order_days"] == 0).equals(silent, check_names=False)
    days = table["days_since_last_order"].cast(pl.Int64) + SNAPSHOT.horizon_days
    assert labels["days_since_last_order"].filter(silent).equals(days.filter(silent))
    assert labels["days_since_last_order"].filter(~silent).is_between(1, SNAPSHOT.horizon_days).all()


def _examples(shop: Shop) -> pl.DataFrame:
    return build_prospect_examples(build_records(shop), SNAPSHOT, rule=PROSPECT_RULE)


@st.composite
def prospecting_shops(draw: st.DrawFn) -> Shop:
    """Draw contacts and orders before, within and after the horizon; most people are few and meet again."""
    day = st.integers(CUTOFF_DAY - 60, CUTOFF_DAY + 120) | st.sampled_from([CUTOFF_DAY + at for at in (-1, 0, 89, 90)])
    contacts = pl.DataFrame(draw(st.lists(contact_rows(day), max_size=20)), CONTACT_SCHEMA, orient="row")
    customer_id = st.sampled_from([f"c{i}" for i in range(7)])
    return {
        "orders": build_orders(draw(st.lists(st.tuples(customer_id, day, st.just(MICROS)), max_size=5))),
        "contacts": contacts,
    }


def test_prospects_by_hand() -> None:
    """Whoever comes to be known registers, whoever orders for the first time buys; old customers do neither anew."""
    contacts = [
        *[("silent", None, -9), ("buys", None, -9), ("late", None, -9)],
        *[(None, browser, -9) for browser in ("b-known", "b-late", "b-new", "b-old", "b-passes", "b-buys", "b-waits")],
        ("new", "b-new", 0),
        ("new and buys", "b-buys", 50),
        ("silent", "b-known", 5),
        ("old", "b-old", 5),
        ("too late", "b-late", 90),
        (None, "b-passes", 5),
        ("waits", "b-waits", 89),
    ]
    orders = [("old", -50), ("old", 5), ("buys", 89), ("late", 90), ("new and buys", 0), ("waits", 90)]
    shop = build_shop(
        {
            "orders": [(customer, CUTOFF_DAY + day, MICROS, None, None) for customer, day in orders],
            "contacts": [(customer, browser, CUTOFF_DAY + day, "visit", None) for customer, browser, day in contacts],
        }
    )
    told = {
        name: rest for name, *rest in _examples(shop).select("person_id", "is_registration", "is_first_purchase").rows()
    }
    assert told == {
        "b-buys": [True, True],
        "b-known": [False, False],
        "b-late": [False, False],
        "b-new": [True, False],
        "b-old": [False, False],
        "b-passes": [False, False],
        "b-waits": [True, False],
        "buys": [False, True],
        "late": [False, False],
        "silent": [False, False],
    }


@given(prospecting_shops())
@settings(deadline=None)
def test_prospects_one_by_one(engine: duckdb.DuckDBPyConnection, shop: Shop) -> None:
    """What came of every prospect is what reading their contacts and orders one by one comes to, on both engines."""
    prospects = build_prospects(build_records(shop), SNAPSHOT, rule=PROSPECT_RULE)
    contacts = [row[:3] for row in shop["contacts"].rows()]
    bought = [row[:2] for row in shop["orders"].select("customer_id", "day").rows()]
    came_of = [
        (person, is_visitor, *_came_of(person, contacts, bought, is_visitor=is_visitor))
        for person, is_visitor in prospects.select("person_id", "is_visitor").rows()
    ]
    for records in (build_records(shop), build_records(shop, engine)):
        found = build_prospect_examples(records, SNAPSHOT, rule=PROSPECT_RULE)
        assert found.select(prospects.columns).equals(prospects)
        assert found.select("person_id", "is_visitor", "is_registration", "is_first_purchase").rows() == came_of


def _came_of(
    person: str, contacts: list[tuple[str | None, str | None, int]], bought: list[tuple[str, int]], *, is_visitor: bool
) -> tuple[bool, bool]:
    """Tell whether somebody registered and whether they bought for the first time, within the horizon."""
    begins, ends = SNAPSHOT.cutoff_day, SNAPSHOT.end_day
    known = {customer for customer, _, day in contacts if customer is not None and day < begins}
    firsts = {customer: min(day for buyer, day in bought if buyer == customer) for customer, _ in bought}
    buyers = {customer for customer, day in firsts.items() if begins <= day < ends}
    if not is_visitor:
        return False, person in buyers
    owners = {c for c, visitor, day in contacts if c is not None and visitor == person and begins <= day < ends}
    new = {owner for owner in owners if firsts.get(owner, ends) >= begins}
    return bool(new - known), bool(new & buyers)


@given(prospecting_shops(), later_shops(from_day=CUTOFF_DAY + 90))
@settings(deadline=None)
def test_horizon_ends_for_prospects(shop: Shop, later: Shop) -> None:
    """Contacts and orders at or after the end of the horizon change nothing of what came of prospects."""
    known = {name: rows.filter(pl.col("day") < SNAPSHOT.end_day) for name, rows in shop.items()}
    grown = {name: pl.concat([later[name].select(rows.columns), rows]) for name, rows in shop.items()}
    assert _examples(grown).equals(_examples(known))


def test_no_prospects() -> None:
    """Without contacts, or before any, there is nobody, in a table of the same columns and types."""
    full = _examples(build_shop({"contacts": [(None, "v", CUTOFF_DAY - 1, "visit", None)]}))
    late = _examples(build_shop({"contacts": [(None, "v", CUTOFF_DAY, "visit", None)]}))
    records = Records.wrap(build_orders([("c", CUTOFF_DAY, 1)]))
    without = build_prospect_examples(records, SNAPSHOT, rule=PROSPECT_RULE)
    assert (full.height, late.height, without.height) == (1, 0, 0)
    assert full.schema == late.schema == without.schema
