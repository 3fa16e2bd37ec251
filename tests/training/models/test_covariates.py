"""Covariates: channels whose customers order at different rates, drawn so that the effect is known."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from features.errors import ConvergenceError
from tests.training.models.simulate import Simulated, simulate_orders
from training.models.bg_nbd import BgNbd
from training.models.covariates import Covariates, CovariateTiming, fit_with_covariates
from training.models.maximum_likelihood import Fit
from training.models.mbg_nbd import MbgNbd
from training.models.pareto_nbd import ParetoNbd
from training.models.summary import FloatArray, PurchaseSummary
from training.models.timing import TimingModel

N_CUSTOMERS = 1500
EFFECTS = {"search": 0.0, "mail": 0.7, "market": -0.6}  # of the logarithm of the order rate
BG, MBG = BgNbd(1.0, 10.0, 0.5, 2.0), MbgNbd(1.0, 10.0, 0.4, 2.0)
PARETO = ParetoNbd(1.0, 10.0, 0.6, 20.0)

every_model = pytest.mark.parametrize("truth", [BG, MBG, PARETO], ids=lambda model: model.name)


@cache
def draw_shop(truth: Simulated) -> tuple[PurchaseSummary, dict[str, Any]]:
    """Draw a shop of three channels, the first the largest, whose rates differ by `EFFECTS`; deaths do not."""
    rng = np.random.default_rng(11)
    channel = rng.choice(list(EFFECTS), N_CUSTOMERS, p=[0.5, 0.25, 0.25])
    ages, parts = rng.uniform(200.0, 400.0, N_CUSTOMERS), np.empty((4, N_CUSTOMERS))
    for name, effect in EFFECTS.items():
        rows = channel == name
        part = simulate_orders(replace(truth, alpha=truth.alpha * np.exp(-effect)), ages_days=ages[rows], rng=rng)
        parts[:, rows] = part.frequency, part.recency_days, part.T_days, part.monetary_value
    return PurchaseSummary(*parts), {"channel": channel}


@cache
def fit_shop(truth: Simulated) -> Fit[CovariateTiming[Any]]:
    """Fit the shop's own model to it, with the channel."""
    return fit_with_covariates(type(truth), *draw_shop(truth))


def year_of_orders(model: TimingModel, summary: PurchaseSummary) -> FloatArray:
    """Ask for the orders of a year."""
    return model.expected_orders(summary, horizon_days=365.25)


