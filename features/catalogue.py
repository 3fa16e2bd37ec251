"""The form in which a feature is declared: once, with its group, unit, meaning, needs and null rule."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

import narwhals as nw

from features.expressions import Expr, Float64, Int64, col, lit, when

MICROS = 1_000_000
# Carried in millionths until the table is in memory.
MICRO_UNITS = frozenset({"currency", "currency per year", "items", "points"})

GROUPS = (
    "recency and rhythm",
    "frequency and windows",
    "value and trend",
    "seasonality",
    "basket and category",
    "refunds",
    "tenure",
    "channel",
    "events",
)

Log = Literal["order_days", "orders", "refunds", "items", "events"]
How = Literal["sum", "max", "min", "median", "n_unique"]


@dataclass(frozen=True, slots=True, eq=False)
class Count:
    """An exact integer per customer, aggregated over the rows of one log; the raw material of features.

    Args:
        name: Column name of the aggregate.
        row: Expression over the columns of the log; null rows are left out.
        how: The aggregation. A sum over no rows is 0, and so is a number of unique values; others are null.
        log: `order_days` (see `build_order_days`), or a relation of `Records`; each has `age_days`, which counts back
            from the cutoff.
        needs: What the data must offer beyond orders, for logs other than `order_days`; as `Feature.needs`.
    """

    name: str
    row: Expr
    how: How = "sum"
    log: Log = "order_days"
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.how == "n_unique" and self.log == "order_days":
            raise ValueError(f"{self.name}: order days count no unique values; another log can")

    @property
    def row_name(self) -> str:
        """Name of the per-row column that is aggregated."""
        return f"_{self.name}"

    @property
    def is_zero_without_rows(self) -> bool:
        """Whether a customer without a row counts 0, and not nothing."""
        return self.how in {"sum", "n_unique"}

    def aggregate(self) -> nw.Expr:
        """Return the aggregation over a customer's rows."""
        column = nw.col(self.row_name)
        if self.how == "n_unique":  # a null is one value to every engine
            return (column.n_unique() - column.is_null().any().cast(nw.Int64)).cast(nw.Int64).alias(self.name)
        reduced = {"sum": column.sum, "max": column.max, "min": column.min, "median": column.median}[self.how]()
        return reduced.cast(nw.Float64 if self.how == "median" else nw.Int64).alias(self.name)


@dataclass(frozen=True, slots=True, eq=False)
class Feature:
    """One column of the feature table.

    Args:
        name: Column name.
        group: One of `GROUPS`.
        unit: `days`, `orders`, `order days`, `share`, `ratio`, `per year`, …, or one of `MICRO_UNITS`.
        meaning: One line a person can read.
        value: Expression over counts (see `Count`). Money stays in micros here: the table divides once, in memory,
            because an engine may replace division by a constant with its rounded reciprocal.
        null_rule: When the feature is null, or empty if never.
        needs: What the data must offer beyond orders, such as `channel` or `event:visit` (see `features.offers`).
            Where it does not, the feature is absent.
    """

    name: str
    group: str
    unit: str
    meaning: str
    value: Expr
    null_rule: str = ""
    needs: tuple[str, ...] = ()

    def describe(self) -> dict[str, str]:
        """Return what people read of a feature, as the model card prints it."""
        words = {key: getattr(self, key) for key in ("name", "group", "unit", "meaning")}
        return words | {"needs": ", ".join(self.needs) or "orders", "null_rule": self.null_rule}


def exact(name: str) -> Expr:
    """Return a count as a float64 expression."""
    return col(name).cast(Float64)


def ratio(numerator: Expr, denominator: Expr) -> Expr:
    """Return numerator ÷ denominator, null where the denominator is not positive."""
    return when(denominator > 0).then(numerator / denominator)


def known_if(count: str, value: Expr) -> Expr:
    """Return a value where a count is above 0, and null where there was nothing to count."""
    return when(col(count) > 0).then(value)


def only_if(condition: Expr, value: Expr | int) -> Expr:
    """Return `value` where the condition holds, a number as int64, and null elsewhere."""
    return when(condition).then(value if isinstance(value, Expr) else lit(value, Int64))


def within(days: int) -> Expr:
    """Return whether a row lies in the last so many days before the cutoff."""
    return col("age_days") <= days


def supported(features: Iterable[Feature], offers: frozenset[str]) -> tuple[Feature, ...]:
    """Return the features whose needs are offered, in their order."""
    return tuple(feature for feature in features if offers.issuperset(feature.needs))


def catalogue_hash(features: Sequence[Feature]) -> str:
    """Return a hash of names, units, needs and null rules, in order: a bundle names its catalogue by it.

    A meaning may be worded better without a new training; a formula that changes is caught by the golden rows.
    """
    text = "\n".join(f"{f.name}|{f.unit}|{','.join(f.needs)}|{f.null_rule}" for f in features)
    return sha256(text.encode()).hexdigest()
