"""BG/NBD: published values, an independent implementation, and the limits of the formulas."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln

from tests.cdnow import load_summary
from tests.training.models.strategies import processes, summaries
from training.models.bg_nbd import BgNbd
from training.models.purchase_process import PurchaseProcess
from training.models.summary import FloatArray, PurchaseSummary

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import lifetimes
    import pandas as pd

PUBLISHED = BgNbd(r=0.243, alpha=4.414, a=0.793, b=2.426)
CDNOW = BgNbd(r=0.24259454, alpha=4.41360272, a=0.79292183, b=2.42590573)  # the same, unrounded


def _lifetimes(model: BgNbd) -> lifetimes.BetaGeoFitter:
    fitter = lifetimes.BetaGeoFitter()
    fitter.params_ = pd.Series({"r": model.r, "alpha": model.alpha, "a": model.a, "b": model.b})
    return fitter


def _customer(x: float, recency_days: float, age_days: float) -> PurchaseSummary:
    value = np.array([1.0 if x else 0.0])
    return PurchaseSummary(np.array([x]), np.array([recency_days]), np.array([age_days]), value)


def test_log_likelihood_golden() -> None:
    """The CDNOW sample has the published log-likelihood (Fader, Hardie and Lee 2005, table 2)."""
    assert CDNOW.log_likelihood(load_summary()).sum() == pytest.approx(-9582.429, abs=0.001)
    assert PUBLISHED.log_likelihood(load_summary()).sum() == pytest.approx(-9582.429, abs=0.1)


@pytest.mark.parametrize("model", [PUBLISHED, CDNOW])
def test_conditional_expectation_golden(model: BgNbd) -> None:
    """E[Y(39) | x=2, t_x=30.43, T=38.86] is the published 1.226 (Fader, Hardie and Lee 2005)."""
    expected = model.expected_orders(_customer(2, 30.43 * 7, 38.86 * 7), horizon_days=39 * 7)
    assert expected[0] == pytest.approx(1.226, abs=0.0005)


@pytest.mark.parametrize(
    ("weeks", "published"), [(0.1429, 0.0078), (1, 0.0532), (3, 0.1506), (31.8571, 1.0405), (32, 1.0437)]
)
def test_unconditional_expectation_golden(weeks: float, published: float) -> None:
    """E[X(t)] has the published values (Hardie's BG/NBD spreadsheet note 004)."""
    assert CDNOW.expected_orders_new(np.array([7 * weeks]))[0] == pytest.approx(published, abs=0.00005)


def test_unconditional_expectation_at_78_weeks() -> None:
    """At 78 weeks the published 1.8576 is eq. 9 with 2F1 cut after 150 terms; the whole series gives 1.8580."""
    r, alpha, a, b = CDNOW.r, CDNOW.alpha, CDNOW.a, CDNOW.b
    j, z = np.arange(150), 78 / (alpha + 78)
    log_terms = gammaln(r + j) - gammaln(r) + gammaln(b + j) - gammaln(b) - gammaln(j + 1) + j * np.log(z)
    terms = np.exp(log_terms - gammaln(a + b - 1 + j) + gammaln(a + b - 1))
    published = (a + b - 1) / (a - 1) * (1 - (alpha / (alpha + 78)) ** r * terms.sum())
    assert published == pytest.approx(1.8576, abs=0.00005)
    oracle = _lifetimes(CDNOW).expected_number_of_purchases_up_to_time(78)
    assert CDNOW.expected_orders_new(np.array([546.0]))[0] == pytest.approx(oracle, rel=1e-9)


def test_p_alive_oracle() -> None:
    """p_alive agrees with lifetimes on every CDNOW customer."""
    summary = load_summary()
    oracle = _lifetimes(CDNOW).conditional_probability_alive(
        summary.frequency, summary.recency_days / 7, summary.T_days / 7
    )
    np.testing.assert_allclose(CDNOW.p_alive(summary), oracle, rtol=1e-6)


@pytest.mark.parametrize("horizon_days", [7.0, 90.0, 273.0])
def test_conditional_expectation_oracle(horizon_days: float) -> None:
    """The conditional expectation agrees with lifetimes' 2F1 formula on every CDNOW customer."""
    summary = load_summary()
    oracle = _lifetimes(CDNOW).conditional_expected_number_of_purchases_up_to_time(
        horizon_days / 7, summary.frequency, summary.recency_days / 7, summary.T_days / 7
    )
    np.testing.assert_allclose(CDNOW.expected_orders(summary, horizon_days=horizon_days), oracle, rtol=1e-6)


def test_one_time_buyer_is_alive() -> None:
    """A customer with one order is alive with probability 1, and orders again as eq. 10 says."""
    customer = _customer(0, 0, 100)
    p_order = 1 - (CDNOW.alpha / (CDNOW.alpha + 90 / 7 / (1 + 100 / 7 / CDNOW.alpha))) ** CDNOW.r
    assert CDNOW.p_alive(customer).tolist() == [1.0]
    assert CDNOW.p_no_order(customer, horizon_days=90.0)[0] == pytest.approx(1 - p_order)


def test_simulated_moments() -> None:
    """The mean and the second factorial moment agree with a simulation of the model's own story."""
    model, rng, n = BgNbd(r=2.0, alpha=3.0, a=0.8, b=2.5), np.random.default_rng(7), 200_000
    rate, p = rng.gamma(model.r, 1 / model.alpha, n), rng.beta(model.a, model.b, n)
    stop = rng.geometric(np.maximum(p, 1e-12))
    counts = np.minimum(rng.poisson(rate * 20), stop).astype(np.float64)
    alive = model.orders_if_alive(_customer(0, 0, 0), ends_days=np.array([140.0]))
    assert alive.expected[0, 0] == pytest.approx(counts.mean(), rel=0.01)
    assert alive.factorial[0, 0] == pytest.approx((counts * (counts - 1)).mean(), rel=0.03)
    assert alive.p_order[0, 0] == pytest.approx((counts > 0).mean(), rel=0.01)


@pytest.mark.parametrize("a", [1.0, 1.0 + 1e-12, 1e-4, 500.0])
def test_extreme_dropout(a: float) -> None:
    """The expectation is continuous where the closed form is 0/0, and finite for heavy buyers."""
    model, beside = BgNbd(0.5, 2.0, a, 1.5), BgNbd(0.5, 2.0, a * (1 + 1e-9), 1.5)
    for customer in (_customer(0, 0, 1), _customer(2000, 2500, 2600), _customer(5, 30, 2600)):
        expected = model.expected_orders(customer, horizon_days=365.25)
        assert np.isfinite(expected).all()
        np.testing.assert_allclose(expected, beside.expected_orders(customer, horizon_days=365.25), rtol=1e-6)


def test_no_dropout_limit() -> None:
    """With vanishing dropout the expectation is that of the NBD: (r + x) · t / (alpha + T)."""
    model = BgNbd(r=0.7, alpha=3.0, a=1e-9, b=5.0)
    expected = model.expected_orders(_customer(4, 70, 84), horizon_days=70.0)
    assert expected[0] == pytest.approx(4.7 * 10 / 15, rel=1e-6)


@settings(deadline=None)
@given(processes(), summaries(), st.floats(min_value=1.0, max_value=400.0))
def test_expectation_bounds(process: PurchaseProcess, summary: PurchaseSummary, horizon_days: float) -> None:
    """At least the chance of an order, at most the orders without dropout, and growing with the horizon."""
    model = process.bg_nbd
    ends: FloatArray = np.array([horizon_days, 1.5 * horizon_days])
    path = model.expected_orders_path(summary, ends_days=ends)
    assert (path[:, 1] >= path[:, 0]).all()
    p_order = model.p_alive(summary) * model.p_order_if_alive(summary, horizon_days=horizon_days)
    assert (path[:, 0] >= p_order * (1 - 1e-9)).all()
    without_dropout = (model.r + summary.frequency) * horizon_days / (model.alpha * 7 + summary.T_days)
    assert (path[:, 0] <= without_dropout * (1 + 1e-9)).all()


@settings(deadline=None)
@given(processes(), summaries())
def test_horizon_forms(process: PurchaseProcess, summary: PurchaseSummary) -> None:
    """A horizon for all, a horizon per customer and a path of ends give the same orders."""
    single = process.bg_nbd.expected_orders(summary, horizon_days=90.0)
    each = process.bg_nbd.expected_orders(summary, horizon_days=np.full(len(summary), 90.0))
    path = process.bg_nbd.expected_orders_path(summary, ends_days=np.array([90.0]))[:, 0]
    np.testing.assert_allclose(each, single, rtol=1e-12)
    np.testing.assert_allclose(path, single, rtol=1e-12)


def test_json_round_trip() -> None:
    """Parameters survive JSON unchanged."""
    assert BgNbd.from_dict(json.loads(json.dumps(CDNOW.to_dict()))) == CDNOW


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_parameter_refusals(bad: float) -> None:
    """A parameter that is not finite and positive is refused by name."""
    with pytest.raises(ValueError, match="alpha"):
        BgNbd(r=0.2, alpha=bad, a=1.0, b=1.0)


def test_horizon_refusal() -> None:
    """A negative horizon is refused."""
    with pytest.raises(ValueError, match="horizon"):
        CDNOW.expected_orders(_customer(0, 0, 10), horizon_days=-1.0)
