"""lifetimes 0.11.3 beside ours: equal where it is right, and each known place where it is not.

Nothing of it runs in the product. Its answers are asked for without warnings, which it gives where it fails.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from features.errors import ConvergenceError
from tests.cdnow import load_summary
from tests.training.models.simulate import Simulated, simulate_values
from training.models.bg_nbd import BgNbd
from training.models.gamma_gamma import GammaGamma
from training.models.mbg_nbd import MbgNbd
from training.models.pareto_nbd import ParetoNbd
from training.models.summary import FloatArray, PurchaseSummary

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import lifetimes
    import pandas as pd

BG, MBG = BgNbd(0.243, 4.414, 0.793, 2.426), MbgNbd(0.525, 6.183, 0.891, 1.614)
PARETO = ParetoNbd(0.553, 10.58, 0.606, 11.67)
MODELS: list[Simulated] = [BG, MBG, PARETO]
YEAR_DAYS = 365.25

every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


def _fitter(model: type[Simulated] | Simulated) -> Any:
    kind = model if isinstance(model, type) else type(model)
    fitters = {
        BgNbd: lifetimes.BetaGeoFitter,
        MbgNbd: lifetimes.ModifiedBetaGeoFitter,
        ParetoNbd: lifetimes.ParetoNBDFitter,
    }
    return fitters[kind]()


def _theirs(model: Simulated) -> Any:
    """Return lifetimes' model of the same parameters."""
    fitter = _fitter(model)
    fitter.params_ = pd.Series({name: getattr(model, name) for name in model.parameters})
    fitter.predict = fitter.conditional_expected_number_of_purchases_up_to_time
    return fitter


def _fit_theirs(model: type[Simulated], summary: PurchaseSummary, weights: FloatArray | None = None) -> Any:
    fitter, starts = _fitter(model), {"initial_params": np.ones(4)} if model is ParetoNbd else {}
    with _failing():
        fitter.fit(*_weeks(summary), weights=weights, **starts)
    return fitter


def _weeks(summary: PurchaseSummary) -> tuple[FloatArray, FloatArray, FloatArray]:
    return summary.frequency, summary.recency_days / 7, summary.T_days / 7


def _customer(x: float, recency_days: float, age_days: float) -> PurchaseSummary:
    value = np.array([1.0 if x else 0.0])
    return PurchaseSummary(np.array([x]), np.array([recency_days]), np.array([age_days]), value)


@contextlib.contextmanager
def _failing() -> Iterator[None]:
    with warnings.catch_warnings(), np.errstate(all="ignore"), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _read(name: str) -> pl.DataFrame:
    spec = importlib.util.find_spec("lifetimes")
    assert spec is not None
    assert spec.submodule_search_locations
    return pl.read_csv(Path(spec.submodule_search_locations[0]) / "datasets" / name)


@cache
def _load(name: str) -> PurchaseSummary:
    """Summarise one of lifetimes' own data sets."""
    if name == "sample":
        return load_summary()
    if name == "transactions":
        days = _read("example_transactions.csv").select("id", pl.col("date").str.slice(0, 10).str.to_date()).unique()
        dates, end = days.group_by("id", maintain_order=True), pl.date(2014, 12, 31)
        first, last = pl.col("date").min(), pl.col("date").max()
        table = dates.agg(x=pl.len() - 1, t_x=(last - first).dt.total_days(), T=(end - first).dt.total_days())
        return _summary(table.with_columns(zbar=pl.col("x").sign()), unit_days=1.0)
    return _summary(_read("cdnow_customers_summary_with_transactions.csv"), unit_days=7.0)


def _summary(table: pl.DataFrame, *, unit_days: float) -> PurchaseSummary:
    x, t_x, age, value = (table[name].cast(pl.Float64).to_numpy() for name in ("x", "t_x", "T", "zbar"))
    return PurchaseSummary(x, unit_days * t_x, unit_days * age, np.where(x > 0, value, 0.0))


def _load_donations() -> tuple[PurchaseSummary, FloatArray]:
    """Read the donors who could give once in each of 6 periods: cells, and the donors in each."""
    table = _read("donations.csv").rename({"frequency": "x", "recency": "t_x", "periods": "T"})
    summary = _summary(table.with_columns(zbar=pl.col("x").sign()), unit_days=7.0)
    return summary, table["weights"].cast(pl.Float64).to_numpy()


@pytest.mark.parametrize(
    ("model", "name"), [(BgNbd, "sample"), (MbgNbd, "sample"), (MbgNbd, "transactions"), (ParetoNbd, "transactions")]
)
def test_fits_agree(model: type[Simulated], name: str) -> None:
    """Ours is at least as likely as theirs, the same model, and as sure of it."""
    summary = _load(name)
    fit, theirs = model.fit(summary), _fit_theirs(model, summary)
    found = model(*theirs.params_[list(model.parameters)])
    assert fit.log_likelihood >= found.log_likelihood(summary).sum() * (1 + 1e-9)
    np.testing.assert_allclose(fit.estimates, theirs.params_[list(fit.names)], rtol=2e-3)
    if model is not ParetoNbd:  # which has no standard errors there
        np.testing.assert_allclose(list(fit.standard_errors.values()), theirs.standard_errors_, rtol=2e-3)


