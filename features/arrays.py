"""Columns in memory, as numpy arrays: what a frame of an engine can do, for what definitions ask of it.

An operation costs little more than its rows: where a query engine takes a millisecond to plan, one customer is done. On
whole bases it is as fast.
"""

import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from features.expressions import Expr

Flags = npt.NDArray[np.bool_]


class Column(NamedTuple):
    """The values of a column.

    Args:
        values: Shape (n_rows,); where missing, any.
        missing: Where there is no value; None if there is one everywhere.
    """

    values: npt.NDArray[Any]
    missing: Flags | None = None

    def filled(self, value: Any) -> npt.NDArray[Any]:
        """Return the values, and one for those that are missing."""
        return self.values if self.missing is None else np.where(self.missing, value, self.values)

    def holds(self) -> Flags:
        """Tell where a condition is known to hold."""
        known: Flags = self.values if self.missing is None else self.values & ~self.missing
        return known

    def to_series(self, name: str = "") -> pl.Series:
        """Return the values as Polars holds them; what is missing, or no number, is null there."""
        if self.missing is None:
            return pl.Series(name, self.values, nan_to_null=True)
        if self.values.dtype == np.float64:
            return pl.Series(name, np.where(self.missing, np.nan, self.values), nan_to_null=True)
        return pl.Series(name, self.values).set(pl.Series(self.missing), None)


class Arrays:
    """Columns of one length.

    Args:
        columns: By name.
        height: Number of rows.
    """

    __slots__ = ("_columns", "height")

    def __init__(self, columns: Mapping[str, Column], height: int) -> None:
        self._columns = columns
        self.height = height

    @classmethod
    def of(cls, frame: pl.DataFrame) -> Self:
        """Return the columns of a Polars frame, of numbers and truth values."""
        return cls({series.name: _of_series(series) for series in frame.get_columns()}, frame.height)

    @classmethod
    def from_values(cls, values: Mapping[str, npt.NDArray[Any]], height: int) -> Self:
        """Return columns without missing values."""
        return cls({name: Column(its) for name, its in values.items()}, height)

    def __getitem__(self, name: str) -> Column:
        return self._columns[name]

    def with_columns(self, **expressions: Expr) -> "Arrays":
        """Add columns, or replace them, all computed from those that are here."""
        return Arrays({**self._columns, **self._compute(expressions)}, self.height)

    def with_values(self, **values: npt.NDArray[Any]) -> "Arrays":
        """Add columns without missing values, or replace them."""
        return Arrays({**self._columns, **{name: Column(its) for name, its in values.items()}}, self.height)

    def with_arrays(self, others: "Arrays") -> "Arrays":
        """Add the columns of others of the same length."""
        return Arrays({**self._columns, **others._columns}, self.height)

    def select(self, *kept: str, **expressions: Expr) -> "Arrays":
        """Keep some columns, and add others."""
        return Arrays({name: self._columns[name] for name in kept} | self._compute(expressions), self.height)

    def filter(self, condition: Expr) -> "Arrays":
        """Keep the rows for which a condition holds."""
        rows = _of_height(_compute(condition, self._columns, {}), self.height).holds()
        if rows.all():
            return self
        columns = {
            name: Column(column.values[rows], None if column.missing is None else column.missing[rows])
            for name, column in self._columns.items()
        }
        return Arrays(columns, int(np.count_nonzero(rows)))

    def to_series(self) -> list[pl.Series]:
        """Return the columns as Polars holds them."""
        return [column.to_series(name) for name, column in self._columns.items()]

    def _compute(self, expressions: Mapping[str, Expr]) -> dict[str, Column]:
        found: dict[int, Column] = {}
        with np.errstate(all="ignore"):  # a quotient by 0 is infinite or no number, as on every engine
            computed = {name: _compute(value, self._columns, found) for name, value in expressions.items()}
        return {name: _of_height(column, self.height) for name, column in computed.items()}


def _of_series(series: pl.Series) -> Column:
    if series.null_count() == 0:
        return Column(series.to_numpy())
    zero = False if series.dtype == pl.Boolean else 0
    return Column(series.fill_null(zero).to_numpy(), series.is_null().to_numpy())


def _of_height(column: Column, height: int) -> Column:
    """Repeat what is one value, or one condition, for every row."""
    missing = column.missing if column.missing is None else _repeated(column.missing, height)
    return Column(_repeated(column.values, height), missing)


def _repeated(values: npt.NDArray[Any], height: int) -> npt.NDArray[Any]:
    return values if values.ndim else np.broadcast_to(values, (height,))


def _compute(given: Any, columns: Mapping[str, Column], found: dict[int, Column]) -> Column:
    """Compute an expression, each part of it once.

    Args:
        given: The expression; or a plain value, which is a column of no dimension.
        columns: What it reads.
        found: The parts that are computed already, by identity: expressions that stand in several others are shared.
    """
    if not isinstance(given, Expr):
        return Column(np.asarray(given))
    known = found.get(id(given))
    if known is not None:
        return known
    operation, inputs = given.operation, given.inputs
    if operation == "col":
        return columns[inputs[0]]
    if operation in _WITH_VALUES:
        computed = _WITH_VALUES[operation](_compute(inputs[0], columns, found), *inputs[1:])
    else:
        parts = [_compute(part, columns, found) for part in inputs]
        computed = _ELEMENTWISE[operation](*parts)
    found[id(given)] = computed
    return computed


