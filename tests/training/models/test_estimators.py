"""The notebook's estimators: the engine's own answers, in any library, by scikit-learn's conventions."""

from __future__ import annotations

import doctest
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import astuple
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score

from features.errors import ConvergenceError, CutoffError, EmptySourceError, InputError, MissingColumnError
from tests.cdnow import load_order_days, load_summary
from training.models import estimators
from training.models.estimators import LifetimeValue, OrderValue, PurchaseTiming, summarise_orders
from training.models.parameter_error import relative_parameter_error
from training.models.purchase_process import TIMING_MODELS, PurchaseProcess
from training.models.spread import UNMEASURED_ERROR, Spread
from training.models.summary import PurchaseSummary
from training.models.value_terms import ValueTerms

Estimator = PurchaseTiming | OrderValue | LifetimeValue

STATISTICS = ["frequency", "recency_days", "T_days", "monetary_value"]
CUTOFF = date(1997, 10, 1)
DAY_ZERO = date(2026, 1, 1)

LIBRARIES: dict[str, Callable[[pl.DataFrame], Any]] = {
    "polars": lambda frame: frame,
    "pandas": lambda frame: frame.to_pandas(),
    "pyarrow": lambda frame: frame.to_arrow(),
}
every_library = pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
every_estimator = pytest.mark.parametrize("kind", [PurchaseTiming, OrderValue, LifetimeValue])


@cache
def load_orders() -> pl.DataFrame:
    """Load the CDNOW sample as a frame of orders."""
    days = [(who, day, value) for who, days in load_order_days().items() for day, value in days.items()]
    return pl.DataFrame(days, schema=["customer_id", "ordered_at", "amount"], orient="row")


@cache
def load_frame() -> pl.DataFrame:
    """Summarise 1,000 customers, who came half by mail and half by search."""
    frame = summarise_orders(load_orders(), cutoff=CUTOFF).head(1000)
    return frame.with_columns(
        channel=pl.when(pl.col("customer_id") % 2 == 0).then(pl.lit("mail")).otherwise(pl.lit("search"))
    )


@cache
def fit_shop() -> LifetimeValue:
    """Fit with the default settings but a margin and a cost."""
    return LifetimeValue(margin=0.3, annual_service_cost=0.5).fit(load_frame())


def engine_summary(frame: pl.DataFrame) -> PurchaseSummary:
    """Hand the columns to the engine."""
    return PurchaseSummary(*(frame[name].to_numpy() for name in STATISTICS))


def to_polars(native: Any) -> pl.DataFrame:
    """Read a frame of any library in Polars."""
    frame: pl.DataFrame = nw.from_native(native, eager_only=True).to_polars()
    return frame


def summarise_by_hand(orders: list[tuple[int, int, int]], cutoff: int) -> dict[int, tuple[float, ...]]:
    """Summarise (customer, day, amount) order by order."""
    days: dict[int, dict[int, int]] = defaultdict(dict)
    for customer, day, amount in orders:
        if day < cutoff:
            days[customer][day] = days[customer].get(day, 0) + amount
    found: dict[int, tuple[float, ...]] = {}
    for customer, values in days.items():
        first, *repeats = sorted(values)
        last = max(values)
        mean = sum(values[day] for day in repeats) / len(repeats) if repeats else 0.0
        found[customer] = (len(repeats), last - first, cutoff - first, mean)
    return found


@every_library
def test_summary_of_cdnow(library: Callable[[pl.DataFrame], Any]) -> None:
    """The summary of the CDNOW sample is the papers', whose T ends with the day before the cutoff."""
    orders = library(load_orders())
    result = summarise_orders(orders, cutoff="1997-10-01")
    assert type(result) is type(orders)
    frame, expected = to_polars(result), load_summary()
    assert frame.columns == ["customer_id", *STATISTICS]
    assert frame["customer_id"].to_list() == sorted(load_order_days())
    np.testing.assert_array_equal(frame["frequency"], expected.frequency)
    np.testing.assert_array_equal(frame["recency_days"], expected.recency_days)
    np.testing.assert_array_equal(frame["T_days"], expected.T_days + 1)
    np.testing.assert_allclose(frame["monetary_value"], expected.monetary_value, rtol=1e-12)


