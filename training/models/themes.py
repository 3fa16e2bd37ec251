"""Themes: the few words under which people read the many inputs of the churn model."""

from collections.abc import Mapping
from functools import lru_cache

from features.catalogue import GROUPS, Feature
from features.offers import EVENT
from features.table import FEATURES

SILENCE = "silence"
THEMES = (
    SILENCE,
    "habit",
    "value",
    "tenure",
    "season",
    "basket",
    "refunds",
    "channel",
    "engagement",
    "support",
)

_OF_GROUP: Mapping[str, str] = dict(
    zip(
        GROUPS,
        (SILENCE, "habit", "value", "season", "basket", "refunds", "tenure", "channel", "engagement"),
        strict=True,
    )
)
# What the group of tenure counts from the first order on, and what it says of gaps, habit and value.
_OF_FEATURE: Mapping[str, str] = {
    "recency_share": SILENCE,
    "days_to_second_order": SILENCE,
    "order_days_first_90": "habit",
    "order_days_first_90_share": "habit",
    "value_first_90": "value",
    "value_first_90_share": "value",
}
_VOICE = frozenset(f"{EVENT}{event_type}" for event_type in ("ticket", "survey", "review", "referral"))


def theme_of(name: str) -> str:
    """Return the theme of an input of the churn model.

    What is no feature comes from the stage rule or the purchase process, which know of order timing alone: silence.
    """
    return _THEME_OF.get(name, SILENCE)


@lru_cache(maxsize=16)
def themes_of(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the theme of each input, and of the purchase process, which comes last."""
    return (*map(theme_of, names), SILENCE)


def _find_theme(feature: Feature) -> str:
    if feature.name in _OF_FEATURE:
        return _OF_FEATURE[feature.name]
    return "support" if _VOICE.intersection(feature.needs) else _OF_GROUP[feature.group]


_THEME_OF: Mapping[str, str] = {feature.name: _find_theme(feature) for feature in FEATURES}
