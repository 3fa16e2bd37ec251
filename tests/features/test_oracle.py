"""Features against plain SQL over the raw records, written from the catalogue's meanings on purpose in another way.

Nothing of ours takes part: each query has its own joins, its own order days, its own way of taking refunds off.
"""

from collections.abc import Callable
from functools import reduce
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from features.catalogue import GROUPS, MICROS
from features.snapshot import Snapshot
from features.table import FEATURES, build_feature_table
from tests.histories import CUTOFF_DAY, EVENT_TYPES, SCHEMAS, Shop, build_records, build_shop, cents, shops

# The relations as they were known, and the customers. {cutoff} is a day number.
KNOWN = """
WITH o AS (SELECT * FROM raw_orders WHERE day < {cutoff}),
    r AS (SELECT * FROM raw_refunds WHERE day < {cutoff}),
    i AS (SELECT * FROM raw_items WHERE day < {cutoff}),
    e AS (SELECT *, {cutoff} - day AS age FROM raw_events WHERE day < {cutoff}),
    c AS (SELECT DISTINCT customer_id FROM o)
"""

DAYS = (
    KNOWN
    + """, sold AS (SELECT customer_id, day, sum(amount_micros) AS amount, count(*) AS n FROM o GROUP BY ALL
), returned AS (SELECT customer_id, order_day, sum(taken_micros) AS taken FROM r GROUP BY ALL
), d AS (
    SELECT sold.customer_id, day, {cutoff} - day AS age, n, (amount - coalesce(taken, 0))::BIGINT AS net
    FROM sold LEFT JOIN returned ON returned.customer_id = sold.customer_id AND order_day = day
), pair AS (
    SELECT later.*, max(earlier.day) AS before
    FROM d AS later LEFT JOIN d AS earlier ON earlier.customer_id = later.customer_id AND earlier.day < later.day
    GROUP BY ALL
), lived AS (
    SELECT *, day - before AS gap, dayname(DATE '1970-01-01' + day::INTEGER) IN ('Saturday', 'Sunday') AS is_weekend,
        EXISTS (FROM range(1, 99) AS years(n) WHERE age > 365.25 * n - 91.25 AND age <= 365.25 * n) AS was_next_season
    FROM pair
), b AS (SELECT customer_id, min(day) AS first_day, max(day) AS last_day FROM d GROUP BY ALL)
SELECT customer_id,
    count(*) - 1 AS frequency,
    max(day) - min(day) AS recency_days,
    max(age) AS T_days,
    min(age) AS days_since_last_order,
    sum(net) FILTER (day > first_day) / count(gap) / 1e6 AS monetary_value,
    sum(net) / 1e6 AS historic_value,
    avg(gap) AS mean_gap_days,
    median(gap) AS median_gap_days,
    CASE WHEN count(gap) > 1 THEN stddev_samp(gap) END AS std_gap_days,
    CASE WHEN count(gap) > 1 THEN stddev_samp(gap) / avg(gap) END AS gap_variation,
    max(gap) AS max_gap_days,
    min(gap) AS min_gap_days,
    max(gap) FILTER (day = last_day) AS last_gap_days,
    min(age) / max(gap) AS silence_to_max_gap,
    min(age) - median(gap) AS overdue_days,
    sum(n) AS n_orders,
    sum(n) / count(*) AS orders_per_order_day,
    count(*) * 365.25::DOUBLE / max(age) AS order_days_per_year,
    count(*) FILTER (age <= 30) AS order_days_within_30,
    count(*) FILTER (age <= 60) AS order_days_within_60,
    count(*) FILTER (age <= 90) AS order_days_within_90,
    count(*) FILTER (age <= 180) AS order_days_within_180,
    count(*) FILTER (age <= 365) AS order_days_within_365,
    count(*) FILTER (age <= 30) - count(*) FILTER (age BETWEEN 31 AND 60) AS order_days_trend_30,
    count(*) FILTER (age <= 90) - count(*) FILTER (age BETWEEN 91 AND 180) AS order_days_trend_90,
    count(*) FILTER (age <= 365) - count(*) FILTER (age BETWEEN 366 AND 730) AS order_days_trend_365,
    count(*) FILTER (age <= 90) / nullif(count(*) FILTER (age <= 365), 0) AS order_days_share_90,
    sum(net) / count(*) / 1e6 AS mean_order_day_value,
    max(net) / 1e6 AS max_order_day_value,
    min(net) / 1e6 AS min_order_day_value,
    sum(net) FILTER (day = first_day) / 1e6 AS first_order_day_value,
    sum(net) FILTER (day = last_day) / 1e6 AS last_order_day_value,
    max(net) / nullif(sum(net), 0) AS max_value_share,
    count(*) FILTER (net = 0) AS free_order_days,
    coalesce(sum(net) FILTER (age <= 30), 0) / 1e6 AS value_within_30,
    coalesce(sum(net) FILTER (age <= 60), 0) / 1e6 AS value_within_60,
    coalesce(sum(net) FILTER (age <= 90), 0) / 1e6 AS value_within_90,
    coalesce(sum(net) FILTER (age <= 180), 0) / 1e6 AS value_within_180,
    coalesce(sum(net) FILTER (age <= 365), 0) / 1e6 AS value_within_365,
    (coalesce(sum(net) FILTER (age <= 90), 0)
        - coalesce(sum(net) FILTER (age BETWEEN 91 AND 180), 0)) / 1e6 AS value_trend_90,
    coalesce(sum(net) FILTER (age <= 90), 0) / nullif(sum(net) FILTER (age <= 365), 0) AS value_share_90,
    count(*) FILTER (age BETWEEN 275 AND 365) AS order_days_same_season,
    coalesce(sum(net) FILTER (age BETWEEN 275 AND 365), 0) / 1e6 AS value_same_season,
    count(*) FILTER (age BETWEEN 275 AND 365)
        / nullif(count(*) FILTER (age <= 365), 0) AS same_season_share_of_year,
    count(*) FILTER (was_next_season) / count(*) AS coming_season_share,
    coalesce(sum(net) FILTER (was_next_season), 0) / nullif(sum(net), 0) AS coming_season_value_share,
    count(*) FILTER (is_weekend) / count(*) AS weekend_share,
    coalesce(sum(net) FILTER (is_weekend), 0) / nullif(sum(net), 0) AS weekend_value_share,
    (max(day) - min(day)) / max(age) AS recency_share,
    count(*) FILTER (day < first_day + 90) AS order_days_first_90,
    sum(net) FILTER (day < first_day + 90) / 1e6 AS value_first_90,
    sum(net) FILTER (day < first_day + 90) / nullif(sum(net), 0) AS value_first_90_share,
    min(day) FILTER (day > first_day) - min(day) AS days_to_second_order
FROM lived JOIN b USING (customer_id) GROUP BY customer_id
"""
)

