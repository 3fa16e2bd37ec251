"""Which order a refund belongs to, and that nothing that comes later changes it."""

# ruff: noqa: DTZ001 - naive stamps are what orders carry

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.intake.rules.refunds import ENTRY_SCHEMA, match_refunds
from features.records import REFUND_SCHEMA
from tests.features.intake.conftest import ReadText

Entry = tuple[str, int, int, str | None, str | None]
Match = tuple[str, int, int | None, int, int, bool]
START = datetime(2024, 1, 1)
HEADER = "customer_id,ordered_at,amount,order_id,refund_of\n"


def entries(rows: list[Entry]) -> pl.DataFrame:
    """Build entries from customer, hour, amount, order id, and the id that a refund names."""
    values = [
        (customer, START + timedelta(hours=hour), 19723 + hour // 24, amount, order_id, refund_of)
        for customer, hour, amount, order_id, refund_of in rows
    ]
    return pl.DataFrame(values, schema=ENTRY_SCHEMA, orient="row")


def matched(*rows: tuple[int, int, str | None, str | None]) -> list[tuple[int | None, int]]:
    """List hour / 24 of the matched order, and what was taken, of one customer's refunds."""
    frame = match_refunds(entries([("c", *row) for row in rows]))
    return frame.select(pl.col("order_day") - 19723, "taken_micros").rows()


def test_named_order() -> None:
    """A refund belongs to the order that it names, by its own id or another's, if that came before."""
    orders = ((0, 50, "A", None), (24, 50, "B", None))
    assert matched(*orders, (48, -50, "A", None)) == [(0, 50)]
    assert matched(*orders, (48, -70, "X", "A")) == [(0, 50)]
    assert matched(*orders, (48, -50, "C", None), (72, 50, "C", None)) == [(1, 50)]


def test_exact_order() -> None:
    """Else it belongs to the latest earlier order of which exactly so much is left."""
    assert matched((0, 30, None, None), (24, 30, None, None), (48, 90, None, None), (72, -30, None, None)) == [(1, 30)]
    assert matched((0, 30, None, None), (24, 90, None, None), (48, -60, None, None), (72, -30, None, None)) == [
        (1, 60),
        (1, 30),
    ]


def test_large_enough_order() -> None:
    """Else it belongs to the latest earlier order that still holds as much; if there is none, to none."""
    assert matched((0, 90, None, None), (24, 80, None, None), (48, 20, None, None), (72, -40, None, None)) == [(1, 40)]
    assert matched((0, 90, None, None), (24, -91, None, None)) == [(None, 0)]
    assert matched((0, -5, None, None), (24, 90, None, None)) == [(None, 0)]


def test_same_time() -> None:
    """An order comes before a refund of the same time."""
    assert matched((5, -40, None, None), (5, 40, None, None)) == [(0, 40)]


_NAMES = st.none() | st.sampled_from("AB")
_ENTRIES = st.lists(
    st.tuples(st.sampled_from("xy"), st.integers(0, 120), st.integers(-6, 9), _NAMES, _NAMES), max_size=30
)


@dataclass
class Order:
    """An order, and what is left of it."""

    day: int
    left: int
    name: str | None


def _by_definition(rows: list[Entry]) -> list[Match]:
    """Match refunds one by one, as the definition reads."""
    frame = entries(rows).with_columns(is_refund=pl.col("amount_micros") < 0, size=pl.col("amount_micros").abs())
    in_time = frame.sort("customer_id", "day", "ordered_at", "is_refund", "size", "order_id", "refund_of").rows()
    orders: dict[str, list[Order]] = {}
    matches: list[Match] = []
    for customer, _, day, _, order_id, refund_of, is_refund, size in in_time:
        own = orders.setdefault(customer, [])
        if not is_refund:
            own.append(Order(day, size, order_id))
            continue
        rules = (
            [order for order in own if refund_of is not None and order.name == refund_of],
            [order for order in own if order_id is not None and order.name == order_id],
            [order for order in own if order.left == size],
            [order for order in own if order.left >= size],
        )
        found = next((candidates[-1] for candidates in rules if candidates), Order(-1, 0, None))
        taken = min(size, found.left)
        matches.append((customer, day, None if found.day < 0 else found.day, size, taken, 0 < taken == found.left))
        found.left -= taken
    return matches


@settings(max_examples=200, deadline=None)
@given(rows=_ENTRIES, data=st.data())
def test_is_the_definition(rows: list[Entry], data: st.DataObject) -> None:
    """The fast search finds what the definition says, whatever the sequence of the rows."""
    shuffled = data.draw(st.permutations(rows))
    assert sorted(match_refunds(entries(shuffled)).rows(), key=repr) == sorted(_by_definition(rows), key=repr)


@settings(max_examples=200, deadline=None)
@given(rows=_ENTRIES, cutoff=st.integers(19723, 19729))
def test_later_rows_change_nothing(rows: list[Entry], cutoff: int) -> None:
    """Rows of a later day leave the match of every earlier refund as it was."""
    everything = entries(rows)
    known = match_refunds(everything.filter(pl.col("day") < cutoff))
    later = match_refunds(everything).filter(pl.col("day") < cutoff)
    assert sorted(known.rows(), key=repr) == sorted(later.rows(), key=repr)


def test_one_busy_customer() -> None:
    """A customer with 100,000 orders and as many refunds comes to an end; every refund finds its order."""
    n = 100_000
    frame = pl.DataFrame({"hour": range(2 * n)}).select(
        customer_id=pl.lit("c"),
        ordered_at=pl.lit(START) + pl.duration(hours="hour"),
        day=19723 + pl.col("hour") // 24,
        amount_micros=pl.when(pl.col("hour") < n).then(10 + pl.col("hour") % 977).otherwise(-9 - pl.col("hour") % 977),
        order_id=pl.lit(None, pl.String),
        refund_of=pl.lit(None, pl.String),
    )
    found = match_refunds(frame.cast(ENTRY_SCHEMA))
    assert found.height == n
    assert found["order_day"].null_count() < n // 100


def test_effect(read_text: ReadText) -> None:
    """Refunds leave orders as they were; the report says what they take, and from how many."""
    text = HEADER + "a,2024-01-01,10,1,\na,2024-01-05,20,2,\na,2024-01-06,-10,3,1\na,2024-01-07,-5,4,\n"
    intake = read_text(text + "b,2024-01-07,-5,5,\n", rows="orders")
    assert sorted(row[3] for row in intake.orders.fetchall()) == [10_000_000, 20_000_000]
    assert intake.records.refunds is not None
    native = intake.records.refunds.to_native()
    assert dict(zip(native.columns, map(str, native.types), strict=True)) == {
        name: "VARCHAR" if kind == pl.String else "BIGINT" for name, kind in REFUND_SCHEMA.items()
    }
    assert sorted(native.fetchall()) == [
        ("a", 19728, 19723, 10_000_000, 10_000_000),
        ("a", 19729, 19727, 5_000_000, 5_000_000),
        ("b", 19729, None, 5_000_000, 0),
    ]
    effect = intake.report.refunds
    assert (effect.n_rows, effect.n_matched, effect.n_unmatched) == (3, 2, 1)
    assert (effect.n_customers, effect.n_orders_emptied) == (2, 1)
    assert (effect.amount_micros, effect.taken_micros) == (20_000_000, 15_000_000)
    assert (effect.value_before_micros, effect.value_after_micros) == (30_000_000, 15_000_000)


def test_many_batches(read_text: ReadText, monkeypatch: pytest.MonkeyPatch) -> None:
    """Customers are matched a batch at a time, each with all of their own rows."""
    text = HEADER + "".join(
        f"c{i},2024-01-0{day},{(9 - day) * (-1) ** (day > 4)},,\n" for i in range(9) for day in (1, 5)
    )
    whole = read_text(text).report
    monkeypatch.setattr("features.intake.rules.entries._ROWS_PER_BATCH", 3)
    batched = read_text(text).report
    assert (batched.digest, batched.refunds) == (whole.digest, whole.refunds)
    assert (whole.refunds.n_matched, whole.refunds.taken_micros) == (9, 36_000_000)
