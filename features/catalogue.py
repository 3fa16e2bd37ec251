"""The form in which a feature is declared: once, with its unit, meaning and null rule."""

from dataclasses import dataclass
from hashlib import sha256

import narwhals as nw

MICROS = 1_000_000
MONEY_UNITS = frozenset({"currency", "currency per year"})


@dataclass(frozen=True, slots=True)
class Count:
    """An exact integer per customer, aggregated over its order days; the raw material of features.

    Args:
        name: Column name of the aggregate.
        row: Expression over the columns of `build_order_days`; null rows are left out.
        how: `sum`, `max`, `min` or `median`.
    """

    name: str
    row: nw.Expr
    how: str = "sum"

    @property
    def row_name(self) -> str:
        """Name of the per-row column that is aggregated."""
        return f"_{self.name}"

    def aggregate(self) -> nw.Expr:
        """Return the aggregation over a customer's order days."""
        column = nw.col(self.row_name)
        reduced = {"sum": column.sum, "max": column.max, "min": column.min, "median": column.median}[self.how]()
        return reduced.cast(nw.Float64 if self.how == "median" else nw.Int64).alias(self.name)


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the feature table.

    Args:
        name: Column name.
        unit: `days`, `orders`, `order days`, `share`, `ratio`, `per year`, or one of `MONEY_UNITS`.
        meaning: One line a person can read.
        value: Expression over counts (see `Count`). Money stays in micros here: the table divides once, in memory,
            because an engine may replace division by a constant with its rounded reciprocal.
        null_rule: When the feature is null, or empty if never.
    """

    name: str
    unit: str
    meaning: str
    value: nw.Expr
    null_rule: str = ""

    def describe(self) -> dict[str, str]:
        """Return name, unit, meaning and null rule, as the model card prints them."""
        return {"name": self.name, "unit": self.unit, "meaning": self.meaning, "null_rule": self.null_rule}


def exact(name: str) -> nw.Expr:
    """Return a count as a float64 expression."""
    return nw.col(name).cast(nw.Float64)


def ratio(numerator: nw.Expr, denominator: nw.Expr) -> nw.Expr:
    """Return numerator ÷ denominator, null where the denominator is not positive."""
    return nw.when(denominator > 0).then(numerator / denominator)


def when(condition: nw.Expr, value: nw.Expr | int) -> nw.Expr:
    """Return `value` as int64 where the condition holds, and null elsewhere."""
    return nw.when(condition).then(value if isinstance(value, nw.Expr) else nw.lit(value, nw.Int64))


def catalogue_hash(features: tuple[Feature, ...]) -> str:
    """Return a hash of names, units and null rules, in order: a bundle names the catalogue it was trained on by it.

    A meaning may be worded better without a new training; a formula that changes is caught by the golden rows.
    """
    text = "\n".join(f"{feature.name}|{feature.unit}|{feature.null_rule}" for feature in features)
    return sha256(text.encode()).hexdigest()
