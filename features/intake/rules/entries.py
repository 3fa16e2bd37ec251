"""From checked rows to entries, which are a customer's orders and, below 0, refunds; one set, in whatever sequence.

A row that repeats another in every column counts once. What rows of one order id are is a setting: as "lines" those
of a day add up, so discounts net within their order, and lines of a later day leave what was known before as it was;
as "orders" each says the whole order, so they must agree.
"""

# ruff: noqa: S608 - statements are composed of our own SQL; whatever comes from outside is quoted or escaped

from collections.abc import Collection
from dataclasses import dataclass
from math import ceil

import duckdb
import polars as pl

from features.intake.rules.refunds import ENTRY_SCHEMA, MATCHED_SCHEMA, match_refunds

_NOT_OURS = {"file", "line", "row_hash", "fate", "value_class", "is_bad_quantity", "is_bad_cost"}
_OF_THE_ORDER = {"customer_id", "order_id", "ordered_at", "day"}
_ROWS_PER_BATCH = 200_000
_SAME_ORDER = "shared.customer_id = rows.customer_id AND shared.order_id = rows.order_id"


def mark_repeats(checked: str, columns: Collection[str], connection: duckdb.DuckDBPyConnection) -> None:
    """Give all but the first of equal rows of customers the fate of a repeat; hashes alone show where there are any."""
    rows = f"SELECT * FROM {checked} WHERE fate = 'order'"
    [(n_rows, n_hashes)] = connection.execute(f"SELECT count(*), count(DISTINCT row_hash) FROM ({rows})").fetchall()
    if n_rows == n_hashes:
        return
    _mark_later(
        checked,
        f"row_hash IN (SELECT row_hash FROM ({rows}) GROUP BY row_hash HAVING count(*) > 1)",
        same=["row_hash", *(column for column in columns if column not in _NOT_OURS)],
        sequence=["file", "line"],
        connection=connection,
    )


@dataclass(frozen=True, slots=True)
class Sharing:
    """How many of the orders stand on several rows.

    Attributes:
        share_varied: Share of the orders whose rows differ in what is read.
        share_alike: Share of those whose rows differ only in columns that are not read.
    """

    share_varied: float
    share_alike: float


def find_shared_orders(
    checked: str, columns: Collection[str], connection: duckdb.DuckDBPyConnection, *, name: str
) -> Sharing:
    """Create a table of the orders that stand on several rows, refunds aside, and return how many these are."""
    rows = f"SELECT * FROM {checked} WHERE fate = 'order' AND order_id IS NOT NULL AND amount_micros >= 0"
    read = ", ".join(column for column in columns if column not in _NOT_OURS | _OF_THE_ORDER)
    connection.execute(f"""
        CREATE TEMP TABLE {name} AS
        SELECT customer_id, order_id, count(*) AS n_rows, count(DISTINCT hash({read})) > 1 AS varies,
            min(day) AS first_day,
            min({{'day': day, 'micros': amount_micros}}).micros
                < -min({{'day': day, 'micros': -amount_micros}}).micros AS differs
        FROM ({rows}) GROUP BY customer_id, order_id HAVING count(*) > 1""")
    [(n_varied, n_alike, n_orders)] = connection.execute(f"""
        SELECT count(*) FILTER (varies), count(*) FILTER (NOT varies),
            (SELECT count(*) FROM ({rows})) - coalesce(sum(n_rows - 1), 0) FROM {name}""").fetchall()
    return Sharing(n_varied / max(n_orders, 1), n_alike / max(n_orders, 1))


def settle_whole_orders(
    checked: str, shared: str, columns: Collection[str], connection: duckdb.DuckDBPyConnection
) -> None:
    """Refuse orders whose rows differ in amount, and rows of a later day; of rows that agree, all but one are repeats.

    What was known on an order's first day stays: a later row must not take it back.
    """
    connection.execute(f"""
        UPDATE {checked} AS rows SET fate = 'conflicting_order', value_class = 'several amounts or days'
        FROM {shared} AS shared
        WHERE (differs OR day > first_day) AND fate = 'order' AND amount_micros >= 0 AND {_SAME_ORDER}""")
    same = [name for name in ("customer_id", "order_id", "day", "amount_micros", "refund_of") if name in columns]
    _mark_later(
        checked,
        f"order_id IS NOT NULL AND (amount_micros < 0 OR EXISTS (FROM {shared} AS shared WHERE {_SAME_ORDER}))",
        same=same,
        sequence=["ordered_at", *(name for name in columns if name not in {*same, *_NOT_OURS}), "file", "line"],
        connection=connection,
    )


