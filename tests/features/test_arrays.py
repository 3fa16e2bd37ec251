"""Arrays: what an expression says is the same to numpy, to Polars and to narwhals, where values are missing, too."""

from itertools import combinations
from typing import Any, Literal

import narwhals as nw
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import expressions
from features.arrays import Arrays
from features.expressions import Expr, Float64, Int64, col, lit, max_horizontal, min_horizontal, when

SCHEMA = {"a": pl.Int64, "b": pl.Int64, "x": pl.Float64, "p": pl.Boolean, "q": pl.Boolean}
NUMBERS = st.none() | st.integers(-9, 9)
ROWS = st.tuples(
    NUMBERS, NUMBERS, st.none() | st.integers(-8, 8).map(lambda n: n / 4), *[st.none() | st.booleans()] * 2
)

_LEAVES = st.sampled_from([col("a"), col("b"), col("x"), lit(3, Int64), lit(0.5)])
_CONDITIONS = st.sampled_from([col("p"), col("q"), ~col("p"), col("q").fill_null(value=True)])


def _grown(parts: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    pairs = st.tuples(parts, parts)
    return st.one_of(
        pairs.map(lambda two: two[0] + two[1]),
        pairs.map(lambda two: two[0] - two[1]),
        pairs.map(lambda two: two[0] * two[1]),
        pairs.map(lambda two: when(two[1] > 0).then(two[0] / two[1])),
        pairs.map(lambda two: max_horizontal(*two)),
        pairs.map(lambda two: min_horizontal(*two)),
        parts.map(lambda one: one.fill_null(2)),
        parts.map(lambda one: 7 - one),
        parts.map(lambda one: one.cast(Float64).clip(-5.0, 5.0)),
        st.tuples(_tests(parts), parts, parts).map(lambda its: when(its[0]).then(its[1]).otherwise(its[2])),
        st.tuples(_tests(parts), parts).map(lambda its: when(its[0]).then(its[1])),
    )


def _tests(parts: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    compared = st.tuples(parts, parts).map(lambda two: two[0] <= two[1])
    simple = st.one_of(_CONDITIONS, compared, parts.map(lambda one: one.is_null()))
    both = st.tuples(simple, simple)
    return st.one_of(simple, both.map(lambda two: two[0] & two[1]), both.map(lambda two: two[0] | two[1]))


DRAWN = st.recursive(_LEAVES, _grown, max_leaves=6).map(lambda one: one.cast(Float64))


@given(st.lists(ROWS, min_size=1, max_size=6), DRAWN)
def test_same_everywhere(rows: list[tuple[Any, ...]], drawn: Expr) -> None:
    """Any expression has the same values in arrays, in Polars and through narwhals."""
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    [found] = Arrays.of(frame).select(z=drawn).to_series()
    assert found.to_list() == frame.with_columns(z=drawn.on(pl))["z"].to_list()
    assert found.to_list() == nw.from_native(frame).with_columns(z=drawn.on(nw))["z"].to_list()


@pytest.mark.parametrize(
    "said",
    [
        *(getattr(col("a"), f"__{name}__")(col("b")) for name in ("lt", "le", "gt", "ge", "eq", "ne")),
        *(getattr(col("a"), f"__{name}__")(2) for name in ("add", "sub", "mul", "truediv", "floordiv", "mod")),
        *(getattr(col("c"), f"__{name}__")(20) for name in ("radd", "rsub", "rmul", "rfloordiv")),
        *(col("p") & col("q"), col("p") | col("q"), ~col("p")),
        col("x").floor(),
        (col("c") * 1.0).sqrt(),
        col("c").is_in((2, 5)),
        col("x").is_null(),
        col("x").fill_null(0.25),
        col("x").floor().cast(Int64),
        lit(4, Int64),
    ],
    ids=lambda said: said.operation,
)
def test_operation(said: Expr) -> None:
    """Each operation is Polars' own, row by row."""
    numbers = [None, 1, 2, 3]
    rows = [(a, b, None if a is None else a / 4, p, q, c) for a in numbers for b in numbers for c in (2, 5)
            for p in (None, True, False) for q in (None, True, False)]  # fmt: skip
    frame = pl.DataFrame(rows, schema={**SCHEMA, "c": pl.Int64}, orient="row")
    [found] = Arrays.of(frame).select(z=said).to_series()
    assert found.equals(frame.with_columns(z=said.on(pl))["z"], check_dtypes=True)


def test_filter() -> None:
    """Rows are kept where the condition is known to hold."""
    frame = pl.DataFrame({"a": [1, None, 3], "p": [True, True, None]})
    kept = Arrays.of(frame).filter(col("p"))
    assert kept.height == 2
    assert [series.to_list() for series in kept.to_series()] == [[1, None], [True, True]]
    assert Arrays.of(frame).filter(lit(value=True) | col("p")).height == 3


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=9), st.sampled_from([-1, 1]))
def test_along_rows(values: list[int], n_rows: Literal[1, -1]) -> None:
    """Looking along rows is as in Polars."""
    frame = pl.DataFrame({"a": values})
    found = Arrays.of(frame).select(moved=col("a").shift(n_rows), most=col("a").cum_max())
    expected = frame.select(moved=pl.col("a").shift(n_rows), most=pl.col("a").cum_max())
    assert pl.DataFrame(found.to_series()).equals(expected)


def test_condition_without_rows() -> None:
    """A condition that reads no column holds for every row, or for none."""
    frame = Arrays.from_values({"a": np.array([1, 2])}, 2)
    for holds, expected in ((True, [1, 2]), (False, [None, None])):
        made = frame.select(x=when(lit(holds)).then(col("a")))
        assert [series.to_list() for series in made.to_series()] == [expected]
        assert made.filter(~col("x").is_null()).height == 2 * holds


def test_no_truth() -> None:
    """An expression cannot be taken for true or false: a chain of comparisons would lose its first part."""
    with pytest.raises(TypeError, match="neither true nor false"):
        assert 0 < col("a") < 5


def test_columns() -> None:
    """An expression tells which columns it reads, also through others; another does not change it."""
    assert when(col("a") > 1).then(2 * col("b")).otherwise(max_horizontal("x", col("a"))).columns() == {"a", "b", "x"}
    assert lit(1).columns() == frozenset()
    assert col("a").on(expressions).columns() == {"a"}


def test_shared_parts() -> None:
    """A part that stands in several expressions is computed once, and none is mistaken for another."""
    shared = col("a") * 2
    made = {f"{i}{j}": shared + i * j for i, j in combinations(range(5), 2)}
    found = Arrays.from_values({"a": np.array([1, 2])}, 2).select(**made)
    assert all(
        found[name].values.tolist() == [2 + i * j, 4 + i * j]
        for name, (i, j) in zip(made, combinations(range(5), 2), strict=True)
    )
