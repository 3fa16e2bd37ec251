"""Scoring: orders in, one score per customer out, for a whole base and for one request alike."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.catalogue import Feature
from features.lifecycle.prospects import build_prospects
from features.lifecycle.segments import SIZES, rfm_codes
from features.lifecycle.stages import STAGES
from features.offers import EVENT, TOLD_BY
from features.records import Records
from features.snapshot import Snapshot, to_date
from features.table import build_customer_table, features_named
from serving.columns import COLUMNS, PROSPECT_SCHEMA, SCORE_SCHEMA
from serving.horizons import Horizons, carry_to_horizons
from serving.reasons import pack_reasons
from serving.score_table import Coded, ScoreTable, Values, repeat, tell_days
from training.bundle import Bundle
from training.models.horizons import HORIZONS_DAYS
from training.models.inputs import read_stage_codes
from training.models.lifecycle import Answer, LifecycleModel
from training.models.next_segment import CellForecast
from training.models.reasons import find_reasons
from training.models.value_terms import YEAR_DAYS

Vector = npt.NDArray[np.float64]

_NULLABLE = frozenset(column.name for column in COLUMNS if column.nullable)
_IS_NEW, _LOST = np.isin(STAGES, ("first_time_buyer", "won_back")), STAGES.index("lost")

FLAGS = {
    "one_order": "one order day only: the answer leans on what such customers do on average",
    "short_history": "the first order is younger than the horizon",
    "no_value": "no repeat order with a value: the order value is the shop's mean",
    "fallback_thresholds": "the shop has too few gaps: stages follow the documented 90/180-day bands",
    "fallback_churn": "the shop has too few churners or returners: churn comes from the purchase process alone",
    "fallback_next_stage": "too few of some stage: the next stage of those who order comes from counted moves",
    "fallback_process": "too few customers came back: orders and value lean on a stated prior",
    "seasonal_shop": "most orders fall into one quarter of the year: silence between two seasons tells next to nothing",
    "small_shop": "fewer customers at training than training.trusted_customers: figures are drawn to simple rules, "
    "and their intervals are wide",
    "short_shop_history": "the shop's history at training was shorter than a year: 12-month values are extrapolated",
    "missing_inputs": "the model reads columns or events that are not known of this customer",
    "no_order_expected": "no next order is likelier than not, or it lies too far ahead to date",
}


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of a base, and what only the whole base can tell.

    Args:
        scores: One row per customer, sorted by `customer_id`, with the columns of `SCORE_SCHEMA`.
        cells: Where they may stand on the grid of RFM group and size; None where there is nobody.
        horizons: What they are expected to do within the horizons asked for; None likewise.
    """

    scores: pl.DataFrame
    cells: CellForecast | None
    horizons: Horizons | None


def score_records(bundle: Bundle, records: Records, *, cutoff_day: int) -> pl.DataFrame:
    """Score every customer with an order before the cutoff; see `score_whole`."""
    return score_whole(bundle, records, cutoff_day=cutoff_day).scores


def score_whole(
    bundle: Bundle,
    records: Records,
    *,
    cutoff_day: int,
    max_reasons: int | None = None,
    horizons_days: Sequence[int] = (),
) -> Scored:
    """Score every customer with an order before the cutoff.

    Args:
        bundle: The model to answer with.
        records: Validated records, of a base or of a request.
        cutoff_day: Day number of the as-of date.
        max_reasons: Give reasons to at most so many, those with the highest value at risk; None for everyone.
        horizons_days: To carry churn and orders to, beside the model's own.
    """
    told = _score(bundle, records, cutoff_day=cutoff_day, max_reasons=max_reasons)
    if told is None:
        return Scored(pl.DataFrame(schema=SCORE_SCHEMA), None, None)
    table, answer = told
    return Scored(table.to_frame(), answer.cells, carry_to_horizons(bundle.model, answer, horizons_days))


