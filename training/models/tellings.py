"""Tellings: by which figures of a customer a theme can be told, and which way they point.

A reason is told by a real difference, such as a silence of 96 days where 31 are usual for this customer, and only by
one that points the way the theme does. What is usual in the shop is the median of its active customers of whom it is
known.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from features.table import FEATURES
from training.models.themes import SILENCE

Vector = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Figures = Mapping[str, Vector]
Direction = Literal["raises", "lowers", "either"]

SHOP = "shop_"
_CLEARLY = 1.5  # times as much; less is no difference to talk of
_MIN_KNOWN = 10  # a median of fewer is noise, and may be a figure of one customer
_OWN_RHYTHM_MIN_REPEATS = 2.0  # one gap is not yet usual
_TWO_WINDOWS_DAYS = 180.0  # a customer this old could have ordered in both of two times 90 days
_YEAR_DAYS = 366.0
_YOUNGEST_RATE_DAYS = 180.0  # a rate per year says nothing before


@dataclass(frozen=True, slots=True)
class Telling:
    """One way to tell a theme.

    Args:
        theme: Which.
        direction: `raises` or `lowers`, where it can tell the theme in this direction alone; else `either`.
        facts: Names of the figures that it needs, in their order.
        holds: For which customers the figures tell it, of all figures; a figure that is not known is NaN.
    """

    theme: str
    direction: Direction
    facts: tuple[str, ...]
    holds: Callable[[Figures], Mask]


def find_figures(table: pl.DataFrame, usual: Mapping[str, float] = MappingProxyType({})) -> dict[str, Vector]:
    """Return the figures of each customer, (n,) each; NaN where one is not known.

    Args:
        table: A customer table; a feature that it lacks is known of nobody.
        usual: What is usual in the shop, as `find_usual` returns it.
    """
    read = _columns(table, _FEATURES)
    sums = {name: formula(read) for name, formula in _SUMS.items()}
    kept = {name: np.where(condition(read), read[name], np.nan) for name, condition in _ONLY_WHERE.items()}
    shop = {name: np.full(table.height, usual.get(name, np.nan)) for name in _SHOP_FIGURES}
    return {**read, **sums, **kept, **shop}


def find_usual(table: pl.DataFrame) -> dict[str, float]:
    """Return what is usual in the shop: `shop_<figure>` → median, of what is known of 10 customers or more.

    Args:
        table: The customer table of those who are active.
    """
    figures = find_figures(table)
    figures |= _columns(table, ["median_gap_days"])  # of one gap too: together they are many
    known = {name: _known(figures[name.removeprefix(SHOP)]) for name in _SHOP_FIGURES}
    return {name: float(np.median(values)) for name, values in known.items() if values.size >= _MIN_KNOWN}


def choose_telling(theme: str, figures: Figures, *, raises: Mask) -> npt.NDArray[np.int64]:
    """Return the position in `TELLINGS` of the first that tells a theme of each customer, (n,); −1 where none does.

    Args:
        theme: Which.
        figures: Of the customers, those of the shop among them.
        raises: The direction to tell, (n,).
    """
    chosen = np.full(raises.size, -1, dtype=np.int64)
    for position, telling in enumerate(TELLINGS):
        if telling.theme == theme:
            points = _POINTS[telling.direction](raises)
            chosen[(chosen < 0) & points & telling.holds(figures)] = position
    return chosen


def _columns(table: pl.DataFrame, names: Sequence[str]) -> dict[str, Vector]:
    """Return columns by name, NaN where there is nothing."""
    present = [name for name in names if name in table.columns]
    values = table.select(pl.col(present).cast(pl.Float64)).to_numpy()
    return dict.fromkeys(names, np.full(table.height, np.nan)) | dict(zip(present, values.T, strict=True))


def _known(values: Vector) -> Vector:
    return values[np.isfinite(values)]


def _exceeds(more: str, less: str) -> Callable[[Figures], Mask]:
    return lambda f: f[more] > _CLEARLY * f[less]


def _compared(theme: str, own: str, usual: str, *, more_raises: bool) -> tuple[Telling, Telling]:
    """Tell a theme by a figure that is clearly above, or below, what is usual."""
    facts = (own, usual)
    more: Direction = "raises" if more_raises else "lowers"
    less: Direction = "lowers" if more_raises else "raises"
    return Telling(theme, more, facts, _exceeds(own, usual)), Telling(theme, less, facts, _exceeds(usual, own))


def _differs(theme: str, own: str) -> Telling:
    """Tell a theme, whichever way it points, by a figure that is clearly not the usual one of the shop."""
    usual = f"{SHOP}{own}"
    return Telling(theme, "either", (own, usual), lambda f: _exceeds(own, usual)(f) | _exceeds(usual, own)(f))


def _has(theme: str, own: str, direction: Direction) -> Telling:
    return Telling(theme, direction, (own,), lambda f: f[own] > 0.0)


def _lacks(theme: str, own: str, direction: Direction) -> Telling:
    return Telling(theme, direction, (own,), lambda f: f[own] == 0.0)


def _against_shop(theme: str, own: str, *, more_raises: bool) -> tuple[Telling, Telling]:
    return _compared(theme, own, f"{SHOP}{own}", more_raises=more_raises)


def _unless_own_gap_differs(more: Telling, less: Telling) -> tuple[Telling, Telling]:
    """Tell a long or short silence by the shop's only where the customer's own gap, if known, does not contradict."""
    return (
        replace(more, holds=lambda f: more.holds(f) & ~(f["days_since_last_order"] < f["median_gap_days"])),
        replace(less, holds=lambda f: less.holds(f) & ~(f["days_since_last_order"] > f["median_gap_days"])),
    )


def _fell(theme: str, now: str, before: str) -> Telling:
    return Telling(theme, "raises", (now, before), lambda f: (f[now] > 0.0) & _exceeds(before, now)(f))


def _ended(theme: str, now: str, before: str) -> Telling:
    return Telling(theme, "raises", (before,), lambda f: (f[now] == 0.0) & (f[before] > 0.0))


def _rose(theme: str, now: str, before: str) -> Telling:
    """Tell a theme by what was more of late than before, of customers who were there before."""
    return Telling(
        theme, "lowers", (now, before), lambda f: (f["T_days"] >= _TWO_WINDOWS_DAYS) & _exceeds(now, before)(f)
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
        _exceeds("median_gap_days", "shop_median_gap_days"),
    ),
    _fell("habit", "order_days_within_90", "order_days_before_90"),
    _ended("habit", "order_days_within_90", "order_days_before_90"),
    _rose("habit", "order_days_within_90", "order_days_before_90"),
    Telling("habit", "raises", ("n_order_days",), lambda f: f["n_order_days"] == 1.0),
    *_against_shop("habit", "n_order_days", more_raises=False),
    *_against_shop("habit", "order_days_per_year", more_raises=False),
    _fell("value", "value_within_90", "value_before_90"),
    _ended("value", "value_within_90", "value_before_90"),
    _rose("value", "value_within_90", "value_before_90"),
    *_compared("value", "last_order_day_value", "mean_order_day_value", more_raises=False),
    *_against_shop("value", "mean_order_day_value", more_raises=False),
    *_against_shop("value", "historic_value", more_raises=False),
    _differs("tenure", "T_days"),
    Telling(
        "season",
        "raises",
        ("order_days_same_season",),
        lambda f: (f["order_days_same_season"] == 0.0) & (f["T_days"] >= _YEAR_DAYS),
    ),
    _has("season", "order_days_same_season", "lowers"),
    *_against_shop("season", "coming_season_share", more_raises=False),
    _has("basket", "new_categories_90", "lowers"),
    *_against_shop("basket", "categories_so_far", more_raises=False),
    _differs("basket", "items_per_order_day"),
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

_POINTS: Mapping[Direction, Callable[[Mask], Mask]] = {
    "raises": lambda raises: raises,
    "lowers": lambda raises: ~raises,
    "either": np.ones_like,
}
_SUMS: Mapping[str, Callable[[Figures], Vector]] = {
    "n_order_days": lambda f: f["frequency"] + 1.0,
    "order_days_before_90": lambda f: f["order_days_within_90"] - f["order_days_trend_90"],
    "value_before_90": lambda f: np.round(f["value_within_90"] - f["value_trend_90"], 6) + 0.0,  # money has micros
    "visits_before_30": lambda f: f["visits_within_30"] - f["visits_trend_30"],
}
# A feature that says something of a customer only where the condition holds.
_ONLY_WHERE: Mapping[str, Callable[[Figures], Mask]] = {
    "median_gap_days": lambda f: f["frequency"] >= _OWN_RHYTHM_MIN_REPEATS,
    "order_days_per_year": lambda f: f["T_days"] >= _YOUNGEST_RATE_DAYS,
}
_READ_TOO = {"frequency", "T_days", "order_days_trend_90", "value_trend_90", "visits_trend_30"}
_FACTS = {name for telling in TELLINGS for name in telling.facts}
_SHOP_FIGURES = sorted(name for name in _FACTS if name.startswith(SHOP))
_FEATURES = [feature.name for feature in FEATURES if feature.name in _FACTS | _READ_TOO]
