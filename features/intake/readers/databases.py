"""Queries to databases: read only, streamed in batches, every cell as text that the checks read like a file's."""

import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import time
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import duckdb
import pyarrow as pa
from sqlalchemy import URL, Connection, CursorResult, Engine, NullPool, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from features.errors import InputError, SettingsError, SourceNotFoundError

_BATCH_ROWS = 20_000
_CONNECT_SECONDS = 10
_ENVIRONMENT = "env:"
_MAX_WHOLE = 10**15  # up to here a float names each whole number exactly

# Python lacks some of their days, such as infinity, so they are read as text; json is text to us.
_TIME_OIDS: Mapping[object, str] = {1082: "date", 1114: "timestamp", 1184: "timestamptz"}
_READ_AS_TEXT = (*_TIME_OIDS.values(), "json", "jsonb")

# Messages of these kinds speak of the query, the server or the user, never of a row.
_HARMLESS_STATES = ("0A", "25006", "28", "3D", "42", "57")
_HARMLESS_SQLITE = re.compile(
    r"no such (table|column|function)|near \"|ambiguous column|incomplete input|attempt to write a readonly"
    r"|file is not a database|unable to open|database is locked|You can only execute one"
)


@dataclass(frozen=True, slots=True)
class QueryColumn:
    """A column of a result: its name, that in the table, and whether the database knows it as times or as texts."""

    name: str
    sql: str
    is_time: bool
    is_text: bool


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The rows of a query, in a temporary table: line (BIGINT, from 1), and each of `columns` as VARCHAR."""

    source: str
    table: str
    columns: Sequence[QueryColumn]


def load_query(url: str, query: str, connection: duckdb.DuckDBPyConnection, *, name: str) -> QueryResult:
    """Run a query and keep its rows in the table `<name>_rows`. One row per row of the result, in its order.

    Args:
        url: Of PostgreSQL or SQLite, as SQLAlchemy writes it; or env: and the environment variable that holds it.
        query: One statement that reads. It runs as given.
        connection: Where the table goes.
        name: A name that no other source on this connection has.

    Raises:
        SettingsError: If the URL cannot be read, or the environment variable is not set.
        SourceNotFoundError: If there is no such SQLite file.
        InputError: If the database does not answer, refuses the query, or returns cells that are no single values.
    """
    address = _read_url(url)
    source = _shown(address)
    remedy = "Correct the query: one statement that reads."
    with _connected(address, source) as database, _refusing(source, remedy, detail=_harmless_line):
        result = _execute(database, query)
        if not result.returns_rows:
            raise InputError(f"The query to {source} returns no rows.", remedy="Write a SELECT.")
        return _keep(result, connection, table=f"{name}_rows", source=source)


def shown_url(url: str) -> str:
    """Return a URL as it may be shown: without password and options.

    Raises:
        SettingsError: If the URL cannot be read, or the environment variable is not set.
    """
    return _shown(_read_url(url))


def _read_url(url: str) -> URL:
    if url.startswith(_ENVIRONMENT):
        variable = url.removeprefix(_ENVIRONMENT)
        if not (url := os.environ.get(variable, "")):
            raise SettingsError(
                f"The url of a source is that of the environment variable {variable}, which is not set.",
                remedy=f"Set {variable} to a URL such as postgresql://user:password@host/database.",
            )
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):  # their text repeats the password
        address = None
    if address is None or "@" in (address.host or ""):
        raise SettingsError(
            "The url of a source cannot be read.",
            remedy="Write it as postgresql://user:password@host/database or sqlite:///file.db; in a password, write"
            " @ as %40.",
        )
    return address


def _shown(address: URL) -> str:
    return address.set(query={}).render_as_string(hide_password=True)


@contextmanager
def _connected(address: URL, source: str) -> Iterator[Connection]:
    engine = _engine(address, source)
    try:
        with _refusing(source, "Check that it runs, and the host, database, user and password.", detail=_first_line):
            database = engine.connect()
        with database:
            yield database
    finally:
        engine.dispose()


@contextmanager
def _refusing(source: str, remedy: str, *, detail: Callable[[BaseException], str]) -> Iterator[None]:
    """Turn an error of the database into ours, with as much of its text as `detail` lets through."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Warning) as error:
        original = error.orig if isinstance(error, DBAPIError) and error.orig else error
        told = detail(original) or type(original).__name__
        raise InputError(f"{source} gave no rows: {told}.", remedy=remedy) from None


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0].strip().rstrip(".")


