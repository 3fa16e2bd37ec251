"""One pass over the records: order days and other logs to counts, counts to features, for one or many cutoffs."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl

from features.arrays import Arrays
from features.catalogue import MICRO_UNITS, MICROS, Count, Feature
from features.cores import in_order
from features.customer_rows import CustomerRows, is_local, read_customers
from features.dialect import Frame, dialect_of
from features.expressions import Float64, col
from features.lifecycle import stages
from features.lifecycle.stages import StageRule, with_stage_marks
from features.order_days import build_order_days
from features.records import Records
from features.reduce import reduce_rows, starts_of
from features.snapshot import Snapshot
from features.sorted_days import Chunk, build_chunk
from features.windows import PARTITIONED, SORTED, Windows


class Plan:
    """What one pass computes: features, the counts that they are made of, and the stage rule's state."""

    def __init__(self, features: tuple[Feature, ...], counts: tuple[Count, ...], rule: StageRule | None) -> None:
        self.features, self.counts, self.rule = features, counts, rule
        self.state = () if rule is None else stages.STATE_COLUMNS
        self.day_counts = self.over("order_days")
        self.other_logs = tuple(dict.fromkeys(count.log for count in counts if count.log != "order_days"))
        self._zeros = {count.name: col(count.name).fill_null(0) for count in counts if count.is_zero_without_rows}
        self._values = {feature.name: feature.value.cast(Float64) for feature in features}
        self._values |= {name: col(name) for name in self.state}
        # Money and quantities, from micros to units: correctly rounded, by one division in memory.
        self._units = {f.name: col(f.name) / MICROS for f in features if f.unit in MICRO_UNITS}

    def over(self, log: str) -> tuple[Count, ...]:
        """Return the counts over one log."""
        return tuple(count for count in self.counts if count.log == log)

    def with_log(self, counted: nw.LazyFrame[Any], log: str, other: nw.LazyFrame[Any] | None) -> nw.LazyFrame[Any]:
        """Add the counts of another log; whoever is not in it has none."""
        if other is None:
            return counted.with_columns(*(nw.lit(None, nw.Int64).alias(count.name) for count in self.over(log)))
        return counted.join(other, on="customer_id", how="left")

    def mark(self, days: Frame, windows: Windows) -> Frame:
        """Mark order days as the stage rule sees them, where there is one."""
        return days if self.rule is None else with_stage_marks(days, rule=self.rule, windows=windows)

    def evaluate(self, counted: Frame, *keys: str) -> Frame:
        """Return keys, features and state from counts, one row per customer."""
        xp = dialect_of(counted)
        zeros, values = ({n: e.on(xp) for n, e in its.items()} for its in (self._zeros, self._values))
        return counted.with_columns(**zeros).select(*keys, **values)

    def finish(self, customer_ids: pl.Series, values: Arrays, snapshot: Snapshot) -> pl.DataFrame:
        """Return the finished table: features in their units, state, and the stages where there is a rule."""
        finished = values.with_columns(**self._units)
        stages_of = [] if self.rule is None else stages.find_stages(finished, snapshot)
        return pl.DataFrame([customer_ids.alias("customer_id"), *finished.to_series(), *stages_of])


def build_tables(records: Records, snapshots: Sequence[Snapshot], plan: Plan) -> list[pl.DataFrame]:
    """Build one table per cutoff: one row per customer, sorted by `customer_id`, with what the plan computes."""
    if is_local(records):
        return _build_locally(records, snapshots, plan)
    return [_build_anywhere(records, snapshot, plan) for snapshot in snapshots]


