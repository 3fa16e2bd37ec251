"""The one statement that SQLite and PostgreSQL have in common only by its words."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_if_absent(connection: Connection, table: Table, values: Mapping[str, str]) -> bool:
    """Insert a row unless its key is taken, and tell whether it was inserted.

    PostgreSQL waits for whoever is just taking the key, until that is settled.
    """
    dialect: Any = {"sqlite": sqlite, "postgresql": postgresql}[connection.dialect.name]
    insert = dialect.insert(table).values(values).on_conflict_do_nothing().returning(*table.primary_key)
    return connection.execute(insert).first() is not None
