"""Sources of rows: which there are, which of their columns are ours, and how their values are written."""

# ruff: noqa: S608 - statements are composed of our own SQL; whatever comes from outside is quoted or escaped

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import duckdb

from features.errors import EmptySourceError, InputError, SettingsError, SourceNotFoundError
from features.intake.readers.columns import ColumnNames, resolve_columns
from features.intake.readers.files import FoundFile, find_files
from features.intake.readers.tables import Column, Table, open_file, open_query
from features.intake.values.dates import refuse_bad_date_format
from features.intake.values.numbers import AMBIGUOUS, NUMBER_FORMATS, find_number_format
from features.settings import Reading, SourceSettings

MAX_SOURCES = 65_000

_UNITED_SOURCES = 100  # beyond this, a longer statement saves no more time
_PLAIN_NUMBERS = "1234.50"
_SHOWN_COLUMNS = 12
_NUMBER_NOTES = {
    "1234,50": ("numbers are read as 1234,50, for {column} has decimal commas",),
    AMBIGUOUS: (
        "{column} has points that may part thousands or decimals; set number_format, such as 1234.50 or 1.234,50",
    ),
}
_NUMBERS = ("amount", "value", "cost", "quantity")


@dataclass(frozen=True, slots=True)
class FileSource:
    """One file, and how its values are written."""

    file: FoundFile
    reading: Reading

    @property
    def name(self) -> str:
        """Return the path as given."""
        return str(self.file.path)

    @property
    def identity(self) -> object:
        """Return what another source must not share."""
        return self.file.path.resolve()

    def open(self, connection: duckdb.DuckDBPyConnection, *, name: str) -> Table:
        """Open the file; temporary tables begin with `name`."""
        return open_file(self.file, self.reading, connection, name=name)


@dataclass(frozen=True, slots=True)
class QuerySource:
    """The result of one query to a database. The URL, which may hold a password, is for connecting alone."""

    url: str = field(repr=False)
    query: str
    reading: Reading

    @property
    def name(self) -> str:
        """Return the URL without its password."""
        from features.intake.readers.databases import shown_url

        return shown_url(self.url)

    @property
    def identity(self) -> object:
        """Return what another source must not share."""
        return self.url, self.query

    def open(self, connection: duckdb.DuckDBPyConnection, *, name: str) -> Table:
        """Run the query; temporary tables begin with `name`."""
        return open_query(self.url, self.query, connection, name=name)


Source: TypeAlias = FileSource | QuerySource


@dataclass(frozen=True, slots=True)
class RawRows:
    """The rows of one source, before validation.

    Attributes:
        file: The path as given, or the URL without its password; for messages and the quarantine.
        sql: A SELECT of line (BIGINT, from 1; of the file for text, else of the row), fault (VARCHAR value class or
            NULL), row_hash (UBIGINT, of every column of the row), and one column per name in `types`. One row per
            row of the source.
        types: Our column names → DuckDB type of the source's column.
        reading: How the values of this source are written; `number_format` is never empty.
        notes: What was found out about how it is written, for people.
        reads: Which of its columns are read as which of ours, and which are not read, for people.
    """

    file: str
    sql: str
    types: Mapping[str, str]
    reading: Reading
    notes: tuple[str, ...] = ()
    reads: str = ""


def find_sources(
    paths: Sequence[Path | str], settings: Sequence[SourceSettings] = (), *, inherited: Reading
) -> list[Source]:
    """List the files that paths, patterns, folders and settings name, and the queries of settings; each once.

    A folder stands for every file of a known kind in and beneath it. Folders named as in country=FR, beneath a
    folder or a pattern's first placeholder, give their files a column.

    Args:
        paths: Files, glob patterns or folders, read as `inherited` says.
        settings: Further sources, which may be read otherwise.
        inherited: How values are written where a source does not say.

    Raises:
        SourceNotFoundError: If a path, folder or pattern names no file.
        InputError: If a source is named twice, or is of no known kind.
    """
    found: list[Source] = [FileSource(file, inherited) for path in paths for file in find_files(str(path))]
    for entry in settings:
        found += _stated_sources(entry, entry.reading(inherited))
    if not found:
        raise SourceNotFoundError("No order file was given.", remedy="Give a CSV or Parquet file, as in --orders PATH.")
    if len(found) > MAX_SOURCES:
        raise InputError(
            f"{len(found):,} files were given, more than {MAX_SOURCES:,}.", remedy="Write them as fewer, larger files."
        )
    _refuse_repeated(found)
    return found


