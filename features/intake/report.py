"""What an intake tells about itself: what became of every row, and of what came out a digest."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import duckdb
import narwhals as nw
import polars as pl

from features.intake.quarantine import REASONS
from features.intake.readers.sources import RawRows
from features.intake.values.texts import BLANKS
from features.records import Records
from features.snapshot import to_date

_SPELLINGS_NOTE = "{n:,} customer ids differ from another one only by case or blanks; they are kept apart."
_PRIMES = (2_147_483_647, 2_147_483_629)
_FACTORS = (1_000_003, 998_244_353)


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What became of the rows of one source; accepted and quarantined ones make up the input exactly.

    Attributes:
        file: Its name.
        n_input: Its rows.
        n_accepted: Rows that are valid.
        n_quarantined: Rows that were refused.
        n_guests: Valid rows that name no customer.
        reads: Which of its columns are read as which of ours, and which are not read, for people.
    """

    file: str
    n_input: int
    n_accepted: int
    n_quarantined: int
    n_guests: int
    reads: str = ""


@dataclass(frozen=True, slots=True)
class RefundEffect:
    """What refunds take from the value of orders. Frequency and recency stay as they were, by policy.

    Attributes:
        n_rows: Refunds, after the lines of one credit note were added up.
        n_matched: Refunds that belong to an order.
        n_unmatched: Refunds for which no earlier order is known.
        n_customers: Customers who were refunded.
        n_orders_emptied: Orders of which nothing is left.
        amount_micros: What was given back.
        taken_micros: How much of it the orders still held.
        value_before_micros: Sum of all orders.
        value_after_micros: The same, net of what refunds took.
    """

    n_rows: int = 0
    n_matched: int = 0
    n_unmatched: int = 0
    n_customers: int = 0
    n_orders_emptied: int = 0
    amount_micros: int = 0
    taken_micros: int = 0
    value_before_micros: int = 0
    value_after_micros: int = 0


@dataclass(frozen=True, slots=True)
class IntakeReport:
    """What became of every input row.

    Attributes:
        n_input: Rows of all sources, headers and blank lines aside.
        n_accepted: Rows that are valid.
        n_quarantined: Rows that were refused; with the accepted ones they make up the input exactly.
        n_orders: Orders, after lines of one order were added up.
        n_customers: Customers who ordered.
        n_guests: Valid rows that name no customer; they are in no relation.
        n_repeats: Valid rows that repeat another one, or its order; they count once.
        n_other_events: Rows whose type says that they are no order.
        n_spellings: Customer ids that differ from another one only by case or blanks.
        refunds: What was given back.
        first_day: Local date of the first order; None without any.
        last_day: Local date of the last order; None without any.
        digest: A hash of orders, refunds and items that does not depend on their sequence, for lineage.
        rows_are: What rows of one order id were taken for: "lines" or "orders"; empty without order ids.
        by_reason: Reason code → refused rows.
        by_source: What became of the rows of each source.
        orders_by_month: Month, such as "2024-03" → orders, from the first to the last.
        quarantine_examples: At most five rows of the quarantine per reason.
        notes: What was found out about the sources, as sentences.
    """

    n_input: int
    n_accepted: int
    n_quarantined: int
    n_orders: int
    n_customers: int
    n_guests: int
    n_repeats: int
    n_other_events: int
    n_spellings: int
    refunds: RefundEffect
    first_day: date | None
    last_day: date | None
    digest: str
    rows_are: str
    by_reason: Mapping[str, int]
    by_source: tuple[SourceReport, ...]
    orders_by_month: tuple[tuple[str, int], ...]
    quarantine_examples: pl.DataFrame
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Intake:
    """Validated records, with the report on how they came about.

    Attributes:
        records: Orders, refunds and items, on the database into which they were read.
        orders: The relation behind `records.orders`.
        quarantine: file, line, column, value_class, reason, remedy. One row per refused row.
        report: What became of every input row.
    """

    records: Records
    orders: duckdb.DuckDBPyRelation
    quarantine: duckdb.DuckDBPyRelation
    report: IntakeReport


def build_report(
    records: Records,
    *,
    fates: Sequence[Counter[str]],
    sources: Sequence[RawRows],
    effect: RefundEffect,
    examples: pl.DataFrame,
    rows_are: str,
    notes: Sequence[str],
) -> IntakeReport:
    """Build the report of an intake.

    Args:
        records: What came out of it, on DuckDB.
        fates: What became of the rows of each source, by code.
        sources: The sources.
        effect: What refunds take.
        examples: Some rows of the quarantine.
        rows_are: What rows of one order id were taken for.
        notes: What was found out on the way.
    """
    orders: duckdb.DuckDBPyRelation = records.orders.to_native()
    fate = sum(fates, Counter[str]())
    by_day = dict(sorted(orders.aggregate("day, count(*)").fetchall()))
    n_customers, n_spellings = _count_customers(orders)
    by_reason = {reason.code: fate[reason.code] for reason in REASONS if fate[reason.code]}
    return IntakeReport(
        n_input=fate.total(),
        n_accepted=fate.total() - sum(by_reason.values()),
        n_quarantined=sum(by_reason.values()),
        n_orders=sum(by_day.values()),
        n_customers=n_customers,
        n_guests=fate["guest"],
        n_repeats=fate["repeat"],
        n_other_events=fate["other_event"],
        n_spellings=n_spellings,
        refunds=effect,
        first_day=to_date(min(by_day)) if by_day else None,
        last_day=to_date(max(by_day)) if by_day else None,
        digest=digest_records(records),
        rows_are=rows_are,
        by_reason=by_reason,
        by_source=tuple(map(_source_report, sources, fates)),
        orders_by_month=_by_month(by_day),
        quarantine_examples=examples,
        notes=(*notes, *([_SPELLINGS_NOTE.format(n=n_spellings)] if n_spellings else [])),
    )


