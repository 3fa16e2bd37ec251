"""Golden rows: made-up order histories whose answers travel in the bundle and must come out the same when it loads."""

from typing import Any

import narwhals as nw
import numpy as np
import polars as pl

from features.catalogue import MICROS
from features.lifecycle.segments import SIZES
from features.snapshot import Snapshot
from features.table import build_customer_table
from training.models.lifecycle import LifecycleModel

_CUTOFF_DAY = 10_000
_AGES_DAYS: dict[str, tuple[int, ...]] = {
    "one order, yesterday": (1,),
    "one order, half a year ago": (180,),
    "one order, three years ago": (1095,),
    "monthly": tuple(range(10, 400, 30)),
    "monthly, then silence": tuple(range(200, 560, 30)),
    "twice, far apart": (20, 420),
    "back after a long silence": (5, 700, 720),
    "weekly": tuple(range(3, 180, 7)),
}
_RELATIVE_TOLERANCE = 1e-9


def golden_answers(model: LifecycleModel) -> dict[str, list[float]]:
    """Answer the golden histories from raw orders on, so that features, stages and models are all compared.

    Returns:
        History name → `p_churn`, the next-stage vector, `expected_orders`, `clv_12m`, RFM code and size.
    """
    snapshot = Snapshot(_CUTOFF_DAY, model.horizon_days)
    table = build_customer_table(nw.from_native(_orders()).lazy(), snapshot, rule=model.stage_rule)
    answer = model.answer(table)
    segments = [
        np.array(model.segments.rfm(table), dtype=np.float64),
        np.array([SIZES.index(size) for size in model.segments.size(table)], dtype=np.float64),
    ]
    value = [answer.forecast.expected_orders, answer.forecast.clv_12m]
    rows = np.column_stack([answer.p_churn, answer.p_next_stage, *value, *segments])
    return {name: row.tolist() for name, row in zip(table["customer_id"], rows, strict=True)}


def agrees(expected: dict[str, Any], actual: dict[str, list[float]]) -> bool:
    """Tell whether two sets of golden answers are the same but for the last digits of another processor."""
    return expected.keys() == actual.keys() and all(
        len(expected[name]) == len(actual[name])
        and np.allclose(expected[name], actual[name], rtol=_RELATIVE_TOLERANCE, atol=1e-12)
        for name in actual
    )


def _orders() -> pl.DataFrame:
    rows = [(name, _CUTOFF_DAY - age, (20 + age % 13) * MICROS) for name, ages in _AGES_DAYS.items() for age in ages]
    return pl.DataFrame(
        rows, schema={"customer_id": pl.String, "day": pl.Int64, "amount_micros": pl.Int64}, orient="row"
    )