def test_later_orders() -> None:
    """Neither orders at or after the cutoff nor the order of rows changes a byte of the summary."""
    orders = load_orders()
    expected = summarise_orders(orders, cutoff=CUTOFF)
    for same in (orders.filter(pl.col("ordered_at") < CUTOFF), orders.sample(fraction=1.0, shuffle=True, seed=1)):
        assert summarise_orders(same, cutoff=CUTOFF).equals(expected)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60), st.integers(0, 99)), min_size=1, max_size=25),
    st.integers(1, 60),
    st.randoms(use_true_random=False),
)
def test_summary(orders: list[tuple[int, int, int]], cutoff: int, random: Any) -> None:
    """Summaries are those counted by hand; neither later orders nor the order of rows changes any."""
    orders = [(0, 0, 5), *orders]
    expected = summarise_by_hand(orders, cutoff)
    shuffled = random.sample(orders, len(orders))
    for known in (orders, shuffled, [order for order in orders if order[1] < cutoff]):
        rows = [(who, DAY_ZERO + timedelta(days=day), float(amount)) for who, day, amount in known]
        frame = pl.DataFrame(rows, schema=["shopper", "when", "paid"], orient="row")
        result = summarise_orders(
            frame, cutoff=DAY_ZERO + timedelta(days=cutoff), customer_id="shopper", ordered_at="when", amount="paid"
        )
        assert {row[0]: row[1:] for row in result.rows()} == expected
        assert result["shopper"].is_sorted()


LATE = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)  # in Berlin it is February already


@pytest.mark.parametrize(
    ("ordered_at", "T_days"),
    [
        (pd.Series([LATE]).dt.tz_convert("Europe/Berlin"), 1),
        (pd.Series([LATE]).dt.tz_convert("America/New_York"), 1),
        (pd.Series([datetime(2026, 1, 31, 23, 30)]), 1),  # noqa: DTZ001 - a time as it is given
        (pd.Series([date(2026, 1, 31)]), 1),
        (pd.Series([datetime(1969, 12, 31, 23, tzinfo=UTC)]), 20486),
        (pa.chunked_array([[date(2026, 1, 30)]]), 2),
        (pl.Series([LATE], dtype=pl.Datetime("ns", "Asia/Tokyo")), 1),
    ],
    ids=["Berlin", "New York", "no zone", "dates", "before 1970", "Arrow dates", "nanoseconds"],
)
def test_days(ordered_at: Any, T_days: int) -> None:
    """A time counts on its day in UTC, without a zone on the day it says, and a date is a date."""
    columns = {"customer_id": ["a"], "ordered_at": ordered_at, "amount": [1.0]}
    build = {pd.Series: pd.DataFrame, pl.Series: pl.DataFrame, pa.ChunkedArray: pa.table}[type(ordered_at)]
    result = to_polars(summarise_orders(build(columns), cutoff="2026-02-01"))
    assert result.rows() == [("a", 0, 0, T_days, 0.0)]


def test_kinds_of_columns() -> None:
    """Ids stay what they are, amounts may be decimals, and a pandas index says nothing."""
    orders = load_orders().head(200).with_columns(pl.col("amount").cast(pl.Decimal(12, 2)))
    expected = summarise_orders(load_orders().head(200), cutoff=CUTOFF)
    np.testing.assert_allclose(summarise_orders(orders, cutoff=CUTOFF), expected, rtol=1e-12)
    odd = orders.to_pandas().assign(amount=lambda frame: [Decimal(str(x)) for x in frame["amount"]])
    odd.index = odd.index[::-1] + 5
    result = summarise_orders(odd.assign(customer_id=odd["customer_id"].astype("category")), cutoff=CUTOFF)
    assert str(result["customer_id"].dtype) == "category"
    np.testing.assert_allclose(result[STATISTICS], expected[STATISTICS].to_numpy(), rtol=1e-12)
    assert result.index.tolist() == list(range(len(expected)))


