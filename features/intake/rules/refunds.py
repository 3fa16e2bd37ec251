"""Which order a refund gives money back for: one definition, for files and for requests.

Where rows say it, a refund belongs to the order that it names. Most say nothing; then it is the latest earlier
order of the same customer whose amount it gives back exactly, else the latest one that still holds as much.
A refund looks back only, so whatever comes later leaves its order as it is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import groupby
from operator import itemgetter

import polars as pl

from features.records import REFUND_SCHEMA

# What matching reads: orders have amounts of 0 and more, refunds below 0. `order_id` is the row's own.
ENTRY_SCHEMA = pl.Schema(
    {
        "customer_id": pl.String(),
        "ordered_at": pl.Datetime("us"),
        "day": pl.Int64(),
        "amount_micros": pl.Int64(),
        "order_id": pl.String(),
        "refund_of": pl.String(),
    }
)
MATCHED_SCHEMA = pl.Schema({**REFUND_SCHEMA, "empties": pl.Boolean()})

_Entry = tuple[str, int, int, str | None, str | None]
_Match = tuple[str, int, int | None, int, int, bool]


def match_refunds(entries: pl.DataFrame) -> pl.DataFrame:
    """Match the refunds of some customers to their orders. One row per refund, whatever the sequence of the entries.

    Args:
        entries: All orders and refunds of these customers, in `ENTRY_SCHEMA`.

    Returns:
        `REFUND_SCHEMA`, and whether the refund took the last that its order held (`empties`).
    """
    in_time = entries.sort(
        "customer_id",
        "day",
        "ordered_at",
        pl.col("amount_micros") < 0,
        pl.col("amount_micros").abs(),
        "order_id",
        "refund_of",
    ).select("customer_id", "day", "amount_micros", "order_id", "refund_of")
    matches = (match for _, group in groupby(in_time.iter_rows(), key=itemgetter(0)) for match in _match(list(group)))
    return pl.DataFrame(list(matches), schema=MATCHED_SCHEMA, orient="row")


def _match(entries: Sequence[_Entry]) -> Iterator[_Match]:
    """Match the refunds of one customer, in order of time."""
    orders = _OpenOrders(len(entries))
    for customer_id, day, amount, order_id, refund_of in entries:
        if amount >= 0:
            orders.add(day, amount, order_id)
            continue
        found = orders.find(-amount, refund_of, order_id)
        if found is None:
            yield customer_id, day, None, -amount, 0, False
            continue
        taken = orders.take(found, -amount)
        yield customer_id, day, orders.days[found], -amount, taken, taken > 0 and orders.left[found] == 0


@dataclass(slots=True)
class _OpenOrders:
    """One customer's orders so far, and what each still holds.

    Each question is answered in logarithmic time: `_by_amount` keeps, for each amount, the orders that held it, the
    latest on top; `_greatest` is a binary tree whose leaves are what is left, and whose nodes are the greater child.
    """

    capacity: int
    days: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    _by_name: dict[str, int] = field(default_factory=dict)
    _by_amount: dict[int, list[int]] = field(default_factory=dict)
    _greatest: list[int] = field(init=False)
    _n_leaves: int = field(init=False)

    def __post_init__(self) -> None:
        self._n_leaves = 1 << (self.capacity - 1).bit_length()
        self._greatest = [-1] * (2 * self._n_leaves)

    def add(self, day: int, amount: int, name: str | None) -> None:
        """Add an order, later than all before it."""
        order = len(self.days)
        self.days.append(day)
        self.left.append(amount)
        if name is not None:
            self._by_name[name] = order
        self._record(order)

    def find(self, amount: int, *names: str | None) -> int | None:
        """Find the order that a refund of an amount belongs to."""
        named = next((self._by_name[name] for name in names if name is not None and name in self._by_name), None)
        if named is not None:
            return named
        exact = self._latest_of(amount)
        return exact if exact is not None else self._latest_with(amount)

    def take(self, order: int, amount: int) -> int:
        """Take an amount from an order, or what is left of it; return how much that was."""
        taken = min(amount, self.left[order])
        if taken:
            self.left[order] -= taken
            self._record(order)
        return taken

    def _record(self, order: int) -> None:
        left = self.left[order]
        heappush(self._by_amount.setdefault(left, []), -order)
        tree, node = self._greatest, self._n_leaves + order
        tree[node] = left
        while node > 1:
            node >>= 1
            tree[node] = max(tree[2 * node], tree[2 * node + 1])

    def _latest_of(self, amount: int) -> int | None:
        """Find the latest order of which exactly so much is left; those that have changed since are forgotten."""
        candidates = self._by_amount.get(amount, [])
        while candidates and self.left[-candidates[0]] != amount:
            heappop(candidates)
        return -candidates[0] if candidates else None

    def _latest_with(self, amount: int) -> int | None:
        """Find the latest order of which at least so much is left."""
        tree, node = self._greatest, 1
        if tree[node] < amount:
            return None
        while node < self._n_leaves:
            node = 2 * node + 1 if tree[2 * node + 1] >= amount else 2 * node
        return node - self._n_leaves
