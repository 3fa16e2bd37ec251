"""Shops whose customers order at regular intervals: how they are found out, and how their timing is fitted."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from features.settings import load_settings
from tests.cdnow import load_summary
from tests.training.models.simulate import summarise
from training.fitters.btyd import fit_alone, fit_process, fit_shop_timing
from training.fitters.habits import MAX_K, learn_habits, measure_regularity
from training.fitters.regular import fit_regular
from training.metrics import log_losses_binary
from training.models.habits import NO_HABITS, Habits
from training.models.mbg_nbd import MbgNbd
from training.models.purchase_process import PurchaseProcess
from training.models.regular_nbd import RegularNbd
from training.models.summary import PurchaseSummary

HORIZON_DAYS = 60.0
SHAPE = 16


@dataclass(frozen=True, slots=True)
class Drawn:
    """Customers with Erlang gaps, at a cutoff.

    Args:
        summary: What was known of n customers.
        is_churned: Who ordered nothing within the horizon, (n,).
        came: Orders within it, (n,).
    """

    summary: PurchaseSummary
    is_churned: npt.NDArray[np.int64]
    came: npt.NDArray[np.int64]


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    """Customers who order about every 30 days at gaps of shape 16, and stop one time in ten."""
    rng, n = np.random.default_rng(1), 2000
    ages = rng.uniform(30.0, 400.0, n)
    mean_gap, is_active = 30.0 * rng.lognormal(0.0, 0.3, n), rng.random(n) >= 0.1
    at, customers, days = np.zeros(n), [], []
    for _ in range(60):
        at = at + mean_gap * rng.gamma(SHAPE, 1.0 / SHAPE, n)
        customers.append(np.nonzero(is_active)[0])
        days.append(at[is_active])
        is_active &= rng.random(n) >= 0.1
    who, when = np.concatenate(customers), np.concatenate(days)
    is_known = when < ages[who]
    comes = (when >= ages[who]) & (when < ages[who] + HORIZON_DAYS)
    came = np.bincount(who[comes], minlength=n)
    summary = summarise(who[is_known], when[is_known], ages_days=ages)
    return Drawn(summary, (came == 0).astype(np.int64), came)


def _gaps(variation: list[float], *, frequency: int = 5) -> pl.DataFrame:
    return pl.DataFrame({"frequency": [frequency] * len(variation), "gap_variation": variation})


@pytest.mark.parametrize(
    ("table", "k"),
    [
        (_gaps([0.25] * 30), 16),
        (_gaps([1.0] * 30), 1),
        (_gaps([0.5] * 30 + [2.0] * 20), 4),
        (_gaps([3.0] * 30), 1),
        (_gaps([0.0] * 30), MAX_K),
        (_gaps([0.25] * 19), 1),
        (_gaps([0.25] * 30, frequency=2), 1),
        (_gaps([0.25] * 30).drop("gap_variation"), 1),
    ],
    ids=["regular", "by chance", "the middle one", "in bursts", "clockwork", "few", "few gaps", "not known"],
)
def test_regularity(table: pl.DataFrame, k: int) -> None:
    """How regular a shop is follows from how much the gaps of its customer in the middle vary."""
    assert measure_regularity(table) == k
    assert learn_habits(table) == Habits(k=k)


def test_shape_one() -> None:
    """Of shape 1 the model is MBG/NBD, and fitted to CDNOW it comes to the published parameters."""
    summary = load_summary()
    found = fit_regular(summary, MbgNbd(0.525, 6.183, 0.891, 1.614), k=1)
    assert (found.rate_shape, found.rate_scale) == pytest.approx((0.525, 6.183), rel=0.05)
    assert (found.a, found.b) == pytest.approx((0.891, 1.614), rel=0.1)
    same = RegularNbd(0.525, 6.183, 0.891, 1.614, 1.0, 0.525, 6.183)
    for ask in ("p_no_order", "expected_orders"):
        ours, theirs = (
            getattr(model, ask)(summary, horizon_days=90.0) for model in (same, MbgNbd(0.525, 6.183, 0.891, 1.614))
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def _fit(drawn: Drawn) -> RegularNbd:
    fitted = fit_shop_timing(drawn.summary, load_settings(), habits=Habits(k=SHAPE)).model
    assert isinstance(fitted, RegularNbd)
    return fitted


def test_simulated(drawn: Drawn) -> None:
    """Of customers drawn from the model's story, as many stay away as it says, and it knows better who."""
    timing = fit_alone(drawn.summary, "mbg_nbd")
    regular = _fit(drawn)
    ours, theirs = (model.p_no_order(drawn.summary, horizon_days=HORIZON_DAYS) for model in (regular, timing))
    assert ours.mean() == pytest.approx(drawn.is_churned.mean(), abs=0.02)
    assert regular.a / (regular.a + regular.b) == pytest.approx(0.1, abs=0.02)
    losses = [log_losses_binary(drawn.is_churned, p).mean() for p in (ours, theirs)]
    assert losses[0] < 0.75 * losses[1]


