"""Recency, frequency, monetary value: the sufficient statistics of the purchase models, and everyday recency."""

import narwhals as nw

from features.catalogue import Count, Feature, exact, ratio, when

COUNTS = (
    Count("n_order_days", when(nw.col("order_index") >= 1, 1)),
    Count("first_age_days", nw.col("age_days"), "max"),
    Count("last_age_days", nw.col("age_days"), "min"),
    Count("total_micros", nw.col("value_micros")),
    Count("first_day_micros", when(nw.col("order_index") == 1, nw.col("value_micros"))),
)

FREQUENCY = exact("n_order_days") - 1.0
RECENCY_DAYS = exact("first_age_days") - exact("last_age_days")

FEATURES = (
    Feature("frequency", "order days", "order days after the first", FREQUENCY),
    Feature("recency_days", "days", "from the first to the last order day", RECENCY_DAYS),
    Feature("T_days", "days", "from the first order day to the as-of date", exact("first_age_days")),
    Feature("days_since_last_order", "days", "silence up to the as-of date", exact("last_age_days")),
    Feature(
        "monetary_value",
        "currency",
        "mean value of repeat order days",
        ratio(exact("total_micros") - exact("first_day_micros"), FREQUENCY),
        null_rule="no repeat order day",
    ),
    Feature("historic_value", "currency", "value of all orders so far", exact("total_micros")),
)
