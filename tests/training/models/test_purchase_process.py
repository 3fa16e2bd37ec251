"""The tied purchase process: the identities between churn, orders and value, on any customers and parameters."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cdnow import load_summary
from tests.training.models.strategies import gamma_gammas, summaries, timing_models
from training.models.bg_nbd import BgNbd
from training.models.gamma_gamma import GammaGamma
from training.models.mbg_nbd import MbgNbd
from training.models.pareto_nbd import ParetoNbd
from training.models.purchase_process import Forecast, PurchaseProcess, Wait
from training.models.spread import Spread
from training.models.summary import FloatArray, PurchaseSummary
from training.models.timing import TimingModel
from training.models.value_terms import MONTH_ENDS_DAYS, ValueTerms

BG_NBD = BgNbd(0.2426, 4.4136, 0.7929, 2.4259)
MODELS: list[TimingModel] = [BG_NBD, MbgNbd(0.525, 6.183, 0.891, 1.614), ParetoNbd(0.553, 10.58, 0.606, 11.67)]
PROCESS = PurchaseProcess(BG_NBD, GammaGamma(6.2496, 3.7442, 15.4435))
HORIZON_DAYS = 90.0
TERMS = ValueTerms(margin=0.3)
COSTLY = replace(TERMS, annual_service_cost=12.0)
MONEY = (
    "expected_order_value",
    "clv_by_month",
    "clv_12m",
    "clv_12m_low",
    "clv_12m_high",
    "clv_12m_sd",
    "residual_value",
)


def spreads() -> st.SearchStrategy[Spread]:
    """Draw what earlier windows could have measured."""
    return st.builds(Spread, dispersion=st.floats(0.2, 5.0), common_error=st.floats(0.0, 1.0))


def processes() -> st.SearchStrategy[PurchaseProcess]:
    """Draw a purchase process of any timing model."""
    return st.builds(PurchaseProcess, timing_models(), gamma_gammas(), spreads())


any_case = given(processes(), summaries(), st.data())
every_model = pytest.mark.parametrize("timing", MODELS, ids=lambda timing: timing.name)


def _predict(
    process: PurchaseProcess, summary: PurchaseSummary, p_churn: FloatArray | None, terms: ValueTerms = TERMS
) -> Forecast:
    return process.predict(summary, p_churn, horizon_days=HORIZON_DAYS, terms=terms)


def _draw_churn(data: st.DataObject, n: int) -> FloatArray:
    return np.array(data.draw(st.lists(st.floats(min_value=0.0, max_value=1.0), min_size=n, max_size=n)))


def _values(forecast: Forecast) -> dict[str, FloatArray]:
    """Return every array of a forecast by name, those of the next order included."""
    names = [field.name for field in fields(forecast) if field.name != "next_order"]
    waits = {field.name: getattr(forecast.next_order, field.name) for field in fields(Wait)}
    return {name: getattr(forecast, name) for name in names} | waits


def _priced(summary: PurchaseSummary, rate: float) -> PurchaseSummary:
    """Return the same customers, their values rounded to cents and then changed at a rate."""
    return replace(summary, monetary_value=rate * np.round(summary.monetary_value, 2))


@any_case
def test_root_identity(process: PurchaseProcess, summary: PurchaseSummary, data: st.DataObject) -> None:
    """expected_orders = (1 − p_churn) · E[orders | at least one], with the condition taken from the timing alone."""
    p_churn = _draw_churn(data, len(summary))
    alive = process.timing.orders_if_alive(summary, ends_days=np.array([HORIZON_DAYS]))
    conditional = (alive.expected / alive.p_order)[alive.inverse, 0]
    forecast = _predict(process, summary, p_churn)
    np.testing.assert_allclose(forecast.expected_orders, (1 - p_churn) * conditional, rtol=1e-12, atol=0)
    assert (forecast.expected_orders >= (1 - p_churn) * (1 - 1e-9)).all()


@any_case
def test_alive_bound(process: PurchaseProcess, summary: PurchaseSummary, data: st.DataObject) -> None:
    """1 ≥ p_alive ≥ 1 − p_churn, whatever the churn model said: it is kappa = (1 − p_churn) / q(H), at most 1."""
    p_churn = _draw_churn(data, len(summary))
    tied = process.tie(summary, p_churn, horizon_days=HORIZON_DAYS)
    forecast = _predict(process, summary, p_churn)
    assert (forecast.p_alive >= 1 - p_churn).all()
    assert (forecast.p_alive <= 1).all()
    assert np.array_equal(forecast.p_alive, np.minimum(1, tied.kappa))
    q = process.timing.p_order_if_alive(summary, horizon_days=HORIZON_DAYS)
    np.testing.assert_allclose(tied.kappa * q, 1 - p_churn, rtol=1e-12, atol=0)


@any_case
def test_counts(process: PurchaseProcess, summary: PurchaseSummary, data: st.DataObject) -> None:
    """The chance of no order is p_churn, to the last digit; those of 0 to 50 orders sum to 1 at most."""
    p_churn = _draw_churn(data, len(summary))
    tied = process.tie(summary, p_churn, horizon_days=HORIZON_DAYS)
    p_orders = process.p_orders(tied, max_orders=50)
    assert np.array_equal(p_orders[:, 0], 1 - (1 - p_churn))
    assert (p_orders >= 0).all()
    assert (p_orders.sum(axis=1) <= 1 + 1e-8).all()


@every_model
def test_counts_have_the_mean(timing: TimingModel) -> None:
    """With enough of them the chances of each number of orders sum to 1, and their mean is expected_orders."""
    summary = load_summary().take(np.arange(0, 2357, 25))
    process = replace(PROCESS, timing=timing)
    tied = process.tie(summary, np.linspace(0, 1, len(summary)), horizon_days=HORIZON_DAYS)
    p_orders = process.p_orders(tied, max_orders=200)
    np.testing.assert_allclose(p_orders.sum(axis=1), 1, rtol=1e-9)
    np.testing.assert_allclose(p_orders @ np.arange(201), tied.expected_orders, rtol=1e-9, atol=1e-12)


@any_case
def test_silence_over_time(process: PurchaseProcess, summary: PurchaseSummary, data: st.DataObject) -> None:
    """The chance of no order yet falls with time, from 1 at the cutoff through p_churn at the horizon."""
    p_churn = _draw_churn(data, len(summary))
    tied = process.tie(summary, p_churn, horizon_days=HORIZON_DAYS)
    curve = process.p_no_order_curve(tied, ends_days=np.array([0.0, 1.0, 30.0, HORIZON_DAYS, 365.25, 3652.5]))
    assert np.array_equal(curve[:, 0], np.ones(len(summary)))
    np.testing.assert_allclose(curve[:, 3], p_churn, rtol=0, atol=1e-12)
    assert (np.diff(curve, axis=1) <= 1e-9).all()
    assert ((curve >= 0) & (curve <= 1)).all()


@any_case
def test_value_is_sum_of_months(process: PurchaseProcess, summary: PurchaseSummary, data: st.DataObject) -> None:
    """clv_12m is the sum of its months, and each month orders × order value × margin × discount."""
    forecast = _predict(process, summary, _draw_churn(data, len(summary)))
    assert np.array_equal(forecast.clv_12m, forecast.clv_by_month.sum(axis=1))
    discounts = 1.1 ** -((np.arange(12) + 0.5) / 12)
    months = forecast.orders_by_month * forecast.expected_order_value[:, None] * 0.3 * discounts
    np.testing.assert_allclose(forecast.clv_by_month, months, rtol=1e-12, atol=0)


@any_case
def test_cost_of_service(process: PurchaseProcess, summary: PurchaseSummary, data: st.DataObject) -> None:
    """Each month is worth less by a twelfth of the yearly cost, for as long as the customer is alive, discounted."""
    p_churn = _draw_churn(data, len(summary))
    free, costly = (_predict(process, summary, p_churn, terms) for terms in (TERMS, COSTLY))
    ends = np.append(0.0, MONTH_ENDS_DAYS)
    survival = process.timing.orders_if_alive(summary, ends_days=ends)
    alive = free.p_alive[:, None] * survival.survival[survival.inverse]
    paid = (free.clv_by_month - costly.clv_by_month) / TERMS.month_discounts
    room = 1e-9 * (1 + free.clv_by_month)
    assert (paid <= alive[:, :-1] + room).all()
    assert (paid >= alive[:, 1:] - room).all()
    assert np.array_equal(costly.clv_12m, costly.clv_by_month.sum(axis=1))
    assert np.array_equal(costly.clv_12m_sd, free.clv_12m_sd)
    lost = free.residual_value - costly.residual_value
    assert (lost >= (free.clv_12m - costly.clv_12m) * 0.98 - 1e-9 * (1 + free.residual_value)).all()


def test_worth_less_than_nothing() -> None:
    """A customer who costs more than they bring has a value below 0, which its interval holds."""
    terms = ValueTerms(annual_service_cost=1000.0)
    forecast = _predict(PROCESS, load_summary(), None, terms)
    assert (forecast.clv_12m < 0).mean() > 0.9
    assert (forecast.clv_12m_low <= forecast.clv_12m).all()
    assert (forecast.clv_12m_high >= forecast.clv_12m).all()


@any_case
def test_residual_value(process: PurchaseProcess, summary: PurchaseSummary, data: st.DataObject) -> None:
    """All orders to come are worth no less than the first year's; without a discount their sum is not told."""
    p_churn, rate = _draw_churn(data, len(summary)), data.draw(st.floats(1e-12, 3.0))
    forecast = _predict(process, summary, p_churn, ValueTerms(annual_discount_rate=rate))
    assert np.isfinite(forecast.residual_value).all()
    assert (forecast.residual_value >= 0.98 * forecast.clv_12m).all()
    undiscounted = _predict(process, summary, p_churn, ValueTerms(annual_discount_rate=0.0))
    assert np.isnan(undiscounted.residual_value).all()


