"""Frequency and windows: how often, and how often of late."""

from features.catalogue import Count, Feature, exact, only_if, ratio, within
from features.expressions import col
from features.groups.rfm import N_ORDER_DAYS, T_DAYS

WINDOWS_DAYS = (30, 60, 90, 180, 365)

_GROUP = "frequency and windows"
_DECAY_DAYS = 30
_WEIGHT_ONE = 2**20  # a power of two: dividing by it is exact on every engine
_AGE = col("age_days")

COUNTS = (
    Count("n_orders", col("n_orders")),
    *(Count(f"n_within_{w}", only_if(within(w), 1)) for w in WINDOWS_DAYS),
    Count("n_within_730", only_if(within(730), 1)),
    Count("decayed_weight", (_WEIGHT_ONE * _DECAY_DAYS) // (_AGE + _DECAY_DAYS)),
)

_WITHIN = {w: exact(f"n_within_{w}") for w in (*WINDOWS_DAYS, 730)}

FEATURES = (
    Feature("n_orders", _GROUP, "orders", "orders so far", exact("n_orders")),
    Feature("orders_per_order_day", _GROUP, "ratio", "orders on a day with orders", exact("n_orders") / N_ORDER_DAYS),
    Feature("order_days_per_year", _GROUP, "per year", "order days per year of tenure", N_ORDER_DAYS / T_DAYS * 365.25),
    *(
        Feature(f"order_days_within_{w}", _GROUP, "order days", f"order days in the last {w} days", _WITHIN[w])
        for w in WINDOWS_DAYS
    ),
    Feature("order_days_trend_30", _GROUP, "order days", "last 30 days minus the 30 before",
            2.0 * _WITHIN[30] - _WITHIN[60]),
    Feature("order_days_trend_90", _GROUP, "order days", "last 90 days minus the 90 before",
            2.0 * _WITHIN[90] - _WITHIN[180]),
    Feature("order_days_trend_365", _GROUP, "order days", "last 365 days minus the 365 before",
            2.0 * _WITHIN[365] - _WITHIN[730]),
    Feature("order_days_share_90", _GROUP, "share", "share of the last year's order days that lie in its last 90 days",
            ratio(_WITHIN[90], _WITHIN[365]), "no order in the last 365 days"),
    Feature("decayed_order_days", _GROUP, "order days", "order days weighted by 30 ÷ (30 + age in days)",
            exact("decayed_weight") / _WEIGHT_ONE),
)  # fmt: skip