def _either(a: Flags | None, b: Flags | None) -> Flags | None:
    if a is None or b is None:
        return a if b is None else b
    return a | b


def _binary(operate: Callable[[Any, Any], Any]) -> Callable[[Column, Column], Column]:
    def computed(a: Column, b: Column) -> Column:
        return Column(operate(a.values, b.values), _either(a.missing, b.missing))

    return computed


def _swapped(operate: Callable[[Any, Any], Any]) -> Callable[[Column, Column], Column]:
    return _binary(lambda a, b: operate(b, a))


def _and(a: Column, b: Column) -> Column:
    """False and unknown is false."""
    missing = _either(a.missing, b.missing)
    if missing is None:
        return Column(a.values & b.values)
    return Column(a.holds() & b.holds(), missing & ~(_known_false(a) | _known_false(b)))


def _or(a: Column, b: Column) -> Column:
    """True or unknown is true."""
    missing = _either(a.missing, b.missing)
    if missing is None:
        return Column(a.values | b.values)
    true = a.holds() | b.holds()
    return Column(true, missing & ~true)


def _known_false(a: Column) -> Flags:
    return ~a.values if a.missing is None else ~a.values & ~a.missing


def _when(condition: Column, value: Column, other: Column | None = None) -> Column:
    chosen = condition.holds()
    if other is None:
        return Column(value.values, ~chosen if value.missing is None else ~chosen | value.missing)
    values = np.where(chosen, value.values, other.values)
    if value.missing is None and other.missing is None:
        return Column(values)
    missing = [False if one.missing is None else one.missing for one in (value, other)]
    return Column(values, np.where(chosen, *missing))


def _most(operate: Callable[[Any, Any], Any]) -> Callable[..., Column]:
    def of_two(a: Column, b: Column) -> Column:
        """Take the one, where the other is missing."""
        if a.missing is None and b.missing is None:
            return Column(operate(a.values, b.values))
        left, right = a.filled(b.values), b.filled(a.values)
        return Column(operate(left, right), None if a.missing is None or b.missing is None else a.missing & b.missing)

    return lambda *columns: reduce(of_two, columns)


def _shift(a: Column, n_rows: int) -> Column:
    from_elsewhere = slice(None, n_rows) if n_rows > 0 else slice(n_rows, None)
    missing = np.zeros(a.values.size, dtype=np.bool_) if a.missing is None else np.roll(a.missing, n_rows)
    missing[from_elsewhere] = True
    return Column(np.roll(a.values, n_rows), missing)


def _fill_null(a: Column, value: Any) -> Column:
    return a if a.missing is None else Column(a.filled(value))


_DTYPES = {"Int64": np.int64, "Float64": np.float64}
_WITH_VALUES: Mapping[str, Callable[..., Column]] = {
    "lit": lambda value, dtype: Column(value.values if dtype is None else value.values.astype(_DTYPES[dtype])),
    "cast": lambda a, dtype: Column(a.values.astype(_DTYPES[dtype], copy=False), a.missing),
    "fill_null": _fill_null,
    "is_in": lambda a, values: Column(np.isin(a.values, values), a.missing),
    "clip": lambda a, least, greatest: Column(np.minimum(np.maximum(a.values, least), greatest), a.missing),
    "shift": _shift,
}
_ELEMENTWISE: Mapping[str, Callable[..., Column]] = {
    "__add__": _binary(operator.add),
    "__radd__": _swapped(operator.add),
    "__sub__": _binary(operator.sub),
    "__rsub__": _swapped(operator.sub),
    "__mul__": _binary(operator.mul),
    "__rmul__": _swapped(operator.mul),
    "__truediv__": _binary(operator.truediv),
    "__floordiv__": _binary(operator.floordiv),
    "__rfloordiv__": _swapped(operator.floordiv),
    "__mod__": _binary(operator.mod),
    "__lt__": _binary(operator.lt),
    "__le__": _binary(operator.le),
    "__gt__": _binary(operator.gt),
    "__ge__": _binary(operator.ge),
    "__eq__": _binary(operator.eq),
    "__ne__": _binary(operator.ne),
    "__and__": _and,
    "__or__": _or,
    "__invert__": lambda a: Column(~a.values, a.missing),
    "is_null": lambda a: Column(np.zeros(a.values.shape, dtype=np.bool_) if a.missing is None else a.missing),
    "sqrt": lambda a: Column(np.sqrt(a.values), a.missing),
    "floor": lambda a: Column(np.floor(a.values), a.missing),
    "cum_max": lambda a: Column(np.maximum.accumulate(a.values)),
    "when": _when,
    "max_horizontal": _most(np.maximum),
    "min_horizontal": _most(np.minimum),
}
