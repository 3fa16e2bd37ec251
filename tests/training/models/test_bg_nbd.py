"""BG/NBD: published values, from fits of our own, and the limits of the formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import gammaln

from tests.cdnow import CALIBRATION_END, N_CUSTOMERS, load_order_days, load_summary
from training.models.bg_nbd import BgNbd
from training.models.maximum_likelihood import Fit
from training.models.summary import PurchaseSummary

PUBLISHED = BgNbd(r=0.243, alpha=4.414, a=0.793, b=2.426)


@pytest.fixture(scope="module")
def cdnow() -> Fit[BgNbd]:
    """The fit to the CDNOW sample, in weeks."""
    return BgNbd.fit(load_summary())


def _customer(x: float, recency_days: float, age_days: float) -> PurchaseSummary:
    value = np.array([1.0 if x else 0.0])
    return PurchaseSummary(np.array([x]), np.array([recency_days]), np.array([age_days]), value)


def test_fit_golden(cdnow: Fit[BgNbd]) -> None:
    """The CDNOW sample has the published parameters and log-likelihood (Fader, Hardie and Lee 2005, table 2)."""
    assert cdnow.model.r == pytest.approx(0.243, abs=0.0005)
    assert cdnow.model.alpha == pytest.approx(4.414, abs=0.0005)
    assert cdnow.model.a == pytest.approx(0.793, abs=0.0005)
    assert cdnow.model.b == pytest.approx(2.426, abs=0.0005)
    assert cdnow.log_likelihood == pytest.approx(-9582.429, abs=0.0005)
    assert PUBLISHED.log_likelihood(load_summary()).sum() == pytest.approx(-9582.429, abs=0.1)


def test_free_orders_count(cdnow: Fit[BgNbd]) -> None:
    """The 8 customers who never paid for an order are customers all the same: the papers' 2,357 are all fitted."""
    histories = load_order_days().values()
    known = [[value for day, value in days.items() if day <= CALIBRATION_END] for days in histories]
    assert sum(not any(values) for values in known) == 8
    assert cdnow.n_customers == N_CUSTOMERS == len(load_summary())


def test_conditional_expectation_golden(cdnow: Fit[BgNbd]) -> None:
    """E[Y(39) | x=2, t_x=30.43, T=38.86] is the published 1.226 (Fader, Hardie and Lee 2005)."""
    for model in (cdnow.model, PUBLISHED):
        expected = model.expected_orders(_customer(2, 30.43 * 7, 38.86 * 7), horizon_days=39 * 7)
        assert expected[0] == pytest.approx(1.226, abs=0.0005)


@pytest.mark.parametrize(
    ("weeks", "published"), [(0.1429, 0.0078), (1, 0.0532), (3, 0.1506), (31.8571, 1.0405), (32, 1.0437)]
)
def test_unconditional_expectation_golden(cdnow: Fit[BgNbd], weeks: float, published: float) -> None:
    """E[X(t)] has the published values (Hardie's BG/NBD spreadsheet note 004)."""
    assert cdnow.model.expected_orders_new(np.array([7 * weeks]))[0] == pytest.approx(published, abs=0.00005)


def test_unconditional_expectation_at_78_weeks(cdnow: Fit[BgNbd]) -> None:
    """At 78 weeks the published 1.8576 is eq. 9 with 2F1 cut after 150 terms; the whole series gives 1.8580."""
    model, z = cdnow.model, 78 / (cdnow.model.alpha + 78)
    r, b, c = model.r, model.b, model.a + model.b - 1

    def series(n_terms: int) -> float:
        j = np.arange(n_terms)
        log_terms = gammaln(r + j) - gammaln(r) + gammaln(b + j) - gammaln(b) - gammaln(j + 1) + j * np.log(z)
        total = np.exp(log_terms - gammaln(c + j) + gammaln(c)).sum()
        return float(c / (model.a - 1) * (1 - (1 - z) ** r * total))

    assert series(150) == pytest.approx(1.8576, abs=0.00005)
    assert model.expected_orders_new(np.array([546.0]))[0] == pytest.approx(series(5000), rel=1e-9)


def test_one_time_buyer_is_alive(cdnow: Fit[BgNbd]) -> None:
    """A customer with one order is alive with probability 1, and orders again as eq. 10 says."""
    model, customer = cdnow.model, _customer(0, 0, 100)
    p_order = 1 - (model.alpha / (model.alpha + 90 / 7 / (1 + 100 / 7 / model.alpha))) ** model.r
    assert model.p_alive(customer).tolist() == [1.0]
    assert model.p_no_order(customer, horizon_days=90.0)[0] == pytest.approx(1 - p_order)


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


@pytest.mark.parametrize("horizon_days", [0.1, 2.0, 20.0, 200.0])
def test_factorial_moment(horizon_days: float) -> None:
    """The second factorial moment is that of the chances of each count, even where it nearly vanishes."""
    model, customer, n = BgNbd(0.07, 0.33, 0.085, 0.52), _customer(0, 0, 102), np.arange(401.0)
    alive = model.orders_if_alive(customer, ends_days=np.array([horizon_days]))
    p_orders = model.p_orders_if_alive(customer, horizon_days=horizon_days, max_orders=400)
    assert alive.factorial[0, 0] == pytest.approx((p_orders @ (n * (n - 1)))[0], rel=1e-7)
