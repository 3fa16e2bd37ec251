"""Value and trend: what a customer's order days were worth, net of the refunds known by the as-of date."""

from features.catalogue import Count, Feature, exact, known_if, only_if, ratio, within
from features.expressions import col
from features.groups.frequency import WINDOWS_DAYS
from features.groups.rfm import N_ORDER_DAYS, T_DAYS, TOTAL

_GROUP = "value and trend"
_NO_VALUE = "no value so far"
_VALUE = col("value_micros")

COUNTS = (
    Count("last_day_micros", only_if(col("is_last"), _VALUE), "max"),
    Count("max_day_micros", _VALUE, "max"),
    Count("min_day_micros", _VALUE, "min"),
    Count("n_free_days", only_if(_VALUE == 0, 1)),
    *(Count(f"micros_within_{w}", only_if(within(w), _VALUE)) for w in WINDOWS_DAYS),
    Count("sum_cost_micros", col("cost_micros"), log="orders", needs=("cost",)),
    Count("n_costed", only_if(~col("cost_micros").is_null(), 1), log="orders", needs=("cost",)),
    Count("costed_micros", only_if(~col("cost_micros").is_null(), col("amount_micros")), log="orders", needs=("cost",)),
)

_MEAN = TOTAL / N_ORDER_DAYS
_WITHIN = {w: exact(f"micros_within_{w}") for w in WINDOWS_DAYS}
_MARGIN = exact("costed_micros") - exact("sum_cost_micros")

FEATURES = (
    Feature("mean_order_day_value", _GROUP, "currency", "mean value of all order days", _MEAN),
    Feature("max_order_day_value", _GROUP, "currency", "highest value of a day", exact("max_day_micros")),
    Feature("min_order_day_value", _GROUP, "currency", "lowest value of a day", exact("min_day_micros")),
    Feature("first_order_day_value", _GROUP, "currency", "value of the first order day", exact("first_day_micros")),
    Feature("last_order_day_value", _GROUP, "currency", "value of the last order day", exact("last_day_micros")),
    Feature("last_value_to_mean", _GROUP, "ratio", "last day's value ÷ mean",
            ratio(exact("last_day_micros"), _MEAN), _NO_VALUE),
    Feature("max_value_share", _GROUP, "share", "share of all value that the best day brought",
            ratio(exact("max_day_micros"), TOTAL), _NO_VALUE),
    Feature("free_order_days", _GROUP, "order days", "order days of no value", exact("n_free_days")),
    Feature("value_per_year", _GROUP, "currency per year", "value per year of tenure", TOTAL / T_DAYS * 365.25),
    *(
        Feature(f"value_within_{w}", _GROUP, "currency", f"value of the last {w} days", _WITHIN[w])
        for w in WINDOWS_DAYS
    ),
    Feature("value_trend_30", _GROUP, "currency", "value of the last 30 days minus the 30 before",
            2.0 * _WITHIN[30] - _WITHIN[60]),
    Feature("value_trend_90", _GROUP, "currency", "value of the last 90 days minus the 90 before",
            2.0 * _WITHIN[90] - _WITHIN[180]),
    Feature("value_share_90", _GROUP, "share", "share of the last year's value that its last 90 days brought",
            ratio(_WITHIN[90], _WITHIN[365]), "no value in the last 365 days"),
    Feature("margin_so_far", _GROUP, "currency", "value less cost, of the orders whose cost is known",
            known_if("n_costed", _MARGIN), "no cost known", needs=("cost",)),
    Feature("margin_share", _GROUP, "share", "margin ÷ value, of the orders whose cost is known",
            ratio(_MARGIN, exact("costed_micros")), "no order with a value and a cost", needs=("cost",)),
)  # fmt: skip
