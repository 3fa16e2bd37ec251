"""What holds for every model of order timing: the identities between its answers, and its own story."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cdnow import load_summary
from tests.training.models.simulate import Simulated, draw_orders, simulate_orders, summarise
from tests.training.models.strategies import summaries, timing_models
from training.models.bg_nbd import BgNbd
from training.models.mbg_nbd import MbgNbd
from training.models.pareto_nbd import ParetoNbd
from training.models.summary import PurchaseSummary
from training.models.timing import TimingModel

YEAR_DAYS, CENTURY_DAYS = 365.25, 36_525.0
LITTLE = 1e-9

MODELS: list[Simulated] = [BgNbd(0.243, 4.414, 0.793, 2.426), MbgNbd(0.525, 6.183, 0.891, 1.614)]
MODELS.append(ParetoNbd(0.553, 10.58, 0.606, 11.67))

any_model = given(timing_models(), summaries(), st.floats(min_value=0.01, max_value=CENTURY_DAYS))
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


@any_model
def test_in_range(model: TimingModel, summary: PurchaseSummary, horizon_days: float) -> None:
    """Probabilities are probabilities and expectations finite, up to a horizon of 100 years."""
    alive = model.orders_if_alive(summary, ends_days=np.array([0.0, horizon_days]))
    probabilities = (
        model.p_alive(summary),
        model.p_no_order(summary, horizon_days=horizon_days),
        model.p_orders(summary, horizon_days=horizon_days, max_orders=3),
        alive.p_order,
        alive.survival,
    )
    for p in probabilities:
        assert ((p >= 0) & (p <= 1 + LITTLE)).all()
    for moment in (alive.expected, alive.factorial):
        assert np.isfinite(moment).all()
        assert not moment[:, 0].any()
        assert (moment[:, 1] >= 0).all()
    assert np.isfinite(model.log_likelihood(summary)).all()


@any_model
def test_silence(model: TimingModel, summary: PurchaseSummary, horizon_days: float) -> None:
    """The chance of no order at all is P(Y = 0), falls with the horizon, and never below the chance to be gone."""
    p_none = model.p_no_order(summary, horizon_days=horizon_days)
    p_orders = model.p_orders(summary, horizon_days=horizon_days, max_orders=0)
    np.testing.assert_allclose(p_orders[:, 0], p_none, rtol=0, atol=LITTLE)
    assert (model.p_no_order(summary, horizon_days=1.1 * horizon_days) <= p_none + LITTLE).all()
    assert (p_none >= 1 - model.p_alive(summary) - LITTLE).all()


@any_model
def test_counts_sum(model: TimingModel, summary: PurchaseSummary, horizon_days: float) -> None:
    """The chances of 0 to 50 orders sum to 1 at most, and leave no more than Markov's inequality does."""
    p_orders = model.p_orders(summary, horizon_days=horizon_days, max_orders=50)
    total = p_orders.sum(axis=1)
    assert (p_orders >= 0).all()
    assert (total <= 1 + LITTLE).all()
    assert (1 - total <= model.expected_orders(summary, horizon_days=horizon_days) / 51 + LITTLE).all()


@every_model
def test_counts_have_the_moments(model: TimingModel) -> None:
    """The chances of each number of orders sum to 1, and have the mean and the second factorial moment."""
    summary, n = load_summary().take(np.arange(0, 2357, 25)), np.arange(401.0)
    p_orders = model.p_orders(summary, horizon_days=YEAR_DAYS, max_orders=400)
    alive = model.orders_if_alive(summary, ends_days=np.array([YEAR_DAYS]))
    np.testing.assert_allclose(p_orders.sum(axis=1), 1, rtol=LITTLE)
    np.testing.assert_allclose(p_orders @ n, model.expected_orders(summary, horizon_days=YEAR_DAYS), rtol=LITTLE)
    factorial = alive.factorial[alive.inverse, 0] * model.p_alive(summary)
    np.testing.assert_allclose(p_orders @ (n * (n - 1)), factorial, rtol=LITTLE)


