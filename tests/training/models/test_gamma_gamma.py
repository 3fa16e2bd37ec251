"""Gamma-Gamma: published values, an independent implementation, and customers without information."""

import json
import warnings

import numpy as np
import pytest

from tests.cdnow import load_summary
from training.models.gamma_gamma import GammaGamma
from training.models.summary import PurchaseSummary

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import lifetimes
    import pandas as pd

CDNOW = GammaGamma(p=6.24957, q=3.74422, v=15.44352)  # Fader and Hardie (2013), unrounded


def test_population_mean_golden() -> None:
    """E(M) is the published 35.17, near the 35.08 observed over 946 repeaters (Fader and Hardie 2013)."""
    summary = load_summary()
    assert CDNOW.population_mean == pytest.approx(35.17, abs=0.005)
    assert summary.monetary_value[summary.frequency > 0].mean() == pytest.approx(35.08, abs=0.005)


def test_expected_value_oracle() -> None:
    """The conditional expectation agrees with lifetimes on every repeat customer."""
    summary = load_summary()
    fitter = lifetimes.GammaGammaFitter()
    fitter.params_ = pd.Series({"p": CDNOW.p, "q": CDNOW.q, "v": CDNOW.v})
    oracle = fitter.conditional_expected_average_profit(summary.frequency, summary.monetary_value)
    np.testing.assert_allclose(CDNOW.expected_order_value(summary), oracle, rtol=1e-12)


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
