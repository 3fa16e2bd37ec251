"""Changes of frames: what they read, and that they depend on values alone."""

import narwhals as nw
import polars as pl

from features.compiled import Compiled, columns_read

SCHEMA = pl.Schema(dict.fromkeys("abcd", pl.Int64))


def test_columns_read() -> None:
    """Only the columns that the result depends on are read, also through others."""
    assert columns_read(lambda frame: frame.select(x=nw.col("a") + nw.col("c")), SCHEMA) == {"a", "c"}
    assert columns_read(lambda frame: frame.with_columns(x=nw.col("d"), y="b").select("x"), SCHEMA) == {"d"}
    assert columns_read(lambda frame: frame, SCHEMA) == set(SCHEMA)


def test_repeated_value() -> None:
    """A column held as one repeated value counts like any other, down to the sign of zero."""
    held_once = pl.DataFrame({"b": [0.0, 5.0]}).with_columns(a=pl.lit(0.0))
    change = Compiled(lambda frame: frame.select(x=pl.col("a") - pl.col("b")))
    assert repr(change(held_once)["x"].to_list()) == "[0.0, -5.0]"