ORDERS = (
    KNOWN
    + """, used AS (SELECT customer_id, channel, min({cutoff} - day) AS newest, max({cutoff} - day) AS oldest
    FROM o WHERE channel IS NOT NULL GROUP BY ALL
), doors AS (
    SELECT customer_id, count(*) AS n, count(*) FILTER (newest <= 365) AS n_365, count(*) FILTER (oldest <= 90) AS n_new
    FROM used GROUP BY ALL
), costed AS (SELECT customer_id, sum(amount_micros) AS amount, sum(amount_micros - cost_micros) AS margin
    FROM o WHERE cost_micros IS NOT NULL GROUP BY ALL
)
SELECT customer_id,
    n AS channels_so_far,
    n_365 AS channels_within_365,
    n_new AS new_channels_90,
    (SELECT count(*) FROM o WHERE o.customer_id = c.customer_id AND channel IS NOT NULL) / n AS orders_per_channel,
    margin / 1e6 AS margin_so_far,
    margin / nullif(amount, 0) AS margin_share
FROM c LEFT JOIN doors USING (customer_id) LEFT JOIN costed USING (customer_id)
"""
)

REFUNDS = (
    KNOWN
    + """, ordered AS (SELECT customer_id, sum(amount_micros) AS amount, count(*) AS n FROM o GROUP BY ALL)
SELECT customer_id,
    count(r.day) AS n_refunds,
    count(*) FILTER (r.day >= {cutoff} - 90) AS refunds_within_90,
    count(r.day) / any_value(n) AS refunds_per_order,
    coalesce(sum(r.amount_micros), 0) / 1e6 AS refunded_value,
    coalesce(sum(r.amount_micros) FILTER (r.day >= {cutoff} - 365), 0) / 1e6 AS refunded_within_365,
    coalesce(sum(taken_micros), 0) / nullif(any_value(amount), 0) AS refunded_share,
    {cutoff} - max(r.day) AS days_since_last_refund
FROM ordered LEFT JOIN r USING (customer_id) GROUP BY customer_id
"""
)

