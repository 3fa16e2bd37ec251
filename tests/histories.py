"""Hypothesis strategies: what a shop records around a cutoff, and plain ways to write it by hand.

Property tests say `@settings(deadline=None)` and leave their number to the profile, 1,000 in `soak`.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import duckdb
import polars as pl
from hypothesis import strategies as st

from features.catalogue import MICROS
from features.lifecycle.stages import RECOMMENDING, StageRule
from features.offers import EVENT
from features.records import (
    CONTACT_SCHEMA,
    EVENT_SCHEMA,
    ITEM_SCHEMA,
    ORDER_OPTIONS,
    ORDER_SCHEMA,
    REFUND_SCHEMA,
    Records,
)
from features.snapshot import to_day
from features.table import FEATURES

CUTOFF_DAY = 10_000
EVENT_TYPES = sorted({need.removeprefix(EVENT) for f in FEATURES for need in f.needs if need.startswith(EVENT)})
SCHEMAS = {
    "orders": pl.Schema({**ORDER_SCHEMA, **ORDER_OPTIONS}),
    "refunds": REFUND_SCHEMA,
    "items": ITEM_SCHEMA,
    "events": EVENT_SCHEMA,
    "contacts": CONTACT_SCHEMA,
}
# The last day inside each window that features look back through, and the first outside.
_EDGES = [CUTOFF_DAY - days - past for days in (0, 30, 60, 90, 180, 274, 365, 730) for past in (0, 1)]
_GAPS_DAYS = (0, 0, 1, 2, 7, 13, 20, 29, 30, 31, 45, 60, 61, 90, 91, 120, 180, 365, 366)

OrderRow = tuple[str, int, int]
Shop = dict[str, pl.DataFrame]  # the relations of `Records`, by name
Rows = Mapping[str, Sequence[tuple[Any, ...]]]  # by relation, in the sequence of `SCHEMAS`; orders without ordered_at

SHOP_RULE = StageRule(
    at_risk_after_days=30,
    lost_after_days=60,
    mean_gap_days=20.0,
    loyal_min_order_days=5,
    loyal_min_tenure_days=90,
    own_rhythm_min_gaps=3,
    own_rhythm_min_factor=0.5,
    own_rhythm_max_factor=2.0,
    hysteresis_factor=1.0,
    recommending_min_rating=4.0,
    is_fallback=False,
)


def build_orders(rows: Sequence[OrderRow]) -> pl.DataFrame:
    """Build validated orders from (customer id, day number, micros). One row per order."""
    schema = {"customer_id": pl.String, "day": pl.Int64, "amount_micros": pl.Int64}
    ordered_at = pl.from_epoch("day", "d").cast(pl.Datetime("us"))
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(ordered_at=ordered_at).select(*ORDER_SCHEMA)


def build_shop(rows: Rows) -> Shop:
    """Build all relations; those of which there are no rows are there and empty, contacts only where they are named."""
    named = [name for name in SCHEMAS if name not in {"orders", "contacts"} or (name == "contacts" and name in rows)]
    shop = {name: pl.DataFrame(rows.get(name, []), SCHEMAS[name], orient="row") for name in named}
    bare = pl.Schema({name: kind for name, kind in SCHEMAS["orders"].items() if name != "ordered_at"})
    orders = pl.DataFrame(rows.get("orders", []), bare, orient="row")
    ordered_at = pl.from_epoch("day", "d").cast(pl.Datetime("us"))
    return {"orders": orders.with_columns(ordered_at=ordered_at).select(*SCHEMAS["orders"]), **shop}


def build_records(
    shop: Mapping[str, pl.DataFrame] | pl.DataFrame, engine: duckdb.DuckDBPyConnection | None = None
) -> Records:
    """Build records of these relations, or of orders alone: in memory, or in a database."""
    frames = {"orders": shop} if isinstance(shop, pl.DataFrame) else shop
    if engine is None:
        return Records.wrap(**frames)
    return Records.wrap(**{name: engine.from_arrow(frame.to_arrow()) for name, frame in frames.items()})


def exact_bytes(table: pl.DataFrame) -> bytes:
    """Write every type and value, down to the last digit and the sign of zero."""
    return repr((table.schema, table.rows())).encode()


def one_customer(*days: int, customer_id: str = "c") -> pl.DataFrame:
    """Build orders of 10 currency units on each of these days."""
    return build_orders([(customer_id, day, 10 * MICROS) for day in days])


def dated(*days: str) -> pl.DataFrame:
    """Build one customer's orders of 10 currency units on ISO dates."""
    return one_customer(*(to_day(date.fromisoformat(day)) for day in days))


def amounts() -> st.SearchStrategy[int]:
    """Draw micros from nothing to a billion units, whole cents or not."""
    return st.integers(0, 50_000).map(lambda cents: cents * 10_000) | st.integers(0, 1_000_000_000_000_000)


