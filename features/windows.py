"""Looking along one customer's days, in two ways that give the same values.

`PARTITIONED` works on any engine, on rows in any order. `SORTED` reads neighbouring rows of arrays that are sorted by
customer and day, and that say where a customer `_begins` and `_ends`, each day's `_position`, and the `_customer`'s
number, which ascends; it costs a fraction of the time.
"""

from typing import Any, Protocol

import narwhals as nw

from features.expressions import Expr, col, when

_BEYOND_DAYS = 2**17  # more days than there are from 1970 to 2099


class Windows(Protocol):
    """Expressions that look along the days of one customer."""

    def previous(self, values: Any) -> Any:
        """Return the value on the day before, null on the first."""
        ...

    def following(self, values: Any) -> Any:
        """Return the value on the day after, null on the last."""
        ...

    def first(self, values: Any) -> Any:
        """Return the value on the first day, of values from 0 that grow from day to day."""
        ...

    def longest(self, days: Any) -> Any:
        """Return the greatest number of days so far; a null counts as none."""
        ...

    def position(self) -> Any:
        """Return the number of the day, 1 for the first."""
        ...


class _Partitioned:
    def previous(self, values: nw.Expr) -> nw.Expr:
        return values.shift(1).over("customer_id", order_by="day")

    def following(self, values: nw.Expr) -> nw.Expr:
        return values.shift(-1).over("customer_id", order_by="day")

    def first(self, values: nw.Expr) -> nw.Expr:
        return values.min().over("customer_id")

    def longest(self, days: nw.Expr) -> nw.Expr:
        return days.fill_null(0).cum_max().over("customer_id", order_by="day")

    def position(self) -> nw.Expr:
        return nw.col("day").cum_count().over("customer_id", order_by="day").cast(nw.Int64)


class _Sorted:
    def previous(self, values: Expr) -> Expr:
        return when(~col("_begins")).then(values.shift(1))

    def following(self, values: Expr) -> Expr:
        return when(~col("_ends")).then(values.shift(-1))

    def first(self, values: Expr) -> Expr:
        return self.longest(when(col("_begins")).then(values))

    def longest(self, days: Expr) -> Expr:
        before = col("_customer") * _BEYOND_DAYS  # whoever came before is below
        return (days.fill_null(0) + before).cum_max() - before

    def position(self) -> Expr:
        return col("_position")


PARTITIONED: Windows = _Partitioned()
SORTED: Windows = _Sorted()
