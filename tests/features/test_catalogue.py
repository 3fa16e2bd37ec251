"""The catalogue: each feature declared once, and a hash that names the whole."""

from dataclasses import replace
from typing import Any

import pytest

from features.catalogue import MONEY_UNITS, catalogue_hash
from features.table import FEATURE_NAMES, FEATURES

UNITS = {"days", "orders", "order days", "share", "ratio", "per year", *MONEY_UNITS}


def test_declared() -> None:
    """Every feature has a name of its own, a known unit and a meaning of one line."""
    assert len(set(FEATURE_NAMES)) == len(FEATURES)
    assert {feature.unit for feature in FEATURES} <= UNITS
    assert all(feature.meaning and "\n" not in feature.meaning for feature in FEATURES)


@pytest.mark.parametrize("change", [{"name": "x"}, {"unit": "x"}, {"null_rule": "x"}])
def test_hash(change: dict[str, Any]) -> None:
    """Another name, unit, null rule or order gives another hash; a meaning that is worded better does not."""
    first, *others = FEATURES
    assert catalogue_hash((replace(first, **change), *others)) != catalogue_hash(FEATURES)
    assert catalogue_hash((replace(first, meaning="x"), *others)) == catalogue_hash(FEATURES)
    assert catalogue_hash((*others, first)) != catalogue_hash(FEATURES)
