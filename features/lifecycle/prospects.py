"""Before the first order: visitors, and people whom the shop knows, by what they did.

A person is a customer id without an order, or a visitor (a browser) whom no event has linked to a customer yet.
Each is in exactly one stage of `PROSPECT_STAGES`; whoever orders, or is linked, leaves this table for good.
"""

from dataclasses import asdict, dataclass
from typing import Any, Self

import narwhals as nw
import polars as pl

from features.lifecycle.stages import PROSPECT_STAGES
from features.records import Records
from features.settings import StageSettings
from features.snapshot import Snapshot

INTEREST = ("cart", "form")
ON_SITE = ("visit", *INTEREST, "registration")  # whoever does this is there
PROSPECT_SCHEMA = pl.Schema(
    {
        "person_id": pl.String(),
        "is_visitor": pl.Boolean(),
        "stage": pl.String(),
        "stage_since_day": pl.Int64(),
        "days_since_last_seen": pl.Int64(),
    }
)

_PERSON = ("person_id", "is_visitor")
_VISIT = pl.col("n_visits") > 0
_ON_SITE = pl.col("n_on_site") > 0


@dataclass(frozen=True, slots=True)
class ProspectRule:
    """When a prospect is hot; frozen into the bundle.

    Args:
        hot_within_days: Interest is fresh for so many days.
        hot_min_visit_days: Visits on so many days within them are interest, as one cart or form is.
        observable: The stages of `PROSPECT_STAGES` that the shop's events can show.
    """

    hot_within_days: int
    hot_min_visit_days: int
    observable: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the rule as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Rebuild a rule from `to_dict`."""
        return cls(**{**values, "observable": tuple(values["observable"])})


def learn_prospect_rule(records: Records, snapshot: Snapshot, settings: StageSettings) -> ProspectRule:
    """Take the thresholds from the settings, and see in the contacts known at the cutoff what can be observed.

    Whoever is linked to a customer id is known, and can be hot by a visit, a cart or a form; whoever is not can have
    visited, or have been reached by anything else.
    """
    return ProspectRule(settings.hot_within_days, settings.hot_min_visit_days, _find_observable(records, snapshot))


def _find_observable(records: Records, snapshot: Snapshot) -> tuple[str, ...]:
    if records.contacts is None:
        return ()
    is_known = ~nw.col("customer_id").is_null()
    kinds = snapshot.known(records.contacts).select("event_type", is_known=is_known).unique().collect("polars")
    found = {(row[0], row[1]) for row in kinds.iter_rows()}
    shows = {
        "reached": any(not known and kind not in ON_SITE for kind, known in found),
        "new_visitor": any(not known and kind in ON_SITE for kind, known in found),
        "returning_visitor": any(not known and kind in ON_SITE for kind, known in found),
        "prospect_cold": any(known for _, known in found),
        "prospect_hot": any(known and kind in (*INTEREST, "visit") for kind, known in found),
    }
    return tuple(stage for stage in PROSPECT_STAGES if shows[stage])


def build_prospects(records: Records, snapshot: Snapshot, *, rule: ProspectRule) -> pl.DataFrame:
    """Build the stage of everybody who is known, or was seen, and has no order before the cutoff.

    Args:
        records: Validated records; without contacts there is nobody.
        snapshot: The cutoff; what came at or after it does not exist here.
        rule: When a prospect is hot.

    Returns:
        `PROSPECT_SCHEMA`. One row per person, sorted by `person_id` and `is_visitor`. A stage is entered on the day of
        the event that made it, and seen from the start of the next; a prospect turns cold on the first day that is no
        longer hot.
    """
    if records.contacts is None:
        return pl.DataFrame(schema=PROSPECT_SCHEMA)
    days = _person_days(records, snapshot)
    visitors, known = days.filter("is_visitor"), days.filter(~pl.col("is_visitor"))
    seen = days.group_by(_PERSON).agg(last_seen=pl.col("day").max())
    staged = pl.concat([_stage_visitors(visitors), _stage_known(known, snapshot.cutoff_day, rule)])
    return (
        staged.join(seen, on=_PERSON, validate="1:1")
        .with_columns(days_since_last_seen=snapshot.cutoff_day - pl.col("last_seen"))
        .select(*PROSPECT_SCHEMA)
        .cast(PROSPECT_SCHEMA)
        .sort(_PERSON)
    )


def _person_days(records: Records, snapshot: Snapshot) -> pl.DataFrame:
    """Aggregate on the engine that holds the contacts: one row per prospect and day."""
    known = snapshot.known_records(records)
    contacts = known.contacts
    assert contacts is not None  # noqa: S101 - the caller has looked
    buyers = known.orders.select("customer_id").unique()
    linked = contacts.filter(~nw.col("customer_id").is_null()).select("visitor_id").unique()
    named = contacts.filter(~nw.col("customer_id").is_null()).join(buyers, on="customer_id", how="anti")
    unnamed = contacts.filter(nw.col("customer_id").is_null()).join(linked, on="visitor_id", how="anti")
    people = nw.concat(
        [
            named.select("day", "event_type", person_id="customer_id", is_visitor=nw.lit(value=False)),
            unnamed.select("day", "event_type", person_id="visitor_id", is_visitor=nw.lit(value=True)),
        ]
    )
    counted = people.group_by("person_id", "is_visitor", "day").agg(
        _count_of(("visit",)).alias("n_visits"),
        _count_of(INTEREST).alias("n_interests"),
        _count_of(ON_SITE).alias("n_on_site"),
    )
    collected: pl.DataFrame = counted.collect("polars").to_native()
    return collected.sort(*_PERSON, "day")


def _count_of(event_types: tuple[str, ...]) -> nw.Expr:
    return nw.col("event_type").is_in(event_types).cast(nw.Int64).sum()


def _stage_visitors(days: pl.DataFrame) -> pl.DataFrame:
    """Tell who was reached, who visited on one day, and who came back on another."""
    visit_day = pl.col("day").filter(_ON_SITE)
    first, second = visit_day.first(), visit_day.get(1, null_on_oob=True)
    entered = days.group_by(_PERSON).agg(touched=pl.col("day").first(), first=first, second=second)
    return entered.select(
        *_PERSON,
        stage=pl.when(pl.col("second").is_not_null())
        .then(pl.lit("returning_visitor"))
        .when(pl.col("first").is_not_null())
        .then(pl.lit("new_visitor"))
        .otherwise(pl.lit("reached")),
        stage_since_day=pl.coalesce("second", "first", "touched"),
    )


def _stage_known(days: pl.DataFrame, cutoff_day: int, rule: ProspectRule) -> pl.DataFrame:
    """Tell the hot from the cold: heat is made by interest, lasts for some days, and joins up where it overlaps."""
    known = days.group_by(_PERSON).agg(known_day=pl.col("day").first())
    heat = _heat(days, rule)
    runs = heat.with_columns(so_far=pl.col("until").cum_max().shift(1).over(_PERSON)).with_columns(
        begins=(pl.col("day") > pl.col("so_far")).fill_null(value=True)
    )
    latest = runs.group_by(_PERSON).agg(
        hot_since=pl.col("day").filter("begins").last(), hot_until=pl.col("until").max()
    )
    is_hot = pl.col("hot_until") >= cutoff_day
    return known.join(latest, on=_PERSON, how="left").select(
        *_PERSON,
        stage=pl.when(is_hot).then(pl.lit("prospect_hot")).otherwise(pl.lit("prospect_cold")),
        stage_since_day=pl.when(is_hot).then("hot_since").otherwise(pl.coalesce(pl.col("hot_until") + 1, "known_day")),
    )


def _heat(days: pl.DataFrame, rule: ProspectRule) -> pl.DataFrame:
    """Return the days that made heat and the last day on which each still counts, sorted by person and day."""
    lasting = pl.lit(rule.hot_within_days, pl.Int64)
    interest = days.filter(pl.col("n_interests") > 0).select(*_PERSON, "day", until=pl.col("day") + lasting)
    oldest = pl.col("day").shift(rule.hot_min_visit_days - 1).over(_PERSON)
    visits = (
        days.filter(_VISIT)
        .select(*_PERSON, "day", until=oldest + lasting)
        .filter(pl.col("until") > pl.col("day"))  # null where there were too few
    )
    return pl.concat([interest, visits]).sort(*_PERSON, "day", "until")
