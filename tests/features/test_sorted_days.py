"""Reading sorted order days in chunks of whole customers: no customer is cut, lost or repeated, however large."""

from itertools import pairwise

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import customer_rows
from features.catalogue import MICROS
from features.customer_rows import is_local, read_customers
from features.records import Records
from features.snapshot import Snapshot
from features.sorted_days import Chunk, build_chunk
from features.table import build_customer_table, build_feature_table
from tests.histories import CUTOFF_DAY, SHOP_RULE, Shop, build_orders, build_records, exact_bytes, shops

SNAPSHOT = Snapshot(CUTOFF_DAY, 90)


@given(shops(max_customers=4), st.integers(1, 12), st.sampled_from([0, 2**24]))
@settings(deadline=None)
def test_whole_customers(engine: duckdb.DuckDBPyConnection, shop: Shop, n_rows: int, max_rows: int) -> None:
    """Whatever the batches, each customer lies in one chunk, and chunks come in the sequence of customers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(customer_rows, "CHUNK_ROWS", n_rows)
        patch.setattr(customer_rows, "MAX_ROWS", max_rows)
        chunks = _chunks(build_records(shop, engine))
    ids = [customer_id for chunk in chunks for customer_id in chunk.customer_ids]
    assert ids == sorted(set(shop["orders"].filter(pl.col("day") < CUTOFF_DAY)["customer_id"]))
    for chunk in chunks:
        assert set(chunk.days["_customer"].values.tolist()) == set(range(len(chunk.customer_ids)))


@pytest.mark.parametrize("max_rows", [0, 2**24])
def test_border(engine: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, max_rows: int) -> None:
    """A customer whose days span several batches, after and before others, is one row and right."""
    monkeypatch.setattr(customer_rows, "CHUNK_ROWS", 4)
    monkeypatch.setattr(customer_rows, "MAX_ROWS", max_rows)
    rows = [("a", CUTOFF_DAY - 9, MICROS), *(("b", CUTOFF_DAY - age, MICROS) for age in range(1, 12))]
    orders = build_orders([*rows, ("c", CUTOFF_DAY - 3, MICROS), ("d", CUTOFF_DAY - 2, MICROS)])
    table = build_feature_table(build_records(orders, engine), SNAPSHOT)
    assert table.select("customer_id", "frequency", "max_gap_days", "historic_value").rows() == [
        ("a", 0.0, None, 1.0),
        ("b", 10.0, 1.0, 11.0),
        ("c", 0.0, None, 1.0),
        ("d", 0.0, None, 1.0),
    ]


@pytest.mark.parametrize("n_rows", [999, 250_000])
def test_large_customer(engine: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, n_rows: int) -> None:
    """A customer of ten thousand orders among small ones survives every chunk size, and is right."""
    rows = [("b", CUTOFF_DAY - 1 - i % 5_000, (1 + i % 7) * MICROS) for i in range(10_000)]
    orders = build_orders([("a", CUTOFF_DAY - 1, 1), *rows, ("c", CUTOFF_DAY - 1, 1)])
    expected = build_customer_table(build_records(orders), SNAPSHOT, rule=SHOP_RULE)
    monkeypatch.setattr(customer_rows, "CHUNK_ROWS", n_rows)
    found = build_customer_table(build_records(orders, engine), SNAPSHOT, rule=SHOP_RULE)
    assert exact_bytes(found) == exact_bytes(expected)
    large = found.filter(customer_id="b").row(0, named=True)
    assert (large["frequency"], large["n_orders"], large["std_gap_days"]) == (4_999.0, 10_000.0, 0.0)
    assert large["historic_value"] == sum(1 + i % 7 for i in range(10_000))
    assert large["stage"] == "loyal"


@pytest.mark.slow
def test_many_customers(engine: duckdb.DuckDBPyConnection) -> None:
    """A million customers of one order each have a million rows, sorted, in DuckDB and in memory alike."""
    n = 1_000_000
    drawn = np.random.default_rng(7)
    age, cents = drawn.integers(1, 900, n), drawn.integers(0, 10_000, n)
    orders = pl.DataFrame(
        {
            "customer_id": pl.Series(drawn.permutation(n)).cast(pl.String).str.zfill(7),
            "day": CUTOFF_DAY - age,
            "amount_micros": cents * 10_000,
        }
    )
    table = build_feature_table(Records.wrap(engine.from_arrow(orders.to_arrow())), SNAPSHOT)
    expected = orders.sort("customer_id")
    assert table["customer_id"].equals(expected["customer_id"])
    assert (table["T_days"] == CUTOFF_DAY - expected["day"]).all()
    assert (table["historic_value"].to_numpy() == expected["amount_micros"].to_numpy() / MICROS).all()
    assert (table["frequency"] == 0).all()
    assert table["mean_gap_days"].null_count() == n
    assert build_feature_table(Records.wrap(orders), SNAPSHOT).equals(table)


def test_is_local(engine: duckdb.DuckDBPyConnection) -> None:
    """DuckDB and Polars are in this process."""
    orders = build_orders([("c", CUTOFF_DAY - 1, 1)])
    assert is_local(build_records(orders))
    assert is_local(build_records(orders, engine))
    assert is_local(Records.wrap(orders.lazy()))


def test_sorted_days(engine: duckdb.DuckDBPyConnection) -> None:
    """Days within a customer ascend, and a day stands once."""
    orders = build_orders([("c", CUTOFF_DAY - age, 1) for age in (3, 9, 3, 1, 9)])
    [chunk] = _chunks(build_records(orders, engine))
    days = chunk.days["day"].values.tolist()
    assert all(earlier < later for earlier, later in pairwise(days))
    assert chunk.days["n_orders"].values.tolist() == [2, 2, 1]


def _chunks(records: Records) -> list[Chunk]:
    return [build_chunk(rows) for rows in read_customers(records, end_day=CUTOFF_DAY)]
