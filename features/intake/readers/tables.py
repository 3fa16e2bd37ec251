"""One source, opened as a table of its own columns: text by our reader, Parquet by DuckDB's, databases by query."""

# ruff: noqa: S608 - statements are composed of our own SQL; whatever comes from outside is quoted or escaped

from collections.abc import Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path

import duckdb

from features.errors import EmptySourceError, InputError
from features.intake.readers.delimited import field_sql, register_records
from features.intake.readers.files import PARQUET_SUFFIXES, FoundFile
from features.intake.readers.text import prepare_text
from features.intake.values.texts import literal_sql
from features.settings import Reading


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a source: its name there, the SQL and DuckDB type of its values, and what they are."""

    name: str
    sql: str
    kind: str = "VARCHAR"
    is_time: bool = False
    is_text: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """An opened source of which it is not told yet which column is which of ours.

    Attributes:
        file: Its name, for messages.
        select: The start of a SELECT: line, fault, row_hash. Columns, then FROM `rows`, complete it.
        rows: What to select from.
        columns: The columns of the source, in order.
        notes: What was found out about how it is written, for people.
        may_hold_commas: Whether a value can hold a comma.
    """

    file: str
    select: str
    rows: str
    columns: Sequence[Column]
    notes: tuple[str, ...] = ()
    may_hold_commas: bool = True


def open_file(file: FoundFile, reading: Reading, connection: duckdb.DuckDBPyConnection, *, name: str) -> Table:
    """Open a text or Parquet file; temporary tables begin with `name`.

    Raises:
        EmptySourceError: If it is empty.
        InputError: If it is not a table.
    """
    if file.path.stat().st_size == 0:
        raise EmptySourceError(f"{file.path} is empty.", remedy="Give a file with column names and one order per row.")
    if file.path.name.lower().endswith(PARQUET_SUFFIXES):
        return _open_parquet(file, connection)
    return _open_text(file, reading, connection, name=name)


def open_query(url: str, query: str, connection: duckdb.DuckDBPyConnection, *, name: str) -> Table:
    """Run a query to a database; temporary tables begin with `name`.

    Raises:
        SettingsError: If the URL cannot be read.
        InputError: If the database does not answer, or refuses the query.
    """
    from features.intake.readers.databases import load_query

    result = load_query(url, query, connection, name=name)
    columns = [
        Column(column.name, column.sql, is_time=column.is_time, is_text=column.is_text) for column in result.columns
    ]
    select = f"SELECT line, NULL::VARCHAR AS fault, {_hash(columns)} AS row_hash"
    return Table(result.source, select, result.table, columns)


def _open_text(found: FoundFile, reading: Reading, connection: duckdb.DuckDBPyConnection, *, name: str) -> Table:
    file = prepare_text(found.path, reading, _spill_folder(connection))
    keys = _key_columns(found, file.columns)
    columns = [Column(column, field_sql(index)) for index, column in enumerate(file.columns)]
    row_hash = f"hash({', '.join(('row_hash', *(key.sql for key in keys)))})" if keys else "row_hash"
    return Table(
        file=str(found.path),
        select=f"SELECT line, fault, {row_hash} AS row_hash",
        rows=f"({register_records(file, connection, name=name)})",
        columns=[*columns, *keys],
        notes=file.notes,
        may_hold_commas=file.separator != "," or file.has_quotes,
    )


def _open_parquet(found: FoundFile, connection: duckdb.DuckDBPyConnection) -> Table:
    rows = f"read_parquet({literal_sql(escape(str(found.path)))}, file_row_number=true, hive_partitioning=false)"
    try:
        described = connection.execute(f"DESCRIBE SELECT * EXCLUDE (file_row_number) FROM {rows}").fetchall()
    except duckdb.Error:
        raise InputError(
            f"{found.path} is not a readable Parquet file.", remedy="Write it again, or give a CSV."
        ) from None
    columns = [_parquet_column(str(column), str(kind)) for column, kind, *_ in described]
    columns += _key_columns(found, [column.name for column in columns])
    select = f"SELECT file_row_number + 1 AS line, NULL::VARCHAR AS fault, {_hash(columns)} AS row_hash"
    return Table(str(found.path), select, rows, columns)


def _parquet_column(name: str, kind: str) -> Column:
    is_time = kind == "DATE" or kind.startswith("TIMESTAMP")
    return Column(name, _identifier(name), kind, is_time=is_time, is_text=kind == "VARCHAR")


def _hash(columns: Sequence[Column]) -> str:
    """Return the SQL of a hash of a row, in whatever order a file has its columns."""
    return f"hash({', '.join(column.sql for column in sorted(columns, key=lambda column: column.name))})"


def _key_columns(file: FoundFile, names: Sequence[str]) -> list[Column]:
    """Return the columns that folders name, unless the file has one of that name itself."""
    return [
        Column(key, "NULL::VARCHAR" if value is None else literal_sql(value))
        for key, value in file.keys.items()
        if key not in names
    ]


def _spill_folder(connection: duckdb.DuckDBPyConnection) -> Path:
    """Return where the database spills to, which lasts as long as it does."""
    return Path(connection.execute("SELECT current_setting('temp_directory')").fetchall()[0][0])


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
