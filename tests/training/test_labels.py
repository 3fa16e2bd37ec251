"""Labels: what came within the horizon, by hand."""

import polars as pl
from hypothesis import given, settings

from features.catalogue import MICROS
from features.snapshot import Snapshot
from features.table import build_customer_table
from tests.histories import (
    CUTOFF_DAY,
    SHOP_RULE,
    Shop,
    build_orders,
    build_records,
    build_shop,
    later_orders,
    later_shops,
    order_logs,
    shops,
)
from training.labels import build_labels

SNAPSHOT = Snapshot(CUTOFF_DAY, 90)


def _labels(shop: Shop | pl.DataFrame) -> pl.DataFrame:
    return build_labels(build_records(shop), SNAPSHOT, rule=SHOP_RULE)


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


def test_refunds() -> None:
    """The value is net of what was refunded, within the horizon, of what was ordered within it; an order stays one."""
    orders = [
        *(("part", -10, 30), ("part", 5, 20)),
        *(("whole", -10, 30), ("whole", 5, 20), ("whole", 40, 7)),
        *(("earlier", -10, 30), ("earlier", 5, 20)),
        *(("too late", -10, 30), ("too late", 5, 20)),
        *(("unmatched", -10, 30), ("unmatched", 5, 20)),
        ("silent", -10, 30),
    ]
    refunds = [
        ("part", 89, 5, 4),
        ("whole", 6, 5, 20),
        ("earlier", 6, -10, 30),
        ("too late", 90, 5, 20),
        ("unmatched", 6, None, 20),
        ("silent", 6, -10, 30),
    ]
    shop = build_shop(
        {
            "orders": [(name, CUTOFF_DAY + day, value * MICROS, None, None) for name, day, value in orders],
            "refunds": [
                (
                    name,
                    CUTOFF_DAY + day,
                    None if order_day is None else CUTOFF_DAY + order_day,
                    value * MICROS,
                    0 if order_day is None else value * MICROS,
                )
                for name, day, order_day, value in refunds
            ],
        }
    )
    told = {
        name: rest for name, *rest in _labels(shop).select("customer_id", "is_churned", "n_order_days", "value").rows()
    }
    assert told == {
        "earlier": [False, 1, 20.0],
        "part": [False, 1, 16.0],
        "silent": [True, 0, 0.0],
        "too late": [False, 1, 20.0],
        "unmatched": [False, 1, 20.0],
        "whole": [False, 2, 7.0],
    }


@given(shops(), later_shops(from_day=CUTOFF_DAY + 90))
@settings(deadline=None)
def test_horizon_ends_for_all(shop: Shop, later: Shop) -> None:
    """Orders, refunds, items and events at or after the end of the horizon change no label."""
    known = {name: rows.filter(pl.col("day") < SNAPSHOT.end_day) for name, rows in shop.items()}
    grown = {name: pl.concat([later[name], rows]) for name, rows in shop.items()}
    assert _labels(grown).equals(_labels(known))


@given(shops())
@settings(deadline=None)
def test_only_value_is_net(shop: Shop) -> None:
    """Refunds lower values, never below nothing, and change no other label."""
    gross, net = _labels(shop["orders"]), _labels(shop)
    assert net.drop("value").equals(gross.drop("value"))
    assert net.select((pl.col("value") >= 0) & (pl.col("value") <= gross["value"])).to_series().all()


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
    table = build_customer_table(build_records(orders), SNAPSHOT, rule=SHOP_RULE)
    labels = _labels(orders)
    assert labels["customer_id"].equals(table["customer_id"])
    silent = labels["is_churned"]
    assert labels["next_stage"].filter(silent).to_list() == table["stage_if_silent"].filter(silent).to_list()
    assert (labels["n_order_days"] == 0).equals(silent, check_names=False)