def _build_anywhere(records: Records, snapshot: Snapshot, plan: Plan) -> pl.DataFrame:
    """Aggregate on the engine that holds the records, in one query per cutoff."""
    days = build_order_days(records, snapshot)
    counted = _aggregate(plan.mark(days, PARTITIONED), plan.day_counts)
    for log in plan.other_logs:
        counted = plan.with_log(counted, log, _other_counts(records, snapshot, plan, log))
    table: pl.DataFrame = plan.evaluate(counted, "customer_id").collect("polars").to_native()
    ordered = table.sort("customer_id")
    return plan.finish(ordered["customer_id"], Arrays.of(ordered.drop("customer_id")), snapshot)


def _build_locally(records: Records, snapshots: Sequence[Snapshot], plan: Plan) -> list[pl.DataFrame]:
    """Reduce sorted order days chunk by chunk; the other logs, which need no rhythm, are aggregated whole."""
    others = [_collect_logs(records, snapshot, plan) for snapshot in snapshots]

    def tables_of(rows: CustomerRows) -> list[list[pl.DataFrame]]:
        chunk = build_chunk(rows).mark(partial(plan.mark, windows=SORTED))
        return [list(_chunk_tables(chunk, at, plan, other)) for at, other in zip(snapshots, others, strict=True)]

    rows = read_customers(records, end_day=max(at.cutoff_day for at in snapshots))
    parts = list(in_order(tables_of, rows))
    return [pl.concat([t for part in parts for t in part[i]] or [_empty(plan, at)]) for i, at in enumerate(snapshots)]


def _collect_logs(records: Records, snapshot: Snapshot, plan: Plan) -> dict[str, pl.DataFrame | None]:
    counts = {log: _other_counts(records, snapshot, plan, log) for log in plan.other_logs}
    return {log: None if counted is None else _collected(counted) for log, counted in counts.items()}


def _chunk_tables(
    chunk: Chunk, snapshot: Snapshot, plan: Plan, others: Mapping[str, pl.DataFrame | None]
) -> Iterator[pl.DataFrame]:
    days = chunk.at(snapshot)
    if not days.height:
        return
    codes = days["_customer"].values
    starts = starts_of(codes)
    ids = chunk.customer_ids[codes[starts]].alias("customer_id")
    counted = reduce_rows(days, starts, plan.day_counts)
    for log, other in others.items():
        frame = _nobody(plan.over(log)) if other is None else other
        joined = ids.to_frame().join(frame, on="customer_id", how="left", maintain_order="left")
        counted = counted.with_arrays(Arrays.of(joined.drop("customer_id")))
    yield plan.finish(ids, plan.evaluate(counted), snapshot)


def _other_counts(records: Records, snapshot: Snapshot, plan: Plan, log: str) -> nw.LazyFrame[Any] | None:
    """Aggregate a log other than order days: one row per customer who is in it; None where the shop has no such log."""
    relation = getattr(records, log)
    return None if relation is None else _aggregate(snapshot.history(relation), plan.over(log))


def _nobody(counts: Sequence[Count]) -> pl.DataFrame:
    return pl.DataFrame(schema={"customer_id": pl.String, **{count.name: pl.Int64 for count in counts}})


def _aggregate(log: nw.LazyFrame[Any], counts: Sequence[Count]) -> nw.LazyFrame[Any]:
    return _rows(log, counts, "customer_id").group_by("customer_id").agg(*(count.aggregate() for count in counts))


def _rows(log: nw.LazyFrame[Any], counts: Sequence[Count], key: str) -> nw.LazyFrame[Any]:
    return log.select(key, *(count.row.on(nw).alias(count.row_name) for count in counts))


def _collected(frame: nw.LazyFrame[Any]) -> pl.DataFrame:
    collected: pl.DataFrame = frame.collect("polars").to_native()
    return collected


def _empty(plan: Plan, snapshot: Snapshot) -> pl.DataFrame:
    features = {feature.name: np.zeros(0) for feature in plan.features}
    state = dict.fromkeys(plan.state, np.zeros(0, dtype=np.int64))
    return plan.finish(pl.Series(dtype=pl.String), Arrays.from_values(features | state, 0), snapshot)
