"""Gamma-Gamma: published values from a fit of our own, customers without information, and data without a model."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConvergenceError
from tests.cdnow import load_summary
from tests.training.models.simulate import simulate_values
from tests.training.models.strategies import gamma_gammas, summaries
from training.models.gamma_gamma import GammaGamma
from training.models.maximum_likelihood import Fit
from training.models.summary import FloatArray, PurchaseSummary

CDNOW = GammaGamma(p=6.24957, q=3.74422, v=15.44352)  # Fader and Hardie (2013), unrounded
N_CUSTOMERS = 500


@pytest.fixture(scope="module")
def cdnow() -> Fit[GammaGamma]:
    """The fit to the repeat customers of the CDNOW sample."""
    return GammaGamma.fit(load_summary())


def _spenders(monetary_value: FloatArray) -> PurchaseSummary:
    """Customers with 1 to 5 repeat orders each."""
    n = len(monetary_value)
    frequency = 1.0 + np.arange(n, dtype=np.float64) % 5
    return PurchaseSummary(frequency, 10 * frequency, np.full(n, 90.0), monetary_value)


def test_fit_golden(cdnow: Fit[GammaGamma]) -> None:
    """946 repeat customers give the published parameters, and E(M) 35.17 (Fader and Hardie 2013)."""
    assert cdnow.n_customers == 946
    assert cdnow.model.p == pytest.approx(6.25, abs=0.005)
    assert cdnow.model.q == pytest.approx(3.74, abs=0.005)
    assert cdnow.model.v == pytest.approx(15.44, abs=0.005)
    assert cdnow.model.population_mean == pytest.approx(35.17, abs=0.005)


def test_observed_mean_golden() -> None:
    """The 946 repeat customers spent the published 35.08 on average (Fader and Hardie 2013)."""
    summary = load_summary()
    assert summary.monetary_value[summary.frequency > 0].mean() == pytest.approx(35.08, abs=0.005)


def test_fit_likelihood(cdnow: Fit[GammaGamma]) -> None:
    """The log-likelihood of the fit is the sum of the customers' own."""
    assert cdnow.log_likelihood == pytest.approx(cdnow.model.log_likelihood(load_summary()).sum(), rel=1e-12)


@given(gamma_gammas(), summaries())
def test_between_own_and_population(model: GammaGamma, summary: PurchaseSummary) -> None:
    """The expected value lies between the customer's own mean and the population's, finite and above 0."""
    own = np.where(summary.monetary_is_known(), summary.monetary_value, model.population_mean)
    expected = model.expected_order_value(summary)
    assert np.isfinite(expected).all()
    assert (expected >= np.minimum(own, model.population_mean) * (1 - 1e-9)).all()
    assert (expected <= np.maximum(own, model.population_mean) * (1 + 1e-9)).all()
    assert (model.relative_variance_of_mean(summary) > 0).all()
    assert (model.relative_variance_of_order(summary) > model.relative_variance_of_mean(summary)).all()
    assert np.isfinite(model.log_likelihood(summary)).all()


@given(gamma_gammas(), summaries(), st.floats(min_value=1e-4, max_value=1e6))
def test_currency(model: GammaGamma, summary: PurchaseSummary, factor: float) -> None:
    """In another currency the same customer is worth the same."""
    priced = PurchaseSummary(summary.frequency, summary.recency_days, summary.T_days, factor * summary.monetary_value)
    other = GammaGamma(model.p, model.q, factor * model.v)
    ours, theirs = model.expected_order_value(summary), other.expected_order_value(priced)
    np.testing.assert_allclose(theirs, factor * ours, rtol=1e-9)


@pytest.mark.parametrize("factor", [1e-6, 100.0, 1e9])
def test_fit_currency(cdnow: Fit[GammaGamma], factor: float) -> None:
    """Money k times as much gives the same p and q, and k times the v."""
    summary = load_summary()
    priced = PurchaseSummary(summary.frequency, summary.recency_days, summary.T_days, factor * summary.monetary_value)
    fit = GammaGamma.fit(priced)
    np.testing.assert_allclose(fit.estimates, cdnow.estimates * [1, 1, factor], rtol=1e-6)
    log_likelihood = cdnow.log_likelihood - fit.n_customers * np.log(factor)
    assert fit.log_likelihood == pytest.approx(log_likelihood, rel=1e-9)


def test_unpaid_orders_teach_nothing(cdnow: Fit[GammaGamma]) -> None:
    """Customers whose repeat orders are worth 0 or less leave the fit as it is."""
    summary, none = load_summary(), np.zeros(20)
    more = PurchaseSummary(
        np.append(summary.frequency, none + 3),
        np.append(summary.recency_days, none + 9),
        np.append(summary.T_days, none + 20),
        np.append(summary.monetary_value, np.repeat([0.0, -5.0], 10)),
    )
    fit = GammaGamma.fit(more)
    assert fit.n_customers == 946
    np.testing.assert_allclose(fit.estimates, cdnow.estimates, rtol=1e-6)


def test_counted_cells(cdnow: Fit[GammaGamma]) -> None:
    """A table of cells with their numbers of customers gives the fit of the customers."""
    summary = load_summary()
    twice = GammaGamma.fit(summary, n_customers=np.full(len(summary), 2.0))
    assert twice.n_customers == 2 * cdnow.n_customers
    np.testing.assert_allclose(twice.estimates, cdnow.estimates, rtol=1e-6)
    np.testing.assert_allclose(twice.covariance, cdnow.covariance / 2, rtol=1e-5)


