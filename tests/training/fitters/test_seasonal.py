"""Shops whose orders come in seasons: how they are found out, and how their timing is fitted."""

from dataclasses import replace
from datetime import date
from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from features.records import Records
from features.settings import load_settings
from features.snapshot import to_day
from tests.strange_shops import long_seasonal
from training.fitters.btyd import fit_process
from training.fitters.habits import find_season
from training.fitters.seasonal import fit_seasonal
from training.learn import Past, learn_at
from training.models.habits import Habits, Season
from training.models.lifecycle import Answer, LifecycleModel
from training.models.purchase_process import PurchaseProcess
from training.models.seasonal_nbd import SeasonalNbd
from training.models.summary import YEAR_DAYS, PurchaseSummary
from training.splits import build_fold

AGE_DAYS = 800.0
SEASON = Season(start=304.0, days=61.0, share=0.9)
NOVEMBER, FEBRUARY = 304.0, 46.0  # places in the year
SETTINGS = load_settings(overrides={"training": {"search_trials": 0, "max_train_cutoffs": 2}})


def _table(days: npt.NDArray[np.float64], *, cutoff_day: float) -> pl.DataFrame:
    """Build customers with one order day each."""
    return pl.DataFrame({"last_day": days, "recency_days": 0.0 * days, "T_days": cutoff_day - days})


def _draw_days(*, share: float, years: tuple[int, ...], n_in_year: int = 60, seed: int = 1) -> npt.NDArray[np.float64]:
    """Draw order days: this share of each year's in November and December, the others at any time of it."""
    rng = np.random.default_rng(seed)
    starts = np.repeat([float(to_day(date(year, 1, 1))) for year in years], n_in_year)
    is_in = rng.random(starts.size) < share
    days: npt.NDArray[np.float64] = np.floor(
        starts + np.where(is_in, rng.uniform(304, 365, starts.size), rng.uniform(0, 304, starts.size))
    )
    return days


YEARS = (2020, 2021, 2022)


@pytest.mark.parametrize(
    ("days", "is_seasonal"),
    [
        (_draw_days(share=0.95, years=YEARS), True),
        (_draw_days(share=0.8, years=YEARS), True),
        (_draw_days(share=0.2, years=YEARS), False),
        (_draw_days(share=0.95, years=(2022,), n_in_year=200), False),
        (np.append(_draw_days(share=1.0, years=(2020,), n_in_year=300), _draw_days(share=0.0, years=YEARS[1:])), False),
        (_draw_days(share=0.95, years=YEARS, n_in_year=15), False),
    ],
    ids=["seasonal", "mostly", "even", "one year", "one busy quarter", "few orders"],
)
def test_find_season(days: npt.NDArray[np.float64], is_seasonal: bool) -> None:
    """A season is most of the order days in the same quarter of every year, and found from any day of the year."""
    for cutoff in (date(2023, 8, 1), date(2023, 10, 15), date(2024, 2, 1)):
        season = find_season(_table(days, cutoff_day=float(to_day(cutoff))))
        assert (season is not None) == is_seasonal
        if season is not None:
            assert season.start == pytest.approx(304.0, abs=15.0)
            assert 45.0 < season.days < 92.0
            assert 0.6 <= season.share < 1.0


def test_not_known() -> None:
    """Where the table does not tell the days there is no season."""
    table = _table(_draw_days(share=0.95, years=YEARS), cutoff_day=float(to_day(date(2023, 8, 1))))
    assert find_season(table.drop("last_day")) is None


def test_time() -> None:
    """A year is a year in the season's time, which runs on, and back to the calendar; the season has its share."""
    days = np.linspace(-900.0, 900.0, 500)
    elapsed = SEASON.elapsed(days)
    assert (np.diff(elapsed) > 0.0).all()
    np.testing.assert_allclose(SEASON.calendar(elapsed), days, atol=1e-8)
    np.testing.assert_allclose(SEASON.elapsed(days + YEAR_DAYS) - elapsed, YEAR_DAYS)
    [begin, end] = SEASON.elapsed(np.array([304.0, 365.0]))
    assert end - begin == pytest.approx(0.9 * YEAR_DAYS)


