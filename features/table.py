"""The customer table: one row per customer and cutoff, from the same declarations on every engine."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import polars as pl

from features.catalogue import Count, Feature, supported
from features.groups import basket, channel, events, frequency, refunds, rfm, rhythm, season, tenure, value
from features.lifecycle import stages
from features.lifecycle.stages import StageRule
from features.offers import find_offers, readable
from features.plan import Plan, build_tables
from features.records import Records
from features.snapshot import Snapshot

_MODULES = (rfm, rhythm, frequency, value, season, basket, refunds, tenure, channel, events)
FEATURES: tuple[Feature, ...] = tuple(feature for module in _MODULES for feature in module.FEATURES)
FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
_BY_NAME: Mapping[str, Feature] = {feature.name: feature for feature in FEATURES}
_COUNTS: tuple[Count, ...] = tuple(count for module in _MODULES for count in module.COUNTS)


def features_named(names: Iterable[str]) -> tuple[Feature, ...]:
    """Return the features of these names.

    Raises:
        KeyError: If a name is not in the catalogue.
    """
    return tuple(_BY_NAME[name] for name in names)


def build_feature_table(
    records: Records, snapshot: Snapshot, *, features: Sequence[Feature] | None = None
) -> pl.DataFrame:
    """Build the features known at the cutoff.

    Args:
        records: Validated records on any engine narwhals speaks.
        snapshot: The cutoff; what came at or after it does not exist here.
        features: Which; None for all whose needs were on record at the (latest) cutoff, see `features.offers`.

    Returns:
        One row per customer with an order before the cutoff, sorted by `customer_id`; then one float64 column
        per feature, in their order, null where the feature's null rule says so.
    """
    return build_feature_tables(records, [snapshot], features=features)[0]


def build_feature_tables(
    records: Records, snapshots: Sequence[Snapshot], *, features: Sequence[Feature] | None = None
) -> list[pl.DataFrame]:
    """Build the features known at each of several cutoffs, in one pass over the data."""
    return build_tables(records, snapshots, _plan(records, snapshots, features))


def build_customer_table(
    records: Records, snapshot: Snapshot, *, rule: StageRule, features: Sequence[Feature] | None = None
) -> pl.DataFrame:
    """Build features and stages known at the cutoff.

    Returns:
        As `build_feature_table`, then the stage rule's state, `stage`, `stage_since_day`, and `stage_if_silent`:
        the stage at the end of the horizon should no order come.
    """
    return build_customer_tables(records, [snapshot], rule=rule, features=features)[0]


def build_customer_tables(
    records: Records, snapshots: Sequence[Snapshot], *, rule: StageRule, features: Sequence[Feature] | None = None
) -> list[pl.DataFrame]:
    """Build features and stages known at each of several cutoffs, in one pass over the data."""
    return build_tables(records, snapshots, _plan(records, snapshots, features, rule))


def build_stage_tables(records: Records, snapshots: Sequence[Snapshot], *, rule: StageRule) -> list[pl.DataFrame]:
    """Build the stage of every customer at each cutoff, and nothing else.

    Returns:
        Per cutoff, one row per customer with an order before it, sorted by `customer_id`: `stage` and
        `days_since_last_order`.
    """
    read = Records(records.orders, events=records.events)
    tables = build_tables(read, snapshots, _plan_of(("frequency",), rule))
    return [
        table.select("customer_id", "stage", days_since_last_order=snapshot.cutoff_day - pl.col("last_day"))
        for table, snapshot in zip(tables, snapshots, strict=True)
    ]


def _plan(
    records: Records, snapshots: Sequence[Snapshot], features: Iterable[Feature] | None, rule: StageRule | None = None
) -> Plan:
    if features is None:
        latest = max(snapshots, key=lambda snapshot: snapshot.cutoff_day)
        wanted = supported(FEATURES, find_offers(records, latest))
    else:
        wanted = readable(features, records)
    return _plan_of(tuple(feature.name for feature in wanted), rule)


@lru_cache(maxsize=16)
def _plan_of(names: tuple[str, ...], rule: StageRule | None) -> Plan:
    features = tuple(_BY_NAME[name] for name in names)
    read = {name for feature in features for name in feature.value.columns()}
    counts = tuple(count for count in _COUNTS if count.name in read or count is rfm.COUNTS[0])  # one at least
    return Plan(features, counts if rule is None else (*counts, *stages.counts_of(rule)), rule)
