"""A frame into a table at once: straight through the driver on SQLite, by COPY on PostgreSQL.

Cells are converted by the column, never by the cell: a million scores are some forty million of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sqlalchemy import Connection, Table

_ROWS_AT_ONCE = 1_000  # few enough to stay in a processor's cache
_CACHE_KIB, _MUCH_CACHE_KIB = 8_192, 131_072


def load_rows(connection: Connection, table: Table, rows: pl.DataFrame, run_id: int) -> None:
    """Add the rows of a run to a table, within the transaction of a connection.

    Args:
        connection: In a transaction.
        table: With `run_id`, and otherwise columns that the frame has too.
        rows: One row per row; lists of numbers go to binary columns.
        run_id: The run.
    """
    names = [
        name
        for name in table.columns.keys()  # noqa: SIM118  # a collection of columns, not a dict
        if name != "run_id"
    ]
    flat = rows.select(names).with_columns(pl.col(pl.Float64).fill_nan(None))
    if connection.dialect.name == "sqlite":
        _insert(connection, table.name, flat, run_id)
        return
    from serving.store.copying import copy_rows  # needs PyArrow, which takes a moment to import

    copy_rows(connection, table.name, flat, run_id)


def _insert(connection: Connection, table: str, rows: pl.DataFrame, run_id: int) -> None:
    names = ", ".join(("run_id", *rows.columns))
    marks = ", ".join("?" * (rows.width + 1))
    statement = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608  # names of our own tables
    driver: Any = connection.connection.driver_connection
    with with_much_cache(connection):
        for part in rows.iter_slices(_ROWS_AT_ONCE):
            driver.executemany(statement, zip([run_id] * part.height, *map(_cells, part), strict=True))


@contextmanager
def with_much_cache(connection: Connection) -> Iterator[None]:
    """Let SQLite hold an index that changes in no order whole, for as long as that lasts."""
    if connection.dialect.name != "sqlite":
        yield
        return
    connection.exec_driver_sql(f"PRAGMA cache_size = -{_MUCH_CACHE_KIB}")
    try:
        yield
    finally:
        connection.exec_driver_sql(f"PRAGMA cache_size = -{_CACHE_KIB}")


def _cells(values: pl.Series) -> list[Any]:
    return list(_packed(values)) if values.dtype == pl.List else values.to_list()


def _packed(values: pl.Series) -> Iterator[bytes]:
    """Yield each list of numbers as bytes."""
    content, ends = flatten(values)
    data = content.tobytes()
    start = 0
    for end in ends.tolist():
        yield data[start:end]
        start = end


def flatten(values: pl.Series) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the numbers of all lists, little-endian, and where each list ends, in bytes."""
    content = values.explode(empty_as_null=False, keep_nulls=False).to_numpy().astype("<f8")
    return content, np.cumsum(values.list.len().to_numpy().astype(np.int64) * 8)
