"""How the database of the score store is reached: its URL, its connections, and what is said when it fails."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from features.errors import SettingsError, StoreError
from serving.store import patience
from serving.store.patience import patient_connection

BEGIN = "lifestage_begin"  # execution option: what a transaction of SQLite begins with

_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
_POOLS: dict[str, dict[str, Any]] = {
    # A connection to a file costs nothing to hold; threads that wait for one would.
    "sqlite": {"pool_size": 16, "max_overflow": 48, "pool_timeout": 30},
    # A server has about a hundred connections for all workers together.
    "postgresql": {"pool_size": 5, "max_overflow": 5, "pool_timeout": 3, "pool_pre_ping": True},
}
_STATEMENT_SECONDS = 10.0
# A server that is gone without a word is given up after some 15 seconds, not after the hours of the system's defaults.
_POSTGRESQL_OPTIONS = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = NORMAL",
    "foreign_keys = ON",
    "busy_timeout = 30000",
    "secure_delete = ON",  # what is deleted is overwritten; many builds of SQLite do so by default
    "journal_size_limit = 67108864",  # the log of a publication is as large as its run, and would stay so
)


def sqlite_url(path: Path) -> str:
    """Build the database URL of a SQLite file."""
    return str(make_url("sqlite://").set(database=str(path)))


def build_engine(url: str) -> Engine:
    """Build the engine of a database URL; nothing is connected yet.

    Raises:
        SettingsError: If the URL is none, names another kind of database, or its driver is not installed.
    """
    address = _parse(url)
    kind = address.get_backend_name()
    options = _POSTGRESQL_OPTIONS if kind == "postgresql" else {}
    try:
        engine = create_engine(address, connect_args=options, **_POOLS[kind])
    except ImportError:
        raise SettingsError(
            "The score store is a PostgreSQL database, whose driver is not installed.",
            remedy="Run pip install 'lifestage[postgres]'.",
        ) from None
    prepare = _prepare_sqlite if kind == "sqlite" else _prepare_postgresql
    prepare(engine)
    return engine


def _parse(url: str) -> URL:
    """Read a URL; no part of it is told, as it may hold a password."""
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        address = URL.create("unreadable")
    kind, _, driver = address.drivername.partition("+")
    if kind not in _DRIVERS or driver not in {"", "psycopg", "pysqlite"}:
        raise SettingsError(
            "The URL of the score store names neither PostgreSQL nor SQLite.",
            remedy="Write postgresql://USER:PASSWORD@HOST/DATABASE in LIFESTAGE_STORE_URL, or leave serving.store_url "
            "empty for a file in the home folder.",
        )
    return address.set(drivername=_DRIVERS[kind])


def _prepare_sqlite(engine: Engine) -> None:
    """Let readers and one writer work side by side, in transactions that begin when we say so."""

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(BEGIN, "BEGIN"))


def _prepare_postgresql(engine: Engine) -> None:
    """Let no statement keep a thread for ever, unless it says that it may: see `without_time_limit`."""

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: object, _record: object, arguments: Any, named: Any) -> Any:
        return patient_connection().connect(*arguments, **named)

    @event.listens_for(engine, "checkin")
    def _hurry(connection: Any, _record: object) -> None:
        if connection is not None:
            connection.most_seconds = patience.MOST_SECONDS

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.execute(f"SET statement_timeout = {round(1000 * _STATEMENT_SECONDS)}")
        connection.commit()


def without_time_limit(connection: Connection) -> None:
    """Let the statements of this transaction take as long as they need: a publication, and who waits for one."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        driver: Any = connection.connection.driver_connection
        driver.most_seconds = None


@contextmanager
def raw_connection(engine: Engine) -> Iterator[Any]:
    """Give a connection of the driver itself, outside of any transaction, which saves a server two round trips."""
    pooled = engine.raw_connection()
    driver: Any = pooled.driver_connection
    try:
        if engine.dialect.name != "postgresql":
            yield driver
            return
        driver.autocommit = True
        try:
            yield driver
        finally:
            if not driver.closed:
                driver.autocommit = False
    finally:
        pooled.close()


def reading_engine(engine: Engine) -> Engine:
    """Return the engine for readers: each transaction sees the store as it was when it first looked."""
    if engine.dialect.name == "sqlite":
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def writing_engine(engine: Engine) -> Engine:
    """Return the engine for writers, who queue from their first statement on in SQLite."""
    return engine.execution_options(**{BEGIN: "BEGIN IMMEDIATE"})


@contextmanager
def failing_clearly(engine: Engine) -> Iterator[None]:
    """Turn what a database says when it fails into an error of ours, without the values that it may quote.

    A broken constraint passes: it is a fault of what was written, and of who wrote it, not of the database.

    Raises:
        StoreError: If the database cannot be reached, was lost, or refuses to work.
    """
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        _fail(engine, type(error.orig).__name__, is_busy=_is_busy(error.orig))
    except PoolTimeoutError:
        _fail(engine, "all connections are in use", is_busy=True)
    except engine.dialect.loaded_dbapi.Error as error:  # of a driver that was used directly
        _fail(engine, type(error).__name__, is_busy=_is_busy(error))


def _is_busy(error: BaseException | None) -> bool:
    """Tell whether SQLite only waited too long for others; the low byte of its codes names the kind of error."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY


def _fail(engine: Engine, reason: str, *, is_busy: bool) -> NoReturn:
    if engine.dialect.name == "sqlite":
        name = Path(engine.url.database or "in memory").name
        if is_busy:
            raise StoreError(
                f"The score store {name} is busy: another write is under way, or too many read it.",
                remedy="Nothing is wrong with it: repeat this in a minute.",
            ) from None
        raise StoreError(
            f"The score store {name} cannot be used ({reason}).",
            remedy="Look whether its disk has room and whether you may write there; if it is damaged, restore it from "
            "a backup. Do not just delete it: scores can be computed again, but objections are kept nowhere else.",
        ) from None
    raise StoreError(
        f"The database of the score store does not answer as it should ({reason}).",
        remedy="Look whether it runs, takes connections and has room; then try again.",
    ) from None
