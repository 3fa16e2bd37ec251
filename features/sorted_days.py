"""Order days of a whole base, some tens of thousands of customers at a time.

Chunks hold whole customers, so that each is finished in memory, for as many cutoffs as are asked for, before the next
is read: one pass over the data whatever their number.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from features.arrays import Arrays
from features.customer_rows import CustomerRows
from features.order_days import mark_days
from features.reduce import Ints
from features.snapshot import Snapshot
from features.windows import SORTED


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

    days: Arrays
    customer_ids: pl.Series
    refunded_rows: Ints
    refunded_on: Ints
    refunded_micros: Ints

    def mark(self, change: Callable[[Arrays], Arrays]) -> "Chunk":
        """Return the chunk with further marks on its days, which must not depend on values."""
        return replace(self, days=change(self.days))

    def at(self, snapshot: Snapshot) -> Arrays:
        """Return the order days known at a cutoff, as `build_order_days` does, with `_customer`."""
        return snapshot.last_seen(self._net(snapshot))

    def _net(self, snapshot: Snapshot) -> Arrays:
        is_known = snapshot.is_known(self.refunded_on)
        if not is_known.any():
            return self.days
        net = self.days["value_micros"].values.copy()
        np.add.at(net, self.refunded_rows[is_known], self.refunded_micros[is_known])
        return self.days.with_values(value_micros=net)


def build_chunk(rows: CustomerRows) -> Chunk:
    """Build the order days of some customers."""
    begins_day = rows.begins | (np.diff(rows.day, prepend=rows.day[:1]) != 0)
    starts = np.flatnonzero(begins_day)
    begins = rows.begins[starts]
    firsts = np.flatnonzero(begins)
    value_micros, n_orders = _ordered(rows, starts)
    days = Arrays.from_values(
        {
            "_customer": np.cumsum(begins) - 1,
            "_position": np.arange(1, starts.size + 1) - np.repeat(firsts, np.diff(firsts, append=starts.size)),
            "_begins": begins,
            "_ends": np.append(begins[1:], [True]),
            "day": rows.day[starts],
            "value_micros": value_micros,
            "n_orders": n_orders,
        },
        starts.size,
    )
    is_refund = np.zeros(rows.day.size, dtype=np.bool_) if rows.n_orders is None else rows.n_orders == 0
    return Chunk(
        days=mark_days(days, SORTED),
        customer_ids=rows.customer_ids,
        refunded_rows=(np.cumsum(begins_day) - 1)[is_refund],
        refunded_on=np.zeros(0, dtype=np.int64) if rows.known_day is None else rows.known_day[is_refund],
        refunded_micros=rows.micros[is_refund],
    )


def _ordered(rows: CustomerRows, starts: Ints) -> tuple[Ints, Ints]:
    """Return what was ordered on each day, before any refund, and in how many orders."""
    if rows.n_orders is None:
        return np.add.reduceat(rows.micros, starts), np.diff(starts, append=rows.day.size)
    return np.add.reduceat(rows.micros * rows.n_orders, starts), np.add.reduceat(rows.n_orders, starts)
