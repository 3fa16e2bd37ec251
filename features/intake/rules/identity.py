"""Whose an anonymous event is: a visitor belongs to a customer from the event that names both on, and never before.

An event with both ids links them at its instant. An event with a visitor alone belongs to the customer of that
visitor's latest link, at the same instant or earlier. So a later event never changes whose an earlier one is.
"""

# ruff: noqa: S608 - statements are composed of our own SQL


def identified_sql(events: str) -> str:
    """Return the SELECT that attributes events to customers. One row per event, in no particular order.

    Args:
        events: A SELECT of customer_id, visitor_id, occurred_at, and whatever else. Repeated events do no harm.

    Returns:
        The same columns, `customer_id` null where the event belongs to nobody known; then `is_ambiguous`: the
        visitor's latest link names more than one customer at one instant, so that the event belongs to none of them.
    """
    return f"""
        WITH event AS ({events}), link AS (
            SELECT visitor_id, occurred_at, count(DISTINCT customer_id) > 1 AS is_ambiguous,
                CASE WHEN NOT is_ambiguous THEN min(customer_id) END AS customer_id
            FROM event WHERE visitor_id IS NOT NULL AND customer_id IS NOT NULL GROUP BY visitor_id, occurred_at
        ), anonymous AS (
            SELECT * FROM event WHERE visitor_id IS NOT NULL AND customer_id IS NULL
        )
        SELECT anonymous.* REPLACE (link.customer_id AS customer_id),
            coalesce(link.is_ambiguous, false) AS is_ambiguous
        FROM anonymous ASOF LEFT JOIN link
            ON anonymous.visitor_id = link.visitor_id AND anonymous.occurred_at >= link.occurred_at
        UNION ALL
        SELECT *, false AS is_ambiguous FROM event WHERE visitor_id IS NULL OR customer_id IS NOT NULL"""
