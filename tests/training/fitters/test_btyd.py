"""Fitting the purchase models: the published CDNOW parameters, and the fits that must be refused."""

import warnings

import numpy as np
import pytest

from features.errors import ConvergenceError
from tests.cdnow import N_CUSTOMERS, load_summary
from training.fitters.btyd import fit_bg_nbd, fit_gamma_gamma
from training.models.summary import PurchaseSummary


def test_bg_nbd_golden() -> None:
    """The CDNOW sample gives the published BG/NBD parameters (Fader, Hardie and Lee 2005, table 2)."""
    fit = fit_bg_nbd(load_summary())
    assert fit.model.r == pytest.approx(0.243, abs=0.0005)
    assert fit.model.alpha == pytest.approx(4.414, abs=0.0005)
    assert fit.model.a == pytest.approx(0.793, abs=0.0005)
    assert fit.model.b == pytest.approx(2.426, abs=0.0005)
    assert fit.log_likelihood == pytest.approx(-9582.429, abs=0.1)
    assert (fit.n_customers, fit.penalizer, fit.failures) == (N_CUSTOMERS, 0.0, ())


def test_gamma_gamma_golden() -> None:
    """The 946 CDNOW repeaters give the published Gamma-Gamma parameters (Fader and Hardie 2013)."""
    fit = fit_gamma_gamma(load_summary())
    assert fit.n_customers == 946
    assert fit.model.p == pytest.approx(6.25, abs=0.005)
    assert fit.model.q == pytest.approx(3.74, abs=0.005)
    assert fit.model.v == pytest.approx(15.44, abs=0.005)
    assert fit.model.population_mean == pytest.approx(35.17, abs=0.005)
    assert fit.penalizer == 0.0


def test_time_unit() -> None:
    """Fitted in days, the model forecasts what it does fitted in weeks."""
    summary = load_summary()
    weeks, days = fit_bg_nbd(summary).model, fit_bg_nbd(summary, time_unit_days=1.0).model
    np.testing.assert_allclose(
        days.expected_orders(summary, horizon_days=90.0), weeks.expected_orders(summary, horizon_days=90.0), rtol=1e-2
    )


def test_currency_unit() -> None:
    """Values in another currency unit change v alone, in proportion."""
    summary = load_summary()
    scaled = PurchaseSummary(summary.frequency, summary.recency_days, summary.T_days, summary.monetary_value * 15_000)
    one, other = fit_gamma_gamma(summary).model, fit_gamma_gamma(scaled).model
    assert other.v == pytest.approx(15_000 * one.v, rel=1e-6)
    assert (other.p, other.q) == pytest.approx((one.p, one.q), rel=1e-6)


def test_unpaid_orders_are_left_out() -> None:
    """Repeaters whose orders were all worth 0 do not reach the value model, and do reach the timing model."""
    summary = load_summary()
    value = np.where(np.arange(len(summary)) % 9 == 0, 0.0, summary.monetary_value)
    unpaid = PurchaseSummary(summary.frequency, summary.recency_days, summary.T_days, value)
    assert fit_gamma_gamma(unpaid).n_customers == int((value > 0).sum())
    assert fit_bg_nbd(unpaid).model == fit_bg_nbd(summary).model


def test_row_order_is_nothing() -> None:
    """Customers in another order give the same fit."""
    summary = load_summary()
    mixed = summary.take(np.random.default_rng(0).permutation(len(summary)))
    assert fit_bg_nbd(mixed).model == fit_bg_nbd(summary).model


def test_too_few_repeaters() -> None:
    """With fewer than 10 repeat customers both fits are refused, with the count and a remedy."""
    summary = load_summary()
    few = summary.take(np.append(np.nonzero(summary.frequency > 0)[0][:9], np.nonzero(summary.frequency == 0)[0]))
    for fit in (fit_bg_nbd, fit_gamma_gamma):
        with pytest.raises(ConvergenceError, match=r"at least 10 .* got 9.*longer order history"):
            fit(few)


def test_ridge_is_refused() -> None:
    """Customers who all buy like clockwork have no finite best fit: every attempt is refused, with its reason."""
    n = 200
    clockwork = PurchaseSummary(np.full(n, 20.0), np.full(n, 140.0), np.full(n, 140.0), np.full(n, 10.0))
    with pytest.raises(ConvergenceError, match=r"penalizer 0: .*penalizer 0.001: .*ridge"):
        fit_bg_nbd(clockwork)


def test_penalizer_is_reported() -> None:
    """Order values without any spread need a penalizer, and the fit says which and why."""
    n = 50
    flat = PurchaseSummary(np.full(n, 3.0), np.full(n, 20.0), np.full(n, 60.0), np.full(n, 10.0))
    fit = fit_gamma_gamma(flat)
    assert fit.penalizer > 0
    assert fit.failures[0].startswith("penalizer 0: ")


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """A fit prints nothing and leaves the process's warning filters as they were."""
    before = list(warnings.filters)
    fit_bg_nbd(load_summary())
    assert list(warnings.filters) == before
    assert capsys.readouterr() == ("", "")