def open_source(source: Source, connection: duckdb.DuckDBPyConnection, *, names: ColumnNames, name: str) -> RawRows:
    """Open one source, resolve its columns, and find out how its amounts are written.

    Args:
        source: What `find_sources` returned.
        connection: Where temporary tables go; their names begin with `name`.
        names: The columns that it can have.
        name: A name that no other source on this connection has.

    Raises:
        EmptySourceError: If the file is empty.
        MissingColumnError: If a column is absent or ambiguous.
        SettingsError: If a column mapping, a number format or a date format is not valid.
        InputError: If the source is not a table, or the database does not answer.
    """
    _refuse_bad_formats(source.reading, connection)
    table = source.open(connection, name=name)
    found = [column.name for column in table.columns]
    resolved = resolve_columns(found, source.reading.columns, names=names, source=table.file)
    columns = {ours: table.columns[found.index(theirs)] for ours, theirs in resolved.theirs.items()}
    fields = "".join(f", {column.sql} AS {ours}" for ours, column in columns.items())
    sql = f"{table.select}{fields} FROM {table.rows}"
    number_format, numbers = _find_number_format(source.reading.number_format, table, columns, sql, connection)
    changes = {"number_format": number_format, "date_format": _date_format(source.reading.date_format, columns)}
    return RawRows(
        file=table.file,
        sql=sql,
        types={ours: column.kind for ours, column in columns.items()},
        reading=source.reading.model_copy(update=changes),
        notes=(*table.notes, *resolved.notes, *numbers),
        reads=_say_what_is_read(resolved.theirs, found),
    )


def _say_what_is_read(theirs: Mapping[str, str], found: Sequence[str]) -> str:
    taken = ", ".join(f"{ours} from {name}" if ours != name else ours for ours, name in theirs.items())
    left = [name for name in found if name not in theirs.values()]
    more = f" and {len(left) - _SHOWN_COLUMNS:,} more" if len(left) > _SHOWN_COLUMNS else ""
    return f"Read: {taken}." + (f" Not read: {', '.join(left[:_SHOWN_COLUMNS])}{more}." if left else "")


def unite_sources(sources: Sequence[RawRows]) -> list[RawRows]:
    """Unite sources that are read alike, so that a folder of many small files is checked by few statements.

    Returns:
        Rows as those of each source, beside them `file`: the position of their source in `sources`.
    """
    alike: dict[object, list[str]] = {}
    first: dict[object, RawRows] = {}
    for number, raw in enumerate(sources):
        names = sorted(raw.types)
        key = (tuple((name, raw.types[name]) for name in names), raw.reading.model_dump_json())
        select = f"SELECT {number} AS file, line, fault, row_hash, {', '.join(names)} FROM ({raw.sql})"
        alike.setdefault(key, []).append(select)
        first.setdefault(key, raw)
    return [
        replace(first[key], sql=" UNION ALL ".join(selects[start : start + _UNITED_SOURCES]))
        for key, selects in alike.items()
        for start in range(0, len(selects), _UNITED_SOURCES)
    ]


def source_notes(sources: Sequence[RawRows]) -> Iterator[str]:
    """Yield what was found out about the sources, each once."""
    for note, named in files_by_text((note, source.file) for source in sources for note in source.notes).items():
        others = f" and {len(named) - 1} more" if len(named) > 1 else ""
        yield f"{named[0]}{others}: {note}."