def test_silence(drawn: Drawn) -> None:
    """Silence within the usual gap says nothing, twice the gap says all; it never speaks for a return."""
    silence = np.array([1.0, 15.0, 30.0, 45.0, 60.0, 90.0, 300.0])
    alike = PurchaseSummary(np.full(7, 6.0), np.full(7, 180.0), 180.0 + silence, np.zeros(7))
    model = _fit(drawn)
    p_alive, p_churn = model.p_alive(alike), model.p_no_order(alike, horizon_days=HORIZON_DAYS)
    assert p_alive[1] > 0.85
    assert p_alive[4] < 0.05
    assert (np.diff(p_alive) <= 0.0).all()
    assert (np.diff(p_churn) >= -1e-3).all()  # the nearer an order is due, the surer it falls within the horizon
    assert ((p_churn > 0.0) & (p_churn <= 1.0)).all()


def test_consistent(drawn: Drawn) -> None:
    """All that the model offers speaks of the same orders: at least P(an order), and never fewer in a longer time."""
    model, ends = _fit(drawn), np.array([0.0, 5.0, 20.0, 35.0, 60.0, 180.0])
    summary = drawn.summary.take(np.arange(0, len(drawn.summary), 20))
    alive = model.orders_if_alive(summary, ends_days=ends)
    inverse, expected = model.expected_if_alive(summary, ends_days=ends)
    np.testing.assert_allclose(expected[inverse], alive.expected[alive.inverse])
    assert (alive.expected >= alive.p_order).all()
    assert (np.diff(alive.expected, axis=1) >= -1e-12).all()
    for column, end in enumerate(ends[1:], start=1):
        p_order = alive.p_order[alive.inverse, column]
        np.testing.assert_allclose(model.p_order_if_alive(summary, horizon_days=float(end)), p_order)
        n = np.arange(201.0)
        p = model.p_orders_if_alive(summary, horizon_days=float(end), max_orders=200)
        np.testing.assert_allclose(p[:, 0], 1.0 - p_order, atol=1e-12)
        np.testing.assert_allclose(p @ n, alive.expected[alive.inverse, column], rtol=1e-3)
        np.testing.assert_allclose(p @ (n * (n - 1.0)), alive.factorial[alive.inverse, column], rtol=0.02, atol=1e-9)
        is_sure = (p_order > 1e-6) & (p_order < 1.0 - 1e-6)
        wait = model.wait_days_if_alive(summary, p_order)
        np.testing.assert_allclose(wait[is_sure], end, rtol=1e-3)


def test_active(drawn: Drawn) -> None:
    """Of those who are not overdue, as many come within a month as do, about one gap after the last order."""
    silence = drawn.summary.T_days - drawn.summary.recency_days
    rows = np.nonzero((silence < 20.0) & (drawn.summary.frequency >= 3))[0]
    due = drawn.summary.take(rows)
    model = _fit(drawn)
    assert model.p_no_order(due, horizon_days=HORIZON_DAYS).mean() == pytest.approx(
        drawn.is_churned[rows].mean(), abs=0.04
    )
    wait = model.wait_days_if_alive(due, np.full(len(due), 0.5))
    mean_gap = due.recency_days / due.frequency
    assert float(np.median(wait + silence[rows] - mean_gap)) == pytest.approx(0.0, abs=3.0)
    expected = model.expected_orders(due, horizon_days=HORIZON_DAYS).mean()
    assert expected == pytest.approx(drawn.came[rows].mean(), rel=0.15)


def test_long_overdue(drawn: Drawn) -> None:
    """However long the silence, every answer is a number, and an order never impossible."""
    alike = PurchaseSummary(
        np.full(3, 40.0), np.full(3, 1200.0), 1200.0 + np.array([300.0, 3000.0, 30000.0]), np.ones(3)
    )
    alive = _fit(drawn).orders_if_alive(alike, ends_days=np.array([60.0, 365.0]))
    assert all(np.isfinite(values).all() for values in (alive.expected, alive.factorial))
    assert (alive.p_order > 0.0).all()


def test_process(drawn: Drawn) -> None:
    """The process of a regular shop says what it is, survives as JSON values, and is coherent."""
    process, _ = fit_process(drawn.summary, load_settings(), habits=Habits(k=SHAPE))
    assert process.habits == Habits(k=SHAPE)
    assert PurchaseProcess.from_dict(process.to_dict()) == process
    forecast = process.predict(drawn.summary, horizon_days=HORIZON_DAYS)
    assert np.isfinite(forecast.clv_12m).all()
    assert (forecast.expected_orders >= 0.0).all()


def test_where_it_is_taken(drawn: Drawn) -> None:
    """It is taken where gaps are regular and MBG/NBD is asked for, and nowhere else."""
    of_other = load_settings(overrides={"value": {"timing_model": "bg_nbd"}})
    assert type(fit_shop_timing(drawn.summary, load_settings(), habits=Habits(k=3)).model) is not RegularNbd
    assert type(fit_shop_timing(drawn.summary, load_settings(), habits=NO_HABITS).model) is not RegularNbd
    assert type(fit_shop_timing(drawn.summary, of_other, habits=Habits(k=SHAPE)).model) is not RegularNbd