@every_model
@pytest.mark.parametrize("cost", [0.0, 12.0])
def test_residual_value_is_the_sum(timing: TimingModel, cost: float) -> None:
    """A life in 20 spans is worth what it is in 660 months, within 0.5 % of its orders and 2 % of its cost."""
    summary, n_months = load_summary().take(np.arange(0, 2357, 100)), 660
    process, terms = replace(PROCESS, timing=timing), ValueTerms(annual_service_cost=cost)
    ends = np.arange(n_months + 1) * 365.25 / 12
    alive = timing.orders_if_alive(summary, ends_days=ends)
    discounts = 1.1 ** -((np.arange(n_months) + 0.5) / 12)
    orders = (np.diff(alive.expected, axis=1) @ discounts)[alive.inverse]
    years = (0.5 * (alive.survival[:, 1:] + alive.survival[:, :-1]) @ discounts / 12)[alive.inverse]
    value = orders * process.gamma_gamma.expected_order_value(summary)
    found = _predict(process, summary, None, terms).residual_value
    off = np.abs(found - timing.p_alive(summary) * (value - years * cost))
    assert (off <= 0.005 * value + 0.02 * years * cost).all()


@every_model
@pytest.mark.parametrize("rate", [0.01, 0.03, 0.5])
def test_residual_value_at_any_rate(timing: TimingModel, rate: float) -> None:
    """However slowly value fades, a life is worth what it is in 11,988 months, within 1.5 %."""
    summary, n_months = load_summary().take(np.arange(0, 2357, 300)), 999 * 12
    process, terms = replace(PROCESS, timing=timing), ValueTerms(annual_discount_rate=rate)
    inverse, expected = timing.expected_if_alive(summary, ends_days=np.arange(n_months + 1) * 365.25 / 12)
    orders = np.diff(expected, axis=1) @ (1 + rate) ** -((np.arange(n_months) + 0.5) / 12)
    value = orders[inverse] * process.gamma_gamma.expected_order_value(summary) * timing.p_alive(summary)
    np.testing.assert_allclose(_predict(process, summary, None, terms).residual_value, value, rtol=0.015)


