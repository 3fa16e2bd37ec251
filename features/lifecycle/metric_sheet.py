"""The metric sheet: what marketing cost and brought in a period, by stage, cohort and channel, as a tidy frame.

Sums are integers until a row is written: of orders on the engine that holds them, down to one row per customer and
channel, then in memory. Evidence must lie in the period; what lacks it is *not observable*, and never 0.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from features.errors import SettingsError
from features.lifecycle.metric_catalogue import METRICS, Language
from features.lifecycle.metric_evidence import collect_evidence
from features.lifecycle.metric_rows import Row, build_rows
from features.lifecycle.metric_slices import EARLIER, SLICE_KINDS
from features.lifecycle.stages import SCALE
from features.records import Records
from features.snapshot import Snapshot

__all__ = [
    "DEFAULT_YEARS",
    "FLAGS",
    "MAX_PERIOD_DAYS",
    "METRICS",
    "SHEET_SCHEMA",
    "SLICE_KINDS",
    "STATUSES",
    "Language",
    "build_metric_sheet",
]

SHEET_SCHEMA = pl.Schema(
    {
        "metric": pl.String(),
        "slice_kind": pl.String(),
        "slice": pl.String(),
        "numerator_name": pl.String(),
        "numerator": pl.Float64(),
        "denominator_name": pl.String(),
        "denominator": pl.Float64(),
        "value": pl.Float64(),
        "unit": pl.String(),
        "status": pl.String(),
        "needs": pl.String(),
        "flag": pl.String(),
        "period_from": pl.String(),
        "period_to": pl.String(),
    }
)
STATUSES = ("measured", "undefined", "not observable")
FLAGS: Mapping[str, str] = {
    "loss": "the CLV is below what it cost to acquire the customer",
    "negative_cost": "more marketing cost was taken back than spent, so that nothing can be told of its effect",
    "short_period": "the period is shorter than a year: at its pace, who orders once seems to order often",
}
DEFAULT_YEARS = 3.0
MAX_PERIOD_DAYS = 36_525

_ORDER_OF_METRICS = {metric.name: place for place, metric in enumerate(METRICS)}


def build_metric_sheet(
    records: Records,
    snapshot: Snapshot,
    *,
    period_days: int,
    costs: pl.DataFrame | None,
    customers: pl.DataFrame,
    followers: Mapping[str, int] | None = None,
    years: float = DEFAULT_YEARS,
    margin: float = 1.0,
) -> pl.DataFrame:
    """Build the metrics of the days `[cutoff − period_days, cutoff)`; nothing at or after the cutoff is read.

    Args:
        records: Validated records on any engine narwhals speaks. Visits, e-mails and engagements are those of
            `contacts`, or of the events of known customers where there is no such relation.
        snapshot: Its cutoff ends the period.
        period_days: Length of the period, 1 to `MAX_PERIOD_DAYS`.
        costs: `day, channel, value_micros`; channel may be null. None where no marketing costs were read.
        customers: One row per customer with an order before the cutoff: `customer_id, stage, clv_12m` (predicted,
            in currency units).
        followers: Channel → followers; no event tells them.
        years: The life that simple CLV counts on.
        margin: The share of value so far that counts beside `clv_12m`: the one that `clv_12m` was made with.

    Returns:
        One row per metric and slice: `SHEET_SCHEMA`, in the order of `METRICS`, `SLICE_KINDS` and slices. `value` is
        numerator ÷ denominator (× 100 in percent); it is null unless `status` is `measured`.

    Raises:
        InputError: If `customers` is not what it should be.
        SettingsError: If a number is out of range.
    """
    _refuse_bad_numbers(period_days=period_days, followers=followers or {}, years=years, margin=margin)
    evidence = collect_evidence(
        records,
        snapshot,
        period_days=period_days,
        costs=costs,
        customers=customers,
        followers=followers or {},
        years=years,
        margin=margin,
    )
    rows = sorted(build_rows(evidence), key=_position)
    return pl.DataFrame(rows, schema=SHEET_SCHEMA)


def _refuse_bad_numbers(*, period_days: int, followers: Mapping[str, int], years: float, margin: float) -> None:
    checks: Sequence[tuple[str, float, float]] = (
        ("period_days", period_days, MAX_PERIOD_DAYS),
        ("years", years, 100),
    )
    for name, given, most in checks:
        if not 0 < given <= most:
            raise SettingsError(f"{name} is {given}.", remedy=f"Give a number above 0 and up to {most:,}.")
    if not 0 <= margin <= 1:
        raise SettingsError(f"margin is {margin}.", remedy="Give a share from 0 to 1.")
    for channel, n_followers in followers.items():
        if not channel or n_followers < 0:
            raise SettingsError(
                f"The followers of channel {channel!r} are {n_followers}.",
                remedy="Name each channel, and give its followers as a number of 0 or more.",
            )


def _position(row: Row) -> tuple[int, int, int, str]:
    """Return where a row stands: metrics and kinds in their order, stages along the scale, the rest by name."""
    name = row["slice"]
    if row["slice_kind"] == "cohort":
        place = int(name != EARLIER)
    else:
        place = SCALE.index(name) if row["slice_kind"] == "stage" and name in SCALE else len(SCALE)
    return _ORDER_OF_METRICS[row["metric"]], SLICE_KINDS.index(row["slice_kind"]), place, name
