"""Hypothesis strategies: purchase summaries and parameters that a shop could have."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from training.models.bg_nbd import BgNbd
from training.models.gamma_gamma import GammaGamma
from training.models.purchase_process import PurchaseProcess
from training.models.summary import PurchaseSummary


@st.composite
def customers(draw: st.DrawFn) -> tuple[float, float, float, float]:
    """Draw one customer: frequency, recency_days, T_days, monetary_value."""
    age = draw(st.integers(min_value=1, max_value=3000))
    frequency = draw(st.integers(min_value=0, max_value=min(age, 400)))
    if frequency == 0:
        return 0.0, 0.0, float(age), 0.0
    recency = draw(st.integers(min_value=frequency, max_value=age))
    return float(frequency), float(recency), float(age), draw(st.floats(min_value=0.0, max_value=1e5))


def summaries() -> st.SearchStrategy[PurchaseSummary]:
    """Draw a base of 1 to 8 customers."""
    return st.lists(customers(), min_size=1, max_size=8).map(
        lambda rows: PurchaseSummary(*np.array(rows, dtype=np.float64).T)
    )


def processes() -> st.SearchStrategy[PurchaseProcess]:
    """Draw parameters, including a = 1, where the closed form of the expectation is 0/0."""
    positive = st.floats(min_value=0.05, max_value=20.0)
    timing = st.builds(BgNbd, r=positive, alpha=positive, a=positive | st.just(1.0), b=positive)
    value = st.builds(GammaGamma, p=positive, q=st.floats(min_value=1.05, max_value=20.0), v=positive)
    return st.builds(PurchaseProcess, bg_nbd=timing, gamma_gamma=value)