def score_rows(
    bundle: Bundle, records: Records, *, cutoff_day: int, horizons_days: Sequence[int] = ()
) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Score the few customers of a request; see `score_whole`.

    Returns:
        Per customer, a row of the score frame, and what is expected within each horizon (see `Horizons.to_rows`).
    """
    told = _score(bundle, records, cutoff_day=cutoff_day, max_reasons=None)
    if told is None:
        return []
    table, answer = told
    horizons = carry_to_horizons(bundle.model, answer, horizons_days)
    return list(zip(table.iterate_rows(), horizons.to_rows(), strict=True))


def _score(
    bundle: Bundle, records: Records, *, cutoff_day: int, max_reasons: int | None
) -> tuple[ScoreTable, Answer] | None:
    """Return the scores and what they were made from; None where there is nobody to score."""
    model = bundle.model
    snapshot = Snapshot(cutoff_day, model.horizon_days)
    features = features_named(model.features)
    table = build_customer_table(records, snapshot, rule=model.stage_rule, features=features)
    if table.is_empty():
        return None
    answer = model.answer(table)
    n, forecast = table.height, answer.forecast
    waits = forecast.next_order
    next_order_days = [_order_days(w, model, cutoff_day) for w in (waits.median_days, waits.low_days, waits.high_days)]
    since, next_on, next_low, next_high = tell_days(table["stage_since_day"].to_numpy(), *next_order_days)
    stage, value = read_stage_codes(answer.seen.inputs), table["historic_value"].to_numpy()
    columns: dict[str, Values] = {
        "customer_id": table["customer_id"],
        "as_of": repeat(to_date(cutoff_day).isoformat(), n),
        "horizon_days": np.full(n, model.horizon_days),
        "model_version": repeat(bundle.manifest.version, n),
        "catalogue_hash": repeat(bundle.manifest.catalogue_hash, n),
        "stage": Coded(STAGES, stage),
        "stage_since": since,
        "p_churn": answer.p_churn,
        **{f"p_churn_{days}d": answer.p_churn_by_horizon[:, i] for i, days in enumerate(HORIZONS_DAYS)},
        "p_alive": forecast.p_alive,
        **_next_stages(answer, model),
        "p_second_purchase": np.where(_IS_NEW[stage], 1.0 - answer.p_churn, np.nan),
        "p_reactivation": np.where(stage == _LOST, 1.0 - answer.p_churn, np.nan),
        "expected_orders": forecast.expected_orders,
        "expected_order_value": forecast.expected_order_value,
        "next_order_on": next_on,
        "next_order_on_low": next_low,
        "next_order_on_high": next_high,
        "historic_value": value,
        "clv_12m": forecast.clv_12m,
        "clv_12m_low": forecast.clv_12m_low,
        "clv_12m_high": forecast.clv_12m_high,
        "clv_12m_sd": forecast.clv_12m_sd,
        "clv_by_month": forecast.clv_by_month,
        "total_value": value * model.terms.margin + forecast.clv_12m,
        "residual_value": forecast.residual_value,
        "rfm": Coded(rfm_codes(model.segments.bins), model.segments.code_numbers(table)),
        "size": Coded(SIZES, answer.cells.cell % len(SIZES)),
        "rfm_group": Coded(model.next_segment.groups, answer.cells.cell // len(SIZES)),
        "p_leave_cell": answer.cells.p_leave_cell,
        "value_at_risk": answer.p_churn * forecast.clv_12m,
        "reasons": _reasons(model, answer, most=max_reasons),
        "flags": _flags(table, model, next_order_days[0], lacks_events=_lacks_events(features, records)),
    }
    return ScoreTable(columns, SCORE_SCHEMA, _NULLABLE), answer


def score_prospects(bundle: Bundle, records: Records, *, cutoff_day: int) -> pl.DataFrame:
    """Score everybody whom the shop knows or has seen, and who has not ordered.

    Returns:
        One row per person, sorted by `person_id`, with the columns of `PROSPECT_SCHEMA`; none where the model knows
        nothing of prospects, or the records hold none. Stages that training could not observe are not guessed at.
    """
    model = bundle.model
    if model.prospects is None:
        return pl.DataFrame(schema=PROSPECT_SCHEMA)
    rule = model.prospects.rule
    found = build_prospects(records, Snapshot(cutoff_day, model.horizon_days), rule=rule)
    prospects = model.prospects.predict(found.filter(pl.col("stage").is_in(rule.observable)))
    return prospects.select(
        "person_id",
        pl.col("is_visitor").cast(pl.Int64),
        as_of=pl.lit(to_date(cutoff_day).isoformat()),
        horizon_days=pl.lit(model.horizon_days, pl.Int64),
        model_version=pl.lit(bundle.manifest.version),
        catalogue_hash=pl.lit(bundle.manifest.catalogue_hash),
        stage="stage",
        stage_since=tell_days(prospects["stage_since_day"].to_numpy())[0].to_series(),
        p_first_purchase="p_first_purchase",
        p_registration="p_registration",
        expected_value=pl.col("p_first_purchase") * model.new_customer_value,
    )


def _reasons(model: LifecycleModel, answer: Answer, *, most: int | None) -> list[str | None]:
    """Return the reasons of those with the most value at risk as JSON text, and None for the others."""
    packed: dict[int, str] = {}
    if model.reference is not None:
        rows = np.sort(np.argsort(-answer.p_churn * answer.forecast.clv_12m, kind="stable")[:most])
        found = find_reasons(model, answer.seen.take(rows), model.reference)
        packed = dict(zip(rows.tolist(), map(pack_reasons, found), strict=True))
    return [packed.get(row) for row in range(answer.p_churn.size)]


def _next_stages(answer: Answer, model: LifecycleModel) -> dict[str, Vector]:
    """Return P(next stage) by column; NaN where the data that training saw cannot show the stage."""
    observable, none = model.stage_rule.observable, np.full(answer.p_churn.size, np.nan)
    return {f"p_next_{s}": answer.p_next_stage[:, i] if s in observable else none for i, s in enumerate(STAGES)}


def _order_days(wait_days: Vector, model: LifecycleModel, cutoff_day: int) -> Vector:
    """Return the day numbers of waits; NaN where there is none, or it lies too far ahead to date."""
    wait = np.maximum(np.ceil(wait_days), 1.0)
    return np.where(wait <= model.value.next_order_max_days, wait + cutoff_day, np.nan)


def shop_flags(model: LifecycleModel) -> list[str]:
    """Return the flags of a shop as a whole: every score of the model has them."""
    return [code for code, holds in _shop_conditions(model).items() if holds]


def _shop_conditions(model: LifecycleModel) -> dict[str, bool]:
    return {
        "fallback_thresholds": model.stage_rule.is_fallback,
        "fallback_churn": model.churn.trees is None,
        "fallback_next_stage": model.next_stage.trees is None,
        "fallback_process": model.process.is_fallback,
        "seasonal_shop": model.process.habits.is_seasonal,
        "small_shop": model.process.is_small,
        "short_shop_history": model.process.spread.history_days < YEAR_DAYS,
    }


def _flags(table: pl.DataFrame, model: LifecycleModel, next_order_day: Vector, *, lacks_events: bool) -> Coded:
    conditions = {
        "one_order": table["frequency"].to_numpy() == 0.0,
        "short_history": table["T_days"].to_numpy() < model.horizon_days,
        "no_value": ~(table["monetary_value"].to_numpy() > 0.0),
        **_shop_conditions(model),
        "missing_inputs": np.logical_or.reduce(_unknown(table, model), axis=0, initial=lacks_events),
        "no_order_expected": np.isnan(next_order_day),
    }
    numbers = np.zeros(table.height, dtype=np.int64)
    for i, condition in enumerate(conditions.values()):
        numbers += np.multiply(condition, 1 << i)
    sets, which = np.unique(numbers, return_inverse=True)
    texts = [",".join(code for i, code in enumerate(conditions) if number >> i & 1) for number in sets.tolist()]
    return Coded(texts, which)


def _unknown(table: pl.DataFrame, model: LifecycleModel) -> npt.NDArray[np.bool_]:
    """Return, for each column that the model reads, whether nothing of it is known of a customer: (n_columns, n)."""
    telling = [feature for feature in TOLD_BY.values() if feature in model.features]
    unknown = np.ones((len(telling), table.height), dtype=np.bool_)
    for row, name in enumerate(telling):
        if name in table.columns:
            unknown[row] = np.isnan(table[name].to_numpy())
    return unknown


def _lacks_events(features: Iterable[Feature], records: Records) -> bool:
    return records.events is None and any(need.startswith(EVENT) for feature in features for need in feature.needs)
