"""Fit the purchase models with lifetimes 0.11.3, and refuse a fit that cannot be meant.

lifetimes minimises the penalised mean negative log-likelihood (penalizer · Σ parameter²) by BFGS. Customers are
given to it as weighted cells of equal statistics; values are scaled to a mean of 1, as it does itself for time.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from features.errors import ConvergenceError
from training.models.bg_nbd import BgNbd
from training.models.gamma_gamma import GammaGamma
from training.models.summary import FloatArray, PurchaseSummary, find_cells

with warnings.catch_warnings():  # lifetimes warns when imported, and installs a filter for the whole process
    warnings.simplefilter("ignore")
    import lifetimes
    from lifetimes.utils import ConvergenceError as LifetimesConvergenceError

TModel = TypeVar("TModel")

MIN_REPEATERS = 10
PENALIZERS = (0.0, 0.001, 0.01)  # unpenalised first; the next only where a fit failed, and always reported
MAX_DROPOUT_TOTAL = 1e4
MIN_DROPOUT_TOTAL = 1e-6
MAX_SHAPE = 1e3
MAX_ALPHA_UNITS = 1e5
MAX_ORDERS_RATIO = 5.0
MIN_VALUE_SPREAD = 1e-6  # of the mean


@dataclass(frozen=True, slots=True)
class Fit(Generic[TModel]):
    """A fitted model and how it was reached.

    Attributes:
        model: The model.
        penalizer: The penalizer that this fit needed; 0 is plain maximum likelihood.
        log_likelihood: Unpenalised log-likelihood, summed over customers.
        n_customers: Customers it was fitted on.
        failures: Why each smaller penalizer was refused, in order; empty for a plain fit.
    """

    model: TModel
    penalizer: float
    log_likelihood: float
    n_customers: int
    failures: tuple[str, ...]


class _RefusedFitError(Exception):
    """One attempt gave no usable parameters."""


def fit_bg_nbd(summary: PurchaseSummary, *, time_unit_days: float = 7.0) -> Fit[BgNbd]:
    """Fit BG/NBD to all customers.

    Raises:
        ConvergenceError: Fewer than 10 customers ordered again, or no penalizer led to finite, plausible parameters.
    """
    _require_repeaters(int((summary.frequency > 0).sum()), "BG/NBD")
    cells = find_cells(summary.frequency, summary.recency_days, summary.T_days)
    cell = summary.take(cells.first)

    def attempt(penalizer: float) -> BgNbd:
        fitter = lifetimes.BetaGeoFitter(penalizer_coef=penalizer)
        with _quiet_lifetimes():
            fitter.fit(
                cell.frequency, cell.recency_days / time_unit_days, cell.T_days / time_unit_days, weights=cells.counts
            )
        model = _build(lambda **found: BgNbd(**found, time_unit_days=time_unit_days), fitter, ("r", "alpha", "a", "b"))
        _refuse_ridge(model)
        _refuse_absurd_orders(model, summary)
        return model

    model, penalizer, failures = _first_usable(attempt, "BG/NBD")
    log_likelihood = float(model.log_likelihood(cell) @ cells.counts)
    return Fit(model, penalizer, log_likelihood, len(summary), failures)


def fit_gamma_gamma(summary: PurchaseSummary) -> Fit[GammaGamma]:
    """Fit Gamma-Gamma to the customers whose repeat orders have a positive mean value.

    Repeat orders of value 0 say nothing of what a paid order is worth: such customers stay in the timing data only.

    Raises:
        ConvergenceError: Fewer than 10 such customers, or no penalizer led to finite parameters with q > 1.
    """
    known = summary.take(summary.monetary_is_known())
    _require_repeaters(len(known), "Gamma-Gamma", of_value="of positive value ")
    cells = find_cells(known.frequency, known.monetary_value)
    cell = known.take(cells.first)
    scale = float(known.monetary_value.mean())

    def attempt(penalizer: float) -> GammaGamma:
        fitter = lifetimes.GammaGammaFitter(penalizer_coef=penalizer)
        with _quiet_lifetimes():
            fitter.fit(cell.frequency, cell.monetary_value / scale, weights=cells.counts)
        return _build(lambda p, q, v: GammaGamma(p, q, v * scale), fitter, ("p", "q", "v"))

    try:
        model, penalizer, failures = _first_usable(attempt, "Gamma-Gamma")
    except ConvergenceError:
        _require_spread(known.monetary_value)
        raise
    log_likelihood = float(model.log_likelihood(cell) @ cells.counts)
    return Fit(model, penalizer, log_likelihood, len(known), failures)


def _first_usable(attempt: Callable[[float], TModel], name: str) -> tuple[TModel, float, tuple[str, ...]]:
    failures: list[str] = []
    for penalizer in PENALIZERS:
        try:
            return attempt(penalizer), penalizer, tuple(failures)
        except _RefusedFitError as refusal:
            failures.append(f"penalizer {penalizer:g}: {refusal}")
    raise ConvergenceError(
        f"{name} has no usable fit on this data ({'; '.join(failures)}).",
        remedy="Give it a longer order history or more customers.",
    )


def _require_spread(monetary_value: FloatArray) -> None:
    if float(np.std(monetary_value)) <= MIN_VALUE_SPREAD * float(np.mean(monetary_value)):
        raise ConvergenceError(
            "The mean order value of all customers is the same, so there is nothing to learn about it.",
            remedy="Check that the amount column holds what each order was worth.",
        )


def _require_repeaters(n_repeaters: int, name: str, *, of_value: str = "") -> None:
    if n_repeaters < MIN_REPEATERS:
        raise ConvergenceError(
            f"{name} needs at least {MIN_REPEATERS} customers with a repeat order {of_value}and got {n_repeaters}.",
            remedy="Give it a longer order history or more customers.",
        )


def _build(build: Callable[..., TModel], fitter: lifetimes.fitters.BaseFitter, names: tuple[str, ...]) -> TModel:
    try:
        return build(**{name: float(fitter.params_[name]) for name in names})
    except ValueError as error:
        raise _RefusedFitError(str(error)) from error


def _refuse_ridge(model: BgNbd) -> None:
    """Refuse parameters that ran off along a ridge of the likelihood."""
    limits = {
        "a + b": (model.a + model.b, MAX_DROPOUT_TOTAL),
        "r": (model.r, MAX_SHAPE),
        "alpha": (model.alpha, MAX_ALPHA_UNITS),
    }
    for name, (value, limit) in limits.items():
        if value > limit:
            raise _RefusedFitError(f"the likelihood has a ridge, {name} ran to {value:.3g}")
    if model.a + model.b < MIN_DROPOUT_TOTAL:
        raise _RefusedFitError(f"the likelihood has a ridge, a + b ran to {model.a + model.b:.3g}")


def _refuse_absurd_orders(model: BgNbd, summary: PurchaseSummary) -> None:
    """Refuse a model that is far from the observed orders, or that expects far more of the same time to come."""
    observed = float(summary.frequency.sum())
    past = float(model.expected_orders_new(summary.T_days).sum())
    to_come = float(model.expected_orders(summary, horizon_days=float(summary.T_days.mean())).sum())
    for what, value in (("of the past", past), ("of as long to come", to_come)):
        if not value <= MAX_ORDERS_RATIO * observed:
            raise _RefusedFitError(f"it expects {value:.3g} repeat orders {what} where {observed:.0f} were observed")
    if past * MAX_ORDERS_RATIO < observed:
        raise _RefusedFitError(f"it expects {past:.3g} repeat orders of the past where {observed:.0f} were observed")


@contextlib.contextmanager
def _quiet_lifetimes() -> Iterator[None]:
    """Silence what lifetimes prints and warns of, and turn its ways of failing into a refusal."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            yield
        except LifetimesConvergenceError as error:
            raise _RefusedFitError("the optimiser did not converge") from error
        except np.linalg.LinAlgError as error:
            raise _RefusedFitError("the likelihood is flat at the optimum") from error
