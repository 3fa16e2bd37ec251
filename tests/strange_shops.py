"""Small and strange shops: pure functions of a seed, each as validated orders, one row per order."""

from collections.abc import Callable, Iterable, Mapping
from datetime import date

import numpy as np
import polars as pl

from features.snapshot import to_day
from tests.histories import OrderRow, build_orders

START_DAY = to_day(date(2022, 1, 1))
N_CUSTOMERS = 120
LARGE = "large"
_SPAN_DAYS = 720
_SEASONS = tuple(to_day(date(year, 11, 1)) for year in (2021, 2022, 2023))
_SEVEN_SEASONS = tuple(to_day(date(year, 11, 1)) for year in range(2017, 2024))
_SEASON_DAYS = 61

Rng = np.random.Generator


def plain(n_customers: int, *, seed: int = 1) -> pl.DataFrame:
    """Make a shop of customers who come at any time, order at a pace of their own, and drop out sooner or later."""
    return _each_customer(n_customers, seed, lambda rng: _orders_until_dropout(rng, rng.uniform(0, _SPAN_DAYS - 30)))


def one_cohort(*, seed: int = 2) -> pl.DataFrame:
    """Make a shop whose customers all came in its first month."""
    return _each_customer(N_CUSTOMERS, seed, lambda rng: _orders_until_dropout(rng, rng.uniform(0, 30)))


def seasonal(*, seed: int = 3) -> pl.DataFrame:
    """Make a shop that sells in November and December alone, in three years."""
    return _each_customer(2 * N_CUSTOMERS, seed, _orders_in_seasons)


def long_seasonal(*, seed: int = 3) -> pl.DataFrame:
    """Make a shop that sells in November and December alone, in seven years."""
    return _each_customer(400, seed, lambda rng: _orders_in_seasons(rng, _SEVEN_SEASONS))


def one_time_buyers(*, seed: int = 4) -> pl.DataFrame:
    """Make a shop to which nobody ever came back."""
    return _each_customer(N_CUSTOMERS, seed, lambda rng: [rng.uniform(0, _SPAN_DAYS)])


def clockwork(*, every_days: int = 30, p_cancel: float = 0.05, seed: int = 5) -> pl.DataFrame:
    """Make a shop of subscriptions: an order every so many days, until it is cancelled."""

    def orders(rng: Rng) -> Iterable[float]:
        first = rng.integers(0, _SPAN_DAYS - 100)
        n_orders = rng.geometric(p_cancel) if p_cancel else _SPAN_DAYS
        return first + every_days * np.arange(n_orders)

    return _each_customer(N_CUSTOMERS, seed, orders)


def faithful(*, seed: int = 6) -> pl.DataFrame:
    """Make a shop to which everybody comes back every two weeks or so, and nobody leaves."""
    return _each_customer(
        N_CUSTOMERS, seed, lambda rng: rng.uniform(0, 60) + np.cumsum(rng.uniform(7, 21, size=_SPAN_DAYS // 7))
    )


def one_large_customer(*, seed: int = 7) -> pl.DataFrame:
    """Make a shop of which one customer makes nine tenths of the orders."""
    others = one_time_buyers(seed=seed)
    days = np.random.default_rng(seed).uniform(0, _SPAN_DAYS, size=9 * others.height)
    return pl.concat([others, _orders_of(LARGE, days, np.random.default_rng(seed))])


def worthless(*, seed: int = 8) -> pl.DataFrame:
    """Make a shop whose orders are all worth nothing."""
    return plain(N_CUSTOMERS, seed=seed).with_columns(amount_micros=pl.lit(0, pl.Int64))


def closed_for_a_year(*, seed: int = 9) -> pl.DataFrame:
    """Make a shop that was closed for a year in the middle, and to which the same customers came back."""
    day = pl.col("day") + pl.when(pl.col("day") < START_DAY + _SPAN_DAYS // 2).then(0).otherwise(365)
    orders = plain(2 * N_CUSTOMERS, seed=seed)
    return orders.with_columns(day=day, ordered_at=pl.from_epoch(day, "d").cast(pl.Datetime("us")))


SHOPS: Mapping[str, Callable[[], pl.DataFrame]] = {
    "of 50": lambda: plain(50),
    "of 300": lambda: plain(300),
    "of 3,000": lambda: plain(3000),
    "one cohort": one_cohort,
    "seasonal": seasonal,
    "one-time buyers": one_time_buyers,
    "clockwork": clockwork,
    "faithful": faithful,
    "one large customer": one_large_customer,
    "worthless": worthless,
    "closed for a year": closed_for_a_year,
}


def window_of(orders: pl.DataFrame) -> tuple[int, int]:
    """Return the first day of orders and the day after the last."""
    days = orders["day"].to_numpy()
    return int(days.min()), int(days.max()) + 1


def _each_customer(n_customers: int, seed: int, draw: Callable[[Rng], Iterable[float]]) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.concat([_orders_of(f"c{number:04}", draw(rng), rng) for number in range(n_customers)])


def _orders_of(customer_id: str, days: Iterable[float], rng: Rng) -> pl.DataFrame:
    rows: list[OrderRow] = [
        (customer_id, START_DAY + int(day), int(rng.lognormal(3.0, 0.5) * 100) * 10_000)
        for day in days
        if day < _SPAN_DAYS
    ]
    return build_orders(rows)


def _orders_until_dropout(rng: Rng, day: float) -> list[float]:
    gap_days, p_stop = 1.0 / rng.gamma(1.5, 1.0 / 60.0), rng.beta(1.0, 2.0)
    days = [day]
    while rng.random() >= p_stop and day < _SPAN_DAYS:
        day += rng.exponential(gap_days)
        days.append(day)
    return days


def _orders_in_seasons(rng: Rng, seasons: tuple[int, ...] = _SEASONS) -> list[float]:
    first = int(rng.integers(len(seasons)))
    days: list[float] = []
    for number, season in enumerate(seasons[first:]):
        if number == 0 or rng.random() < 0.6:
            days.extend(season - START_DAY + rng.uniform(0, _SEASON_DAYS, size=rng.integers(1, 4)))
    return days
