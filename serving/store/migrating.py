"""How the tables of a store come to be as this version needs them: migrations, run when a store is opened."""

from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, inspect, select, text

from features.errors import ServingError
from serving.store.opening import without_time_limit, writing_engine
from serving.store.tables import METADATA

VERSIONS = ("0001",)  # of serving/store/migrations/versions, oldest first
HEAD = VERSIONS[-1]
VERSION_TABLE = "lifestage_version"  # not Alembic's own name: a database may hold another program's tables, too

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 7_303_014  # of all advisory locks on a server, the one of those who migrate a store
_VERSION = Table(VERSION_TABLE, MetaData(), Column("version_num", String(32), nullable=False))


def migrate(engine: Engine) -> None:
    """Bring the tables of a store to this version; of several who try at once, one does it and the others wait.

    Raises:
        ServingError: If the store belongs to a newer version, or the tables to somebody else.
    """
    with engine.connect() as connection:
        if _is_current(connection):
            return
    with writing_engine(engine).begin() as connection:
        without_time_limit(connection)
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        if not _is_current(connection):
            _upgrade(connection)


def _is_current(connection: Connection) -> bool:
    """Tell whether nothing is to be done."""
    tables = set(inspect(connection).get_table_names())
    if VERSION_TABLE not in tables:
        _refuse_foreign(tables)
        return False
    version = connection.execute(select(_VERSION.c.version_num)).scalar_one_or_none()
    if version is not None and version not in VERSIONS:
        raise ServingError(
            f"The score store was last used by a newer version of Lifestage (its tables are at {version}, this "
            f"version knows {HEAD}).",
            remedy="Use that version, or give this one a store of its own.",
        )
    return bool(version == HEAD)


def _refuse_foreign(tables: set[str]) -> None:
    ours = sorted(tables & set(METADATA.tables))
    if ours:
        raise ServingError(
            f"The score store's tables ({', '.join(ours)}) were made by another version of Lifestage, or by another "
            "program.",
            remedy="Move the store (scores.db in the home folder) away and run lifestage score again, which computes "
            "its scores anew; record again who objected there. In PostgreSQL, give Lifestage a database of its own.",
        )


def _upgrade(connection: Connection) -> None:
    from alembic import command  # takes a moment to import, and there is seldom anything to do

    command.upgrade(alembic_config(connection), "head")


def alembic_config(connection: Connection | None = None) -> Any:
    """Build Alembic's configuration, which no file holds: the migrations of this package, over a connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
