"""The purchase process against lifetimes: the BG/NBD fit, and the value of 12 months."""

import warnings
from functools import partial

import pandas as pd

from tests.bench.table import Row, race, say, timed
from tests.bench.workspace import Workspace
from training.fitters.btyd import fit_bg_nbd, fit_gamma_gamma
from training.models.bg_nbd import BgNbd
from training.models.gamma_gamma import GammaGamma
from training.models.inputs import purchase_summary
from training.models.purchase_process import PurchaseProcess
from training.models.summary import PurchaseSummary

with warnings.catch_warnings():  # lifetimes warns when imported
    warnings.simplefilter("ignore")
    import lifetimes

_DAYS_PER_WEEK = 7.0
_MONTHLY_DISCOUNT = 0.008  # about 10 % a year
_HORIZON_DAYS = 90.0


def run(workspace: Workspace) -> list[Row]:
    """Measure the fit and the value."""
    summary = purchase_summary(workspace.customer_table)
    return [*_race_fits(summary), *_race_values(summary)]


def _race_fits(summary: PurchaseSummary) -> list[Row]:
    say("  fitting BG/NBD")
    theirs = lifetimes.BetaGeoFitter()
    ours_s, theirs_s = race(timed(partial(fit_bg_nbd, summary)), timed(partial(_fit_lifetimes, theirs, summary)))
    names = ("r", "alpha", "a", "b")
    found = BgNbd(**{name: float(theirs.params_[name]) for name in names}, time_unit_days=_DAYS_PER_WEEK)
    ours_ll, theirs_ll = fit_bg_nbd(summary).log_likelihood, float(found.log_likelihood(summary).sum())
    return [
        Row(f"BG/NBD fit, {len(summary):,} customers", ours_s, "lifetimes fit", theirs_s, "s", "≤ 0.033"),
        Row("  log-likelihood (difference)", ours_ll, "lifetimes fit", theirs_ll, "", "≥ 0", is_difference=True),
    ]


def _race_values(summary: PurchaseSummary) -> list[Row]:
    say("  12-month value")
    timing, value = fit_bg_nbd(summary).model, fit_gamma_gamma(summary).model
    process, p_churn = PurchaseProcess(timing, value), timing.p_no_order(summary, horizon_days=_HORIZON_DAYS)
    predict = partial(process.predict, summary, p_churn, horizon_days=_HORIZON_DAYS, margin=1.0)
    ours = partial(predict, annual_discount_rate=0.1, interval_coverage=0.8)
    seconds, theirs = race(timed(ours), timed(partial(_value_by_lifetimes, summary, timing, value)))
    work = f"12-month value, {len(summary):,} customers"
    return [Row(work, seconds, "lifetimes customer_lifetime_value", theirs, "s", "≤ 0.033")]


def _fit_lifetimes(fitter: lifetimes.BetaGeoFitter, summary: PurchaseSummary) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitter.fit(summary.frequency, summary.recency_days / _DAYS_PER_WEEK, summary.T_days / _DAYS_PER_WEEK)


def _value_by_lifetimes(summary: PurchaseSummary, timing: BgNbd, value: GammaGamma) -> pd.Series:
    """Compute the discounted value with the same parameters."""
    bg_nbd, gamma_gamma = lifetimes.BetaGeoFitter(), lifetimes.GammaGammaFitter()
    bg_nbd.params_ = pd.Series({name: getattr(timing, name) for name in ("r", "alpha", "a", "b")})
    bg_nbd.predict = bg_nbd.conditional_expected_number_of_purchases_up_to_time
    gamma_gamma.params_ = pd.Series({name: getattr(value, name) for name in ("p", "q", "v")})
    weeks = (pd.Series(days / _DAYS_PER_WEEK) for days in (summary.recency_days, summary.T_days))
    columns = (pd.Series(summary.frequency), *weeks, pd.Series(summary.monetary_value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gamma_gamma.customer_lifetime_value(bg_nbd, *columns, time=12, discount_rate=_MONTHLY_DISCOUNT, freq="W")