@every_model
def test_good_season(timing: TimingModel) -> None:
    """A churn probability below any living customer's holds to the horizon; then life goes on as for the living."""
    summary, process = load_summary(), replace(PROCESS, timing=timing)
    summary = summary.take(summary.frequency <= 3).take(np.arange(0, 2000, 50))
    alive = timing.p_order_if_alive(summary, horizon_days=HORIZON_DAYS)
    tied = process.tie(summary, 0.5 * (1.0 - alive), horizon_days=HORIZON_DAYS)
    assert (tied.kappa > 1).all()
    p_none = process.p_no_order_curve(tied, ends_days=np.array([HORIZON_DAYS, 365.25, 3652.5]))
    np.testing.assert_allclose(p_none[:, 0], 0.5 * (1.0 - alive))
    assert (np.diff(p_none, axis=1) < 0).all()
    assert (p_none > 0).all()
    inverse, expected = timing.expected_if_alive(summary, ends_days=np.array([HORIZON_DAYS, 365.25]))
    found = tied.orders_until(expected)
    np.testing.assert_allclose(found[:, 1] - found[:, 0], (expected[:, 1] - expected[:, 0])[inverse])
    np.testing.assert_allclose(found[:, 0], tied.expected_orders)
    median = process.forecast(
        process.tie(summary, np.full(len(summary), 0.6), horizon_days=1.0),
        np.ones(len(summary)),
        terms=TERMS,
        interval_coverage=0.8,
    ).next_order.median_days
    assert (median > 1.0).all()


