"""Tenure: how it began, and how much of the time since was alive."""

from features.catalogue import Count, Feature, exact, only_if, ratio
from features.expressions import col
from features.groups.rfm import N_ORDER_DAYS, RECENCY_DAYS, T_DAYS, TOTAL

_GROUP = "tenure"
_EARLY = col("tenure_days") < 90

COUNTS = (
    Count("n_first_90", only_if(_EARLY, 1)),
    Count("micros_first_90", only_if(_EARLY, col("value_micros"))),
    Count("second_gap", only_if(col("order_index") == 2, col("gap_days")), "max"),
)

FEATURES = (
    Feature("recency_share", _GROUP, "share", "share of the tenure that lies before the last order",
            RECENCY_DAYS / T_DAYS),
    Feature("order_days_first_90", _GROUP, "order days", "order days in the first 90 days of tenure",
            exact("n_first_90")),
    Feature("order_days_first_90_share", _GROUP, "share", "share of order days in the first 90 days of tenure",
            exact("n_first_90") / N_ORDER_DAYS),
    Feature("value_first_90", _GROUP, "currency", "value of the first 90 days of tenure", exact("micros_first_90")),
    Feature("value_first_90_share", _GROUP, "share", "share of value in the first 90 days of tenure",
            ratio(exact("micros_first_90"), TOTAL), "no value so far"),
    Feature("days_to_second_order", _GROUP, "days", "from the first to the second order day", exact("second_gap"),
            "no repeat order day"),
)  # fmt: skip
