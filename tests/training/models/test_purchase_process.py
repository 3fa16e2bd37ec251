"""The tied purchase process: the identities between churn, orders and value, on any customers and parameters."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cdnow import load_summary
from tests.training.models.strategies import processes, summaries
from training.models.bg_nbd import BgNbd
from training.models.gamma_gamma import GammaGamma
from training.models.purchase_process import MONTH_ENDS_DAYS, Forecast, PurchaseProcess
from training.models.summary import FloatArray, PurchaseSummary

PROCESS = PurchaseProcess(BgNbd(0.2426, 4.4136, 0.7929, 2.4259), GammaGamma(6.2496, 3.7442, 15.4435))
HORIZON_DAYS = 90.0

any_case = given(processes(), summaries(), st.data())
relaxed = settings(deadline=None)


def _predict(process: PurchaseProcess, summary: PurchaseSummary, p_churn: FloatArray) -> Forecast:
    return process.predict(
        summary,
        p_churn,
        horizon_days=HORIZON_DAYS,
        margin=0.3,
        annual_discount_rate=0.1,
        interval_coverage=0.8,
    )


def _draw_churn(data: st.DataObject, n: int) -> FloatArray:
    return np.array(data.draw(st.lists(st.floats(min_value=0.0, max_value=1.0), min_size=n, max_size=n)))


@relaxed
@any_case
def test_root_identity(process: PurchaseProcess, summary: PurchaseSummary, data: st.DataObject) -> None:
    """expected_orders = (1 − p_churn) · E[orders | at least one], with the condition taken from BG/NBD alone."""
    p_churn = _draw_churn(data, len(summary))
    alive = process.bg_nbd.orders_if_alive(summary, ends_days=np.array([HORIZON_DAYS]))
    conditional = (alive.expected / alive.p_order)[alive.inverse, 0]
    forecast = _predict(process, summary, p_churn)
    np.testing.assert_allclose(forecast.expected_orders, (1 - p_churn) * conditional, rtol=1e-12, atol=0)
    assert (forecast.expected_orders >= (1 - p_churn) * (1 - 1e-9)).all()


@relaxed
@any_case
def test_alive_bound(process: PurchaseProcess, summary: PurchaseSummary, data: st.DataObject) -> None:
    """1 ≥ p_alive ≥ 1 − p_churn, whatever the churn model said."""
    p_churn = _draw_churn(data, len(summary))
    forecast = _predict(process, summary, p_churn)
    assert (forecast.p_alive >= 1 - p_churn).all()
    assert (forecast.p_alive <= 1).all()


@relaxed
@any_case
def test_value_is_sum_of_months(process: PurchaseProcess, summary: PurchaseSummary, data: st.DataObject) -> None:
    """clv_12m is the sum of its months, and each month orders × order value × margin × discount."""
    forecast = _predict(process, summary, _draw_churn(data, len(summary)))
    assert np.array_equal(forecast.clv_12m, forecast.clv_by_month.sum(axis=1))
    discounts = 1.1 ** -((np.arange(12) + 0.5) / 12)
    months = forecast.orders_by_month * forecast.expected_order_value[:, None] * 0.3 * discounts
    np.testing.assert_allclose(forecast.clv_by_month, months, rtol=1e-12, atol=0)


@relaxed
@any_case
def test_never_undefined(process: PurchaseProcess, summary: PurchaseSummary, data: st.DataObject) -> None:
    """Every output is finite and not negative, but for a next order that may never come."""
    forecast = _predict(process, summary, _draw_churn(data, len(summary)))
    for field in fields(forecast):
        values = getattr(forecast, field.name)
        if field.name == "next_order_days":
            values = values[~np.isnan(values)]
        assert np.isfinite(values).all(), field.name
        assert (values >= 0).all(), field.name
    assert (forecast.clv_12m_low <= forecast.clv_12m_high).all()


@relaxed
@any_case
def test_next_order_agrees_with_churn(process: PurchaseProcess, summary: PurchaseSummary, data: st.DataObject) -> None:
    """The next order is expected within the horizon exactly where staying is likelier than leaving."""
    p_churn = _draw_churn(data, len(summary))
    days = _predict(process, summary, p_churn).next_order_days
    assert (days[p_churn < 0.499] <= HORIZON_DAYS).all()
    assert not (days[p_churn > 0.501] < HORIZON_DAYS).any()


@relaxed
@given(processes(), summaries())
def test_own_churn_gives_own_orders(process: PurchaseProcess, summary: PurchaseSummary) -> None:
    """Tied to BG/NBD's own churn probability, the process is BG/NBD itself."""
    model = process.bg_nbd
    p_no_order = model.p_no_order(summary, horizon_days=HORIZON_DAYS)
    forecast = _predict(process, summary, p_no_order)
    untied = model.expected_orders_path(summary, ends_days=MONTH_ENDS_DAYS)
    np.testing.assert_allclose(forecast.orders_by_month.cumsum(axis=1), untied, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(forecast.p_alive, model.p_alive(summary), rtol=1e-6, atol=1e-12)


def test_year_horizon() -> None:
    """Over a horizon of 365.25 days the months' orders sum to expected_orders."""
    summary, p_churn = load_summary(), np.full(len(load_summary()), 0.4)
    forecast = PROCESS.predict(
        summary, p_churn, horizon_days=365.25, margin=1.0, annual_discount_rate=0.0, interval_coverage=0.8
    )
    np.testing.assert_allclose(forecast.orders_by_month.sum(axis=1), forecast.expected_orders, rtol=1e-12)


def test_alone_as_in_the_batch() -> None:
    """A customer forecast alone gets the same bytes as among all others."""
    summary = load_summary()
    p_churn = np.random.default_rng(1).random(len(summary))
    batch = _predict(PROCESS, summary, p_churn)
    for row in range(0, len(summary), 40):
        alone = _predict(PROCESS, summary.take(np.array([row])), p_churn[row : row + 1])
        for field in fields(batch):
            assert getattr(batch, field.name)[row : row + 1].tobytes() == getattr(alone, field.name).tobytes()


def test_certain_leaver() -> None:
    """A customer certain to leave is worth nothing, and no next order is named."""
    summary = load_summary()
    forecast = _predict(PROCESS, summary, np.ones(len(summary)))
    assert not forecast.clv_12m.any()
    assert not forecast.clv_12m_high.any()
    assert np.isnan(forecast.next_order_days).all()


def test_upper_bound_coverage() -> None:
    """Where the model is true, a tenth of the year's outcomes pass the upper bound of an 80 % interval."""
    summary = load_summary()
    summary = summary.take(np.nonzero(summary.frequency > 0)[0].repeat(20))
    p_no_order = PROCESS.bg_nbd.p_no_order(summary, horizon_days=HORIZON_DAYS)
    forecast = PROCESS.predict(
        summary,
        p_no_order,
        horizon_days=HORIZON_DAYS,
        margin=1.0,
        annual_discount_rate=0.0,
        interval_coverage=0.8,
    )
    values = _simulate_year(summary, np.random.default_rng(11))
    assert forecast.clv_12m.sum() == pytest.approx(values.sum(), rel=0.05)
    is_open = forecast.clv_12m_high > 0
    assert (values > forecast.clv_12m_high)[is_open].mean() == pytest.approx(0.10, abs=0.02)


def _simulate_year(summary: PurchaseSummary, rng: np.random.Generator) -> FloatArray:
    """Draw each customer's value of the coming year from the posterior of both models."""
    timing, value, x = PROCESS.bg_nbd, PROCESS.gamma_gamma, summary.frequency
    n = len(summary)
    rate = rng.gamma(timing.r + x, 1 / (timing.alpha + summary.T_days / 7))
    p = np.maximum(rng.beta(timing.a, timing.b + x), 1e-12)
    counts = np.minimum(rng.poisson(rate * 365.25 / 7), rng.geometric(p))
    counts = np.where(rng.random(n) < timing.p_alive(summary), counts, 0)
    known = np.where(summary.monetary_is_known(), x, 0.0)
    nu = rng.gamma(value.q + value.p * known, 1 / (value.v + known * summary.monetary_value))
    result: FloatArray = np.where(counts > 0, rng.gamma(np.maximum(counts, 1) * value.p) / nu, 0.0)
    return result


def test_json_round_trip() -> None:
    """Both models survive JSON unchanged."""
    assert PurchaseProcess.from_dict(json.loads(json.dumps(PROCESS.to_dict()))) == PROCESS


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"p_churn": np.array([0.5])}, "shape"),
        ({"p_churn": np.array([0.5, np.nan])}, "lie in"),
        ({"p_churn": np.array([0.5, 1.1])}, "lie in"),
        ({"horizon_days": 0.0}, "horizon_days"),
        ({"margin": -0.1}, "margin"),
        ({"annual_discount_rate": -1.0}, "annual_discount_rate"),
        ({"interval_coverage": 1.0}, "interval_coverage"),
    ],
)
def test_refusals(changed: dict[str, object], message: str) -> None:
    """An argument out of range is refused by name, never repaired."""
    arguments: dict[str, object] = {
        "p_churn": np.array([0.5, 0.5]),
        "horizon_days": 90.0,
        "margin": 1.0,
        "annual_discount_rate": 0.1,
        "interval_coverage": 0.8,
    } | changed
    with pytest.raises(ValueError, match=message):
        PROCESS.predict(load_summary().take(np.array([0, 1])), **arguments)  # type: ignore[arg-type]  # bad on purpose
