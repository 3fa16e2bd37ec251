"""The one question asked more often than all others: a customer's current score."""

from typing import Any

from sqlalchemy import Engine

from serving.store.opening import raw_connection
from serving.store.queries import current_score


class Lookup:
    """Asks the driver itself, in one statement and without a transaction, which a single question is anyway.

    Args:
        engine: Of the store.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        compiled = current_score().compile(dialect=engine.dialect)
        self._statement = str(compiled)
        self._is_server = engine.dialect.name == "postgresql"

    def find(self, customer_id: str) -> Any:
        """Return the row of `current_score`, or None."""
        given = {"customer_id": customer_id} if self._is_server else (customer_id,)
        with raw_connection(self._engine) as driver:
            return driver.execute(self._statement, given).fetchone()
