"""Orders of a shop that never was: the same for the same seed."""

import numpy as np
import polars as pl

from features.catalogue import MICROS
from features.records import ORDER_SCHEMA

SEED = 20240101
SPAN_DAYS = 3 * 365
FIRST_DAY = 18_262  # 2020-01-01
CUTOFF_DAY = FIRST_DAY + SPAN_DAYS
ORDERS_PER_CUSTOMER = 5

_MICROS_PER_DAY = 86_400 * MICROS


def generate_orders(n_customers: int, *, seed: int = SEED) -> pl.DataFrame:
    """Generate the validated orders of customers who come, order at rates of their own, and leave. One row per order.

    Rates are gamma distributed and lifetimes exponential, so that there are about `ORDERS_PER_CUSTOMER` orders each;
    orders stand in the sequence in which they came, all before `CUTOFF_DAY`.
    """
    rng = np.random.default_rng(seed)
    first = rng.uniform(0.0, SPAN_DAYS, n_customers)
    active_days = np.minimum(rng.exponential(rng.gamma(2.0, 200.0, n_customers)), SPAN_DAYS - first)
    n_repeats = rng.poisson(rng.gamma(0.6, 0.03, n_customers) * active_days)
    customer = np.concatenate([np.arange(n_customers), np.repeat(np.arange(n_customers), n_repeats)])
    later = first[customer[n_customers:]] + rng.random(n_repeats.sum()) * active_days[customer[n_customers:]]
    moment = np.concatenate([first, later])
    usual_amount = rng.lognormal(3.3, 0.6, n_customers)
    cents = np.rint(100.0 * usual_amount[customer] * rng.lognormal(0.0, 0.5, customer.size)).astype(np.int64)
    ordered_at = ((FIRST_DAY + moment) * _MICROS_PER_DAY).astype(np.int64)
    table = pl.DataFrame({"number": customer, "at": ordered_at, "amount_micros": cents * (MICROS // 100)})
    return table.sort("at", "number").select(
        customer_id=pl.format("c{}", pl.col("number").cast(pl.String).str.zfill(8)),
        ordered_at=pl.col("at").cast(pl.Datetime("us")),
        day=pl.col("at") // _MICROS_PER_DAY,
        amount_micros="amount_micros",
    ).cast(ORDER_SCHEMA)  # fmt: skip
