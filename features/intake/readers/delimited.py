"""Delimited text, read so that no line is lost: every line that is not blank becomes one record or part of one.

DuckDB's own CSV reader drops or repairs ragged lines and does not number the others. So it reads whole lines
here, and the lines are split in SQL: a line is a record of its own, unless a quoted value spans several.
"""

# ruff: noqa: S608 - statements are composed of our own SQL; whatever comes from outside is quoted or escaped

import re

import duckdb

from features.intake.readers.header import BLANK_RUNS
from features.intake.readers.scan import MAX_LINE_BYTES
from features.intake.readers.text import FAULTS, TextFile
from features.intake.values.texts import literal_sql

MAX_LINES_PER_RECORD = 1000


def register_records(file: TextFile, connection: duckdb.DuckDBPyConnection, *, name: str) -> str:
    """Prepare the records of a file and return the SQL that selects them.

    Args:
        file: The prepared file.
        connection: Where temporary tables go; their names begin with `name`.
        name: A name that no other source on this connection has.

    Returns:
        A SELECT of line (of the file, from 1), fault (a value class, or NULL), row_hash (of the values, without
        their quotes), fields (a list, or NULL). One row per record below the header.
    """
    lines = f"SELECT line, text, fault FROM ({_lines_sql(file)}) WHERE line > {file.header_line}"
    if file.has_quotes and (joined := _join_split_records(file, lines, connection, name=name)):
        lines = (
            f"SELECT line, text, fault FROM ({lines}) ANTI JOIN {joined}_covered USING (line)"
            f" UNION ALL SELECT line, text, NULL FROM {joined}"
        )
    n_columns = len(file.columns)
    return f"""
        SELECT line, fields, {_hash_sql(file)} AS row_hash,
            CASE WHEN fault IS NOT NULL THEN fault WHEN fields IS NULL THEN 'unmatched quote'
            WHEN len(fields) < {n_columns} THEN 'too few values' WHEN len(fields) > {n_columns} THEN 'too many values'
            END AS fault
        FROM (SELECT line, text, fault, {_split_sql(file)} AS fields FROM ({lines}) WHERE trim(text, ' \t\r') <> '')"""


def field_sql(index: int) -> str:
    """Return the SQL of one field of a record, without its quotes. Indices start at 0."""
    return _unquoted(f"fields[{index + 1}]")


def _unquoted(field: str) -> str:
    return f"CASE WHEN starts_with({field}, '\"') THEN replace({field}[2:-2], '\"\"', '\"') ELSE {field} END"


def _hash_sql(file: TextFile) -> str:
    """Return the SQL of the hash of a record's values; of its text, where it has none.

    Values are the same with and without quotes. Taking the quotes off all values at once is faster than one by one.
    """
    if not file.has_quotes:
        return f"hash({_by_name('fields', file)})"
    guard = f"chr({file.line_guard})"
    values = f"""CASE WHEN fields IS NULL THEN [text] WHEN NOT contains(text, '"') THEN fields
            WHEN contains(text, '""') THEN list_transform(fields, lambda field: {_unquoted("field")})
            ELSE string_split(replace(array_to_string(fields, {guard}), '"', ''), {guard}) END"""
    return f"hash({_by_name(values, file)})"


def _by_name(values: str, file: TextFile) -> str:
    """Return the SQL of a record's values in the order of their columns' names, whatever that of the file."""
    order = sorted(range(len(file.columns)), key=lambda index: file.columns[index])
    if order == list(range(len(order))):
        return values
    return f"list_select({values}, [{', '.join(str(index + 1) for index in order)}])"


def _lines_sql(file: TextFile) -> str:
    """Select line, text, fault: one row per line of the file, blank ones (text NULL) included."""
    newline = r"'\r\n'" if file.has_returns else r"'\n'"
    return f"""
        SELECT row_number() OVER () AS line, text, {_line_fault_sql(file)} AS fault
        FROM read_csv({literal_sql(str(file.text_path))}, auto_detect=false, header=false,
            columns={{'text': 'VARCHAR'}}, delim=chr({file.line_guard}), new_line={newline}, quote='', escape='',
            comment='', strict_mode=false,
            max_line_size={2 * MAX_LINE_BYTES}, compression='{file.packing}', hive_partitioning=false)"""


def _line_fault_sql(file: TextFile) -> str:
    if file.fault_mark is None:
        return "NULL::VARCHAR"
    cases = " ".join(f"WHEN '{code}' THEN '{fault}'" for code, fault in FAULTS.items())
    return f"CASE WHEN starts_with(text, chr({file.fault_mark})) THEN CASE text[2] {cases} END END"


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
        CREATE TEMP TABLE {joined}_all AS
        SELECT first, last, text, lag(last) OVER (ORDER BY first) IS DISTINCT FROM first AS is_apart FROM (
            SELECT first, last, string_agg(coalesce(text, ''), chr(10) ORDER BY line) AS text
            FROM (SELECT first, last, unnest(range(first, last + 1)) AS line FROM {name}_spans)
                JOIN ({lines}) USING (line)
            GROUP BY first, last HAVING count(fault) = 0)
        WHERE len({_split_sql(file)}) = {len(file.columns)}""")
    # Where the end of one could be the beginning of the next, only every other one is a record.
    connection.execute(f"""
        CREATE TEMP TABLE {joined} AS SELECT first AS line, last, text
        FROM (SELECT *, count_if(is_apart) OVER (ORDER BY first) AS chain FROM {joined}_all)
        QUALIFY row_number() OVER (PARTITION BY chain ORDER BY first) % 2 = 1""")
    connection.execute(
        f"CREATE TEMP TABLE {joined}_covered AS SELECT unnest(range(line, last + 1)) AS line FROM {joined}"
    )
    return joined


def _split_sql(file: TextFile) -> str:
    """Return the SQL that splits text into fields, quotes kept; NULL where the quotes do not match."""
    plain = f"string_split(text, {literal_sql(file.separator)})"
    if file.separator == BLANK_RUNS:
        plain = r"string_split_regex(trim(text, ' \t\r'), '[ \t]+')".replace(r"\t", "\t")
    return _quoted_split(file.separator, plain) if file.has_quotes else plain


def _quoted_split(separator: str, plain: str) -> str:
    """Return the SQL that splits text in which values may be quoted."""
    if separator == BLANK_RUNS:
        text, sep, empty, one = r"' ' || trim(text, ' \t\r')".replace(r"\t", "\t"), "[ \t]+", "", " \t"
    else:
        text, sep, empty = f"{literal_sql(separator)} || text", re.escape(separator), "|"
        one = sep
    field = f'(?:"(?:[^"]|"")*"|[^"{one}][^{one}]*{empty})'
    return f"""CASE WHEN NOT contains(text, '"') THEN {plain}
        WHEN regexp_full_match({text}, {literal_sql(f"(?:{sep}{field})+")})
        THEN regexp_extract_all({text}, {literal_sql(f"{sep}({field})")}, 1) END"""
