"""Find out when a shop's customers order: in one season, at regular intervals, or at any time."""

import numpy as np
import numpy.typing as npt
import polars as pl

from training.models.habits import Habits, Season
from training.models.summary import YEAR_DAYS, FloatArray

SEASON_DAYS = 91
MIN_SHARE = 0.6  # of the order days in one quarter of the year, in every year; an even year has a quarter there
MIN_ORDER_DAYS = 50
MIN_YEARS = 2
_MIN_IN_YEAR = 10  # order days in a year, of fewer than which it tells nothing
_MIN_OF_YEAR = 0.75  # of a year that must be past for it to count: of a season alone every share is large
_MAX_UNSEEN_DAYS = 30  # of the quarter in the shop's first year: without it, a year shows no season
_TAIL = 0.01  # of the order days in the quarter, left out at either end to find where the season begins and ends
MAX_K = 60
MIN_GAPS = 3  # of a customer whose regularity counts
MIN_CUSTOMERS = 20


def learn_habits(table: pl.DataFrame) -> Habits:
    """Learn from a customer table what its customers showed before the cutoff."""
    return Habits(season=find_season(table), k=measure_regularity(table))


def measure_regularity(table: pl.DataFrame) -> int:
    """Return the Erlang shape k of the gaps of the customer in the middle: of shape k, they vary by 1/√k of their mean.

    Returns:
        Between 1, gaps by chance, and `MAX_K`; 1 where fewer than 20 customers have 3 gaps.
    """
    if "gap_variation" not in table.columns:
        return 1
    variation = table.filter(pl.col("frequency") >= MIN_GAPS)["gap_variation"].drop_nulls()
    if variation.len() < MIN_CUSTOMERS:
        return 1
    middle = float(variation.sort()[variation.len() // 2])
    return max(1, round(min(1.0 / max(middle, 1e-6) ** 2, MAX_K)))


def find_season(table: pl.DataFrame) -> Season | None:
    """Find the part of the year that holds most of the first and last order days, in every year seen.

    The quarter with most of them must hold 60 % of all, and of those of each year that is mostly past, two years at
    least: a shop that opened or closed has one busy quarter too, but not the same one every year.

    Returns:
        The quarter less its empty ends; None where there is no such quarter, or the table does not tell the days.
    """
    if "last_day" not in table.columns:
        return None
    days = _first_and_last_days(table)
    if days.size < MIN_ORDER_DAYS:
        return None
    start = _busiest_quarter(np.mod(days, YEAR_DAYS))
    years, place = np.divmod(days - start, YEAR_DAYS)
    is_in = place < SEASON_DAYS
    if is_in.mean() < MIN_SHARE or not _is_so_every_year(
        years, is_in, first=float(days.min()) - start, span_days=_cutoff_day(table) - start
    ):
        return None
    first, last = np.quantile(place[is_in], (_TAIL, 1.0 - _TAIL))
    length = max(float(last - first), 1.0) + 1.0
    inside = int(((place >= first) & (place < first + length)).sum())
    begins = float(np.mod(start + first, YEAR_DAYS))
    return Season(begins or YEAR_DAYS, length, (inside + 0.5) / (days.size + 1.0))


def _first_and_last_days(table: pl.DataFrame) -> FloatArray:
    """Return each customer's last order day, and the first where it is another: days since 1970-01-01."""
    last = table["last_day"].to_numpy().astype(np.float64)
    recency = table["recency_days"].fill_null(0.0).to_numpy()
    return np.concatenate([last, (last - recency)[recency > 0]])


def _cutoff_day(table: pl.DataFrame) -> float:
    recency = float(table["recency_days"].fill_null(0.0)[0])
    return float(table["last_day"][0]) + float(table["T_days"][0]) - recency


def _busiest_quarter(places: FloatArray) -> float:
    """Return the place in the year at which the 91 days begin that hold most order days."""
    ordered = np.sort(places)
    twice = np.concatenate([ordered, ordered + YEAR_DAYS])
    held = np.searchsorted(twice, ordered + SEASON_DAYS, "left") - np.arange(ordered.size)
    return float(ordered[int(np.argmax(held))])


def _is_so_every_year(years: FloatArray, is_in: npt.NDArray[np.bool_], *, first: float, span_days: float) -> bool:
    """Tell whether the quarter holds most of the order days of every year, of two or more, that is mostly past.

    Args:
        years: Of each order day, counted from the quarter's begin.
        is_in: Whether the day lies in the quarter.
        first: The first order day.
        span_days: The cutoff; both in days from where `years` are counted.
    """
    is_past = span_days - years * YEAR_DAYS >= _MIN_OF_YEAR * YEAR_DAYS
    is_past &= years * YEAR_DAYS > first - _MAX_UNSEEN_DAYS
    shares = [
        float(is_in[years == year].mean())
        for year in np.unique(years[is_past])
        if int((years == year).sum()) >= _MIN_IN_YEAR
    ]
    return len(shares) >= MIN_YEARS and min(shares) >= MIN_SHARE