ITEMS = (
    KNOWN
    + """, kind AS (
    SELECT customer_id, category, count(*) AS n_days, min(day) AS first_day, max(day) AS last_day
    FROM i WHERE category IS NOT NULL GROUP BY ALL
), kinds AS (
    SELECT customer_id, count(*) AS n, sum(n_days) AS n_days, count(*) FILTER (first_day >= {cutoff} - 90) AS n_new,
        count(*) FILTER (last_day >= {cutoff} - 90) AS n_90, count(*) FILTER (last_day >= {cutoff} - 365) AS n_365
    FROM kind GROUP BY ALL
), bought AS (
    SELECT customer_id, sum(quantity_micros) AS quantity, sum(n_lines) AS lines,
        coalesce(sum(quantity_micros) FILTER (day >= {cutoff} - 90), 0) AS quantity_90
    FROM i WHERE quantity_micros IS NOT NULL GROUP BY ALL
), days AS (SELECT customer_id, count(DISTINCT day) AS n_order_days FROM o GROUP BY ALL)
SELECT customer_id,
    n AS categories_so_far,
    n_90 AS categories_within_90,
    n_365 AS categories_within_365,
    n_new AS new_categories_90,
    n_days / n_order_days AS categories_per_order_day,
    n_days / n AS category_loyalty,
    quantity / 1e6 AS items_so_far,
    quantity_90 / 1e6 AS items_within_90,
    quantity / n_order_days / 1e6 AS items_per_order_day,
    quantity / lines / 1e6 AS items_per_line
FROM days LEFT JOIN kinds USING (customer_id) LEFT JOIN bought USING (customer_id)
"""
)

EVENTS = (
    KNOWN
    + """, answer AS (
    SELECT customer_id, max(value_micros) AS micros FROM e AS one
    WHERE event_type = 'survey' AND abs(value_micros) <= 1000000 * 1000000::BIGINT AND NOT EXISTS (
        FROM e AS newer WHERE newer.customer_id = one.customer_id AND newer.event_type = 'survey'
            AND newer.day > one.day AND abs(newer.value_micros) <= 1000000 * 1000000::BIGINT
    ) GROUP BY ALL
)
SELECT customer_id,
    count(*) FILTER (event_type = 'visit' AND age <= 30) AS visits_within_30,
    count(*) FILTER (event_type = 'visit' AND age <= 90) AS visits_within_90,
    count(*) FILTER (event_type = 'visit' AND age <= 30)
        - count(*) FILTER (event_type = 'visit' AND age BETWEEN 31 AND 60) AS visits_trend_30,
    min(age) FILTER (event_type = 'visit') AS days_since_last_visit,
    count(*) FILTER (event_type = 'cart' AND age <= 30) AS carts_within_30,
    count(*) FILTER (event_type = 'form' AND age <= 90) AS forms_within_90,
    max(age) FILTER (event_type = 'registration') AS days_since_registration,
    count(*) FILTER (event_type = 'email_sent' AND age <= 90) AS emails_sent_within_90,
    count(*) FILTER (event_type = 'email_open' AND age <= 90)
        / nullif(count(*) FILTER (event_type = 'email_sent' AND age <= 90), 0) AS email_open_rate_90,
    count(*) FILTER (event_type = 'email_click' AND age <= 90)
        / nullif(count(*) FILTER (event_type = 'email_sent' AND age <= 90), 0) AS email_click_rate_90,
    count(*) FILTER (event_type = 'unsubscribe') AS unsubscribes,
    count(*) FILTER (event_type = 'campaign_sent' AND age <= 180) AS campaigns_within_180,
    min(age) FILTER (event_type = 'coupon_redeemed') AS days_since_last_coupon,
    coalesce(sum(value_micros) FILTER (event_type = 'marketing_cost' AND age <= 365), 0)
        / 1e6 AS marketing_cost_within_365,
    count(*) FILTER (event_type = 'coupon_redeemed' AND age <= 365) AS coupons_within_365,
    count(*) FILTER (event_type = 'coupon_redeemed' AND age <= 365)
        / nullif(count(*) FILTER (event_type = 'campaign_sent' AND age <= 365), 0) AS coupons_per_campaign_365,
    count(*) FILTER (event_type = 'ticket' AND age <= 90) AS tickets_within_90,
    count(*) FILTER (event_type = 'ticket' AND age <= 365) AS tickets_within_365,
    any_value(answer.micros) / 1e6 AS last_survey_answer,
    sum(value_micros) FILTER (event_type = 'review') / count(value_micros) FILTER (event_type = 'review')
        / 1e6 AS mean_review_rating,
    count(*) FILTER (event_type = 'referral') AS referrals
FROM c LEFT JOIN e USING (customer_id) LEFT JOIN answer USING (customer_id) GROUP BY customer_id
"""
)

