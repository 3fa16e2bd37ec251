"""Recency and rhythm: the gaps between a customer's order days, and how the present silence compares with them."""

from features.catalogue import Count, Feature, exact, only_if, ratio
from features.expressions import col
from features.groups.rfm import FREQUENCY, RECENCY_DAYS, SILENCE_DAYS

_GROUP = "recency and rhythm"
_NO_GAP = "no repeat order day"
_ONE_GAP = "fewer than two gaps"
_GAP = col("gap_days")

COUNTS = (
    Count("sum_gap_squares", _GAP * _GAP),
    Count("max_gap", _GAP, "max"),
    Count("min_gap", _GAP, "min"),
    Count("median_gap", _GAP, "median"),
    Count("last_gap", only_if(col("is_last"), _GAP), "max"),
)

_MEAN = ratio(RECENCY_DAYS, FREQUENCY)
_MEDIAN = exact("median_gap")
_VARIANCE = ratio(FREQUENCY * exact("sum_gap_squares") - RECENCY_DAYS * RECENCY_DAYS, FREQUENCY * (FREQUENCY - 1.0))
_SPREAD = _VARIANCE.sqrt()

FEATURES = (
    Feature("mean_gap_days", _GROUP, "days", "mean gap between order days", _MEAN, _NO_GAP),
    Feature("median_gap_days", _GROUP, "days", "median gap between order days", _MEDIAN, _NO_GAP),
    Feature("std_gap_days", _GROUP, "days", "spread of the gaps", _SPREAD, _ONE_GAP),
    Feature("gap_variation", _GROUP, "ratio", "spread ÷ mean of the gaps", ratio(_SPREAD, _MEAN), _ONE_GAP),
    Feature("max_gap_days", _GROUP, "days", "longest gap", exact("max_gap"), _NO_GAP),
    Feature("min_gap_days", _GROUP, "days", "shortest gap", exact("min_gap"), _NO_GAP),
    Feature("last_gap_days", _GROUP, "days", "gap before the last order day", exact("last_gap"), _NO_GAP),
    Feature("last_gap_to_mean", _GROUP, "ratio", "last gap ÷ mean gap", ratio(exact("last_gap"), _MEAN), _NO_GAP),
    Feature("silence_to_mean_gap", _GROUP, "ratio", "silence ÷ mean gap", ratio(SILENCE_DAYS, _MEAN), _NO_GAP),
    Feature("silence_to_max_gap", _GROUP, "ratio", "silence ÷ longest gap",
            ratio(SILENCE_DAYS, exact("max_gap")), _NO_GAP),
    Feature("silence_to_median_gap", _GROUP, "ratio", "silence ÷ median gap", ratio(SILENCE_DAYS, _MEDIAN), _NO_GAP),
    Feature("silence_score", _GROUP, "ratio", "silence less the mean gap, ÷ spread of the gaps",
            ratio(SILENCE_DAYS - _MEAN, _SPREAD), "fewer than two gaps, or all alike"),
    Feature("overdue_days", _GROUP, "days", "silence less the median gap; below 0, the next order is not yet due",
            SILENCE_DAYS - _MEDIAN, _NO_GAP),
)  # fmt: skip
