"""Why a row cannot be used, as data; and how many such rows are too many."""

# ruff: noqa: S608 - statements are composed of our own SQL; whatever comes from outside is quoted or escaped

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import duckdb

from features.errors import InputError, QuarantineShareError
from features.files import written_whole
from features.intake.values.texts import literal_sql


class HasReasons(Protocol):
    """A report on rows, of orders or of events."""

    @property
    def n_input(self) -> int:
        """Rows that came in."""

    @property
    def n_quarantined(self) -> int:
        """Rows that were refused."""

    @property
    def by_reason(self) -> Mapping[str, int]:
        """Reason code → refused rows."""


class HasQuarantine(Protocol):
    """An intake, of orders or of events."""

    @property
    def quarantine(self) -> duckdb.DuckDBPyRelation:
        """One row per refused row: file, line, column, value_class, reason, remedy."""


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


# Of a line as such, whatever it should say.
LINE_REASONS: tuple[Reason, ...] = (
    Reason(
        "unreadable_row",
        "",
        "the line cannot be read: its quotes do not match, or its text is damaged",
        "Write the file again as UTF-8, with every quote closed and quotes inside a value doubled.",
    ),
    Reason(
        "wrong_number_of_columns",
        "",
        "the line has more or fewer values than the header has names",
        "Put quotes around values that hold the separator, and write one value per column.",
    ),
)

# In the order in which they are tried: a row gets the first that applies.
REASONS: tuple[Reason, ...] = (
    *LINE_REASONS,
    Reason(
        "missing_customer_id",
        "customer_id",
        "the row is empty",
        "Leave empty rows out; a row with a date and an amount, but no customer, counts as a guest's.",
    ),
    Reason("missing_ordered_at", "ordered_at", "the date is empty", "Give the date of the order."),
    Reason(
        "bad_date",
        "ordered_at",
        "the date cannot be read, or lies outside 1970 to 2099",
        "Write dates as 2024-03-31 or 2024-03-31T14:05:00; or set date_format, such as %d/%m/%Y, excel or unix.",
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
        "Write amounts as 1234.50, without a currency sign; or set number_format, such as 1.234,50.",
    ),
    Reason(
        "amount_out_of_range",
        "amount",
        "the amount lies beyond 1,000,000,000",
        "Check the unit: amounts are in currency units, not in cents.",
    ),
    Reason(
        "missing_currency",
        "currency",
        "the currency is empty, in a file of several",
        "Give the currency of the amount.",
    ),
    Reason(
        "missing_rate",
        "currency",
        "there is no rate for the currency on that day",
        "Add the rate to the file that orders.rates names.",
    ),
    Reason(
        "conflicting_order",
        "order_id",
        "the order stands on several rows, with different amounts or days",
        'Keep one row per order; or set rows = "lines", if each row is a part of its order.',
    ),
)

VALUE_CLASSES: tuple[str, ...] = (
    *("empty", "text", "number", "date", "huge", "not finite"),
    *("number with comma", "number with points", "number with text"),
    *("currency code", "several amounts or days", "unreadable"),
    *("too few values", "too many values", "unmatched quote", "not UTF-8", "NUL byte", "line too long"),
)

_EXAMPLES_PER_REASON = 5


def quarantine_sql(table: str, files: Sequence[str], reasons: Sequence[Reason] = REASONS) -> str:
    """Return the SELECT of the quarantine: file, line, column, value_class, reason, remedy.

    One row per refused row. Values themselves are never kept.

    Args:
        table: A table of refused rows: file (a number), line, value_class, reason (a code).
        files: The names of the files, by their numbers.
        reasons: All that a code can be.
    """
    names = ", ".join(f"({number}, {literal_sql(file)})" for number, file in enumerate(files))
    known = ", ".join(f"('{r.code}', '{r.column}', {literal_sql(r.remedy)})" for r in reasons)
    return f"""
        SELECT files.name AS file, line, reasons.column_name AS "column", value_class::VARCHAR AS value_class,
            reason::VARCHAR AS reason, remedy
        FROM {table} AS refused
            JOIN (VALUES {names}) AS files(number, name) ON files.number = refused.file
            JOIN (VALUES {known}) AS reasons(code, column_name, remedy) ON reasons.code = refused.reason::VARCHAR"""


def refuse_share(report: HasReasons, reasons: Sequence[Reason], *, tolerated: float, rows: str = "rows") -> None:
    """Refuse input of which more rows were quarantined than is tolerated.

    Args:
        report: What became of the rows.
        reasons: All that a reason code can be.
        tolerated: The share of refused rows up to which the others are used.
        rows: What the rows are, for people.

    Raises:
        QuarantineShareError: If the share is above the tolerated one.
    """
    if report.n_quarantined <= tolerated * report.n_input:
        return
    code = max(report.by_reason, key=lambda code: report.by_reason[code])
    reason = next(reason for reason in reasons if reason.code == code)
    raise QuarantineShareError(
        f"{report.n_quarantined:,} of {report.n_input:,} {rows} ({report.n_quarantined / report.n_input:.1%}) cannot be"
        f" used, more than the tolerated {tolerated:.1%};"
        f" most often (rows: {report.by_reason[code]:,}) {reason.meaning}.",
        remedy=f"{reason.remedy} Or raise tolerated_quarantine_share in lifestage.toml under [orders].",
    )


def examples_sql(table: str) -> str:
    """Return the SELECT of the first rows per reason of a table of refused rows."""
    first = f"min({{'file': file, 'line': line, 'value_class': value_class}}, {_EXAMPLES_PER_REASON})"
    return f"""(
        SELECT example.file, example.line, example.value_class, reason
        FROM (
            SELECT reason, unnest(firsts) AS example
            FROM (SELECT reason, {first} AS firsts FROM {table} GROUP BY reason)))"""


def write_quarantine(intake: HasQuarantine, path: Path) -> None:
    """Write the whole quarantine, by file and line, as Parquet or, by its suffix, as CSV. Replaces the file atomically.

    Raises:
        InputError: If the file cannot be written.
    """
    table = intake.quarantine.order("file, line")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as draft:
            if path.suffix.lower() == ".csv":
                table.write_csv(str(draft))
            else:
                table.write_parquet(str(draft))
    except (OSError, duckdb.IOException):
        raise InputError(
            f"The quarantine cannot be written to {path}.", remedy="Give a path in a folder that may be written to."
        ) from None
