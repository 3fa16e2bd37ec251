"""The tables of the score store, derived from the one list of columns.

They are what the migrations of `serving/store/migrations` lead to; a test holds the two together.
"""

from typing import Any

from sqlalchemy import Column, Double, ForeignKey, Index, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.types import TypeEngine

from serving.columns import COLUMNS, PROSPECT_COLUMNS, Kind, ScoreColumn

SQL_TYPES: dict[Kind, type[TypeEngine[Any]]] = {
    Kind.TEXT: Text,
    Kind.INTEGER: Integer,
    Kind.NUMBER: Double,
    Kind.NUMBERS: LargeBinary,  # float64, little-endian, one after the other: a third of their JSON text
}
PER_RUN = tuple(column for column in COLUMNS if column.per_run)
# Ids sort by their bytes in every database, or a cursor of one would skip customers in another.
ID_TYPE = Text().with_variant(Text(collation="C"), "postgresql")
_IDS = ("customer_id", "person_id")


def _columns(columns: tuple[ScoreColumn, ...], *keys: str) -> tuple[Column[Any], ...]:
    """Return the columns that differ from row to row; those of the run stand with the run."""
    return tuple(
        Column(
            c.name, ID_TYPE if c.name in _IDS else SQL_TYPES[c.kind], nullable=c.nullable, primary_key=c.name in keys
        )
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


def _row_of_run() -> Column[int]:
    """No foreign key: checking one for every row would take as long as loading the rows."""
    return Column("run_id", Integer, primary_key=True, autoincrement=False)


SCORES = Table("scores", METADATA, _row_of_run(), *_columns(COLUMNS, "customer_id"), sqlite_with_rowid=False)
# What the list filters by stands in the index, so that a filter which few pass does not fetch every row.
Index(
    "scores_ranked",
    SCORES.c.run_id,
    SCORES.c.value_at_risk.desc(),
    SCORES.c.customer_id,
    SCORES.c.stage,
    SCORES.c.size,
    SCORES.c.p_churn,
)
PROSPECTS = Table(
    "prospects",
    METADATA,
    _row_of_run(),
    *_columns(PROSPECT_COLUMNS, "person_id", "is_visitor"),
    sqlite_with_rowid=False,
)
Index(
    "prospects_ranked",
    PROSPECTS.c.run_id,
    PROSPECTS.c.p_first_purchase.desc(),
    PROSPECTS.c.person_id,
    PROSPECTS.c.is_visitor,
)
REPORTS = Table(
    "reports",
    METADATA,
    Column("run_id", Integer, ForeignKey("runs.run_id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("body", Text, nullable=False),
)
PUBLISHED = Table(
    "published",
    METADATA,
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("run_id", Integer, ForeignKey("runs.run_id"), nullable=False),
)
# Who is not to be scored or listed: those who objected, by their id, as they are customers still; and those who were
# erased, by a keyed hash alone, so that a later batch does not bring them back.
OBJECTIONS = Table(
    "objections",
    METADATA,
    Column("customer_id", ID_TYPE, primary_key=True),
    Column("objected_at", Text, nullable=False),
    sqlite_with_rowid=False,
)
TOMBSTONES = Table(
    "tombstones",
    METADATA,
    Column("id_hash", Text, primary_key=True),
    Column("erased_at", Text, nullable=False),
    sqlite_with_rowid=False,
)
# What was answered to writes that carried an Idempotency-Key; neither the key nor the request in the clear.
WRITES = Table(
    "writes",
    METADATA,
    Column("caller", Text, primary_key=True),
    Column("key_hash", Text, primary_key=True),
    Column("request_hash", Text, nullable=False),
    Column("received_at", Text, nullable=False),
    Column("status", Integer),
    Column("answer", Text),
    sqlite_with_rowid=False,
)
