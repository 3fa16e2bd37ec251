"""Pareto/NBD: published values from a fit of our own, and the places where the closed forms break."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from tests.cdnow import load_summary
from training.models.maximum_likelihood import Fit
from training.models.pareto_nbd import ParetoNbd
from training.models.summary import PurchaseSummary


@pytest.fixture(scope="module")
def cdnow() -> Fit[ParetoNbd]:
    """The fit to the CDNOW sample, in weeks."""
    return ParetoNbd.fit(load_summary())


def _customer(x: float, recency_days: float, age_days: float) -> PurchaseSummary:
    value = np.array([1.0 if x else 0.0])
    return PurchaseSummary(np.array([x]), np.array([recency_days]), np.array([age_days]), value)


def test_fit_golden(cdnow: Fit[ParetoNbd]) -> None:
    """The CDNOW sample has the published parameters and log-likelihood (Fader, Hardie and Lee 2005, table 2)."""
    assert cdnow.model.r == pytest.approx(0.553, abs=0.0005)
    assert cdnow.model.alpha == pytest.approx(10.58, abs=0.005)
    assert cdnow.model.s == pytest.approx(0.606, abs=0.0005)
    assert cdnow.model.beta == pytest.approx(11.67, abs=0.005)
    assert cdnow.log_likelihood == pytest.approx(-9594.976, abs=0.0005)


@pytest.mark.parametrize("customer", [(0, 0, 270), (2, 213, 272), (40, 250, 260)])
def test_p_order_is_the_integral(customer: tuple[float, float, float]) -> None:
    """P(an order | alive) is the integral over the day of that order, by an adaptive rule."""
    r, alpha, s, beta = 0.553, 10.58, 0.606, 11.67
    c, age, t = r + customer[0], customer[2] / 7, 13.0
    first_order_at = lambda y: c * (alpha + age) ** c / (alpha + y) ** (c + 1) * ((beta + age) / (beta + y)) ** s  # noqa: E731  # a formula
    integral = quad(first_order_at, age, age + t, epsabs=0.0, epsrel=1e-12)[0]
    p_order = ParetoNbd(r, alpha, s, beta).p_order_if_alive(_customer(*customer), horizon_days=7 * t)
    assert p_order[0] == pytest.approx(integral, rel=1e-10)


@pytest.mark.parametrize("changed", [{"s": 1.0}, {"s": 2.0}, {"alpha": 11.67}, {"s": 1e-4}, {"s": 50.0}])
def test_removable_singularities(changed: dict[str, float]) -> None:
    """At s = 1, s = 2 and alpha = beta, 0/0 in the closed forms, the answers are those beside."""
    parameters = {"r": 0.553, "alpha": 10.58, "s": 0.606, "beta": 11.67} | changed
    model = ParetoNbd(**parameters)
    beside = ParetoNbd(**{name: value * (1 + 1e-9) for name, value in parameters.items()})
    ends = np.array([1.0, 90.0, 3652.5])
    for customer in (_customer(0, 0, 1), _customer(2000, 2500, 2600), _customer(5, 30, 2600)):
        ours, theirs = (m.orders_if_alive(customer, ends_days=ends) for m in (model, beside))
        np.testing.assert_allclose(ours.expected, theirs.expected, rtol=1e-6)
        np.testing.assert_allclose(ours.factorial, theirs.factorial, rtol=1e-6)
        np.testing.assert_allclose(model.p_alive(customer), beside.p_alive(customer), rtol=1e-6)


def test_no_death_limit() -> None:
    """With vanishing death the expectation is that of the NBD, and nobody is gone."""
    model, customer = ParetoNbd(r=0.7, alpha=3.0, s=1e-9, beta=5.0), _customer(4, 70, 84)
    assert model.expected_orders(customer, horizon_days=70.0)[0] == pytest.approx(4.7 * 10 / 15, rel=1e-6)
    assert model.p_alive(customer)[0] == pytest.approx(1.0, abs=1e-6)


def test_never_reached() -> None:
    """A chance of an order that death forestalls is reached on no day."""
    model, customer = ParetoNbd(r=1.0, alpha=10.0, s=2.0, beta=2.0), _customer(0, 0, 7)
    lifetime = model.p_order_if_alive(customer, horizon_days=1e6)[0]
    waits = [float(model.wait_days_if_alive(customer, np.array([p]))[0]) for p in (0.0, 0.9 * lifetime, 0.9, 1.0)]
    assert lifetime < 0.9
    assert waits[0] == 0.0
    assert np.isfinite(waits[1])
    assert waits[2:] == [np.inf, np.inf]


@pytest.mark.parametrize("short_of_the_limit", [0.5, 1e-3, 1e-6, 1e-15])
@pytest.mark.parametrize("changed", [{}, {"r": 0.05, "s": 20.0}, {"alpha": 0.05, "beta": 50.0}, {"s": 1e-9}])
def test_wait_near_the_limit(changed: dict[str, float], short_of_the_limit: float) -> None:
    """However near the chance that death leaves, the wait for it is found, of the new and of the heaviest buyers."""
    model = ParetoNbd(**{"r": 0.553, "alpha": 10.58, "s": 0.606, "beta": 11.67} | changed)
    for customer in (_customer(0, 0, 0), _customer(1, 5, 700), _customer(2000, 2500, 2600)):
        p = model.p_order_if_alive(customer, horizon_days=1e7) * (1 - short_of_the_limit)
        wait = model.wait_days_if_alive(customer, p)
        np.testing.assert_allclose(model.p_order_if_alive(customer, horizon_days=wait), p, rtol=1e-8)


def test_daily_for_a_century() -> None:
    """One who ordered daily and may for a century: P(Y = 0), a sum over times of death, is still 1 − P(an order)."""
    model, customer = ParetoNbd(r=18.0, alpha=0.2254, s=8.95, beta=0.17), _customer(470, 470, 470)
    p_orders = model.p_orders(customer, horizon_days=36_525.0, max_orders=1)
    assert p_orders[0, 0] == pytest.approx(model.p_no_order(customer, horizon_days=36_525.0)[0], rel=1e-10)
