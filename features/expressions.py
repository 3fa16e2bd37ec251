"""What a definition says: an expression over columns, written once and read by every engine.

It is written as narwhals' and Polars' expressions are, with the few operations that definitions need. `Expr.on` says it
again in the words of such a library; `features.arrays` computes it on numpy arrays. Where engines differ, nothing is
said: no definition compares what is no number, or asks for the whole quotient by 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Union

Dtype = Literal["Int64", "Float64"]
Int64: Dtype = "Int64"
Float64: Dtype = "Float64"

Scalar = int | float | str | bool
Operand = Union["Expr", Scalar]


@dataclass(frozen=True, slots=True, eq=False)
class Expr:
    """An operation on columns and plain values.

    Args:
        operation: Its name: that of the method or function which says it.
        inputs: Expressions, and values as they are.
    """

    operation: str
    inputs: tuple[Any, ...]

    def on(self, xp: Any) -> Any:
        """Return the same expression of another library: `narwhals`, or `polars`; or of this module, itself."""
        return self if xp.col is col else _say(self, xp)

    def columns(self) -> frozenset[str]:
        """Return the names of the columns that it reads."""
        return frozenset(_columns(self))

    def __add__(self, other: Operand) -> "Expr":
        return Expr("__add__", (self, other))

    def __radd__(self, other: Scalar) -> "Expr":
        return Expr("__radd__", (self, other))

    def __sub__(self, other: Operand) -> "Expr":
        return Expr("__sub__", (self, other))

    def __rsub__(self, other: Scalar) -> "Expr":
        return Expr("__rsub__", (self, other))

    def __mul__(self, other: Operand) -> "Expr":
        return Expr("__mul__", (self, other))

    def __rmul__(self, other: Scalar) -> "Expr":
        return Expr("__rmul__", (self, other))

    def __truediv__(self, other: Operand) -> "Expr":
        return Expr("__truediv__", (self, other))

    def __floordiv__(self, other: Operand) -> "Expr":
        return Expr("__floordiv__", (self, other))

    def __rfloordiv__(self, other: Scalar) -> "Expr":
        return Expr("__rfloordiv__", (self, other))

    def __mod__(self, other: Operand) -> "Expr":
        return Expr("__mod__", (self, other))

    def __lt__(self, other: Operand) -> "Expr":
        return Expr("__lt__", (self, other))

    def __le__(self, other: Operand) -> "Expr":
        return Expr("__le__", (self, other))

    def __gt__(self, other: Operand) -> "Expr":
        return Expr("__gt__", (self, other))

    def __ge__(self, other: Operand) -> "Expr":
        return Expr("__ge__", (self, other))

    def __eq__(self, other: Operand) -> "Expr":  # type: ignore[override]
        return Expr("__eq__", (self, other))

    def __ne__(self, other: Operand) -> "Expr":  # type: ignore[override]
        return Expr("__ne__", (self, other))

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise TypeError("An expression is neither true nor false: join conditions with & and |, negate them with ~.")

    def __and__(self, other: "Expr") -> "Expr":
        return Expr("__and__", (self, other))

    def __or__(self, other: "Expr") -> "Expr":
        return Expr("__or__", (self, other))

    def __invert__(self) -> "Expr":
        return Expr("__invert__", (self,))

    def is_null(self) -> "Expr":
        """Tell where there is no value."""
        return Expr("is_null", (self,))

    def fill_null(self, value: Scalar) -> "Expr":
        """Put a value where there is none."""
        return Expr("fill_null", (self, value))

    def is_in(self, values: tuple[Scalar, ...]) -> "Expr":
        """Tell where the value is one of several."""
        return Expr("is_in", (self, values))

    def cast(self, dtype: Dtype) -> "Expr":
        """Turn into whole numbers, or into floating-point numbers, of 64 bits."""
        return Expr("cast", (self, dtype))

    def sqrt(self) -> "Expr":
        """Take the square root."""
        return Expr("sqrt", (self,))

    def floor(self) -> "Expr":
        """Round down."""
        return Expr("floor", (self,))

    def clip(self, least: float, greatest: float) -> "Expr":
        """Keep floating-point numbers within two bounds."""
        return Expr("clip", (self, least, greatest))

    def shift(self, n_rows: Literal[1, -1]) -> "Expr":
        """Move down by 1 row, or up by -1. Of this module alone: rows of an engine have no order."""
        return Expr("shift", (self, n_rows))

    def cum_max(self) -> "Expr":
        """Take the greatest so far. Of this module alone, and without nulls."""
        return Expr("cum_max", (self,))


class Then(Expr):
    """What holds where a condition does; null elsewhere, unless something else is said."""

    __slots__ = ()

    def otherwise(self, value: Operand) -> Expr:
        """Say what holds elsewhere; also where it is unknown whether the condition holds."""
        return Expr("when", (*self.inputs, value))


@dataclass(frozen=True, slots=True)
class When:
    """A condition."""

    condition: Expr

    def then(self, value: Operand) -> Then:
        """Say what holds where the condition does."""
        return Then("when", (self.condition, value))


def col(name: str) -> Expr:
    """Return a column."""
    return Expr("col", (name,))


def lit(value: Scalar, dtype: Dtype | None = None) -> Expr:
    """Return one value for every row."""
    return Expr("lit", (value, dtype))


def when(condition: Expr) -> When:
    """Begin a choice."""
    return When(condition)


def max_horizontal(*columns: "str | Expr") -> Expr:
    """Return the greatest of several columns, row by row; a null counts for nothing."""
    return Expr("max_horizontal", tuple(map(_column, columns)))


def min_horizontal(*columns: "str | Expr") -> Expr:
    """Return the least of several columns, row by row; a null counts for nothing."""
    return Expr("min_horizontal", tuple(map(_column, columns)))


def _column(column: "str | Expr") -> Expr:
    return col(column) if isinstance(column, str) else column


def _columns(expression: Expr) -> Iterator[str]:
    if expression.operation == "col":
        yield expression.inputs[0]
    for given in expression.inputs:
        if isinstance(given, Expr):
            yield from _columns(given)


def _say(expression: Expr, xp: Any) -> Any:
    """Say an expression in the words of another library."""
    said = [_say(given, xp) if isinstance(given, Expr) else given for given in expression.inputs]
    match expression.operation:
        case "col" | "max_horizontal" | "min_horizontal" as function:
            return getattr(xp, function)(*said)
        case "lit":
            return xp.lit(said[0], None if said[1] is None else getattr(xp, said[1]))
        case "when":
            chosen = xp.when(said[0]).then(said[1])
            return chosen.otherwise(said[2]) if len(said) == 3 else chosen
        case "cast":
            return said[0].cast(getattr(xp, said[1]))
        case method:
            return getattr(said[0], method)(*said[1:])
