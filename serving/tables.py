"""The tables of the score store, derived from the one list of columns; and how a database is prepared for them."""

from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    event,
    inspect,
)
from sqlalchemy.types import TypeEngine

from features.errors import ServingError
from serving.columns import COLUMNS, PROSPECT_COLUMNS, Kind, ScoreColumn

SQL_TYPES: dict[Kind, type[TypeEngine[Any]]] = {
    Kind.TEXT: Text,
    Kind.INTEGER: Integer,
    Kind.NUMBER: Float,
    Kind.NUMBERS: Text,
}
PER_RUN = tuple(column for column in COLUMNS if column.per_run)


def _columns(columns: tuple[ScoreColumn, ...], *keys: str) -> tuple[Column[Any], ...]:
    """Return the columns that differ from row to row; those of the run stand with the run."""
    return tuple(
        Column(c.name, SQL_TYPES[c.kind], nullable=c.nullable, primary_key=c.name in keys)
        for c in columns
        if not c.per_run
    )


METADATA = MetaData()
RUNS = Table(
    "runs",
    METADATA,
    Column("run_id", Integer, primary_key=True),
    *(Column(column.name, SQL_TYPES[column.kind], nullable=False) for column in PER_RUN),
    Column("n_customers", Integer, nullable=False),
    Column("published_at", Text, nullable=False),
    sqlite_autoincrement=True,
)


def _run_id() -> Column[int]:
    return Column("run_id", Integer, ForeignKey("runs.run_id"), primary_key=True)


SCORES = Table("scores", METADATA, _run_id(), *_columns(COLUMNS, "customer_id"), sqlite_with_rowid=False)
Index("scores_ranked", SCORES.c.run_id, SCORES.c.value_at_risk.desc(), SCORES.c.customer_id)
PROSPECTS = Table(
    "prospects", METADATA, _run_id(), *_columns(PROSPECT_COLUMNS, "person_id", "is_visitor"), sqlite_with_rowid=False
)
Index(
    "prospects_ranked",
    PROSPECTS.c.run_id,
    PROSPECTS.c.p_first_purchase.desc(),
    PROSPECTS.c.person_id,
    PROSPECTS.c.is_visitor,
)
REPORTS = Table(
    "reports", METADATA, _run_id(), Column("name", Text, primary_key=True), Column("body", Text, nullable=False)
)
PUBLISHED = Table(
    "published",
    METADATA,
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("run_id", Integer, ForeignKey("runs.run_id"), nullable=False),
)


def prepare_sqlite(engine: Engine) -> None:
    """Let readers and one writer work side by side, in transactions that begin when we say so."""

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON", "busy_timeout = 30000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("lifestage_begin", "BEGIN"))


def check_columns(connection: Connection) -> None:
    """Refuse tables that another version made.

    Raises:
        ServingError: If a table has other columns.
    """
    for table in METADATA.sorted_tables:
        found = {column["name"] for column in inspect(connection).get_columns(table.name)}
        if found != set(table.columns.keys()):
            raise ServingError(
                f"The score store's table {table.name} was written by another version of Lifestage.",
                remedy="Delete the store (scores.db in the home folder) and run lifestage score again.",
            )
