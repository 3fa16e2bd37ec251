"""The formulas of the metric sheet: numbers in, a ratio out; a denominator of zero makes it undefined, never 0.

Money is in currency units, counts are whole numbers; numerator and denominator of a ratio are of the same period.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from features.errors import InputError

DAYS_PER_YEAR = 365.25


@dataclass(frozen=True, slots=True)
class Ratio:
    """A quotient with what it was made of.

    Args:
        numerator: What is divided; None where it is itself undefined.
        denominator: What it is divided by; None where it is itself undefined.
        value: The quotient, times 100 for a percentage; None where it is undefined.
    """

    numerator: float | None
    denominator: float | None
    value: float | None


@dataclass(frozen=True, slots=True)
class Traffic:
    """Visits, and the browsers that made them: never more visitors than visits."""

    visitors: int
    visits: int


def cost_per_acquisition(spend: float, customers_acquired: float) -> Ratio:
    """Return sales and marketing spend ÷ customers acquired in the same period."""
    return _divide(spend=spend, customers_acquired=customers_acquired)


def emails_opened(sent: float, *, bounced: float, unopened: float) -> float:
    """Return sent − bounced − unopened: the impressions of an e-mail campaign.

    Raises:
        InputError: If more came back or stayed unopened than was sent.
    """
    given = _checked("sent", sent) - _checked("bounced", bounced) - _checked("unopened", unopened)
    if given < 0:
        raise InputError(
            f"Of {sent:g} e-mails sent, {bounced:g} bounced and {unopened:g} unopened are more than there are.",
            remedy="Give counts of the same mailings.",
        )
    return given


def cost_per_impression(cost: float, impressions: float) -> Ratio:
    """Return cost ÷ impressions; those of e-mails are the ones opened, see `emails_opened`."""
    return _divide(cost=cost, impressions=impressions)


def conversion_rate(conversions: float, interactions: float) -> Ratio:
    """Return conversions ÷ the interactions linked to them, as a share."""
    return _divide(conversions=conversions, interactions=interactions)


def average_order_value(revenue: float, orders: float) -> Ratio:
    """Return revenue ÷ orders."""
    return _divide(revenue=revenue, orders=orders)


def transaction_frequency(orders: float, unique_customers: float) -> Ratio:
    """Return orders ÷ the customers who made them; at least 1.

    Raises:
        InputError: If there are more customers than orders.
    """
    if _checked("orders", orders) < _checked("unique_customers", unique_customers):
        raise InputError(
            f"{unique_customers:g} customers cannot have made {orders:g} orders.",
            remedy="Count only the customers who ordered in the period of the orders.",
        )
    return _divide(orders=orders, unique_customers=unique_customers)


def engagement_rate(engagements: float, followers: float) -> Ratio:
    """Return engagements ÷ followers × 100, of one platform; it may exceed 100 %."""
    share = _divide(engagements=engagements, followers=followers)
    percent = None if share.value is None else _finite(100 * share.value)
    return Ratio(share.numerator, share.denominator, percent)


def orders_per_year(orders: float, *, period_days: float) -> float | None:
    """Return the orders of a period at the pace of a year of 365.25 days; None for a period of no days."""
    return _divide(orders=_finite(_checked("orders", orders) * DAYS_PER_YEAR), period_days=period_days).value


def simple_clv(yearly_orders: float | None, order_value: float | None, years: float) -> Ratio:
    """Return orders per year × average order value × years: undiscounted revenue over a fixed life.

    Args:
        yearly_orders: Of one customer; or of a group, for the value of the whole group.
        order_value: The average order value in currency units; None where it is undefined.
        years: The life, the same for everyone.

    Returns:
        The product over one customer (or group), so that its denominator is 1.
    """
    factors = [
        None if given is None else _checked(name, given)
        for name, given in (("yearly_orders", yearly_orders), ("order_value", order_value), ("years", years))
    ]
    if any(factor is None for factor in factors):
        return Ratio(None, 1.0, None)
    value = _finite(math.prod(factor for factor in factors if factor is not None))
    return Ratio(value, 1.0, value)


def clv_to_cpa(clv: float | None, cpa: float | None) -> Ratio:
    """Return predicted CLV ÷ cost per acquisition; below 1, a customer costs more than they bring."""
    return _divide(clv=clv, cpa=cpa)


def is_loss(clv_per_cpa: Ratio) -> bool:
    """Tell whether a CLV to CPA is defined and below 1."""
    return clv_per_cpa.value is not None and clv_per_cpa.value < 1


def count_traffic(visits: Iterable[tuple[int, str]]) -> Traffic:
    """Count visits, and visitors added up day by day.

    A visitor is a browser on a day. Whoever comes on several days counts on each, so that the sum is an upper bound on
    browsers, and on people who use one each.

    Args:
        visits: Day number and browser of each visit.
    """
    seen = list(visits)
    return Traffic(visitors=len(set(seen)), visits=len(seen))


def _divide(**terms: float | None) -> Ratio:
    """Divide the first of two named terms by the second."""
    numerator, denominator = (None if given is None else _checked(name, given) for name, given in terms.items())
    if numerator is None or not denominator:
        return Ratio(numerator, denominator, None)
    return Ratio(numerator, denominator, _finite(numerator / denominator))


def _checked(name: str, given: float) -> float:
    """Return a number that can be counted or paid, as a float whose zero has no sign."""
    try:
        number = float(given)
    except OverflowError:
        number = math.inf
    if math.isfinite(number) and number >= 0:
        return number + 0.0
    raise InputError(
        f"{name} is {number:g}, which is not a finite number of 0 or more.",
        remedy="Give a count or an amount of 0 or more; give None for what is not known.",
    )


def _finite(result: float) -> float:
    if math.isfinite(result):
        return result
    raise InputError(
        "The result is too large for a number.", remedy="Give amounts in a larger unit, such as thousands."
    )