@any_case
def test_never_undefined(process: PurchaseProcess, summary: PurchaseSummary, data: st.DataObject) -> None:
    """Every output is finite and not negative, but for a next order that may never come."""
    forecast = _predict(process, summary, _draw_churn(data, len(summary)))
    for name, values in _values(forecast).items():
        known = values[~np.isnan(values)] if name in {field.name for field in fields(Wait)} else values
        assert np.isfinite(known).all(), name
        assert (known >= 0).all(), name


@given(processes(), summaries(), st.data(), st.floats(0.01, 0.99))
def test_interval_holds_the_mean(
    process: PurchaseProcess, summary: PurchaseSummary, data: st.DataObject, coverage: float
) -> None:
    """The mean lies in the interval of any coverage, and a wider coverage is a wider interval."""
    p_churn = _draw_churn(data, len(summary))
    narrow, wide = (
        process.predict(summary, p_churn, horizon_days=HORIZON_DAYS, terms=COSTLY, interval_coverage=share)
        for share in (0.5 * coverage, coverage)
    )
    for forecast in (narrow, wide):
        assert (forecast.clv_12m_low <= forecast.clv_12m).all()
        assert (forecast.clv_12m <= forecast.clv_12m_high).all()
    room = 1e-9 * (1 + np.abs(narrow.clv_12m))
    assert (wide.clv_12m_low <= narrow.clv_12m_low + room).all()
    assert (wide.clv_12m_high >= narrow.clv_12m_high - room).all()


@any_case
def test_spread_widens(process: PurchaseProcess, summary: PurchaseSummary, data: st.DataObject) -> None:
    """What earlier windows missed by makes every value less sure, and no order likelier."""
    p_churn = _draw_churn(data, len(summary))
    tied = process.tie(summary, p_churn, horizon_days=HORIZON_DAYS)
    sure, unsure, both = (
        replace(process, spread=spread).value_distribution(tied, 10.0 * tied.expected_orders)
        for spread in (Spread(), Spread(common_error=0.3), Spread(dispersion=2.0, common_error=0.3))
    )
    assert (unsure.standard_deviation >= sure.standard_deviation).all()
    assert (both.standard_deviation >= unsure.standard_deviation).all()
    assert np.array_equal(both.p_order, sure.p_order)


def test_spread_widens_intervals() -> None:
    """Of customers who surely order, the more was missed by, the wider the interval at both ends."""
    summary = load_summary().take(load_summary().frequency > 3)
    spreads = (Spread(), Spread(common_error=0.2), Spread(dispersion=2.0), Spread(dispersion=2.0, common_error=0.2))
    found = [_predict(replace(PROCESS, spread=spread), summary, np.zeros(len(summary))) for spread in spreads]
    for less, more in ((0, 1), (0, 2), (1, 3), (2, 3)):
        assert (found[more].clv_12m_low < found[less].clv_12m_low).all()
        assert (found[more].clv_12m_high > found[less].clv_12m_high).all()