@st.composite
def customer_rows(
    draw: st.DrawFn, customer_id: str, *, max_orders: int = 12, money: st.SearchStrategy[int] | None = None
) -> list[OrderRow]:
    """Draw one customer's orders, whose gaps lie on and about every threshold of `SHOP_RULE`."""
    money = amounts() if money is None else money
    day = draw(st.integers(CUTOFF_DAY - 900, CUTOFF_DAY + 200) | st.sampled_from(_EDGES))
    rows = []
    for gap in draw(st.lists(st.sampled_from(_GAPS_DAYS) | st.integers(0, 400), min_size=1, max_size=max_orders)):
        rows.append((customer_id, day, draw(money)))
        day += gap
    return rows


@st.composite
def order_logs(draw: st.DrawFn, *, max_customers: int = 4) -> pl.DataFrame:
    """Draw the orders of a few customers, before and after the cutoff, in any row order."""
    ids = [f"c{i}" for i in range(draw(st.integers(1, max_customers)))]
    rows = [row for customer_id in ids for row in draw(customer_rows(customer_id))]
    return build_orders(draw(st.permutations(rows)))


_CHANNEL = st.sampled_from([None, "web", "shop", "phone"])
_CATEGORY = st.sampled_from([None, "books", "music", "garden"])
_BOUGHT = st.just((0, None)) | st.tuples(st.integers(1, 3), st.integers(0, 20).map(lambda drawn: drawn * MICROS // 2))
_DELAY_DAYS = st.integers(0, 40) | st.integers(0, 400)
# Some values lie at and beyond what an answer can be.
_POINTS = st.none() | st.integers(-10, 10).map(lambda drawn: drawn * MICROS // 2)
_POINTS |= st.sampled_from([-(10**12), 10**12, 10**12 + 1])
_RATING = st.sampled_from([None, 3 * MICROS, 4 * MICROS - 1, 4 * MICROS, 5 * MICROS])
_CONTACT_TYPES = ("visit", "visit", "cart", "form", "registration", "email_open")


@st.composite
def shops(draw: st.DrawFn, *, max_customers: int = 3, money: st.SearchStrategy[int] | None = None) -> Shop:
    """Draw what a shop records of a few customers, before and after the cutoff: all relations, in any row order.

    Now and then it records no contacts.

    Args:
        draw: Hypothesis.
        max_customers: At least one; one more may have events and never order.
        money: Micros of orders, refunds and costs; `amounts()` if None.
    """
    money = amounts() if money is None else money
    cost = st.none() | money
    rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in SCHEMAS}
    for i in range(draw(st.integers(1, max_customers))):
        bought = draw(customer_rows(f"c{i}", max_orders=8, money=money))
        rows["orders"] += [(*row, draw(_CHANNEL), draw(cost)) for row in bought]
        rows["refunds"] += draw(_refunds(bought, money))
        rows["items"] += draw(_items(bought))
    days = st.integers(CUTOFF_DAY - 500, CUTOFF_DAY + 100) | st.sampled_from(_EDGES)
    rows["events"] = draw(st.lists(_events(days), max_size=12))
    rows["contacts"] = draw(st.lists(contact_rows(days), max_size=8))
    if not draw(st.integers(0, 3)):
        del rows["contacts"]
    rng = draw(st.randoms(use_true_random=False))
    return build_shop({name: rng.sample(found, len(found)) for name, found in rows.items()})


@st.composite
def later_shops(draw: st.DrawFn, *, from_day: int = CUTOFF_DAY) -> Shop:
    """Draw orders, refunds of any orders, items, events and contacts at or after a day, of people old and new."""
    customer_id = st.sampled_from([f"c{i}" for i in range(6)])
    day = st.just(from_day) | st.integers(from_day, from_day + 400)
    order = st.tuples(customer_id, day, amounts(), _CHANNEL, st.none() | amounts())
    items = st.builds(lambda *drawn: (*drawn[:3], *drawn[3]), customer_id, day, _CATEGORY, _BOUGHT)
    rows = {name: draw(st.lists(one, max_size=6)) for name, one in {"orders": order, "items": items}.items()}
    bought = draw(st.lists(st.tuples(customer_id, st.integers(from_day - 300, from_day), amounts()), min_size=1))
    refunds = [refund for refund in draw(_refunds(bought, amounts())) if refund[1] >= from_day]
    told = {"events": draw(st.lists(_events(day))), "contacts": draw(st.lists(contact_rows(day), max_size=8))}
    return build_shop({**rows, "refunds": refunds, **told})


def later_orders(*, from_day: int = CUTOFF_DAY) -> st.SearchStrategy[pl.DataFrame]:
    """Draw orders at or after a day, of the customers that `order_logs` draws and of new ones."""
    row = st.tuples(st.sampled_from([f"c{i}" for i in range(6)]), st.integers(from_day, from_day + 400), amounts())
    return st.lists(row, min_size=1, max_size=12).map(build_orders)


@st.composite
def recommending_shops(draw: st.DrawFn, orders: st.SearchStrategy[pl.DataFrame]) -> Shop:
    """Draw orders, and events by which their customers recommend the shop or do not, often about their order days."""
    bought = draw(orders)
    customer_ids = [*bought["customer_id"].unique().sort().to_list(), "nobody"]
    about = st.tuples(st.sampled_from(bought["day"].to_list()), st.sampled_from([-1, 0, 0, 1, 29, 30, 31])).map(sum)
    day = st.integers(CUTOFF_DAY - 900, CUTOFF_DAY + 200) | about
    kind = st.sampled_from([*RECOMMENDING, "review", "review", "visit"])
    event = st.tuples(st.sampled_from(customer_ids), day, kind, _RATING, st.none())
    return {"orders": bought, "events": pl.DataFrame(draw(st.lists(event, max_size=4)), EVENT_SCHEMA, orient="row")}


def contact_rows(day: st.SearchStrategy[int], *, n_customers: int = 6) -> st.SearchStrategy[tuple[Any, ...]]:
    """Draw what customers, people without an order and visitors did; one visitor is named like a customer."""
    customer_id = st.sampled_from([f"c{i}" for i in range(n_customers)])
    visitor_id = st.sampled_from(["v0", "v1", "v2", f"c{n_customers - 1}"])
    who = st.tuples(customer_id, st.none()) | st.tuples(st.none(), visitor_id) | st.tuples(customer_id, visitor_id)
    did = st.tuples(day, st.sampled_from(_CONTACT_TYPES), _CHANNEL)
    return st.tuples(who, did).map(lambda drawn: (*drawn[0], *drawn[1]))


def rules() -> st.SearchStrategy[StageRule]:
    """Draw stage rules that a shop could learn."""
    return st.builds(
        lambda at_risk, longer, mean_gap, order_days, tenure, gaps, hysteresis, min_rating: StageRule(
            at_risk_after_days=at_risk,
            lost_after_days=at_risk + longer,
            mean_gap_days=mean_gap,
            loyal_min_order_days=order_days,
            loyal_min_tenure_days=tenure,
            own_rhythm_min_gaps=gaps,
            own_rhythm_min_factor=0.5,
            own_rhythm_max_factor=2.0,
            hysteresis_factor=hysteresis,
            recommending_min_rating=min_rating,
            is_fallback=False,
        ),
        at_risk=st.integers(7, 120),
        longer=st.integers(4, 200),
        mean_gap=st.floats(1.0, 100.0),
        order_days=st.integers(2, 6),
        tenure=st.integers(1, 200),
        gaps=st.integers(1, 4),
        hysteresis=st.sampled_from([1.0, 1.25, 2.0]),
        min_rating=st.sampled_from([4.0, 4.0, 4.0, None]),
    )


def cents() -> st.SearchStrategy[int]:
    """Draw micros of everyday money, whose sums are exact in float64."""
    return st.integers(0, 50_000).map(lambda drawn: drawn * 10_000)


@st.composite
def _refunds(draw: st.DrawFn, bought: Sequence[OrderRow], money: st.SearchStrategy[int]) -> list[tuple[Any, ...]]:
    """Draw refunds on or after the days of their orders, whole, in part or beyond; some match no order."""
    chosen = draw(st.lists(st.integers(0, len(bought) - 1), max_size=4))
    came = sorted((draw(_come_back(bought[i][1])), i) for i in chosen)
    left = [micros for _, _, micros in bought]
    rows: list[tuple[Any, ...]] = []
    for day, i in came:
        customer_id, order_day, micros = bought[i]
        given_back = max(1, draw(st.just(micros) | st.integers(0, micros) | money))
        if draw(st.integers(0, 3)) == 0:
            rows.append((customer_id, day, None, given_back, 0))
            continue
        taken = min(given_back, left[i])
        left[i] -= taken
        rows.append((customer_id, day, order_day, given_back, taken))
    return rows


def _come_back(day: int) -> st.SearchStrategy[int]:
    return _DELAY_DAYS.map(lambda delay: day + delay) | st.sampled_from([max(day, edge) for edge in _EDGES])


@st.composite
def _items(draw: st.DrawFn, bought: Sequence[OrderRow]) -> list[tuple[Any, ...]]:
    """Draw what was bought on some of the days: one row per category, some without a category or a quantity."""
    days = sorted({(customer_id, day) for customer_id, day, _ in bought})
    return [
        (*key, category, *draw(_BOUGHT))
        for key in days
        for category in draw(st.lists(_CATEGORY, unique=True, max_size=3))
    ]


def _events(day: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[Any, ...]]:
    customer_id = st.sampled_from([f"c{i}" for i in range(4)])
    plain = st.tuples(customer_id, day, st.sampled_from(EVENT_TYPES), _POINTS, _CHANNEL)
    return plain | st.tuples(customer_id, day, st.sampled_from(RECOMMENDING), _RATING, _CHANNEL)
