"""MBG/NBD: published values from a fit of our own, and the customer who ordered once."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cdnow import load_summary
from training.models.bg_nbd import BgNbd
from training.models.maximum_likelihood import Fit
from training.models.mbg_nbd import MbgNbd
from training.models.summary import PurchaseSummary


@pytest.fixture(scope="module")
def cdnow() -> Fit[MbgNbd]:
    """The fit to the CDNOW sample, in weeks."""
    return MbgNbd.fit(load_summary())


def _once(*ages_days: float) -> PurchaseSummary:
    none = np.zeros(len(ages_days))
    return PurchaseSummary(none, none, np.array(ages_days), none)


def test_fit_golden(cdnow: Fit[MbgNbd]) -> None:
    """The CDNOW sample has the published parameters and log-likelihood (Batislam, Denizel and Filiztekin 2007)."""
    assert cdnow.model.r == pytest.approx(0.525, abs=0.0005)
    assert cdnow.model.alpha == pytest.approx(6.183, abs=0.0005)
    assert cdnow.model.a == pytest.approx(0.891, abs=0.0005)
    assert cdnow.model.b == pytest.approx(1.614, abs=0.0005)
    assert cdnow.log_likelihood == pytest.approx(-9582.136, abs=0.0005)


def test_one_time_buyer_fades(cdnow: Fit[MbgNbd]) -> None:
    """One who ordered once starts alive with b/(a+b), and less with every week of silence."""
    model = cdnow.model
    p_alive = model.p_alive(_once(0, 7, 70, 700, 7000))
    assert p_alive[0] == pytest.approx(model.b / (model.a + model.b), rel=1e-12)
    assert (np.diff(p_alive) < 0).all()
    assert p_alive[-1] < p_alive[0] / 5


def test_one_chance_more(cdnow: Fit[MbgNbd]) -> None:
    """Given alive, the customer is BG/NBD's with b one higher: one more chance was not taken."""
    model, summary = cdnow.model, load_summary()
    shifted = BgNbd(model.r, model.alpha, model.a, model.b + 1)
    ends = np.array([90.0, 365.25])
    ours, theirs = model.orders_if_alive(summary, ends_days=ends), shifted.orders_if_alive(summary, ends_days=ends)
    np.testing.assert_allclose(ours.expected, theirs.expected, rtol=1e-12)
    np.testing.assert_allclose(ours.factorial, theirs.factorial, rtol=1e-12)


def test_new_customer_may_be_gone(cdnow: Fit[MbgNbd]) -> None:
    """A new customer never orders again with at least a/(a+b), and with hardly more in a thousand years."""
    model = cdnow.model
    never = model.p_orders_new(365_250.0, max_orders=0)[0]
    floor = model.a / (model.a + model.b)
    assert floor < never < floor + 0.02
