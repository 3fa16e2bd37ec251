"""Fitting the purchase models: what is fitted where the model asked for has no believable fit, and what is refused."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from features.errors import ConvergenceError
from tests.cdnow import load_summary
from tests.training.models.simulate import simulate_orders
from training.fitters import lifetimes_fits
from training.fitters.btyd import Fitter, fit_alone, fit_order_value, fit_timing
from training.models.bg_nbd import BgNbd
from training.models.mbg_nbd import MbgNbd
from training.models.purchase_process import TIMING_MODELS
from training.models.summary import PurchaseSummary

PUBLISHED = {
    "bg_nbd": (0.243, 4.414, 0.793, 2.426),
    "mbg_nbd": (0.525, 6.183, 0.891, 1.614),
    "pareto_nbd": (0.553, 10.58, 0.606, 11.67),
}
FITTERS: tuple[Fitter, ...] = ("lifestage", "lifetimes")

every_model = pytest.mark.parametrize("model", TIMING_MODELS)
every_fitter = pytest.mark.parametrize("fitter", FITTERS)


def _equal_customers(n: int, *, frequency: float, recency_days: float, T_days: float) -> PurchaseSummary:
    return PurchaseSummary(np.full(n, frequency), np.full(n, recency_days), np.full(n, T_days), np.full(n, 10.0))


@pytest.fixture(scope="module")
def faithful() -> PurchaseSummary:
    """Customers of whom next to none ever drops out, so that a model of dropout has little to hold on to."""
    rng = np.random.default_rng(0)
    return simulate_orders(BgNbd(0.5, 5.0, 1e-4, 5.0), ages_days=rng.uniform(200, 400, 2000), rng=rng)


@every_fitter
@every_model
def test_golden(model: str, fitter: Fitter) -> None:
    """Either fitter finds the published parameters of the CDNOW sample, at the first attempt."""
    fitted = fit_timing(load_summary(), model=model, fitter=fitter)
    assert type(fitted.model) is TIMING_MODELS[model]
    found = [getattr(fitted.model, name) for name in fitted.model.parameters]
    assert found == pytest.approx(PUBLISHED[model], abs=0.005)
    assert (fitted.failures, fitted.notes) == ((), ())


@every_model
def test_fitters_agree(model: str) -> None:
    """Both fitters lead to the same forecast of each customer."""
    ours, theirs = (fit_timing(load_summary(), model=model, fitter=fitter).model for fitter in FITTERS)
    expected = ours.expected_orders(load_summary(), horizon_days=90.0)
    np.testing.assert_allclose(theirs.expected_orders(load_summary(), horizon_days=90.0), expected, rtol=1e-3)


@every_fitter
def test_order_value_golden(fitter: Fitter) -> None:
    """The CDNOW repeaters give the published Gamma-Gamma parameters (Fader and Hardie 2013), by either fitter."""
    fitted = fit_order_value(load_summary(), fitter=fitter)
    assert (fitted.model.p, fitted.model.q, fitted.model.v) == pytest.approx((6.25, 3.74, 15.44), abs=0.005)
    assert fitted.model.population_mean == pytest.approx(35.17, abs=0.005)
    assert fitted.notes == ()


def test_default() -> None:
    """Without a wish, MBG/NBD is fitted, by our own fitter."""
    assert fit_timing(load_summary()).model == MbgNbd.fit(load_summary()).model


@every_fitter
def test_currency_unit(fitter: Fitter) -> None:
    """Values in another currency unit change v alone, in proportion."""
    summary = load_summary()
    scaled = PurchaseSummary(summary.frequency, summary.recency_days, summary.T_days, summary.monetary_value * 15_000)
    one, other = (fit_order_value(each, fitter=fitter).model for each in (summary, scaled))
    assert other.v == pytest.approx(15_000 * one.v, rel=1e-6)
    assert (other.p, other.q) == pytest.approx((one.p, one.q), rel=1e-6)


@every_fitter
def test_unpaid_orders_are_left_out(fitter: Fitter) -> None:
    """Repeaters whose orders were all worth 0 do not reach the value model, and do reach the timing model."""
    summary = load_summary()
    value = np.where(np.arange(len(summary)) % 9 == 0, 0.0, summary.monetary_value)
    unpaid = PurchaseSummary(summary.frequency, summary.recency_days, summary.T_days, value)
    paid = unpaid.take(value > 0)
    assert fit_order_value(unpaid, fitter=fitter).model == fit_order_value(paid, fitter=fitter).model
    assert fit_timing(unpaid, fitter=fitter).model == fit_timing(summary, fitter=fitter).model


@every_fitter
def test_row_order_is_nothing(fitter: Fitter) -> None:
    """Customers in another order give the same fit."""
    summary = load_summary()
    mixed = summary.take(np.random.default_rng(0).permutation(len(summary)))
    one, other = (fit_timing(each, fitter=fitter).model.to_dict() for each in (summary, mixed))
    assert other == pytest.approx(one, rel=1e-6)


def test_falls_back_to_another_model(faithful: PurchaseSummary) -> None:
    """Where the model asked for runs along a ridge, another is fitted in its place, and a note says why."""
    fitted = fit_timing(faithful, model="bg_nbd")
    assert type(fitted.model) is MbgNbd
    (note,) = fitted.notes
    assert note.startswith("MBG/NBD was fitted, because BG/NBD has no usable fit on this data: ")
    assert "ridge" in note
    assert fit_timing(faithful, model="mbg_nbd").notes == ()


def test_falls_back_to_a_prior() -> None:
    """Customers who all buy like clockwork have no finite best fit of any model; a prior gives one, and is told of."""
    clockwork = _equal_customers(200, frequency=20, recency_days=140, T_days=140)
    fitted = fit_timing(clockwork)
    assert [failure.split(" has ")[0] for failure in fitted.failures] == ["MBG/NBD", "BG/NBD"]
    assert all("ridge" in failure for failure in fitted.failures)
    assert fitted.notes[0].startswith("MBG/NBD was fitted with penalizer 0.001, because ")
    weekly = fitted.model.expected_orders(clockwork.take(np.array([0])), horizon_days=70.0)
    assert weekly[0] == pytest.approx(10.0, rel=0.05)


def test_no_other_model(faithful: PurchaseSummary) -> None:
    """Fitted alone, a model falls back on a prior of its own, and never on another model."""
    assert type(fit_alone(faithful, "bg_nbd")) is BgNbd
    assert fit_alone(load_summary(), "bg_nbd") == BgNbd.fit(load_summary()).model


def _nine_repeaters() -> PurchaseSummary:
    summary = load_summary()
    return summary.take(np.append(np.nonzero(summary.frequency > 0)[0][:9], np.nonzero(summary.frequency == 0)[0]))


@every_fitter
def test_too_few_repeaters(fitter: Fitter) -> None:
    """With fewer than 10 repeat customers a fit of timing is refused at once, with the count and a remedy."""
    with pytest.raises(ConvergenceError, match=r"at least 10 .* got 9.*longer order history") as refused:
        fit_timing(_nine_repeaters(), fitter=fitter)
    assert refused.value.reason == "too_few"
    assert "; " not in refused.value.problem


@every_fitter
def test_too_few_values(fitter: Fitter) -> None:
    """With too few known values every order is worth their mean, for everybody, and a note says so."""
    few = _nine_repeaters()
    fitted = fit_order_value(few, fitter=fitter)
    known = few.monetary_value[few.monetary_is_known()].mean()
    np.testing.assert_allclose(fitted.model.expected_order_value(few), known, rtol=0.01)
    assert fitted.notes[0].startswith("Every order is taken to be worth the same, because Gamma-Gamma needs")


def test_no_spread() -> None:
    """Order values that are all the same, or all 0, are taken for what they are."""
    priced = _equal_customers(50, frequency=3, recency_days=20, T_days=60)
    fitted = fit_order_value(priced)
    np.testing.assert_allclose(fitted.model.expected_order_value(priced), priced.monetary_value, rtol=1e-3)
    assert "is the same" in fitted.notes[0]
    free = replace(priced, monetary_value=np.zeros(50))
    np.testing.assert_allclose(fit_order_value(free).model.expected_order_value(free), 1e-6, rtol=1e-3)


def test_reference_ridge() -> None:
    """Parameters that lifetimes lets run away are refused as a ridge, not taken as a fit."""
    with pytest.raises(ConvergenceError) as refused:
        lifetimes_fits.fit_timing(_equal_customers(200, frequency=20, recency_days=140, T_days=140), BgNbd)
    assert refused.value.reason == "ridge"


@every_fitter
def test_quiet(capsys: pytest.CaptureFixture[str], fitter: Fitter) -> None:
    """A fit prints nothing and leaves the process's warning filters as they were."""
    before = list(warnings.filters)
    fit_timing(load_summary(), fitter=fitter)
    fit_order_value(load_summary(), fitter=fitter)
    assert list(warnings.filters) == before
    assert capsys.readouterr() == ("", "")