@any_case
def test_next_order_agrees_with_churn(process: PurchaseProcess, summary: PurchaseSummary, data: st.DataObject) -> None:
    """The next order is expected within the horizon exactly where staying is likelier than leaving."""
    p_churn = _draw_churn(data, len(summary))
    days = _predict(process, summary, p_churn).next_order.median_days
    assert (days[p_churn < 0.499] <= HORIZON_DAYS).all()
    assert not (days[p_churn > 0.501] < HORIZON_DAYS).any()


@any_case
def test_next_order_interval(process: PurchaseProcess, summary: PurchaseSummary, data: st.DataObject) -> None:
    """The median lies in the interval; where a later day is known so is an earlier, and at each its share has come."""
    p_churn = _draw_churn(data, len(summary))
    wait = _predict(process, summary, p_churn).next_order
    assert not (np.isnan(wait.low_days) & ~np.isnan(wait.median_days)).any()
    assert not (np.isnan(wait.median_days) & ~np.isnan(wait.high_days)).any()
    is_dated = ~np.isnan(wait.high_days)
    assert (wait.low_days <= wait.median_days)[~np.isnan(wait.median_days)].all()
    assert (wait.median_days <= wait.high_days)[is_dated].all()
    for days, share in ((wait.low_days, 0.1), (wait.median_days, 0.5), (wait.high_days, 0.9)):
        for row in np.nonzero(days < 1e6)[0]:
            one = process.tie(summary.take(np.array([row])), p_churn[[row]], horizon_days=HORIZON_DAYS)
            p_none = process.p_no_order_curve(one, ends_days=days[[row]])[0, 0]
            assert 1.0 - p_none == pytest.approx(share, rel=1e-6)


@pytest.mark.parametrize(
    "timing",
    [BgNbd(3.0, 156.0, 0.1, 5.0), MbgNbd(3.0, 156.0, 0.1, 5.0), ParetoNbd(3.0, 156.0, 0.5, 5000.0)],
    ids=lambda timing: timing.name,
)
def test_yearly_buyer(timing: TimingModel) -> None:
    """Who ordered each year on the day, in a shop of such, is expected in about a year, and within an interval."""
    summary = PurchaseSummary(*(np.array([value]) for value in (3.0, 1095.0, 1100.0, 50.0)))
    wait = _predict(replace(PROCESS, timing=timing), summary, None).next_order
    assert 10 < wait.low_days[0] < 100
    assert 180 < wait.median_days[0] < 400
    assert 500 < wait.high_days[0] < 3650