@any_model
def test_expectation_adds_up(model: TimingModel, summary: PurchaseSummary, horizon_days: float) -> None:
    """The orders until the middle and those after it are the orders of the whole horizon, and a point of the path."""
    middle = 0.4 * horizon_days
    whole = model.expected_orders(summary, horizon_days=horizon_days)
    first = model.expected_orders(summary, horizon_days=middle)
    second = model.expected_orders(summary, horizon_days=horizon_days, after_days=middle)
    path = model.expected_orders_path(summary, ends_days=np.array([middle, horizon_days]))
    np.testing.assert_allclose(first + second, whole, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(path[:, 1], whole, rtol=1e-6, atol=1e-12)
    assert (second >= -LITTLE * whole).all()


@any_model
def test_expectation_bounds(model: TimingModel, summary: PurchaseSummary, horizon_days: float) -> None:
    """At least the chance of an order, at most the orders of one who never leaves."""
    parameters = model.to_dict()
    expected = model.expected_orders(summary, horizon_days=horizon_days)
    p_order = 1 - model.p_no_order(summary, horizon_days=horizon_days)
    forever = (parameters["r"] + summary.frequency) * horizon_days / (parameters["alpha"] * 7 + summary.T_days)
    assert (expected >= p_order * (1 - 1e-6) - LITTLE).all()
    assert (expected <= forever * (1 + LITTLE)).all()


@given(timing_models(), summaries(), st.floats(min_value=0.01, max_value=0.999))
def test_wait_inverts(model: TimingModel, summary: PurchaseSummary, p: float) -> None:
    """Within the wait for a chance p of an order, the chance of an order is p; a wait for more is longer."""
    wait = model.wait_days_if_alive(summary, np.full(len(summary), p))
    assert (wait > 0).all()
    is_reached = wait < 1e7
    reached = summary.take(is_reached)
    p_order = model.p_order_if_alive(reached, horizon_days=wait[is_reached])
    np.testing.assert_allclose(p_order, p, rtol=1e-6)
    assert (model.wait_days_if_alive(summary, np.full(len(summary), p / 2)) <= wait).all()
    never = model.p_order_if_alive(summary.take(np.isinf(wait)), horizon_days=1e7)
    assert (never <= p + LITTLE).all()


@any_model
def test_survival(model: TimingModel, summary: PurchaseSummary, horizon_days: float) -> None:
    """The living survive an instant, and fewer of them each longer time."""
    alive = model.orders_if_alive(summary, ends_days=np.array([0.0, 0.5, 1.0]) * horizon_days)
    np.testing.assert_allclose(alive.survival[:, 0], 1, rtol=LITTLE)
    assert (np.diff(alive.survival, axis=1) <= LITTLE).all()


@given(timing_models(), summaries())
def test_horizon_forms(model: TimingModel, summary: PurchaseSummary) -> None:
    """A horizon for all, one per customer and a path of ends give the same; the mean alone is the mean."""
    single = model.p_order_if_alive(summary, horizon_days=90.0)
    each = model.p_order_if_alive(summary, horizon_days=np.full(len(summary), 90.0))
    alive = model.orders_if_alive(summary, ends_days=np.array([90.0]))
    np.testing.assert_array_equal(each, single)
    np.testing.assert_allclose(alive.p_order[alive.inverse, 0], single, rtol=1e-12)
    inverse, expected = model.expected_if_alive(summary, ends_days=np.array([90.0]))
    np.testing.assert_array_equal(inverse, alive.inverse)
    np.testing.assert_allclose(expected, alive.expected, rtol=1e-12)


@given(timing_models(), summaries())
def test_alone_as_in_the_batch(model: TimingModel, summary: PurchaseSummary) -> None:
    """A customer asked about alone gets the same answers as among others."""
    batch = model.expected_orders(summary, horizon_days=YEAR_DAYS)
    p_none = model.p_no_order(summary, horizon_days=YEAR_DAYS)
    p_orders = model.p_orders(summary, horizon_days=YEAR_DAYS, max_orders=2)
    for row in range(len(summary)):
        alone = summary.take(np.array([row]))
        np.testing.assert_array_equal(model.expected_orders(alone, horizon_days=YEAR_DAYS), batch[[row]])
        np.testing.assert_array_equal(model.p_no_order(alone, horizon_days=YEAR_DAYS), p_none[[row]])
        p_alone = model.p_orders(alone, horizon_days=YEAR_DAYS, max_orders=2)
        np.testing.assert_array_equal(p_alone, p_orders[[row]])


@every_model
def test_story(model: Simulated) -> None:
    """In 200,000 lives drawn from the model's own story, orders are as frequent as it says."""
    n, year = 200_000, 364.0
    frequency = simulate_orders(model, ages_days=np.full(n, year), rng=np.random.default_rng(7)).frequency
    share = np.bincount(frequency.astype(np.intp), minlength=7)[:7] / n
    np.testing.assert_allclose(model.p_orders_new(year, max_orders=6), share, atol=4 * 0.5 / np.sqrt(n))
    assert model.expected_orders_new(np.array([year]))[0] == pytest.approx(frequency.mean(), rel=0.02)


@every_model
def test_story_goes_on(model: Simulated) -> None:
    """Those known for weeks to months order in the quarter after as their histories say, in each kind of history."""
    n, later = 60_000, 91.0
    ages = np.random.default_rng(3).uniform(14, 280, n)
    customers, days = draw_orders(model, ages_days=ages + later, rng=np.random.default_rng(11))
    summary = summarise(customers, days, ages_days=ages)
    n_orders = np.bincount(customers[days >= ages[customers]], minlength=n)
    expected = model.expected_orders(summary, horizon_days=later)
    p_order = 1 - model.p_no_order(summary, horizon_days=later)
    is_recent = summary.T_days - summary.recency_days < 60
    for frequency in (summary.frequency == 0, summary.frequency == 1, summary.frequency > 1):
        for kind in (frequency & is_recent, frequency & ~is_recent):
            error = 4 / np.sqrt(kind.sum())
            assert (n_orders[kind] > 0).mean() == pytest.approx(p_order[kind].mean(), abs=0.5 * error)
            assert n_orders[kind].mean() == pytest.approx(expected[kind].mean(), abs=error * n_orders[kind].std())


@every_model
@pytest.mark.parametrize("customer", [(10_000, 10_000, 10_001), (10_000, 9_000, 36_525), (1, 1, 1), (3, 90, 90)])
def test_extreme_customers(model: Simulated, customer: tuple[float, float, float]) -> None:
    """An order a day for decades, a day of history, an order on the day of the cutoff: all get finite answers."""
    summary = PurchaseSummary(*(np.array([float(value)]) for value in (*customer, 1)))
    path = model.expected_orders_path(summary, ends_days=np.array([1.0, 7.0, 365.25, CENTURY_DAYS]))
    p_orders = model.p_orders(summary, horizon_days=CENTURY_DAYS, max_orders=100)
    wait = model.wait_days_if_alive(summary, np.array([0.5]))
    assert np.isfinite(model.log_likelihood(summary)).all()
    assert (np.diff(path) >= 0).all()
    assert np.isfinite(path).all()
    assert (0 <= p_orders).all()
    assert p_orders.sum() <= 1 + LITTLE
    assert 0 < wait[0] < CENTURY_DAYS


@every_model
def test_new_customers(model: Simulated) -> None:
    """A new customer's expected orders keep the shape of the days asked for, and start at 0."""
    days = np.array([[0.0, 7.0], [70.0, 700.0]])
    expected = model.expected_orders_new(days)
    assert expected.shape == days.shape
    assert expected[0, 0] == 0
    assert (np.diff(expected.ravel()) > 0).all()
    mean = model.p_orders_new(70.0, max_orders=200) @ np.arange(201)
    assert model.expected_orders_new(np.array(70.0)) == pytest.approx(mean, rel=LITTLE)


@every_model
def test_json_round_trip(model: Simulated) -> None:
    """Parameters survive JSON unchanged."""
    assert type(model).from_dict(json.loads(json.dumps(model.to_dict()))) == model


@every_model
@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_parameter_refusals(model: Simulated, bad: float) -> None:
    """A parameter that is not finite and positive is refused by name."""
    for name in (*model.parameters, "time_unit_days"):
        with pytest.raises(ValueError, match=f"{model.name} parameter {name} "):
            type(model)(**model.to_dict() | {name: bad})


@every_model
@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_horizon_refusals(model: Simulated, bad: float) -> None:
    """A horizon that is negative or not finite is refused."""
    summary = load_summary().take(np.array([0]))
    with pytest.raises(ValueError, match="horizon"):
        model.p_no_order(summary, horizon_days=bad)
    with pytest.raises(ValueError, match="horizon"):
        model.expected_orders(summary, horizon_days=bad)
    with pytest.raises(ValueError, match="horizon"):
        model.p_orders(summary, horizon_days=bad, max_orders=2)


@every_model
def test_question_refusals(model: Simulated) -> None:
    """A span that ends before it begins, and a count of orders below 0 or between two, are refused."""
    summary = load_summary().take(np.array([0]))
    with pytest.raises(ValueError, match=r"after_days must not be above horizon_days, got 91\.0 and 90\.0"):
        model.expected_orders(summary, horizon_days=90.0, after_days=91.0)
    with pytest.raises(ValueError, match="max_orders must be a whole number from 0, got -1"):
        model.p_orders(summary, horizon_days=90.0, max_orders=-1)
    assert model.expected_orders(summary, horizon_days=90.0, after_days=90.0)[0] == 0
