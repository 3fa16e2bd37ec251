"""Channel: through how many doors a customer comes in."""

from features.catalogue import Count, Feature, Log, exact, known_if, only_if, ratio, within
from features.expressions import col

_GROUP = "channel"
_NEEDS = ("channel",)
_LOG: Log = "orders"
_CHANNEL = col("channel")

COUNTS = (
    Count("n_channels", _CHANNEL, "n_unique", log=_LOG, needs=_NEEDS),
    Count("n_channels_365", only_if(within(365), _CHANNEL), "n_unique", log=_LOG, needs=_NEEDS),
    Count("n_channels_older", only_if(col("age_days") > 90, _CHANNEL), "n_unique", log=_LOG, needs=_NEEDS),
    Count("n_channel_orders", only_if(~_CHANNEL.is_null(), 1), log=_LOG, needs=_NEEDS),
)

_UNKNOWN = "no channel known"
_N = exact("n_channels")

FEATURES = (
    Feature("channels_so_far", _GROUP, "channels", "different channels ordered through so far",
            known_if("n_channel_orders", _N), _UNKNOWN, _NEEDS),
    Feature("channels_within_365", _GROUP, "channels", "different channels in the last 365 days",
            known_if("n_channel_orders", exact("n_channels_365")), _UNKNOWN, _NEEDS),
    Feature("new_channels_90", _GROUP, "channels", "channels used in the last 90 days and never before",
            known_if("n_channel_orders", _N - exact("n_channels_older")), _UNKNOWN, _NEEDS),
    Feature("orders_per_channel", _GROUP, "ratio", "orders ÷ different channels, of orders whose channel is known",
            ratio(exact("n_channel_orders"), _N), _UNKNOWN, _NEEDS),
)  # fmt: skip
