"""Tellings: by which figures of a customer a theme can be told, and which way they point.

A reason is told by a real difference, such as a silence of 96 days where 31 are usual for this customer, and only by
one that points the way the theme does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from training.models.themes import SILENCE

Direction = Literal["raises", "lowers", "either"]
Relation = Literal["above", "at least", "is", "not below"]

SHOP = "shop_"
OWN_GAP = "median_gap_days"
ONE = "one"
_CLEARLY = 1.5  # times as much; less is no difference to talk of
_TWO_WINDOWS_DAYS = 180.0  # a customer this old could have ordered in both of two times 90 days
_YEAR_DAYS = 366.0


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold of a figure for a telling: `figure` is so related to `times` × `other`.

    None holds of a figure that is not known, save that it is not below another.

    Args:
        figure: Which.
        relation: How.
        times: The number, or how many times the other figure.
        other: With which it is compared.
    """

    figure: str
    relation: Relation
    times: float
    other: str = ONE


@dataclass(frozen=True, slots=True)
class Telling:
    """One way to tell a theme.

    Args:
        theme: Which.
        direction: `raises` or `lowers`, where it can tell the theme in this direction alone; else `either`.
        facts: Names of the figures that it needs, in their order.
        conditions: What must hold of the figures of a customer, all of it.
    """

    theme: str
    direction: Direction
    facts: tuple[str, ...]
    conditions: tuple[Condition, ...]


def _exceeds(more: str, less: str) -> Condition:
    return Condition(more, "above", _CLEARLY, less)


def _compared(theme: str, own: str, usual: str, *, more_raises: bool) -> tuple[Telling, Telling]:
    """Tell a theme by a figure that is clearly above, or below, what is usual."""
    facts = (own, usual)
    more: Direction = "raises" if more_raises else "lowers"
    less: Direction = "lowers" if more_raises else "raises"
    return Telling(theme, more, facts, (_exceeds(own, usual),)), Telling(theme, less, facts, (_exceeds(usual, own),))


def _differs(theme: str, own: str) -> tuple[Telling, Telling]:
    """Tell a theme, whichever way it points, by a figure that is clearly not the usual one of the shop."""
    more, less = _against_shop(theme, own, more_raises=True)
    return replace(more, direction="either"), replace(less, direction="either")


def _has(theme: str, own: str, direction: Direction) -> Telling:
    return Telling(theme, direction, (own,), (Condition(own, "above", 0.0),))


def _lacks(theme: str, own: str, direction: Direction) -> Telling:
    return Telling(theme, direction, (own,), (Condition(own, "is", 0.0),))


def _against_shop(theme: str, own: str, *, more_raises: bool) -> tuple[Telling, Telling]:
    return _compared(theme, own, f"{SHOP}{own}", more_raises=more_raises)


def _unless_own_gap_differs(more: Telling, less: Telling) -> tuple[Telling, Telling]:
    """Tell a long or short silence by the shop's only where the customer's own gap, if known, does not contradict."""
    is_not_short = Condition("days_since_last_order", "not below", 1.0, OWN_GAP)
    is_not_long = Condition(OWN_GAP, "not below", 1.0, "days_since_last_order")
    return (
        replace(more, conditions=(*more.conditions, is_not_short)),
        replace(less, conditions=(*less.conditions, is_not_long)),
    )


def _fell(theme: str, now: str, before: str) -> Telling:
    return Telling(theme, "raises", (now, before), (Condition(now, "above", 0.0), _exceeds(before, now)))


def _ended(theme: str, now: str, before: str) -> Telling:
    return Telling(theme, "raises", (before,), (Condition(now, "is", 0.0), Condition(before, "above", 0.0)))


def _rose(theme: str, now: str, before: str) -> Telling:
    """Tell a theme by what was more of late than before, of customers who were there before."""
    return Telling(
        theme, "lowers", (now, before), (Condition("T_days", "at least", _TWO_WINDOWS_DAYS), _exceeds(now, before))
    )


# The first that holds is told: a customer's own past first, then the shop.
TELLINGS: Sequence[Telling] = (
    *_compared(SILENCE, "days_since_last_order", "median_gap_days", more_raises=True),
    *_unless_own_gap_differs(*_compared(SILENCE, "days_since_last_order", "shop_median_gap_days", more_raises=True)),
    *_unless_own_gap_differs(*_against_shop(SILENCE, "days_since_last_order", more_raises=True)),
    Telling(
        SILENCE,
        "raises",
        ("median_gap_days", "shop_median_gap_days"),
        (_exceeds("median_gap_days", "shop_median_gap_days"),),
    ),
    _fell("habit", "order_days_within_90", "order_days_before_90"),
    _ended("habit", "order_days_within_90", "order_days_before_90"),
    _rose("habit", "order_days_within_90", "order_days_before_90"),
    Telling("habit", "raises", ("n_order_days",), (Condition("n_order_days", "is", 1.0),)),
    *_against_shop("habit", "n_order_days", more_raises=False),
    *_against_shop("habit", "order_days_per_year", more_raises=False),
    _fell("value", "value_within_90", "value_before_90"),
    _ended("value", "value_within_90", "value_before_90"),
    _rose("value", "value_within_90", "value_before_90"),
    *_compared("value", "last_order_day_value", "mean_order_day_value", more_raises=False),
    *_against_shop("value", "mean_order_day_value", more_raises=False),
    *_against_shop("value", "historic_value", more_raises=False),
    *_differs("tenure", "T_days"),
    Telling(
        "season",
        "raises",
        ("order_days_same_season",),
        (Condition("order_days_same_season", "is", 0.0), Condition("T_days", "at least", _YEAR_DAYS)),
    ),
    _has("season", "order_days_same_season", "lowers"),
    *_against_shop("season", "coming_season_share", more_raises=False),
    _has("basket", "new_categories_90", "lowers"),
    *_against_shop("basket", "categories_so_far", more_raises=False),
    *_differs("basket", "items_per_order_day"),
    _has("refunds", "refunds_within_90", "raises"),
    _has("refunds", "n_refunds", "raises"),
    _lacks("refunds", "n_refunds", "lowers"),
    _has("channel", "new_channels_90", "lowers"),
    *_against_shop("channel", "channels_so_far", more_raises=False),
    _has("engagement", "unsubscribes", "raises"),
    *_compared("engagement", "visits_within_30", "visits_before_30", more_raises=False),
    *_against_shop("engagement", "days_since_last_visit", more_raises=True),
    _has("engagement", "carts_within_30", "lowers"),
    _lacks("engagement", "visits_within_90", "raises"),
    *_against_shop("engagement", "email_open_rate_90", more_raises=False),
    *_against_shop("engagement", "days_since_last_email_open", more_raises=True),
    _has("engagement", "coupons_within_365", "lowers"),
    _has("support", "tickets_within_90", "raises"),
    *_against_shop("support", "last_survey_answer", more_raises=False),
    *_against_shop("support", "mean_review_rating", more_raises=False),
    _has("support", "tickets_within_365", "raises"),
    _has("support", "referrals", "lowers"),
    _has("support", "reviews", "lowers"),
    _lacks("support", "tickets_within_365", "lowers"),
)

# Late by their own usual gap: the first of all, which the silence of whoever is late is told by.
OWN_LATENESS = 0
