"""Scoring: one coherent answer per customer, from the past alone, for a base as for one request."""

import warnings
from dataclasses import replace
from itertools import pairwise
from math import nan
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from features.catalogue import MICROS
from features.lifecycle.stages import STAGES
from features.records import Records
from features.snapshot import Snapshot, to_date
from features.table import build_customer_table
from serving.columns import COLUMNS, SCORE_SCHEMA
from serving.scoring import FLAGS, score_records
from tests.histories import CUTOFF_DAY, build_orders, later_orders, one_customer, order_logs
from training.bundle import Bundle
from training.models.bg_nbd import BgNbd
from training.models.churn import ChurnModel
from training.models.inputs import model_inputs, purchase_summary, stage_codes

DATES = ("next_order_on_low", "next_order_on", "next_order_on_high")
P_NEXT = [f"p_next_{stage}" for stage in STAGES]


@pytest.fixture(scope="module")
def scores(bundle: Bundle, cdnow_orders: pl.DataFrame, end_day: int) -> pl.DataFrame:
    """Scores of the shared orders at the end of the log."""
    return _score(bundle, cdnow_orders, cutoff_day=end_day)


@pytest.fixture(scope="module")
def table(bundle: Bundle, cdnow_orders: pl.DataFrame, end_day: int) -> pl.DataFrame:
    """The customer table behind the scores."""
    snapshot = Snapshot(end_day, bundle.model.horizon_days)
    return build_customer_table(Records.wrap(cdnow_orders), snapshot, rule=bundle.model.stage_rule)


@given(order_logs(), later_orders())
@settings(max_examples=100, deadline=None)
def test_no_leakage(bundle: Bundle, orders: pl.DataFrame, later: pl.DataFrame) -> None:
    """Orders at or after the as-of date, in any row order, leave every score byte-identical."""
    history = orders.filter(pl.col("day") < CUTOFF_DAY)
    grown = pl.concat([later, orders.reverse()])
    before = _score(bundle, history, cutoff_day=CUTOFF_DAY)
    assert _bytes(_score(bundle, grown, cutoff_day=CUTOFF_DAY)) == _bytes(before)
    _assert_coherent(before)


def test_no_leakage_base(
    bundle: Bundle, engine: duckdb.DuckDBPyConnection, cdnow_orders: pl.DataFrame, end_day: int
) -> None:
    """A whole base in DuckDB, from two files, scores in the past as if the later orders did not exist."""
    cutoff_day = end_day - 200
    halves = [engine.from_arrow(half.to_arrow()) for half in (cdnow_orders[1::2], cdnow_orders[::2].reverse())]
    known = cdnow_orders.filter(pl.col("day") < cutoff_day)
    scored = _score(bundle, halves[0].union(halves[1]), cutoff_day=cutoff_day)
    assert _bytes(scored) == _bytes(_score(bundle, known, cutoff_day=cutoff_day))


def test_batch_is_request(
    bundle: Bundle,
    engine: duckdb.DuckDBPyConnection,
    cdnow_orders: pl.DataFrame,
    end_day: int,
    scores: pl.DataFrame,
) -> None:
    """A customer scored alone from a request has the very score of the batch in DuckDB."""
    batch = _score(bundle, engine.from_arrow(cdnow_orders.to_arrow()), cutoff_day=end_day)
    assert _bytes(batch) == _bytes(scores)
    for customer_id in scores["customer_id"].gather_every(40).to_list():
        alone = _score(bundle, cdnow_orders.filter(pl.col("customer_id") == customer_id), cutoff_day=end_day)
        assert _bytes(alone) == _bytes(batch.filter(pl.col("customer_id") == customer_id))


def test_coherent(scores: pl.DataFrame) -> None:
    """Every scored row of a real base keeps the identities of the one answer."""
    assert scores.height > 1000
    _assert_coherent(scores)


def test_silent_branch(bundle: Bundle, scores: pl.DataFrame, table: pl.DataFrame) -> None:
    """What the order branch leaves of the next stage is p_churn, all of it at the stage that silence leads to."""
    codes = stage_codes(table["stage"])
    given_order = bundle.model.next_stage.p_given_order(
        model_inputs(table, bundle.model.features), codes, bundle.model.is_reachable(table)
    )
    p_churn = scores["p_churn"].to_numpy()
    rest = scores.select(P_NEXT).fill_null(0.0).to_numpy() - (1.0 - p_churn)[:, None] * given_order
    expected = np.zeros_like(rest)
    expected[np.arange(scores.height), stage_codes(table["stage_if_silent"])] = p_churn
    np.testing.assert_allclose(rest, expected, rtol=0, atol=1e-12)


