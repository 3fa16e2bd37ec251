from pathlib import Path

import duckdb
import narwhals as nw
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.errors import ServingError
from features.intake.shop import Shop
from features.snapshot import to_day
from serving.people.gate import check_key
from serving.people.identity import PeopleKey, make_key
from serving.people.withheld import Withheld, leave_out
from serving.scoring import score_prospects, score_records
from tests.whole_shop import AS_OF
from training.bundle import Bundle

LINKED = "newcomer-00"  # was the browser before-0 until they registered


@pytest.fixture
def key(tmp_path: Path) -> PeopleKey:
    """A key."""
    return make_key(tmp_path)


def people_in(shop: Shop) -> set[str]:
    """Return every id that a shop's records hold."""
    records = shop.records
    relations = (records.orders, records.refunds, records.items, records.events, records.contacts)
    columns = [(rows, name) for rows in relations if rows is not None for name in ("customer_id", "visitor_id")]
    held = [(rows, name) for rows, name in columns if name in rows.collect_schema().names()]
    return {each for rows, name in held for each in rows.select(name).unique().collect("polars").get_column(name)}


def test_nobody(visited_shop: Shop, engine: duckdb.DuckDBPyConnection, key: PeopleKey) -> None:
    """Where nobody is withheld, or nobody who is here, the shop is the very same."""
    assert leave_out(visited_shop, Withheld(), connection=engine)[0] is visited_shop
    elsewhere = Withheld(frozenset({"x"}), frozenset({key.hash_id("y")}), key)
    assert leave_out(visited_shop, elsewhere, connection=engine)[0] is visited_shop


def test_left_out(visited_shop: Shop, engine: duckdb.DuckDBPyConnection, key: PeopleKey) -> None:
    """Whoever is withheld is in no relation any more, nor are the browsers that were theirs; all others are."""
    withheld = Withheld(frozenset({"shopper-001", "hot-03"}), frozenset({key.hash_id(LINKED)}), key)
    without, left_out = leave_out(visited_shop, withheld, connection=engine)
    assert people_in(visited_shop) - people_in(without) == {"shopper-001", "hot-03", LINKED, "before-0"}
    assert str(left_out) == "3 people are left out: 1 erased, 2 objecting."


def test_no_ghost(
    visited_shop: Shop, engine: duckdb.DuckDBPyConnection, visited_bundle: Bundle, key: PeopleKey
) -> None:
    """The visits of an erased person, from before anybody knew who it was, do not make a visitor of them."""
    withheld = Withheld(erased=frozenset({key.hash_id(LINKED)}), key=key)
    without, _ = leave_out(visited_shop, withheld, connection=engine)
    prospects = [
        score_prospects(visited_bundle, shop.records, cutoff_day=to_day(AS_OF)) for shop in (visited_shop, without)
    ]
    assert_frame_equal(*prospects)


def test_browser(visited_shop: Shop, engine: duckdb.DuckDBPyConnection, visited_bundle: Bundle, key: PeopleKey) -> None:
    """A browser that nobody was linked to can be erased by its own id."""
    withheld = Withheld(erased=frozenset({key.hash_id("regular-02")}), key=key)
    without, _ = leave_out(visited_shop, withheld, connection=engine)
    found = score_prospects(visited_bundle, without.records, cutoff_day=to_day(AS_OF))
    assert "regular-02" not in found["person_id"]
    assert "regular-03" in found["person_id"]


def test_others(visited_shop: Shop, engine: duckdb.DuckDBPyConnection, visited_bundle: Bundle, key: PeopleKey) -> None:
    """The scores of all others stay what they were."""
    before = score_records(visited_bundle, visited_shop.records, cutoff_day=to_day(AS_OF))
    gone = before["customer_id"].to_list()[3:6]
    without, left_out = leave_out(visited_shop, Withheld(frozenset(gone)), connection=engine)
    after = score_records(visited_bundle, without.records, cutoff_day=to_day(AS_OF))
    assert left_out.n_objecting == 3
    assert_frame_equal(after, before.filter(~pl.col("customer_id").is_in(gone)))


def test_relations(visited_shop: Shop, engine: duckdb.DuckDBPyConnection) -> None:
    """The relations of a shop without somebody hold to the same columns, on the same database."""
    without, _ = leave_out(visited_shop, Withheld(frozenset({"shopper-001"})), connection=engine)
    for before, after in (
        (visited_shop.orders.orders, without.orders.orders),
        (visited_shop.records.orders.to_native(), without.records.orders.to_native()),
    ):
        assert after.columns == before.columns
        assert type(after) is type(before)
    counted = without.records.orders.select(nw.len()).collect("polars").item()
    assert 0 < counted < visited_shop.report.n_orders


def test_missing_key(key: PeopleKey) -> None:
    """Erased people who cannot be recognised stop a batch, as they would come back with it."""
    with pytest.raises(ServingError, match=r"people\.key"):
        check_key(None, [key.hash_id("c1")])
    with pytest.raises(ServingError, match="another key"):
        check_key(key, ["00000000.ff"])
    assert check_key(None, []) is None
