"""The dated values of whole customers, sorted by customer and day, some customers at a time.

A base of up to `MAX_ROWS` rows is grouped in memory, by numbers; a larger one is sorted by the engine that holds it,
out of core. Both ways give the same rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import duckdb
import narwhals as nw
import numpy as np
import polars as pl

from features.grouping import MAX_ROWS, Flags, GroupedRows, group_rows
from features.order_days import date_values, dated_values
from features.records import Records
from features.reduce import Ints
from features.snapshot import Snapshot

CHUNK_ROWS = 250_000
_FETCHED_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class CustomerRows:
    """Orders and matched refunds of some whole customers (see `dated_values`), sorted by customer and day.

    Args:
        customer_ids: In their order, each once.
        begins: Of each row, whether it is a customer's first.
        day: Of the order.
        micros: Below 0 for a refund.
        known_day: From which the row is known; None where all are orders.
        n_orders: 1 for an order, 0 for a refund; None where all are orders.
    """

    customer_ids: pl.Series
    begins: Flags
    day: Ints
    micros: Ints
    known_day: Ints | None = None
    n_orders: Ints | None = None


def is_local(records: Records) -> bool:
    """Tell whether the records are in this process: in DuckDB, or in memory as Polars frames."""
    return records.orders.implementation in {nw.Implementation.DUCKDB, nw.Implementation.POLARS}


def read_customers(records: Records, *, end_day: int) -> Iterator[CustomerRows]:
    """Read what is known before a day, some whole customers at a time, in the order of `customer_id`."""
    wanted = ("customer_id", "day", "micros", *(() if records.refunds is None else ("known_day", "n_orders")))
    snapshot = Snapshot(end_day)
    orders, refunds = (None if part is None else part.to_native() for part in (records.orders, records.refunds))
    if isinstance(orders, pl.LazyFrame):  # said to Polars itself: of a few rows, saying it takes longest
        native = snapshot.known(date_values(orders, refunds), column="known_day").select(*wanted)
        rows: nw.LazyFrame[Any] = nw.from_native(native)
    else:
        rows = snapshot.known(dated_values(records), column="known_day").select(*wanted)
    grouped = group_rows(pl.concat(_batches(rows, _FETCHED_ROWS))) if _may_fetch(rows) else None
    if grouped is not None:
        return _cut(grouped)
    return map(_as_customer_rows, _whole_customers(_batches(rows.sort("customer_id", "day"), CHUNK_ROWS)))


def _may_fetch(rows: nw.LazyFrame[Any]) -> bool:
    """Tell whether the rows of a database can be grouped, before they fill the memory; frames are in it as it is."""
    if not isinstance(rows.to_native(), duckdb.DuckDBPyRelation):
        return True
    n_rows: int = rows.select(nw.len()).collect("polars").item()
    return 0 < n_rows <= MAX_ROWS


def _batches(rows: nw.LazyFrame[Any], n_rows: int) -> Iterator[pl.DataFrame]:
    native = rows.to_native()
    if isinstance(native, duckdb.DuckDBPyRelation):
        for batch in native.to_arrow_reader(n_rows):
            yield cast(pl.DataFrame, pl.from_arrow(batch))
    else:
        yield native.collect()


def _cut(grouped: GroupedRows) -> Iterator[CustomerRows]:
    """Cut where a customer ends, after `CHUNK_ROWS` rows or soon after."""
    first, n_customers = 0, len(grouped.customer_ids)
    while first < n_customers:
        last = int(np.searchsorted(grouped.starts[:-1], grouped.starts[first] + CHUNK_ROWS))
        begins, columns = grouped.of_customers(first, last)
        yield CustomerRows(grouped.customer_ids[first:last], begins, **columns)
        first = last


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


def _as_customer_rows(rows: pl.DataFrame) -> CustomerRows:
    ids = rows["customer_id"]
    begins = (ids != ids.shift(1)).fill_null(value=True)
    values = {name: rows[name].to_numpy() for name in rows.columns if name != "customer_id"}
    return CustomerRows(ids.filter(begins), begins.to_numpy(), **values)