# The last day inside each window, the first outside, and the edges of the coming season in four years.
EDGE_AGES = [
    days + past for days in (1, 30, 60, 90, 180, 274, 365, 639, 730, 1004, 1095, 1369, 1461) for past in (0, 1)
]
_AT_AGE: dict[str, Callable[[int], list[tuple[Any, ...]]]] = {
    "orders": lambda age: [
        (f"{age}", CUTOFF_DAY - at, 8 * MICROS, f"{at}", MICROS) for at in (1_600, 1_511, 1_510, age)
    ],
    "refunds": lambda age: [(f"{age}", CUTOFF_DAY - age, CUTOFF_DAY - 1_600, 5 * MICROS, 4 * MICROS)],
    "items": lambda age: [(f"{age}", CUTOFF_DAY - at, f"{at}", 2, 3 * MICROS) for at in (1_600, age)],
    "events": lambda age: [(f"{age}", CUTOFF_DAY - age, event_type, MICROS, None) for event_type in EVENT_TYPES],
}

QUERIES = (DAYS, ORDERS, REFUNDS, ITEMS, EVENTS)
ROUNDED = {"std_gap_days", "gap_variation", "order_days_per_year"}  # where the oracle's formula is another


@given(shops(money=cents()))
@settings(deadline=None)
def test_oracle(engine: duckdb.DuckDBPyConnection, shop: Shop) -> None:
    """Every feature that has an oracle equals it, on any records."""
    table = build_feature_table(build_records(shop), Snapshot(CUTOFF_DAY), features=FEATURES)
    _agree(table, _ask(engine, shop, CUTOFF_DAY))


def test_edges(engine: duckdb.DuckDBPyConnection) -> None:
    """Every feature that has an oracle equals it where all that is recorded lies on the edge of a window."""
    shop = build_shop({name: [row for age in EDGE_AGES for row in rows(age)] for name, rows in _AT_AGE.items()})
    table = build_feature_table(build_records(shop), Snapshot(CUTOFF_DAY), features=FEATURES)
    _agree(table, _ask(engine, shop, CUTOFF_DAY))


@pytest.mark.parametrize("back_days", [0, 180, 400])
def test_cdnow(engine: duckdb.DuckDBPyConnection, cdnow_orders: pl.DataFrame, end_day: int, back_days: int) -> None:
    """Every feature of orders that has an oracle equals it, on CDNOW."""
    table = build_feature_table(build_records(cdnow_orders), Snapshot(end_day - back_days))
    _agree(table, _ask(engine, {"orders": cdnow_orders}, end_day - back_days).select("customer_id", *_both(table)))


def test_enough(engine: duckdb.DuckDBPyConnection) -> None:
    """A third of the features of every group have an oracle, and more than half of all."""
    asked = set(_ask(engine, {}, CUTOFF_DAY).columns)
    groups = {group: [f.name for f in FEATURES if f.group == group] for group in GROUPS}
    assert {group for group, names in groups.items() if 3 * len(asked & set(names)) < len(names)} == set()
    assert 2 * (len(asked) - 1) > len(FEATURES)
    assert asked <= {"customer_id", *(feature.name for feature in FEATURES)}


def _ask(engine: duckdb.DuckDBPyConnection, shop: Shop, cutoff_day: int) -> pl.DataFrame:
    for name, schema in SCHEMAS.items():
        engine.register(f"raw_{name}", shop.get(name, pl.DataFrame(schema=schema)).pipe(_widen, schema).to_arrow())
    found: list[pl.DataFrame] = [engine.sql(query.format(cutoff=cutoff_day)).pl() for query in QUERIES]
    joined = reduce(lambda one, other: one.join(other, on="customer_id", how="left", validate="1:1"), found)
    return joined.sort("customer_id").cast({name: pl.Float64 for name in joined.columns if name != "customer_id"})


def _widen(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    return frame.with_columns(
        pl.lit(None, kind).alias(name) for name, kind in schema.items() if name not in frame.columns
    )


def _both(table: pl.DataFrame) -> list[str]:
    asked = " ".join(QUERIES).split()
    return [name for name in table.columns[1:] if name in {word.strip(",") for word in asked}]


def _agree(table: pl.DataFrame, oracle: pl.DataFrame) -> None:
    assert table["customer_id"].to_list() == oracle["customer_id"].to_list()
    for name in oracle.columns[1:]:
        ours, theirs = table[name], oracle[name]
        if name in ROUNDED:
            np.testing.assert_allclose(ours.to_numpy(), theirs.to_numpy(), rtol=1e-12, err_msg=name)
        else:
            assert (name, ours.to_list()) == (name, theirs.to_list())
