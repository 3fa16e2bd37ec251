"""The suggested horizon: from how soon customers return, what was seen of it, and what room the history has."""

from collections.abc import Sequence

import duckdb
import polars as pl
import pytest

from features.intake.cdnow import load_cdnow_sample
from features.order_days import build_order_days
from features.records import Records
from features.settings import load_settings
from features.snapshot import Snapshot
from serving import terminal
from tests.histories import build_orders, build_records
from tests.strange_shops import SHOPS, clockwork, one_large_customer, plain, window_of
from training.horizon import CANDIDATES_DAYS, ReturnCurve, learn_return_curve, suggest_horizon
from training.suggestion import HorizonSuggestion

END_DAY = 1000


def _suggest(
    orders: pl.DataFrame, engine: duckdb.DuckDBPyConnection | None = None, *, end_day: int | None = None
) -> HorizonSuggestion:
    first_day, after_last = window_of(orders)
    return suggest_horizon(
        build_records(orders, engine), first_day=first_day, end_day=end_day or after_last, settings=load_settings()
    )


def _shop(*groups: tuple[int, Sequence[int]]) -> pl.DataFrame:
    """Build a shop of groups of alike customers: how many, and days before the end on which each ordered."""
    return build_orders(
        [
            (f"g{group}-{number}", END_DAY - before, 1_000_000)
            for group, (n_customers, days_before) in enumerate(groups)
            for number in range(n_customers)
            for before in days_before
        ]
    )


def _learn_curve(orders: pl.DataFrame) -> ReturnCurve:
    curve = learn_return_curve(build_order_days(Records.wrap(orders), Snapshot(END_DAY)))
    assert curve is not None
    return curve


def test_known_gaps() -> None:
    """Where every wait was seen to its end or stands for long, the curve is the plain share of the gaps."""
    curve = _learn_curve(_shop(*((1, (900, 900 - gap)) for gap in range(1, 101))))
    assert [curve.share_within(days) for days in (0, 30, 60, 100, 365)] == pytest.approx([0.0, 0.3, 0.6, 1.0, 1.0])
    assert [curve.days_until(share) for share in (0.295, 0.795, 1.0)] == [30, 80, 100]


def test_waits_that_go_on() -> None:
    """Who waits still counts for as long as they have: Kaplan and Meier's product, worked out by hand."""
    curve = _learn_curve(_shop((40, (500, 490)), (20, (20,)), (30, (500, 470)), (10, (50,))))
    # The 70 last orders of those who returned wait longer than all.
    after_10, after_30 = 1 - 40 / 170, (1 - 40 / 170) * (1 - 30 / 110)
    assert curve.days.tolist() == [10, 30]
    assert curve.share.tolist() == pytest.approx([(1 - after_10) / (1 - after_30), 1.0])


def test_clockwork() -> None:
    """Where all order every 30 days until they cancel, 30 days are enough, and said to be."""
    suggested = _suggest(clockwork())
    assert suggested.horizon_days == 30
    assert suggested.reasons[0] == "Of those who order again, 80% do so within 30 days; 30 days hold 100%."


def test_cdnow() -> None:
    """Of the CDNOW log, 120 days are the longest that leave room for three tests; 180 would hold more."""
    suggested = _suggest(load_cdnow_sample())
    assert suggested.horizon_days == 120
    assert [each.n_cutoffs for each in suggested.considered] == [3, 3, 3, 3, 3, 1, 0]
    assert "180 days would hold more, but leave room for one test." in suggested.reasons[-1]


def test_base_rate() -> None:
    """The rate without an order is that of the customers known at the youngest cutoff whose outcome is known."""
    rates = {
        each.days: each.base_rate for each in _suggest(_shop((6, (400, 50)), (2, (400, 1)), (9, (80,)))).considered
    }
    assert (rates[30], rates[60], rates[90]) == (15 / 17, 9 / 17, 0.0)
    assert rates[365] == 0.0


def test_both_outcomes() -> None:
    """A horizon within which nearly nobody orders gives way to a longer one that tells customers apart."""
    suggested = _suggest(_shop(*((1, (*range(700, 610, -10), last)) for last in range(1, 401, 4))))
    shortest, chosen = suggested.considered[:2]
    assert suggested.horizon_days == chosen.days == 30
    assert shortest.is_long_enough
    assert not shortest.is_telling


def test_one_customer_sets_no_pace() -> None:
    """One customer who makes nine tenths of the orders tells nothing of the others' rhythm."""
    assert _suggest(one_large_customer()).horizon_days == 90


@pytest.mark.parametrize(
    ("n_days", "n_customers", "horizon_days", "why"),
    [(720, 5, 90, "tells no rhythm"), (130, 300, 30, "no room for a test"), (9, 300, 90, "too short to train")],
)
def test_tiny_shops(n_days: int, n_customers: int, horizon_days: int, why: str) -> None:
    """With too little to learn from, the settings' horizon is kept, or the longest with room, and a reason says so."""
    orders = plain(n_customers)
    suggested = _suggest(orders.filter(pl.col("day") < window_of(orders)[0] + n_days))
    assert suggested.horizon_days == horizon_days
    assert why in " ".join(suggested.reasons)


def test_nobody() -> None:
    """Without any order there is a suggestion too."""
    empty = Records.wrap(build_orders([]))
    suggested = suggest_horizon(empty, first_day=END_DAY, end_day=END_DAY, settings=load_settings())
    assert suggested.horizon_days == 90


@pytest.mark.parametrize("name", ["of 300", "seasonal", "faithful", "closed for a year"])
def test_later_orders(name: str, engine: duckdb.DuckDBPyConnection) -> None:
    """Orders at or after the end change nothing, on either engine, and each horizon is considered once."""
    orders = SHOPS[name]()
    end_day = window_of(orders)[1] - 100
    known = orders.filter(pl.col("day") < end_day)
    suggested = _suggest(known, end_day=end_day)
    assert suggested == _suggest(orders, engine, end_day=end_day)
    assert tuple(each.days for each in suggested.considered) == CANDIDATES_DAYS


def test_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The terminal shows every horizon that was considered, the suggestion and its reasons."""
    suggested = _suggest(plain(50))
    terminal.print_horizon(suggested)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Suggested horizon: {suggested.horizon_days} days" in shown
    assert all(f"{days} days" in shown for days in CANDIDATES_DAYS)
    assert all(reason in shown for reason in suggested.reasons)
