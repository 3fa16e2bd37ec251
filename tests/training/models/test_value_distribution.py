"""What a customer may turn out to be worth: a distribution with an atom at 0, against draws from it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.models.summary import FloatArray
from training.models.value_distribution import ValueDistribution

N_DRAWS = 400_000


@st.composite
def distributions(draw: st.DrawFn) -> ValueDistribution:
    """Draw distributions of 1 to 6 customers, of whom some surely order and some never do."""
    n = draw(st.integers(1, 6))

    def some(of: st.SearchStrategy[float]) -> FloatArray:
        return np.array(draw(st.lists(of, min_size=n, max_size=n)))

    p_order = some(st.floats(1e-6, 1.0) | st.sampled_from([0.0, 1.0]))
    mean = np.where(p_order > 0, some(st.floats(1e-3, 1e6)), 0.0)
    return ValueDistribution(p_order, mean, some(st.floats(0.01, 5.0)))


@given(distributions(), st.floats(0.001, 0.999))
def test_quantile_inverts(found: ValueDistribution, level: float) -> None:
    """Below the quantile of a level lies that share of the outcomes; the quantile is 0 where the atom alone is more."""
    quantile = found.quantile(level)
    below, at = found.pit(quantile)
    is_atom = 1 - found.p_order >= level
    assert not quantile[is_atom].any()
    np.testing.assert_allclose(at[quantile > 0], level, rtol=1e-7)
    assert (below <= level + 1e-12).all()
    assert (at >= level - 1e-7).all()


@given(distributions(), st.floats(0.0, 1e7))
def test_pit(found: ValueDistribution, value: float) -> None:
    """Where an outcome falls is a share; below 0 lies nothing, at 0 the chance of no order; below more lies more."""
    observed = np.full(len(found.mean), value)
    below, at = found.pit(observed)
    for share in (below, at):
        assert ((share >= 0) & (share <= 1)).all()
    assert (below <= at).all()
    at_none = found.pit(np.zeros(len(observed)))
    np.testing.assert_array_equal(at_none, (np.zeros(len(observed)), 1 - found.p_order))
    assert (found.pit(0.5 * observed)[1] <= at + 1e-12).all()


@given(distributions(), st.floats(0.01, 0.99))
def test_interval(found: ValueDistribution, coverage: float) -> None:
    """The central interval is that of the two quantiles, and leaves a tail of half the rest above it."""
    low, high = found.interval(coverage)
    assert (low <= high).all()
    assert (low >= 0).all()
    assert (found.pit(high)[1] >= 0.5 + 0.5 * coverage - 1e-7).all()
    is_often_silent = 1 - found.p_order >= 0.5 - 0.5 * coverage
    assert not low[is_often_silent].any()


@given(distributions())
def test_if_ordered(found: ValueDistribution) -> None:
    """Given an order there is no atom, and the mean is that of those who order."""
    given_order = found.if_ordered
    assert (given_order.p_order == 1).all()
    np.testing.assert_allclose(given_order.mean * found.p_order, found.mean, rtol=1e-12)
    assert np.array_equal(given_order.relative_variance, found.relative_variance)
    deviation = given_order.mean * np.sqrt(found.relative_variance)
    np.testing.assert_allclose(given_order.standard_deviation, deviation, rtol=1e-6)


@pytest.mark.parametrize(("p_order", "relative_variance"), [(1.0, 0.5), (0.7, 1.0), (0.15, 2.0)])
def test_draws(p_order: float, relative_variance: float) -> None:
    """Mean, standard deviation and interval are those of draws: no order, or a gamma-distributed sum."""
    rng, mean, shape = np.random.default_rng(4), 120.0, 1 / relative_variance
    value = rng.gamma(shape, mean / p_order / shape, N_DRAWS) * (rng.random(N_DRAWS) < p_order)
    found = ValueDistribution(np.array([p_order]), np.array([mean]), np.array([relative_variance]))
    assert value.mean() == pytest.approx(mean, rel=0.02)
    assert found.standard_deviation[0] == pytest.approx(value.std(), rel=0.02)
    low, high = found.interval(0.8)
    assert (value > high[0]).mean() == pytest.approx(0.1, abs=0.003)
    assert (value < low[0]).mean() == pytest.approx(0.1 if p_order > 0.9 else 0.0, abs=0.003)


def test_nothing() -> None:
    """Who surely brings nothing has a distribution of that alone, and anything else would be beyond it."""
    found = ValueDistribution(np.array([0.0, 0.5]), np.zeros(2), np.ones(2))
    assert not found.standard_deviation.any()
    assert not np.any(found.interval(0.8))
    assert found.pit(np.full(2, 10.0))[1].tolist() == [1.0, 1.0]
