"""Expected maximum profit: against a search over thresholds under numeric integration, and its limits."""

import math
from typing import TypedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import trapezoid
from scipy.stats import beta

from tests.training.metrics.cases import Rows, cases, split
from training.metrics import Array, FloatArray, expected_maximum_profit


class Costs(TypedDict):
    """What a campaign costs and may bring."""

    customer_value: float
    contact_cost: float
    offer_cost: float
    response_alpha: float
    response_beta: float


PUBLISHED: Costs = {
    "customer_value": 200.0,
    "contact_cost": 1.0,
    "offer_cost": 10.0,
    "response_alpha": 6.0,
    "response_beta": 14.0,
}


def _search(y: Array, score: Array, costs: Costs) -> float:
    """Try every threshold at 20,001 values of γ, and integrate."""
    gamma = np.linspace(0.0, 1.0, 20_001)
    density = beta.pdf(gamma, costs["response_alpha"], costs["response_beta"])
    contacted = np.array([score > np.inf] + [score >= t for t in np.unique(score)[::-1]])
    churners, others = contacted @ y, contacted @ (1 - y)
    gain: FloatArray = gamma * (costs["customer_value"] - costs["offer_cost"]) - costs["contact_cost"]
    profit = np.outer(gain, churners) - (costs["offer_cost"] + costs["contact_cost"]) * others
    return float(trapezoid(density * profit.max(axis=1), gamma)) / len(y)


@given(cases, st.floats(12, 300), st.floats(0.1, 5), st.floats(0.1, 20))
def test_search(rows: Rows, customer_value: float, contact_cost: float, offer_cost: float) -> None:
    """The closed form is the search over all thresholds, integrated over γ."""
    y, score = split(rows)
    costs: Costs = {
        **PUBLISHED,
        "customer_value": customer_value,
        "contact_cost": contact_cost,
        "offer_cost": offer_cost,
    }
    profit = expected_maximum_profit(y, score, **costs)
    assert profit == pytest.approx(_search(y, score, costs), abs=1e-4 * customer_value)


def test_perfect_ranking() -> None:
    """By hand: half are churners, all of them found, and γ is above the break-even f / (CLV − d) in all but name."""
    y = np.array([1, 0] * 50)
    expected = 0.5 * (0.3 * 190 - 1)
    assert expected_maximum_profit(y, y, **PUBLISHED) == pytest.approx(expected, rel=1e-6)


@given(cases)
def test_only_ranks_count(rows: Rows) -> None:
    """Stretching the scores changes nothing, money in cents is a hundred times as much, knowing nothing earns less."""
    y, score = split(rows)
    profit = expected_maximum_profit(y, score, **PUBLISHED)
    assert expected_maximum_profit(y, np.exp(score), **PUBLISHED) == pytest.approx(profit)
    cents: Costs = {**PUBLISHED, "customer_value": 20_000.0, "contact_cost": 100.0, "offer_cost": 1_000.0}
    assert expected_maximum_profit(y, score, **cents) == pytest.approx(100 * profit)
    assert 0.0 <= expected_maximum_profit(y, np.zeros(len(y)), **PUBLISHED) <= profit + 1e-9


def test_free_campaign() -> None:
    """At no cost every churner is worth a contact, and those who would have stayed cost and bring nothing."""
    free: Costs = {**PUBLISHED, "contact_cost": 0.0, "offer_cost": 0.0}
    y, score = np.array([1, 0, 1, 0]), np.array([4, 3, 2, 1])
    assert expected_maximum_profit(y, score, **free) == pytest.approx(0.5 * 0.3 * 200)


@pytest.mark.parametrize("customer_value", [0.0, 10.0, 11.0])
def test_not_worth_it(customer_value: float) -> None:
    """A customer worth no more than the campaign is not contacted: nothing earned, nothing lost."""
    costs: Costs = {**PUBLISHED, "customer_value": customer_value}
    y, score = np.array([1, 0, 1, 0]), np.arange(4)
    assert expected_maximum_profit(y, score, **costs) == 0.0


def test_one_class_or_nobody() -> None:
    """Without churners there is nothing to earn, among churners alone each contact may pay; nobody is NaN."""
    assert expected_maximum_profit(np.zeros(3), np.arange(3), **PUBLISHED) == 0.0
    assert expected_maximum_profit(np.ones(3), np.arange(3), **PUBLISHED) == pytest.approx(0.3 * 190 - 1, rel=1e-6)
    assert math.isnan(expected_maximum_profit(np.zeros(0), np.zeros(0), **PUBLISHED))
