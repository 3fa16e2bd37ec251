"""Grouping rows in memory: the order that sorting texts gives, whatever the hashes."""

from collections.abc import Callable

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import grouping
from features.grouping import GroupedRows, Keys, group_rows
from features.snapshot import Snapshot
from features.table import build_feature_table
from tests.histories import build_orders, build_records, exact_bytes

ROWS = st.lists(st.tuples(st.text(max_size=3), st.integers(-9, 30_000), st.integers()), min_size=1, max_size=60)


def _only_head(hashed: Keys) -> Keys:
    return hashed & np.uint64(3 << 62)


def _equal_heads(hashed: Keys) -> Keys:
    return hashed & np.uint64(0xFFFFFF)


def _same_for_all(hashed: Keys) -> Keys:
    return np.zeros_like(hashed)


@given(ROWS, st.sampled_from([None, _equal_heads]))
@settings(deadline=None)
def test_order(rows: list[tuple[str, int, int]], weaken: Callable[[Keys], Keys] | None) -> None:
    """Rows come by customer, then day, none lost; also where the first keys cannot tell customers apart."""
    rows = [(customer_id, day, micros % 2**40) for customer_id, day, micros in rows]
    with pytest.MonkeyPatch.context() as patch:
        if weaken is not None:
            _weaken(patch, weaken)
        grouped = _group(rows)
    assert grouped is not None
    assert _rows_of(grouped) == sorted(rows)


@pytest.mark.parametrize("weaken", [_only_head, _same_for_all])
def test_equal_hashes(monkeypatch: pytest.MonkeyPatch, weaken: Callable[[Keys], Keys]) -> None:
    """Customers who share a hash are never merged: the rows are left to the engine."""
    _weaken(monkeypatch, weaken)
    assert _group([(f"c{i}", 1, 1) for i in range(9)]) is None


def test_one_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single customer has a hash of their own, whatever it is."""
    _weaken(monkeypatch, _same_for_all)
    assert _rows_of(_group([("c", 3, 1), ("c", 1, 2)])) == [("c", 1, 2), ("c", 3, 1)]


def test_greatest_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does the greatest of all hashes overflow."""
    _weaken(monkeypatch, lambda hashed: hashed | np.uint64(0xFFFFFFFFFF000000))
    assert _rows_of(_group([("b", 3, 1), ("a", 1, 2), ("b", 1, 2)])) == [("a", 1, 2), ("b", 1, 2), ("b", 3, 1)]


def test_long_span(engine: duckdb.DuckDBPyConnection) -> None:
    """Days further apart than 179 years are left to the engine, which gives the same."""
    rows = [("b", 70_000, 5), ("a", 1, 5), ("b", 1, 7)]
    assert _group(rows) is None
    assert _group([("b", 65_536, 5), ("a", 1, 5)]) is not None
    orders = build_orders(rows)
    at = Snapshot(70_001)
    table = build_feature_table(build_records(orders, engine), at)
    assert table.select("customer_id", "T_days").rows() == [("a", 70_000.0), ("b", 70_000.0)]
    assert exact_bytes(build_feature_table(build_records(orders), at)) == exact_bytes(table)


def _group(rows: list[tuple[str, int, int]]) -> GroupedRows | None:
    schema = {"customer_id": pl.String, "day": pl.Int64, "micros": pl.Int64}
    return group_rows(pl.DataFrame(rows, schema=schema, orient="row"))


def _rows_of(grouped: GroupedRows | None) -> list[tuple[str, int, int]]:
    """Return the rows, of the first customer alone and then of the others; sorted by micros within a day."""
    assert grouped is not None
    rows: list[tuple[str, int, int]] = []
    for first, last in ((0, 1), (1, len(grouped.customer_ids))):
        begins, columns = grouped.of_customers(first, last)
        ids = grouped.customer_ids[first:last].gather(np.cumsum(begins) - 1)
        rows += sorted(zip(ids, columns["day"].tolist(), columns["micros"].tolist(), strict=True))
        assert [*columns["day"][begins]] == [
            min(d for i, d, _ in rows if i == c) for c in grouped.customer_ids[first:last]
        ]
    return rows


def _weaken(patch: pytest.MonkeyPatch, weaken: Callable[[Keys], Keys]) -> None:
    """Weaken the first hash; the second stays as it is."""
    strong = grouping._hash
    patch.setattr(grouping, "_hash", lambda ids, seed=0: strong(ids, seed) if seed else weaken(strong(ids)))
