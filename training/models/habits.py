"""What is known of a shop's rhythm beyond each customer's own statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.models.summary import YEAR_DAYS, FloatArray, PurchaseSummary


@dataclass(frozen=True, slots=True)
class Season:
    """The part of the year in which a shop's customers order.

    Args:
        start: Place in the year of its first day (see `PurchaseSummary.year_day`).
        days: Its length.
        share: Share of the year's order days that fall into it, above 0 and below 1.
    """

    start: float
    days: float
    share: float

    def elapsed(self, at: FloatArray) -> FloatArray:
        """Return the season's time at days counted from the start of a year, shape of `at`; rising, and 1:1 by years.

        Within a season it passes at the pace share / days, outside at (1 − share) / (365.25 − days), per year.
        """
        years, place = np.divmod(at - self.start, YEAR_DAYS)
        known = np.interp(place, [0.0, self.days, YEAR_DAYS], [0.0, self.share, 1.0])
        return np.asarray((years + known) * YEAR_DAYS)

    def calendar(self, elapsed: FloatArray) -> FloatArray:
        """Return the days at which the season's time is `elapsed`: the inverse of `elapsed`."""
        years, known = np.divmod(elapsed / YEAR_DAYS, 1.0)
        place = np.interp(known, [0.0, self.share, 1.0], [0.0, self.days, YEAR_DAYS])
        return np.asarray(years * YEAR_DAYS + place + self.start)

    def warp(self, summary: PurchaseSummary) -> PurchaseSummary:
        """Return the customers with recency and age in the season's time, at no place in the year.

        As they are where their place in the year is not known.
        """
        if summary.year_day is None:
            return summary
        now, first = summary.year_day, summary.year_day - summary.T_days
        age = np.maximum(self.elapsed(now) - self.elapsed(first), 0.0)
        recency = self.elapsed(first + summary.recency_days) - self.elapsed(first)
        recency = np.where(summary.recency_days > 0, np.maximum(recency, np.finfo(np.float64).tiny), 0.0)
        return PurchaseSummary(summary.frequency, recency, np.maximum(age, recency), summary.monetary_value)


@dataclass(frozen=True, slots=True)
class Habits:
    """When a shop's customers order.

    Args:
        season: The part of the year that most orders fall into; None where there is none.
        k: How regular the gaps between orders are: of shape k where they are Erlang distributed; 1 is by chance.
    """

    season: Season | None = None
    k: int = 1

    @property
    def is_seasonal(self) -> bool:
        """Whether most orders fall into one season."""
        return self.season is not None


NO_HABITS = Habits()
