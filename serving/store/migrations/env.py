"""What Alembic runs to reach the database: the connection, and the transaction, of whoever opens the store."""

from alembic import context

from serving.store.migrating import VERSION_TABLE
from serving.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
)
context.run_migrations()
