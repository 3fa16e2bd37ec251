"""The made-up shop with more people in it: visitors, people who only registered, and who ordered once, of late."""

from datetime import date, timedelta
from typing import Any

import polars as pl

from features.settings import Settings
from tests.whole_shop import AS_OF, EVENT_SCHEMA, TIMEZONE, WholeShop, whole_settings

EARLIER = date(2024, 2, 1)
SETTINGS = f'[orders]\ntimezone = "{TIMEZONE}"\nrows = "lines"\n'  # as `lifestage.toml` says what commands need
N_NEWCOMERS, N_COLD, N_HOT, N_REACHED, N_NEW, N_RETURNING = 12, 10, 8, 6, 9, 7
N_PROSPECTS = N_COLD + N_HOT + N_REACHED + N_NEW + N_RETURNING
TWIN = "twin"  # the id of a browser, and that of a person who registered

_SCHEMA = pl.Schema({**EVENT_SCHEMA, "visitor_id": pl.String()})


def add_visitors(shop: WholeShop) -> WholeShop:
    """Add people to a shop; of each kind so many as the numbers above say are there on `AS_OF`."""
    events = pl.DataFrame([*_registered(), *_anonymous(), *_linked()], schema=_SCHEMA)
    orders = pl.DataFrame(_newcomers(), schema=shop.orders.schema)
    return WholeShop(
        pl.concat([shop.orders, orders]), pl.concat([shop.events, events], how="diagonal").select(_SCHEMA.names())
    )


def visited_settings() -> Settings:
    """Settings of this shop: its metric sheet covers half a year, and the followers of one platform."""
    settings = whole_settings()
    changes = {"metrics_period_days": 182, "followers": {"web": 400}}
    return settings.model_copy(update={"lifecycle": settings.lifecycle.model_copy(update=changes)})


def _newcomers() -> list[dict[str, Any]]:
    return [
        {"customer_id": f"newcomer-{i:02}", "ordered_at": _ago(3 + i), "amount": 20.0 + i, "order_id": f"new/{i}"}
        for i in range(N_NEWCOMERS)
    ]


def _registered() -> list[dict[str, Any]]:
    cold = [_event("registration", 40 * (1 + i % 8), customer_id=f"cold-{i:02}") for i in range(N_COLD - 1)]
    hot = [_event("registration", 30 + 2 * i, customer_id=f"hot-{i:02}") for i in range(N_HOT)]
    carts = [_event("cart", 2 + i, customer_id=f"hot-{i:02}") for i in range(N_HOT)]
    return [*cold, *hot, *carts, _event("registration", 70, customer_id=TWIN)]


def _anonymous() -> list[dict[str, Any]]:
    reached = [_event("impression", 10 * (1 + i), visitor_id=f"screen-{i:02}") for i in range(N_REACHED)]
    new = [_event("visit", 1 + 15 * i, visitor_id=f"browser-{i:02}") for i in range(N_NEW - 1)]
    returning = [
        _event("visit", days, visitor_id=f"regular-{i:02}") for i in range(N_RETURNING) for days in (4 + i, 90 + i)
    ]
    return [*reached, *new, *returning, _event("visit", 75, visitor_id=TWIN)]


def _linked() -> list[dict[str, Any]]:
    """Make up visitors who are none any more: each turned out to be a newcomer, who then ordered."""
    visits = [_event("visit", 100 + i, visitor_id=f"before-{i}") for i in range(3)]
    return [
        *visits,
        *(_event("registration", 50, visitor_id=f"before-{i}", customer_id=f"newcomer-{i:02}") for i in range(3)),
    ]


def _event(event_type: str, days: int, **whose: str) -> dict[str, Any]:
    return {"occurred_at": _ago(days), "event_type": event_type, **whose}


def _ago(days: int) -> str:
    return f"{(AS_OF - timedelta(days=days)).isoformat()}T12:00:00"