BAD_ORDERS: dict[str, tuple[Callable[[pl.DataFrame], Any], type[Exception], str]] = {
    "no column": (lambda o: o.drop("amount"), MissingColumnError, "Missing column: amount. The frame has: customer_id"),
    "no rows": (lambda o: o.head(0), EmptySourceError, "no rows"),
    "lazy": (lambda o: o.lazy(), TypeError, "collect a lazy one"),
    "array": (lambda o: o.to_numpy(), TypeError, r"not numpy\.ndarray"),
    "null id": (
        lambda o: o.with_columns(customer_id=pl.when(pl.int_range(pl.len()) != 3).then("customer_id")),
        InputError,
        r"customer_id is null in 1 of 50 rows: 3 \(the first row is 0\)",
    ),
    "null day": (
        lambda o: o.with_columns(ordered_at=pl.when(pl.int_range(pl.len()) >= 6).then("ordered_at")),
        InputError,
        "ordered_at is null in 6 of 50 rows: 0, 1, 2, 3, 4 …",
    ),
    "infinite": (lambda o: o.with_columns(amount=float("inf")), InputError, "amount is not finite in 50 of 50 rows"),
    "text for time": (lambda o: o.cast({"ordered_at": pl.String}), InputError, "ordered_at must hold dates or times"),
    "text for money": (lambda o: o.cast({"amount": pl.String}), InputError, "amount must hold numbers, got String"),
    "objects": (
        lambda o: o.to_pandas().assign(amount=[{}] * 50, ordered_at=[{}] * 50),
        InputError,
        "must hold dates or times, got Object",
    ),
}


@pytest.mark.parametrize(("spoil", "error", "message"), BAD_ORDERS.values(), ids=BAD_ORDERS)
def test_orders_refused(spoil: Callable[[pl.DataFrame], Any], error: type[Exception], message: str) -> None:
    """Orders that cannot be summarised are refused by name of the column, and by row."""
    with pytest.raises(error, match=message):
        summarise_orders(spoil(load_orders().head(50)), cutoff=CUTOFF)


@pytest.mark.parametrize("cutoff", ["soon", datetime(2026, 1, 1, 12, tzinfo=UTC), 20260101])
def test_cutoff_refused(cutoff: Any) -> None:
    """A cutoff is a day; one before every order is refused."""
    with pytest.raises(ValueError, match="cutoff must be a day"):
        summarise_orders(load_orders(), cutoff=cutoff)
    with pytest.raises(CutoffError, match="before the cutoff 1996-12-31; the first is of 1997-01-01"):
        summarise_orders(load_orders(), cutoff=datetime(1996, 12, 31, tzinfo=UTC))


@every_library
def test_answers(library: Callable[[pl.DataFrame], Any]) -> None:
    """Whatever the library, a fit is the engine's, and answers come back in it, row by row, with a pandas index."""
    summary, native = engine_summary(load_frame()), library(load_frame())
    if isinstance(native, pd.DataFrame):
        native = native.set_index("customer_id")
    shop = LifetimeValue(margin=0.3, horizon_days=45.0).fit(native)
    process = PurchaseProcess(
        TIMING_MODELS["mbg_nbd"].fit(summary).model, shop.order_value_.model_, Spread(common_error=shop.common_error_)
    )
    assert shop.timing_.model_.to_dict() == pytest.approx(process.timing.to_dict(), rel=1e-9)
    answer = shop.predict(native)
    assert type(answer) is type(native)
    assert not isinstance(native, pd.DataFrame) or answer.index.equals(native.index)
    expected = process.predict(summary, horizon_days=45.0, terms=ValueTerms(margin=0.3))
    frame = to_polars(answer)
    for name in ("p_alive", "expected_orders", "expected_order_value", "clv_12m", "clv_12m_sd", "residual_value"):
        np.testing.assert_allclose(frame[name], getattr(expected, name), rtol=1e-8, err_msg=name)
    np.testing.assert_allclose(frame["next_order_days"], expected.next_order.median_days, rtol=1e-8)
    np.testing.assert_allclose(frame["next_order_days_low"], expected.next_order.low_days, rtol=1e-8)
    timing = to_polars(shop.timing_.predict(native, horizon_days=45.0))
    assert timing.columns == frame.columns[:3]
    np.testing.assert_allclose(timing.to_numpy(), frame[timing.columns].to_numpy(), rtol=1e-8)


