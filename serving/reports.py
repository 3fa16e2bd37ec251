"""What is published beside the scores of a run: the lifecycle map, the grid of segments, and the metric sheet."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from typing import Any

import polars as pl

from features.intake.shop import Shop
from features.lifecycle.metric_sheet import build_metric_sheet
from features.settings import LifecycleSettings
from features.snapshot import Snapshot, to_date, to_day
from features.table import build_stage_tables
from serving.lifecycle_map import build_lifecycle_map
from serving.rfm_grid import build_rfm_grid
from serving.scoring import Scored, shop_flags
from training.models.lifecycle import LifecycleModel

LIFECYCLE_MAP, SEGMENTS, METRIC_SHEET, RFM = "lifecycle_map", "segments", "metric_sheet", "rfm"
VALUE_SPREAD, FLAGS = "value_spread", "flags"


def build_reports(
    shop: Shop,
    scored: Scored,
    prospects: pl.DataFrame,
    *,
    model: LifecycleModel,
    as_of: date,
    settings: LifecycleSettings,
) -> dict[str, Any]:
    """Build all reports of a run: name → JSON values."""
    return {
        LIFECYCLE_MAP: _describe_stages(shop, scored, prospects, model=model, as_of=as_of),
        RFM: {"bins": model.segments.bins},
        VALUE_SPREAD: {
            "common_error": model.process.spread.common_error,
            "interval_coverage": model.value.interval_coverage,
        },
        FLAGS: shop_flags(model),
        SEGMENTS: _describe_segments(scored, model=model, as_of=as_of),
        METRIC_SHEET: _describe_metrics(shop, scored, model=model, as_of=as_of, settings=settings),
    }


def _describe_stages(
    shop: Shop, scored: Scored, prospects: pl.DataFrame, *, model: LifecycleModel, as_of: date
) -> Mapping[str, Any]:
    before = Snapshot(to_day(as_of) - model.horizon_days)
    [stages_before] = build_stage_tables(shop.records, [before], rule=model.stage_rule)
    lifecycle_map = build_lifecycle_map(
        scored.scores,
        prospects,
        rule=model.stage_rule,
        stages_before=stages_before.select("customer_id", "stage"),
        observed_from=to_date(before.cutoff_day).isoformat(),
        prospect_stages=_observable_prospects(shop, model),
    )
    return asdict(lifecycle_map)


def _observable_prospects(shop: Shop, model: LifecycleModel) -> tuple[str, ...]:
    """Return the stages before the first order that training could see, where these records hold contacts too."""
    has_contacts = shop.records.contacts is not None
    return model.prospects.rule.observable if model.prospects is not None and has_contacts else ()


def _describe_segments(scored: Scored, *, model: LifecycleModel, as_of: date) -> Mapping[str, Any]:
    assert scored.cells is not None  # noqa: S101 - a base without customers is refused before it is scored
    grid = build_rfm_grid(
        scored.scores,
        groups=model.next_segment.codes_by_group(),
        customer_flows=scored.cells.flows(),
        value_flows=scored.cells.flows(scored.scores["historic_value"].to_numpy()),
        thresholds=model.segments.thresholds(),
        as_of=as_of.isoformat(),
        horizon_days=model.horizon_days,
    )
    return asdict(grid)


def _describe_metrics(
    shop: Shop, scored: Scored, *, model: LifecycleModel, as_of: date, settings: LifecycleSettings
) -> list[dict[str, Any]]:
    sheet = build_metric_sheet(
        shop.records,
        Snapshot(to_day(as_of)),
        period_days=settings.metrics_period_days,
        costs=None if shop.events is None else shop.events.marketing_costs.pl(),
        customers=scored.scores.select("customer_id", "stage", "clv_12m"),
        followers=settings.followers or None,
        years=settings.simple_clv_years,
        margin=model.value.margin,
    )
    return sheet.to_dicts()
