"""The prior of a shop to which few came back: ten customers of a plain shop, in the shop's own time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.settings import load_settings
from tests.cdnow import load_summary
from training.fitters.btyd import MIN_RETURNED, fit_process, fit_timing, lean_on_prior
from training.fitters.plain_customers import FREQUENCY, N_CUSTOMERS, RECENCY, add_plain_customers
from training.models.purchase_process import TIMING_MODELS
from training.models.summary import PurchaseSummary

SETTINGS = load_settings()


@st.composite
def few_returned(draw: st.DrawFn) -> PurchaseSummary:
    """Draw a shop of up to 60 customers, of whom fewer than `MIN_RETURNED` came back, any number of times."""
    ages = draw(st.lists(st.integers(1, 2000), min_size=1, max_size=60))
    n_returned = draw(st.integers(0, min(len(ages), MIN_RETURNED - 1)))
    orders = [draw(st.integers(1, max(1, min(age, 500)))) if i < n_returned else 0 for i, age in enumerate(ages)]
    recency = [draw(st.integers(x, max(x, age))) if x else 0 for x, age in zip(orders, ages, strict=True)]
    return PurchaseSummary(np.array(orders), np.array(recency), np.array(ages), np.zeros(len(ages)))


def _one_time_buyers(n: int, *, age_days: float = 200.0) -> PurchaseSummary:
    none = np.zeros(n)
    return PurchaseSummary(none, none, np.linspace(1.0, 2.0 * age_days - 1.0, n), none)


@given(few_returned(), st.integers(0, 5))
def test_always_answers(summary: PurchaseSummary, n_repeats: int) -> None:
    """Whatever few customers did, there is a process that answers; longer silence never speaks for a return."""
    process, notes = fit_process(summary, SETTINGS)
    assert process.is_fallback
    assert "made-up ones of a plain shop" in notes[0]
    p_churn = process.timing.p_no_order(summary, horizon_days=90.0)
    assert ((p_churn > 0.0) & (p_churn <= 1.0)).all()
    assert np.isfinite(process.timing.expected_orders(summary, horizon_days=365.0)).all()
    of_alike = process.timing.p_no_order(_alike_but_for_silence(n_repeats), horizon_days=90.0)
    assert (np.diff(of_alike) <= 1e-12).all()


def _alike_but_for_silence(n_repeats: int) -> PurchaseSummary:
    """Return customers with as many orders in as long a time, the last one ever later."""
    recency = np.linspace(n_repeats, 400.0, 20) if n_repeats else np.zeros(20)
    return PurchaseSummary(np.full(20, n_repeats), recency, np.full(20, 400.0), np.zeros(20))


@pytest.mark.parametrize("model", TIMING_MODELS)
def test_fades(model: str) -> None:
    """The more customers there are who never returned, the fewer are expected to, whatever the model asked for."""
    shares = []
    for n in (10, 200):
        summary = _one_time_buyers(n)
        fitted = lean_on_prior(summary, model=model)
        assert type(fitted.model) is TIMING_MODELS[model]
        shares.append(float(fitted.model.expected_orders(summary, horizon_days=90.0).mean()))
    assert shares == sorted(shares, reverse=True)
    assert shares[0] < 0.1
    assert shares[-1] < 0.02


def test_own_time() -> None:
    """A shop that lives ten times as slowly is told the same of a horizon ten times as long."""
    fast, slow = (_one_time_buyers(40, age_days=age_days) for age_days in (50.0, 500.0))
    one = lean_on_prior(fast, model="mbg_nbd").model.p_no_order(add_plain_customers(fast), horizon_days=9.0)
    other = lean_on_prior(slow, model="mbg_nbd").model.p_no_order(add_plain_customers(slow), horizon_days=90.0)
    np.testing.assert_allclose(one, other, rtol=0.02)


def test_plain_customers() -> None:
    """They are about as the CDNOW log's customers are at its mean age, and their values say nothing."""
    summary = load_summary()
    joined = add_plain_customers(summary)
    assert len(joined) == len(summary) + N_CUSTOMERS
    assert not joined.monetary_value[-N_CUSTOMERS:].any()
    assert (FREQUENCY == 0).mean() == pytest.approx((summary.frequency == 0).mean(), abs=0.05)
    assert FREQUENCY.mean() == pytest.approx(summary.frequency.mean(), rel=0.3)
    assert ((RECENCY > 0) == (FREQUENCY > 0)).all()


def test_enough_returned() -> None:
    """With enough customers who came back, no prior is taken, and nothing is said of one."""
    summary = load_summary()
    returned = np.nonzero(summary.frequency > 0)[0]
    for n, is_fallback in ((MIN_RETURNED - 1, True), (300, False)):
        some = summary.take(np.append(returned[:n], np.nonzero(summary.frequency == 0)[0][:n]))
        process, notes = fit_process(some, SETTINGS)
        assert process.is_fallback == is_fallback
        assert any("plain shop" in note for note in notes) == is_fallback
        assert process.is_small == (len(some) < SETTINGS.training.trusted_customers)
    assert process.timing == fit_timing(some).model


def test_order_value() -> None:
    """Where nobody came back, an order is worth the mean of the first orders, when that is told."""
    summary = _one_time_buyers(30)
    process, _ = fit_process(summary, SETTINGS, mean_order_value=42.0)
    np.testing.assert_allclose(process.gamma_gamma.expected_order_value(summary), 42.0, rtol=1e-3)
    assert type(process).from_dict(process.to_dict()) == process
