"""Fit the purchase models of a shop: the one asked for, or the next that this data has a believable fit of.

Plain maximum likelihood comes first, then another timing model, then a prior of growing weight. A shop to which few
came back leans on a stated prior from the start. Whatever was given up on the way is said in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Generic, Literal, TypeVar

import numpy as np

from features.errors import ConvergenceError
from features.settings import Settings
from training.fitters import lifetimes_fits
from training.fitters.plain_customers import N_CUSTOMERS, add_plain_customers, fit_with_plain_customers
from training.fitters.regular import MIN_K, fit_regular
from training.fitters.seasonal import fit_seasonal
from training.models.gamma_gamma import GammaGamma
from training.models.habits import NO_HABITS, Habits
from training.models.maximum_likelihood import refuse
from training.models.mbg_nbd import MbgNbd
from training.models.purchase_process import TIMING_MODELS, PurchaseProcess
from training.models.summary import PurchaseSummary
from training.models.timing import TimingModel

TModel = TypeVar("TModel")
Fitter = Literal["lifestage", "lifetimes"]

PENALIZERS = (0.001, 0.01, 0.1)
MAX_ORDERS_RATIO = 5.0
MIN_RETURNED = 20  # customers; of simulated shops, those with fewer are told better with the prior than without
_SURE_ORDERS, _SURE_CUSTOMERS = 1e4, 1e8  # shapes so large that nothing varies
_LEAST_VALUE = 1e-6  # in the orders' currency: the model knows no value of 0


@dataclass(frozen=True, slots=True)
class Fitted(Generic[TModel]):
    """A model that can be believed.

    Attributes:
        model: The model.
        failures: Why what was tried before it was refused, in order; empty where nothing was.
        how: How it was fitted, in words.
    """

    model: TModel
    failures: tuple[str, ...]
    how: str

    @property
    def notes(self) -> tuple[str, ...]:
        """What was given up, as one sentence, or nothing."""
        return (f"{self.how}, because {'; '.join(self.failures)}.",) if self.failures else ()


def fit_timing(
    summary: PurchaseSummary, *, model: str = "mbg_nbd", fitter: Fitter = "lifestage"
) -> Fitted[TimingModel]:
    """Fit order timing.

    Args:
        summary: One element per customer.
        model: Key of `TIMING_MODELS` to try first.
        fitter: `lifestage`, or `lifetimes` for the archived library that ours is checked against.

    Raises:
        ConvergenceError: `too_few` repeat customers, or no attempt led to finite, plausible parameters.
    """
    wanted = TIMING_MODELS[model]
    others = [other for other in (TIMING_MODELS["mbg_nbd"], TIMING_MODELS["bg_nbd"]) if other is not wanted]
    attempts = [(wanted, 0.0), *((other, 0.0) for other in others), *((wanted, weight) for weight in PENALIZERS)]
    return _first_believable(
        (_describe(candidate.name, weight), partial(_attempt_timing, candidate, summary, fitter, weight))
        for candidate, weight in attempts
    )


def fit_process(
    summary: PurchaseSummary,
    settings: Settings,
    *,
    mean_order_value: float | None = None,
    habits: Habits = NO_HABITS,
) -> tuple[PurchaseProcess, tuple[str, ...]]:
    """Fit timing and order value as the settings say; with what was given up, in words.

    Args:
        summary: One element per customer.
        settings: Of the whole run.
        mean_order_value: Of all order days, first ones too: what an order is worth where too few repeat orders say.
        habits: Of the shop.

    Raises:
        ConvergenceError: As `fit_timing` and `fit_order_value`, but never for too few customers who came back.
    """
    timing = fit_shop_timing(summary, settings, habits=habits)
    value = fit_order_value(summary, fitter=settings.value.fitter, mean_order_value=mean_order_value)
    is_small = len(summary) < settings.training.trusted_customers
    is_fallback = has_few_returned(summary) and not habits.is_seasonal
    process = PurchaseProcess(timing.model, value.model, is_small=is_small, is_fallback=is_fallback)
    return process, (*timing.notes, *value.notes)


def fit_shop_timing(summary: PurchaseSummary, settings: Settings, *, habits: Habits = NO_HABITS) -> Fitted[TimingModel]:
    """Fit order timing as the settings say, with a stated prior where few came back, and as the shop's habits ask.

    Raises:
        ConvergenceError: As `fit_timing`, but never for too few customers who came back.
    """
    wanted = settings.value.timing_model
    if habits.season is not None:
        how = "Nobody was taken to have left for being silent between two seasons"
        return Fitted(fit_seasonal(summary, habits.season), ("most orders fall into one quarter of the year",), how)
    if has_few_returned(summary):
        return lean_on_prior(summary, model=wanted)
    if habits.k >= MIN_K and (wanted, settings.value.fitter) == ("mbg_nbd", "lifestage"):
        counted_by = fit_alone(summary, wanted)
        assert isinstance(counted_by, MbgNbd)  # noqa: S101 - it was asked for
        return Fitted(fit_regular(summary, counted_by, k=habits.k), (), "MBG/CNBD-k was fitted")
    return fit_timing(summary, model=wanted, fitter=settings.value.fitter)


def has_few_returned(summary: PurchaseSummary) -> bool:
    """Tell whether so few customers ordered again that their timing leans on a prior."""
    return int((summary.frequency > 0).sum()) < MIN_RETURNED


def lean_on_prior(summary: PurchaseSummary, *, model: str) -> Fitted[TimingModel]:
    """Fit order timing to the customers and a few plain ones (see `plain_customers`), where few came back.

    Args:
        summary: One element per customer.
        model: Key of `TIMING_MODELS`.
    """
    wanted, joined = TIMING_MODELS[model], add_plain_customers(summary)
    fitted = _first_believable(
        (_describe(wanted.name, weight), partial(_attempt_with_prior, wanted, joined, weight))
        for weight in (0.0, *PENALIZERS)
    )
    few = f"only {int((summary.frequency > 0).sum())} of {len(summary)} customers ordered again"
    how = f"{wanted.name} was fitted to the customers and {N_CUSTOMERS} made-up ones of a plain shop"
    return Fitted(fitted.model, (few,), how)


def fit_alone(summary: PurchaseSummary, model: str) -> TimingModel:
    """Fit one timing model and no other: with a prior where it has no believable fit without.

    Raises:
        ConvergenceError: As `fit_timing`.
    """
    wanted = TIMING_MODELS[model]
    return _first_believable(
        (_describe(wanted.name, weight), partial(_attempt_timing, wanted, summary, "lifestage", weight))
        for weight in (0.0, *PENALIZERS)
    ).model


def fit_order_value(
    summary: PurchaseSummary, *, fitter: Fitter = "lifestage", mean_order_value: float | None = None
) -> Fitted[GammaGamma]:
    """Fit order value to the customers whose repeat orders have a positive mean value.

    Where all have the same, every order is taken to be worth it; where too few have one, to be worth the mean of all
    orders: next to nothing in a shop without values.

    Args:
        summary: One element per customer.
        fitter: As in `fit_timing`.
        mean_order_value: Of all orders; None takes the mean of the repeat orders.

    Raises:
        ConvergenceError: No attempt led to finite parameters with q > 1.
    """
    fit = lifetimes_fits.fit_gamma_gamma if fitter == "lifetimes" else _fit_gamma_gamma
    try:
        return _first_believable(
            (_describe(GammaGamma.name, weight), partial(fit, summary, penalizer=weight))
            for weight in (0.0, *PENALIZERS)
        )
    except ConvergenceError as refusal:
        if refusal.reason not in {"too_few", "no_spread"}:
            raise
        how = "Every order is taken to be worth the same"
        given = mean_order_value if refusal.reason == "too_few" else None
        return Fitted(_constant_value(summary, given), (refusal.problem.rstrip("."),), how)


def _constant_value(summary: PurchaseSummary, mean_order_value: float | None) -> GammaGamma:
    """Return a model in which all orders of all customers are worth nearly the given, or the mean known, value."""
    known = summary.monetary_value[summary.monetary_is_known()]
    mean_known = float(known.mean()) if known.size else 0.0
    mean = max(mean_known if mean_order_value is None else mean_order_value, _LEAST_VALUE)
    return GammaGamma(_SURE_ORDERS, _SURE_CUSTOMERS, mean * (_SURE_CUSTOMERS - 1.0) / _SURE_ORDERS)


def _describe(name: str, weight: float) -> str:
    return f"{name} was fitted with penalizer {weight:g}" if weight else f"{name} was fitted"


def _first_believable(attempts: Iterable[tuple[str, Callable[[], TModel]]]) -> Fitted[TModel]:
    failures: list[str] = []
    last: ConvergenceError | None = None
    for how, attempt in attempts:
        try:
            return Fitted(attempt(), tuple(failures), how)
        except ConvergenceError as refusal:
            if refusal.reason in {"too_few", "no_spread"}:  # nothing else would do better
                raise
            failures.append(refusal.problem.rstrip("."))
            last = refusal
    assert last is not None  # noqa: S101 - there is an attempt
    raise last


def _attempt_timing(
    candidate: type[TimingModel], summary: PurchaseSummary, fitter: Fitter, weight: float
) -> TimingModel:
    if fitter == "lifetimes":
        model = lifetimes_fits.fit_timing(summary, candidate, penalizer=weight)
    else:
        model = candidate.fit(summary, penalizer=weight).model
    _refuse_absurd_orders(model, summary)
    return model


def _attempt_with_prior(candidate: type[TimingModel], joined: PurchaseSummary, weight: float) -> TimingModel:
    model = fit_with_plain_customers(candidate, joined, penalizer=weight)
    _refuse_absurd_orders(model, joined)
    return model


def _fit_gamma_gamma(summary: PurchaseSummary, *, penalizer: float) -> GammaGamma:
    return GammaGamma.fit(summary, penalizer=penalizer).model


def _refuse_absurd_orders(model: TimingModel, summary: PurchaseSummary) -> None:
    """Refuse a model that is far from the observed orders, or that expects far more of the same time to come."""
    observed = float(summary.frequency.sum())
    ages, n_customers = np.unique(summary.T_days, return_counts=True)
    past = float(n_customers @ model.expected_orders_new(ages))
    to_come = float(model.expected_orders(summary, horizon_days=float(summary.T_days.mean())).sum())
    for what, value in (("of the past", past), ("of as long to come", to_come)):
        if not value <= MAX_ORDERS_RATIO * observed:
            why = f"it expects {value:.3g} repeat orders {what} where {observed:.0f} were observed"
            raise refuse(model.name, "implausible", why)
    if past * MAX_ORDERS_RATIO < observed:
        why = f"it expects {past:.3g} repeat orders of the past where {observed:.0f} were observed"
        raise refuse(model.name, "implausible", why)
