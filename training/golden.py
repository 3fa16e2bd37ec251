"""Golden rows: made-up order histories whose answers travel in the bundle and must come out the same when it loads."""

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.catalogue import MICROS
from features.errors import BundleError
from features.intake.rules.event_types import load_event_types
from features.lifecycle.segments import SIZES
from features.records import Records
from features.snapshot import Snapshot
from features.table import build_customer_table, features_named
from training.models.contributions import churn_contributions, merge_by_theme
from training.models.lifecycle import Answer, LifecycleModel

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
_NUMBER = pl.int_range(pl.len(), dtype=pl.Int64)


def golden_answers(model: LifecycleModel) -> dict[str, list[float]]:
    """Answer the golden histories from raw orders on, so that features, stages and models are all compared.

    Returns:
        History name → `p_churn`, the same over other horizons, the next-stage vector, `expected_orders`, `clv_12m` and
        its upper bound, RFM code, size, cell and `p_leave_cell`, and what each theme adds to `p_churn`.

    Raises:
        BundleError: If the model answers what is no probability, or no finite number.
    """
    snapshot = Snapshot(_CUTOFF_DAY, model.horizon_days)
    features = features_named(model.features)
    table = build_customer_table(_records(), snapshot, rule=model.stage_rule, features=features)
    answer = model.answer(table)
    _require_probabilities(answer)
    segments = [
        np.array(model.segments.rfm(table), dtype=np.float64),
        np.array([SIZES.index(size) for size in model.segments.size(table)], dtype=np.float64),
    ]
    value = [answer.forecast.expected_orders, answer.forecast.clv_12m, answer.forecast.clv_12m_high]
    cells = [answer.cells.cell, answer.cells.p_leave_cell]
    rows = np.column_stack(
        [
            answer.p_churn,
            answer.p_churn_by_horizon,
            answer.p_next_stage,
            *value,
            *segments,
            *cells,
            *_themes(model, table),
        ]
    )
    _require(bool(np.isfinite(rows).all()), "what is no finite number")
    return {name: row.tolist() for name, row in zip(table["customer_id"], rows, strict=True)}


def _require_probabilities(answer: Answer) -> None:
    forecast = answer.forecast
    given = (
        answer.p_churn,
        answer.p_churn_by_horizon,
        answer.p_next_stage,
        forecast.p_alive,
        answer.cells.p_leave_cell,
    )
    _require(all(bool(((p >= 0.0) & (p <= 1.0)).all()) for p in given), "what is no probability")
    _require(np.allclose(answer.p_next_stage.sum(axis=1), 1.0, rtol=0.0, atol=1e-9), "next stages that do not sum to 1")
    _require(bool((forecast.expected_orders >= 0.0).all()), "fewer orders than none")


def _require(condition: bool, answered: str) -> None:  # noqa: FBT001 - reads as an assertion
    if not condition:
        raise BundleError(f"A model answers {answered}.", remedy="Train again.")


def _themes(model: LifecycleModel, table: pl.DataFrame) -> list[npt.NDArray[np.float64]]:
    """Return what the themes add to the probability of churn, (n, n_themes); nothing where there is no reference."""
    if model.reference is None:
        return []
    return [merge_by_theme(churn_contributions(model, table, model.reference), model)]


def agrees(expected: dict[str, Any], actual: dict[str, list[float]]) -> bool:
    """Tell whether two sets of golden answers are the same but for the last digits of another processor."""
    return expected.keys() == actual.keys() and all(
        len(expected[name]) == len(actual[name])
        and np.allclose(expected[name], actual[name], rtol=_RELATIVE_TOLERANCE, atol=1e-12)
        for name in actual
    )


def _records() -> Records:
    """Build made-up records in which every relation and column has rows, so that every formula is compared."""
    rows = [(name, _CUTOFF_DAY - age, (20 + age % 13) * MICROS) for name, ages in _AGES_DAYS.items() for age in ages]
    rows += [(name, _CUTOFF_DAY - ages[0], 0) for name, ages in _AGES_DAYS.items() if len(ages) > 3]
    rows += [("twice, far apart", _CUTOFF_DAY - 200, 0)]
    orders = pl.DataFrame(rows, schema=["customer_id", "day", "amount_micros"], orient="row").with_columns(
        channel=_cycle("channel", 3), cost_micros=pl.col("amount_micros") // (2 + _NUMBER % 3)
    )
    items = orders.select("customer_id", "day", category=_cycle("category", 4), n_lines=1 + _NUMBER % 3).with_columns(
        quantity_micros=(1 + _NUMBER % 5) * MICROS
    )
    refunds = orders.filter(_NUMBER % 3 == 1).with_columns(order_day="day", taken_micros=pl.col("amount_micros") // 4)
    types = pl.DataFrame({"event_type": list(load_event_types())})
    events = orders.join(types, how="cross", maintain_order="left_right").filter(_NUMBER % 7 < 3)
    return Records.wrap(
        orders, refunds=refunds, items=items, events=events.with_columns(value_micros=_NUMBER % 9 * MICROS)
    )


def _cycle(word: str, n: int) -> pl.Expr:
    return pl.concat_str(pl.lit(word), _NUMBER % n)
