"""Files of orders, found and opened: CSV through our line reader, Parquet through DuckDB's."""

# ruff: noqa: S608 - statements are composed of our own SQL; whatever comes from outside is quoted or escaped

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

import duckdb

from features.errors import EmptySourceError, InputError, SourceNotFoundError
from features.intake.columns import resolve_columns
from features.intake.delimited import field_sql, register_records, scan_text

TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
PARQUET_SUFFIXES = (".parquet", ".pq")


@dataclass(frozen=True, slots=True)
class RawRows:
    """The rows of one source, before validation.

    Attributes:
        file: The path as given.
        sql: A SELECT of line, fault, and one column per name in `types`. One row per row of the source.
        types: Our column names → DuckDB type of the source's column.
    """

    file: str
    sql: str
    types: Mapping[str, str]


def find_sources(paths: Sequence[Path | str]) -> list[Path]:
    """List the files that paths and glob patterns name, each once.

    Raises:
        SourceNotFoundError: If a path or pattern names no file.
        InputError: If a path is a folder, a file is named twice, or its suffix is not known.
    """
    found = [file for path in paths for file in _expand(str(path))]
    if not found:
        raise SourceNotFoundError("No order file was given.", remedy="Give a CSV or Parquet file, as in --orders PATH.")
    seen: set[Path] = set()
    for file in found:
        _refuse_unknown(file)
        if file.resolve() in seen:
            raise InputError(f"{file} was given twice.", remedy="Give each file once, so that no order counts double.")
        seen.add(file.resolve())
    return found


def open_source(path: Path, mapping: Mapping[str, str], connection: duckdb.DuckDBPyConnection, *, name: str) -> RawRows:
    """Open one file and resolve its columns.

    Args:
        path: A file that `find_sources` returned.
        mapping: Our column name → theirs, as the user gave it.
        connection: Where temporary tables go; their names begin with `name`.
        name: A name that no other source on this connection has.

    Raises:
        EmptySourceError: If the file is empty.
        MissingColumnError: If a column is absent or ambiguous.
        InputError: If the file is not a table.
    """
    if path.stat().st_size == 0:
        raise EmptySourceError(f"{path} is empty.", remedy="Give a file with column names and one order per row.")
    if path.name.lower().endswith(PARQUET_SUFFIXES):
        return _open_parquet(path, mapping, connection)
    return _open_text(path, mapping, connection, name=name)


def _expand(path: str) -> list[Path]:
    if Path(path).exists() or not has_magic(path):
        return [Path(path)]
    matches = sorted(Path(match) for match in glob(path, recursive=True))  # noqa: PTH207 - a pattern may be absolute
    if not matches:
        raise SourceNotFoundError(f"No file matches {path}.", remedy="Check the folder and the pattern.")
    return matches


def _refuse_unknown(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder.", remedy=f'Name the files in it, as in --orders "{path}/*.csv".')
    if not path.is_file():
        raise SourceNotFoundError(f"There is no file at {path}.", remedy="Check the path to the order file.")
    if not path.name.lower().endswith((*TEXT_SUFFIXES, *PARQUET_SUFFIXES)):
        raise InputError(
            f"{path} is neither CSV nor Parquet by its name.",
            remedy=f"Export it as one of {', '.join((*TEXT_SUFFIXES, *PARQUET_SUFFIXES))}.",
        )


def _open_text(path: Path, mapping: Mapping[str, str], connection: duckdb.DuckDBPyConnection, *, name: str) -> RawRows:
    file = scan_text(path)
    theirs = resolve_columns(file.columns, mapping, source=str(path))
    records = register_records(file, connection, name=name)
    fields = ", ".join(f"{field_sql(file.columns.index(column))} AS {ours}" for ours, column in theirs.items())
    return RawRows(str(path), f"SELECT line, fault, {fields} FROM ({records})", dict.fromkeys(theirs, "VARCHAR"))


def _open_parquet(path: Path, mapping: Mapping[str, str], connection: duckdb.DuckDBPyConnection) -> RawRows:
    read = f"read_parquet({_literal(str(path))}, file_row_number=true, hive_partitioning=false)"
    try:
        described = connection.execute(f"DESCRIBE SELECT * EXCLUDE (file_row_number) FROM {read}").fetchall()
    except duckdb.Error:
        raise InputError(f"{path} is not a readable Parquet file.", remedy="Write it again, or give a CSV.") from None
    types = {str(column): str(kind) for column, kind, *_ in described}
    theirs = resolve_columns(list(types), mapping, source=str(path))
    fields = ", ".join(f"{_identifier(column)} AS {ours}" for ours, column in theirs.items())
    sql = f"SELECT file_row_number + 1 AS line, NULL::VARCHAR AS fault, {fields} FROM {read}"
    return RawRows(str(path), sql, {ours: types[column] for ours, column in theirs.items()})


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
