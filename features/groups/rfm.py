"""Recency, frequency, monetary value: the sufficient statistics of the purchase models, and everyday recency."""

from features.catalogue import Count, Feature, exact, only_if, ratio
from features.expressions import col

COUNTS = (
    Count("n_order_days", only_if(col("order_index") >= 1, 1)),
    Count("first_age_days", col("age_days"), "max"),
    Count("last_age_days", col("age_days"), "min"),
    Count("total_micros", col("value_micros")),
    Count("first_day_micros", only_if(col("order_index") == 1, col("value_micros"))),
)

N_ORDER_DAYS = exact("n_order_days")
FREQUENCY = N_ORDER_DAYS - 1.0
T_DAYS = exact("first_age_days")
RECENCY_DAYS = T_DAYS - exact("last_age_days")
SILENCE_DAYS = exact("last_age_days")
TOTAL = exact("total_micros")

FEATURES = (
    Feature("frequency", "frequency and windows", "order days", "order days after the first", FREQUENCY),
    Feature("recency_days", "recency and rhythm", "days", "from the first to the last order day", RECENCY_DAYS),
    Feature("T_days", "tenure", "days", "from the first order day to the as-of date", T_DAYS),
    Feature("days_since_last_order", "recency and rhythm", "days", "silence up to the as-of date", SILENCE_DAYS),
    Feature(
        "monetary_value",
        "value and trend",
        "currency",
        "mean value of repeat order days",
        ratio(TOTAL - exact("first_day_micros"), FREQUENCY),
        null_rule="no repeat order day",
    ),
    Feature("historic_value", "value and trend", "currency", "value of all orders so far, less refunds", TOTAL),
)
