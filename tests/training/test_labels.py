"""Labels: what came within the horizon, by hand."""

import narwhals as nw
import polars as pl
from hypothesis import given, settings

from features.catalogue import MICROS
from features.snapshot import Snapshot
from features.table import build_customer_table
from tests.histories import CUTOFF_DAY, SHOP_RULE, build_orders, later_orders, order_logs
from training.labels import build_labels

SNAPSHOT = Snapshot(CUTOFF_DAY, 90)


def _labels(orders: pl.DataFrame) -> pl.DataFrame:
    return build_labels(nw.from_native(orders.lazy()), SNAPSHOT, rule=SHOP_RULE)


def test_by_hand() -> None:
    """Order days, value and next stage come from the half-open window; who is new in it is no example."""
    orders = [
        ("edges", -1, 5),
        ("edges", 0, 1),
        ("edges", 0, 2),
        ("edges", 89, 4),
        ("edges", 90, 8),
        ("free", -5, 5),
        ("free", 70, 0),
        ("late", -5, 5),
        ("late", 90, 5),
        ("new", 0, 5),
    ]
    labels = _labels(build_orders([(name, CUTOFF_DAY + day, value * MICROS) for name, day, value in orders]))
    assert labels.rows() == [
        ("edges", False, 2, 7.0, "won_back"),
        ("free", False, 1, 0.0, "won_back"),
        ("late", True, 0, 0.0, "lost"),
    ]


@given(order_logs(), later_orders(from_day=CUTOFF_DAY + 90))
@settings(max_examples=30, deadline=None)
def test_horizon_ends(orders: pl.DataFrame, later: pl.DataFrame) -> None:
    """Orders at or after the end of the horizon change no label."""
    known = orders.filter(pl.col("day") < SNAPSHOT.end_day)
    assert _labels(pl.concat([known, later])).equals(_labels(known))


@given(order_logs())
@settings(max_examples=30, deadline=None)
def test_rows(orders: pl.DataFrame) -> None:
    """Labels stand row for row beside the customer table, and churners end where silence leads."""
    table = build_customer_table(nw.from_native(orders.lazy()), SNAPSHOT, rule=SHOP_RULE)
    labels = _labels(orders)
    assert labels["customer_id"].equals(table["customer_id"])
    silent = labels["is_churned"]
    assert labels["next_stage"].filter(silent).to_list() == table["stage_if_silent"].filter(silent).to_list()
    assert (labels["n_order_days"] == 0).equals(silent, check_names=False)