def test_no_spread() -> None:
    """Where all spend the same, no spread can be learned."""
    with pytest.raises(ConvergenceError, match="the same") as refusal:
        GammaGamma.fit(_spenders(np.full(N_CUSTOMERS, 20.0)))
    assert refusal.value.reason == "no_spread"


@pytest.mark.parametrize("values", [np.zeros(N_CUSTOMERS), np.full(9, 20.0) + np.arange(9)], ids=["unpaid", "nine"])
def test_too_few(values: FloatArray) -> None:
    """Fewer than 10 repeat customers who paid are too few."""
    with pytest.raises(ConvergenceError, match="at least 10") as refusal:
        GammaGamma.fit(_spenders(values))
    assert refusal.value.reason == "too_few"


def test_infinite_mean() -> None:
    """Spenders so uneven that their mean is infinite are refused as that, and not priced below 0."""
    rng = np.random.default_rng(0)
    frequency = 1.0 + np.arange(N_CUSTOMERS) % 5
    values = rng.gamma(3.0 * frequency) / rng.gamma(0.8, 0.1, N_CUSTOMERS) / frequency
    with pytest.raises(ConvergenceError, match="q = 0") as refusal:
        GammaGamma.fit(_spenders(values))
    assert refusal.value.reason == "infinite_mean"


def test_heavy_tails() -> None:
    """Values over ten powers of ten are refused, whether the search ends at an infinite mean or at none."""
    values = 20.0 * np.exp(5.0 * np.random.default_rng(0).normal(size=N_CUSTOMERS))
    with pytest.raises(ConvergenceError, match="no usable fit") as refusal:
        GammaGamma.fit(_spenders(values))
    assert refusal.value.reason in {"infinite_mean", "ridge"}


def test_ridge() -> None:
    """Values so even that no gamma distribution is even enough are refused as a ridge."""
    values = 20.0 + 0.5 * np.random.default_rng(0).normal(size=N_CUSTOMERS)
    with pytest.raises(ConvergenceError, match="ridge") as refusal:
        GammaGamma.fit(_spenders(values))
    assert refusal.value.reason == "ridge"


def test_heavy_buyer() -> None:
    """One who ordered 10,000 times among others is fitted and priced without overflow."""
    truth = GammaGamma(p=3.0, q=4.0, v=20.0)
    frequency = np.append(1.0 + np.arange(N_CUSTOMERS) % 5, 10_000.0)
    values = simulate_values(truth, frequency=frequency, rng=np.random.default_rng(1))
    summary = PurchaseSummary(frequency, frequency, frequency + 1, values)
    model = GammaGamma.fit(summary).model
    assert model.population_mean == pytest.approx(truth.population_mean, rel=0.1)
    assert model.expected_order_value(summary)[-1] == pytest.approx(values[-1], rel=1e-3)


def test_no_information() -> None:
    """One order, repeat orders worth 0, or repeat orders worth less: the population's mean stands in."""
    summary = PurchaseSummary(np.array([0.0, 3, 3]), np.array([0.0, 9, 9]), np.full(3, 20.0), np.array([0.0, 0, -5]))
    np.testing.assert_allclose(CDNOW.expected_order_value(summary), CDNOW.population_mean)
    assert np.ptp(CDNOW.relative_variance_of_mean(summary)) == 0


def test_simulated_variances() -> None:
    """The relative variances agree with a simulation of the posterior."""
    x, m = 2.0, 30.0
    summary = PurchaseSummary(np.array([x]), np.array([9.0]), np.array([20.0]), np.array([m]))
    rng = np.random.default_rng(3)
    nu = rng.gamma(CDNOW.q + CDNOW.p * x, 1 / (CDNOW.v + x * m), 400_000)
    mean, order = CDNOW.p / nu, rng.gamma(CDNOW.p, 1 / nu)
    assert CDNOW.expected_order_value(summary)[0] == pytest.approx(mean.mean(), rel=0.01)
    assert CDNOW.relative_variance_of_mean(summary)[0] == pytest.approx(mean.var() / mean.mean() ** 2, rel=0.03)
    assert CDNOW.relative_variance_of_order(summary)[0] == pytest.approx(order.var() / order.mean() ** 2, rel=0.03)


def test_heavy_tail_is_held() -> None:
    """Where the variance of the mean is infinite, its ratio is held at 1 as documented."""
    summary = PurchaseSummary(np.zeros(1), np.zeros(1), np.ones(1), np.zeros(1))
    assert GammaGamma(p=2.0, q=1.2, v=5.0).relative_variance_of_mean(summary).tolist() == [1.0]


def test_json_round_trip() -> None:
    """Parameters survive JSON unchanged."""
    assert GammaGamma.from_dict(json.loads(json.dumps(CDNOW.to_dict()))) == CDNOW


@pytest.mark.parametrize(
    ("parameters", "name"), [((0.0, 2.0, 1.0), "p"), ((1.0, 1.0, 1.0), "q"), ((1.0, 2.0, float("nan")), "v")]
)
def test_parameter_refusals(parameters: tuple[float, float, float], name: str) -> None:
    """A parameter outside its range is refused by name; q must exceed 1, or the mean is infinite."""
    with pytest.raises(ValueError, match=f"parameter {name} "):
        GammaGamma(*parameters)
