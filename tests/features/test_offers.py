"""What the data offers: what was on record at the cutoff, and what a model's features can be filled from."""

import pytest
from hypothesis import given, settings

from features.catalogue import supported
from features.offers import find_offers, readable, recorded
from features.records import Records
from features.snapshot import Snapshot
from features.table import FEATURES, build_feature_table
from tests.histories import CUTOFF_DAY, Rows, Shop, build_orders, build_records, build_shop, shops

SNAPSHOT = Snapshot(CUTOFF_DAY)
ROWS: Rows = {
    "orders": [("c", CUTOFF_DAY - 9, 1, "web", 1)],
    "refunds": [("c", CUTOFF_DAY - 8, None, 1, 0)],
    "items": [("c", CUTOFF_DAY - 9, "books", 1, 1)],
    "events": [("c", CUTOFF_DAY - 9, "visit", None, None)],
}
ALL = frozenset({"channel", "cost", "refunds", "category", "quantity", "event:visit"})


def test_offers() -> None:
    """One known row that has a value is an offer; types of events are offered one by one."""
    assert find_offers(build_records(build_shop(ROWS)), SNAPSHOT) == ALL
    assert find_offers(build_records(build_shop({})), SNAPSHOT) == frozenset()
    assert find_offers(build_records(build_orders([("c", 1, 1)])), SNAPSHOT) == frozenset()


def test_null_throughout() -> None:
    """A column that is there and never filled is no offer."""
    rows: Rows = {"orders": [("c", CUTOFF_DAY - 9, 1, None, None)], "items": [("c", CUTOFF_DAY - 9, None, 0, None)]}
    assert find_offers(build_records(build_shop(rows)), SNAPSHOT) == frozenset()


@pytest.mark.parametrize(("days", "offers"), [(9, frozenset()), (8, ALL - {"refunds"}), (7, ALL)])
def test_not_yet(days: int, offers: frozenset[str]) -> None:
    """What came at or after the cutoff is not offered at it."""
    assert find_offers(build_records(build_shop(ROWS)), Snapshot(CUTOFF_DAY - days)) == offers


@given(shops())
@settings(deadline=None)
def test_offered_means_filled(shop: Shop) -> None:
    """Features whose needs are offered can be filled from the records."""
    records = build_records(shop)
    offered = supported(FEATURES, find_offers(records, SNAPSHOT))
    assert build_feature_table(records, SNAPSHOT, features=offered).columns[1:] == [f.name for f in offered]


def test_no_refund_is_none() -> None:
    """Records without refunds fill features of refunds with none, so that a request and a base agree."""
    records = build_records(build_orders([("c", CUTOFF_DAY - 9, 1)]))
    wanted = tuple(feature for feature in FEATURES if feature.group == "refunds")
    assert (recorded(wanted, records), readable(wanted, records)) == ((), wanted)
    empty = build_records({"orders": build_orders([("c", CUTOFF_DAY - 9, 1)]), "refunds": build_shop({})["refunds"]})
    tables = [build_feature_table(known, SNAPSHOT, features=wanted) for known in (records, empty)]
    assert tables[0].equals(tables[1])
    assert tables[0]["n_refunds"].to_list() == [0.0]


def test_no_column_is_unknown() -> None:
    """Records without a column or relation leave out the features that need it, though a model asks for them."""
    records = Records.wrap(build_orders([("c", CUTOFF_DAY - 9, 1)]))
    kept = readable(FEATURES, records)
    assert {need for feature in kept for need in feature.needs} == {"refunds"}
    table = build_feature_table(records, SNAPSHOT, features=FEATURES)
    assert table.columns == ["customer_id", *(feature.name for feature in kept)]
