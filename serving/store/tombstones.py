"""What keeps erased people out of a publication that was computed before they were erased."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import polars as pl
from sqlalchemy import Connection, select

from serving.store.tables import TOMBSTONES


@dataclass(frozen=True, slots=True)
class ErasedGuard:
    """Keeps erased people out of a publication, though they were erased only after it had been computed.

    Args:
        load_hash: Gives what hashes an id; called only where somebody was erased.
    """

    load_hash: Callable[[], Callable[[str], str]]

    def find(self, connection: Connection, ids: Iterable[str]) -> frozenset[str]:
        """Return those ids that were erased; under the lock of a publisher nobody can be erased meanwhile."""
        erased = frozenset(connection.execute(select(TOMBSTONES.c.id_hash)).scalars())
        if not erased:
            return frozenset()
        hash_id = self.load_hash()
        return frozenset(each for each in ids if hash_id(each) in erased)

    def drop(self, connection: Connection, rows: pl.DataFrame, id_column: str) -> pl.DataFrame:
        """Return the rows without those people."""
        gone = self.find(connection, rows[id_column])
        return rows.filter(~pl.col(id_column).is_in(gone)) if gone else rows
