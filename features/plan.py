"""One pass over the records: order days and other logs to counts, counts to features, for one or many cutoffs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import narwhals as nw
import polars as pl

from features.catalogue import MICRO_UNITS, MICROS, Count, Feature
from features.compiled import Compiled, through_narwhals
from features.cores import in_order
from features.customer_rows import CustomerRows, is_local, read_customers
from features.lifecycle import stages
from features.lifecycle.stages import StageRule, sorted_marks, with_stage_marks
from features.order_days import build_order_days
from features.records import Records
from features.reduce import filled_row, reduce_rows, restored, starts_of
from features.snapshot import Snapshot
from features.sorted_days import Chunk, build_chunk
from features.windows import PARTITIONED


class Plan:
    """What one pass computes: features, the counts that they are made of, and the stage rule's state."""

    def __init__(self, features: tuple[Feature, ...], counts: tuple[Count, ...], rule: StageRule | None) -> None:
        self.features, self.counts, self.rule = features, counts, rule
        self.state = () if rule is None else stages.STATE_COLUMNS
        self.day_counts = self.over("order_days")
        self.other_logs = tuple(dict.fromkeys(count.log for count in counts if count.log != "order_days"))
        self.to_rows = Compiled(
            through_narwhals(lambda days: days.select("_customer", *map(filled_row, self.day_counts)))
        )
        self.to_features = Compiled(
            through_narwhals(lambda counted: self.evaluate(counted.with_columns(*map(restored, self.day_counts))))
        )

    def over(self, log: str) -> tuple[Count, ...]:
        """Return the counts over one log."""
        return tuple(count for count in self.counts if count.log == log)

    def with_log(self, counted: nw.LazyFrame[Any], log: str, other: nw.LazyFrame[Any] | None) -> nw.LazyFrame[Any]:
        """Add the counts of another log; whoever is not in it has none."""
        if other is None:
            return counted.with_columns(*(nw.lit(None, nw.Int64).alias(count.name) for count in self.over(log)))
        return counted.join(other, on="customer_id", how="left")

    def evaluate(self, counted: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
        """Return features and state from counts, one row per customer."""
        zeros = [nw.col(count.name).fill_null(0) for count in self.counts if count.is_zero_without_rows]
        values = [feature.value.cast(nw.Float64).alias(feature.name) for feature in self.features]
        return counted.with_columns(*zeros).select("customer_id", *values, *self.state)


def build_tables(records: Records, snapshots: Sequence[Snapshot], plan: Plan) -> list[pl.DataFrame]:
    """Build one table per cutoff: one row per customer, sorted by `customer_id`, with what the plan computes."""
    if is_local(records):
        return _build_locally(records, snapshots, plan)
    return [_in_units(_build_anywhere(records, snapshot, plan), plan) for snapshot in snapshots]


def _build_anywhere(records: Records, snapshot: Snapshot, plan: Plan) -> pl.DataFrame:
    """Aggregate on the engine that holds the records, in one query per cutoff."""
    days = build_order_days(records, snapshot)
    marked = days if plan.rule is None else with_stage_marks(days, rule=plan.rule, windows=PARTITIONED)
    counted = _aggregate(marked, plan.day_counts)
    for log in plan.other_logs:
        counted = plan.with_log(counted, log, _other_counts(records, snapshot, plan, log))
    table: pl.DataFrame = plan.evaluate(counted).collect("polars").to_native()
    return table.sort("customer_id")


def _build_locally(records: Records, snapshots: Sequence[Snapshot], plan: Plan) -> list[pl.DataFrame]:
    """Reduce sorted order days chunk by chunk; the other logs, which need no rhythm, are aggregated whole."""
    others = [_collect_logs(records, snapshot, plan) for snapshot in snapshots]

    def tables_of(rows: CustomerRows) -> list[list[pl.DataFrame]]:
        read = build_chunk(rows)
        chunk = read if plan.rule is None else read.mark(sorted_marks(plan.rule))
        return [list(_chunk_tables(chunk, at, plan, other)) for at, other in zip(snapshots, others, strict=True)]

    rows = read_customers(records, end_day=max(at.cutoff_day for at in snapshots))
    parts = list(in_order(tables_of, rows))
    return [pl.concat([t for part in parts for t in part[i]] or [_empty(plan)]) for i in range(len(snapshots))]


def _collect_logs(records: Records, snapshot: Snapshot, plan: Plan) -> dict[str, pl.DataFrame | None]:
    counts = {log: _other_counts(records, snapshot, plan, log) for log in plan.other_logs}
    return {log: None if counted is None else _collected(counted) for log, counted in counts.items()}


def _chunk_tables(
    chunk: Chunk, snapshot: Snapshot, plan: Plan, others: Mapping[str, pl.DataFrame | None]
) -> Iterator[pl.DataFrame]:
    rows = plan.to_rows(chunk.at(snapshot))
    if rows.is_empty():
        return
    codes = rows["_customer"].to_numpy()
    starts = starts_of(codes)
    ids = {"customer_id": chunk.customer_ids.gather(codes[starts])}
    counted = pl.DataFrame(ids | reduce_rows(rows, starts, plan.day_counts))
    for log, other in others.items():
        frame = _nobody(plan.over(log)) if other is None else other
        counted = counted.join(frame, on="customer_id", how="left", maintain_order="left")
    yield _in_units(plan.to_features(counted), plan)


def _other_counts(records: Records, snapshot: Snapshot, plan: Plan, log: str) -> nw.LazyFrame[Any] | None:
    """Aggregate a log other than order days: one row per customer who is in it; None where the shop has no such log."""
    relation = getattr(records, log)
    return None if relation is None else _aggregate(snapshot.history(relation), plan.over(log))


def _nobody(counts: Sequence[Count]) -> pl.DataFrame:
    return pl.DataFrame(schema={"customer_id": pl.String, **{count.name: pl.Int64 for count in counts}})


def _aggregate(log: nw.LazyFrame[Any], counts: Sequence[Count]) -> nw.LazyFrame[Any]:
    return _rows(log, counts, "customer_id").group_by("customer_id").agg(*(count.aggregate() for count in counts))


def _rows(log: nw.LazyFrame[Any], counts: Sequence[Count], key: str) -> nw.LazyFrame[Any]:
    return log.select(key, *(count.row.alias(count.row_name) for count in counts))


def _collected(frame: nw.LazyFrame[Any]) -> pl.DataFrame:
    collected: pl.DataFrame = frame.collect("polars").to_native()
    return collected


def _in_units(table: pl.DataFrame, plan: Plan) -> pl.DataFrame:
    """Convert money and quantities from micros to units, correctly rounded."""
    micros = [feature.name for feature in plan.features if feature.unit in MICRO_UNITS]
    return table.with_columns(pl.Series(name, table[name].to_numpy() / MICROS, nan_to_null=True) for name in micros)


def _empty(plan: Plan) -> pl.DataFrame:
    features = {feature.name: pl.Float64 for feature in plan.features}
    return pl.DataFrame(schema={"customer_id": pl.String, **features, **dict.fromkeys(plan.state, pl.Int64)})
