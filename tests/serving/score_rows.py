"""Score rows written by hand: data for tests of what happens to scores after they were computed."""

from typing import Any

import polars as pl

from features.lifecycle.stages import STAGES
from serving.columns import SCORE_SCHEMA


def build_row(customer_id: str, **changes: Any) -> dict[str, Any]:
    """Build one coherent score row, with changes."""
    row: dict[str, Any] = {
        "customer_id": customer_id,
        "as_of": "1998-01-01",
        "horizon_days": 90,
        "model_version": "v1",
        "stage": "repeat",
        "stage_since": "1997-10-01",
        "p_churn": 0.25,
        "p_alive": 0.9,
        **{f"p_next_{stage}": float(stage == "repeat") for stage in STAGES},
        "expected_orders": 1.5,
        "expected_order_value": 20.0,
        "next_order_on": None,
        "historic_value": 100.0,
        "clv_12m": 120.0,
        "clv_12m_low": 60.0,
        "clv_12m_high": 200.0,
        "clv_by_month": [10.0] * 12,
        "rfm": "543",
        "size": "medium",
        "value_at_risk": 30.0,
        "flags": "",
    }
    return {**row, **changes}


def build_frame(*rows: dict[str, Any]) -> pl.DataFrame:
    """Build a score frame of rows."""
    return pl.DataFrame(rows, schema=SCORE_SCHEMA)


def build_customers(count: int, **changes: Any) -> pl.DataFrame:
    """Build a frame of customers c0, c1, … whose values at risk fall in pairs of equals."""
    return build_frame(*(build_row(f"c{i}", value_at_risk=float(100 - i // 2), **changes) for i in range(count)))
