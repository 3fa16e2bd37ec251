"""The slices of the metric sheet: the whole shop, stages, cohorts (quarters of the first order) and channels."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from features.snapshot import Snapshot, to_date, to_day

SLICE_KINDS = ("all", "stage", "cohort", "channel")
ALL = "all"
EARLIER = "earlier"
N_COHORTS = 12

Tally = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the shop and the days `[first_day, end_day)` that a row tells of."""

    kind: str
    name: str
    first_day: int
    end_day: int


def add_up(rows: pl.DataFrame, kind: str, sums: Mapping[str, pl.Expr]) -> dict[str, Tally]:
    """Add up rows by slice, as exact integers; rows that belong to no slice are left out."""
    if kind == "all":
        return {ALL: rows.select(**sums).row(0, named=True)}
    summed = rows.filter(pl.col(kind).is_not_null()).group_by(kind).agg(**sums)
    return {tally[kind]: tally for tally in summed.iter_rows(named=True)}


def cohort_of(day: str, snapshot: Snapshot) -> pl.Expr:
    """Return the quarter of a day, such as `2011-Q2`; those before the last `N_COHORTS` are one."""
    when = pl.from_epoch(day, "d")
    named = pl.format("{}-Q{}", when.dt.year(), when.dt.quarter())
    return pl.when(pl.col(day) < _first_named_day(snapshot)).then(pl.lit(EARLIER)).otherwise(named)


def cohort_days(cohort: str, snapshot: Snapshot, *, first_day: int) -> tuple[int, int]:
    """Return the first day of a cohort, and the day after its last; earlier ones begin on `first_day`."""
    if cohort == EARLIER:
        return first_day, _first_named_day(snapshot)
    year, quarter = map(int, cohort.split("-Q"))
    number = 4 * year + quarter - 1
    return _first_day_of(number), _first_day_of(number + 1)


def _first_named_day(snapshot: Snapshot) -> int:
    last = to_date(snapshot.cutoff_day - 1)
    return _first_day_of(4 * last.year + (last.month - 1) // 3 - (N_COHORTS - 1))


def _first_day_of(quarter_number: int) -> int:
    year, quarter = divmod(quarter_number, 4)
    return to_day(date(year, 3 * quarter + 1, 1))
