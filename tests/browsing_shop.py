"""A made-up shop with people before their first order: browsers who register, some show interest, some order.

Whoever fills a cart orders far more often. Rates stay as they are from the first day to the last, so that what is
learned at one cutoff holds at a later one.
"""

from typing import Any

import numpy as np
import polars as pl

from features.catalogue import MICROS
from features.records import CONTACT_SCHEMA, EVENT_SCHEMA
from tests.histories import Shop, build_orders

FIRST_DAY = 9_000
END_DAY = FIRST_DAY + 600  # what comes on it or later was not recorded
P_REGISTERS, P_CART, P_BUYS_AFTER_CART, P_BUYS_WITHOUT = 0.6, 0.5, 0.7, 0.15

_Contacts = list[tuple[Any, ...]]


def make_up_browsers(n_people: int = 1500, *, seed: int = 5) -> Shop:
    """Make up orders, the events of known people, and contacts of everybody; the same for the same seed."""
    rng = np.random.default_rng(seed)
    contacts: _Contacts = []
    orders: list[tuple[str, int, int]] = []
    for number in range(n_people):
        arrives = int(rng.integers(FIRST_DAY - 200, END_DAY))
        seen, first_order_day = _browse(rng, f"person-{number:04}", f"browser-{number:04}", arrives)
        contacts += seen
        orders += [] if first_order_day is None else _orders_of(rng, f"person-{number:04}", first_order_day)
    lived = {"orders": build_orders(orders), "contacts": pl.DataFrame(contacts, CONTACT_SCHEMA, orient="row")}
    told = {name: rows.filter(pl.col("day").is_between(FIRST_DAY, END_DAY - 1)) for name, rows in lived.items()}
    named = told["contacts"].drop_nulls("customer_id").with_columns(value_micros=pl.lit(None, pl.Int64))
    return {**told, "events": named.select(*EVENT_SCHEMA)}


def _browse(rng: np.random.Generator, person: str, browser: str, day: int) -> tuple[_Contacts, int | None]:
    """Make up what somebody did before the first order, and the day of that order if they ever ordered."""
    contacts: _Contacts = [(None, browser, day - 5, "impression", "ads")] if rng.random() < 0.5 else []
    days = day + np.cumsum(rng.integers(1, 40, size=rng.integers(0, 4)))
    contacts += [(None, browser, int(on), "visit", "web") for on in (day, *days)]
    if rng.random() >= P_REGISTERS:
        return contacts, None
    registers = day + 1 + int(rng.exponential(30))
    contacts = [(None if on < registers else person, name, on, *did) for _, name, on, *did in contacts]
    contacts.append((person, browser, registers, "registration", "web"))
    has_cart = bool(rng.random() < P_CART)
    decides = registers + int(rng.exponential(40))
    if has_cart:
        contacts.append((person, None, decides, "cart", "web"))
    buys = bool(rng.random() < (P_BUYS_AFTER_CART if has_cart else P_BUYS_WITHOUT))
    return contacts, decides + 1 + int(rng.exponential(20)) if buys else None


def _orders_of(rng: np.random.Generator, person: str, day: int) -> list[tuple[str, int, int]]:
    gaps = np.cumsum(rng.integers(3, 60, size=rng.geometric(0.2) - 1))
    return [(person, int(on), int(rng.integers(5, 80)) * MICROS) for on in (day, *(day + gaps))]