def test_identities() -> None:
    """Months sum to the year, counts to their mean, rows to the total, and scores to the likelihood of the fit."""
    frame, shop = load_frame(), fit_shop()
    answer = shop.predict(frame)
    np.testing.assert_allclose(shop.clv_by_month(frame).sum_horizontal(), answer["clv_12m"], rtol=1e-9)
    assert (answer["clv_12m_low"] <= answer["clv_12m"]).all()
    assert (answer["clv_12m"] <= answer["clv_12m_high"]).all()
    assert (answer["p_no_order"] >= 1 - answer["p_alive"] - 1e-12).all()
    counts = shop.timing_.p_orders(frame, horizon_days=90.0, max_orders=60)
    assert counts.columns[:2] == ["p_0", "p_1"]
    np.testing.assert_allclose(counts["p_0"], answer["p_no_order"], atol=1e-12)
    np.testing.assert_allclose(counts.to_numpy() @ np.arange(61.0), answer["expected_orders"], rtol=1e-6)
    total = shop.total(frame)
    low, high = Spread(common_error=shop.common_error_).total_interval(
        answer["clv_12m"].to_numpy(), answer["clv_12m_sd"].to_numpy(), coverage=0.8
    )
    assert astuple(total)[:4] == pytest.approx((1000.0, answer["clv_12m"].sum(), low, high))
    fits = (shop.timing_.fit_, shop.order_value_.fit_)
    assert shop.score(frame) == pytest.approx(sum(fit.log_likelihood for fit in fits) / 1000)
    order_value = shop.order_value_.predict(frame)
    assert order_value.columns == ["expected_order_value"]
    np.testing.assert_array_equal(order_value.to_series(), answer["expected_order_value"])


def test_curves() -> None:
    """Orders, silence and counts are those of `predict` at its horizon, and add up at others."""
    frame, shop = load_frame(), fit_shop()
    answer = shop.predict(frame)
    curve = shop.p_no_order_curve(frame, ends_days=[30, 90.0, 365.25])
    assert curve.columns == ["p_no_order_30", "p_no_order_90", "p_no_order_365.25"]
    np.testing.assert_allclose(curve["p_no_order_90"], answer["p_no_order"], atol=1e-12)
    assert (np.diff(curve.to_numpy(), axis=1) < 0).all()
    counts = shop.p_orders(frame, max_orders=60)
    assert counts.columns[:2] == ["p_0", "p_1"]
    np.testing.assert_allclose(counts["p_0"], answer["p_no_order"], atol=1e-12)
    np.testing.assert_allclose(counts.to_numpy() @ np.arange(61.0), answer["expected_orders"], rtol=1e-6)
    early, late = (shop.expected_orders(frame, horizon_days=end, after_days=end - 45.0) for end in (45.0, 90.0))
    assert early.columns == ["expected_orders"]
    np.testing.assert_allclose((early + late)["expected_orders"], answer["expected_orders"], rtol=1e-9)


def test_new_customer() -> None:
    """A new customer is worth their first order and what the engine says of a year, in their own group."""
    shop = fit_shop()
    process = PurchaseProcess(shop.timing_.model_, shop.order_value_.model_)
    terms = ValueTerms(margin=0.3, annual_service_cost=0.5)
    assert shop.new_customer_value() == pytest.approx(process.new_customer_value(horizon_days=90.0, terms=terms))
    with pytest.raises(ValueError, match="the fit has covariates none, got channel"):
        shop.new_customer_value(channel="mail")
    grouped = LifetimeValue(covariates=["channel"]).fit(load_frame())
    values = {name: grouped.new_customer_value(channel=name) for name in ("mail", "search")}
    coefficients = dict(zip(grouped.timing_.fit_.names, grouped.timing_.fit_.estimates, strict=True))
    [(name, effect)] = [item for item in coefficients.items() if ":channel=" in item[0]]
    other = name.removeprefix("alpha:channel=")
    assert (values.pop(other) > values.popitem()[1]) == (effect > 0)
    with pytest.raises(ValueError, match="covariate channel is missing"):
        grouped.new_customer_value()
    with pytest.raises(ValueError, match="the fit did not see: 'radio'"):
        grouped.new_customer_value(channel="radio")