def find_refund_effect(orders: duckdb.DuckDBPyRelation, refunds: duckdb.DuckDBPyRelation | None) -> RefundEffect:
    """Find out what refunds take from orders.

    Args:
        orders: The orders.
        refunds: Matched refunds, in `MATCHED_SCHEMA`.
    """
    before = int(orders.aggregate("coalesce(sum(amount_micros), 0)").fetchall()[0][0])
    if refunds is None:
        return RefundEffect(value_before_micros=before, value_after_micros=before)
    n_rows, n_matched, n_customers, n_emptied, amount, taken = map(
        int,
        refunds.aggregate("""
            count(*), count(order_day), count(DISTINCT customer_id), count(*) FILTER (empties),
            coalesce(sum(amount_micros), 0), coalesce(sum(taken_micros), 0)""").fetchall()[0],
    )
    return RefundEffect(
        n_rows=n_rows,
        n_matched=n_matched,
        n_unmatched=n_rows - n_matched,
        n_customers=n_customers,
        n_orders_emptied=n_emptied,
        amount_micros=amount,
        taken_micros=taken,
        value_before_micros=before,
        value_after_micros=before - taken,
    )


def _source_report(source: RawRows, fate: Counter[str]) -> SourceReport:
    n_quarantined = sum(fate[reason.code] for reason in REASONS)
    n_accepted = fate.total() - n_quarantined
    return SourceReport(source.file, fate.total(), n_accepted, n_quarantined, fate["guest"], source.reads)


def _count_customers(orders: duckdb.DuckDBPyRelation) -> tuple[int, int]:
    """Count the customers, and those whose id differs from another's only by case or blanks."""
    spelling = f"lower(translate(customer_id, '{BLANKS}', ''))"
    ids = orders.aggregate("customer_id").aggregate(f"{spelling} AS spelling, count(*) AS n")
    counts = ids.aggregate("coalesce(sum(n), 0), coalesce(sum(n) FILTER (n > 1), 0)").fetchall()[0]
    return int(counts[0]), int(counts[1])


def _by_month(by_day: Mapping[int, int]) -> tuple[tuple[str, int], ...]:
    """Add up orders by month, from the first to the last; months without any count 0."""
    if not by_day:
        return ()
    counts: Counter[int] = Counter()
    for day, n in by_day.items():
        when = to_date(day)
        counts[12 * when.year + when.month - 1] += n
    return tuple((f"{m // 12}-{m % 12 + 1:02}", counts[m]) for m in range(min(counts), max(counts) + 1))


def digest_records(records: Records) -> str:
    """Return a hash of orders, refunds and items on DuckDB that does not depend on the sequence of their rows."""
    parts = {"orders": records.orders, "refunds": records.refunds, "items": records.items}
    sums = {name: _digest(part) for name, part in parts.items() if part is not None}
    return hashlib.sha256(repr(sums).encode()).hexdigest()


def _digest(frame: nw.LazyFrame[Any]) -> tuple[int, int]:
    """Count the rows and add up their hashes.

    Text is hashed properly, once per distinct group of texts; the numbers of a row, of which there are far more,
    become the product of two linear forms of them. Both mean the same in every release of the database.
    """
    relation: duckdb.DuckDBPyRelation = frame.to_native()
    kinds = dict(zip(relation.columns, map(str, relation.types), strict=True))
    texts = [name for name, kind in kinds.items() if kind == "VARCHAR"]
    numbers = [
        f"epoch_us({name})" if kind == "TIMESTAMP" else name for name, kind in kinds.items() if name not in texts
    ]
    left, right = (_linear_form(numbers, prime, factor) for prime, factor in zip(_PRIMES, _FACTORS, strict=True))
    keys = ", ".join(f"coalesce({name}, chr(30))" for name in texts)
    groups = relation.aggregate(f"{', '.join(texts)}, count(*) AS n, sum(({left}) * ({right}))::HUGEINT AS mixed")
    row = groups.aggregate(
        f"coalesce(sum(n), 0), coalesce(sum(md5_number_lower(concat_ws(chr(31), {keys}, n, mixed))::HUGEINT), 0)"
    ).fetchall()[0]
    return int(row[0]), int(row[1])


def _linear_form(numbers: list[str], prime: int, factor: int) -> str:
    """Return the SQL of a sum of multiples of the numbers, within 31 bits."""
    terms = (f"coalesce({number}, -1) % {prime} * {pow(factor, i + 1, 1 << 29)}" for i, number in enumerate(numbers))
    return f"({' + '.join(terms)}) % {prime}"
