"""Hypothesis strategies: purchase summaries and parameters that a shop could have."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from training.models.bg_nbd import BgNbd
from training.models.gamma_gamma import GammaGamma
from training.models.mbg_nbd import MbgNbd
from training.models.pareto_nbd import ParetoNbd
from training.models.summary import PurchaseSummary
from training.models.timing import TimingModel


@st.composite
def customers(draw: st.DrawFn) -> tuple[float, float, float, float]:
    """Draw one customer: frequency, recency_days, T_days, monetary_value."""
    age = draw(st.integers(min_value=1, max_value=3000))
    frequency = draw(st.integers(min_value=0, max_value=min(age, 400)))
    if frequency == 0:
        return 0.0, 0.0, float(age), 0.0
    recency = draw(st.integers(min_value=frequency, max_value=age))
    value = draw(st.just(0.0) | st.floats(min_value=1e-3, max_value=1e5))
    return float(frequency), float(recency), float(age), value


def summaries() -> st.SearchStrategy[PurchaseSummary]:
    """Draw a base of 1 to 8 customers."""
    return st.lists(customers(), min_size=1, max_size=8).map(
        lambda rows: PurchaseSummary(*np.array(rows, dtype=np.float64).T)
    )


def timing_models() -> st.SearchStrategy[TimingModel]:
    """Draw a model of order timing, including a = 1 and s = 1, where the closed forms of the expectation are 0/0."""
    positive = st.floats(min_value=0.05, max_value=20.0)
    or_one = positive | st.just(1.0)
    beta_geometric = st.sampled_from([BgNbd, MbgNbd]).flatmap(
        lambda model: st.builds(model, r=positive, alpha=positive, a=or_one, b=positive)
    )
    return beta_geometric | st.builds(ParetoNbd, r=positive, alpha=positive, s=or_one, beta=positive)


def gamma_gammas() -> st.SearchStrategy[GammaGamma]:
    """Draw a model of order value."""
    positive = st.floats(min_value=0.05, max_value=20.0)
    return st.builds(GammaGamma, p=positive, q=st.floats(min_value=1.05, max_value=20.0), v=positive)
