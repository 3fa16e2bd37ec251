"""A prior for shops to which too few customers came back: ten made-up customers of a plain shop, added to its own.

A prior can be written as observations that were made before the data (Diaconis and Ylvisaker 1979, Conjugate Priors for
Exponential Families, Annals of Statistics 7; Bedrick, Christensen and Johnson 1996, A New Perspective on Priors for
Generalized Linear Models, JASA 91). It is then plain what it says, and what it weighs: ten customers, so that it fades
as a shop grows. Their time is counted in the shop's own: all are of its mean age. Six never returned, two did once, one
twice and one four times, which is about what the CDNOW log shows at the mean age of its customers.
"""

from __future__ import annotations

from functools import partial
from typing import TypeVar

import numpy as np

from training.models.maximum_likelihood import count_cells, maximise
from training.models.summary import FloatArray, PurchaseSummary
from training.models.timing import DEFAULT_TIME_UNIT_DAYS, STATISTICS, TimingModel

TTiming = TypeVar("TTiming", bound=TimingModel)

FREQUENCY: FloatArray = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, 4], dtype=np.float64)
RECENCY: FloatArray = np.array([0, 0, 0, 0, 0, 0, 0.2, 0.6, 0.6, 0.8])  # in ages
N_CUSTOMERS = FREQUENCY.size


def add_plain_customers(summary: PurchaseSummary) -> PurchaseSummary:
    """Add ten plain customers of the shop's mean age, whose values say nothing."""
    age_days = float(summary.T_days.mean())
    return PurchaseSummary(
        np.append(summary.frequency, FREQUENCY),
        np.append(summary.recency_days, RECENCY * age_days),
        np.append(summary.T_days, np.full(N_CUSTOMERS, age_days)),
        np.append(summary.monetary_value, np.zeros(N_CUSTOMERS)),
    )


def fit_with_plain_customers(model: type[TTiming], joined: PurchaseSummary, *, penalizer: float) -> TTiming:
    """Fit order timing to the customers of a shop and the plain ones, however few of them returned.

    Args:
        model: Of order timing.
        joined: As `add_plain_customers` returns it.
        penalizer: As in `TimingModel.fit`.

    Raises:
        ConvergenceError: With the reason `ridge`.
    """
    cells = count_cells(joined, None, by=STATISTICS)
    scale_days = float(joined.T_days.mean())
    peak, _, _ = maximise(
        partial(model.likelihood, scale_days=scale_days),
        cells,
        np.log(model.starts),
        name=model.name,
        names=model.parameters,
        penalizer=penalizer,
    )
    return model.of(model.in_units(np.exp(peak), scale_days / DEFAULT_TIME_UNIT_DAYS), DEFAULT_TIME_UNIT_DAYS)
