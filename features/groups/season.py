"""Seasonality: does this customer buy in the season that comes next? Measured against their own past."""

from features.catalogue import Count, Feature, exact, only_if, ratio, within
from features.expressions import col
from features.groups.rfm import N_ORDER_DAYS, TOTAL

_GROUP = "seasonality"
_FOUR_YEARS_DAYS = 1461  # 365.25 days are four quarters of it
_QUARTER = 365  # ages are multiplied by 4, so that a year is a whole number
_AGE, _VALUE = col("age_days"), col("value_micros")
_COMING_SEASON = (4 * _AGE - 1) % _FOUR_YEARS_DAYS >= _FOUR_YEARS_DAYS - _QUARTER  # ages 275 to 365, 640 to 730, …
_WEEKDAY = (col("day") + 3) % 7  # Monday is 0; day 0, 1970-01-01, was a Thursday
_IS_WEEKEND = _WEEKDAY >= 5
_LAST_TIME = (_AGE > 274) & within(365)

COUNTS = (
    Count("n_weekend_days", only_if(_IS_WEEKEND, 1)),
    Count("weekend_micros", only_if(_IS_WEEKEND, _VALUE)),
    Count("n_last_season", only_if(_LAST_TIME, 1)),
    Count("micros_last_season", only_if(_LAST_TIME, _VALUE)),
    Count("n_coming_season", only_if(_COMING_SEASON, 1)),
    Count("micros_coming_season", only_if(_COMING_SEASON, _VALUE)),
)

FEATURES = (
    Feature("order_days_same_season", _GROUP, "order days",
            "order days 275 to 365 days ago: the coming season, a year earlier", exact("n_last_season")),
    Feature("value_same_season", _GROUP, "currency", "value of the days 275 to 365 days ago",
            exact("micros_last_season")),
    Feature("same_season_share_of_year", _GROUP, "share", "share of the last year's order days in the coming season",
            ratio(exact("n_last_season"), exact("n_within_365")), "no order in the last 365 days"),
    Feature("coming_season_share", _GROUP, "share",
            "share of order days, of all years, in the quarter of the year that comes next",
            exact("n_coming_season") / N_ORDER_DAYS),
    Feature("coming_season_value_share", _GROUP, "share", "share of value in the quarter of the year that comes next",
            ratio(exact("micros_coming_season"), TOTAL), "no value so far"),
    Feature("weekend_share", _GROUP, "share", "share of order days on Saturday or Sunday",
            exact("n_weekend_days") / N_ORDER_DAYS),
    Feature("weekend_value_share", _GROUP, "share", "share of value from Saturdays and Sundays",
            ratio(exact("weekend_micros"), TOTAL), "no value so far"),
)  # fmt: skip
