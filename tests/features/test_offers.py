"""What the data offers: what was on record at the cutoff, and what a model's features can be filled from."""

import pytest

from features.offers import TOLD_BY, find_offers, readable
from features.records import Records
from features.snapshot import Snapshot
from features.table import FEATURES, build_feature_table
from tests.histories import CUTOFF_DAY, Rows, build_orders, build_records, build_shop

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


def test_no_refund_is_none() -> None:
    """A model that asks for refunds gets none where records have none, so that a request and a base agree."""
    orders = build_orders([("c", CUTOFF_DAY - 9, 1)])
    wanted = tuple(feature for feature in FEATURES if feature.group == "refunds")
    records = build_records(orders), build_records({"orders": orders, "refunds": build_shop({})["refunds"]})
    assert [readable(wanted, known) for known in records] == [wanted, wanted]
    tables = [build_feature_table(known, SNAPSHOT, features=wanted) for known in records]
    assert tables[0].equals(tables[1])
    assert tables[0]["n_refunds"].to_list() == [0.0]


@pytest.mark.parametrize("need", TOLD_BY)
def test_told_by(need: str) -> None:
    """The feature that tells of a need is null for exactly those customers of whom nothing of it is known."""
    orders = [*ROWS["orders"], ("d", CUTOFF_DAY - 9, 1, None, None)]
    shop = build_shop({"orders": orders, "items": [*ROWS["items"], ("d", CUTOFF_DAY - 9, None, 0, None)]})
    table = build_feature_table(build_records(shop), SNAPSHOT)
    assert table[TOLD_BY[need]].is_null().to_list() == [False, True]


def test_no_column_is_unknown() -> None:
    """Records without a column or relation leave out the features that need it, though a model asks for them."""
    records = Records.wrap(build_orders([("c", CUTOFF_DAY - 9, 1)]))
    kept = readable(FEATURES, records)
    assert {need for feature in kept for need in feature.needs} == {"refunds"}
    table = build_feature_table(records, SNAPSHOT, features=FEATURES)
    assert table.columns == ["customer_id", *(feature.name for feature in kept)]
