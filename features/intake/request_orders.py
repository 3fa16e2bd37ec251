"""The orders of one request: the definitions of the file path, for a few rows, without a database.

A request says what is an order: rows are not compared with each other, but those of one `order_id` and day add up,
and a row below 0 is a refund, matched as in a file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import polars as pl

from features.errors import InputError
from features.intake.rules.checks import FIRST_DAY_NUMBER, LAST_DAY_NUMBER, MAX_AMOUNT_MICROS, MAX_CUSTOMER_MICROS
from features.intake.rules.refunds import ENTRY_SCHEMA, match_refunds
from features.intake.values.numbers import nearest_micros
from features.intake.values.texts import BLANKS
from features.intake.values.zones import Clock, load_clock
from features.records import ITEM_SCHEMA, ORDER_OPTIONS, ORDER_SCHEMA, REFUND_SCHEMA, Records

_ROW_SCHEMA = pl.Schema(
    {**ENTRY_SCHEMA, **ORDER_OPTIONS, "category": pl.String(), "quantity_micros": pl.Int64(), "ordered_at": pl.Int64()}
)


@dataclass(frozen=True, slots=True)
class OrderRow:
    """One row of a request: an order, a line of one, or, below 0, a refund.

    Attributes:
        customer_id: Whose it is.
        ordered_at: Naive in the shop's zone, or aware.
        amount: In currency units.
        order_id: Of the order that the row belongs to.
        refund_of: The order id of the order that the row refunds.
        channel: Where it was ordered.
        category: Of the goods.
        quantity: Number of goods.
        cost: Of the goods, in currency units.
    """

    customer_id: str
    ordered_at: datetime
    amount: Decimal | float
    order_id: str | None = None
    refund_of: str | None = None
    channel: str | None = None
    category: str | None = None
    quantity: Decimal | float | None = None
    cost: Decimal | float | None = None


def records_from_rows(rows: Sequence[OrderRow], *, timezone: str) -> Records:
    """Build validated records from the rows of a request, on Polars.

    Orders have all of `ORDER_OPTIONS`; refunds and items are there, if empty.

    Args:
        rows: The rows, in any sequence.
        timezone: The shop's IANA time zone.

    Raises:
        InputError: If a row is no valid order or refund; it names the row and the column, never the value.
    """
    clock = load_clock(timezone)
    values = [_row_values(row, number, clock) for number, row in enumerate(rows, start=1)]
    checked = pl.DataFrame(values, schema=_ROW_SCHEMA, orient="row").cast({"ordered_at": pl.Datetime("us")})
    _refuse_endless_sums(checked)
    entries = _add_up_lines(checked)
    orders = entries.filter(pl.col("amount_micros") >= 0).select(*ORDER_SCHEMA, *ORDER_OPTIONS)
    return Records.wrap(orders, refunds=_refunds(entries), items=_items(checked))


def _row_values(row: OrderRow, number: int, clock: Clock) -> dict[str, str | int | None]:
    customer_id = _text(row.customer_id)
    if customer_id is None:
        raise InputError(f"Order {number}: customer_id is empty.", remedy="Give the customer of the order.")
    utc, day = _utc_and_day(row.ordered_at, number, clock)
    return {
        "customer_id": customer_id,
        "ordered_at": utc,
        "day": day,
        "amount_micros": _micros(row.amount, number, "amount"),
        "order_id": _text(row.order_id),
        "refund_of": _text(row.refund_of),
        "channel": _text(row.channel),
        "cost_micros": None if row.cost is None else _micros(row.cost, number, "cost"),
        "category": _text(row.category),
        "quantity_micros": None if row.quantity is None else _micros(row.quantity, number, "quantity"),
    }


def _text(text: str | None) -> str | None:
    return (text or "").strip(BLANKS) or None


def _utc_and_day(ordered_at: datetime, number: int, clock: Clock) -> tuple[int, int]:
    utc = clock.utc_micros(ordered_at)
    day = clock.day(utc)
    if not FIRST_DAY_NUMBER <= day <= LAST_DAY_NUMBER:
        raise InputError(
            f"Order {number}: ordered_at lies outside 1970 to 2099.", remedy="Correct the date of the order."
        )
    return utc, day


def _micros(value: Decimal | float, number: int, column: str) -> int:
    micros = nearest_micros(value, limit=MAX_AMOUNT_MICROS)
    if micros is None:
        raise InputError(f"Order {number}: {column} is not a finite number.", remedy="Give it as a plain number.")
    if abs(micros) > MAX_AMOUNT_MICROS:
        raise InputError(
            f"Order {number}: {column} lies beyond 1,000,000,000.", remedy="Give it in whole units, not in hundredths."
        )
    return micros


def _refuse_endless_sums(checked: pl.DataFrame) -> None:
    measures = pl.col("amount_micros", "cost_micros", "quantity_micros").abs().cast(pl.Int128)
    greatest = checked.group_by("customer_id").agg(measures.sum()).drop("customer_id").max().row(0)
    if any(total is not None and total > MAX_CUSTOMER_MICROS for total in greatest):
        raise InputError(
            f"The orders of one customer sum to more than {MAX_CUSTOMER_MICROS // 1_000_000:,}.",
            remedy="Give amounts in a larger unit, such as thousands.",
        )


def _add_up_lines(checked: pl.DataFrame) -> pl.DataFrame:
    """Add up the rows of one order id and day, as `entries_sql` does. One row per order or refund."""
    refund_of = pl.when(pl.col("amount_micros") < 0).then("refund_of").alias("refund_of")
    first_channel = (pl.col("channel").is_null(), "ordered_at", "channel")
    lines = checked.filter(pl.col("order_id").is_not_null()).sort(first_channel)
    added = lines.group_by("customer_id", "order_id", "day", refund_of, maintain_order=True).agg(
        pl.col("ordered_at").min(), pl.col("amount_micros").sum(), pl.col("channel").first(), _sum("cost_micros")
    )
    single = checked.filter(pl.col("order_id").is_null())
    columns = (*ENTRY_SCHEMA, *ORDER_OPTIONS)
    return pl.concat([added.select(columns), single.select(columns)])


def _refunds(entries: pl.DataFrame) -> pl.DataFrame:
    refunded = entries.filter(pl.col("amount_micros") < 0).select("customer_id").unique()
    return match_refunds(entries.join(refunded, on="customer_id", how="semi")).select(*REFUND_SCHEMA)


def _items(checked: pl.DataFrame) -> pl.DataFrame:
    bought = pl.when(pl.col("quantity_micros") >= 0).then("quantity_micros")
    rows = checked.filter(pl.col("amount_micros") >= 0).with_columns(quantity_micros=bought)
    items = rows.group_by("customer_id", "day", "category", maintain_order=True).agg(
        pl.col("quantity_micros").count().alias("n_lines"), _sum("quantity_micros")
    )
    return items.cast(ITEM_SCHEMA).select(*ITEM_SCHEMA)


def _sum(column: str) -> pl.Expr:
    """Add up what is known; nothing known has no sum, as in SQL."""
    return pl.when(pl.col(column).count() > 0).then(pl.col(column).sum()).alias(column)
