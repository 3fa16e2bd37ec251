"""A visitor belongs to a customer from the event that names both on, and never before."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.intake.rules.identity import identified_sql

EventRow = tuple[str | None, str | None, int]
Attributed = Counter[tuple[str | None, str | None, int, bool]]

_SCHEMA = {"customer_id": pl.String, "visitor_id": pl.String, "hour": pl.Int64}
_START = datetime(2024, 1, 1)  # noqa: DTZ001 - instants are naive UTC inside

_CUSTOMERS, _VISITORS = st.sampled_from(["a", "b", "c"]), st.sampled_from(["v", "w"])
_HOURS = st.integers(0, 6)  # few, so that instants coincide
_ROWS = st.lists(st.tuples(st.none() | _CUSTOMERS, st.none() | _VISITORS, _HOURS), max_size=14)


def _attribute(engine: duckdb.DuckDBPyConnection, rows: Sequence[EventRow]) -> Attributed:
    """Attribute events of (customer, visitor, hour). One entry per event: whose, visitor, hour, whether ambiguous."""
    events = pl.DataFrame(rows, schema=_SCHEMA, orient="row").with_columns(
        occurred_at=pl.lit(_START, pl.Datetime("us")) + pl.duration(hours="hour")
    )
    engine.register("event_rows", events.to_arrow())
    found = engine.execute(
        f"SELECT customer_id, visitor_id, hour, is_ambiguous FROM ({identified_sql('FROM event_rows')})"
    )
    return Counter(found.fetchall())


def _oracle(rows: Sequence[EventRow]) -> Attributed:
    """Attribute events one by one, in plain Python."""
    return Counter(_one(rows, row) for row in rows)


def _one(rows: Sequence[EventRow], row: EventRow) -> tuple[str | None, str | None, int, bool]:
    customer, visitor, hour = row
    links = [(at, who) for who, other, at in rows if who and other == visitor and at <= hour]
    if customer or not visitor or not links:
        return customer, visitor, hour, False
    last = {who for at, who in links if at == max(links)[0]}
    return (last.pop(), visitor, hour, False) if len(last) == 1 else (None, visitor, hour, True)


@pytest.mark.parametrize(
    ("rows", "whose"),
    [
        ([(None, "v", 1), ("a", "v", 2)], [None, "a"]),
        ([("a", "v", 2), (None, "v", 2)], ["a", "a"]),
        ([("a", "v", 2), (None, "v", 3), ("b", "v", 4), (None, "v", 5)], ["a", "a", "b", "b"]),
        ([("a", "v", 2), ("b", "v", 2), (None, "v", 3)], ["a", "b", None]),
        ([("a", "v", 2), ("b", "v", 2), ("b", "v", 3), (None, "v", 4)], ["a", "b", "b", "b"]),
        ([("a", "v", 2), (None, "w", 3)], ["a", None]),
        ([("a", "v", 2), ("b", None, 3)], ["a", "b"]),
    ],
    ids=["before", "same instant", "next link", "ambiguous", "told apart", "another visitor", "no visitor"],
)
def test_links(engine: duckdb.DuckDBPyConnection, rows: list[EventRow], whose: list[str | None]) -> None:
    """The latest link at or before an event says whose it is; two customers at one instant leave it nobody's."""
    attributed = _attribute(engine, rows)
    expected = Counter((who, visitor, hour) for who, (_, visitor, hour) in zip(whose, rows, strict=True))
    assert Counter(entry[:3] for entry in attributed.elements()) == expected


@given(rows=_ROWS)
@settings(max_examples=150, deadline=None)
def test_oracle(engine: duckdb.DuckDBPyConnection, rows: list[EventRow]) -> None:
    """The database attributes events as one does by hand, one by one."""
    assert _attribute(engine, rows) == _oracle(rows)


@given(rows=_ROWS, later=_ROWS, rng=st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_no_leakage(engine: duckdb.DuckDBPyConnection, rows: list[EventRow], later: list[EventRow], rng: Any) -> None:
    """Later events, in any number and any row order, never change whose an earlier event is."""
    before = _attribute(engine, rows)
    grown = [*rows, *((customer, visitor, hour + 7) for customer, visitor, hour in later)]
    after = _attribute(engine, rng.sample(grown, len(grown)))
    assert Counter({entry: n for entry, n in after.items() if entry[2] < 7}) == before


@given(rows=_ROWS)
@settings(max_examples=100, deadline=None)
def test_repeats(engine: duckdb.DuckDBPyConnection, rows: list[EventRow]) -> None:
    """Events that are given twice are attributed twice, as once."""
    once = _attribute(engine, rows)
    assert _attribute(engine, [*rows, *rows]) == Counter({entry: 2 * n for entry, n in once.items()})
