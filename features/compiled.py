"""A change of frames, translated once for Polars and applied to many frames.

Translating some sixty narwhals expressions takes longer than computing them on a few thousand rows. So the translated
query is kept, with a source that is filled in at each call.
"""

from collections.abc import Callable, Iterator
from typing import Any

import narwhals as nw
import polars as pl
from polars.io.plugins import register_io_source

Change = Callable[[nw.LazyFrame[Any]], nw.LazyFrame[Any]]


class Compiled:
    """A change of frames of one schema. Threads that call at once each get a query of their own.

    Args:
        change: From a frame to a frame; it must not depend on the order of rows.
    """

    def __init__(self, change: Change) -> None:
        self._change = change
        self._idle: list[_Query] = []

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Apply the change."""
        query = self._idle.pop() if self._idle else None
        if query is None or query.schema != frame.schema:
            query = _Query(self._change, frame.schema)
        changed = query.run(frame)
        self._idle.append(query)
        return changed


class _Query:
    def __init__(self, change: Change, schema: pl.Schema) -> None:
        self.schema = schema
        self._nothing = self._frame = pl.DataFrame(schema=schema)
        source = pl.defer(lambda: self._frame, schema=schema)
        self._lazy: pl.LazyFrame = change(nw.from_native(source)).to_native()

    def run(self, frame: pl.DataFrame) -> pl.DataFrame:
        # A column that arrives as one value, repeated, would give -0.0 for 0.0 - 0.0.
        self._frame = pl.DataFrame(frame.get_columns())
        try:
            return self._lazy.collect()
        finally:
            self._frame = self._nothing


def columns_read(change: Change, schema: pl.Schema) -> frozenset[str]:
    """Return which columns of a frame a change reads, as the query planner sees it."""
    read: set[str] = set()

    def source(with_columns: list[str] | None, *_: object) -> Iterator[pl.DataFrame]:
        read.update(schema if with_columns is None else with_columns)
        yield pl.DataFrame(schema=schema).select(read)

    change(nw.from_native(register_io_source(source, schema=schema))).to_native().collect()
    return frozenset(read)