def _mark_later(
    checked: str, where: str, *, same: Collection[str], sequence: Collection[str], connection: duckdb.DuckDBPyConnection
) -> None:
    """Give all but the first of the rows that are the same in some columns the fate of a repeat."""
    connection.execute(f"""
        UPDATE {checked} SET fate = 'repeat' WHERE rowid IN (
            SELECT place FROM (SELECT rowid AS place, * FROM {checked} WHERE fate = 'order') AS rows WHERE {where}
            QUALIFY row_number() OVER (PARTITION BY {", ".join(same)} ORDER BY {", ".join(sequence)}) > 1)""")


def entries_sql(checked: str, columns: Collection[str], *, add_up: bool) -> str:
    """Return the SELECT of customer_id, ordered_at, day, amount_micros and what else there is. One row per entry.

    Args:
        checked: The table of checked rows.
        columns: Its columns.
        add_up: Whether rows of one order id and day add up; if their sum is below 0, they are a refund.
    """
    kept = ["customer_id", "ordered_at", "day", "amount_micros"]
    kept += [name for name in ("order_id", "refund_of", "channel", "cost_micros") if name in columns]
    rows = f"SELECT {', '.join(kept)} FROM {checked} WHERE fate = 'order'"
    if not add_up:
        return rows
    values = {
        "ordered_at": "min(ordered_at)",
        "amount_micros": "sum(amount_micros)::BIGINT",
        "refund_of": "CASE WHEN amount_micros < 0 THEN refund_of END",
        "channel": "arg_min(channel, {'at': ordered_at, 'channel': channel})",
        "cost_micros": "sum(cost_micros)::BIGINT",
    }
    named = ", ".join(f"{values.get(name, name)} AS {name}" for name in kept)
    keys = ["customer_id", "order_id", "day", *(values[name] for name in kept if name == "refund_of")]
    return f"""
        SELECT {named} FROM ({rows}) WHERE order_id IS NOT NULL GROUP BY {", ".join(keys)}
        UNION ALL {rows} AND order_id IS NULL"""


def items_sql(checked: str, columns: Collection[str]) -> str:
    """Return the SELECT of the items: one row per customer, day and category."""
    category = "category" if "category" in columns else "NULL::VARCHAR"
    given = "CASE WHEN quantity_micros >= 0 THEN quantity_micros END"
    quantity = given if "quantity_micros" in columns else "NULL::BIGINT"
    return f"""
        SELECT customer_id, day, {category} AS category, count({quantity}) AS n_lines,
            sum({quantity})::BIGINT AS quantity_micros
        FROM {checked} WHERE fate = 'order' AND amount_micros >= 0 GROUP BY ALL"""


def create_refunds(entries: str, columns: Collection[str], connection: duckdb.DuckDBPyConnection, *, name: str) -> None:
    """Create the table of matched refunds. Only customers who have any leave the database, so many at a time.

    Args:
        entries: The table of entries.
        columns: Its columns.
        connection: Where the tables are.
        name: That of the new table: `MATCHED_SCHEMA`, one row per refund.
    """
    connection.execute(f"""
        CREATE TEMP TABLE {name} (customer_id VARCHAR, day BIGINT, order_day BIGINT, amount_micros BIGINT,
            taken_micros BIGINT, empties BOOLEAN)""")
    connection.execute(
        f"CREATE TEMP TABLE {name}_customers AS SELECT DISTINCT customer_id FROM {entries} WHERE amount_micros < 0"
    )
    given = ", ".join(column if column in columns else f"NULL::VARCHAR AS {column}" for column in ENTRY_SCHEMA)
    affairs = f"FROM {entries} SEMI JOIN {name}_customers USING (customer_id)"
    n_rows = connection.execute(f"SELECT count(*) {affairs}").fetchall()[0][0]
    n_batches = ceil(n_rows / _ROWS_PER_BATCH)
    for batch in range(n_batches):
        part = connection.sql(f"SELECT {given} {affairs} WHERE hash(customer_id) % {n_batches} = {batch}").pl()
        _append(match_refunds(part.cast(ENTRY_SCHEMA)), connection, name=name)


def _append(matched: pl.DataFrame, connection: duckdb.DuckDBPyConnection, *, name: str) -> None:
    connection.register(f"{name}_batch", matched)
    connection.execute(f"INSERT INTO {name} SELECT {', '.join(MATCHED_SCHEMA)} FROM {name}_batch")
    connection.unregister(f"{name}_batch")