def _draw_orders(*, r: float, days_per_order: float, n: int = 3000) -> PurchaseSummary:
    """Draw customers who order at rates of their own and never leave; the last order lies anywhere."""
    rng = np.random.default_rng(1)
    frequency = rng.poisson(rng.gamma(r, AGE_DAYS / days_per_order / r, n)).astype(np.float64)
    return PurchaseSummary(frequency, np.minimum(30.0 * frequency, AGE_DAYS), np.full(n, AGE_DAYS), np.sign(frequency))


def test_rate() -> None:
    """The distribution of rates that orders were drawn from is found again, whenever the last order was."""
    summary = _draw_orders(r=2.0, days_per_order=200.0)
    model = fit_seasonal(summary, SEASON)
    assert model.r == pytest.approx(2.0, rel=0.1)
    assert model.alpha * 7 / model.r == pytest.approx(200.0, rel=0.05)
    assert model.p_alive(summary).min() > 0.99
    assert model.expected_orders(summary, horizon_days=AGE_DAYS).sum() == pytest.approx(
        summary.frequency.sum(), rel=0.05
    )


def test_alike() -> None:
    """Customers who are all alike, or of whom none came back, have a fit too."""
    for frequency in (0.0, 3.0):
        ages = np.full(50, AGE_DAYS)
        summary = PurchaseSummary(np.full(50, frequency), 100.0 * np.full(50, frequency), ages, np.zeros(50))
        p_churn = fit_seasonal(summary, SEASON).p_no_order(summary, horizon_days=90.0)
        assert ((p_churn > 0.0) & (p_churn < 1.0)).all()


@pytest.fixture(scope="module")
def model() -> SeasonalNbd:
    """A model of customers who order every 200 days or so, nine in ten times in November and December."""
    return fit_seasonal(_draw_orders(r=2.0, days_per_order=200.0), SEASON)


@pytest.mark.parametrize("year_day", [NOVEMBER, FEBRUARY, 250.0, 330.0, 0.0])
def test_consistent(model: SeasonalNbd, year_day: float) -> None:
    """All that the model offers speaks of the same orders, wherever in the year it is asked."""
    summary = replace(_draw_orders(r=2.0, days_per_order=200.0, n=40), year_day=np.full(40, year_day))
    ends = np.array([10.0, 90.0, 180.0, 365.25])
    alive = model.orders_if_alive(summary, ends_days=ends)
    inverse, expected = model.expected_if_alive(summary, ends_days=ends)
    np.testing.assert_allclose(expected[inverse], alive.expected[alive.inverse])
    for column, end in enumerate(ends):
        p_order = alive.p_order[alive.inverse, column]
        np.testing.assert_allclose(model.p_order_if_alive(summary, horizon_days=float(end)), p_order)
        p = model.p_orders_if_alive(summary, horizon_days=float(end), max_orders=400)
        np.testing.assert_allclose(p[:, 0], 1.0 - p_order, rtol=1e-9)
        np.testing.assert_allclose(p @ np.arange(401.0), alive.expected[alive.inverse, column], rtol=1e-6)
        np.testing.assert_allclose(model.wait_days_if_alive(summary, p_order), end, rtol=1e-6)


def test_year(model: SeasonalNbd) -> None:
    """In season orders come soon and out of season late; a year from either place brings the same."""
    summary = PurchaseSummary(np.full(2, 3.0), np.full(2, 600.0), np.full(2, 730.5), np.zeros(2))
    at = replace(summary, year_day=np.array([NOVEMBER, FEBRUARY]))
    in_season, out = model.p_order_if_alive(at, horizon_days=61.0)
    assert in_season > 5.0 * out
    inverse, expected = model.expected_if_alive(at, ends_days=np.array([YEAR_DAYS]))
    assert expected[inverse[0], 0] == pytest.approx(expected[inverse[1], 0], rel=1e-9)
    wait = model.wait_days_if_alive(at, np.full(2, 0.5))
    assert wait[0] < 61.0
    assert NOVEMBER - FEBRUARY < wait[1] < NOVEMBER - FEBRUARY + 61.0


