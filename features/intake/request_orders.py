"""The orders of one request: the definitions of the file path, for a few rows, without a database.

A request says what is an order: rows are not compared with each other, but those of one `order_id` and day add up,
and a row below 0 is a refund, matched as in a file.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

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
_MEASURES = tuple(_ROW_SCHEMA.names().index(name) for name in ("amount_micros", "cost_micros", "quantity_micros"))

# One checked row, in the order of `_ROW_SCHEMA`.
RowValues: TypeAlias = tuple[str | int | None, ...]


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
        InputError: If a row is no valid order or refund; it names the row and the column, never the value, and has
            the place among the rows as its field.
    """
    return records_from_values(check_rows(rows, timezone=timezone))


def check_rows(rows: Sequence[OrderRow], *, timezone: str) -> list[RowValues]:
    """Check rows of one request; those of several may then become records together.

    Raises:
        InputError: As `records_from_rows`.
    """
    clock = load_clock(timezone)
    values = [_row_values(row, number, clock) for number, row in enumerate(rows, start=1)]
    _refuse_endless_sums(values)
    return values


def records_from_values(values: Sequence[RowValues]) -> Records:
    """Build records of checked rows."""
    columns = dict(zip(_ROW_SCHEMA, zip(*values, strict=True) if values else [()] * len(_ROW_SCHEMA), strict=True))
    checked = pl.LazyFrame(columns, schema=_ROW_SCHEMA).cast({"ordered_at": pl.Datetime("us")})
    entries = _add_up_lines(checked) if any(columns["order_id"]) else checked.select(*ENTRY_SCHEMA, *ORDER_OPTIONS)
    orders = entries.filter(pl.col("amount_micros") >= 0).select(*ORDER_SCHEMA, *ORDER_OPTIONS)
    has_refunds = any(amount < 0 for amount in columns["amount_micros"])
    refunds = _refunds(entries.collect()) if has_refunds else pl.DataFrame(schema=REFUND_SCHEMA)
    return Records.wrap(orders, refunds=refunds, items=_items(checked))


def _row_values(row: OrderRow, number: int, clock: Clock) -> RowValues:
    customer_id = _text(row.customer_id)
    if customer_id is None:
        raise _wrong(number, "customer_id", "is empty", remedy="Give the customer of the order.")
    utc, day = _utc_and_day(row.ordered_at, number, clock)
    return (
        customer_id,
        utc,
        day,
        _micros(row.amount, number, "amount"),
        _text(row.order_id),
        _text(row.refund_of),
        _text(row.channel),
        None if row.cost is None else _micros(row.cost, number, "cost"),
        _text(row.category),
        None if row.quantity is None else _micros(row.quantity, number, "quantity"),
    )


def _text(text: str | None) -> str | None:
    return None if text is None else text.strip(BLANKS) or None


def _utc_and_day(ordered_at: datetime, number: int, clock: Clock) -> tuple[int, int]:
    utc = clock.utc_micros(ordered_at)
    day = clock.day(utc)
    if not FIRST_DAY_NUMBER <= day <= LAST_DAY_NUMBER:
        raise _wrong(number, "ordered_at", "lies outside 1970 to 2099", remedy="Correct the date of the order.")
    return utc, day


def _micros(value: Decimal | float, number: int, column: str) -> int:
    micros = nearest_micros(value, limit=MAX_AMOUNT_MICROS)
    if micros is None:
        raise _wrong(number, column, "is not a finite number", remedy="Give it as a plain number.")
    if abs(micros) > MAX_AMOUNT_MICROS:
        remedy = "Give it in whole units, not in hundredths."
        raise _wrong(number, column, "lies beyond 1,000,000,000", remedy=remedy)
    return micros


def _wrong(number: int, column: str, what: str, *, remedy: str) -> InputError:
    return InputError(f"Order {number}: {column} {what}.", remedy=remedy, field=f"orders[{number - 1}].{column}")


def _refuse_endless_sums(values: Sequence[RowValues]) -> None:
    totals: Counter[tuple[int, RowValues]] = Counter()
    for row in values if len(values) * MAX_AMOUNT_MICROS > MAX_CUSTOMER_MICROS else ():
        totals.update({(column, row[:1]): abs(int(row[column] or 0)) for column in _MEASURES})
    if any(total > MAX_CUSTOMER_MICROS for total in totals.values()):
        raise InputError(
            f"The orders of one customer sum to more than {MAX_CUSTOMER_MICROS // 1_000_000:,}.",
            remedy="Give amounts in a larger unit, such as thousands.",
            field="orders",
        )


def _add_up_lines(checked: pl.LazyFrame) -> pl.LazyFrame:
    """Add up the rows of one order id and day, as `entries_sql` does. One row per order or refund."""
    columns = (*ENTRY_SCHEMA, *ORDER_OPTIONS)
    refund_of = pl.when(pl.col("amount_micros") < 0).then("refund_of").alias("refund_of")
    first_channel = (pl.col("channel").is_null(), "ordered_at", "channel")
    lines = checked.filter(pl.col("order_id").is_not_null()).sort(first_channel)
    added = lines.group_by("customer_id", "order_id", "day", refund_of, maintain_order=True).agg(
        pl.col("ordered_at").min(), pl.col("amount_micros").sum(), pl.col("channel").first(), _sum("cost_micros")
    )
    single = checked.filter(pl.col("order_id").is_null())
    return pl.concat([added.select(columns), single.select(columns)])


def _refunds(entries: pl.DataFrame) -> pl.DataFrame:
    refunded = entries.filter(pl.col("amount_micros") < 0).select("customer_id").unique()
    return match_refunds(entries.join(refunded, on="customer_id", how="semi")).select(*REFUND_SCHEMA)


def _items(checked: pl.LazyFrame) -> pl.LazyFrame:
    """Describe the lines bought; lazily, as most models read nothing of them."""
    bought = pl.when(pl.col("quantity_micros") >= 0).then("quantity_micros")
    rows = checked.filter(pl.col("amount_micros") >= 0).with_columns(quantity_micros=bought)
    items = rows.group_by("customer_id", "day", "category", maintain_order=True).agg(
        pl.col("quantity_micros").count().alias("n_lines"), _sum("quantity_micros")
    )
    return items.cast(ITEM_SCHEMA).select(*ITEM_SCHEMA)


def _sum(column: str) -> pl.Expr:
    """Add up what is known; nothing known has no sum, as in SQL."""
    return pl.when(pl.col(column).count() > 0).then(pl.col(column).sum()).alias(column)
