"""The catalogue: each feature declared once, truthful in its needs and null rule, and a hash that names the whole."""

from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings

from features.catalogue import GROUPS, MICRO_UNITS, MICROS, Feature, catalogue_hash
from features.offers import EVENT
from features.snapshot import Snapshot
from features.table import FEATURE_NAMES, FEATURES, build_feature_table
from tests.histories import CUTOFF_DAY, EVENT_TYPES, Rows, Shop, build_records, build_shop, exact_bytes, shops

SNAPSHOT = Snapshot(CUTOFF_DAY)
UNITS = {"days", "orders", "order days", "share", "ratio", "per year", "categories", "channels", "refunds", "events"}
UNITS |= MICRO_UNITS
EVERYTHING: Rows = {
    "orders": [("c", CUTOFF_DAY - 9, 1, "web", 1)],
    "refunds": [("c", CUTOFF_DAY - 8, None, 1, 0)],
    "items": [("c", CUTOFF_DAY - 9, "books", 1, 1)],
    "events": [("c", CUTOFF_DAY - 9, event_type, None, None) for event_type in EVENT_TYPES],
}
BY_NAME = pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)


@BY_NAME
def test_declared(feature: Feature) -> None:
    """Every feature has a name of its own, a group and a unit that are known, and a meaning of one line."""
    assert FEATURE_NAMES.count(feature.name) == 1
    assert feature.group in GROUPS
    assert feature.unit in UNITS
    assert feature.meaning
    assert "\n" not in feature.meaning
    assert set(feature.describe()) == {"name", "group", "unit", "meaning", "needs", "null_rule"}


def test_enough() -> None:
    """There are more than sixty features, and no group is empty."""
    assert len(FEATURES) >= 60
    assert {feature.group for feature in FEATURES} == set(GROUPS)


@pytest.mark.parametrize("change", [{"name": "x"}, {"unit": "x"}, {"needs": ("x",)}, {"null_rule": "x"}])
def test_hash(change: dict[str, Any]) -> None:
    """Another name, unit, need, null rule or order gives another hash; a meaning that is worded better does not."""
    first, *others = FEATURES
    assert catalogue_hash((replace(first, **change), *others)) != catalogue_hash(FEATURES)
    assert catalogue_hash((replace(first, meaning="x"), *others)) == catalogue_hash(FEATURES)
    assert catalogue_hash((*others, first)) != catalogue_hash(FEATURES)


@given(shops())
@settings(deadline=None)
def test_nulls(shop: Shop) -> None:
    """A feature is null for exactly those customers of whom its null rule is true, and finite for all others."""
    table = build_feature_table(build_records(shop), SNAPSHOT, features=FEATURES)
    known_of = _known_of(shop) | _found_in(table) | {"": set(table["customer_id"])}
    for feature in FEATURES:
        present = table.filter(pl.col(feature.name).is_not_null())
        assert (feature.name, set(present["customer_id"])) == (feature.name, known_of[feature.null_rule])
        assert present[feature.name].is_finite().all(), feature.name


def test_nulls_occur() -> None:
    """Of a customer with one free order of which nothing is known, every feature with a null rule is null."""
    shop = build_shop({"orders": [("c", CUTOFF_DAY - 500, 0, None, None)]})
    row = build_feature_table(build_records(shop), SNAPSHOT, features=FEATURES).row(0, named=True)
    assert {name for name in FEATURE_NAMES if row[name] is None} == {f.name for f in FEATURES if f.null_rule}


@given(shops())
@settings(deadline=None)
def test_needs_nothing(shop: Shop) -> None:
    """A feature without needs comes from dates and amounts of orders, and of refunds where there are any, alone."""
    everything = build_feature_table(build_records(shop), SNAPSHOT, features=FEATURES)
    plain = shop["orders"].drop("channel", "cost_micros")
    less = build_records({"orders": plain, "refunds": shop["refunds"]})
    alone = build_feature_table(less, SNAPSHOT, features=FEATURES)
    wanted = ["customer_id", *(feature.name for feature in FEATURES if not feature.needs or "refunds" in feature.needs)]
    assert alone.columns == wanted
    assert exact_bytes(everything.select(wanted)) == exact_bytes(alone)


