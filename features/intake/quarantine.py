"""Why a row cannot be used, as data; and how many such rows are too many."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for refusing a row.

    Attributes:
        code: Stable name of the reason.
        column: Our column that is at fault; empty when it is the whole row.
        meaning: What is wrong, for people.
        remedy: What to do about it, for people.
    """

    code: str
    column: str
    meaning: str
    remedy: str


# In the order in which they are tried: a row gets the first that applies.
REASONS: tuple[Reason, ...] = (
    Reason(
        "unreadable_row",
        "",
        "the quotes of the line do not match, or it is not UTF-8 text",
        "Write the file again as UTF-8, with every quote closed and quotes inside a value doubled.",
    ),
    Reason(
        "wrong_number_of_columns",
        "",
        "the line has more or fewer values than the header has names",
        "Put quotes around values that hold the separator, and write one value per column.",
    ),
    Reason(
        "missing_customer_id",
        "customer_id",
        "the customer is empty",
        "Guest orders cannot be followed over time; give the customer where there is one.",
    ),
    Reason("missing_ordered_at", "ordered_at", "the date is empty", "Give the date of the order."),
    Reason(
        "bad_date",
        "ordered_at",
        "the date cannot be read, or lies outside 1970 to 2099",
        "Write dates as 2024-03-31 or 2024-03-31T14:05:00, or set date_format, such as %d/%m/%Y.",
    ),
    Reason(
        "future_date",
        "ordered_at",
        "the date lies more than a day ahead of today",
        "Correct the date; a mistyped year is the usual cause.",
    ),
    Reason("missing_amount", "amount", "the amount is empty", "Give the amount; a free order is 0."),
    Reason(
        "not_a_number",
        "amount",
        "the amount is not a plain number",
        "Write amounts as 1234.50: a decimal point, no thousands separators, no currency sign.",
    ),
    Reason(
        "negative_amount",
        "amount",
        "the amount is below zero",
        "Leave refunds out, or subtract them from the order that they refund.",
    ),
    Reason(
        "amount_out_of_range",
        "amount",
        "the amount exceeds 1,000,000,000",
        "Check the unit: amounts are in currency units, not in cents.",
    ),
)

VALUE_CLASSES: tuple[str, ...] = (
    *("empty", "text", "number", "date", "negative", "huge", "not finite", "number with comma", "number with text"),
    *("too few values", "too many values", "unmatched quote", "not UTF-8"),
)


def quarantine_frame(refused: pl.DataFrame) -> pl.DataFrame:
    """Build the quarantine table. One row per refused row, by file and line.

    Args:
        refused: One row per refused row: file, line, value_class, reason (a code).

    Returns:
        file, line, column, value_class, reason, remedy. Values themselves are never kept.
    """
    column = {reason.code: reason.column for reason in REASONS}
    remedy = {reason.code: reason.remedy for reason in REASONS}
    reason = pl.col("reason").cast(pl.String)
    return refused.select(
        pl.col("file").cast(pl.String),
        pl.col("line").cast(pl.Int64),
        reason.replace_strict(column, return_dtype=pl.String).alias("column"),
        pl.col("value_class").cast(pl.String),
        reason,
        reason.replace_strict(remedy, return_dtype=pl.String).alias("remedy"),
    )


def count_by_reason(quarantine: pl.DataFrame) -> dict[str, int]:
    """Count refused rows by reason code, in the order of the reasons; absent ones are left out."""
    counts: Mapping[str, int] = dict(quarantine.group_by("reason").len().iter_rows())
    return {reason.code: counts[reason.code] for reason in REASONS if reason.code in counts}