def test_history() -> None:
    """Less than a year of history is said in every row and total; no total is surer than to a fifth."""
    frame, shop = load_frame(), fit_shop()
    assert shop.history_days_ == frame["T_days"].max() == 273
    longer = LifetimeValue().fit(frame.with_columns(pl.col("T_days") + 100))
    for fitted, is_extrapolated in ((shop, True), (longer, False)):
        answer = fitted.predict(frame.head(3))
        assert answer.schema["is_extrapolated"] == pl.Boolean
        assert answer["is_extrapolated"].to_list() == [is_extrapolated] * 3
        assert fitted.total(frame).is_extrapolated is is_extrapolated
    parts = (shop.timing_.fit_, shop.order_value_.fit_)
    parameter_error = relative_parameter_error(*parts, engine_summary(frame), np.ones(1000))
    assert shop.common_error_ == pytest.approx(np.sqrt(parameter_error**2 + UNMEASURED_ERROR**2))


def test_terms() -> None:
    """The terms of value are read when it predicts: another margin needs no other fit."""
    frame, shop = load_frame(), LifetimeValue().fit(load_frame())
    whole = shop.predict(frame)
    half = shop.set_params(margin=0.5, horizon_days=30.0, interval_coverage=0.5).predict(frame)
    np.testing.assert_allclose(half["clv_12m"], whole["clv_12m"] / 2, rtol=1e-12)
    assert (half["p_no_order"] > whole["p_no_order"]).all()
    assert (half["clv_12m_high"] <= whole["clv_12m_high"] / 2 * (1 + 1e-12)).all()
    assert shop.set_params(annual_discount_rate=0.0).predict(frame)["residual_value"].is_nan().all()


def test_counted() -> None:
    """Customers counted beforehand, by a column or as weights, give the fit, the score and the total of all of them."""
    frame = load_frame()
    counted = frame.group_by(STATISTICS, maintain_order=True).agg(n_customers=pl.len())
    one_by_one, by_column = LifetimeValue().fit(frame), LifetimeValue().fit(counted)
    by_weight = LifetimeValue().fit(counted.drop("n_customers"), sample_weight=counted["n_customers"])
    for shop in (by_column, by_weight):
        assert shop.timing_.model_.to_dict() == pytest.approx(one_by_one.timing_.model_.to_dict(), rel=1e-5)
        assert shop.order_value_.model_.to_dict() == pytest.approx(one_by_one.order_value_.model_.to_dict(), rel=1e-5)
        assert shop.timing_.fit_.n_customers == 1000
    assert by_column.score(counted) == pytest.approx(one_by_one.score(frame), rel=1e-9)
    total, expected = by_column.total(counted), one_by_one.total(frame)
    assert total.n_customers == 1000
    assert (total.clv_12m, total.clv_12m_low) == pytest.approx((expected.clv_12m, expected.clv_12m_low), rel=1e-5)
    with pytest.raises(ValueError, match="counted twice"):
        LifetimeValue().fit(counted, sample_weight=counted["n_customers"])
    with pytest.raises(ValueError, match="sample_weight must be one number above 0 for each of the 1000 rows"):
        LifetimeValue().fit(frame, sample_weight=np.zeros(1000))