def files_by_text(said: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return of which files each text is said, in the order in which they come; given as (text, file)."""
    files: dict[str, list[str]] = {}
    for text, file in said:
        files.setdefault(text, []).append(file)
    return files


def drop_tables(connection: duckdb.DuckDBPyConnection, *, prefix: str, keep: Collection[str]) -> None:
    """Drop the tables whose names begin with a prefix, but for some."""
    tables = connection.execute("SELECT table_name FROM duckdb_tables() WHERE starts_with(table_name, ?)", [prefix])
    for (table,) in tables.fetchall():
        if table not in keep:
            connection.execute(f'DROP TABLE "{table}"')


def insert_checked(
    into: str,
    columns: Collection[str],
    sources: Sequence[RawRows],
    checked_sql: Callable[[RawRows], str],
    connection: duckdb.DuckDBPyConnection,
) -> list[int]:
    """Append the checked rows of all sources to a table, sources that are read alike together.

    Args:
        into: The table.
        columns: Its columns, `file` among them.
        sources: What to check.
        checked_sql: Returns the SELECT that checks the rows of united sources.
        connection: Where the table is.

    Returns:
        How many rows each source has.

    Raises:
        InputError: If a source cannot be read to its end.
        EmptySourceError: If a source has no rows.
    """
    n_inserted = 0
    try:
        for raw in unite_sources(sources):
            inserted = connection.execute(f"INSERT INTO {into} ({', '.join(columns)}) {checked_sql(raw)}").fetchall()
            n_inserted += int(inserted[0][0])
    except duckdb.Error as error:  # its text may quote customer data
        raise InputError(
            f"{_unreadable(sources, connection)} cannot be read to its end ({type(error).__name__}).",
            remedy="Write the file again, as CSV in UTF-8 or as Parquet.",
        ) from None
    counts = dict(connection.execute(f"SELECT file, count(*) FROM {into} GROUP BY file").fetchall())
    for number, source in enumerate(sources):
        if number not in counts:
            raise EmptySourceError(
                f"{source.file} has column names but no rows.", remedy="Give a file that holds rows."
            )
    if sum(counts.values()) != n_inserted:
        raise AssertionError(f"{n_inserted} rows came in, {sum(counts.values())} were kept")
    return [int(counts[number]) for number in range(len(sources))]


def _unreadable(sources: Sequence[RawRows], connection: duckdb.DuckDBPyConnection) -> str:
    """Return the name of the first source that cannot be read by itself."""
    for source in sources:
        try:
            connection.execute(f"SELECT count(COLUMNS(*)) FROM ({source.sql})")
        except duckdb.Error:
            return source.file
    return sources[0].file


def _stated_sources(entry: SourceSettings, reading: Reading) -> list[Source]:
    if entry.url:
        return [QuerySource(entry.url, entry.query, reading)]
    return [FileSource(file, reading) for file in find_files(entry.path)]


def _refuse_repeated(sources: Sequence[Source]) -> None:
    seen: set[object] = set()
    for source in sources:
        if source.identity in seen:
            raise InputError(
                f"{source.name} was given twice.", remedy="Give each source once, so that no order counts double."
            )
        seen.add(source.identity)


def _refuse_bad_formats(reading: Reading, connection: duckdb.DuckDBPyConnection) -> None:
    refuse_bad_date_format(reading.date_format, connection)
    if reading.number_format and reading.number_format not in NUMBER_FORMATS:
        known = ", ".join(f'"{example}"' for example in NUMBER_FORMATS)
        raise SettingsError(
            f"Setting number_format is {reading.number_format!r}, which is not known.",
            remedy=f"Write 1234.50 as it stands in your files, one of {known}; or leave it empty to find out.",
        )


def _find_number_format(
    stated: str, table: Table, columns: Mapping[str, Column], sql: str, connection: duckdb.DuckDBPyConnection
) -> tuple[str, tuple[str, ...]]:
    """Return how the numbers of a source are written, and a note if that was found out and is not the plain way."""
    texts = [ours for ours in _NUMBERS if ours in columns and columns[ours].is_text]
    if not texts:
        return _PLAIN_NUMBERS, ()
    if stated:
        return stated, ()
    texts_sql = f"SELECT {texts[0]} FROM ({sql})"
    found = find_number_format(texts_sql, connection, may_hold_commas=table.may_hold_commas)
    return found, tuple(note.format(column=texts[0]) for note in _NUMBER_NOTES.get(found, ()))


def _date_format(stated: str, columns: Mapping[str, Column]) -> str:
    """Return the date format for text; native times need none."""
    when = next((ours for ours in ("ordered_at", "occurred_at") if ours in columns), None)
    return "" if when is not None and columns[when].is_time else stated
