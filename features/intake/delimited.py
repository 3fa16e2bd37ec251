"""Delimited text, read so that no line is lost: every line that is not blank becomes one record or part of one.

DuckDB's own CSV reader drops or repairs ragged lines and does not number the others. So it reads whole lines
here, and the lines are split in SQL: a line is a record of its own, unless a quoted value spans several.
"""

# ruff: noqa: S608 - statements are composed of our own SQL; whatever comes from outside is quoted or escaped

import codecs
import csv
import gzip
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import duckdb

from features.errors import EmptySourceError, InputError

SEPARATORS = (",", ";", "\t", "|")
MAX_LINES_PER_RECORD = 1000

_CHUNK_BYTES = 1 << 22
_MAX_HEADER_BYTES = 1 << 20
_UNUSED_BYTES = (0x1F, 0x1E, 0x1D, 0x1C, 0x02, 0x03)  # one of these, absent from the file, keeps lines whole
_VALUE = re.compile(r"[+-]?[\d.,]*\d|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b.*|.*@.*")


@dataclass(frozen=True, slots=True)
class TextFile:
    """What one pass over the bytes of a delimited file found."""

    path: Path
    header_line: int
    columns: tuple[str, ...]
    separator: str
    has_quotes: bool
    has_returns: bool
    is_utf8: bool
    line_guard: int


def scan_text(path: Path) -> TextFile:
    """Read the header of a delimited file and check that its bytes are text.

    Raises:
        EmptySourceError: If the file holds nothing but blank lines.
        InputError: If it is not text, ends its lines with bare carriage returns, or has no header.
    """
    try:
        number, header = _read_header(path)
        bytes_seen, is_utf8 = _scan_bytes(path)
    except (gzip.BadGzipFile, EOFError) as error:
        raise InputError(f"{path} is not a complete gzip file.", remedy="Compress or copy it again.") from error
    guard = next((byte for byte in _UNUSED_BYTES if byte not in bytes_seen), None)
    if 0 in bytes_seen or guard is None:
        raise InputError(f"{path} is not a text file in UTF-8.", remedy="Save it as CSV in UTF-8, or as Parquet.")
    if not header:
        raise EmptySourceError(f"{path} is empty.", remedy="Give a file with a header line and one order per line.")
    columns, separator = _split_header(path, header)
    return TextFile(
        path=path,
        header_line=number,
        columns=columns,
        separator=separator,
        has_quotes=ord('"') in bytes_seen,
        has_returns=ord("\r") in bytes_seen,
        is_utf8=is_utf8,
        line_guard=guard,
    )


def register_records(file: TextFile, connection: duckdb.DuckDBPyConnection, *, name: str) -> str:
    """Prepare the records of a file and return the SQL that selects them.

    Args:
        file: The scanned file.
        connection: Where temporary tables go; their names begin with `name`.
        name: A name that no other source on this connection has.

    Returns:
        A SELECT of line (of the file, from 1), fault (a value class, or NULL), fields (a list, or NULL). One row
        per record below the header.
    """
    lines = _lines_sql(file, connection, name=name)
    lines = f"SELECT line, text, bad FROM ({lines}) WHERE line > {file.header_line}"
    if file.has_quotes and (joined := _join_split_records(file, lines, connection, name=name)):
        lines = (
            f"SELECT line, text, bad FROM ({lines}) ANTI JOIN {joined}_covered USING (line)"
            f" UNION ALL SELECT line, text, false FROM {joined}"
        )
    split = _quoted_split(file.separator) if file.has_quotes else f"string_split(text, {_literal(file.separator)})"
    n_columns = len(file.columns)
    return f"""
        SELECT line, fields, CASE WHEN bad THEN 'not UTF-8' WHEN fields IS NULL THEN 'unmatched quote'
            WHEN len(fields) < {n_columns} THEN 'too few values' WHEN len(fields) > {n_columns} THEN 'too many values'
            END AS fault
        FROM (SELECT line, bad, {split} AS fields FROM ({lines}) WHERE bad OR trim(text, ' \t\r') <> '')"""


def field_sql(index: int) -> str:
    """Return the SQL of one field of a record, without its quotes. Indices start at 0."""
    raw = f"fields[{index + 1}]"
    return f"CASE WHEN starts_with({raw}, '\"') THEN replace({raw}[2:-2], '\"\"', '\"') ELSE {raw} END"


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix.lower() == ".gz" else path.open("rb")


def _read_header(path: Path) -> tuple[int, bytes]:
    with _open(path) as file:
        number = 0
        while line := file.readline(_MAX_HEADER_BYTES):
            number += 1
            if line.removeprefix(codecs.BOM_UTF8).strip():
                return number, line.removeprefix(codecs.BOM_UTF8)
    return number, b""


