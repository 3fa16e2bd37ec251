"""Leakage: what a training can check of itself, so that no answer was known before it was asked."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
import polars as pl

from features.records import Records
from features.settings import TrainingSettings
from features.snapshot import Snapshot, to_date
from features.table import FEATURES, build_customer_table
from training.fitters.classes import count_rarest
from training.learn import Past
from training.metrics import auc
from training.splits import Fold

Build = Callable[[Records], pl.DataFrame]
TELLING_AUC = 0.98
_MAX_CUSTOMERS = 20_000
_OF_ORDERS_ALONE = frozenset(feature.name for feature in FEATURES if not feature.needs)


@dataclass(frozen=True, slots=True)
class Leakage:
    """What the checks found.

    Args:
        compared_at: ISO date of the youngest test cutoff, where the customer table was built twice.
        n_customers: Customers compared there.
        differing: Columns that came out otherwise when the days after that cutoff were replaced.
        broken_windows: Which cutoffs saw an outcome that was not known by then, in words.
        telling_inputs: Inputs from beyond the orders that alone tell churners from the rest → their AUC, at least ½.
    """

    compared_at: str
    n_customers: int
    differing: tuple[str, ...]
    broken_windows: tuple[str, ...]
    telling_inputs: Mapping[str, float]

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not (self.differing or self.broken_windows or self.telling_inputs)

    def to_record(self) -> dict[str, Any]:
        """Return the findings as JSON values."""
        return {
            "is_clean": self.is_clean,
            "point_in_time": {
                "cutoff": self.compared_at,
                "n_customers": self.n_customers,
                "differing": list(self.differing),
            },
            "windows": list(self.broken_windows),
            "telling_inputs": {name: round(value, 6) for name, value in self.telling_inputs.items()},
        }


def check_leakage(
    records: Records, folds: Sequence[Fold], past: Past, *, first_day: int, settings: TrainingSettings
) -> Leakage:
    """Check that nothing was learned from what came later.

    Args:
        records: As they were trained on, those after the cutoffs among them.
        folds: Every fold that was learned at; the youngest test cutoff first.
        past: What the final model learned from.
        first_day: Day number of the shop's first order.
        settings: Horizon, seed and least class size.
    """
    snapshot = Snapshot(folds[0].cutoff_day, settings.horizon_days)
    build = partial(build_customer_table, snapshot=snapshot, rule=past.rule)
    compared, differing = compare_with_other_future(records, snapshot, build)
    return Leakage(
        compared_at=to_date(snapshot.cutoff_day).isoformat(),
        n_customers=compared,
        differing=differing,
        broken_windows=tuple(find_broken_windows(folds, first_day=first_day, horizon_days=settings.horizon_days)),
        telling_inputs=find_telling_inputs(past, settings),
    )


def compare_with_other_future(
    records: Records, snapshot: Snapshot, build: Build, *, max_customers: int = _MAX_CUSTOMERS
) -> tuple[int, tuple[str, ...]]:
    """Build the table of a cutoff with the days after it as they are, and with others in their place.

    Args:
        records: Those after the cutoff among them.
        snapshot: The cutoff.
        build: Makes a table of records, as known at that cutoff.
        max_customers: Of a larger base, so many neighbours by id are compared.

    Returns:
        How many customers were compared, and the columns that differ in any bit; `customer_id` where the customers do.
    """
    some = _neighbours(records, snapshot, max_customers)
    as_it_is, otherwise = build(some), build(mirror_future(some, snapshot))
    if as_it_is.columns != otherwise.columns:
        return as_it_is.height, tuple(sorted(set(as_it_is.columns) ^ set(otherwise.columns)))
    return as_it_is.height, tuple(c for c in as_it_is.columns if _bits(as_it_is[c]) != _bits(otherwise[c]))


def mirror_future(records: Records, snapshot: Snapshot) -> Records:
    """Replace what came at or after a cutoff by the mirror image of what came before it, sevenfold in money.

    A day d before the cutoff c stands again on day 2c − 1 − d.
    """
    return records.map(lambda rows: _with_mirror(snapshot.known(rows), snapshot.cutoff_day))


def find_broken_windows(folds: Iterable[Fold], *, first_day: int, horizon_days: int) -> Iterator[str]:
    """Yield, in words, each training cutoff whose outcome was not known at its fold, or before which was no history."""
    for fold in folds:
        for day in fold.train_cutoff_days:
            cutoff, trained = to_date(fold.cutoff_day), to_date(day)
            if day + horizon_days > fold.cutoff_day:
                yield f"the outcome of {trained} over {horizon_days} days was not known on {cutoff}"
            if day <= first_day:
                yield f"the training cutoff {trained} lies before any order"


def find_telling_inputs(past: Past, settings: TrainingSettings) -> dict[str, float]:
    """Find inputs from beyond the orders that alone tell who churns: they were likely written after the fact.

    Where some feature of the orders alone tells as much, as with subscriptions that run like clockwork, churn is easy
    to see, and no other input is suspected; nor is any with fewer churners or returners than `min_class_customers`.

    Returns:
        Input → AUC for churn over the training cutoffs, in the better direction, of those at or above `TELLING_AUC`.
    """
    table, churned, ids = _pool(past, settings.seed)
    if count_rarest(churned, ids, n_classes=2) < settings.min_class_customers:
        return {}
    found = {name: _tells(table[name], churned) for name in table.columns}
    if any(found[name] >= TELLING_AUC for name in found.keys() & _OF_ORDERS_ALONE):
        return {}
    return {name: value for name, value in found.items() if value >= TELLING_AUC}


def _pool(past: Past, seed: int) -> tuple[pl.DataFrame, npt.NDArray[np.bool_], pl.Series]:
    """Return features, outcome and id of customers at the training cutoffs, so many rows at most."""
    limit = max(_MAX_CUSTOMERS // len(past.examples), 1)
    some = [example.sample(limit, seed=seed) for example in past.examples]
    table, labels = pl.concat([e.table for e in some]), pl.concat([e.labels for e in some])
    features = [feature.name for feature in FEATURES if feature.name in table.columns]
    return table.select(features), labels["is_churned"].to_numpy(), table["customer_id"]


def _tells(values: pl.Series, churned: npt.NDArray[np.bool_]) -> float:
    """Return the AUC in the better direction, whether null counts as the least or as the most."""
    least, most = (values.cast(pl.Float64).fill_null(end).to_numpy() for end in (-np.inf, np.inf))
    return max(max(found, 1.0 - found) for found in (auc(churned, least), auc(churned, most)))


def _neighbours(records: Records, snapshot: Snapshot, n: int) -> Records:
    """Keep the customers of one stretch of ids, n of those known at the cutoff, and no contacts."""
    known = snapshot.known(records.orders).select("customer_id").unique().collect("polars")
    ids = known["customer_id"].sort()
    alone = Records(records.orders, records.refunds, records.items, records.events)
    if len(ids) <= n:
        return alone
    start = (len(ids) - n) // 2
    first, last = ids[start], ids[start + n - 1]
    return alone.map(lambda rows: rows.filter((nw.col("customer_id") >= first) & (nw.col("customer_id") <= last)))


def _with_mirror(known: nw.LazyFrame[Any], cutoff_day: int) -> nw.LazyFrame[Any]:
    money = [name for name in known.collect_schema().names() if name.endswith("_micros")]
    mirrored = known.with_columns(
        (nw.lit(2 * cutoff_day - 1, nw.Int64) - nw.col("day")).alias("day"), *(nw.col(name) * 7 for name in money)
    )
    return nw.concat([known, mirrored])


def _bits(values: pl.Series) -> bytes:
    """Write a column down to the last bit and the sign of zero."""
    return repr((values.dtype, values.to_list())).encode()
