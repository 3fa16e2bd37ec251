"""What became of a shop's rows, in words: for the terminal and for the page alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from features.catalogue import GROUPS, MICROS, Feature
from features.intake.event_report import EventReport
from features.intake.events import EventIntake
from features.intake.quarantine import REASONS, Reason
from features.intake.readers.sources import files_by_text
from features.intake.report import Intake, IntakeReport, RefundEffect, SourceReport
from features.intake.rules.checks import LAST_DAY_NUMBER
from features.intake.rules.event_checks import EVENT_REASONS
from features.intake.rules.event_types import load_event_types
from features.offers import EVENT, find_offers
from features.records import Records
from features.snapshot import Snapshot
from features.table import FEATURES

_EXAMPLES_PER_REASON = 5
_NEEDS = {
    "channel": "a channel column",
    "cost": "a cost column",
    "category": "a category column",
    "quantity": "a quantity column",
    "refunds": "refunds (rows below 0, or of type refund)",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One of the parts that make up a whole exactly.

    Attributes:
        tone: How it is coloured: `main`, `second`, … or `bad`.
        name: What it is.
        size: How much of the whole: rows, or micros of money.
        meaning: What that means, as the end of a sentence.
    """

    tone: str
    name: str
    size: int
    meaning: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Rows that were refused for one reason; an example is a file, and the place in it with the kind of value."""

    reason: Reason
    n_rows: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Support:
    """Which features a shop's records can fill.

    Attributes:
        groups: Group, features that can be filled, features declared.
        absent: What the records lack, in words → the names of the features that need it.
    """

    groups: tuple[tuple[str, int, int], ...]
    absent: Mapping[str, tuple[str, ...]]


def order_parts(report: IntakeReport) -> tuple[Part, ...]:
    """Part the rows of orders by what became of them; the first part is what is used, the last what is refused."""
    n_apart = report.n_guests + report.n_repeats + report.n_other_events
    return (
        Part("main", "Orders and refunds", report.n_accepted - n_apart, "of customers, whole or in lines"),
        Part("second", "Guests", report.n_guests, "valid, but without a customer: in nobody's history"),
        Part("third", "Repeats", report.n_repeats, "the same row or order once more: each counts once"),
        Part("fourth", "Other events", report.n_other_events, "of a type that is no order"),
        Part("bad", "Quarantined", report.n_quarantined, "cannot be used, for the reasons below"),
    )


def event_parts(report: EventReport) -> tuple[Part, ...]:
    """Part the rows of events by what became of them; the first part is what is used, the last what is refused."""
    return (
        Part("main", "Events", report.n_events, "of known customers"),
        Part("second", "Visitors", report.n_visitor_events, "not known as a customer at that time"),
        Part("third", "Repeats", report.n_repeats, "the same row once more: each counts once"),
        Part("fourth", "Orders and refunds", report.n_purchases, "set apart here, for they are read with the orders"),
        Part("fifth", "Marketing costs", report.n_shop_costs, "of the shop, and of no known customer"),
        Part("bad", "Quarantined", report.n_quarantined, "cannot be used, for the reasons below"),
    )


def order_lines(report: IntakeReport) -> tuple[str, ...]:
    """Say which rows were set apart, what rows were taken for, and what refunds take; nothing of what is not there."""
    used, *apart, _ = order_parts(report)
    counted = [f"{part.name}: {part.size:,} ({part.meaning})." for part in apart if part.size]
    refunds = f" and {report.refunds.n_rows:,} refunds" if report.refunds.n_rows else ""
    if report.rows_are == "lines":
        counted.append(f"Rows are lines of orders: {used.size:,} make {report.n_orders:,} orders{refunds}.")
    return (*counted, *refund_lines(report.refunds))


def event_lines(report: EventReport) -> tuple[str, ...]:
    """Say what the notes of the report do not: which types the events are of, and what cost the shop alone."""
    types = "; ".join(f"{name} {n:,}" for name, _, n in event_counts(report))
    costs = f"Marketing costs of no known customer: {report.n_shop_costs:,}." if report.n_shop_costs else ""
    return tuple(line for line in (types and f"By type: {types}.", costs) if line)


def column_lines(sources: Sequence[SourceReport]) -> tuple[str, ...]:
    """Say which columns are read, and which are not; once for sources that are alike."""
    files = files_by_text((source.reads, source.file) for source in sources)
    if len(files) == 1:
        return tuple(files)
    return tuple(
        f"{named[0]}{f' and {len(named) - 1:,} more' if len(named) > 1 else ''}: {reads}"
        for reads, named in files.items()
    )


def refund_lines(effect: RefundEffect) -> tuple[str, ...]:
    """Say what refunds take from orders; empty without any."""
    if not effect.n_rows:
        return ()
    return (
        f"Refunds: {effect.n_rows:,}, to {effect.n_customers:,} customers; {effect.n_matched:,} belong to an earlier"
        f" order, {effect.n_unmatched:,} to none that is known.",
        f"They give back {money(effect.amount_micros)}, of which the orders still held {money(effect.taken_micros)}:"
        f" orders are worth {money(effect.value_before_micros)} before them and"
        f" {money(effect.value_after_micros)} after, {share(effect.taken_micros, effect.value_before_micros)} less.",
        f"Orders left with nothing: {effect.n_orders_emptied:,}. Frequency and recency are unchanged:"
        " what came back was ordered all the same.",
    )


def event_counts(report: EventReport) -> tuple[tuple[str, str, int], ...]:
    """List the events of known customers by type, most frequent first: type, meaning, events."""
    types = load_event_types()
    ours = sorted(report.by_type.items(), key=lambda item: -item[1])
    listed = tuple((name, types[name].meaning, n) for name, n in ours)
    n_unknown = report.n_events - sum(report.by_type.values())
    return (*listed, ("unknown types", "read by no feature", n_unknown)) if n_unknown else listed


def order_refusals(intake: Intake) -> tuple[Refusal, ...]:
    """List why rows of orders were refused, most frequent first."""
    return _refusals(intake.report.by_reason, REASONS, intake.report.quarantine_examples)


def event_refusals(intake: EventIntake) -> tuple[Refusal, ...]:
    """List why rows of events were refused, most frequent first."""
    numbered = intake.quarantine.select("*, row_number() OVER (PARTITION BY reason ORDER BY file, line) AS number")
    examples = numbered.filter(f"number <= {_EXAMPLES_PER_REASON}").pl()
    return _refusals(intake.report.by_reason, EVENT_REASONS, examples)


def find_support(records: Records) -> Support:
    """Find which features a model trained on all of these records would have, and what the others need."""
    offers = find_offers(records, Snapshot(cutoff_day=LAST_DAY_NUMBER + 1))
    absent: dict[str, list[str]] = {}
    for feature in FEATURES:
        if missing := [need for need in feature.needs if need not in offers]:
            absent.setdefault(word_needs(missing), []).append(feature.name)
    lacking = {name for names in absent.values() for name in names}
    groups = tuple((group, *_count_supported(group, FEATURES, lacking)) for group in GROUPS)
    return Support(groups, {needs: tuple(names) for needs, names in absent.items()})


def word_needs(needs: Sequence[str]) -> str:
    """Say in words what features need of the data."""
    return " and ".join(_word_need(need) for need in needs)


def money(micros: int) -> str:
    """Write an amount with two decimals."""
    return f"{micros / MICROS:,.2f}"


def share(part: int, whole: int) -> str:
    """Write a share as per cent; a part is never rounded to nothing or to all."""
    if not whole:
        return "–"
    ratio = part / whole
    if 0 < ratio < 0.001:
        return "<0.1%"
    return ">99.9%" if 0.999 < ratio < 1 else f"{ratio:.1%}"


def _refusals(by_reason: Mapping[str, int], reasons: Sequence[Reason], examples: pl.DataFrame) -> tuple[Refusal, ...]:
    known = {reason.code: reason for reason in reasons}
    rows = examples.sort("file", "line").rows_by_key("reason", named=True)
    return tuple(
        Refusal(known[code], n, tuple((row["file"], _place(row)) for row in rows[code]))
        for code, n in sorted(by_reason.items(), key=lambda item: -item[1])
    )


def _place(row: Mapping[str, Any]) -> str:
    column = f", {row['column']}" if row["column"] else ""
    return f"line {row['line']:,}{column}: {row['value_class']}"


def _count_supported(group: str, features: Sequence[Feature], lacking: set[str]) -> tuple[int, int]:
    names = {feature.name for feature in features if feature.group == group}
    return len(names - lacking), len(names)


def _word_need(need: str) -> str:
    if not need.startswith(EVENT):
        return _NEEDS[need]
    event_type = load_event_types()[need.removeprefix(EVENT)]
    return f"{event_type.name} events ({event_type.meaning})"
