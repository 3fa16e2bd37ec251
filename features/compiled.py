"""A change of frames, planned once for Polars and applied to many frames.

Writing down some sixty expressions takes longer than computing them on a few thousand rows. So the query is kept, with
a source that is filled in at each call.
"""

from collections.abc import Callable, Iterator
from typing import Any

import narwhals as nw
import polars as pl
from polars.io.plugins import register_io_source

Change = Callable[[nw.LazyFrame[Any]], nw.LazyFrame[Any]]
NativeChange = Callable[[pl.LazyFrame], pl.LazyFrame]


class Compiled:
    """A change of frames of one schema. Threads that call at once each get a query of their own.

    Args:
        change: From a Polars frame to a Polars frame.
    """

    def __init__(self, change: NativeChange) -> None:
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
    def __init__(self, change: NativeChange, schema: pl.Schema) -> None:
        self.schema = schema
        self._nothing = self._frame = pl.DataFrame(schema=schema)
        source = pl.defer(lambda: self._frame, schema=schema)
        self._lazy = change(source)

    def run(self, frame: pl.DataFrame) -> pl.DataFrame:
        # A column that arrives as one value, repeated, would give -0.0 for 0.0 - 0.0.
        self._frame = pl.DataFrame(frame.get_columns())
        try:
            return self._lazy.collect()
        finally:
            self._frame = self._nothing


def through_narwhals(change: Change) -> NativeChange:
    """Return a change that is written in narwhals as one of Polars frames."""

    def changed(frame: pl.LazyFrame) -> pl.LazyFrame:
        native: pl.LazyFrame = change(nw.from_native(frame)).to_native()
        return native

    return changed


def columns_read(change: Change, schema: pl.Schema) -> frozenset[str]:
    """Return which columns of a frame a change reads, as the query planner sees it."""
    read: set[str] = set()

    def source(with_columns: list[str] | None, *_: object) -> Iterator[pl.DataFrame]:
        read.update(schema if with_columns is None else with_columns)
        yield pl.DataFrame(schema=schema).select(read)

    through_narwhals(change)(register_io_source(source, schema=schema)).collect()
    return frozenset(read)