def test_covariates() -> None:
    """With covariates every customer is answered by the model of their group, in their row; others are refused."""
    frame = load_frame()
    shop = LifetimeValue(covariates=["channel"]).fit(frame)
    assert shop.feature_names_in_.tolist() == [*STATISTICS, "channel"]
    assert shop.timing_.feature_names_in_.tolist() == [*STATISTICS[:3], "channel"]
    assert shop.timing_.fit_.names[-1].startswith("alpha:channel=")
    answer, summary = shop.predict(frame), engine_summary(frame)
    reference = shop.timing_.model_.covariates.levels["channel"][0]
    for channel in ("mail", "search"):
        timing = shop.timing_.model_.model_of(np.array([float(channel != reference)]))
        rows = (frame["channel"] == channel).to_numpy()
        forecast = PurchaseProcess(timing, shop.order_value_.model_, Spread(common_error=shop.common_error_)).predict(
            summary.take(rows), horizon_days=90.0
        )
        np.testing.assert_allclose(answer["clv_12m"].to_numpy()[rows], forecast.clv_12m, rtol=1e-9)
    assert shop.timing_.score(frame) == pytest.approx(shop.timing_.fit_.log_likelihood / 1000)
    with pytest.raises(ValueError, match="channel has values in 1000 rows that the fit did not see: 'radio'"):
        shop.predict(frame.with_columns(channel=pl.lit("radio")))
    with pytest.raises(MissingColumnError, match="channel"):
        shop.predict(frame.drop("channel"))
    with pytest.raises(InputError, match="channel is null in 1000"):
        shop.predict(frame.with_columns(channel=pl.lit(None, pl.String)))
    with pytest.raises(TypeError, match=r"write \['channel'\]"):
        PurchaseTiming(covariates="channel").fit(frame)


@every_estimator
def test_conventions(kind: type[Estimator]) -> None:
    """Settings can be read and set, a clone is not fitted, and an unfitted estimator says so."""
    frame, fitted = load_frame(), kind().fit(load_frame())
    assert fitted.fit(frame) is fitted
    assert fitted.n_features_in_ == len(fitted.feature_names_in_)
    fitted.set_params(penalizer=0.25)
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert copy.get_params()["penalizer"] == 0.25
    asks: tuple[Callable[[], Any], ...] = (copy.to_dict, lambda: copy.score(frame))
    for ask in asks:
        with pytest.raises(NotFittedError):
            ask()
    with pytest.raises(NotFittedError):
        copy.predict(frame, **({"horizon_days": 30.0} if kind is PurchaseTiming else {}))


@every_library
def test_search(library: Callable[[pl.DataFrame], Any]) -> None:
    """Scikit-learn compares models by cross-validation, in every library."""
    frame = library(load_frame())
    scores = cross_val_score(LifetimeValue(), frame, cv=2)
    assert np.isfinite(scores).all()
    grid = GridSearchCV(PurchaseTiming(), {"model": ["mbg_nbd", "bg_nbd"], "penalizer": [0.0, 10.0]}, cv=2).fit(frame)
    assert grid.best_params_["penalizer"] == 0.0
    assert grid.best_estimator_.fit_.n_customers == 1000


@pytest.mark.parametrize(
    "unfitted",
    [
        PurchaseTiming("pareto_nbd"),
        PurchaseTiming("bg_nbd", 1.0, 0.01, ["channel"]),
        OrderValue(),
        LifetimeValue(margin=0.2),
    ],
    ids=["Pareto/NBD", "covariates", "order value", "lifetime value"],
)
def test_json(unfitted: Estimator) -> None:
    """A fitted estimator goes through JSON and answers as before, to the last digit."""
    frame = load_frame().head(300)
    fitted = unfitted.fit(frame)
    values = json.loads(json.dumps(fitted.to_dict()))
    restored = type(fitted).from_dict(values)
    horizon = {"horizon_days": 60.0} if isinstance(fitted, PurchaseTiming) else {}
    assert restored.predict(frame, **horizon).equals(fitted.predict(frame, **horizon), null_equal=True)
    assert json.loads(json.dumps(restored.to_dict())) == values
    assert restored.n_features_in_ == fitted.n_features_in_
    if isinstance(fitted, LifetimeValue):
        assert restored.total(frame) == fitted.total(frame)
    else:
        assert (restored.fit_.aic, restored.fit_.standard_errors) == (fitted.fit_.aic, fitted.fit_.standard_errors)
    with pytest.raises(ValueError, match="but 'Other'; use its own from_dict"):
        type(fitted).from_dict({**values, "estimator": "Other"})


