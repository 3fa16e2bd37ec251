"""Refunds: what came back, counted on the day it came back."""

from features.catalogue import Count, Feature, Log, exact, only_if, ratio, within
from features.expressions import col
from features.groups.rfm import TOTAL

_GROUP = "refunds"
_NEEDS = ("refunds",)
_LOG: Log = "refunds"
_AGE, _AMOUNT, _TAKEN = col("age_days"), col("amount_micros"), col("taken_micros")

COUNTS = (
    Count("n_refunds", only_if(_AGE >= 1, 1), log=_LOG, needs=_NEEDS),
    Count("refund_micros", _AMOUNT, log=_LOG, needs=_NEEDS),
    Count("taken_micros", _TAKEN, log=_LOG, needs=_NEEDS),
    Count("n_refunds_90", only_if(within(90), 1), log=_LOG, needs=_NEEDS),
    Count("refund_micros_365", only_if(within(365), _AMOUNT), log=_LOG, needs=_NEEDS),
    Count("last_refund_age", _AGE, "min", log=_LOG, needs=_NEEDS),
)

_N = exact("n_refunds")
_TAKEN_SO_FAR = exact("taken_micros")

FEATURES = (
    Feature("n_refunds", _GROUP, "refunds", "refunds so far", _N, needs=_NEEDS),
    Feature("refunds_within_90", _GROUP, "refunds", "refunds in the last 90 days", exact("n_refunds_90"), needs=_NEEDS),
    Feature("refunds_per_order", _GROUP, "ratio", "refunds ÷ orders", _N / exact("n_orders"), needs=_NEEDS),
    Feature("refunded_value", _GROUP, "currency", "money given back so far", exact("refund_micros"), needs=_NEEDS),
    Feature("refunded_within_365", _GROUP, "currency", "money given back in the last 365 days",
            exact("refund_micros_365"), needs=_NEEDS),
    Feature("refunded_share", _GROUP, "share", "share of what was ordered that refunds took back",
            ratio(_TAKEN_SO_FAR, TOTAL + _TAKEN_SO_FAR), "nothing of value ordered", needs=_NEEDS),
    Feature("days_since_last_refund", _GROUP, "days", "from the last refund to the as-of date",
            exact("last_refund_age"), "no refund", needs=_NEEDS),
)  # fmt: skip
