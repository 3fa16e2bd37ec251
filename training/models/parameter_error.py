"""What estimated parameters leave unsure of a total: the delta method, with derivatives by central differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from training.models.covariates import CovariateTiming
from training.models.gamma_gamma import GammaGamma
from training.models.maximum_likelihood import Fit
from training.models.summary import FloatArray, PurchaseSummary
from training.models.timing import TimingModel
from training.models.value_terms import YEAR_DAYS

MAX_CUSTOMERS = 20_000
_RELATIVE_STEP = 1e-4
_SEED = 20240101


def relative_parameter_error(
    timing: Fit[Any], value: Fit[GammaGamma], summary: PurchaseSummary, n_customers: FloatArray
) -> float:
    """Compute the standard error of the expected 12-month value of all customers, relative to it.

    Args:
        timing: Fit of a timing model; with covariates, the reference group stands for all.
        value: Fit of the order value.
        summary: What is known of the customers, or of a sample; of many, 20,000 drawn at random stand for all.
        n_customers: (n,) customers of each row.
    """
    if len(summary) > MAX_CUSTOMERS:
        drawn = np.random.default_rng(_SEED).choice(len(summary), size=MAX_CUSTOMERS, replace=False)
        summary, n_customers = summary.take(drawn), n_customers[drawn]
    base: TimingModel = timing.model.base if isinstance(timing.model, CovariateTiming) else timing.model
    orders = _expect_orders(base, summary)
    order_value = value.model.expected_order_value(summary)

    def by_timing(estimates: FloatArray) -> float:
        return float(n_customers @ (_expect_orders(base.of(estimates, base.time_unit_days), summary) * order_value))

    def by_value(estimates: FloatArray) -> float:
        return float(n_customers @ (orders * GammaGamma(*estimates.tolist()).expected_order_value(summary)))

    total, k = float(n_customers @ (orders * order_value)), len(base.parameters)
    slopes = (
        (_slope(by_timing, timing.estimates[:k]), timing.covariance[:k, :k]),
        (_slope(by_value, value.estimates), value.covariance),
    )
    variance = sum(float(slope @ covariance @ slope) for slope, covariance in slopes)
    return float(np.sqrt(variance)) / total if total > 0 else 0.0


def _expect_orders(model: TimingModel, summary: PurchaseSummary) -> FloatArray:
    return model.expected_orders(summary, horizon_days=YEAR_DAYS)


def _slope(total: Callable[[FloatArray], float], at: FloatArray) -> FloatArray:
    result = np.empty_like(at)
    for position, parameter in enumerate(at):
        step = np.zeros_like(at)
        step[position] = _RELATIVE_STEP * parameter
        result[position] = (total(at + step) - total(at - step)) / (2.0 * step[position])
    return result
