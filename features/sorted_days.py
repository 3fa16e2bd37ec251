"""Order days of a whole base, a few thousand customers at a time: the engine sorts, out of core; we read along.

Chunks hold whole customers, so that each is finished in memory, for as many cutoffs as are asked for, before the next
is read: one pass over the data whatever their number.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import duckdb
import narwhals as nw
import numpy as np
import polars as pl

from features.order_days import dated_values, mark_days
from features.records import Records
from features.reduce import Ints
from features.snapshot import Snapshot
from features.windows import SORTED

CHUNK_ROWS = 250_000

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Chunk:
    """The order days of some customers, sorted by customer and day.

    Args:
        days: As `mark_days` returns them, before any refund, with `_customer`: the number of the customer, from 0.
        customer_ids: By that number.
        refunded_rows: Of each refund, the row of `days` that it lowers.
        refunded_on: ... the day from which it is known.
        refunded_micros: ... what it took, below 0.
    """

    days: pl.DataFrame
    customer_ids: pl.Series
    refunded_rows: Ints
    refunded_on: Ints
    refunded_micros: Ints

    def mark(self, change: Callable[[nw.DataFrame[Any]], nw.DataFrame[Any]]) -> "Chunk":
        """Return the chunk with further marks on its days, which must not depend on values."""
        return replace(self, days=change(nw.from_native(self.days, eager_only=True)).to_native())

    def at(self, snapshot: Snapshot) -> pl.DataFrame:
        """Return the order days known at a cutoff, as `build_order_days` does, with `_customer`."""
        known: pl.DataFrame = snapshot.last_seen(nw.from_native(self._net(snapshot), eager_only=True)).to_native()
        return known

    def _net(self, snapshot: Snapshot) -> pl.DataFrame:
        is_known = snapshot.is_known(self.refunded_on)
        if not is_known.any():
            return self.days
        taken = np.zeros(self.days.height, dtype=np.int64)
        np.add.at(taken, self.refunded_rows[is_known], self.refunded_micros[is_known])
        return self.days.with_columns(value_micros=pl.col("value_micros") + pl.Series(taken))


def is_local(records: Records) -> bool:
    """Tell whether the records are in this process: in DuckDB, or in memory as Polars frames."""
    return records.orders.implementation in {nw.Implementation.DUCKDB, nw.Implementation.POLARS}


def read_customers(records: Records, *, end_day: int) -> Iterator[pl.DataFrame]:
    """Read the dated values before a day, some whole customers at a time, sorted by `customer_id` and day."""
    return _whole_customers(_sorted_batches(records, Snapshot(end_day)))


def in_order(work: Callable[[pl.DataFrame], Result], frames: Iterator[pl.DataFrame]) -> Iterator[Result]:
    """Do some work on each frame, on all cores where there are several frames; results come in the order of frames."""
    first, second = next(frames, None), next(frames, None)
    if first is None or second is None:
        yield from (work(frame) for frame in (first, second) if frame is not None)
        return
    n_workers = os.cpu_count() or 1
    with ThreadPoolExecutor(n_workers) as pool:
        waiting = deque([pool.submit(work, first), pool.submit(work, second)])
        for frame in frames:
            waiting.append(pool.submit(work, frame))
            if len(waiting) > n_workers:
                yield waiting.popleft().result()
        yield from (future.result() for future in waiting)


def _sorted_batches(records: Records, snapshot: Snapshot) -> Iterator[pl.DataFrame]:
    wanted = ("customer_id", "day", "micros") if records.refunds is None else None
    rows = snapshot.known(dated_values(records), column="known_day")
    ordered = (rows if wanted is None else rows.select(*wanted)).sort("customer_id", "day")
    native = ordered.to_native()
    if isinstance(native, duckdb.DuckDBPyRelation):
        for batch in native.to_arrow_reader(CHUNK_ROWS):
            yield cast(pl.DataFrame, pl.from_arrow(batch))
    else:
        yield ordered.collect("polars").to_native()


def _whole_customers(batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Cut the stream where a customer ends; the last customer of a batch may go on in the next."""
    kept: list[pl.DataFrame] = []
    for batch in batches:
        if batch.is_empty():
            continue
        last = batch["customer_id"][-1]
        begin = int(batch["customer_id"].search_sorted(last, side="left")) if batch["customer_id"][0] != last else 0
        if begin > 0:
            yield pl.concat([*kept, batch[:begin]])
            kept = []
        elif kept and kept[-1]["customer_id"][-1] != last:
            yield pl.concat(kept)
            kept = []
        kept.append(batch[begin:])
    if kept:
        yield pl.concat(kept)


def build_chunk(rows: pl.DataFrame) -> Chunk:
    """Build the order days of the customers of `read_customers`."""
    ids, day, micros = rows["customer_id"], rows["day"].to_numpy(), rows["micros"].to_numpy()
    begins = (ids != ids.shift(1)).fill_null(value=True).to_numpy()
    begins_day = begins | (np.diff(day, prepend=day[:1]) != 0)
    starts = np.flatnonzero(begins_day)
    has_refunds = "n_orders" in rows.columns
    is_order = rows["n_orders"].to_numpy() == 1 if has_refunds else np.ones(day.size, dtype=np.bool_)
    days = pl.DataFrame(
        {
            "_customer": np.cumsum(begins)[starts] - 1,
            "_row": np.arange(starts.size),
            "_begins": begins[starts],
            "_ends": np.append(begins[starts][1:], [True]),
            "day": day[starts],
            "value_micros": np.add.reduceat(np.where(is_order, micros, 0) if has_refunds else micros, starts),
            "n_orders": np.add.reduceat(is_order, starts, dtype=np.int64),
        }
    )
    is_refund = ~is_order
    return Chunk(
        days=mark_days(nw.from_native(days, eager_only=True), SORTED).to_native(),
        customer_ids=ids.filter(pl.Series(begins)),
        refunded_rows=(np.cumsum(begins_day) - 1)[is_refund],
        refunded_on=rows["known_day"].to_numpy()[is_refund] if is_refund.any() else np.zeros(0, dtype=np.int64),
        refunded_micros=micros[is_refund],
    )