def _harmless_line(error: BaseException) -> str:
    """Return the first line of an error of a query, where it cannot hold what stands in a row."""
    line = _first_line(error)
    state = getattr(error, "sqlstate", None)
    is_harmless = state.startswith(_HARMLESS_STATES) if state else _HARMLESS_SQLITE.match(line)
    return line if is_harmless else ""


def _engine(address: URL, source: str) -> Engine:
    backend = address.get_backend_name()
    if backend == "sqlite":
        return _sqlite_engine(address, source)
    if backend in {"postgresql", "postgres"}:
        return _postgresql_engine(address)
    raise InputError(
        f"{source} is neither PostgreSQL nor SQLite.",
        remedy="Give a url that begins with postgresql:// or sqlite:///, or export a file.",
    )


def _sqlite_engine(address: URL, source: str) -> Engine:
    file = Path(address.database or "")
    if not file.is_file():
        raise SourceNotFoundError(f"There is no database file for {source}.", remedy="Check the path in the url.")
    uri = f"file:{quote(str(file.resolve()))}?mode=ro"
    return create_engine("sqlite://", creator=lambda: sqlite3.connect(uri, uri=True), poolclass=NullPool)


def _postgresql_engine(address: URL) -> Engine:
    timeout = {} if "connect_timeout" in address.query else {"connect_timeout": _CONNECT_SECONDS}
    try:
        return create_engine(
            address.set(drivername="postgresql+psycopg"),
            connect_args=timeout,
            poolclass=NullPool,
            execution_options={"postgresql_readonly": True},
        )
    except ModuleNotFoundError:
        raise InputError(
            "PostgreSQL cannot be read, for its driver is not installed.",
            remedy="Install it with: pip install 'lifestage[postgres]'.",
        ) from None


def _execute(database: Connection, query: str) -> CursorResult[Any]:
    """Run a query as given: a percent sign or a colon in it is no placeholder."""
    if database.dialect.name == "postgresql":
        _read_as_text(database)
    return database.execution_options(stream_results=True, yield_per=_BATCH_ROWS, no_parameters=True).exec_driver_sql(
        query
    )


def _read_as_text(database: Connection) -> None:
    from psycopg.types.string import TextLoader

    database.exec_driver_sql("SET LOCAL datestyle = 'ISO'")
    adapters = database.connection.driver_connection.adapters  # type: ignore[union-attr]  # it is open
    for kind in _READ_AS_TEXT:
        adapters.register_loader(kind, TextLoader)


def _keep(result: CursorResult[Any], connection: duckdb.DuckDBPyConnection, *, table: str, source: str) -> QueryResult:
    names = list(result.keys())
    is_time, is_text = _time_columns(result), [False] * len(names)
    fields = [f"c{index}" for index in range(len(names))]
    connection.execute(f"CREATE TEMP TABLE {table} (line BIGINT, {', '.join(f'{field} VARCHAR' for field in fields)})")
    n_rows = 0
    for rows in result.partitions(_BATCH_ROWS):
        columns = list(zip(*rows, strict=True))
        is_text = [known or str in set(map(type, values)) for known, values in zip(is_text, columns, strict=True)]
        cells = [_texts(values, name, source) for values, name in zip(columns, names, strict=True)]
        lines = pa.array(range(n_rows + 1, n_rows + len(rows) + 1), pa.int64())
        connection.from_arrow(pa.table([lines, *cells], names=["line", *fields])).insert_into(table)
        n_rows += len(rows)
    kept = [QueryColumn(*column) for column in zip(names, fields, is_time, is_text, strict=True)]
    return QueryResult(source, table, kept)


def _time_columns(result: CursorResult[Any]) -> list[bool]:
    """Return which columns the database declares as times. SQLite declares none: its times are text or numbers."""
    return [type_code in _TIME_OIDS for _, type_code, *_ in result.cursor.description]


def _texts(values: Sequence[object], column: str, source: str) -> pa.Array:
    try:
        return pa.array([None if value is None else _CELLS[type(value)](value) for value in values], pa.string())
    except KeyError as error:
        raise InputError(
            f"Column {column!r} of {source} holds values that are no single text, number or time"
            f" ({error.args[0].__name__}).",
            remedy="Leave it out of the query, or cast it to text.",
        ) from None


def _float_text(value: float) -> str:
    """Write a float; a whole one, such as an id that once stood beside gaps, as a whole number."""
    return str(int(value)) if value.is_integer() and abs(value) < _MAX_WHOLE else repr(value)


_CELLS: Mapping[type, Callable[[Any], str]] = {
    str: str,
    bool: lambda value: str(value).lower(),
    int: str,
    float: _float_text,
    Decimal: "{:f}".format,
    UUID: str,
    time: time.isoformat,
}