@pytest.mark.parametrize("name", ["sample", "transactions", "values"])
@every_model
def test_answers_agree(model: Simulated, name: str) -> None:
    """Likelihood, P(alive), conditional and unconditional expectation are theirs on every customer."""
    summary, theirs = _load(name), _theirs(model)
    weeks = _weeks(summary)
    parameters = [theirs.params_[name] for name in model.parameters]
    if isinstance(model, ParetoNbd):
        log_likelihood = theirs._conditional_log_likelihood(parameters, *weeks).sum()
    else:
        weights = np.ones(len(summary))
        log_likelihood = -len(summary) * theirs._negative_log_likelihood(np.log(parameters), *weeks, weights, 0)
    assert model.log_likelihood(summary).sum() == pytest.approx(log_likelihood, rel=1e-9)
    np.testing.assert_allclose(model.p_alive(summary), theirs.conditional_probability_alive(*weeks), rtol=1e-6)
    for horizon_days in (7.0, 90.0, 273.0):
        expected = theirs.conditional_expected_number_of_purchases_up_to_time(horizon_days / 7, *weeks)
        np.testing.assert_allclose(model.expected_orders(summary, horizon_days=horizon_days), expected, rtol=1e-6)
    new = theirs.expected_number_of_purchases_up_to_time(np.array([1.0, 10.0, 100.0]))
    np.testing.assert_allclose(model.expected_orders_new(np.array([7.0, 70.0, 700.0])), new, rtol=1e-6)


@pytest.mark.parametrize("model", [BG, MBG], ids=lambda model: model.name)
def test_counts_of_new_customers_agree(model: Simulated) -> None:
    """P(X(t) = n) is theirs for the few orders that theirs can count."""
    p = [_theirs(model).probability_of_n_purchases_up_to_time(39.0, n) for n in range(20)]
    np.testing.assert_allclose(model.p_orders_new(273.0, max_orders=19), p, rtol=1e-6)


def test_conditional_counts_agree() -> None:
    """Pareto/NBD's P(Y(t) = n | history) is theirs for the few orders that theirs can count."""
    summary = _load("sample").take(np.arange(0, 2357, 60))
    ours = PARETO.p_orders(summary, horizon_days=273.0, max_orders=3)
    for n in range(4):
        theirs = _theirs(PARETO).conditional_probability_of_n_purchases_up_to_time
        p = [float(theirs(n, 39.0, *each)) for each in zip(*_weeks(summary), strict=True)]
        np.testing.assert_allclose(ours[:, n], p, rtol=1e-6)


@pytest.mark.parametrize("name", ["sample", "values"])
def test_values_agree(name: str) -> None:
    """Gamma-Gamma: ours is at least as likely as theirs, the same model, as sure, and prices each customer alike."""
    summary = _load(name)
    known, fit, theirs = (
        summary.take(summary.monetary_is_known()),
        GammaGamma.fit(summary),
        lifetimes.GammaGammaFitter(),
    )
    with _failing():
        theirs.fit(known.frequency, known.monetary_value)
    found = GammaGamma(*theirs.params_)
    assert fit.log_likelihood >= found.log_likelihood(summary).sum() * (1 + 1e-9)
    np.testing.assert_allclose(fit.estimates, theirs.params_, rtol=2e-3)
    np.testing.assert_allclose(list(fit.standard_errors.values()), theirs.standard_errors_, rtol=2e-3)
    values = theirs.conditional_expected_average_profit(summary.frequency, summary.monetary_value)
    np.testing.assert_allclose(found.expected_order_value(summary), values, rtol=1e-9)


def test_one_time_buyers_never_leave() -> None:
    """Theirs and our BG/NBD call every one-time buyer alive for sure, after years; our MBG/NBD does not."""
    once = _customer(0, 0, 3650)
    assert _theirs(BG).conditional_probability_alive(*_weeks(once)).tolist() == [1.0]
    assert BG.p_alive(once).tolist() == [1.0]
    assert MBG.p_alive(once)[0] < 0.2


@pytest.mark.parametrize(("unit_days", "word"), [(1.0, "D"), (7.0, "W")])
def test_year_of_360_days(unit_days: float, word: str) -> None:
    """Theirs prices 12 months as 360 days, or as 364.98 days where time is in weeks; ours as 365.25 in both."""
    summary = _load("sample")
    model = BgNbd(0.243, 4.414 * 7 / unit_days, 0.793, 2.426, time_unit_days=unit_days)
    columns = (summary.frequency, summary.recency_days / unit_days, summary.T_days / unit_days, np.ones(len(summary)))
    theirs = lifetimes.utils._customer_lifetime_value(
        _theirs(model), *map(pd.Series, columns), time=12, discount_rate=0.0, freq=word
    )
    priced_days = {"D": 360.0, "W": 12 * 4.345 * 7}[word]
    ends = YEAR_DAYS / 12 * np.arange(1, 13, dtype=np.float64)
    year = model.expected_orders_path(summary, ends_days=ends)[:, -1]
    np.testing.assert_allclose(theirs, model.expected_orders(summary, horizon_days=priced_days), rtol=1e-6)
    np.testing.assert_allclose(year, BG.expected_orders(summary, horizon_days=YEAR_DAYS), rtol=1e-9)
    assert (year > theirs).all()


