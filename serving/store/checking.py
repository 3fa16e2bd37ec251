"""What is looked at before scores are published."""

import polars as pl

from features.errors import ServingError
from serving.columns import COLUMNS, SCORE_COLUMNS, SCORE_SCHEMA
from serving.store.tables import PER_RUN


def check_scores(scores: pl.DataFrame) -> pl.DataFrame:
    """Return the rows in the order of the primary key, or refuse them.

    Raises:
        ServingError: If the frame is empty, holds a customer twice, mixes runs, or lacks a value.
    """
    if scores.is_empty():
        raise ServingError("There are no scores to publish.", remedy="Score orders that lie before the as-of date.")
    absent = [name for name in SCORE_COLUMNS if name not in scores.columns]
    if absent:
        raise _refused(f"lack the columns {', '.join(absent)}")
    rows = scores.select(SCORE_COLUMNS).cast(SCORE_SCHEMA).sort("customer_id")
    if rows["customer_id"].rle_id().last() != rows.height - 1:
        raise _refused("hold a customer more than once")
    if rows["customer_id"].str.contains("\0", literal=True).any():
        raise _refused("hold a customer id with a NUL, which not every database can hold")
    mixed = [column.name for column in PER_RUN if (rows[column.name] != rows[column.name][0]).any()]
    if mixed:
        raise _refused(f"mix several values of {', '.join(mixed)}")
    incomplete = [column.name for column in COLUMNS if not column.nullable and not _complete(rows[column.name])]
    if incomplete:
        raise _refused(f"lack finite values of {', '.join(incomplete)}")
    return rows


def _complete(values: pl.Series) -> bool:
    flat = values.explode(empty_as_null=False, keep_nulls=True) if values.dtype == pl.List else values
    if flat.null_count():
        return False
    return bool(flat.is_finite().all()) if flat.dtype.is_float() else True


def _refused(reason: str) -> ServingError:
    return ServingError(f"The scores {reason}.", remedy="Publish the frame that one scoring run returned, unchanged.")
