"""Score rows written by hand: data for tests of what happens to scores after they were computed."""

from dataclasses import asdict
from datetime import datetime
from itertools import groupby, product
from typing import Any

import numpy as np
import polars as pl

from features.lifecycle.metric_sheet import METRICS, SHEET_SCHEMA
from features.lifecycle.segments import SIZES, Segments
from features.lifecycle.stages import PROSPECT_STAGES, STAGES
from features.lifecycle.vocabularies import Wording, load_shipped_vocabulary
from serving.batch import Publication
from serving.columns import PROSPECT_SCHEMA, SCORE_SCHEMA
from serving.lifecycle_map import build_lifecycle_map
from serving.reports import LIFECYCLE_MAP, METRIC_SHEET, RFM, SEGMENTS, VALUE_SPREAD
from serving.rfm_grid import build_rfm_grid
from serving.store.score_store import RunInfo, ScoreStore
from tests.histories import SHOP_RULE

WORDING = Wording(load_shipped_vocabulary("lifestage"), "en")
FIFTHS = Segments((15.0, 30.0, 60.0, 90.0), (0.0, 1.0, 3.0, 6.0), (20.0, 50.0, 99.0, 200.0), 50.0, 150.0)
COMMON_ERROR, COVERAGE = 0.1, 0.8
_GROUPS = load_shipped_vocabulary("shopify_rfm")


def build_row(customer_id: str, **changes: Any) -> dict[str, Any]:
    """Build one coherent score row, with changes."""
    row: dict[str, Any] = {
        "customer_id": customer_id,
        "as_of": "1998-01-01",
        "horizon_days": 90,
        "model_version": "v1",
        "catalogue_hash": "c1",
        "stage": "repeat",
        "stage_since": "1997-10-01",
        "p_churn": 0.25,
        "p_churn_30d": 0.5,
        "p_churn_90d": 0.25,
        "p_churn_180d": 0.125,
        "p_alive": 0.9,
        **{f"p_next_{stage}": float(stage == "repeat") for stage in STAGES},
        "p_second_purchase": None,
        "p_reactivation": None,
        "expected_orders": 1.5,
        "expected_order_value": 20.0,
        "next_order_on": None,
        "next_order_on_low": None,
        "next_order_on_high": None,
        "historic_value": 100.0,
        "clv_12m": 120.0,
        "clv_12m_low": 60.0,
        "clv_12m_high": 200.0,
        "clv_12m_sd": 50.0,
        "clv_by_month": [10.0] * 12,
        "total_value": 220.0,
        "residual_value": 300.0,
        "rfm": "543",
        "size": "medium",
        "rfm_group": _GROUPS.group_of(changes.get("rfm", "543")),
        "p_leave_cell": 0.0,
        "value_at_risk": 30.0,
        "reasons": None,
        "flags": "",
    }
    return {**row, **changes}


def build_frame(*rows: dict[str, Any]) -> pl.DataFrame:
    """Build a score frame of rows."""
    return pl.DataFrame(rows, schema=SCORE_SCHEMA)


def build_customers(count: int, **changes: Any) -> pl.DataFrame:
    """Build a frame of customers c0, c1, … whose values at risk fall in pairs of equals."""
    return build_frame(*(build_row(f"c{i}", value_at_risk=float(100 - i // 2), **changes) for i in range(count)))


def build_prospect(person_id: str, **changes: Any) -> dict[str, Any]:
    """Build one coherent row of a prospect, with changes."""
    row: dict[str, Any] = {
        "person_id": person_id,
        "is_visitor": 0,
        "as_of": "1998-01-01",
        "horizon_days": 90,
        "model_version": "v1",
        "catalogue_hash": "c1",
        "stage": "prospect_cold",
        "stage_since": "1997-12-01",
        "p_first_purchase": 0.25,
        "p_registration": None,
        "expected_value": 15.0,
    }
    return {**row, **changes}


def build_prospects(*rows: dict[str, Any]) -> pl.DataFrame:
    """Build a frame of prospects."""
    return pl.DataFrame(rows, schema=PROSPECT_SCHEMA)


def describe(scores: pl.DataFrame, prospects: pl.DataFrame) -> dict[str, Any]:
    """Build the reports of rows written by hand: a shop in which nobody moves, and of which no metric is known."""
    by_code = groupby(sorted(_GROUPS.groups or {}, key=_GROUPS.group_of), key=_GROUPS.group_of)
    groups = {group: tuple(sorted(codes, reverse=True)) for group, codes in by_code}
    cells = list(product(groups, SIZES))
    held = {cell: scores.filter(rfm_group=cell[0], size=cell[1])["historic_value"] for cell in cells}
    lifecycle_map = build_lifecycle_map(
        scores,
        prospects,
        rule=SHOP_RULE,
        stages_before=scores.select("customer_id", "stage"),
        observed_from="1997-10-03",
        prospect_stages=() if prospects.is_empty() else PROSPECT_STAGES,
    )
    grid = build_rfm_grid(
        scores,
        groups=groups,
        customer_flows=np.diag([float(values.len()) for values in held.values()]),
        value_flows=np.diag([float(values.sum()) for values in held.values()]),
        thresholds=FIFTHS.thresholds(),
        as_of="1998-01-01",
        horizon_days=90,
    )
    unknown = dict.fromkeys(SHEET_SCHEMA, "") | {"numerator": None, "denominator": None, "value": None}
    told = {"slice_kind": "all", "slice": "all", "status": "not observable"}
    sheet = [{**unknown, **told, "metric": metric.name, "unit": metric.unit} for metric in METRICS]
    return {
        LIFECYCLE_MAP: asdict(lifecycle_map),
        RFM: {"bins": FIFTHS.bins},
        VALUE_SPREAD: {"common_error": COMMON_ERROR, "interval_coverage": COVERAGE},
        SEGMENTS: asdict(grid),
        METRIC_SHEET: sheet,
    }


def build_publication(scores: pl.DataFrame, prospects: pl.DataFrame | None = None) -> Publication:
    """Build all that a run publishes, of rows written by hand."""
    known = build_prospects() if prospects is None else prospects
    return Publication(scores, known, describe(scores, known))


def publish_rows(
    store: ScoreStore,
    scores: pl.DataFrame,
    prospects: pl.DataFrame | None = None,
    *,
    published_at: datetime,
    keep_runs: int,
) -> RunInfo:
    """Publish rows written by hand, with their reports."""
    made = build_publication(scores, prospects)
    return store.publish(
        made.scores, published_at=published_at, keep_runs=keep_runs, prospects=made.prospects, reports=made.reports
    )
