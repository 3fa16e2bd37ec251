"""Order timing of a shop whose customers all come in one season and are silent for the rest of the year.

Models of dropout take the silence between two seasons for departures. Here next to nobody drops out, and orders follow
the negative binomial (Ehrenberg 1959, The pattern of consumer purchases) in a time of its own: of each year, the season
takes as large a part as it has of the shop's order days, and the other months the rest. A year has 365.25 days in
either time. All answers are those of the model without seasons in that time.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from training.models.habits import Season
from training.models.mbg_nbd import MbgNbd
from training.models.summary import YEAR_DAYS, FloatArray, IndexArray, PurchaseSummary, find_cells

NO_DROPOUT = (0.01, 1e4)  # a and b: one chance in a million


@dataclass(frozen=True, slots=True)
class SeasonalNbd(MbgNbd):
    """Parameters of the model: those of MBG/NBD, with a chance to drop out that is next to none, and the season.

    Attributes:
        season_start: Place in the year of its first day, above 0 and at most 365.25 (see `PurchaseSummary.year_day`).
        season_days: Its length.
        season_share: Share of the year's order days that fall into it, below 1.

    Raises:
        ValueError: A parameter is not finite or not positive, or the season is none.
    """

    season_start: float
    season_days: float
    season_share: float

    name: ClassVar[str] = "seasonal NBD"
    parameters: ClassVar[tuple[str, ...]] = ("r", "alpha", "a", "b", "season_start", "season_days", "season_share")

    def __post_init__(self) -> None:
        self.require_positive()
        if not (self.season_start <= YEAR_DAYS and self.season_days < YEAR_DAYS and self.season_share < 1.0):
            raise ValueError(f"no year has the season {self.season}.")

    @property
    def season(self) -> Season:
        """When customers order."""
        return Season(self.season_start, self.season_days, self.season_share)

    def log_likelihood(self, summary: PurchaseSummary) -> FloatArray:
        """Compute each customer's log-likelihood, (n,), in units of the season's time."""
        return MbgNbd.log_likelihood(self, self._warp(summary))

    def p_alive(self, summary: PurchaseSummary) -> FloatArray:
        """Compute P(alive at the cutoff), (n,): next to 1. A diagnostic, never a churn score."""
        return MbgNbd.p_alive(self, self._warp(summary))

    def p_order_if_alive(self, summary: PurchaseSummary, *, horizon_days: float | FloatArray) -> FloatArray:
        """Compute P(an order within the horizon | alive), (n,)."""
        ahead = self._ahead(summary, np.broadcast_to(np.asarray(horizon_days, dtype=np.float64), len(summary)))
        return MbgNbd.p_order_if_alive(self, self._warp(summary), horizon_days=ahead)

    def wait_days_if_alive(self, summary: PurchaseSummary, p: FloatArray) -> FloatArray:
        """Compute the days t at which P(an order within t | alive) reaches `p` (n,); infinite where it never does."""
        result = MbgNbd.wait_days_if_alive(self, self._warp(summary), p)
        if summary.year_day is None:
            return result
        is_finite = np.isfinite(result)
        start = summary.year_day[is_finite]
        result[is_finite] = self.season.calendar(self.season.elapsed(start) + result[is_finite]) - start
        return np.maximum(result, 0.0)

    def _cells_ahead(
        self, summary: PurchaseSummary, ends_days: FloatArray
    ) -> tuple[FloatArray, FloatArray, IndexArray]:
        """Return what `BetaGeometricNbd` does, ages and ends in the season's time, by place in the year too."""
        columns = (summary.frequency, summary.T_days)
        cells = find_cells(*columns) if summary.year_day is None else find_cells(*columns, summary.year_day)
        one = summary.take(cells.first)
        ages, ahead = self._warp(one).T_days[:, None], self._ahead(one, ends_days[None, :])
        return one.frequency, self._relative(ages, ahead), cells.inverse

    def _ahead(self, summary: PurchaseSummary, days: FloatArray) -> FloatArray:
        """Return how much of the season's time lies in so many days ahead; shape of `days`, or (n, k) of (1, k)."""
        if summary.year_day is None:
            return days + np.zeros((len(summary), *(1,) * (days.ndim - 1)))
        start = summary.year_day.reshape(-1, *(1,) * (days.ndim - 1))
        return np.maximum(self.season.elapsed(start + days) - self.season.elapsed(start), 0.0)

    def _warp(self, summary: PurchaseSummary) -> PurchaseSummary:
        return self.season.warp(summary)
