"""Order days: one row per customer and day, with its rhythm."""

import narwhals as nw
import polars as pl

from features.catalogue import MICROS
from features.order_days import build_order_days
from features.snapshot import Snapshot
from tests.histories import build_orders, dated


def _order_days(orders: pl.DataFrame, cutoff_day: int = 20_000) -> pl.DataFrame:
    days: pl.DataFrame = build_order_days(nw.from_native(orders.lazy()), Snapshot(cutoff_day)).collect().to_native()
    return days.sort("customer_id", "day")


def test_by_hand() -> None:
    """Orders of a day count once, and each day carries its position, gap, tenure and value."""
    orders = build_orders([("a", 107, 2 * MICROS), ("a", 100, 5), ("a", 107, 3 * MICROS), ("a", 110, 0), ("b", 107, 1)])
    days = _order_days(orders, cutoff_day=120)
    assert days.drop("is_weekend").to_dicts() == [
        _row("a", 100, value_micros=5, order_index=1, gap_days=None, tenure_days=0),
        _row("a", 107, value_micros=5 * MICROS, order_index=2, gap_days=7, tenure_days=7, n_orders=2),
        _row("a", 110, value_micros=0, order_index=3, gap_days=3, tenure_days=10, is_last=True),
        _row("b", 107, value_micros=1, order_index=1, gap_days=None, tenure_days=0, is_last=True),
    ]


def test_weekend() -> None:
    """Saturday and Sunday are the weekend, Friday and Monday are not."""
    days = _order_days(dated("2024-01-05", "2024-01-06", "2024-01-07", "2024-01-08"))
    assert days["is_weekend"].to_list() == [0, 1, 1, 0]


def _row(customer_id: str, day: int, **values: int | bool | None) -> dict[str, object]:
    return {"customer_id": customer_id, "day": day, "age_days": 120 - day, "n_orders": 1, "is_last": False} | values