BAD_SUMMARIES: dict[str, tuple[pl.Expr, str]] = {
    "null": (pl.lit(None, pl.Float64).alias("T_days"), "T_days is null in 1000 of 1000 rows: 0, 1, 2, 3, 4 …"),
    "not finite": (pl.lit(float("nan")).alias("frequency"), "frequency is not finite in 1000"),
    "halves": (pl.col("frequency") + 0.5, "frequency must be whole numbers .* 1000 of 1000 customers differ"),
    "too young": (pl.lit(0).alias("T_days"), r"T_days must not be below recency_days .*\d+ of 1000"),
}


@pytest.mark.parametrize(("change", "message"), BAD_SUMMARIES.values(), ids=BAD_SUMMARIES)
def test_summary_refused(change: pl.Expr, message: str) -> None:
    """Statistics that no orders can give are refused by name, with how many rows there are."""
    for ask in (LifetimeValue().fit, fit_shop().predict):
        with pytest.raises(ValueError, match=message):
            ask(load_frame().with_columns(change))


BAD_SETTINGS: dict[str, tuple[Estimator, str]] = {
    "model": (PurchaseTiming("nbd"), "model must be one of mbg_nbd, bg_nbd, pareto_nbd, got 'nbd'"),
    "unit": (PurchaseTiming(time_unit_days=0.0), "time_unit_days must be finite and above 0, got 0.0"),
    "penalizer": (OrderValue(penalizer=-1.0), "penalizer must be finite and not negative, got -1.0"),
    "margin": (LifetimeValue(margin=-1.0), "margin must be at least 0"),
    "horizon": (LifetimeValue(horizon_days=0.0), "horizon_days must be finite and above 0, got 0.0"),
    "no horizon": (LifetimeValue(horizon_days=float("nan")), "horizon_days must be finite and above 0, got nan"),
    "coverage": (LifetimeValue(interval_coverage=1.0), "interval_coverage must lie between 0 and 1, got 1.0"),
}


@pytest.mark.parametrize(("estimator", "message"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_settings_refused(estimator: Estimator, message: str) -> None:
    """A setting that is out of range is refused when it fits."""
    with pytest.raises(ValueError, match=message):
        estimator.fit(load_frame())


NUMBERS = ("time_unit_days", "penalizer", "margin", "annual_discount_rate", "horizon_days", "interval_coverage")


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("bad", ["90", None, True], ids=str)
def test_no_number(name: str, bad: Any) -> None:
    """A setting that is no number is refused by its name."""
    with pytest.raises(TypeError, match=f"{name} must be a number, got {bad!r}"):
        LifetimeValue(**{name: bad}).fit(load_frame())


def test_questions_refused() -> None:
    """Days given twice, counts below 0, and a setting gone wrong after the fit are refused when asked about."""
    frame, shop = load_frame(), fit_shop()
    for ends in ([30.0, 30.0], []):
        with pytest.raises(ValueError, match="ends_days must be different days"):
            shop.p_no_order_curve(frame, ends_days=ends)
    for max_orders in (-1, 1.5):
        with pytest.raises(ValueError, match="max_orders must be a whole number from 0"):
            shop.p_orders(frame, max_orders=max_orders)  # type: ignore[arg-type]  # what a caller without types gives
    with pytest.raises(ValueError, match="horizon_days must be finite and above 0"):
        LifetimeValue().fit(frame).set_params(horizon_days=-1.0).predict(frame)


@every_estimator
def test_too_few(kind: type[Estimator]) -> None:
    """A handful of customers is no shop to learn from."""
    with pytest.raises(ConvergenceError) as refused:
        kind().fit(load_frame().head(5))
    assert refused.value.reason == "too_few"


def test_examples() -> None:
    """The examples of the docstrings run and give what they show, the module's first."""
    known = dict(vars(estimators))
    for subject in (estimators, PurchaseTiming, OrderValue, LifetimeValue):
        example = doctest.DocTestParser().get_doctest(subject.__doc__ or "", known, str(subject), None, 0)
        results = doctest.DocTestRunner().run(example, clear_globs=False)
        assert results.attempted > 1
        assert results.failed == 0
        known = example.globs
