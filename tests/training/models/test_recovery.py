"""What the fits find of a truth that is known, in cohorts drawn from it. `make soak` draws a hundred for each model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tests.training.models.simulate import Simulated, simulate_orders, simulate_values
from training.models.bg_nbd import BgNbd
from training.models.gamma_gamma import GammaGamma
from training.models.mbg_nbd import MbgNbd
from training.models.pareto_nbd import ParetoNbd
from training.models.summary import FloatArray, PurchaseSummary

N_CUSTOMERS = 2000
YEAR_DAYS = 364.0
BG, MBG = BgNbd(1.0, 10.0, 0.5, 2.0), MbgNbd(1.0, 10.0, 0.4, 2.0)
PARETO, VALUE = ParetoNbd(1.0, 10.0, 0.6, 20.0), GammaGamma(p=6.0, q=4.0, v=15.0)


@dataclass(frozen=True, slots=True)
class Recovery:
    """How far the fits to k cohorts are from the truth.

    Attributes:
        relative_error: (k,) of the mean that the model is for: orders in a year, or the value of an order.
        z: (k, n_parameters) errors of the log parameters, in standard errors.
    """

    relative_error: FloatArray
    z: FloatArray


def recover(truth: Simulated, *, n_cohorts: int) -> Recovery:
    """Draw cohorts of 2,000 customers who first ordered 200 to 400 days ago, and fit each."""
    errors, z, year = [], [], np.array([YEAR_DAYS])
    for seed in range(n_cohorts):
        rng = np.random.default_rng(seed)
        summary = simulate_orders(truth, ages_days=rng.uniform(200.0, 400.0, N_CUSTOMERS), rng=rng)
        fit = type(truth).fit(summary)
        errors.append(fit.model.expected_orders_new(year)[0] / truth.expected_orders_new(year)[0] - 1)
        z.append(_z(fit.estimates, [getattr(truth, name) for name in fit.names], fit.covariance))
    return Recovery(np.array(errors), np.array(z))


def recover_value(truth: GammaGamma, *, n_cohorts: int) -> Recovery:
    """Draw cohorts of 2,000 customers with 1 to 5 repeat orders, and fit each."""
    errors, z, frequency = [], [], 1.0 + np.arange(N_CUSTOMERS, dtype=np.float64) % 5
    for seed in range(n_cohorts):
        values = simulate_values(truth, frequency=frequency, rng=np.random.default_rng(seed))
        fit = GammaGamma.fit(PurchaseSummary(frequency, frequency, frequency, values))
        errors.append(fit.model.population_mean / truth.population_mean - 1)
        z.append(_z(fit.estimates, [truth.p, truth.q, truth.v], fit.covariance))
    return Recovery(np.array(errors), np.array(z))


def _z(estimates: FloatArray, truth: list[float], covariance: FloatArray) -> FloatArray:
    log_errors = np.sqrt(np.diag(covariance)) / estimates
    result: FloatArray = np.log(estimates / np.array(truth)) / log_errors
    return result


@pytest.mark.parametrize("truth", [BG, MBG], ids=lambda truth: truth.name)
def test_year_of_orders(truth: Simulated) -> None:
    """Over 20 cohorts the orders of a new customer's year are 3 % off at most on average, to neither side."""
    recovery = recover(truth, n_cohorts=20)
    assert np.abs(recovery.relative_error).mean() < 0.03
    assert abs(recovery.relative_error.mean()) < 0.015


def test_year_of_orders_pareto() -> None:
    """Over 10 cohorts, whose fits take longer, they are 4 % off at most on average, hardly to one side."""
    recovery = recover(PARETO, n_cohorts=10)
    assert np.abs(recovery.relative_error).mean() < 0.04
    assert abs(recovery.relative_error.mean()) < 0.025


def test_order_value() -> None:
    """Over 20 cohorts the mean value of an order is 3 % off at most on average, to neither side."""
    recovery = recover_value(VALUE, n_cohorts=20)
    assert np.abs(recovery.relative_error).mean() < 0.03
    assert abs(recovery.relative_error.mean()) < 0.01
