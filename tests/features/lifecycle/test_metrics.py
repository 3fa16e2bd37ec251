"""The formulas: the sources' worked examples, and what is undefined or refused."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import InputError
from features.lifecycle.metrics import (
    Ratio,
    Traffic,
    average_order_value,
    clv_to_cpa,
    conversion_rate,
    cost_per_acquisition,
    cost_per_impression,
    count_traffic,
    emails_opened,
    engagement_rate,
    is_loss,
    orders_per_year,
    simple_clv,
    transaction_frequency,
)

OPENED = emails_opened(20_000, bounced=2_000, unopened=8_000)

# What the sources print, and how.
EXAMPLES: dict[str, tuple[Ratio, str, str]] = {
    "cost per acquisition": (cost_per_acquisition(100_000, 5_000), "{:.0f}", "20"),
    "cost per impression": (cost_per_impression(1_000, OPENED), "{:.2f}", "0.10"),
    "conversion rate": (conversion_rate(100, 2_000), "{:.0%}", "5%"),
    "average order value": (average_order_value(300_000, 5_000), "{:.0f}", "60"),
    "simple CLV": (simple_clv(12, 50, 8), "{:,.0f}", "4,800"),
    "CLV to CPA": (clv_to_cpa(100, 150), "{:.2f}", "0.67"),
}

DIVISIONS: dict[str, Callable[[float, float], Ratio]] = {
    "cost_per_acquisition": cost_per_acquisition,
    "cost_per_impression": cost_per_impression,
    "conversion_rate": conversion_rate,
    "average_order_value": average_order_value,
    "engagement_rate": engagement_rate,
    "clv_to_cpa": clv_to_cpa,
}

amounts = st.floats(0, 1e12) | st.integers(0, 10**12)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples(example: str) -> None:
    """Each worked example of the sources gives the result that they print."""
    found, form, printed = EXAMPLES[example]
    assert found.value is not None
    assert form.format(found.value) == printed


def test_impressions() -> None:
    """Of 20,000 e-mails, 2,000 bounced and 8,000 unopened, 10,000 are impressions."""
    assert OPENED == 10_000


def test_misprint() -> None:
    """The source's order value of 60 is 300,000 ÷ 5,000; by the 1,000 that it prints as the divisor it would be 300."""
    assert average_order_value(300_000, 5_000) == Ratio(300_000.0, 5_000.0, 60.0)
    assert average_order_value(300_000, 1_000).value == 300.0


def test_morning_and_evening() -> None:
    """One browser in the morning and in the evening is one visitor and two visits."""
    assert count_traffic([(1, "browser"), (1, "browser")]) == Traffic(visitors=1, visits=2)


def test_days_add_up() -> None:
    """A browser that comes on two days is a visitor on each."""
    assert count_traffic([(1, "b"), (2, "b"), (2, "b"), (2, "c")]) == Traffic(visitors=3, visits=4)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc"))))
def test_visitors(visits: list[tuple[int, str]]) -> None:
    """There are never more visitors than visits, and never fewer than browsers."""
    traffic = count_traffic(visits)
    assert len({browser for _, browser in visits}) <= traffic.visitors <= traffic.visits == len(visits)


@pytest.mark.parametrize("name", DIVISIONS)
@given(numerator=amounts)
def test_zero_denominator(name: str, numerator: float) -> None:
    """A denominator of zero makes a ratio undefined: not 0, and not an error."""
    assert DIVISIONS[name](numerator, 0) == Ratio(numerator, 0.0, None)


@pytest.mark.parametrize("name", DIVISIONS)
@given(numerator=amounts, denominator=st.integers(1, 10**9))
def test_quotient(name: str, numerator: float, denominator: int) -> None:
    """A ratio holds both its terms, and their quotient, in percent for engagement."""
    found = DIVISIONS[name](numerator, denominator)
    factor = 100 if name == "engagement_rate" else 1
    assert found == Ratio(numerator, denominator, factor * (numerator / denominator))


@pytest.mark.parametrize("bad", [-1, -1e-9, math.nan, math.inf, -math.inf, 10**400])
@pytest.mark.parametrize("name", [*DIVISIONS, "transaction_frequency"])
def test_refusals(name: str, bad: float) -> None:
    """A negative or endless number is refused in either place, and named."""
    formula = {**DIVISIONS, "transaction_frequency": transaction_frequency}[name]
    for terms in ((bad, 1.0), (1.0, bad)):
        with pytest.raises(InputError, match="is not a finite number of 0 or more"):
            formula(*terms)


@pytest.mark.parametrize("bad", [-1, math.nan, math.inf])
def test_clv_refusals(bad: float) -> None:
    """Simple CLV refuses such a number as any of its factors."""
    for factors in ((bad, 1.0, 1.0), (1.0, bad, 1.0), (1.0, 1.0, bad)):
        with pytest.raises(InputError, match="is not a finite number of 0 or more"):
            simple_clv(*factors)


def test_too_large() -> None:
    """A result beyond what a number holds is refused, not infinite."""
    with pytest.raises(InputError, match="too large"):
        cost_per_acquisition(1e308, 1e-9)
    with pytest.raises(InputError, match="too large"):
        simple_clv(1e200, 1e200, 1)


def test_undefined_terms() -> None:
    """What is made of an undefined number is undefined."""
    assert clv_to_cpa(100, None) == Ratio(100.0, None, None)
    assert clv_to_cpa(None, 20) == Ratio(None, 20.0, None)
    assert simple_clv(None, 50, 8).value is None
    assert simple_clv(12, None, 8).value is None
    assert orders_per_year(3, period_days=0) is None


@given(st.integers(1, 10**6), st.integers(0, 10**6))
def test_frequency(customers: int, more: int) -> None:
    """Customers who ordered have ordered once at least."""
    value = transaction_frequency(customers + more, customers).value
    assert value is not None
    assert value >= 1


def test_frequency_refusal() -> None:
    """More customers than orders are refused: some of them did not order."""
    with pytest.raises(InputError, match="cannot have made 2 orders"):
        transaction_frequency(2, 3)
    assert transaction_frequency(0, 0).value is None


def test_emails_refusal() -> None:
    """More e-mails bounced and unopened than were sent are refused."""
    with pytest.raises(InputError, match="more than there are"):
        emails_opened(10, bounced=6, unopened=5)


def test_engagement_above_100() -> None:
    """A follower can react more than once, so that the rate may exceed 100 %."""
    assert engagement_rate(30, 20).value == 150.0


def test_orders_per_year() -> None:
    """The orders of a quarter count four times in a year, of 365.25 days."""
    assert orders_per_year(3, period_days=365.25 / 4) == 12.0


@pytest.mark.parametrize(
    ("clv", "cpa", "loses"), [(100, 150, True), (150, 150, False), (200, 150, False), (1, 0, False)]
)
def test_loss(clv: float, cpa: float, loses: bool) -> None:
    """A CLV below the cost of acquisition is a loss; level is none, and undefined is none."""
    assert is_loss(clv_to_cpa(clv, cpa)) is loses