def _scan_bytes(path: Path) -> tuple[set[int], bool]:
    """Return which of the bytes that matter occur, and whether all is UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    wanted = (0, ord('"'), ord("\r"), *_UNUSED_BYTES)
    seen: set[int] = set()
    is_utf8, tail = True, b""
    with _open(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            seen.update(byte for byte in wanted if byte not in seen and byte in chunk)
            tail = _refuse_bare_returns(path, tail + chunk)
            is_utf8 = is_utf8 and _decodes(decoder, chunk)
    _refuse_bare_returns(path, tail + b"\n")
    return seen, is_utf8 and _decodes(decoder, b"", final=True)


def _decodes(decoder: codecs.IncrementalDecoder, chunk: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError:
        return False
    return True


def _refuse_bare_returns(path: Path, chunk: bytes) -> bytes:
    """Refuse carriage returns that end no line; return one at the end of the chunk, whose line feed may follow."""
    tail = b"\r" if chunk.endswith(b"\r") else b""
    if chunk.count(b"\r") - len(tail) != chunk.count(b"\r\n"):
        raise InputError(
            f"{path} has carriage returns without line feeds, so its lines cannot be told apart.",
            remedy="Save it with Windows or Unix line ends.",
        )
    return tail


def _split_header(path: Path, header: bytes) -> tuple[tuple[str, ...], str]:
    """Take the separator that splits the header into most names; the first of them where several do."""
    try:
        text = header.decode("utf-8").rstrip("\r\n")
        splits = [(next(csv.reader([text], delimiter=sep, strict=True)), sep) for sep in SEPARATORS]
    except (UnicodeDecodeError, csv.Error):
        raise InputError(
            f"The header line of {path} cannot be read.",
            remedy="Write the column names as UTF-8 text on one line, with every quote closed.",
        ) from None
    names, separator = max(splits, key=lambda split: len(split[0]))
    columns = tuple(name.strip() for name in names)
    if any(_VALUE.fullmatch(name) for name in columns):
        raise InputError(
            f"The first line of {path} holds values, not column names.",
            remedy="Add a header line, such as customer_id,ordered_at,amount.",
        )
    return columns, separator


def _lines_sql(file: TextFile, connection: duckdb.DuckDBPyConnection, *, name: str) -> str:
    """Select line, text, bad: one row per line of the file, blank ones (text NULL) and undecodable ones included."""
    rejects = "" if file.is_utf8 else f", store_rejects=true, rejects_table='{name}_bad', rejects_scan='{name}_scan'"
    newline = r"'\r\n'" if file.has_returns else r"'\n'"
    read = f"""
        SELECT row_number() OVER () AS line, text, false AS bad
        FROM read_csv({_literal(str(file.path))}, auto_detect=false, header=false, columns={{'text': 'VARCHAR'}},
            delim=chr({file.line_guard}), new_line={newline}, quote='', escape='', comment='', strict_mode=false,
            max_line_size=16777216{rejects})"""
    if file.is_utf8:
        return read
    connection.execute(f"CREATE TEMP TABLE {name}_kept AS {read}")
    connection.execute(f"""
        CREATE TEMP TABLE {name}_shift AS SELECT line - n AS n_kept_before, max(n) AS shift
        FROM (SELECT line, row_number() OVER (ORDER BY line) AS n FROM (SELECT DISTINCT line FROM {name}_bad))
        GROUP BY ALL""")
    return f"""
        SELECT kept.line + coalesce(shift, 0) AS line, text, bad
        FROM {name}_kept AS kept ASOF LEFT JOIN {name}_shift ON kept.line > n_kept_before
        UNION ALL SELECT DISTINCT line::BIGINT, NULL, true FROM {name}_bad"""


def _join_split_records(file: TextFile, lines: str, connection: duckdb.DuckDBPyConnection, *, name: str) -> str | None:
    """Join the lines of records whose quoted values hold line breaks, where joining gives a sound record.

    A line with an odd number of quotes opens or closes such a value. Two neighbours are joined only where the
    result has the right number of columns, so that one stray quote cannot swallow the rest of a file.

    Returns:
        The name of the table of joined records, with `<name>_covered` for the lines they cover; None without any.
    """
    joined = f"{name}_joined"
    connection.execute(f"""
        CREATE TEMP TABLE {name}_spans AS
        SELECT * FROM (
            SELECT line AS first, lead(line) OVER (ORDER BY line) AS last FROM ({lines})
            WHERE (length(text) - length(replace(text, '"', ''))) % 2 = 1)
        WHERE last - first < {MAX_LINES_PER_RECORD}""")
    if connection.sql(f"SELECT count(*) FROM {name}_spans").fetchall() == [(0,)]:
        return None
    connection.execute(f"""
        CREATE TEMP TABLE {joined} AS
        SELECT first AS line, last, text FROM (
            SELECT first, last, string_agg(coalesce(text, ''), chr(10) ORDER BY line) AS text
            FROM (SELECT first, last, unnest(range(first, last + 1)) AS line FROM {name}_spans)
                JOIN ({lines}) USING (line)
            GROUP BY first, last)
        WHERE len({_quoted_split(file.separator)}) = {len(file.columns)}
        QUALIFY coalesce(lag(last) OVER (ORDER BY first) < first, true)""")
    connection.execute(
        f"CREATE TEMP TABLE {joined}_covered AS SELECT unnest(range(line, last + 1)) AS line FROM {joined}"
    )
    return joined


def _quoted_split(separator: str) -> str:
    """Return the SQL that splits text into fields, quotes kept; NULL where the quotes do not match."""
    sep = re.escape(separator)
    field = f'(?:"(?:[^"]|"")*"|[^"{sep}][^{sep}]*|)'
    return f"""CASE WHEN NOT contains(text, '"') THEN string_split(text, {_literal(separator)})
        WHEN regexp_full_match(text, {_literal(f"{field}(?:{sep}{field})*")})
        THEN regexp_extract_all({_literal(separator)} || text, {_literal(f"{sep}({field})")}, 1) END"""


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
