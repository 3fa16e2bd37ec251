"""A snapshot: one cutoff, one horizon, and the only code that compares time with them."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt

from features.dialect import Frame, dialect_of
from features.records import Records

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known strictly before a cutoff, and what came within a horizon after it.

    Args:
        cutoff_day: Day number (days since 1970-01-01 in the shop's zone) of the as-of date; its midnight ends history.
        horizon_days: Length of the outcome window in days, 0 where no outcome is asked for.
    """

    cutoff_day: int
    horizon_days: int = 0

    @property
    def end_day(self) -> int:
        """Return the first day after the outcome window."""
        return self.cutoff_day + self.horizon_days

    def known(self, rows: Frame, *, column: str = "day") -> Frame:
        """Keep the rows before the cutoff, as they are."""
        return rows.filter(dialect_of(rows).col(column) < self.cutoff_day)

    def is_known(self, days: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Tell of each day number whether it lies before the cutoff."""
        return days < self.cutoff_day

    def known_records(self, records: Records) -> Records:
        """Keep what was recorded before the cutoff, in every relation."""
        return records.map(self.known)

    def history(self, rows: Frame) -> Frame:
        """Keep the rows before the cutoff; `age_days` counts back from it, so the youngest row has age 1."""
        xp = dialect_of(rows)
        return self.known(rows).with_columns(age_days=xp.lit(self.cutoff_day, xp.Int64) - xp.col("day"))

    def last_seen(self, days: Frame) -> Frame:
        """Return the history of marked days (see `mark_days`), with `is_last`: no day follows before the cutoff."""
        follows = (dialect_of(days).col("next_day") < self.cutoff_day).fill_null(value=False)
        return self.history(days).with_columns(is_last=~follows)

    def outcome(self, orders: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
        """Keep the orders in `[cutoff, cutoff + horizon)`."""
        return orders.filter((nw.col("day") >= self.cutoff_day) & (nw.col("day") < self.end_day))

    def at_horizon(self) -> "Snapshot":
        """Return the snapshot whose cutoff is this one's end."""
        return Snapshot(cutoff_day=self.end_day)


def to_day(when: date) -> int:
    """Convert a calendar date in the shop's zone to its day number."""
    return (when - _EPOCH).days


def to_date(day: int) -> date:
    """Convert a day number to the calendar date in the shop's zone."""
    return _EPOCH + timedelta(days=day)
