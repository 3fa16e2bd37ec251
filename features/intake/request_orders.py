"""The orders of one request: the definitions of the file path, for a few rows, without a database."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

import polars as pl

from features.errors import InputError
from features.intake.checks import (
    BLANKS,
    FIRST_DAY_NUMBER,
    LAST_DAY_NUMBER,
    MAX_AMOUNT_MICROS,
    MAX_CUSTOMER_MICROS,
)
from features.intake.zones import Clock, load_clock

ORDER_SCHEMA = pl.Schema(
    {
        "customer_id": pl.String(),
        "ordered_at": pl.Datetime("us"),
        "day": pl.Int64(),
        "amount_micros": pl.Int64(),
    }
)

_MICRO = Decimal("0.000001")
_LIMIT = Decimal(MAX_AMOUNT_MICROS) * _MICRO


def orders_from_rows(rows: Sequence[tuple[str, datetime, Decimal | float]], *, timezone: str) -> pl.DataFrame:
    """Build validated orders from the rows of a request. One row per order, in the order given.

    Args:
        rows: customer_id, ordered_at (naive: in the shop's zone; aware: converted), amount in currency units.
        timezone: The shop's IANA time zone.

    Returns:
        customer_id, ordered_at (naive, UTC), day (local, since 1970-01-01), amount_micros.

    Raises:
        InputError: If a row is no valid order; it names the row and the column, never the value.
    """
    clock = load_clock(timezone)
    customers = [_customer_id(customer_id, row) for row, (customer_id, _, _) in enumerate(rows, start=1)]
    times = [_utc_and_day(ordered_at, row, clock) for row, (_, ordered_at, _) in enumerate(rows, start=1)]
    amounts = [_amount_micros(amount, row) for row, (_, _, amount) in enumerate(rows, start=1)]
    _refuse_endless_sums(customers, amounts)
    columns = [customers, [utc for utc, _ in times], [day for _, day in times], amounts]
    raw = ORDER_SCHEMA | {"ordered_at": pl.Int64()}
    return pl.DataFrame(dict(zip(ORDER_SCHEMA, columns, strict=True)), schema=raw).cast(
        {"ordered_at": pl.Datetime("us")}
    )


def _refuse_endless_sums(customers: Sequence[str], amounts: Sequence[int]) -> None:
    totals: Counter[str] = Counter()
    for customer, micros in zip(customers, amounts, strict=True):
        totals[customer] += micros
    if totals and max(totals.values()) > MAX_CUSTOMER_MICROS:
        raise InputError(
            f"The orders of one customer sum to more than {MAX_CUSTOMER_MICROS // 1_000_000:,}.",
            remedy="Give amounts in a larger unit, such as thousands.",
        )


def _customer_id(customer_id: str, row: int) -> str:
    stripped = customer_id.strip(BLANKS)
    if not stripped:
        raise InputError(f"Order {row}: customer_id is empty.", remedy="Give the customer of the order.")
    return stripped


def _utc_and_day(ordered_at: datetime, row: int, clock: Clock) -> tuple[int, int]:
    utc = clock.utc_micros(ordered_at)
    day = clock.day(utc)
    if not FIRST_DAY_NUMBER <= day <= LAST_DAY_NUMBER:
        raise InputError(f"Order {row}: ordered_at lies outside 1970 to 2099.", remedy="Correct the date of the order.")
    return utc, day


def _amount_micros(amount: Decimal | float, row: int) -> int:
    """Round half away from zero to millionths; a float counts as the shortest decimal that names it."""
    exact = amount if isinstance(amount, Decimal) else Decimal(repr(amount))
    if not exact.is_finite():
        raise InputError(f"Order {row}: amount is not a finite number.", remedy="Give the amount as a plain number.")
    bounded = min(max(exact, -_LIMIT - 1), _LIMIT + 1)
    micros = int(bounded.quantize(_MICRO, rounding=ROUND_HALF_UP).scaleb(6))
    if micros < 0:
        raise InputError(f"Order {row}: amount is below zero.", remedy="Leave refunds out, or subtract them.")
    if micros > MAX_AMOUNT_MICROS:
        raise InputError(f"Order {row}: amount exceeds 1,000,000,000.", remedy="Give it in currency units, not cents.")
    return micros
