"""The purchase process against lifetimes: the fits, and the value of 12 months."""

import warnings
from functools import partial

import numpy as np
import pandas as pd

from tests.bench.table import Row, race, say, timed
from tests.bench.workspace import Workspace
from training.models.bg_nbd import BgNbd
from training.models.gamma_gamma import GammaGamma
from training.models.inputs import purchase_summary
from training.models.maximum_likelihood import count_cells
from training.models.mbg_nbd import MbgNbd
from training.models.pareto_nbd import ParetoNbd
from training.models.purchase_process import PurchaseProcess
from training.models.summary import PurchaseSummary
from training.models.timing import STATISTICS, TimingModel
from training.models.value_terms import ValueTerms

with warnings.catch_warnings():  # lifetimes warns when imported
    warnings.simplefilter("ignore")
    import lifetimes

_DAYS_PER_WEEK = 7.0
_MONTHLY_DISCOUNT = 0.008  # about 10 % a year
_HORIZON_DAYS = 90.0
_MAX_PARETO_CUSTOMERS = 20_000  # lifetimes takes minutes for as many


def run(workspace: Workspace) -> list[Row]:
    """Measure the fits and the value."""
    summary = purchase_summary(workspace.customer_table)
    return [*_race_fits(summary), *_race_cells(summary), *_race_values(summary)]


def _race_fits(summary: PurchaseSummary) -> list[Row]:
    few = summary.take(np.arange(min(_MAX_PARETO_CUSTOMERS, len(summary))))
    return [
        *_race_fit(BgNbd, lifetimes.BetaGeoFitter, summary, target="≤ 0.033"),
        *_race_fit(MbgNbd, lifetimes.ModifiedBetaGeoFitter, summary),
        *_race_fit(ParetoNbd, lifetimes.ParetoNBDFitter, few, rounds=1),
    ]


def _race_fit(
    model: type[TimingModel],
    fitter: type[lifetimes.fitters.BaseFitter],
    summary: PurchaseSummary,
    *,
    target: str = "",
    rounds: int = 3,
) -> list[Row]:
    """Fit both to one row per customer, as users of lifetimes do, and compare what both reached."""
    say(f"  fitting {model.name}")
    theirs = fitter()
    fit, fit_theirs = partial(model.fit, summary), partial(_fit_lifetimes, theirs, summary)
    ours_s, theirs_s = race(timed(fit), timed(fit_theirs), rounds=rounds)
    found = model.of(theirs.params_[list(model.parameters)].to_numpy(), _DAYS_PER_WEEK)
    reached = float(found.log_likelihood(summary).sum())
    work = f"{model.name} fit, {len(summary):,} customers"
    return [
        Row(work, ours_s, "lifetimes fit", theirs_s, "s", target),
        Row(
            "  log-likelihood (difference)",
            fit().log_likelihood,
            "lifetimes fit",
            reached,
            "",
            "≥ 0",
            is_difference=True,
        ),
    ]


def _race_cells(summary: PurchaseSummary) -> list[Row]:
    """Fit a table of cells, as a group-by counts them, against the rows."""
    cells = count_cells(summary, None, by=STATISTICS)
    fit_cells = partial(BgNbd.fit, cells.summary, n_customers=cells.n_customers)
    ours, rows = race(timed(fit_cells), timed(partial(BgNbd.fit, summary)))
    return [Row(f"  from {len(cells.summary):,} counted cells", ours, "our fit of rows", rows, "s")]


def _race_values(summary: PurchaseSummary) -> list[Row]:
    say("  12-month value")
    timing, value = BgNbd.fit(summary).model, GammaGamma.fit(summary).model
    process, terms = PurchaseProcess(timing, value), ValueTerms(annual_discount_rate=0.1)
    ours = partial(process.clv_12m, summary, terms=terms)
    seconds, theirs = race(timed(ours), timed(partial(_value_by_lifetimes, summary, timing, value)))
    whole = timed(partial(process.predict, summary, horizon_days=_HORIZON_DAYS, terms=terms))()
    work, against = f"12-month value, {len(summary):,} customers", "lifetimes customer_lifetime_value"
    return [
        Row(work, seconds, against, theirs, "s", "≤ 0.033"),
        Row("  with months, intervals, next order, residual", whole, against, theirs, "s"),
    ]


def _fit_lifetimes(fitter: lifetimes.fitters.BaseFitter, summary: PurchaseSummary) -> None:
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
