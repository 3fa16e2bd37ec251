"""Behaviour: rhythm, windows, value and trend, each told by one declaration."""

import narwhals as nw

from features.catalogue import Count, Feature, exact, ratio, when
from features.rfm import FREQUENCY, RECENCY_DAYS

WINDOWS_DAYS = (30, 60, 90, 180, 365)
_DECAY_DAYS = 30
_WEIGHT_ONE = 2**20  # a power of two: dividing by it is exact on every engine
_NO_GAP = "no repeat order day"
_AGE = nw.col("age_days")
_GAP = nw.col("gap_days")
_VALUE = nw.col("value_micros")


def _between(youngest_days: int, oldest_days: int) -> nw.Expr:
    return (_AGE > youngest_days) & (_AGE <= oldest_days)


COUNTS = (
    Count("n_orders", nw.col("n_orders")),
    Count("sum_gap_squares", _GAP * _GAP),
    Count("max_gap", _GAP, "max"),
    Count("min_gap", _GAP, "min"),
    Count("median_gap", _GAP, "median"),
    Count("last_gap", when(nw.col("is_last"), _GAP), "max"),
    Count("last_day_micros", when(nw.col("is_last"), _VALUE), "max"),
    Count("max_day_micros", _VALUE, "max"),
    Count("min_day_micros", _VALUE, "min"),
    Count("n_weekend_days", nw.col("is_weekend")),
    Count("n_previous_90", when(_between(90, 180), 1)),
    Count("micros_previous_90", when(_between(90, 180), _VALUE)),
    Count("n_same_season", when(_between(275, 365), 1)),
    Count("n_first_90", when(nw.col("tenure_days") < 90, 1)),
    Count("decayed_weight", (_WEIGHT_ONE * _DECAY_DAYS) // (_AGE + _DECAY_DAYS)),
    *(Count(f"n_within_{w}", when(_AGE <= w, 1)) for w in WINDOWS_DAYS),
    *(Count(f"micros_within_{w}", when(_AGE <= w, _VALUE)) for w in WINDOWS_DAYS),
)

_SILENCE = exact("last_age_days")
_MEAN_GAP = ratio(RECENCY_DAYS, FREQUENCY)
_MEAN_VALUE = exact("total_micros") / exact("n_order_days")
_GAP_VARIANCE = ratio(FREQUENCY * exact("sum_gap_squares") - RECENCY_DAYS * RECENCY_DAYS, FREQUENCY * (FREQUENCY - 1.0))
_STD_GAP = _GAP_VARIANCE.sqrt()

_RHYTHM = (
    Feature("mean_gap_days", "days", "mean gap between order days", _MEAN_GAP, _NO_GAP),
    Feature("median_gap_days", "days", "median gap between order days", exact("median_gap"), _NO_GAP),
    Feature("std_gap_days", "days", "spread of the gaps", _STD_GAP, "fewer than two gaps"),
    Feature("gap_variation", "ratio", "spread ÷ mean of the gaps", ratio(_STD_GAP, _MEAN_GAP), "fewer than two gaps"),
    Feature("max_gap_days", "days", "longest gap", exact("max_gap"), _NO_GAP),
    Feature("min_gap_days", "days", "shortest gap", exact("min_gap"), _NO_GAP),
    Feature("last_gap_days", "days", "gap before the last order day", exact("last_gap"), _NO_GAP),
    Feature("last_gap_to_mean", "ratio", "last gap ÷ mean gap", ratio(exact("last_gap"), _MEAN_GAP), _NO_GAP),
    Feature("silence_to_mean_gap", "ratio", "silence ÷ mean gap", ratio(_SILENCE, _MEAN_GAP), _NO_GAP),
    Feature("silence_to_max_gap", "ratio", "silence ÷ longest gap", ratio(_SILENCE, exact("max_gap")), _NO_GAP),
    Feature(
        "silence_to_median_gap", "ratio", "silence ÷ median gap", ratio(_SILENCE, exact("median_gap")), _NO_GAP
    ),
    Feature("recency_share", "share", "share of the tenure that lies before the last order",
            RECENCY_DAYS / exact("first_age_days")),
)  # fmt: skip

_FREQUENCY = (
    Feature("n_orders", "orders", "orders so far", exact("n_orders")),
    Feature("orders_per_order_day", "ratio", "orders on a day with orders", exact("n_orders") / exact("n_order_days")),
    Feature("order_days_per_year", "per year", "order days per year of tenure",
            exact("n_order_days") / exact("first_age_days") * 365.25),
    *(
        Feature(f"order_days_within_{w}", "order days", f"order days in the last {w} days", exact(f"n_within_{w}"))
        for w in WINDOWS_DAYS
    ),
    Feature("order_days_trend_90", "order days", "last 90 days minus the 90 before",
            exact("n_within_90") - exact("n_previous_90")),
    Feature("order_days_first_90", "order days", "order days in the first 90 days of tenure", exact("n_first_90")),
    Feature("order_days_same_season", "order days", "order days 275 to 365 days ago: the coming season, a year earlier",
            exact("n_same_season")),
    Feature("decayed_order_days", "order days", "order days weighted by 30 ÷ (30 + age in days)",
            exact("decayed_weight") / _WEIGHT_ONE),
    Feature("weekend_share", "share", "share of order days on Saturday or Sunday",
            exact("n_weekend_days") / exact("n_order_days")),
)  # fmt: skip

_VALUES = (
    Feature("mean_order_day_value", "currency", "mean value of all order days", _MEAN_VALUE),
    Feature("max_order_day_value", "currency", "highest value of a day", exact("max_day_micros")),
    Feature("min_order_day_value", "currency", "lowest value of a day", exact("min_day_micros")),
    Feature("first_order_day_value", "currency", "value of the first order day", exact("first_day_micros")),
    Feature("last_order_day_value", "currency", "value of the last order day", exact("last_day_micros")),
    Feature("last_value_to_mean", "ratio", "last day's value ÷ mean", ratio(exact("last_day_micros"), _MEAN_VALUE),
            "no value so far"),
    Feature("value_per_year", "currency per year", "value per year of tenure",
            exact("total_micros") / exact("first_age_days") * 365.25),
    *(
        Feature(f"value_within_{w}", "currency", f"value of the last {w} days", exact(f"micros_within_{w}"))
        for w in WINDOWS_DAYS
    ),
    Feature("value_trend_90", "currency", "value of the last 90 days minus the 90 before",
            exact("micros_within_90") - exact("micros_previous_90")),
)  # fmt: skip

FEATURES = (*_RHYTHM, *_FREQUENCY, *_VALUES)