def stack(*parts: PurchaseSummary) -> PurchaseSummary:
    """Put the customers of several shops one after another."""
    names = ("frequency", "recency_days", "T_days", "monetary_value")
    return PurchaseSummary(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@every_model
def test_recovery(truth: Simulated) -> None:
    """The effect of each channel is found within three standard errors, and so is every parameter of the model."""
    fit = fit_shop(truth)
    effects = {f"alpha:channel={name}": effect for name, effect in EFFECTS.items() if effect}
    deaths = {name: 0.0 for name in fit.names if name.startswith("beta:")}
    expected = {**truth.to_dict(), **effects, **deaths}
    for name, estimate in zip(fit.names, fit.estimates, strict=True):
        is_positive = name in truth.parameters
        error = np.log(estimate / expected[name]) if is_positive else estimate - expected[name]
        scale = fit.standard_errors[name] / (estimate if is_positive else 1.0)
        assert abs(error) < 3 * scale, name
        assert scale < (0.8 if is_positive or name in deaths else 0.2), name


@every_model
def test_effect_pays(truth: Simulated) -> None:
    """Where channels do differ, both criteria prefer the fit that knows them."""
    summary, _ = draw_shop(truth)
    plain, fit = type(truth).fit(summary), fit_shop(truth)
    assert fit.aic < plain.aic - 20
    assert fit.bic < plain.bic


@every_model
def test_unit(truth: Simulated) -> None:
    """Days or weeks as the unit change neither the effects nor any answer."""
    summary, columns = draw_shop(truth)
    weeks, days = fit_shop(truth), fit_with_covariates(type(truth), summary, columns, time_unit_days=1.0)
    np.testing.assert_allclose(days.model.coefficients, weeks.model.coefficients, rtol=1e-6)
    orders = [fit.model.ask(columns, summary, year_of_orders) for fit in (weeks, days)]
    np.testing.assert_allclose(orders[1], orders[0], rtol=1e-6)
    change = float(summary.frequency.sum()) * np.log(7.0)
    assert days.log_likelihood == pytest.approx(weeks.log_likelihood - change, rel=1e-9)
    assert days.standard_errors["alpha"] == pytest.approx(7 * weeks.standard_errors["alpha"], rel=1e-4)


@every_model
def test_no_effect(truth: Simulated) -> None:
    """Two channels with the very same customers have no effect, and the plain fit's parameters."""
    summary = draw_shop(truth)[0].take(np.arange(0, N_CUSTOMERS, 4))
    columns = {"channel": ["mail"] * len(summary) + ["search"] * len(summary)}
    fit = fit_with_covariates(type(truth), stack(summary, summary), columns)
    plain = type(truth).fit(summary)
    n_base = len(truth.parameters)
    np.testing.assert_allclose(fit.estimates[n_base:], 0, atol=1e-4)
    np.testing.assert_allclose(fit.estimates[:n_base], plain.estimates, rtol=1e-3)
    assert fit.log_likelihood == pytest.approx(2 * plain.log_likelihood, rel=1e-9)


def test_drawn_to_none() -> None:
    """A penalty draws effects to 0, and a heavy one leaves the fit that the plain model has under it."""
    summary, columns = draw_shop(MBG)
    fits = [fit_with_covariates(MbgNbd, summary, columns, penalizer=penalizer) for penalizer in (0.0, 0.1, 1e4)]
    sizes = [float(np.abs(fit.model.coefficients).max()) for fit in fits]
    assert sizes[0] > sizes[1] > sizes[2]
    assert sizes[2] < 1e-3
    plain = MbgNbd.fit(summary, penalizer=1e4)
    np.testing.assert_allclose(fits[2].estimates[:4], plain.estimates, rtol=1e-3)
    answer = fits[2].model.ask(columns, summary, year_of_orders)
    np.testing.assert_allclose(answer, year_of_orders(plain.model, summary), rtol=2e-3)


def test_ask() -> None:
    """Each customer is answered by the model of their channel, in their order, whatever the shape of an answer."""
    (summary, columns), model = draw_shop(MBG), fit_shop(MBG).model
    counts = model.ask(columns, summary, lambda m, s: m.p_orders(s, horizon_days=90.0, max_orders=2))
    assert counts.shape == (N_CUSTOMERS, 3)
    assert model.covariates.levels["channel"][0] == "search"
    for number, name in enumerate(model.covariates.levels["channel"]):
        rows = columns["channel"] == name
        own = model.model_of(np.eye(3)[number, 1:])
        expected = own.p_orders(summary.take(rows), horizon_days=90.0, max_orders=2)
        np.testing.assert_array_equal(counts[rows], expected)


def test_counted() -> None:
    """Customers counted beforehand, per channel and statistics, give the fit of the customers one by one."""
    summary, columns = draw_shop(MBG)
    few = summary.take(np.arange(0, N_CUSTOMERS, 3))
    channel = columns["channel"][::3].tolist()
    twice = fit_with_covariates(MbgNbd, stack(few, few), {"channel": channel * 2})
    counted = fit_with_covariates(MbgNbd, few, {"channel": channel}, n_customers=np.full(len(few), 2.0))
    np.testing.assert_allclose(counted.estimates, twice.estimates, rtol=1e-5)
    assert counted.n_customers == twice.n_customers == 2 * len(few)


def test_several() -> None:
    """With several covariates every value but the most frequent has its coefficient, on every scale of the model."""
    columns = {"channel": ["a", "b", "a", "c"], "country": ["at", "de", "de", "de"]}
    covariates = Covariates.of(columns)
    assert covariates.names == ("channel=b", "channel=c", "country=at")
    np.testing.assert_array_equal(covariates.design(columns), [[0, 0, 1], [1, 0, 0], [0, 0, 0], [0, 1, 0]])
    assert len(fit_shop(PARETO).names) == 4 + 2 * 2
    assert len(fit_shop(MBG).names) == 4 + 2


def test_refused() -> None:
    """A covariate that tells nobody apart, one that is missing, and a value that the fit did not see are refused."""
    summary, columns = draw_shop(MBG)
    model = fit_shop(MBG).model
    with pytest.raises(ValueError, match="covariate channel has one value only"):
        fit_with_covariates(MbgNbd, summary, {"channel": ["mail"] * N_CUSTOMERS})
    with pytest.raises(ValueError, match="covariate channel is missing"):
        model.ask({"country": columns["channel"]}, summary, year_of_orders)
    rest = columns["channel"][7:].tolist()
    with pytest.raises(ValueError, match=r"channel has values in 7 rows that the fit did not see: 'radio'\."):
        model.ask({"channel": ["radio"] * 7 + rest}, summary, year_of_orders)
    with pytest.raises(ValueError, match=r"in 7 rows .*: 'a', 'b', 'c' …\. Replace them"):
        model.ask({"channel": [*"badceab", *rest]}, summary, year_of_orders)


def test_lone_value() -> None:
    """A channel of one customer who never came back says nothing of its rate, and the fit is refused as a ridge."""
    summary, columns = draw_shop(MBG)
    lone = int(np.flatnonzero(summary.frequency == 0)[0])
    channel = columns["channel"].tolist()
    channel[lone] = "radio"
    with pytest.raises(ConvergenceError, match="radio") as refused:
        fit_with_covariates(MbgNbd, summary, {"channel": channel})
    assert refused.value.reason == "ridge"
