"""Reducing neighbouring rows: the same as grouping, for every aggregation that order days know."""

import narwhals as nw
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.arrays import Arrays
from features.catalogue import Count, How
from features.expressions import col
from features.reduce import reduce_rows, starts_of

HOWS: tuple[How, ...] = ("sum", "max", "min", "median")
COUNTS = tuple(Count(how, col("value"), how) for how in HOWS)
VALUES = st.none() | st.integers(0, 3) | st.integers(0, 50_000)


@given(st.lists(st.lists(VALUES, min_size=1, max_size=9), min_size=1, max_size=9))
@settings(deadline=None)
def test_grouping(customers: list[list[int | None]]) -> None:
    """Each customer has the same counts as by grouping, where some or all values are missing, too."""
    rows = pl.DataFrame(
        [(i, value) for i, values in enumerate(customers) for value in values],
        schema={"customer_id": pl.Int64, "value": pl.Int64},
        orient="row",
    )
    assert _reduced(rows).rows() == _grouped(rows).rows()


@pytest.mark.parametrize(("low", "high"), [(0, 2**62), (-(2**62), 0), (-(2**62), 2**62 - 1)])
def test_extremes(low: int, high: int) -> None:
    """The greatest and the least number that 64 bits hold with room are kept to the last digit."""
    rows = pl.DataFrame({"customer_id": [0, 0, 1], "value": [low, high, high]})
    for how in ("sum", "max", "min"):
        assert _reduced(rows)[how].equals(_grouped(rows)[how])


@given(st.lists(st.integers(0, 4), max_size=20).map(sorted))
def test_starts(codes: list[int]) -> None:
    """A run begins wherever a code differs from the one before it."""
    found = starts_of(np.array(codes, dtype=np.int64)).tolist()
    assert found == [i for i, code in enumerate(codes) if i == 0 or codes[i - 1] != code]


def _reduced(rows: pl.DataFrame) -> pl.DataFrame:
    starts = starts_of(rows["customer_id"].to_numpy())
    return pl.DataFrame(reduce_rows(Arrays.of(rows), starts, COUNTS).to_series())


def _grouped(rows: pl.DataFrame) -> pl.DataFrame:
    columns = (count.row.on(nw).alias(count.row_name) for count in COUNTS)
    lazy = nw.from_native(rows.lazy()).select("customer_id", *columns)
    grouped: pl.DataFrame = (
        lazy.group_by("customer_id").agg(*(count.aggregate() for count in COUNTS)).collect().to_native()
    )
    return grouped.sort("customer_id").drop("customer_id")


def test_median_of_money() -> None:
    """The median is right also where customers times values would not fit into one number."""
    n = 60_000
    values = np.repeat(np.array([[3 * 10**14, 10**14, 2 * 10**14]]), n, axis=0).ravel()
    rows = Arrays.from_values({"x": values}, values.size)
    found = reduce_rows(rows, np.arange(0, 3 * n, 3), [Count("m", col("x"), "median")])["m"]
    assert (found.values == 2e14).all()