@pytest.mark.parametrize(
    "model", [BgNbd(0.5, 2.0, 1.0, 1.5), MbgNbd(0.5, 2.0, 1.0, 1.5), ParetoNbd(0.5, 2.0, 1.0, 1.5)]
)
def test_one_is_no_hole(model: Simulated) -> None:
    """At a = 1 or s = 1 theirs divides by 0, and just beside it has lost its digits; ours goes on evenly."""
    customer, third = _customer(2, 210, 273), model.parameters[2]
    near = [model.from_dict(model.to_dict() | {third: 1 + by}) for by in (-1e-6, 0.0, 1e-13, 1e-6)]
    ours = [each.expected_orders(customer, horizon_days=364.0)[0] for each in near]
    with _failing():
        theirs = [_theirs(each).predict(52.0, *_weeks(customer))[0] for each in near]
    np.testing.assert_allclose(ours, ours[0], rtol=1e-5)
    np.testing.assert_allclose(theirs[::3], ours[::3], rtol=1e-6)
    assert not np.isfinite(theirs[1])
    assert theirs[2] != pytest.approx(ours[2], rel=1e-5)


def test_heavy_buyer() -> None:
    """After 10,000 orders theirs expects NaN from MBG/NBD; ours the orders of BG/NBD with b one higher, by theirs."""
    customer = _customer(10_000, 9_999, 10_000)
    beside = BgNbd(MBG.r, MBG.alpha, MBG.a, MBG.b + 1)
    with _failing():
        theirs = _theirs(MBG).predict(520.0, *_weeks(customer))[0]
        if_alive = _theirs(beside).predict(520.0, *_weeks(customer))[0] / beside.p_alive(customer)[0]
    assert np.isnan(theirs)
    ours = MBG.expected_orders(customer, horizon_days=3640.0)[0]
    assert ours == pytest.approx(if_alive * MBG.p_alive(customer)[0], rel=1e-6)


@pytest.mark.parametrize("model", [BG, MBG], ids=lambda model: model.name)
def test_many_orders(model: Simulated) -> None:
    """Theirs has no chance of 200 orders, whose gamma function overflows; ours is of a piece with its neighbours."""
    ours = model.p_orders_new(36_500.0, max_orders=300)
    with _failing():
        assert np.isnan(_theirs(model).probability_of_n_purchases_up_to_time(36_500 / 7, 200))
    np.testing.assert_allclose(ours[200] ** 2, ours[199] * ours[201], rtol=1e-4)


def test_rare_counts() -> None:
    """Theirs takes small chances as differences of large ones, and finds 0 or far too much; ours falls steadily."""
    customer = _customer(2, 1399, 1400)
    p = PARETO.p_orders(customer, horizon_days=364.0, max_orders=60)[0]
    with _failing():
        theirs = _theirs(PARETO).conditional_probability_of_n_purchases_up_to_time(40, 52.0, *_weeks(customer))[0]
    assert theirs == 0
    assert (p > 0).all()
    assert (np.diff(np.log(p[3:])) < 0).all()
    assert (np.diff(np.log(p[3:]), 2) < 0).all()


def test_ridge_by_name() -> None:
    """On donors who gave once a period at most, theirs returns BG/NBD without a dropout as if found; ours says so."""
    summary, weights = _load_donations()
    found = _fit_theirs(BgNbd, summary, weights).params_
    assert found["b"] / found["a"] > 1e9
    with pytest.raises(ConvergenceError, match="ridge"):
        BgNbd.fit(summary, n_customers=weights)


def test_negative_value() -> None:
    """Where the mean value is infinite, theirs expects a negative one of a new customer; ours refuses the fit."""
    frequency = 1.0 + np.arange(500, dtype=np.float64) % 5
    wild = GammaGamma(p=3.0, q=1.05, v=10.0)
    values = simulate_values(wild, frequency=frequency, rng=np.random.default_rng(4)) ** 1.3
    theirs = lifetimes.GammaGammaFitter()
    with _failing():
        theirs.fit(frequency, values)
    assert theirs.conditional_expected_average_profit(np.zeros(1), np.zeros(1))[0] < 0
    with pytest.raises(ConvergenceError, match="no mean value") as refusal:
        GammaGamma.fit(PurchaseSummary(frequency, frequency, frequency, values))
    assert refusal.value.reason == "infinite_mean"
