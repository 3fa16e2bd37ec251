"""The part of a total's error that estimated parameters make."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cdnow import load_summary
from training.models.bg_nbd import BgNbd
from training.models.gamma_gamma import GammaGamma
from training.models.parameter_error import relative_parameter_error
from training.models.value_terms import YEAR_DAYS


def test_as_drawn_parameters() -> None:
    """The delta method agrees with totals under parameters drawn from the estimates' own distribution."""
    summary = load_summary()
    timing, value = BgNbd.fit(summary), GammaGamma.fit(summary)
    rng, totals = np.random.default_rng(5), []
    for r, alpha, a, b in rng.multivariate_normal(timing.estimates, timing.covariance, size=150):
        p, q, v = rng.multivariate_normal(value.estimates, value.covariance)
        orders = BgNbd(r, alpha, a, b).expected_orders(summary, horizon_days=YEAR_DAYS)
        totals.append(float(orders @ GammaGamma(p, q, v).expected_order_value(summary)))
    error = relative_parameter_error(timing, value, summary, np.ones(len(summary)))
    assert error == pytest.approx(np.std(totals) / np.mean(totals), rel=0.2)


def test_falls_with_customers() -> None:
    """Four times as many customers halve it."""
    summary = load_summary()
    errors = [
        relative_parameter_error(
            BgNbd.fit(summary, n_customers=counts), GammaGamma.fit(summary, n_customers=counts), summary, counts
        )
        for counts in (np.ones(len(summary)), np.full(len(summary), 4.0))
    ]
    assert errors[1] == pytest.approx(errors[0] / 2, rel=1e-3)
