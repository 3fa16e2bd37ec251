"""Hypothesis strategies: order histories around a cutoff, and plain ways to write them by hand."""

from collections.abc import Sequence
from datetime import date

import polars as pl
from hypothesis import strategies as st

from features.catalogue import MICROS
from features.intake.request_orders import ORDER_SCHEMA
from features.lifecycle.stages import StageRule
from features.snapshot import to_day

CUTOFF_DAY = 10_000
_GAPS_DAYS = (0, 0, 1, 2, 7, 13, 20, 29, 30, 31, 45, 60, 61, 90, 91, 120, 180, 365, 366)

OrderRow = tuple[str, int, int]

SHOP_RULE = StageRule(
    at_risk_after_days=30,
    lost_after_days=60,
    mean_gap_days=20.0,
    loyal_min_order_days=5,
    loyal_min_tenure_days=90,
    own_rhythm_min_gaps=3,
    own_rhythm_min_factor=0.5,
    own_rhythm_max_factor=2.0,
    is_fallback=False,
)


def build_orders(rows: Sequence[OrderRow]) -> pl.DataFrame:
    """Build validated orders from (customer id, day number, micros). One row per order."""
    schema = {"customer_id": pl.String, "day": pl.Int64, "amount_micros": pl.Int64}
    ordered_at = pl.from_epoch("day", "d").cast(pl.Datetime("us"))
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(ordered_at=ordered_at).select(*ORDER_SCHEMA)


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
def customer_rows(draw: st.DrawFn, customer_id: str, *, max_orders: int = 12) -> list[OrderRow]:
    """Draw one customer's orders, whose gaps lie on and about every threshold of `SHOP_RULE`."""
    day = draw(st.integers(CUTOFF_DAY - 900, CUTOFF_DAY + 200))
    rows = []
    for gap in draw(st.lists(st.sampled_from(_GAPS_DAYS) | st.integers(0, 400), min_size=1, max_size=max_orders)):
        rows.append((customer_id, day, draw(amounts())))
        day += gap
    return rows


@st.composite
def order_logs(draw: st.DrawFn, *, max_customers: int = 4) -> pl.DataFrame:
    """Draw the orders of a few customers, before and after the cutoff, in any row order."""
    ids = [f"c{i}" for i in range(draw(st.integers(1, max_customers)))]
    rows = [row for customer_id in ids for row in draw(customer_rows(customer_id))]
    return build_orders(draw(st.permutations(rows)))


def later_orders(*, from_day: int = CUTOFF_DAY) -> st.SearchStrategy[pl.DataFrame]:
    """Draw orders at or after a day, of the customers that `order_logs` draws and of new ones."""
    row = st.tuples(st.sampled_from([f"c{i}" for i in range(6)]), st.integers(from_day, from_day + 400), amounts())
    return st.lists(row, min_size=1, max_size=12).map(build_orders)


def rules() -> st.SearchStrategy[StageRule]:
    """Draw stage rules that a shop could learn."""
    return st.builds(
        lambda at_risk, longer, mean_gap, order_days, tenure, gaps: StageRule(
            at_risk_after_days=at_risk,
            lost_after_days=at_risk + longer,
            mean_gap_days=mean_gap,
            loyal_min_order_days=order_days,
            loyal_min_tenure_days=tenure,
            own_rhythm_min_gaps=gaps,
            own_rhythm_min_factor=0.5,
            own_rhythm_max_factor=2.0,
            is_fallback=False,
        ),
        at_risk=st.integers(7, 120),
        longer=st.integers(4, 200),
        mean_gap=st.floats(1.0, 100.0),
        order_days=st.integers(2, 6),
        tenure=st.integers(1, 200),
        gaps=st.integers(1, 4),
    )
