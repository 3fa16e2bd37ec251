"""The sums of a run by stage and RFM code: added up once, when it is published."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from serving.store.queries import TOTALS

REPORT = "totals"  # among the reports of a run

_KEYS = ("stage", "rfm")
_SCHEMA = pl.Schema(
    {"stage": pl.String(), "rfm": pl.String(), "customers": pl.Int64(), **dict.fromkeys(TOTALS, pl.Float64())}
)


def add_up(rows: pl.DataFrame) -> list[list[Any]]:
    """Return the sums of score rows, as the report keeps them."""
    sums = rows.group_by(_KEYS).agg(pl.len().cast(pl.Int64).alias("customers"), pl.col(TOTALS).sum())
    return [list(row) for row in sums.sort(_KEYS).select(_SCHEMA.names()).iter_rows()]


def count(sums: Sequence[Sequence[Any]]) -> int:
    """Return how many customers are in some sums."""
    return sum(row[2] for row in sums)


def build_totals(sums: Sequence[Sequence[Any]], withheld: Sequence[Sequence[Any]]) -> pl.DataFrame:
    """Return sums less those of some customers. One row per stage and RFM code that somebody is left in, sorted."""
    every = pl.DataFrame(sums, _SCHEMA, orient="row")
    less = pl.DataFrame(withheld, _SCHEMA, orient="row").with_columns(-pl.col("customers", *TOTALS))
    left = pl.concat([every, less]).group_by(_KEYS).agg(pl.col("customers", *TOTALS).sum()) if withheld else every
    return left.filter(pl.col("customers") > 0).sort(_KEYS)