def test_expected_orders(bundle: Bundle, scores: pl.DataFrame, table: pl.DataFrame) -> None:
    """Expected orders are (1 − p_churn) times MBG/NBD's orders given at least one, in lifetimes' closed form."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lifetimes import ModifiedBetaGeoFitter
    timing, summary, horizon = bundle.model.process.timing, purchase_summary(table), bundle.model.horizon_days
    unit = timing.to_dict()["time_unit_days"]
    fitter = ModifiedBetaGeoFitter()
    fitter.params_ = {name: getattr(timing, name) for name in ("r", "alpha", "a", "b")}
    expected = fitter.conditional_expected_number_of_purchases_up_to_time(
        horizon / unit, summary.frequency, summary.recency_days / unit, summary.T_days / unit
    )
    if_any = np.asarray(expected) / (1.0 - timing.p_no_order(summary, horizon_days=horizon))
    np.testing.assert_allclose(
        scores["expected_orders"].to_numpy(), (1.0 - scores["p_churn"].to_numpy()) * if_any, rtol=1e-6
    )


def test_one_time_buyers(bundle: Bundle, cdnow_orders: pl.DataFrame, end_day: int) -> None:
    """One-time buyers churn as often as they are said to, where 1 − p_alive of BG/NBD says that none does."""
    cutoff_day = end_day - bundle.model.horizon_days
    scored = _score(bundle, cdnow_orders, cutoff_day=cutoff_day)
    came = cdnow_orders.filter(pl.col("day") >= cutoff_day)["customer_id"].unique().implode()
    once = scored.filter(pl.col("flags").str.contains("one_order")).with_columns(
        is_churned=~pl.col("customer_id").is_in(came)
    )
    assert once.height > 300
    p_churn = once["p_churn"].to_numpy()
    assert p_churn.min() > 0.3
    assert p_churn.mean() == pytest.approx(once["is_churned"].to_numpy().mean(), abs=0.08)
    assert np.unique(p_churn).size > 50


def test_columns(scores: pl.DataFrame, bundle: Bundle, end_day: int) -> None:
    """Scores have the public columns in their order, name their model and date, and lack only what may be lacking."""
    assert scores.schema == SCORE_SCHEMA
    lacking = {column.name for column in COLUMNS if scores[column.name].null_count()}
    assert lacking <= {*DATES, "p_next_ambassador", "p_second_purchase", "p_reactivation", "reasons"}
    assert lacking <= {column.name for column in COLUMNS if column.nullable}
    assert scores.select("as_of", "horizon_days", "model_version").unique().rows() == [
        (to_date(end_day).isoformat(), 90, bundle.manifest.version)
    ]
    assert scores["customer_id"].is_sorted()


def test_not_observable(bundle: Bundle, scores: pl.DataFrame) -> None:
    """Orders alone show no ambassador: nobody is one, no chance of it is told, and the other stages sum to 1."""
    assert bundle.model.stage_rule.observable == STAGES[:-1]
    assert "ambassador" not in scores["stage"]
    assert scores["p_next_ambassador"].is_null().all()
    np.testing.assert_allclose(scores.select(P_NEXT[:-1]).to_numpy().sum(axis=1), 1.0, rtol=0, atol=1e-12)


def test_stage_questions(scores: pl.DataFrame) -> None:
    """First-time and won-back buyers are told of a second purchase, the lost of a return: both are 1 − p_churn."""
    p_order = 1.0 - scores["p_churn"]
    told = {"p_second_purchase": ("first_time_buyer", "won_back"), "p_reactivation": ("lost",)}
    for name, stages in told.items():
        concerned = scores["stage"].is_in(stages)
        assert concerned.any() or name == "p_second_purchase"
        assert scores[name].is_not_null().equals(concerned.alias(name))
        assert scores[name].drop_nulls().equals(p_order.filter(concerned).alias(name))


def test_empty(bundle: Bundle, engine: duckdb.DuckDBPyConnection) -> None:
    """Nobody with history gives no scores, of the same columns."""
    orders = one_customer(CUTOFF_DAY)
    for frame in (orders, orders.clear(), engine.from_arrow(orders.to_arrow())):
        scored = _score(bundle, frame, cutoff_day=CUTOFF_DAY)
        assert scored.is_empty()
        assert scored.schema == SCORE_SCHEMA


def test_flags(bundle: Bundle) -> None:
    """Flags say what to know about a score, and each is explained."""
    orders = build_orders(
        [
            ("free", CUTOFF_DAY - 300, 0),
            ("free", CUTOFF_DAY - 10, 0),
            ("gone", CUTOFF_DAY - 3000, MICROS),
            ("new", CUTOFF_DAY - 1, MICROS),
            ("plain", CUTOFF_DAY - 300, MICROS),
            ("plain", CUTOFF_DAY - 10, MICROS),
        ]
    )
    flags = dict(_score(bundle, orders, cutoff_day=CUTOFF_DAY).select("customer_id", "flags").rows())
    found = {name: set(filter(None, codes.split(","))) - {"no_order_expected"} for name, codes in flags.items()}
    assert found == {
        "free": {"no_value"},
        "gone": {"one_order", "no_value"},
        "new": {"one_order", "short_history", "no_value"},
        "plain": set(),
    }
    assert "no_order_expected" in flags["gone"]
    assert set(",".join(flags.values()).split(",")) - {""} <= set(FLAGS)


def test_terms(bundle: Bundle, cdnow_orders: pl.DataFrame, end_day: int, scores: pl.DataFrame) -> None:
    """Margin counts in past and future value alike, service costs the future, and no discount leaves it endless."""
    terms = bundle.model.value.model_copy(
        update={"margin": 0.5, "annual_service_cost": 60.0, "annual_discount_rate": 0.0}
    )
    other = Bundle(bundle.manifest, replace(bundle.model, value=terms))
    scored = _score(other, cdnow_orders, cutoff_day=end_day)
    total = 0.5 * scored["historic_value"] + scored["clv_12m"]
    np.testing.assert_allclose(scored["total_value"].to_numpy(), total.to_numpy(), rtol=1e-12)
    assert scored["residual_value"].null_count() == scored.height
    assert scores["residual_value"].null_count() == 0
    assert (scored["clv_12m"] < 0).any()


def test_daily_orders(bundle: Bundle) -> None:
    """Whoever orders many times a day by the model is expected after the as-of date all the same."""
    process = replace(bundle.model.process, timing=BgNbd(r=20.0, alpha=1.0, a=0.01, b=10.0, time_unit_days=1.0))
    churn = ChurnModel(None, 1.0)
    eager = Bundle(bundle.manifest, replace(bundle.model, process=process, churn=churn))
    _assert_coherent(_score(eager, one_customer(*range(CUTOFF_DAY - 10, CUTOFF_DAY)), cutoff_day=CUTOFF_DAY))


def _score(bundle: Bundle, orders: pl.DataFrame | duckdb.DuckDBPyRelation, *, cutoff_day: int) -> pl.DataFrame:
    return score_records(bundle, Records.wrap(orders), cutoff_day=cutoff_day)


def _assert_coherent(scores: pl.DataFrame) -> None:
    partial = ("p_next_ambassador", "p_second_purchase", "p_reactivation", "residual_value")
    numbers = scores.select(pl.selectors.float() - pl.selectors.by_name(partial)).fill_null(nan).to_numpy()
    assert np.isfinite(numbers).all()
    months = np.array(scores["clv_by_month"].to_list()).reshape(-1, 12)
    assert np.isfinite(months).all()
    column: dict[str, Any] = {
        name: scores[name].to_numpy() for name in scores.columns if scores[name].dtype == pl.Float64
    }
    p_next = scores.select(P_NEXT).fill_null(0.0).to_numpy()
    given = scores.select(pl.coalesce("p_second_purchase", "p_reactivation", 1.0 - pl.col("p_churn"))).to_numpy()
    np.testing.assert_array_equal(given[:, 0], 1.0 - column["p_churn"])
    for p in (column["p_churn"], column["p_alive"], column["p_leave_cell"], p_next):
        assert ((p >= 0.0) & (p <= 1.0)).all()
    np.testing.assert_allclose(p_next.sum(axis=1), 1.0, rtol=0, atol=1e-12)
    assert (column["p_alive"] >= 1.0 - column["p_churn"]).all()
    assert (column["expected_orders"] >= (1.0 - column["p_churn"]) * (1.0 - 1e-12)).all()
    np.testing.assert_allclose(months.sum(axis=1), column["clv_12m"], rtol=1e-12)
    assert (months >= 0).all()
    assert (column["clv_12m_low"] <= column["clv_12m"]).all()
    assert (column["clv_12m"] <= column["clv_12m_high"]).all()
    assert (column["clv_12m_sd"] >= 0).all()
    np.testing.assert_allclose(column["total_value"], column["historic_value"] + column["clv_12m"], rtol=1e-12)
    assert (column["residual_value"] >= 0.98 * column["clv_12m"]).all()
    np.testing.assert_allclose(column["value_at_risk"], column["p_churn"] * column["clv_12m"], rtol=1e-12)
    for earlier, later in pairwise(("as_of", *DATES)):
        assert scores.filter(pl.col(earlier) > pl.col(later)).is_empty()
    assert scores.filter(pl.col("next_order_on_low") <= pl.col("as_of")).is_empty()
    assert scores.filter(pl.col("next_order_on_low").is_null() & pl.col("next_order_on").is_not_null()).is_empty()
    assert scores.filter(pl.col("stage_since") > pl.col("as_of")).is_empty()
    dated = scores.filter(pl.col("p_churn") < 0.5)
    assert dated["next_order_on"].null_count() == 0


def _bytes(table: pl.DataFrame) -> bytes:
    return repr((table.schema, table.rows())).encode()
