"""The one question asked more often than all others: a customer's current score."""

from contextlib import suppress
from threading import Lock
from typing import Any

from sqlalchemy import Engine

from serving.store.opening import raw_connection
from serving.store.queries import current_score


class Lookup:
    """Asks the driver itself, in one statement and without a transaction, which a single question is anyway.

    Of a file, one connection is kept for it, which spares a good part of the time; who finds it in use takes another.

    Args:
        engine: Of the store.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._statement = str(current_score().compile(dialect=engine.dialect))
        self._is_server = engine.dialect.name == "postgresql"
        self._kept: Any = None
        self._in_use = Lock()

    def find(self, customer_id: str) -> Any:
        """Return the row of `current_score`, or None."""
        if not self._is_server and self._in_use.acquire(blocking=False):
            try:
                return self._ask_kept(customer_id)
            finally:
                self._in_use.release()
        given = {"customer_id": customer_id} if self._is_server else (customer_id,)
        with raw_connection(self._engine) as driver:
            return driver.execute(self._statement, given).fetchone()

    def close(self) -> None:
        """Give the connection back."""
        with self._in_use:
            self._give_back()

    def _ask_kept(self, customer_id: str) -> Any:
        try:
            if self._kept is None:
                self._kept = self._engine.raw_connection()
            return self._kept.driver_connection.execute(self._statement, (customer_id,)).fetchone()
        except BaseException:
            self._drop()
            raise

    def _give_back(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            with suppress(Exception):
                kept.close()

    def _drop(self) -> None:
        """Close the connection, as the pool would hand out the same one again."""
        if self._kept is not None:
            with suppress(Exception):
                self._kept.invalidate()
        self._give_back()
