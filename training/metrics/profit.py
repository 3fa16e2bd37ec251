"""Profit: what a retention campaign earns that contacts the customers with the highest scores.

The expected maximum profit of Verbraken, Verbeke and Baesens (2013), A novel profit maximizing metric for measuring
classification performance of customer churn prediction models, IEEE TKDE 25(5). A contact costs f; of the churners
contacted a share γ takes an offer of d and stays, worth CLV; customers who would have stayed take the offer too:

    profit per customer = [γ (CLV − d) − f] · π0 F0(t) − (d + f) · π1 F1(t)

with π0, π1 the shares of churners and of others, F0, F1 the shares of them contacted above threshold t. With the
paper's δ = d / CLV and φ = f / CLV this is its equation; γ ~ Beta(α, β), and t is the best for each γ.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import betainc

from training.metrics.arrays import Array, FloatArray


class _Hull(NamedTuple):
    """The segments of the convex hull of the ROC curve, highest scores first: (n_segments,) customers in each."""

    churners: FloatArray
    others: FloatArray


def expected_maximum_profit(
    y: Array,
    score: Array,
    *,
    customer_value: float,
    contact_cost: float,
    offer_cost: float,
    response_alpha: float,
    response_beta: float,
) -> float:
    """Compute the expected maximum profit in currency per customer; 0 where it pays to contact nobody, NaN of nobody.

    The best threshold lies at a corner of the hull. The first s segments are contacted where γ is above the segment's
    break-even g_s, so E[max] is a sum over segments, in incomplete beta functions and without a grid:
    E[(γ (CLV − d) − f) · churners − (d + f) · others; γ > g_s].

    Args:
        y: (n,) 1 where the customer churned.
        score: (n,) the higher, the likelier to churn; tied scores are contacted together.
        customer_value: CLV, of a customer kept.
        contact_cost: f, of each contact.
        offer_cost: d, of the offer where it is taken.
        response_alpha: α of the share of churners who take the offer and stay.
        response_beta: β of it.
    """
    if not len(y):
        return float("nan")
    hull = _build_hull(y, score)
    kept = customer_value - offer_cost
    break_even = _break_even(hull, kept=kept, contact_cost=contact_cost, offer_cost=offer_cost)
    p_above = 1.0 - betainc(response_alpha, response_beta, break_even)
    mean_response = response_alpha / (response_alpha + response_beta)
    response_above = mean_response * (1.0 - betainc(response_alpha + 1.0, response_beta, break_even))
    cost = contact_cost * hull.churners + (contact_cost + offer_cost) * hull.others
    return float(np.sum(kept * response_above * hull.churners - cost * p_above)) / len(y)


def _build_hull(y: Array, score: Array) -> _Hull:
    """Pool neighbouring scores until the share of churners falls from one to the next, as the hull's slopes do.

    Fawcett and Niculescu-Mizil (2007), PAV and the ROC convex hull, Machine Learning 68.
    """
    distinct, level = np.unique(-np.asarray(score, dtype=np.float64), return_inverse=True)
    n = np.bincount(level, minlength=len(distinct)).astype(np.float64)
    churners = np.bincount(level, weights=np.asarray(y) > 0, minlength=len(distinct))
    first = isotonic_regression(churners / n, weights=n, increasing=False).blocks[:-1]
    return _Hull(np.add.reduceat(churners, first), np.add.reduceat(n - churners, first))


def _break_even(hull: _Hull, *, kept: float, contact_cost: float, offer_cost: float) -> FloatArray:
    """Compute the γ above which contacting each segment pays, (n_segments,); 1 where it never does.

    Args:
        hull: Segments.
        kept: CLV − d, what a churner who stays is worth.
        contact_cost: f.
        offer_cost: d.
    """
    cost = contact_cost * hull.churners + (contact_cost + offer_cost) * hull.others
    gain = kept * hull.churners
    return np.divide(cost, gain, out=np.ones_like(gain), where=cost < gain)