def test_process() -> None:
    """A seasonal process says what it is, and survives as JSON values."""
    summary = _draw_orders(r=2.0, days_per_order=200.0, n=500)
    process, notes = fit_process(summary, load_settings(), habits=Habits(season=SEASON))
    assert (process.habits, process.is_fallback) == (Habits(season=SEASON), False)
    assert "silent between two seasons" in notes[0]
    assert PurchaseProcess.from_dict(process.to_dict()) == process


@cache
def _learn(cutoff: date) -> tuple[Past, LifecycleModel, Answer]:
    orders = long_seasonal()
    fold = build_fold(to_day(cutoff), first_day=int(orders["day"].to_numpy().min()), settings=SETTINGS.training)
    past, model = learn_at(Records.wrap(orders), fold, settings=SETTINGS)
    return past, model, model.answer(past.present)


def _no_order(past: Past, cutoff: date, days: int) -> float:
    cutoff_day = to_day(cutoff)
    came = long_seasonal().filter(pl.col("day").is_between(cutoff_day, cutoff_day + days, closed="left"))
    return 1.0 - float(past.present["customer_id"].is_in(came["customer_id"].unique().implode()).mean())  # type: ignore[arg-type]


CUTOFFS = (date(2022, 2, 15), date(2022, 7, 15), date(2022, 9, 1), date(2022, 11, 1))


@pytest.mark.parametrize("cutoff", CUTOFFS, ids=str)
def test_shop(cutoff: date) -> None:
    """Whenever in the year a shop of seasons is learned, all its answers are right: a year's value, churn, the wait."""
    past, model, answer = _learn(cutoff)
    assert model.process.habits.is_seasonal
    orders = long_seasonal()
    known = orders.filter(pl.col("customer_id").is_in(past.present["customer_id"].implode()))
    years = [to_day(date(year, cutoff.month, cutoff.day)) for year in (2021, 2022)]
    year_to_come = known.filter(pl.col("day").is_between(years[1], years[1] + 365, closed="left"))
    came = float(year_to_come["amount_micros"].sum()) / 1e6
    assert answer.forecast.clv_12m.sum() == pytest.approx(came, rel=0.35)
    assert answer.forecast.p_alive.min() > 0.99
    for column, days in enumerate((30, 90, 180)):
        assert answer.p_churn_by_horizon[:, column].mean() == pytest.approx(_no_order(past, cutoff, days), abs=0.16)
    median = np.nanmedian(answer.forecast.next_order.median_days)
    begin = (date(2022, 11, 1) - cutoff).days
    assert begin <= median < begin + 61


def test_found_at_any_time() -> None:
    """The season is the same whenever it is looked for, and more is expected before it than after it."""
    seasons = [_learn(cutoff)[1].process.habits.season for cutoff in CUTOFFS]
    assert seasons == [seasons[0]] * len(CUTOFFS)
    before, after = (_learn(cutoff)[2].p_churn.mean() for cutoff in (date(2022, 11, 1), date(2022, 2, 15)))
    assert after > before + 0.5


def test_same_model_another_day() -> None:
    """A model that was learned before the season expects little of whoever is scored after it."""
    past, model, _ = _learn(date(2022, 11, 1))
    table = past.present.with_columns(pl.col("T_days") + 80.0)
    silence = float((1.0 - model.answer(table).p_churn).mean())
    assert silence < 0.05


@pytest.mark.parametrize("year_day", [-1.0, 366.0])
def test_refused_place(year_day: float) -> None:
    """A place that no year has is refused."""
    with pytest.raises(ValueError, match="year_day must be from 0"):
        replace(_draw_orders(r=2.0, days_per_order=200.0, n=3), year_day=np.full(3, year_day))