@pytest.mark.parametrize(
    ("relation", "columns", "needs"),
    [
        ("orders", ["channel"], {"channel"}),
        ("orders", ["cost_micros"], {"cost"}),
        ("refunds", [], {"refunds"}),
        ("items", [], {"category", "quantity"}),
        ("events", [], {need for feature in FEATURES for need in feature.needs if need.startswith(EVENT)}),
    ],
    ids=["channel", "cost", "refunds", "items", "events"],
)
def test_needs(relation: str, columns: list[str], needs: set[str]) -> None:
    """Where the column or relation is absent, exactly the features that need it are absent, by their names."""
    shop = build_shop(EVERYTHING)
    less = {relation: shop[relation].drop(columns)} if columns else {}
    without = {name: frame for name, frame in shop.items() if name != relation} | less
    kept = [feature.name for feature in FEATURES if needs.isdisjoint(feature.needs)]
    assert len(kept) < len(FEATURES)
    assert build_feature_table(build_records(without), SNAPSHOT).columns == ["customer_id", *kept]
    assert build_feature_table(build_records(shop), SNAPSHOT).columns == ["customer_id", *FEATURE_NAMES]


def _whose(rows: pl.DataFrame, *conditions: pl.Expr) -> set[str]:
    return set(rows.filter(*conditions)["customer_id"])


def _known_of(shop: Shop) -> dict[str, set[str]]:
    """Return of whom there is in the raw records what each null rule speaks of."""
    known = {name: frame.filter(pl.col("day") < CUTOFF_DAY) for name, frame in shop.items()}
    bought = _whose(known["orders"])
    always = pl.lit(value=True)
    amount, cost, value = pl.col("amount_micros"), pl.col("cost_micros"), pl.col("value_micros")
    events: dict[str, tuple[str, pl.Expr]] = {
        "no visit": ("visit", always),
        "no cart": ("cart", always),
        "no registration": ("registration", always),
        "no e-mail sent in 90 days": ("email_sent", pl.col("day") >= CUTOFF_DAY - 90),
        "no e-mail opened": ("email_open", always),
        "no campaign sent in 365 days": ("campaign_sent", pl.col("day") >= CUTOFF_DAY - 365),
        "no coupon redeemed": ("coupon_redeemed", always),
        "no ticket": ("ticket", always),
        "no survey answered": ("survey", value.abs() <= MICROS * MICROS),
        "no review with a rating": ("review", value.is_not_null()),
    }
    found = {
        "no cost known": _whose(known["orders"], cost.is_not_null()),
        "no order with a value and a cost": _whose(known["orders"], cost.is_not_null(), amount > 0),
        "no channel known": _whose(known["orders"], pl.col("channel").is_not_null()),
        "nothing of value ordered": _whose(known["orders"], amount > 0),
        "no refund": _whose(known["refunds"]),
        "no category known": _whose(known["items"], pl.col("category").is_not_null()),
        "no quantity known": _whose(known["items"], pl.col("quantity_micros").is_not_null()),
    }
    for rule, (kind, condition) in events.items():
        found[rule] = _whose(known["events"], pl.col("event_type") == kind, condition) & bought
    return found


def _found_in(table: pl.DataFrame) -> dict[str, set[str]]:
    """Return of whom each null rule that speaks of other features is not true."""
    return {
        "no repeat order day": _whose(table, pl.col("frequency") > 0),
        "fewer than two gaps": _whose(table, pl.col("frequency") > 1),
        "fewer than two gaps, or all alike": _whose(table, pl.col("min_gap_days") < pl.col("max_gap_days")),
        "no value so far": _whose(table, pl.col("historic_value") > 0),
        "no order in the last 365 days": _whose(table, pl.col("order_days_within_365") > 0),
        "no value in the last 365 days": _whose(table, pl.col("value_within_365") > 0),
    }