@given(processes(), summaries())
def test_own_churn_gives_own_orders(process: PurchaseProcess, summary: PurchaseSummary) -> None:
    """Tied to the timing model's own churn probability, or to none, the process is that model itself."""
    model = process.timing
    untied = model.expected_orders_path(summary, ends_days=MONTH_ENDS_DAYS)
    for p_churn in (model.p_no_order(summary, horizon_days=HORIZON_DAYS), None):
        forecast = _predict(process, summary, p_churn)
        np.testing.assert_allclose(forecast.orders_by_month.cumsum(axis=1), untied, rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose(forecast.p_alive, model.p_alive(summary), rtol=1e-6, atol=1e-12)
        expected = model.expected_orders(summary, horizon_days=HORIZON_DAYS)
        np.testing.assert_allclose(forecast.expected_orders, expected, rtol=1e-6, atol=1e-12)


@given(processes(), summaries())
def test_quick_value(process: PurchaseProcess, summary: PurchaseSummary) -> None:
    """The quick way to the 12-month value gives the long way's, and refuses the cost that it leaves out."""
    found = process.clv_12m(summary, terms=TERMS)
    np.testing.assert_allclose(found, _predict(process, summary, None).clv_12m, rtol=1e-9)
    with pytest.raises(ValueError, match="cost of service"):
        process.clv_12m(summary, terms=COSTLY)


@given(processes(), summaries(), st.data(), st.sampled_from([1000.0, 1.2, 1 / 7]))
def test_currency(process: PurchaseProcess, summary: PurchaseSummary, data: st.DataObject, rate: float) -> None:
    """In another currency all money is the same money, and nothing else changes."""
    p_churn, value = _draw_churn(data, len(summary)), process.gamma_gamma
    elsewhere = replace(process, gamma_gamma=replace(value, v=rate * value.v))
    terms = replace(COSTLY, annual_service_cost=rate * COSTLY.annual_service_cost)
    here = _predict(process, _priced(summary, 1.0), p_churn, COSTLY)
    there = _predict(elsewhere, _priced(summary, rate), p_churn, terms)
    scale = 1e-9 * (1 + here.clv_12m_sd + here.residual_value.clip(0))
    for name, values in _values(here).items():
        factor = rate if name in MONEY else 1.0
        room = scale[:, None] if values.ndim == 2 else scale
        is_close = np.abs(_values(there)[name] - factor * values) <= factor * (1e-9 * np.abs(values) + room)
        assert (is_close | np.isnan(values)).all(), name


@given(processes(), summaries(), st.data(), st.sampled_from([1.0, 30.0, 365.25]))
def test_time_unit(process: PurchaseProcess, summary: PurchaseSummary, data: st.DataObject, unit: float) -> None:
    """A timing model in days, months or years of the same time forecasts the same."""
    timing, p_churn = process.timing, _draw_churn(data, len(summary))
    parameters = np.array([getattr(timing, name) for name in timing.parameters])
    other = timing.of(timing.in_units(parameters, timing.time_unit_days / unit), unit)
    here, there = (_predict(replace(process, timing=each), summary, p_churn) for each in (timing, other))
    waits = {field.name for field in fields(Wait)}
    for name, values in _values(here).items():
        if name not in waits:  # a chance that hardly grows any more is reached at no certain day
            np.testing.assert_allclose(_values(there)[name], values, rtol=1e-6, atol=1e-9, err_msg=name)


@given(processes())
def test_new_customer(process: PurchaseProcess) -> None:
    """A new customer is worth a first order of mean value, and the year of a customer who ordered just now."""
    orders = np.diff(process.timing.expected_orders_new(np.append(0.0, MONTH_ENDS_DAYS)))
    value = TERMS.margin * process.gamma_gamma.population_mean
    expected = value * (1 + orders @ TERMS.month_discounts)
    found = process.new_customer_value(horizon_days=HORIZON_DAYS, terms=TERMS)
    assert found == pytest.approx(expected, rel=1e-6)
    assert process.new_customer_value(horizon_days=HORIZON_DAYS, terms=COSTLY) < found


def test_year_horizon() -> None:
    """Over a horizon of 365.25 days the months' orders sum to expected_orders."""
    summary, p_churn = load_summary(), np.full(len(load_summary()), 0.4)
    forecast = PROCESS.predict(summary, p_churn, horizon_days=365.25)
    np.testing.assert_allclose(forecast.orders_by_month.sum(axis=1), forecast.expected_orders, rtol=1e-12)


@every_model
def test_alone_as_in_the_batch(timing: TimingModel) -> None:
    """A customer forecast alone gets the same bytes as among all others."""
    summary, process = load_summary(), replace(PROCESS, timing=timing)
    p_churn = np.random.default_rng(1).random(len(summary))
    batch = _values(_predict(process, summary, p_churn, COSTLY))
    for row in range(0, len(summary), 100):
        alone = _values(_predict(process, summary.take(np.array([row])), p_churn[row : row + 1], COSTLY))
        for name, values in batch.items():
            assert values[row : row + 1].tobytes() == alone[name].tobytes(), name


def test_certain_leaver() -> None:
    """A customer certain to leave is worth nothing, and no next order is named."""
    summary = load_summary()
    forecast = _predict(PROCESS, summary, np.ones(len(summary)))
    for values in (forecast.clv_12m, forecast.clv_12m_high, forecast.clv_12m_sd, forecast.residual_value):
        assert not values.any()
    assert np.isnan(forecast.next_order.low_days).all()
    assert np.isnan(forecast.next_order.median_days).all()


def test_nobody() -> None:
    """No customers get a forecast of no rows."""
    forecast = _predict(PROCESS, load_summary().take(np.zeros(0, dtype=np.intp)), np.zeros(0))
    assert all(len(values) == 0 for values in _values(forecast).values())


def test_coverage() -> None:
    """Where the model is true, a tenth of the year's outcomes pass the upper bound, and the deviation is right."""
    summary = load_summary()
    summary = summary.take(np.nonzero(summary.frequency > 0)[0].repeat(20))
    forecast = _predict(PROCESS, summary, None, ValueTerms(annual_discount_rate=0.0))
    values = _simulate_year(summary, np.random.default_rng(11))
    assert forecast.clv_12m.sum() == pytest.approx(values.sum(), rel=0.05)
    is_open = forecast.clv_12m_high > forecast.clv_12m
    assert (values > forecast.clv_12m_high)[is_open].mean() == pytest.approx(0.10, abs=0.02)
    squares = np.square(values - forecast.clv_12m)
    assert np.mean(np.square(forecast.clv_12m_sd)) == pytest.approx(squares.mean(), rel=0.1)


def _simulate_year(summary: PurchaseSummary, rng: np.random.Generator) -> FloatArray:
    """Draw each customer's value of the coming year from the posterior of both models."""
    timing, value, x = BG_NBD, PROCESS.gamma_gamma, summary.frequency
    n = len(summary)
    rate = rng.gamma(timing.r + x, 1 / (timing.alpha + summary.T_days / 7))
    p = np.maximum(rng.beta(timing.a, timing.b + x), 1e-12)
    counts = np.minimum(rng.poisson(rate * 365.25 / 7), rng.geometric(p))
    counts = np.where(rng.random(n) < timing.p_alive(summary), counts, 0)
    known = np.where(summary.monetary_is_known(), x, 0.0)
    nu = rng.gamma(value.q + value.p * known, 1 / (value.v + known * summary.monetary_value))
    result: FloatArray = np.where(counts > 0, rng.gamma(np.maximum(counts, 1) * value.p) / nu, 0.0)
    return result


@every_model
def test_json_round_trip(timing: TimingModel) -> None:
    """Both models and the spread survive JSON unchanged."""
    process = PurchaseProcess(timing, PROCESS.gamma_gamma, Spread(1.5, 90.0, 0.1))
    assert PurchaseProcess.from_dict(json.loads(json.dumps(process.to_dict()))) == process


@pytest.mark.parametrize("name", sorted(PROCESS.to_dict()))
def test_missing_part(name: str) -> None:
    """A part that is not there is missed by name, never taken to be what is usual."""
    with pytest.raises(KeyError, match=name):
        PurchaseProcess.from_dict({key: value for key, value in PROCESS.to_dict().items() if key != name})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"p_churn": np.array([0.5])}, "shape"),
        ({"p_churn": np.array([0.5, np.nan])}, "lie in"),
        ({"p_churn": np.array([0.5, 1.1])}, "lie in"),
        ({"horizon_days": 0.0}, "horizon_days"),
        ({"interval_coverage": 1.0}, "interval_coverage"),
    ],
)
def test_refusals(changed: dict[str, object], message: str) -> None:
    """An argument out of range is refused by name, never repaired."""
    arguments: dict[str, object] = {"p_churn": np.array([0.5, 0.5]), "horizon_days": 90.0} | changed
    with pytest.raises(ValueError, match=message):
        PROCESS.predict(load_summary().take(np.array([0, 1])), **arguments)  # type: ignore[arg-type]  # bad on purpose


@pytest.mark.parametrize("name", ["margin", "annual_discount_rate", "annual_service_cost"])
@pytest.mark.parametrize("bad", [-1.1, float("nan"), float("inf")])
def test_refused_terms(name: str, bad: float) -> None:
    """A term of value that is out of range is refused by name."""
    with pytest.raises(ValueError, match=name):
        ValueTerms(**{name: bad})
