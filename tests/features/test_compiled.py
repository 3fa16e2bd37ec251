"""What a change of frames reads."""

import narwhals as nw
import polars as pl

from features.compiled import columns_read

SCHEMA = pl.Schema(dict.fromkeys("abcd", pl.Int64))


def test_columns_read() -> None:
    """Only the columns that the result depends on are read, also through others."""
    assert columns_read(lambda frame: frame.select(x=nw.col("a") + nw.col("c")), SCHEMA) == {"a", "c"}
    assert columns_read(lambda frame: frame.with_columns(x=nw.col("d"), y="b").select("x"), SCHEMA) == {"d"}
    assert columns_read(lambda frame: frame, SCHEMA) == set(SCHEMA)
